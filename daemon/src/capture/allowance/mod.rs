//! What a program may use of the CPUs, by what the kernel says: the masks of its threads, and the quotas of its cgroups.
//!
//! Both can change while it runs, by its own doing or by others', so they are looked at again and again: soon after the begin, since a
//! short program must be seen too, and then less often.

mod cpu_set;
mod programs;
mod quota;

use std::collections::{HashMap, HashSet};

pub(crate) use cpu_set::CpuSet;
pub(crate) use programs::{Allowances, Allowed, Wanting};
pub(crate) use quota::Quota;
use quota::Quotas;
#[cfg(test)]
pub(crate) use quota::{Limit, Usage};

use super::snapshot::{Snapshot, Thread, Tid};

/// Pause between two looks at the beginning and at most.
const PAUSES_NS: (u64, u64) = (4_000_000, 1_000_000_000);
/// Threads and processes looked at in one go: a thread takes a fifth of a microsecond, a process twenty.
const THREADS_AT_ONCE: usize = 1024;
const PROCESSES_AT_ONCE: usize = 32;

/// What a program might use while it ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowance {
    /// Number of CPUs in the masks of those threads that wanted one, on average over the time in which any did; `None` if none was seen.
    pub(crate) cpus: Option<f64>,
    /// The last mask of each thread, by [`Thread::key`].
    pub(crate) masks: HashMap<(Tid, u64), CpuSet>,
    /// The limits of all cgroups that had one.
    pub(crate) quotas: Vec<Quota>,
}

impl Allowance {
    /// The quota that let threads wait longest, if any did.
    pub(crate) fn binding_quota(&self) -> Option<&Quota> {
        self.quotas.iter().filter(|quota| quota.usage.throttled_periods > 0).max_by_key(|quota| quota.usage.throttled_ns)
    }

    /// The smallest quota in CPUs.
    pub(crate) fn quota_cpus(&self) -> Option<f64> {
        self.quotas.iter().map(|quota| quota.limit.cpus()).reduce(f64::min)
    }
}

/// Looks at it while the program runs.
#[derive(Debug)]
pub(super) struct Watch {
    quotas: Quotas,
    masks: HashMap<(Tid, u64), CpuSet>,
    /// How long each thread had wanted a CPU at the last look.
    wanted_ns: HashMap<(Tid, u64), u64>,
    /// Time between looks, and the same times the number of CPUs.
    watched_ns: u64,
    cpus_ns: u64,
    looked_ns: u64,
    pause_ns: u64,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch {
            quotas: Quotas::new(),
            masks: HashMap::new(),
            wanted_ns: HashMap::new(),
            watched_ns: 0,
            cpus_ns: 0,
            looked_ns: 0,
            pause_ns: PAUSES_NS.0,
        }
    }

    /// Looks if it is time to.
    pub(super) fn update(&mut self, snapshot: &Snapshot) {
        let is_first = self.looked_ns == 0;
        if is_first || snapshot.taken_ns >= self.looked_ns + self.pause_ns {
            self.look(snapshot);
            self.pause_ns = if is_first { PAUSES_NS.0 } else { (self.pause_ns * 2).min(PAUSES_NS.1) };
        }
    }

    pub(super) fn finish(mut self) -> Allowance {
        let cpus = (self.watched_ns > 0).then(|| self.cpus_ns as f64 / self.watched_ns as f64);
        self.quotas.read();
        Allowance { cpus, quotas: self.quotas.all().cloned().collect(), masks: self.masks }
    }

    fn look(&mut self, snapshot: &Snapshot) {
        let now_ns = snapshot.taken_ns;
        let wanted = |thread: &Thread| {
            let times = thread.times(now_ns);
            times.on_cpu_ns + times.runnable_ns()
        };
        let before_ns =
            std::mem::replace(&mut self.wanted_ns, snapshot.live().map(|thread| (thread.key(), wanted(thread))).collect());
        let growth = |thread| wanted(thread).saturating_sub(before_ns.get(&thread.key()).copied().unwrap_or(0));
        let mut active: Vec<(&Thread, u64)> = snapshot.live().map(|thread| (thread, growth(thread))).collect();
        active.retain(|(_, wanted_ns)| *wanted_ns > 0);
        active.sort_by_key(|(_, wanted_ns)| std::cmp::Reverse(*wanted_ns));
        let mut together = CpuSet::default();
        for (thread, _) in active.iter().take(THREADS_AT_ONCE) {
            if let Some(mask) = CpuSet::of_thread(thread.tid()) {
                self.masks.insert(thread.key(), mask);
                together.add(&mask);
            }
        }
        // The busiest, and at first those that have only begun.
        let begun = snapshot.live().filter(|_| self.looked_ns == 0).map(Thread::tgid);
        let mut processes = HashSet::new();
        for process in active.iter().map(|(thread, _)| thread.tgid()).chain(begun) {
            if processes.len() < PROCESSES_AT_ONCE && processes.insert(process) {
                self.quotas.meet(process);
            }
        }
        // The group may be gone at the end.
        self.quotas.read();
        if together.count() > 0 && self.looked_ns > 0 {
            let length_ns = now_ns.saturating_sub(self.looked_ns);
            self.watched_ns += length_ns;
            self.cpus_ns += length_ns * u64::from(together.count());
        }
        self.looked_ns = now_ns;
    }
}
