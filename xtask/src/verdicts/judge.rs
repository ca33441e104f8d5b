//! Whether a verdict is right, and what many of them come to. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::manifest::Pair;

/// Beside load, it is right to name the load if the program took this much longer.
const SLOWED: f64 = 1.25;
/// A predicted range is narrow if its ends are no further apart than this share of their mean.
const NARROW: f64 = 0.3;

/// What keeps a program from being faster: the values of `model.limit` in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    Cores,
    Quota,
    Mask,
    Others,
    Priority,
    Gil,
    Locks,
    KernelLocks,
    PageFaults,
    TooFewThreads,
    Bottleneck,
    Messages,
    Spinning,
    Polling,
    BlockedLoop,
    Blocked,
    AtRest,
    Hung,
    /// It waits for a CPU, and the report does not say why.
    CpuWait,
    NothingSeen,
}

impl Cause {
    const NAMES: [(Self, &str); 20] = [
        (Self::Cores, "cores"),
        (Self::Quota, "quota"),
        (Self::Mask, "mask"),
        (Self::Others, "others"),
        (Self::Priority, "priority"),
        (Self::Gil, "gil"),
        (Self::Locks, "locks"),
        (Self::KernelLocks, "kernel_locks"),
        (Self::PageFaults, "page_faults"),
        (Self::TooFewThreads, "too_few_threads"),
        (Self::Bottleneck, "bottleneck"),
        (Self::Messages, "messages"),
        (Self::Spinning, "spinning"),
        (Self::Polling, "polling"),
        (Self::BlockedLoop, "blocked_loop"),
        (Self::Blocked, "blocked"),
        (Self::AtRest, "at_rest"),
        (Self::Hung, "hung"),
        (Self::CpuWait, "cpu_wait"),
        (Self::NothingSeen, "nothing_seen"),
    ];

    /// A report that names this has found no cause.
    pub(super) fn says_nothing(self) -> bool {
        matches!(self, Self::CpuWait | Self::NothingSeen)
    }

    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().map(|(cause, _)| cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.into_iter().find(|(cause, _)| cause == self);
        formatter.pad(named.map_or("", |(_, name)| name))
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = String::deserialize(deserializer)?;
        let named = Self::NAMES.into_iter().find(|(_, name)| *name == wanted);
        named.map(|(cause, _)| cause).ok_or_else(|| D::Error::custom(format_args!("there is no cause {wanted:?}")))
    }
}

/// What is used of a report.
#[derive(Deserialize)]
pub(super) struct Report {
    #[serde(rename = "wall_seconds", deserialize_with = "seconds")]
    pub(super) wall: Duration,
    pub(super) model: Model,
    pub(super) cpus: Cpus,
    pub(super) host: Host,
}

impl Report {
    /// The share of the CPUs that other programs had.
    pub(super) fn share_of_others(&self) -> f64 {
        self.host.foreign.0.div_duration_f64(self.wall * self.cpus.online)
    }
}

#[derive(Deserialize)]
pub(super) struct Cpus {
    online: u32,
}

#[derive(Deserialize)]
pub(super) struct Host {
    kernel: String,
    #[serde(rename = "foreign_on_cpu_seconds")]
    foreign: Seconds,
}

#[derive(Deserialize)]
pub(super) struct Model {
    pub(super) limit: Cause,
    pub(super) advice: String,
    #[serde(default)]
    pub(super) what_if: Vec<WhatIf>,
}

/// What the run would take without a cause.
#[derive(Deserialize)]
pub(super) struct WhatIf {
    pub(super) cause: Cause,
    /// Least and most.
    #[serde(rename = "wall_seconds")]
    pub(super) wall: (Seconds, Seconds),
}

/// A duration, as reports have it.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(super) struct Seconds(#[serde(deserialize_with = "seconds")] Duration);

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgment {
    Right,
    /// The report names no cause.
    CannotTell,
    WrongCause,
    /// Right, but with advice where nothing is to be gained.
    WrongAdvice,
}

impl Judgment {
    pub(super) fn is_wrong(self) -> bool {
        matches!(self, Self::WrongCause | Self::WrongAdvice)
    }
}

impl fmt::Display for Judgment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Right => "right",
            Self::CannotTell => "cannot tell",
            Self::WrongCause => "wrong",
            Self::WrongAdvice => "wrong advice",
        })
    }
}

/// Judges a report. Beside load, `slowed` is how many times longer the run took than without.
pub(super) fn judge(pair: &Pair, report: &Report, slowed: Option<f64>) -> Judgment {
    let Model { limit, advice, .. } = &report.model;
    if *limit == Cause::Others && slowed.is_some_and(|slowed| slowed >= SLOWED) {
        return Judgment::Right;
    }
    if !pair.causes.contains(limit) {
        return if limit.says_nothing() { Judgment::CannotTell } else { Judgment::WrongCause };
    }
    if pair.healthy && !advice.is_empty() { Judgment::WrongAdvice } else { Judgment::Right }
}

