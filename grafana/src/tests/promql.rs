//! Checks PromQL against the catalog, for what parses but would show nothing, or not what it claims.

use std::collections::BTreeMap;
use std::convert::Infallible;

use promql_parser::label::MatchOp;
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector, parse};
use promql_parser::util::{ExprVisitor, walk_expr};
use schedscope::metrics::catalog::{self, Bound, Kind, Metric, Unit};

use crate::foreign;
use crate::promql::{RANGE, RATE_INTERVAL, STEP};

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Things, means of things, shares: no unit.
    Number,
    Seconds,
    PerSecond,
    Bytes,
}

/// What is known of a result without asking for it.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Labels with their possible values; an empty list where those are not known beforehand.
    pub(super) labels: BTreeMap<String, &'static [&'static str]>,
    pub(super) quantity: Quantity,
}

impl Shape {
    fn has(&self, label: &str) -> Result<(), String> {
        let known: Vec<&String> = self.labels.keys().collect();
        self.labels.get(label).map(|_| ()).ok_or_else(|| format!("no label {label} among {known:?}"))
    }

    fn has_all(&self, labels: &[String]) -> Result<(), String> {
        labels.iter().try_for_each(|label| self.has(label))
    }
}

/// Checks expressions; faults are sentences.
#[derive(Default)]
pub(super) struct Checker {
    /// Series of recording rules, which later rules and alerts may read.
    pub(super) recorded: BTreeMap<String, Shape>,
    /// Counters may be read without a rate.
    pub(super) allows_totals: bool,
}

impl Checker {
    /// What an expression gives; it may hold Grafana's variables.
    pub(super) fn check(&self, text: &str) -> Result<Shape, String> {
        self.shape(&parsed(text)?).map_err(|fault| format!("{fault}, in {text}"))
    }

    fn shape(&self, expr: &Expr) -> Result<Shape, String> {
        match expr {
            Expr::Paren(inner) => self.shape(&inner.expr),
            Expr::VectorSelector(selector) => self.instant(selector),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Call(call) => self.call(call),
            other => Err(format!("this check does not know what {other} gives")),
        }
    }

    fn instant(&self, selector: &VectorSelector) -> Result<Shape, String> {
        let name = selector.name.as_deref().unwrap_or_default();
        if let Some(recorded) = self.recorded.get(name) {
            return matched(recorded.clone(), selector);
        }
        let (metric, suffix) = series(name)?;
        if metric.kind != Kind::Gauge && !(self.allows_totals && suffix.is_empty()) {
            return Err(format!("{name} is no gauge and has no rate"));
        }
        matched(Shape { labels: labels_of(metric, suffix), quantity: quantity_of(metric) }, selector)
    }

    fn call(&self, Call { func, args }: &Call) -> Result<Shape, String> {
        let args = &args.args;
        match (func.name, &*args[0]) {
            (function, Expr::MatrixSelector(range)) => ranged(function, &range.vs),
            // Over the points of a chart.
            ("max_over_time", Expr::Subquery(chart)) => self.shape(&chart.expr),
            ("clamp_min", series) => self.shape(series),
            ("histogram_quantile", _) => {
                let mut buckets = self.shape(&args[1])?;
                buckets.labels.remove("le").ok_or("a quantile of what are no buckets")?;
                // As every histogram of the catalog, see `series`.
                Ok(Shape { quantity: Quantity::Seconds, ..buckets })
            }
            ("label_replace" | "label_join", series) => {
                let mut shape = self.shape(series)?;
                for from in args[3..].iter().take(if func.name == "label_replace" { 1 } else { args.len() }) {
                    let label = string(from)?;
                    if !label.is_empty() {
                        shape.has(label)?;
                    }
                }
                shape.labels.insert(string(&args[1])?.to_owned(), &[]);
                Ok(shape)
            }
            (function, _) => Err(format!("this check does not know what {function} gives")),
        }
    }

    fn aggregate(&self, AggregateExpr { op, expr, modifier, .. }: &AggregateExpr) -> Result<Shape, String> {
        let shape = self.shape(expr)?;
        let by = match modifier {
            None => &[][..],
            Some(LabelModifier::Include(labels)) => &labels.labels,
            Some(LabelModifier::Exclude(_)) => return Err("what `without` leaves is not known beforehand".to_owned()),
        };
        shape.has_all(by)?;
        if by.iter().any(|label| label == "cpu") && !by.iter().any(|label| label == "instance") {
            return Err("core 0 of two hosts is not the same core".to_owned());
        }
        let kept = || shape.labels.clone().into_iter().filter(|(label, _)| by.contains(label)).collect();
        match op.to_string().as_str() {
            "topk" => Ok(shape),
            "sum" | "avg" | "max" => Ok(Shape { labels: kept(), ..shape }),
            "count" => Ok(Shape { labels: kept(), quantity: Quantity::Number }),
            other => Err(format!("this check does not know what {other} gives")),
        }
    }

