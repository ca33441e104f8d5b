//! All comparisons of a run, and the verdict on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    comparison::{Bounds, ON_CPU_SHARE, Residual, Verdict},
    run_delay::Waits,
    task_struct::UnseenByOthers,
};
use crate::{capture::run::Run, units::seconds};

/// Our figures against the kernel's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Check {
    /// Threads compared one by one: those that ended under observation.
    pub threads: u64,
    /// Threads with any count that differs.
    pub threads_differing: u64,
    /// Each quantity of `task_struct`, summed over these threads.
    pub residuals: Vec<Residual>,
    /// The same from other parts of the kernel, over the whole tree.
    #[serde(default)]
    pub oracles: Vec<Residual>,
    /// Sources that could not be read, and why.
    #[serde(default)]
    pub not_compared: BTreeMap<String, String>,
    /// What we count but other counters do not.
    #[serde(default)]
    pub unseen_by_others: UnseenByOthers,
    /// The waits of these threads against the kernel's run delay, thread by thread.
    #[serde(default)]
    pub waits: Waits,
}

impl Check {
    /// Every comparison: the sums, and how many threads differ, since differences of two threads may cancel out.
    pub fn rows(&self) -> Vec<Residual> {
        let threads = (self.threads > 0)
            .then(|| Residual::counts("task_struct", "threads with any other count", self.threads_differing, 0))
            .into_iter()
            .chain(self.waits.row("task_struct"));
        self.residuals.iter().cloned().chain(threads).chain(self.oracles.iter().cloned()).collect()
    }

    /// The verdict on all of them.
    pub fn verdict(&self) -> Verdict {
        if self.threads == 0 && self.oracles.is_empty() {
            return Verdict::NotCompared { why: "no thread ended under observation".to_owned() };
        }
        self.rows().iter().map(Residual::verdict).collect()
    }
}

/// The ledger of a run in which nothing may be missing: every nanosecond is accounted for, every thread was compared, and nothing
/// was lost.
pub fn ledger(run: &Run, check: &Check) -> [Residual; 3] {
    let charged = seconds(run.threads.iter().map(|thread| thread.times(run.taken_ns).total_ns()).sum());
    let lived = seconds(run.threads.iter().map(|thread| thread.lifetime_ns(run.taken_ns)).sum());
    [
        Residual::new("ledger", "running + runnable + blocked_seconds", charged, lived, Bounds::within(ON_CPU_SHARE * lived)),
        Residual::counts("ledger", "threads not compared", run.tasks().1, check.threads),
        Residual::counts("ledger", "observations missing", run.losses.missing(), 0),
    ]
}