/// Wall times of one measurement of a pair.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    /// The sick program, traced.
    pub(super) sick: Duration,
    /// The median of the cure's, untraced.
    pub(super) cure: Option<Duration>,
    /// The sick program, traced, without the load that it ran beside; absent if it ran without.
    pub(super) quiet: Option<Duration>,
}

/// A predicted range and what came true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prediction {
    pub(super) least: Duration,
    pub(super) most: Duration,
    pub(super) measured: Duration,
}

impl Prediction {
    pub(super) fn is_inside(self) -> bool {
        (self.least..=self.most).contains(&self.measured)
    }

    /// How far the ends are apart, as a share of their mean. Nothing for a range of nothing.
    pub(super) fn width(self) -> f64 {
        let sum = self.most + self.least;
        if sum.is_zero() {
            return 0.0;
        }
        2.0 * self.most.saturating_sub(self.least).div_duration_f64(sum)
    }
}

/// One measurement of a pair, judged.
pub(super) struct Case {
    pub(super) pair: Pair,
    pub(super) kernel: String,
    pub(super) named: Cause,
    pub(super) judgment: Judgment,
    /// The share of the CPUs that other programs had.
    pub(super) others: f64,
    /// Of the cure, by the first accepted cause for which there is one; only where they are to be compared.
    pub(super) prediction: Option<Prediction>,
    pub(super) measured: Measured,
}

impl Case {
    pub(super) fn new(pair: &Pair, report: &Report, measured: Measured) -> Self {
        let range = |cause: &Cause| report.model.what_if.iter().find(|what_if| what_if.cause == *cause);
        let what_if = pair.causes.iter().find_map(range).filter(|_| pair.compare);
        let prediction = what_if.zip(measured.cure).map(|(WhatIf { wall: (least, most), .. }, measured)| Prediction {
            least: least.0,
            most: most.0,
            measured,
        });
        let slowed = measured.quiet.map(|quiet| measured.sick.div_duration_f64(quiet));
        Self {
            pair: pair.clone(),
            kernel: report.host.kernel.clone(),
            named: report.model.limit,
            judgment: judge(pair, report, slowed),
            others: report.share_of_others(),
            prediction,
            measured,
        }
    }

    pub(super) fn is_beside_load(&self) -> bool {
        self.measured.quiet.is_some()
    }

    /// The cause that should have been named.
    fn right(&self) -> Cause {
        if self.judgment == Judgment::Right { self.named } else { self.pair.causes[0] }
    }
}

/// A line for the terminal.
impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pair, named, judgment, measured, prediction, .. } = self;
        let load = if self.is_beside_load() { " beside load" } else { "" };
        write!(formatter, "{}{load}: {named}, {judgment}; {:.2} s", pair.name, measured.sick.as_secs_f64())?;
        if judgment.is_wrong() || *judgment == Judgment::CannotTell {
            write!(formatter, "; right is {}", pair.causes[0])?;
        }
        if let Some(cure) = measured.cure {
            write!(formatter, "; cure {:.2} s", cure.as_secs_f64())?;
        }
        if let Some(Prediction { least, most, .. }) = prediction {
            write!(formatter, ", predicted {:.2} to {:.2} s", least.as_secs_f64(), most.as_secs_f64())?;
        }
        Ok(())
    }
}

/// What many cases come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) cases: usize,
    pub(super) right: usize,
    pub(super) cannot_tell: usize,
    pub(super) wrong: usize,
    /// Cases with a cure to predict.
    pub(super) comparable: usize,
    pub(super) predicted: usize,
    /// Predictions that came true.
    pub(super) inside: usize,
    /// Predictions that are no wider than they may be.
    pub(super) narrow: usize,
}

impl Totals {
    pub(super) fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut totals = Self::default();
        for case in cases {
            totals.cases += 1;
            match case.judgment {
                Judgment::Right => totals.right += 1,
                Judgment::CannotTell => totals.cannot_tell += 1,
                Judgment::WrongCause | Judgment::WrongAdvice => totals.wrong += 1,
            }
            totals.comparable += usize::from(case.pair.compare);
            if let Some(prediction) = case.prediction {
                totals.predicted += 1;
                totals.inside += usize::from(prediction.is_inside());
                totals.narrow += usize::from(prediction.width() <= NARROW);
            }
        }
        totals
    }
}

/// How often which cause was named where which is right.
pub(super) struct Confusions {
    pub(super) right: BTreeSet<Cause>,
    pub(super) named: BTreeSet<Cause>,
    counts: BTreeMap<(Cause, Cause), usize>,
}

impl Confusions {
    pub(super) fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut confusions = Self { right: BTreeSet::new(), named: BTreeSet::new(), counts: BTreeMap::new() };
        for case in cases {
            confusions.right.insert(case.right());
            confusions.named.insert(case.named);
            *confusions.counts.entry((case.right(), case.named)).or_default() += 1;
        }
        confusions
    }

    pub(super) fn count(&self, right: Cause, named: Cause) -> usize {
        self.counts.get(&(right, named)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
pub(super) mod tests;
