//! What the same work would take without waits for the GIL.
//!
//! The ledger of a thread says what it needs: time on a CPU, and time blocked for something outside the program, such as a disk, a
//! peer or a clock. Waits for the GIL fall away, and so do those at other locks: what a thread waits for there is another thread of the
//! program, which has needs of its own and meets them sooner. The workers are done when the one that needs most is, or when the cores
//! have got through all of it, whichever is later. What the program does before its workers start and after they have ended stays as
//! it was.

use schedscope_ebpf::blocked::Reason;

use super::model::ModelName;
use super::thresholds::{HOST_NOTABLE, LEDGER_CROWDED, MOSTLY, START_NS_PER_PROCESS};
use super::window::{Ledger, Window, share};
use super::workers::Workers;

/// Wall times that the ledgers predict for the same work done otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// With the same threads and no GIL.
    pub(crate) without_gil_ns: u64,
    /// What the start of one process was taken to cost.
    pub(crate) start_ns_per_process: u64,
    pub(crate) workers: u64,
}

impl Estimate {
    /// With every worker thread as a process of its own.
    pub(crate) fn processes_ns(&self) -> u64 {
        self.without_gil_ns + self.start_ns_per_process * self.workers
    }

    /// The estimate for a program bound by the lock; `None` for any other, which has nothing to gain by it, and on a crowded host.
    pub(super) fn of(window: &Window, workers: &Workers, model: ModelName) -> Option<Estimate> {
        let times = &workers.times;
        let is_crowded = times.runnable_ns() as f64 > LEDGER_CROWDED * (times.on_cpu_ns + times.blocked(Reason::Gil)) as f64;
        (model == ModelName::ThreadsGilBound && window.wall_ns > 0 && !is_crowded).then(|| {
            let workers = without_starter(workers);
            Estimate {
                without_gil_ns: unbound_ns(window.wall_ns, &workers, window.cores(), 0),
                start_ns_per_process: START_NS_PER_PROCESS,
                workers: workers.len() as u64,
            }
        })
    }
}

/// What the same threads would take if one thing were not in their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relief {
    pub(crate) wall_ns: u64,
}

impl Relief {
    /// With so many cores to themselves. `None` where others took cores too, since nobody knows how many they would take then.
    pub(super) fn of(window: &Window, workers: &Workers, cores: u64) -> Option<Relief> {
        (window.mean(window.foreign_ns) < HOST_NOTABLE && window.wall_ns > 0).then(|| {
            let serial_ns = workers
                .processes
                .iter()
                .filter(|process| process.has_one_gil())
                .map(|process| process.workers.iter().map(|worker| worker.times.on_cpu_ns).sum::<u64>());
            let needed_ns = serial_ns.max().unwrap_or(0);
            Relief { wall_ns: unbound_ns(window.wall_ns, &without_starter(workers), cores, needed_ns) }
        })
    }
}

/// The workers, without a first thread that has started them and mostly waits for their end: what it does before and after is no part
/// of what is divided.
fn without_starter<'a>(workers: &Workers<'a>) -> Vec<&'a Ledger> {
    let others_ns = workers.iter().filter(|worker| !worker.is_main).map(|worker| worker.times.total_ns()).max().unwrap_or(0);
    let waits = |worker: &Ledger| worker.is_main && share(worker.times.blocked(Reason::Futex), others_ns) >= MOSTLY;
    workers.iter().filter(|worker| !waits(worker)).collect()
}

/// With nothing in the workers' way but the number of cores and `at_least_ns`.
fn unbound_ns(wall_ns: u64, workers: &[&Ledger], cores: u64, at_least_ns: u64) -> u64 {
    let longest = |of: fn(&Ledger) -> u64| workers.iter().map(|worker| of(worker)).max().unwrap_or(0);
    let with_workers_ns = longest(|worker| worker.times.total_ns()).min(wall_ns);
    let on_cpu_ns: u64 = workers.iter().map(|worker| worker.times.on_cpu_ns).sum();
    let needed_ns = longest(needed_ns).max(on_cpu_ns / cores).max(at_least_ns);
    wall_ns - with_workers_ns + needed_ns.min(with_workers_ns)
}

/// On a CPU, or blocked for something outside the program.
fn needed_ns(worker: &Ledger) -> u64 {
    let times = &worker.times;
    times.on_cpu_ns + times.blocked_total_ns() - times.blocked(Reason::Gil) - times.blocked(Reason::Futex)
}
