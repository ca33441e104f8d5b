//! All comparisons of a run, and the verdict on them.

use std::collections::BTreeMap;

use schedscope_ebpf::loss::Loss;
use schedscope_ebpf::task_clock::Phase;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comparison::{Bounds, ON_CPU_SHARE, Residual, Verdict};
use super::run_delay::Waits;
use super::task_struct::UnseenByOthers;
use crate::capture::distribution::Distribution;
use crate::capture::run::Run;
use crate::capture::snapshot::Thread;
use crate::units::seconds;

/// Our figures against the kernel's own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
pub(crate) fn ledger(run: &Run, check: &Check) -> [Residual; 3] {
    let charged = seconds(run.threads.iter().map(|thread| thread.times(run.taken_ns).total_ns()).sum());
    let lived = seconds(run.threads.iter().map(|thread| thread.lifetime_ns(run.taken_ns)).sum());
    [
        Residual::new(
            "ledger",
            "running + runnable + transit + blocked_seconds",
            charged,
            lived,
            Bounds::within(ON_CPU_SHARE * lived),
        ),
        Residual::counts("ledger", "threads not compared", run.tasks().1, check.threads),
        Residual::counts("ledger", "observations missing", run.losses.missing(), 0),
    ]
}

/// What must hold of every run whose threads have all ended: each voluntary switch but the last, and each fork, is followed by a wait for
/// a wake-up; each other switch by a wait after a preemption; each run is a timeslice. A switch-in that was missed leaves a wait and a run
/// of unknown length, and a thread that was alive before may have begun with such a run.
pub(crate) fn identities(run: &Run) -> Vec<Residual> {
    if run.threads.is_empty() || run.threads_forgotten > 0 || run.losses.missing() > 0 || !run.threads.iter().all(Thread::has_ended)
    {
        return Vec::new();
    }
    let totals = &run.totals;
    let alive_before = run.threads.iter().filter(|thread| thread.record.seeded_as != Phase::New as u16).count() as u64;
    let involuntary = totals.preempted + totals.yielded;
    let unseen = run.losses.0[Loss::SwitchInUnseen as usize];
    let row = |quantity, ours: &Distribution, events: u64, unobserved: u64| {
        let row = Residual::new("ledger", quantity, ours.count() as f64, events as f64, Bounds::between(-(unobserved as f64), 0.0));
        if unobserved == 0 {
            row
        } else {
            row.because("the length of a run whose begin was not seen, and of the wait before it, is not known")
        }
    };
    vec![
        row("waits for a wake-up", &totals.wakeup_latency, totals.voluntary.saturating_sub(alive_before), unseen),
        row("waits after a preemption", &totals.preemption_wait, involuntary, unseen),
        row("timeslices", &totals.timeslice, totals.voluntary + involuntary, unseen + alive_before),
    ]
}
