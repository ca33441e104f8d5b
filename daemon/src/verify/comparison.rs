//! One of our figures beside the kernel's. Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::units::{seconds, to_the_nanosecond};

/// On-CPU time may differ by this share.
pub(crate) const ON_CPU_SHARE: f64 = 0.001;

/// How a table marks a figure out of bounds.
pub const OUT_OF_BOUNDS: &str = "OUT OF BOUNDS";

/// Quantities whose unit is seconds end in this; all others are counts.
const SECONDS: &str = "_seconds";

/// The interval in which our figure minus the kernel's must lie. A side that is `None` has no bound; without either the two are not
/// compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Bounds {
    /// Null if there is no lower bound.
    #[serde(serialize_with = "written_if_any")]
    pub(crate) at_least: Option<f64>,
    /// Null if there is no upper bound.
    #[serde(serialize_with = "written_if_any")]
    pub(crate) at_most: Option<f64>,
}

/// A figure as it is written. Compared is what is not rounded.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn written<S: Serializer>(figure: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    to_the_nanosecond(*figure).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn written_if_any<S: Serializer>(figure: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    figure.map(to_the_nanosecond).serialize(serializer)
}

impl Bounds {
    /// The two are equal.
    pub const EQUAL: Bounds = Bounds::between(0.0, 0.0);
    /// The two are not compared.
    pub(crate) const NONE: Bounds = Bounds { at_least: None, at_most: None };

    /// Both ends included.
    pub const fn between(at_least: f64, at_most: f64) -> Bounds {
        Bounds { at_least: Some(at_least), at_most: Some(at_most) }
    }

    /// The same distance to either side.
    pub const fn within(distance: f64) -> Bounds {
        Bounds::between(-distance, distance)
    }

    /// Whether a difference lies inside. One that is not a number does not.
    pub(crate) fn contain(&self, difference: f64) -> bool {
        difference.is_finite()
            && self.at_least.is_none_or(|least| difference >= least)
            && self.at_most.is_none_or(|most| difference <= most)
    }
}

/// The result of a comparison, or of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was compared is within its bounds.
    Agrees,
    /// Something is not.
    Differs {
        /// Each figure that is out of bounds, in a few words.
        rows: Vec<String>,
    },
    /// Nothing was compared.
    NotCompared {
        /// Why.
        why: String,
    },
}

impl Verdict {
    /// Whether something is out of bounds.
    pub fn differs(&self) -> bool {
        matches!(self, Verdict::Differs { .. })
    }

    /// The verdict in a table.
    pub(crate) fn mark(&self) -> &'static str {
        match self {
            Verdict::Agrees => "ok",
            Verdict::Differs { .. } => OUT_OF_BOUNDS,
            Verdict::NotCompared { .. } => "not compared",
        }
    }
}

/// One figure out of bounds is enough to differ, and one that was compared to agree.
impl FromIterator<Verdict> for Verdict {
    fn from_iter<I: IntoIterator<Item = Verdict>>(verdicts: I) -> Verdict {
        let (mut rows, mut reasons, mut agrees) = (Vec::new(), Vec::new(), false);
        for verdict in verdicts {
            match verdict {
                Verdict::Agrees => agrees = true,
                Verdict::Differs { rows: more } => rows.extend(more),
                Verdict::NotCompared { why } if reasons.contains(&why) => {}
                Verdict::NotCompared { why } => reasons.push(why),
            }
        }
        if !rows.is_empty() {
            Verdict::Differs { rows }
        } else if agrees {
            Verdict::Agrees
        } else {
            Verdict::NotCompared { why: reasons.join("; ") }
        }
    }
}

/// One quantity, our figure and the kernel's.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Residual {
    /// Where the kernel's figure is from: `task_struct`, `wait4`, `proc`, `proc_stat`, `perf`; `ledger` if it is our own.
    #[serde(default)]
    pub source: String,
    /// The kernel's name for it: `nvcsw`, `nivcsw`, `nr_migrations`, `sum_exec_runtime_seconds`, `run_delay_seconds`, ...
    pub quantity: String,
    /// By schedscope.
    #[serde(serialize_with = "written")]
    pub ours: f64,
    /// By the kernel.
    #[serde(serialize_with = "written")]
    pub kernel: f64,
    /// Our figure minus the kernel's.
    #[serde(serialize_with = "written")]
    pub difference: f64,
    /// The interval in which the difference must lie.
    #[serde(flatten)]
    pub bounds: Bounds,
    /// Why the two may differ, or why they are not compared; empty if they must be equal.
    #[serde(default)]
    pub because: String,
}

impl Residual {
    /// Compares. `bounds` are for our figure minus the kernel's.
    pub fn new(source: &str, quantity: &str, ours: f64, kernel: f64, bounds: Bounds) -> Residual {
        Residual {
            source: source.to_owned(),
            quantity: quantity.to_owned(),
            ours,
            kernel,
            difference: ours - kernel,
            bounds,
            because: String::new(),
        }
    }

    pub(crate) fn counts(source: &str, quantity: &str, ours: u64, kernel: u64) -> Residual {
        Residual::new(source, quantity, ours as f64, kernel as f64, Bounds::EQUAL)
    }

    pub(crate) fn on_cpu(source: &str, quantity: &str, ours_ns: u64, kernel_ns: u64) -> Residual {
        let kernel = seconds(kernel_ns);
        Residual::new(source, quantity, seconds(ours_ns), kernel, Bounds::within(ON_CPU_SHARE * kernel))
    }

    /// Says why the two may differ.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Residual {
        Residual { because: why.into(), ..self }
    }

    /// Whether the difference is in bounds.
    pub fn verdict(&self) -> Verdict {
        if self.bounds == Bounds::NONE {
            Verdict::NotCompared { why: format!("{} {}: {}", self.source, self.quantity, self.because) }
        } else if self.bounds.contain(self.difference) {
            Verdict::Agrees
        } else {
            Verdict::Differs { rows: vec![self.to_string()] }
        }
    }

    /// Whether it is a time; all others are counts.
    pub fn is_time(&self) -> bool {
        self.quantity.ends_with(SECONDS)
    }

    /// A figure of this quantity: a count, or seconds to the microsecond.
    pub fn figure(&self, value: f64) -> String {
        // No minus before a zero.
        let value = if value == 0.0 { 0.0 } else { value };
        if self.is_time() { format!("{value:.6}") } else { format!("{value:.0}") }
    }

    /// The interval for people.
    pub(crate) fn allowed(&self) -> String {
        match (self.bounds.at_least, self.bounds.at_most) {
            (Some(0.0), Some(0.0)) => "0".to_owned(),
            (Some(least), Some(most)) => format!("{} to {}", self.figure(least), self.figure(most)),
            (Some(least), None) => format!("{} or more", self.figure(least)),
            (None, Some(most)) => format!("{} or less", self.figure(most)),
            (None, None) => "-".to_owned(),
        }
    }
}

/// "wait4 `ru_nvcsw` +3 (0 to 1 allowed)".
impl fmt::Display for Residual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.difference > 0.0 { "+" } else { "" };
        write!(f, "{} {} {sign}{} ({} allowed)", self.source, self.quantity, self.figure(self.difference), self.allowed())
    }
}