    fn binary(&self, binary: &BinaryExpr) -> Result<Shape, String> {
        let is_number = |side: &Expr| matches!(side, Expr::NumberLiteral(_));
        for side in [&binary.lhs, &binary.rhs] {
            // Precedence must be plain to the reader, and must not come about by putting texts together.
            if let Expr::Binary(inner) = &**side
                && !is_number(&inner.lhs)
            {
                return Err(format!("{side} needs parentheses"));
            }
        }
        let operator = binary.op.to_string();
        let is_comparison = matches!(operator.as_str(), "==" | "!=" | ">" | "<" | ">=" | "<=");
        if is_number(&binary.lhs) || is_number(&binary.rhs) {
            let shape = self.shape(if is_number(&binary.lhs) { &binary.rhs } else { &binary.lhs })?;
            let keeps_unit = is_comparison || matches!(operator.as_str(), "*" | "^") || operator == "/" && is_number(&binary.rhs);
            let fits = keeps_unit || matches!(operator.as_str(), "+" | "-") && shape.quantity == Quantity::Number;
            return if fits { Ok(shape) } else { Err(format!("{:?} {operator} a number has no unit", shape.quantity)) };
        }
        // Since when something is, to for how long.
        if operator == "-" && matches!(&*binary.lhs, Expr::Call(call) if call.func.name == "time") {
            let shape = self.shape(&binary.rhs)?;
            return if shape.quantity == Quantity::Seconds { Ok(shape) } else { Err(format!("{} is no time", binary.rhs)) };
        }
        let (left, right) = (self.shape(&binary.lhs)?, self.shape(&binary.rhs)?);
        let mut labels = matching(binary, &left, &right)?;
        let quantity = match operator.as_str() {
            "and" => left.quantity,
            "/" => quotient(left.quantity, right.quantity)?,
            "*" if right.quantity == Quantity::Number => left.quantity,
            "+" | "-" | "or" if left.quantity == right.quantity => left.quantity,
            _ if is_comparison && left.quantity == right.quantity => left.quantity,
            _ => return Err(format!("{:?} {operator} {:?} has no unit", left.quantity, right.quantity)),
        };
        if operator == "or" && !left.labels.keys().eq(right.labels.keys()) {
            return Err("what is one or the other has the same labels".to_owned());
        }
        labels.extend(left.labels);
        Ok(Shape { labels, quantity })
    }
}

/// The labels that the right side adds. Fails unless every series matches at most one.
fn matching(binary: &BinaryExpr, left: &Shape, right: &Shape) -> Result<BTreeMap<String, &'static [&'static str]>, String> {
    let modifier = binary.modifier.as_ref();
    let Some(LabelModifier::Include(on)) = modifier.and_then(|modifier| modifier.matching.as_ref()) else {
        let is_same = left.labels.keys().eq(right.labels.keys());
        return if is_same { Ok(BTreeMap::new()) } else { Err("the sides have different labels and no `on`".to_owned()) };
    };
    let on = &on.labels;
    left.has_all(on)?;
    right.has_all(on)?;
    let is_one = |shape: &Shape| shape.labels.keys().all(|label| on.contains(label));
    let is_top_one = matches!(&*binary.rhs, Expr::Aggregate(AggregateExpr { op, param: Some(count), modifier: Some(by), .. })
        if op.to_string() == "topk" && count.to_string() == "1" && by.labels().labels == *on);
    match modifier.map(|modifier| &modifier.card) {
        Some(VectorMatchCardinality::ManyToMany) => Ok(BTreeMap::new()),
        Some(VectorMatchCardinality::ManyToOne(added)) if is_one(right) || is_top_one => {
            right.has_all(&added.labels)?;
            Ok(right.labels.clone().into_iter().filter(|(label, _)| added.labels.contains(label)).collect())
        }
        Some(VectorMatchCardinality::OneToOne) if is_one(left) && is_one(right) => Ok(BTreeMap::new()),
        _ => Err(format!("several series have the same {on:?}")),
    }
}

