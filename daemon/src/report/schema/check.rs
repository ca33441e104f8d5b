//! Ours against the kernel's own figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::bounds::Bounds;

/// Ours against the kernel's own numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Check {
    /// Threads compared one by one: those that ended under observation.
    pub threads: u64,
    /// Threads of which any count differs.
    pub threads_differing: u64,
    /// Each quantity of `task_struct`, summed over these threads.
    pub residuals: Vec<Residual>,
    /// The same from other parts of the kernel, over the whole tree.
    #[serde(default)]
    pub oracles: Vec<Residual>,
    /// Sources that could not be asked, and why.
    #[serde(default)]
    pub not_compared: BTreeMap<String, String>,
    /// What other counters do not see, counted.
    #[serde(default)]
    pub unseen_by_others: UnseenByOthers,
}

/// What we count and other counters of the kernel's do not: it bounds the difference.
///
/// "Ending" is what a thread does after it began to end, its last switch included.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UnseenByOthers {
    /// Threads that ended.
    pub ended: u64,
    /// Of these, threads that nobody waits for: all but the leader of each process. A leader that an exec replaced is neither.
    pub ended_unwaited: u64,
    /// Voluntary switches while ending.
    pub voluntary: u64,
    /// Involuntary switches while ending.
    pub involuntary: u64,
    /// The part of `voluntary` of threads that nobody waits for, leaders that an exec replaced included.
    pub voluntary_unwaited: u64,
    /// The same part of `involuntary`.
    pub involuntary_unwaited: u64,
    /// Migrations while ending.
    pub migrations: u64,
    /// On-CPU time while ending.
    pub on_cpu_seconds: f64,
    /// Time that the kernel left out of runs because a hypervisor or an interrupt had the CPU.
    pub taken_seconds: f64,
    /// Migrations beyond the first between two runs of a thread.
    pub migrations_again: u64,
    /// Migrations of which no event was seen, and which the kernel's count told.
    pub migrations_repaired: u64,
}

/// One quantity, ours and the kernel's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Residual {
    /// Where the kernel's figure is from: `task_struct`, `wait4`, `perf`, `proc`, `proc_stat`.
    #[serde(default)]
    pub source: String,
    /// The kernel's name for it: `nvcsw`, `nivcsw`, `nr_migrations`, `sum_exec_runtime_seconds`, `run_delay_seconds`, ...
    pub quantity: String,
    /// Counted by us.
    pub ours: f64,
    /// Kept by the kernel.
    pub kernel: f64,
    /// Ours less the kernel's.
    pub difference: f64,
    /// The least that the difference may be; without it there is no lower bound.
    #[serde(default)]
    pub at_least: Option<f64>,
    /// The most that the difference may be; without it there is no upper bound.
    #[serde(default)]
    pub at_most: Option<f64>,
    /// Why the two may differ; empty if they may not.
    #[serde(default)]
    pub because: String,
}

impl Residual {
    /// Compares; `bounds` are those of ours less the kernel's.
    pub fn new(source: &str, quantity: &str, ours: f64, kernel: f64, bounds: Bounds) -> Residual {
        Residual {
            source: source.to_owned(),
            quantity: quantity.to_owned(),
            ours,
            kernel,
            difference: ours - kernel,
            at_least: bounds.at_least,
            at_most: bounds.at_most,
            because: String::new(),
        }
    }

    /// Says why the two may differ.
    #[must_use]
    pub fn because(self, why: &str) -> Residual {
        Residual { because: why.to_owned(), ..self }
    }

    /// The interval in which the difference must lie.
    pub fn bounds(&self) -> Bounds {
        Bounds { at_least: self.at_least, at_most: self.at_most }
    }

    /// Whether the difference is in bounds.
    pub fn is_within(&self) -> bool {
        self.bounds().contain(self.difference)
    }
}
