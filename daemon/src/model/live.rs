//! The model of each workload now: what its threads did since a few seconds ago.

use std::collections::{BTreeMap, HashMap};

use schedscope_ebpf::blocked::Reason;

use super::{
    facts::{Facts, OUTSIDE, Python, ThreadFacts},
    name::{self, Name},
};
use crate::capture::snapshot::{Snapshot, Tgid, Thread, WorkloadId};

/// Shortest window: below it a few switches decide.
const WINDOW_NS: u64 = 2_000_000_000;

/// A thread's figures at the begin of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    on_cpu_ns: u64,
    runnable_ns: u64,
    gil_ns: u64,
    futex_ns: u64,
    polling_ns: u64,
    outside_ns: u64,
    blocked_ns: u64,
    life_ns: u64,
    voluntary: u64,
    epoll_waits: u64,
}

/// Names the models of workloads, window by window.
#[derive(Debug, Default)]
pub struct Live {
    begin_ns: u64,
    /// By thread id and the time it began.
    before: HashMap<(u32, u64), Before>,
    /// Threads that ended in the open window.
    ended: Vec<Thread>,
    names: HashMap<WorkloadId, Name>,
}

impl Live {
    /// Takes a snapshot in; ends the window if it is long enough.
    pub fn update(&mut self, snapshot: &Snapshot, cores: u32, python: impl Fn(Tgid) -> Option<Python>) {
        self.ended.extend(snapshot.released.iter().cloned());
        let wall_ns = snapshot.taken_ns.saturating_sub(self.begin_ns);
        if wall_ns < WINDOW_NS {
            return;
        }
        if self.begin_ns != 0 {
            self.names = self.name(snapshot, wall_ns, cores, python);
        }
        self.begin_ns = snapshot.taken_ns;
        self.before = snapshot.threads.iter().map(|thread| (key(thread), figures(thread, snapshot.taken_ns))).collect();
        self.ended.clear();
    }

    /// The model of a workload over the last window; idle before the first has ended, and for one without threads.
    pub fn of(&self, workload: WorkloadId) -> Name {
        self.names.get(&workload).copied().unwrap_or(Name::Idle)
    }

    fn name(
        &self,
        snapshot: &Snapshot,
        wall_ns: u64,
        cores: u32,
        python: impl Fn(Tgid) -> Option<Python>,
    ) -> HashMap<WorkloadId, Name> {
        let mut workloads: HashMap<WorkloadId, (Vec<ThreadFacts>, BTreeMap<u32, Python>)> = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        // A slot freed by this very snapshot is in both lists.
        for thread in snapshot.threads.iter().chain(&self.ended).filter(|thread| seen.insert(key(thread))) {
            let before = self.before.get(&key(thread)).copied().unwrap_or_default();
            let (threads, pythons) = workloads.entry(thread.workload()).or_default();
            threads.push(facts(thread, &before, &figures(thread, snapshot.taken_ns)));
            if let Some(python) = python(thread.tgid()) {
                pythons.insert(thread.tgid().0, python);
            }
        }
        let wall = wall_ns as f64 / 1e9;
        workloads
            .into_iter()
            .map(|(workload, (threads, pythons))| {
                (workload, name::of(&Facts { cores, ..Facts::new(wall, &threads, &pythons) }).name)
            })
            .collect()
    }
}

fn key(thread: &Thread) -> (u32, u64) {
    (thread.record.tid, thread.record.start_ns)
}

fn figures(thread: &Thread, now_ns: u64) -> Before {
    let times = thread.times(now_ns);
    Before {
        on_cpu_ns: times.on_cpu_ns,
        runnable_ns: times.runnable_ns(),
        gil_ns: times.blocked_ns[Reason::Gil as usize],
        futex_ns: times.blocked_ns[Reason::Futex as usize],
        polling_ns: times.blocked_ns[Reason::Poll as usize],
        outside_ns: OUTSIDE.iter().map(|reason| times.blocked_ns[*reason as usize]).sum(),
        blocked_ns: times.blocked_total_ns(),
        life_ns: thread.lifetime_ns(now_ns),
        voluntary: thread.record.voluntary,
        epoll_waits: thread.record.epoll_waits,
    }
}

fn facts(thread: &Thread, before: &Before, now: &Before) -> ThreadFacts {
    let seconds = |now_ns: u64, before_ns: u64| now_ns.saturating_sub(before_ns) as f64 / 1e9;
    ThreadFacts {
        tgid: thread.record.tgid,
        is_main: thread.record.tid == thread.record.tgid,
        on_cpu: seconds(now.on_cpu_ns, before.on_cpu_ns),
        runnable: seconds(now.runnable_ns, before.runnable_ns),
        gil: seconds(now.gil_ns, before.gil_ns),
        futex: seconds(now.futex_ns, before.futex_ns),
        polling: seconds(now.polling_ns, before.polling_ns),
        outside: seconds(now.outside_ns, before.outside_ns),
        blocked: seconds(now.blocked_ns, before.blocked_ns),
        life: seconds(now.life_ns, before.life_ns),
        has_ended: thread.has_ended(),
        voluntary: now.voluntary.saturating_sub(before.voluntary),
        epoll_waits: now.epoll_waits.saturating_sub(before.epoll_waits),
    }
}

#[cfg(test)]
mod tests {
    use schedscope_ebpf::task_clock::Phase;

    use super::*;
    use crate::capture::snapshot::tests::thread;

    fn at(taken_ns: u64, mut threads: Vec<Thread>) -> Snapshot {
        for thread in &mut threads {
            thread.record.clock.since_ns = taken_ns;
        }
        Snapshot { taken_ns, threads, ..Snapshot::default() }
    }

    fn spinner(tid: u32, on_cpu_ns: u64) -> Thread {
        let mut thread = thread(tid, Phase::Running);
        thread.record.on_cpu_ns = on_cpu_ns;
        thread
    }

    #[test]
    fn a_workload_is_named_by_what_it_did_in_the_window() {
        let second = 1_000_000_000;
        let mut live = Live::default();
        let workload = WorkloadId(1);
        live.update(&at(10 * second, vec![spinner(1, 0), spinner(2, 9 * second)]), 2, |_| None);
        assert_eq!(live.of(workload), Name::Idle);
        // Only the first one runs; what the other did before does not count.
        live.update(&at(13 * second, vec![spinner(1, 3 * second), spinner(2, 9 * second)]), 2, |_| None);
        assert_eq!(live.of(workload), Name::Serial);
        live.update(&at(16 * second, vec![spinner(1, 6 * second), spinner(2, 12 * second)]), 2, |_| None);
        assert_eq!(live.of(workload), Name::Processes);
        // Too short to tell, then ended within the window.
        live.update(&at(17 * second, vec![spinner(1, 6 * second)]), 2, |_| None);
        assert_eq!(live.of(workload), Name::Processes);
        assert_eq!(live.of(WorkloadId(7)), Name::Idle);
    }
}