fn quotient(left: Quantity, right: Quantity) -> Result<Quantity, String> {
    match (left, right) {
        (left, Quantity::Number) => Ok(left),
        (left, right) if left == right => Ok(Quantity::Number),
        (Quantity::Number, Quantity::PerSecond) => Ok(Quantity::Seconds),
        (Quantity::Number, Quantity::Seconds) => Ok(Quantity::PerSecond),
        (left, right) => Err(format!("{left:?} / {right:?} has no unit")),
    }
}

/// What a function of a range gives.
fn ranged(function: &str, selector: &VectorSelector) -> Result<Shape, String> {
    let name = selector.name.as_deref().unwrap_or_default();
    let (metric, suffix) = series(name)?;
    let grown = |quantity| if function == "rate" { quotient(quantity, Quantity::Seconds) } else { Ok(quantity) };
    let quantity = match (function, suffix) {
        // Look-backs on purpose: daemons are known by their last day, and a phase of the lab can be shorter than a step.
        ("last_over_time", _) if metric.name == catalog::BUILD_INFO.name => Quantity::Number,
        ("max_over_time", _) if metric.name == foreign::LAB_PHASE.name => Quantity::Number,
        ("rate" | "increase", _) if metric.kind == Kind::Gauge => return Err(format!("{name} is no counter")),
        ("rate" | "increase", "_bucket") => Quantity::Number,
        ("rate" | "increase", "_count") => grown(Quantity::Number)?,
        // Seconds per second have no unit: a mean number of threads, or CPUs.
        ("rate" | "increase", "") => grown(quantity_of(metric))?,
        _ => return Err(format!("{function} of {name} is not asked for here")),
    };
    matched(Shape { labels: labels_of(metric, suffix), quantity }, selector)
}

/// The metric of a series, and the suffix of its name.
fn series(name: &str) -> Result<(&'static Metric, &'static str), String> {
    let known = || catalog::ALL.iter().chain(foreign::ALL).copied();
    let is_meant = |metric: &&Metric, suffix: &str| match metric.kind {
        // So that a quantile is in seconds.
        Kind::Histogram => !suffix.is_empty() && metric.unit == Unit::Seconds,
        Kind::Counter | Kind::Gauge => suffix.is_empty(),
    };
    let found = ["", "_bucket", "_count"].into_iter().find_map(|suffix| {
        let stem = name.strip_suffix(suffix)?;
        Some((known().find(|metric| metric.name == stem && is_meant(metric, suffix))?, suffix))
    });
    found.ok_or_else(|| format!("there is no series {name}"))
}

fn quantity_of(metric: &Metric) -> Quantity {
    match metric.unit {
        // The catalog has no sizes; only the process collector does.
        _ if metric.name.ends_with("_bytes") => Quantity::Bytes,
        Unit::Seconds => Quantity::Seconds,
        Unit::Count | Unit::Info | Unit::Bool => Quantity::Number,
    }
}

fn labels_of(metric: &Metric, suffix: &str) -> BTreeMap<String, &'static [&'static str]> {
    let own = metric.labels.iter().map(|label| match label.bound {
        Bound::Values(values) | Bound::OneOf(values) => (label.name, values),
        _ => (label.name, &[][..]),
    });
    let bucket = (suffix == "_bucket").then_some("le");
    let others = ["job", "instance"].into_iter().chain(bucket).map(|label| (label, &[][..]));
    own.chain(others).map(|(label, values)| (label.to_owned(), values)).collect()
}

/// Fails if a selector asks for labels or values that do not exist.
fn matched(shape: Shape, selector: &VectorSelector) -> Result<Shape, String> {
    for matcher in &selector.matchers.matchers {
        shape.has(&matcher.name)?;
        let possible = shape.labels[&matcher.name];
        let asked: Vec<&str> = match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
            MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
        };
        if let Some(value) = asked.into_iter().find(|value| !possible.is_empty() && !possible.contains(value)) {
            return Err(format!("{} is never {value:?}", matcher.name));
        }
    }
    Ok(shape)
}

fn string(expr: &Expr) -> Result<&str, String> {
    if let Expr::StringLiteral(literal) = expr { Ok(&literal.val) } else { Err(format!("{expr} is no text")) }
}

fn parsed(text: &str) -> Result<Expr, String> {
    let filled = text.replace(RATE_INTERVAL, "1m").replace(STEP, "20s").replace(RANGE, "30m");
    parse(&filled).map_err(|error| format!("{error}, in {text}"))
}

