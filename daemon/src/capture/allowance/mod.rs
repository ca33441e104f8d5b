//! What a program may use of the CPUs, by what the kernel says: the masks and priorities of its threads, the quotas and weights of its
//! cgroups. Its processes are also looked at for event loops.
//!
//! All of it can change while it runs, by its own doing or by others', so they are looked at again and again: soon after the begin, since a
//! short program must be seen too, and then less often.

mod cpu_set;
mod epoll;
mod hierarchy;
mod priority;
mod programs;
mod quota;
mod weight;

use std::collections::{HashMap, HashSet};

pub(crate) use cpu_set::CpuSet;
use hierarchy::Hierarchies;
pub(crate) use priority::Priority;
pub(crate) use programs::{Allowances, Allowed, Wanting};
pub(crate) use quota::Quota;
use quota::Quotas;
#[cfg(test)]
pub(crate) use quota::{Limit, Usage};

pub(crate) use weight::Weight;
use weight::Weights;

use super::snapshot::{Snapshot, Tgid, Thread, Tid};

/// Pause between two looks at the beginning and at most.
const PAUSES_NS: (u64, u64) = (4_000_000, 1_000_000_000);
/// Threads and processes looked at in one go: a thread takes half a microsecond, a process twenty.
const THREADS_AT_ONCE: usize = 1024;
const PROCESSES_AT_ONCE: usize = 32;

/// What a program might use while it ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowance {
    /// Number of CPUs in the masks of those threads that wanted one, on average over the time in which any did; `None` if none was seen.
    pub(crate) cpus: Option<f64>,
    /// The last mask of each thread, by [`Thread::key`].
    pub(crate) masks: HashMap<(Tid, u64), CpuSet>,
    /// The last priority of each thread, likewise.
    pub(crate) priorities: HashMap<(Tid, u64), Priority>,
    /// How long threads waited for a CPU that give way to others by a priority of their own ([`Priority::is_meek`]).
    pub(crate) meek_ns: u64,
    /// The limits of all cgroups that had one.
    pub(crate) quotas: Vec<Quota>,
    /// Processes that had an epoll instance.
    pub(crate) loops: HashSet<Tgid>,
    /// The smallest weight among its cgroups and those above them, if any is below the usual one.
    pub(crate) weight: Option<Weight>,
}

/// Whether the cgroups of all processes can be read, though we are in a namespace that shows paths from our own.
pub(crate) fn cgroups_are_whole() -> bool {
    Hierarchies::mounted().are_whole()
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

/// How long a thread has wanted a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    total_ns: u64,
    /// Of that, in vain.
    runnable_ns: u64,
}

impl Wanted {
    fn by(thread: &Thread, now_ns: u64) -> Wanted {
        let times = thread.times(now_ns);
        Wanted { total_ns: times.on_cpu_ns + times.runnable_ns(), runnable_ns: times.runnable_ns() }
    }

    fn since(self, before: Option<&Wanted>) -> Wanted {
        let before = before.copied().unwrap_or_default();
        Wanted {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            runnable_ns: self.runnable_ns.saturating_sub(before.runnable_ns),
        }
    }
}

/// Looks at it while the program runs.
#[derive(Debug)]
pub(super) struct Watch {
    hierarchies: Hierarchies,
    quotas: Quotas,
    loops: HashSet<Tgid>,
    weights: Weights,
    masks: HashMap<(Tid, u64), CpuSet>,
    priorities: HashMap<(Tid, u64), Priority>,
    meek_ns: u64,
    /// How long each thread had wanted a CPU at the last look.
    wanted: HashMap<(Tid, u64), Wanted>,
    /// Time between looks, and the same times the number of CPUs.
    watched_ns: u64,
    cpus_ns: u64,
    looked_ns: u64,
    pause_ns: u64,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch {
            hierarchies: Hierarchies::mounted(),
            quotas: Quotas::default(),
            weights: Weights::default(),
            loops: HashSet::new(),
            masks: HashMap::new(),
            priorities: HashMap::new(),
            meek_ns: 0,
            wanted: HashMap::new(),
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

    /// `threads` are all that lived, at the end.
    pub(super) fn finish(mut self, threads: &[Thread], now_ns: u64) -> Allowance {
        let cpus = (self.watched_ns > 0).then(|| self.cpus_ns as f64 / self.watched_ns as f64);
        self.quotas.read();
        for thread in threads {
            let waited = Wanted::by(thread, now_ns).since(self.wanted.get(&thread.key()));
            self.add_meek(thread, waited);
        }
        Allowance {
            cpus,
            masks: self.masks,
            priorities: self.priorities,
            meek_ns: self.meek_ns,
            quotas: self.quotas.all().cloned().collect(),
            weight: self.weights.smallest(),
            loops: self.loops,
        }
    }

    /// Counts a wait since the last look, if the thread is known to give way.
    fn add_meek(&mut self, thread: &Thread, waited: Wanted) {
        if self.priorities.get(&thread.key()).is_some_and(|priority| priority.is_meek()) {
            self.meek_ns += waited.runnable_ns;
        }
    }

    fn look(&mut self, snapshot: &Snapshot) {
        let now_ns = snapshot.taken_ns;
        let mut active: Vec<(&Thread, Wanted)> = snapshot
            .threads
            .iter()
            .map(|thread| (thread, Wanted::by(thread, now_ns).since(self.wanted.get(&thread.key()))))
            .filter(|(_, wanted)| wanted.total_ns > 0)
            .collect();
        active.sort_by_key(|(_, wanted)| std::cmp::Reverse(wanted.total_ns));
        let alive = || active.iter().map(|(thread, _)| *thread).filter(|thread| !thread.has_ended());
        let mut together = CpuSet::default();
        for thread in alive().take(THREADS_AT_ONCE) {
            if let Some(mask) = CpuSet::of_thread(thread.tid()) {
                self.masks.insert(thread.key(), mask);
                together.add(&mask);
            }
            if let Some(priority) = Priority::of_thread(thread.tid()) {
                self.priorities.insert(thread.key(), priority);
            }
        }
        for (thread, wanted) in &active {
            self.add_meek(thread, *wanted);
            self.wanted.insert(thread.key(), Wanted::by(thread, now_ns));
        }
        // The busiest, and at first those that have only begun.
        let begun = snapshot.live().filter(|_| self.looked_ns == 0).map(Thread::tgid);
        let mut processes = HashSet::new();
        for process in alive().map(Thread::tgid).chain(begun) {
            if processes.len() < PROCESSES_AT_ONCE && processes.insert(process) {
                for (version, directory) in self.hierarchies.groups_of(process) {
                    self.quotas.meet(version, &directory);
                    self.weights.meet(version, &directory);
                }
                // At first a child may still have our files.
                if self.looked_ns > 0 && !self.loops.contains(&process) && epoll::has_epoll(process) {
                    self.loops.insert(process);
                }
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
