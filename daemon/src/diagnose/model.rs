//! Which concurrency model it is, and the evidence for it.

use schedscope_ebpf::blocked::Reason;

use super::figures::Figures;
use super::runtimes;
use super::thresholds::{
    ACTIVE_SWITCHES_PER_SECOND, GIL_BOUND, GIL_CLEAR, GIL_NOTABLE, IDLE_DEMAND, IDLE_RUNNING, NOTABLE_WAIT, ONE_AFTER_ANOTHER,
    ONE_AT_A_TIME, TURNS_AT_LOCKS, TURNS_DEMAND, TURNS_DEMAND_OF_TWO, WAITS_MOSTLY,
};
use super::window::{Window, share};
use super::workers::{Process, Workers};
use crate::capture::interpreters::Python;
use crate::values::values;

values! {
    /// A concurrency model, as it is written in reports and labels.
    pub enum ModelName {
        /// Does next to nothing.
        Idle = "idle",
        /// One thing at a time.
        Serial = "serial",
        /// Python threads of which one runs at a time.
        ThreadsGilBound = "threads (GIL-bound)",
        /// Python threads that run at the same time.
        ThreadsParallel = "threads (parallel)",
        /// Python threads that wait for other things than each other.
        ThreadsWaiting = "threads (I/O-bound)",
        /// Threads that take turns, in a Python whose lock could not be found.
        ThreadsTakingTurns = "threads (taking turns)",
        /// Processes of one worker each.
        Processes = "processes",
        /// One Python thread that waits in epoll.
        Asyncio = "asyncio",
        /// The same in another language.
        EventLoop = "event loop",
        /// Several of these at once in one program.
        Hybrid = "hybrid",
        /// Interpreters with locks of their own in one Python process.
        SubInterpreters = "sub-interpreters",
        /// Threads of a process that is no Python.
        NativeThreads = "native threads",
        /// Programs of different kinds.
        Mixed = "mixed",
    }
}

/// What speaks for a model, beside the figures of the diagnosis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Evidence {
    /// Hardly two workers were alive at a time.
    OneAfterAnother,
    /// The one worker's waits in epoll, of all its waits.
    EpollWaits(u64, u64),
    /// The first thread is an event loop, and others work beside it.
    LoopAndThreads,
    GilShare,
    FreeThreaded,
    ManyGils,
    /// Python threads run at the same time.
    GilReleased,
    /// This share of the on-CPU time is a garbage collector's.
    Collecting(f64),
    /// No more than one thread runs at a time, and the others wait for locks.
    TakingTurns,
    /// So many of the processes run an event loop.
    LoopsIn(usize),
    /// So many of the processes have several working threads.
    ThreadsIn(usize),
    Incomplete,
    GilNotFound,
}

/// The model, how sure that is between 0 and 1, and what speaks for it.
pub(super) fn of(window: &Window, workers: &Workers, figures: &Figures) -> (ModelName, f64, Vec<Evidence>) {
    let mut evidence = Vec::new();
    let (model, mut confidence) = decide(window, workers, figures, &mut evidence);
    let collecting = runtimes::collecting(window);
    if collecting >= NOTABLE_WAIT {
        evidence.push(Evidence::Collecting(collecting));
    }
    if window.is_incomplete {
        evidence.push(Evidence::Incomplete);
        confidence *= 0.8;
    }
    if workers.processes.iter().any(|process| process.python == Some(Python::Unresolved)) {
        evidence.push(Evidence::GilNotFound);
        confidence *= 0.8;
    }
    (model, confidence, evidence)
}

fn decide(window: &Window, workers: &Workers, figures: &Figures, evidence: &mut Vec<Evidence>) -> (ModelName, f64) {
    let hardly_runs = figures.running < IDLE_RUNNING && figures.demand < IDLE_DEMAND;
    let switches_often = window.voluntary as f64 >= ACTIVE_SWITCHES_PER_SECOND * window.wall_ns as f64 / 1e9;
    // Where all threads have ended, this was all that it had to do, however little.
    let is_over = window.ledgers.iter().all(|ledger| ledger.has_ended);
    if workers.processes.is_empty() || hardly_runs && !switches_often && !is_over {
        return (ModelName::Idle, 0.9);
    }
    if figures.workers > 1 && workers.mean_alive() < ONE_AFTER_ANOTHER {
        evidence.push(Evidence::OneAfterAnother);
        return (ModelName::Serial, 0.8);
    }
    match workers.processes.as_slice() {
        [process] => one_process(workers, process, figures, evidence),
        processes => many_processes(processes, evidence),
    }
}