pub(super) fn selectors(text: &str) -> Vec<VectorSelector> {
    struct Found(Vec<VectorSelector>);
    impl ExprVisitor for Found {
        type Error = Infallible;
        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
            match expr {
                Expr::VectorSelector(selector) => self.0.push(selector.clone()),
                Expr::MatrixSelector(range) => self.0.push(range.vs.clone()),
                _ => {}
            }
            Ok(true)
        }
    }
    let mut found = Found(Vec::new());
    walk_expr(&mut found, &parsed(text).unwrap()).unwrap();
    found.0
}

pub(super) fn metric_of(selector: &VectorSelector) -> &'static Metric {
    series(selector.name.as_deref().unwrap_or_default()).unwrap().0
}

#[test]
fn each_fault_is_found() {
    let (threads, on_cpu) = ("schedscope_workload_threads", "schedscope_workload_on_cpu_seconds_total");
    let (blocked, switches) = ("schedscope_workload_blocked_seconds_total", "schedscope_workload_context_switches_total");
    let (latency, info) = ("schedscope_workload_wakeup_latency_seconds", "schedscope_workload_info");
    let seconds = format!("sum by (workload) (increase({on_cpu}[5m]))");
    let count = format!("sum by (workload) (increase({switches}[5m]))");
    for (expr, fault) in [
        ("sum(".to_owned(), "unclosed"),
        ("schedscope_workload_treads".to_owned(), "there is no series"),
        (format!("rate({on_cpu}_count[5m])"), "there is no series"),
        (format!("rate({latency}[5m])"), "there is no series"),
        (format!("rate({threads}[5m])"), "is no counter"),
        (format!("sum ({on_cpu})"), "is no gauge"),
        (format!("sum ({latency}_bucket)"), "is no gauge"),
        (format!("max_over_time({threads}[5m])"), "is not asked for"),
        (format!("rate({blocked}{{cause=\"gil\"}}[5m])"), "no label cause"),
        (format!("rate({blocked}{{reason=\"lunch\"}}[5m])"), "is never \"lunch\""),
        (format!("rate({blocked}{{reason=~\"gil|lunch\"}}[5m])"), "is never \"lunch\""),
        (format!("rate({blocked}{{reason=~\"\"}}[5m])"), "is never \"\""),
        (format!("{info}{{model!=\"lazy\"}}"), "is never \"lazy\""),
        (format!("sum by (cpu) (rate({blocked}[5m]))"), "no label cpu"),
        (format!("sum by (workload) (sum by (reason) (rate({blocked}[5m])))"), "no label workload"),
        (format!("sum by (cpu) (rate({on_cpu}[5m]))"), "not the same core"),
        (format!("sum without (cpu) (rate({on_cpu}[5m]))"), "`without`"),
        (format!("histogram_quantile(0.9, sum by (workload) (rate({latency}_bucket[5m])))"), "no buckets"),
        (format!("label_join({threads}, \"cpu\", \" \", \"instance\", \"core\")"), "no label core"),
        (format!("{seconds} + {count}"), "has no unit"),
        (format!("{seconds} > {count}"), "has no unit"),
        (format!("{count} * {seconds}"), "has no unit"),
        (format!("1 - {seconds}"), "has no unit"),
        (format!("time() - {count}"), "is no time"),
        (format!("{seconds} / sum by (workload) (rate({switches}[5m]))"), "has no unit"),
        (format!("{count} / {seconds} > 1"), "needs parentheses"),
        (format!("{count} / {count} + {count}"), "needs parentheses"),
        (format!("{count} / sum (increase({switches}[5m]))"), "no `on`"),
        (format!("{count} / on (instance) {count}"), "no label instance"),
        (format!("{count} / on () sum (increase({switches}[5m]))"), "several series"),
        (format!("{threads} * on (instance, workload) group_left (model) {info}"), "several series"),
        (format!("{threads} * on (workload) group_left (model) topk by (instance) (1, {info})"), "several series"),
        (format!("{count} or on () label_replace({count}, \"cpu\", \"\", \"\", \"\")"), "same labels"),
        ("instance:schedscope_cpus:count".to_owned(), "there is no series"),
        (format!("quantile(0.9, {threads})"), "does not know"),
        (format!("sort({threads})"), "does not know"),
    ] {
        let Err(found) = Checker::default().check(&expr) else { panic!("{expr} passes") };
        assert!(found.contains(fault), "{expr}: {found}");
    }
}
