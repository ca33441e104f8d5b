//! Which model it is.

use super::facts::{Facts, ProcessFacts, Python, ThreadFacts};

/// C below which a program is idle unless it switches often.
const IDLE_BELOW: f64 = 0.05;
/// And D: on a crowded host who hardly runs may want to all the time.
const IDLE_BELOW_DEMAND: f64 = 0.2;
/// Voluntary switches a second that are work, however short: a program that waits for others all the time.
const ACTIVE_SWITCHES_PER_SECOND: f64 = 20.0;
/// Mean number of workers alive below which they come one after another.
const ONE_AFTER_ANOTHER: f64 = 1.2;
/// Part of the time spent running or waiting for the lock that is waiting, from which on the lock is what binds.
const GIL_BOUND: f64 = 0.25;
/// The same from which on it is worth a word.
const GIL_NOTABLE: f64 = 0.05;
/// Part of the time on a CPU or blocked (but for the GIL) that is blocked, from which on it is waiting that workers do.
const WAITS_MOSTLY: f64 = 0.7;

/// A concurrency model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Does next to nothing.
    Idle,
    /// One thing at a time.
    Serial,
    /// Python threads of which one runs at a time.
    ThreadsGilBound,
    /// Python threads that run at the same time.
    ThreadsParallel,
    /// Python threads that wait for other things than each other.
    ThreadsWaiting,
    /// Threads that take turns, in a Python whose lock could not be found.
    ThreadsTakingTurns,
    /// Processes of one worker each.
    Processes,
    /// One Python thread that waits in epoll.
    Asyncio,
    /// The same in another language.
    EventLoop,
    /// Several of these at once in one program.
    Hybrid,
    /// Interpreters with locks of their own in one Python process.
    SubInterpreters,
    /// Threads of a process that is no Python.
    NativeThreads,
    /// Programs of different kinds.
    Mixed,
}

impl Name {
    /// Every model.
    pub const ALL: [Name; 13] = [
        Name::Idle,
        Name::Serial,
        Name::ThreadsGilBound,
        Name::ThreadsParallel,
        Name::ThreadsWaiting,
        Name::ThreadsTakingTurns,
        Name::Processes,
        Name::Asyncio,
        Name::EventLoop,
        Name::Hybrid,
        Name::SubInterpreters,
        Name::NativeThreads,
        Name::Mixed,
    ];

    /// As it is written in reports and labels.
    pub const fn text(self) -> &'static str {
        match self {
            Name::Idle => "idle",
            Name::Serial => "serial",
            Name::ThreadsGilBound => "threads (GIL-bound)",
            Name::ThreadsParallel => "threads (parallel)",
            Name::ThreadsWaiting => "threads (I/O-bound)",
            Name::ThreadsTakingTurns => "threads (taking turns)",
            Name::Processes => "processes",
            Name::Asyncio => "asyncio",
            Name::EventLoop => "event loop",
            Name::Hybrid => "hybrid",
            Name::SubInterpreters => "sub-interpreters",
            Name::NativeThreads => "native threads",
            Name::Mixed => "mixed",
        }
    }
}

/// A model and why.
#[derive(Clone, Debug)]
pub struct Named {
    /// The model.
    pub name: Name,
    /// 0 to 1.
    pub confidence: f64,
    /// One sentence each.
    pub evidence: Vec<String>,
}

/// Names the model.
pub fn of(facts: &Facts) -> Named {
    let mut evidence = vec![counts(facts), format!("C = {:.2}, D = {:.2}", facts.running, facts.demand)];
    let (name, mut confidence) = decide(facts, &mut evidence);
    if facts.is_incomplete {
        evidence.push("not everything was observed, see the losses".to_owned());
        confidence *= 0.8;
    }
    if facts.processes.iter().any(|process| process.python == Some(Python::Unresolved)) {
        evidence.push(
            "the interpreter lock of a Python process was not found, so whether its threads wait for it is unknown".to_owned(),
        );
        confidence *= 0.8;
    }
    Named { name, confidence, evidence }
}

fn decide(facts: &Facts, evidence: &mut Vec<String>) -> (Name, f64) {
    let switches_per_second = if facts.wall > 0.0 { facts.voluntary as f64 / facts.wall } else { 0.0 };
    let hardly_runs = facts.running < IDLE_BELOW && facts.demand < IDLE_BELOW_DEMAND;
    let goes_on = !facts.is_over && switches_per_second < ACTIVE_SWITCHES_PER_SECOND;
    if facts.processes.is_empty() || hardly_runs && goes_on {
        return (Name::Idle, 0.9);
    }
    if facts.workers().count() > 1 && facts.workers_at_once() < ONE_AFTER_ANOTHER {
        evidence.push("its workers ran one after another".to_owned());
        return (Name::Serial, 0.8);
    }
    match facts.processes.as_slice() {
        [process] => one_process(facts, process, evidence),
        processes => many_processes(processes, evidence),
    }
}

