//! Which threads do a program's work.

use std::collections::{BTreeMap, HashSet};

use schedscope_ebpf::blocked::Reason;

use super::runtimes;
use super::thresholds::{
    GIL_BOUND, GIL_NOTABLE, HALF_A_CORE, LONG_WAIT, LOOP_BUSY, LOOP_POLLING, LOOP_WAITS, LOOP_WAITS_PER_SECOND, MOSTLY,
    ONLOOKER_SHARE, WORKER_SHARE,
};
use super::window::{Ledger, Window, ratio, share};
use crate::capture::interpreters::Python;
use crate::capture::snapshot::{Tgid, Times};

/// The threads that do the work, process by process.
#[derive(Debug)]
pub(super) struct Workers<'a> {
    /// The processes that do something.
    pub(super) processes: Vec<Process<'a>>,
    pub(super) times: Times,
    /// Which of the window's ledgers are theirs.
    pub(super) numbers: HashSet<usize>,
    /// One of them is the program's, and the others are what its runtime has for itself.
    pub(super) is_one_with_services: bool,
}

/// A process and the threads of it that count.
#[derive(Debug, Default)]
pub(super) struct Process<'a> {
    /// Its workers, event loops included.
    pub(super) workers: Vec<&'a Ledger>,
    /// How many of them are event loops.
    pub(super) loops: usize,
    /// What it has for locks, if it is a Python.
    pub(super) python: Option<Python>,
}

impl Process<'_> {
    /// Its threads share one GIL.
    pub(super) fn has_one_gil(&self) -> bool {
        self.python == Some(Python::OneGil) && self.workers.iter().any(|worker| worker.times.blocked(Reason::Gil) > 0)
    }
}

