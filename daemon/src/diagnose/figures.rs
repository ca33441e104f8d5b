//! The figures that the verdicts rest on and that are told with them.

use std::collections::HashMap;

use super::thresholds::{IN_KERNEL, MANY_STARTS, MOSTLY, NOTABLE_WAIT, PAGES_ANEW};
use super::window::{Window, share};
use super::workers::Workers;
use crate::capture::run::Usage;

/// Of a program over a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Threads that matter, and their processes: a launcher's helpers of a few milliseconds are no part of a program of a second.
    pub(crate) threads: u64,
    pub(crate) processes: u64,
    /// Processes that there were, in a second.
    pub(crate) processes_per_second: f64,
    /// Threads that do the work.
    pub(crate) workers: u64,
    /// How often these wait, a second.
    pub(crate) waits: f64,
    /// Processes that these belong to.
    pub(crate) working_processes: u64,
    /// Cores that it may use; never 0.
    pub(crate) cores: u64,
    /// Cores that it was given; fewer in its masks is its own doing or its starter's.
    pub(crate) given: u64,
    /// Cores online; never fewer.
    pub(crate) online: u64,
    /// C: mean number of threads on a CPU.
    pub(crate) running: f64,
    /// D: mean number of threads on a CPU or waiting for one.
    pub(crate) demand: f64,
    /// The same with those on the way to one: woken, but not in its run queue yet.
    pub(crate) with_transit: f64,
    /// Of the time in which the threads could run, the part that they waited for a CPU.
    pub(crate) wait_share: f64,
    /// The one figure about the GIL: of the time in which the workers ran or waited for it, the part that they waited.
    pub(crate) gil_share: f64,
    /// Of its CPU time, the part in the kernel; 0 if that is not known.
    pub(crate) in_kernel: f64,
    /// Page faults a second, if they are what it is in the kernel for, and it had given the memory back before; else 0.
    pub(crate) pages_anew: f64,
}

impl Figures {
    pub(super) fn of(window: &Window, workers: &Workers) -> Figures {
        let cores = window.cores();
        let (on_cpu_ns, runnable_ns) = (window.times.on_cpu_ns, window.times.runnable_ns());
        let has_short_lived_workers = window.has_short_lived_workers();
        let (mut slight, mut processes) = (0, HashMap::new());
        for (number, ledger) in window.ledgers.iter().enumerate() {
            let matters = has_short_lived_workers || !window.is_short_lived(ledger) || workers.numbers.contains(&number);
            slight += u64::from(!matters);
            *processes.entry(ledger.tgid).or_insert(false) |= matters;
        }
        let slight_processes = processes.values().filter(|matters| !**matters).count() as u64;
        Figures {
            threads: window.threads.saturating_sub(slight).max(window.threads.min(1)),
            processes: window.processes.saturating_sub(slight_processes).max(window.processes.min(1)),
            processes_per_second: window.per_second(window.processes),
            waits: window.per_second(workers.iter().map(|worker| worker.voluntary).sum()),
            workers: workers.iter().count() as u64,
            working_processes: workers.processes.len() as u64,
            cores,
            given: window.given_cores(),
            online: window.online_cores.max(cores),
            running: window.mean(on_cpu_ns),
            demand: window.mean(on_cpu_ns + runnable_ns),
            with_transit: window.mean(on_cpu_ns + runnable_ns + window.times.transit_ns),
            wait_share: share(runnable_ns, on_cpu_ns + runnable_ns),
            gil_share: workers.gil_share(),
            in_kernel: in_kernel(window),
            pages_anew: window.per_second(pages_anew(window)),
        }
    }

    /// Whether starting processes is much of what it does; a run of a few milliseconds does not start many in all.
    pub(crate) fn starts_many_processes(&self) -> bool {
        self.processes_per_second >= MANY_STARTS && self.processes as f64 >= MANY_STARTS
    }

    /// Whether it is in the kernel for much of the time in which it is on a CPU.
    pub(crate) fn is_in_kernel(&self) -> bool {
        self.in_kernel >= IN_KERNEL
    }

    /// Whether it waits for a CPU so long that it is worth saying.
    pub(crate) fn has_notable_wait(&self) -> bool {
        self.wait_share >= NOTABLE_WAIT
    }
}

/// The part of the CPU time that was in the kernel, where most of it was of processes that were waited for.
fn in_kernel(window: &Window) -> f64 {
    let Usage { user_ns, system_ns, .. } = window.usage;
    if share(user_ns + system_ns, window.times.on_cpu_ns) < MOSTLY { 0.0 } else { share(system_ns, user_ns + system_ns) }
}

/// Page faults, if they take most of the time in the kernel by what one takes on this host. Memory that is used for the first time has to
/// be found and cleared in any case, as in each process that starts.
fn pages_anew(window: &Window) -> u64 {
    let Usage { system_ns, page_faults, peak_pages, fault_ns, .. } = window.usage;
    let at_first = PAGES_ANEW * peak_pages * window.processes;
    if page_faults > at_first && share(fault_ns * page_faults, system_ns) >= MOSTLY { page_faults } else { 0 }
}