fn one_process(facts: &Facts, process: &ProcessFacts, evidence: &mut Vec<String>) -> (Name, f64) {
    match (process.workers.as_slice(), process.loops) {
        ([worker], 1) => {
            evidence.push(format!("{} of its {} waits were in epoll", worker.epoll_waits, worker.voluntary));
            (if process.python.is_some() { Name::Asyncio } else { Name::EventLoop }, 0.9)
        }
        ([_], _) => (Name::Serial, 0.9),
        (_, _) if process.python.is_none() => {
            take_turns(facts, process, evidence);
            (Name::NativeThreads, 0.9)
        }
        (workers, 1..)
            if workers.iter().any(|worker| worker.is_main && worker.epoll_waits > 0) && facts.gil_share() < GIL_BOUND =>
        {
            evidence.push("an event loop and threads beside it".to_owned());
            (Name::Hybrid, 0.8)
        }
        _ => python_threads(facts, process, evidence),
    }
}

fn python_threads(facts: &Facts, process: &ProcessFacts, evidence: &mut Vec<String>) -> (Name, f64) {
    let share = facts.gil_share();
    let parallel = if waits_mostly(&process.workers) { Name::ThreadsWaiting } else { Name::ThreadsParallel };
    if share >= GIL_NOTABLE {
        evidence.push(format!("of the time that its threads ran or waited for the GIL, they waited {:.0} %", share * 100.0));
    }
    // Near the threshold it could be either.
    let confidence = if (GIL_NOTABLE..0.4).contains(&share) { 0.7 } else { 0.95 };
    match process.python {
        Some(Python::FreeThreaded) => {
            evidence.push("a free-threaded CPython, with its global lock off".to_owned());
            (parallel, 0.9)
        }
        Some(Python::Unresolved) if take_turns(facts, process, evidence) => (Name::ThreadsTakingTurns, 0.8),
        // Where threads hardly run, a few microseconds at the lock are a large share of next to nothing.
        _ if share >= GIL_BOUND && facts.gil_of_life() >= GIL_NOTABLE => (Name::ThreadsGilBound, confidence),
        Some(Python::ManyGils) => {
            evidence.push("its interpreters have locks of their own".to_owned());
            (Name::SubInterpreters, 0.9)
        }
        _ => {
            if share < GIL_NOTABLE && parallel == Name::ThreadsParallel {
                evidence.push("they run at the same time: their work is done with the GIL released".to_owned());
            }
            (parallel, confidence)
        }
    }
}

fn many_processes(processes: &[ProcessFacts], evidence: &mut Vec<String>) -> (Name, f64) {
    let loops = processes.iter().filter(|process| process.loops > 0).count();
    let threaded = processes.iter().filter(|process| process.workers.len() > process.loops.max(1)).count();
    if loops == 0 && threaded == 0 {
        return (Name::Processes, 0.95);
    }
    if loops > 0 {
        evidence.push(format!("{loops} of {} processes run an event loop", processes.len()));
    }
    if threaded > 0 {
        evidence.push(format!("{threaded} of {} processes have several working threads", processes.len()));
    }
    let pythons = processes.iter().filter(|process| process.python.is_some()).count();
    // Processes of one program are alike in this, whatever else differs.
    if pythons == 0 && threaded > 0 && threaded < processes.len() || pythons > 0 && pythons < processes.len() {
        (Name::Mixed, 0.7)
    } else {
        (Name::Hybrid, 0.85)
    }
}

/// Whether no more than one of them runs at a time because the others wait for locks; says so.
fn take_turns(facts: &Facts, process: &ProcessFacts, evidence: &mut Vec<String>) -> bool {
    let futex: f64 = process.workers.iter().map(|worker| worker.futex).sum();
    let life: f64 = process.workers.iter().map(|worker| worker.life).sum();
    let turns = facts.demand < turns_below(process.workers.len()) && facts.running < 1.1 && futex >= 0.25 * life;
    if turns {
        evidence.push("its threads take turns: no more than one runs at a time, the others wait for locks (futex)".to_owned());
    }
    turns
}

/// Demand below which workers take turns. Woken waiters queue behind the one that holds the lock for moments, so it is above 1:
/// up to 1.5 for two of them, and measured at 0.3 of their number for more; parallel workers want nearly all of it.
fn turns_below(workers: usize) -> f64 {
    (0.6 * workers as f64).max(1.5)
}

fn waits_mostly(workers: &[ThreadFacts]) -> bool {
    let blocked: f64 = workers.iter().map(ThreadFacts::blocked_otherwise).sum();
    let on_cpu: f64 = workers.iter().map(|worker| worker.on_cpu).sum();
    blocked >= WAITS_MOSTLY * (blocked + on_cpu)
}

fn counts(facts: &Facts) -> String {
    let (workers, processes) = (facts.workers().count(), facts.processes.len());
    let of = if facts.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", facts.threads) };
    let verb = if workers == 1 { "does" } else { "do" };
    let place = match processes {
        0 | 1 => String::new(),
        more => format!(", in {more} processes"),
    };
    format!("{workers} of {of} {verb} the work{place}")
}