impl Workers<'_> {
    pub(super) fn of(window: &Window) -> Workers<'_> {
        let ledgers = &window.ledgers;
        let most_ns = ledgers.iter().map(Ledger::wanted_ns).max().unwrap_or(0);
        // Where little is computed, waiting is the work. A thread that waits for a GIL wants to compute.
        let times: Times = ledgers.iter().map(|ledger| &ledger.times).sum();
        let mostly_waits = window.mean(times.on_cpu_ns + times.blocked(Reason::Gil)) < HALF_A_CORE;
        let outside = |ledger: &&Ledger| waits_outside(ledger, window.wall_ns);
        let most_waits = ledgers.iter().filter(outside).map(|ledger| ledger.voluntary).max().unwrap_or(0);
        let looks_on = |ledger: &Ledger| (ledger.voluntary as f64) < ONLOOKER_SHARE * most_waits as f64;
        let waits = |ledger: &Ledger| mostly_waits && outside(&ledger) && !looks_on(ledger);
        let has_waiters = ledgers.iter().any(|ledger| waits(ledger) && !ledger.is_main);

        let has_short_lived_workers = window.has_short_lived_workers();
        let mut processes = BTreeMap::<Tgid, Process>::new();
        let mut numbers = HashSet::new();
        // Workers that live for a task each count beside each other, not beside the one that starts them.
        let is_short = |ledger: &Ledger| has_short_lived_workers && window.is_short_lived(ledger);
        let short_ns = || ledgers.iter().filter(|ledger| is_short(ledger)).map(Ledger::wanted_ns);
        let most_of_short_ns = short_ns().max().unwrap_or(0);
        // As much as one worker would have done in their place.
        let most_ns = most_ns.max(short_ns().sum::<u64>().min(window.wall_ns));
        let part = |ledger: &Ledger| share(ledger.wanted_ns(), if is_short(ledger) { most_of_short_ns } else { most_ns });
        // It starts others and waits for them. Where all do is wait, starting may be the most that is computed.
        let seems_to_coordinate =
            |ledger: &Ledger| (part(ledger) < MOSTLY || has_waiters && ledger.is_main) && ledger.waits_for_others();
        // Those of a large pool each wait for most of their lives, too, and yet do the work together.
        let of_a_pool = |ledger: &&Ledger| part(ledger) >= WORKER_SHARE && seems_to_coordinate(ledger);
        let pool: Vec<u64> = ledgers.iter().filter(of_a_pool).map(|ledger| ledger.times.on_cpu_ns).collect();
        let is_pool = pool.len() > 1 && share(pool.iter().sum(), times.on_cpu_ns) >= MOSTLY;
        for (number, ledger) in ledgers.iter().enumerate() {
            let coordinates = seems_to_coordinate(ledger) && !is_pool;
            let is_loop = is_loop(ledger, window.wall_ns);
            // A loop that hands all work to others does next to nothing itself, and is what holds the program together.
            if part(ledger) >= WORKER_SHARE && !coordinates || waits(ledger) || is_loop && ledger.is_main {
                let process = processes.entry(ledger.tgid).or_default();
                process.python = ledger.python;
                process.loops += usize::from(is_loop);
                process.workers.push(ledger);
                numbers.insert(number);
            }
        }
        let processes: Vec<Process> = processes.into_values().collect();
        let times = processes.iter().flat_map(|process| &process.workers).map(|worker| &worker.times).sum();
        let workers = || processes.iter().flat_map(|process| &process.workers);
        let services = workers().filter(|worker| runtimes::service(&worker.comm).is_some()).count();
        let is_one_with_services = services > 0 && workers().count() == services + 1;
        Workers { processes, times, numbers, is_one_with_services }
    }

    /// Of the time in which the workers ran or waited for a GIL, the part that they waited. Time spent waiting for a CPU is left out:
    /// it says how busy the host is, and nothing about the lock. With n busy threads under one lock it is (n - 1) / n.
    pub(super) fn gil_share(&self) -> f64 {
        let gil_ns = self.times.blocked(Reason::Gil);
        share(gil_ns, gil_ns + self.times.on_cpu_ns)
    }

    /// Whether a GIL is what they wait for. Where they hardly run, a few microseconds at the lock are a large share of next to nothing.
    pub(super) fn gil_binds(&self) -> bool {
        self.gil_share() >= GIL_BOUND && self.blocked_share(Reason::Gil) >= GIL_NOTABLE
    }

    /// All of them share one GIL.
    pub(super) fn have_one_gil(&self) -> bool {
        matches!(self.processes.as_slice(), [process] if process.has_one_gil())
    }

    /// How many of them were alive, on average over the time in which any was: what a program did before they came, or from one crew of
    /// them to the next, says nothing of how many work at a time.
    pub(super) fn mean_alive(&self) -> f64 {
        let mut lives: Vec<(u64, u64)> = self.iter().map(|worker| (worker.begin_ns, worker.end_ns())).collect();
        lives.sort_unstable();
        let (mut any_ns, mut until_ns) = (0, 0);
        for (begin_ns, end_ns) in lives {
            any_ns += end_ns.saturating_sub(begin_ns.max(until_ns));
            until_ns = until_ns.max(end_ns);
        }
        ratio(self.times.total_ns(), any_ns)
    }

    /// Of the workers' lives, the part that they were blocked for this reason.
    pub(super) fn blocked_share(&self, reason: Reason) -> f64 {
        share(self.times.blocked(reason), self.times.total_ns())
    }
}

impl<'a> Workers<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Ledger> + '_ {
        self.processes.iter().flat_map(|process| process.workers.iter().copied())
    }
}

/// Most of its life, and a good part of the window, it waits for something outside of the program.
fn waits_outside(ledger: &Ledger, wall_ns: u64) -> bool {
    let outside_ns = ledger.outside_ns();
    share(outside_ns, ledger.times.total_ns()) >= MOSTLY && share(outside_ns, wall_ns) >= LONG_WAIT
}

/// Most of its waits, or of the time in them, are a loop's, and something goes on.
fn is_loop(ledger: &Ledger, wall_ns: u64) -> bool {
    let (waits, times) = (ledger.epoll_waits, &ledger.times);
    let life_ns = times.total_ns().min(wall_ns);
    let mostly =
        share(waits, ledger.voluntary) >= MOSTLY || share(times.blocked(Reason::Poll), times.blocked_total_ns()) >= LOOP_POLLING;
    let is_busy = waits >= LOOP_WAITS && share(ledger.wanted_ns(), life_ns) >= LOOP_BUSY;
    let is_active = waits as f64 >= LOOP_WAITS_PER_SECOND * life_ns as f64 / 1e9 || is_busy || ledger.has_ended;
    waits > 0 && mostly && is_active
}
