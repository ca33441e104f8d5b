//! Arithmetic on aggregated series.

use std::fmt;

use schedscope::metrics::catalog;

use super::{RANGE, STEP};

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Things, means of things, shares: no unit.
    Number,
    /// Seconds.
    Seconds,
    /// Things per second.
    PerSecond,
    /// Bytes.
    Bytes,
}

/// A PromQL expression with known labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expr {
    text: String,
    labels: Vec<&'static str>,
    quantity: Quantity,
    /// Needs no parentheses as an operand.
    is_atom: bool,
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expr {
    pub(crate) fn atom(text: String, labels: &[&'static str], quantity: Quantity) -> Expr {
        Expr { text, labels: labels.to_vec(), quantity, is_atom: true }
    }

    /// Labels that the result has.
    pub fn labels(&self) -> &[&'static str] {
        &self.labels
    }

    /// What the result counts.
    pub fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// Only the recorded series of one reason for which threads are blocked.
    ///
    /// # Panics
    /// If this is no recorded series with a reason, or there is no such reason.
    #[must_use]
    pub fn of_reason(&self, reason: &str) -> Expr {
        self.check_has(&["reason"]);
        assert!(!self.text.contains(['(', '{']) && catalog::BLOCKED_REASONS.contains(&reason), "{self} for {reason}");
        Expr { text: format!(r#"{}{{reason="{reason}"}}"#, self.text), ..self.clone() }
    }

    /// Sum of two expressions of the same kind.
    ///
    /// # Panics
    /// If labels or quantities differ.
    #[must_use]
    pub fn plus(&self, other: &Expr) -> Expr {
        self.check_same(other);
        self.binary("+", other, self.quantity)
    }

    /// Difference of two expressions of the same kind.
    ///
    /// # Panics
    /// If labels or quantities differ.
    #[must_use]
    pub fn minus(&self, other: &Expr) -> Expr {
        self.check_same(other);
        self.binary("-", other, self.quantity)
    }

    /// Quotient. `other` may have fewer labels: each of its series then divides several.
    ///
    /// # Panics
    /// If `other` has a label that this lacks, or the quotient is no quantity we have a unit for.
    #[must_use]
    pub fn per(&self, other: &Expr) -> Expr {
        let quantity = match (self.quantity, other.quantity) {
            (mine, Quantity::Number) => mine,
            (mine, theirs) if mine == theirs => Quantity::Number,
            (Quantity::Number, Quantity::PerSecond) => Quantity::Seconds,
            (Quantity::Number, Quantity::Seconds) => Quantity::PerSecond,
            (mine, theirs) => panic!("{mine:?} per {theirs:?} has no unit: {self} / {other}"),
        };
        self.binary(&self.matching("/", other), other, quantity)
    }

    /// Adds `label` of an info metric, whose value is 1.
    ///
    /// # Panics
    /// If the two have no label in common.
    #[must_use]
    pub fn with_label_of(&self, info: &Expr, label: &'static str) -> Expr {
        let common: Vec<&str> = self.labels.iter().copied().filter(|own| info.labels.contains(own)).collect();
        assert!(!common.is_empty() && info.labels.contains(&label), "{info} gives no {label} to {self}");
        let operator = format!("* on ({}) group_left ({label})", common.join(", "));
        // One label each: two jobs that scrape the same daemon at different moments may see two.
        let one = format!("topk by ({}) (1, {info})", common.join(", "));
        let mut joined = self.binary(&operator, &Expr { text: one, is_atom: true, ..info.clone() }, self.quantity);
        joined.labels.push(label);
        joined
    }

    /// These series where `condition` has one with the same labels.
    ///
    /// # Panics
    /// If the labels differ.
    #[must_use]
    pub fn where_exists(&self, condition: &Expr) -> Expr {
        assert_eq!(self.labels, condition.labels, "{self} and {condition}");
        self.binary("and", condition, self.quantity)
    }

    /// The square.
    #[must_use]
    pub fn squared(&self) -> Expr {
        Expr { text: format!("{}^2", self.operand()), is_atom: false, ..self.clone() }
    }

    /// What is missing to 1.
    #[must_use]
    pub fn complement(&self) -> Expr {
        Expr { text: format!("1 - {}", self.operand()), is_atom: false, ..self.clone() }
    }

    /// A multiple, such as milliseconds of seconds.
    #[must_use]
    pub fn times(&self, factor: f64) -> Expr {
        Expr { text: format!("{} * {factor}", self.operand()), is_atom: false, ..self.clone() }
    }

    /// Only what is above `threshold`.
    #[must_use]
    pub fn above(&self, threshold: f64) -> Expr {
        Expr { text: format!("{} > {threshold}", self.operand()), is_atom: false, ..self.clone() }
    }

    /// Only what is `threshold` or more. What is no number is left out too.
    #[must_use]
    pub fn at_least(&self, threshold: f64) -> Expr {
        Expr { text: format!("{} >= {threshold}", self.operand()), is_atom: false, ..self.clone() }
    }

    /// The largest that a chart over the time that is shown would have.
    #[must_use]
    pub fn largest_in_range(&self) -> Expr {
        Expr { text: format!("max_over_time(({})[{RANGE}:{STEP}])", self.text), is_atom: true, ..self.clone() }
    }

    /// The same, or 0 where it is less: two readings that share one instant can make a difference of two rates.
    #[must_use]
    pub fn not_below_zero(&self) -> Expr {
        Expr { text: format!("clamp_min({}, 0)", self.text), is_atom: true, ..self.clone() }
    }

    /// These series, and a 0 with `label` set to `name` for each one of `of` that has none here with the same other labels.
    ///
    /// # Panics
    /// If `of` does not have all labels but this one.
    #[must_use]
    pub fn or_named(&self, of: &Expr, label: &'static str, name: &str) -> Expr {
        let common: Vec<&str> = self.labels.iter().copied().filter(|own| *own != label).collect();
        assert!(common.iter().all(|own| of.labels.contains(own)) && common.len() == of.labels.len(), "{self} or {of}");
        let named = format!(r#"label_replace(0 * {}, "{label}", "{name}", "", "")"#, of.operand());
        Expr { text: format!("{} or on ({}) {named}", self.operand(), common.join(", ")), is_atom: false, ..self.clone() }
    }

    /// Only what is above `factor` times `other`.
    ///
    /// # Panics
    /// If labels or quantities differ.
    #[must_use]
    pub fn above_times(&self, factor: f64, other: &Expr) -> Expr {
        self.check_same(other);
        Expr { text: format!("{} > {factor} * {}", self.operand(), other.operand()), is_atom: false, ..self.clone() }
    }

    /// Only what equals `value`.
    #[must_use]
    pub fn equal_to(&self, value: u32) -> Expr {
        Expr { text: format!("{} == {value}", self.operand()), is_atom: false, ..self.clone() }
    }

    /// The `count` largest series of each value of `labels`, or of all.
    #[must_use]
    pub fn largest(&self, count: u32, labels: &[&'static str]) -> Expr {
        self.check_has(labels);
        Expr { text: format!("topk{} ({count}, {})", super::by(labels), self.text), is_atom: true, ..self.clone() }
    }

    /// Sum, keeping `labels`.
    #[must_use]
    pub fn sum_by(&self, labels: &[&'static str]) -> Expr {
        self.check_has(labels);
        Expr::atom(format!("sum{} ({})", super::by(labels), self.text), labels, self.quantity)
    }

    /// Number of series, keeping `labels`.
    #[must_use]
    pub fn count_by(&self, labels: &[&'static str]) -> Expr {
        self.check_has(labels);
        Expr::atom(format!("count{} ({})", super::by(labels), self.text), labels, Quantity::Number)
    }

    /// Largest, keeping `labels`.
    #[must_use]
    pub fn max_by(&self, labels: &[&'static str]) -> Expr {
        self.check_has(labels);
        Expr::atom(format!("max{} ({})", super::by(labels), self.text), labels, self.quantity)
    }

    /// The label `cpu` in three digits, so that 10 does not come before 2.
    #[must_use]
    pub fn with_sortable_cpu(&self) -> Expr {
        self.check_has(&["cpu"]);
        let one = format!(r#"label_replace({self}, "cpu", "00$1", "cpu", "(\\d)")"#);
        Expr { text: format!(r#"label_replace({one}, "cpu", "0$1", "cpu", "(\\d\\d)")"#), is_atom: true, ..self.clone() }
    }

    /// The label `cpu` with the host before it, since core 0 of two hosts is not the same core.
    #[must_use]
    pub fn with_host_in_cpu(&self) -> Expr {
        self.check_has(&["instance", "cpu"]);
        let text = format!(r#"label_join({}, "cpu", " CPU ", "instance", "cpu")"#, self.with_sortable_cpu());
        Expr { text, is_atom: true, ..self.clone() }
    }

    fn binary(&self, operator: &str, other: &Expr, quantity: Quantity) -> Expr {
        let text = format!("{} {operator} {}", self.operand(), other.operand());
        Expr { text, labels: self.labels.clone(), quantity, is_atom: false }
    }

    /// The operator with what it takes to match series that have fewer labels on the right.
    fn matching(&self, operator: &str, other: &Expr) -> String {
        self.check_has(&other.labels);
        if self.labels.len() == other.labels.len() {
            return operator.to_owned();
        }
        format!("{operator} on ({}) group_left ()", other.labels.join(", "))
    }

    fn operand(&self) -> String {
        if self.is_atom { self.text.clone() } else { format!("({})", self.text) }
    }

    fn check_has(&self, labels: &[&str]) {
        assert!(labels.iter().all(|label| self.labels.contains(label)), "{self} has {:?}, not {labels:?}", self.labels);
    }

    fn check_same(&self, other: &Expr) {
        assert_eq!((&self.labels, self.quantity), (&other.labels, other.quantity), "{self} and {other}");
    }
}