fn one_process(workers: &Workers, process: &Process, figures: &Figures, evidence: &mut Vec<Evidence>) -> (ModelName, f64) {
    match (process.workers.as_slice(), process.loops) {
        ([worker], 1) => {
            evidence.push(Evidence::EpollWaits(worker.epoll_waits, worker.voluntary));
            (if process.python.is_some() { ModelName::Asyncio } else { ModelName::EventLoop }, 0.9)
        }
        ([_], _) => (ModelName::Serial, 0.9),
        (_, _) if process.python.is_none() => {
            take_turns(workers, figures, evidence);
            (ModelName::NativeThreads, 0.9)
        }
        (threads, 1..)
            if threads.iter().any(|worker| worker.is_main && worker.epoll_waits > 0) && figures.gil_share < GIL_BOUND =>
        {
            evidence.push(Evidence::LoopAndThreads);
            (ModelName::Hybrid, 0.8)
        }
        _ => python_threads(workers, process.python, figures, evidence),
    }
}

fn python_threads(workers: &Workers, python: Option<Python>, figures: &Figures, evidence: &mut Vec<Evidence>) -> (ModelName, f64) {
    let gil_share = figures.gil_share;
    let blocked_ns = workers.times.blocked_total_ns() - workers.times.blocked(Reason::Gil);
    let waits = share(blocked_ns, blocked_ns + workers.times.on_cpu_ns) >= WAITS_MOSTLY;
    let parallel = if waits { ModelName::ThreadsWaiting } else { ModelName::ThreadsParallel };
    if gil_share >= GIL_NOTABLE {
        evidence.push(Evidence::GilShare);
    }
    let confidence = if (GIL_NOTABLE..GIL_CLEAR).contains(&gil_share) { 0.7 } else { 0.95 };
    match python {
        Some(Python::FreeThreaded) => {
            evidence.push(Evidence::FreeThreaded);
            (parallel, 0.9)
        }
        Some(Python::Unresolved) if take_turns(workers, figures, evidence) => (ModelName::ThreadsTakingTurns, 0.8),
        _ if workers.gil_binds() => (ModelName::ThreadsGilBound, confidence),
        Some(Python::ManyGils) => {
            evidence.push(Evidence::ManyGils);
            (ModelName::SubInterpreters, 0.9)
        }
        _ => {
            if gil_share < GIL_NOTABLE && !waits {
                evidence.push(Evidence::GilReleased);
            }
            (parallel, confidence)
        }
    }
}

fn many_processes(processes: &[Process], evidence: &mut Vec<Evidence>) -> (ModelName, f64) {
    let loops = processes.iter().filter(|process| process.loops > 0).count();
    let threaded = processes.iter().filter(|process| process.workers.len() > process.loops.max(1)).count();
    if loops == 0 && threaded == 0 {
        return (ModelName::Processes, 0.95);
    }
    if loops > 0 {
        evidence.push(Evidence::LoopsIn(loops));
    }
    if threaded > 0 {
        evidence.push(Evidence::ThreadsIn(threaded));
    }
    let pythons = processes.iter().filter(|process| process.python.is_some()).count();
    // Processes of one program are alike in this, whatever else differs.
    if pythons == 0 && threaded > 0 && threaded < processes.len() || pythons > 0 && pythons < processes.len() {
        (ModelName::Mixed, 0.7)
    } else {
        (ModelName::Hybrid, 0.85)
    }
}

/// Whether no more than one of the workers runs at a time because the others wait for locks; says so.
fn take_turns(workers: &Workers, figures: &Figures, evidence: &mut Vec<Evidence>) -> bool {
    let turns = figures.demand < (TURNS_DEMAND * figures.workers as f64).max(TURNS_DEMAND_OF_TWO)
        && figures.running < ONE_AT_A_TIME
        && workers.blocked_share(Reason::Futex) >= TURNS_AT_LOCKS;
    if turns {
        evidence.push(Evidence::TakingTurns);
    }
    turns
}
