//! The figures that a model is named by.

use std::collections::BTreeMap;

use schedscope_ebpf::blocked::Reason;

pub use crate::capture::interpreters::Python;

use crate::report::schema::{RunReport, ThreadReport};

/// A thread is a worker if it wants to run at least this much of what the one that wants most does.
const WORKER_SHARE: f64 = 0.1;
/// Part of a core below which little is computed.
const LITTLE: f64 = 0.5;
/// Part of the waits of the one that waits most often below which a thread only looks on: a supervisor, a heartbeat.
const ONLOOKER_SHARE: f64 = 0.1;
/// A thread is an event loop if at least this much of its waits are in epoll.
const LOOP_SHARE: f64 = 0.5;
/// And if it waits there this often a second; below, nothing is going on.
const LOOP_WAITS_PER_SECOND: f64 = 5.0;
/// Or so much of its time in polls, and this often in epoll, while it computes for a part of its life: a loop that is busy seldom waits.
const POLLING_SHARE: f64 = 0.8;
const LOOP_WAITS: f64 = 10.0;
const LOOP_BUSY: f64 = 0.1;

/// Reasons to be blocked that no other thread of the program ends, as a rule.
pub(super) const OUTSIDE: [Reason; 4] = [Reason::Sleep, Reason::Poll, Reason::PipeSocket, Reason::Disk];

/// One thread over the window; times in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadFacts {
    /// Its process.
    pub tgid: u32,
    /// It is the process's first thread.
    pub is_main: bool,
    /// On a CPU.
    pub on_cpu: f64,
    /// Waiting for one.
    pub runnable: f64,
    /// Waiting for an interpreter's lock.
    pub gil: f64,
    /// Waiting for another futex.
    pub futex: f64,
    /// Waiting in poll, select or epoll.
    pub polling: f64,
    /// Asleep, or waiting for files, sockets or the disk: for something that no other thread of the program does.
    pub outside: f64,
    /// Blocked, for whatever reason.
    pub blocked: f64,
    /// Alive.
    pub life: f64,
    /// It has ended: what it did is all it had to do.
    pub has_ended: bool,
    /// Voluntary switches.
    pub voluntary: u64,
    /// Waits in epoll.
    pub epoll_waits: u64,
}

impl ThreadFacts {
    /// Time in which it would have run had it been let.
    pub fn wanted(&self) -> f64 {
        self.on_cpu + self.runnable + self.gil
    }

    /// Blocked for anything but an interpreter's lock.
    pub fn blocked_otherwise(&self) -> f64 {
        (self.blocked - self.gil).max(0.0)
    }
}

/// A process and the threads of it that count.
#[derive(Clone, Debug, Default)]
pub struct ProcessFacts {
    /// Its workers, event loops included.
    pub workers: Vec<ThreadFacts>,
    /// How many of them are event loops.
    pub loops: usize,
    /// What kind of Python it is; `None` if it is none.
    pub python: Option<Python>,
}

/// A program over a window.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Length of the window in seconds.
    pub wall: f64,
    /// C.
    pub running: f64,
    /// D.
    pub demand: f64,
    /// Cores it may use.
    pub cores: u32,
    /// Threads over the window.
    pub threads: u64,
    /// Voluntary switches of all threads.
    pub voluntary: u64,
    /// Something was not observed.
    pub is_incomplete: bool,
    /// All of its threads have ended, so this was all it had to do, however little.
    pub is_over: bool,
    /// The processes that do something.
    pub processes: Vec<ProcessFacts>,
}

impl Facts {
    /// From a report.
    pub fn of_run(report: &RunReport, pythons: &BTreeMap<u32, Python>) -> Facts {
        let threads: Vec<ThreadFacts> = report.threads.iter().map(thread).collect();
        let mut facts = Facts::new(report.wall_seconds, &threads, pythons);
        facts.running = report.parallelism.running_mean;
        facts.demand = report.parallelism.demand_mean;
        facts.cores = report.cpus.allowed.max(1);
        facts.threads = report.tasks.threads;
        facts.voluntary = report.switches.voluntary;
        facts.is_incomplete = report.loss.total > 0 || report.threads_omitted > 0;
        facts
    }

    /// From threads; what the caller knows better it sets afterwards.
    pub fn new(wall: f64, threads: &[ThreadFacts], pythons: &BTreeMap<u32, Python>) -> Facts {
        let most = threads.iter().map(ThreadFacts::wanted).fold(0.0, f64::max);
        // Where little is computed, waiting is the work. Who waits for an interpreter's lock wants to compute.
        let computing: f64 = threads.iter().map(|thread| thread.on_cpu + thread.gil).sum();
        let most_waits = threads.iter().filter(|thread| waits_outside(thread, wall)).map(|thread| thread.voluntary).max();
        let looks_on = |thread: &ThreadFacts| (thread.voluntary as f64) < ONLOOKER_SHARE * most_waits.unwrap_or(0) as f64;
        let waits = |thread: &ThreadFacts| computing < LITTLE * wall && waits_outside(thread, wall) && !looks_on(thread);
        let has_waiters = threads.iter().any(|thread| waits(thread) && !thread.is_main);
        let mut processes = BTreeMap::<u32, ProcessFacts>::new();
        for thread in threads {
            let is_loop = is_loop(thread, wall);
            let works = most > 0.0 && thread.wanted() >= WORKER_SHARE * most && !coordinates(thread, most, has_waiters);
            // A loop that hands all work to others is busy by itself with next to nothing, and is what holds the program together.
            if !(works || waits(thread) || is_loop && thread.is_main) {
                continue;
            }
            let process = processes.entry(thread.tgid).or_default();
            process.python = pythons.get(&thread.tgid).copied();
            process.loops += usize::from(is_loop);
            process.workers.push(thread.clone());
        }
        let sum = |of: fn(&ThreadFacts) -> f64| threads.iter().map(of).sum::<f64>();
        let per_wall = |seconds: f64| if wall > 0.0 { seconds / wall } else { 0.0 };
        let running = per_wall(sum(|thread| thread.on_cpu));
        Facts {
            wall,
            running,
            demand: running + per_wall(sum(|thread| thread.runnable)),
            cores: 1,
            threads: threads.len() as u64,
            voluntary: threads.iter().map(|thread| thread.voluntary).sum(),
            is_incomplete: false,
            is_over: threads.iter().all(|thread| thread.has_ended),
            processes: processes.into_values().collect(),
        }
    }

    /// All workers.
    pub fn workers(&self) -> impl Iterator<Item = &ThreadFacts> {
        self.processes.iter().flat_map(|process| &process.workers)
    }

    /// Of the time in which the workers ran or waited for an interpreter's lock, the part that they waited. Time spent waiting for a
    /// CPU is left out: it says how busy the host is, and nothing about the lock.
    pub fn gil_share(&self) -> f64 {
        let gil: f64 = self.workers().map(|worker| worker.gil).sum();
        let on_cpu: f64 = self.workers().map(|worker| worker.on_cpu).sum();
        if gil > 0.0 { gil / (gil + on_cpu) } else { 0.0 }
    }

    /// Of the workers' lives, the part that they waited for an interpreter's lock.
    pub fn gil_of_life(&self) -> f64 {
        let life: f64 = self.workers().map(|worker| worker.life).sum();
        if life > 0.0 { self.workers().map(|worker| worker.gil).sum::<f64>() / life } else { 0.0 }
    }

    /// How many workers were alive at a time.
    pub fn workers_at_once(&self) -> f64 {
        if self.wall > 0.0 { self.workers().map(|worker| worker.life).sum::<f64>() / self.wall } else { 0.0 }
    }
}

/// It starts others and waits for them. Where all do is wait, starting may be the most that is computed.
fn coordinates(thread: &ThreadFacts, most: f64, has_waiters: bool) -> bool {
    let waits_for_others = thread.blocked_otherwise() - thread.outside >= 0.5 * thread.life;
    (thread.wanted() < 0.5 * most || has_waiters && thread.is_main) && waits_for_others
}

/// Most of its life, and a good part of the window, it waits for something outside of the program.
fn waits_outside(thread: &ThreadFacts, wall: f64) -> bool {
    thread.outside >= 0.5 * thread.life && thread.outside >= 0.2 * wall
}

/// Most of its waits, or of the time in them, are the loop's, and something goes on. Counts alone would not do: who loads a large
/// program waits hundreds of times for the disk first.
fn is_loop(thread: &ThreadFacts, wall: f64) -> bool {
    let waits = thread.epoll_waits as f64;
    let life = thread.life.min(wall);
    let mostly = waits >= LOOP_SHARE * thread.voluntary as f64 || thread.polling >= POLLING_SHARE * thread.blocked;
    let is_active =
        waits >= LOOP_WAITS_PER_SECOND * life || waits >= LOOP_WAITS && thread.wanted() >= LOOP_BUSY * life || thread.has_ended;
    thread.epoll_waits > 0 && mostly && is_active
}

fn thread(report: &ThreadReport) -> ThreadFacts {
    let reason = |name: &str| report.blocked_seconds_by_reason.get(name).copied().unwrap_or(0.0);
    ThreadFacts {
        tgid: report.tgid,
        is_main: report.tid == report.tgid,
        on_cpu: report.on_cpu_seconds,
        runnable: report.runnable_seconds,
        gil: reason("gil"),
        futex: reason("futex"),
        polling: reason(Reason::Poll.name()),
        outside: OUTSIDE.iter().map(|outside| reason(outside.name())).sum(),
        blocked: report.blocked_seconds,
        life: report.lifetime_seconds,
        has_ended: report.ended,
        voluntary: report.voluntary,
        epoll_waits: report.epoll_waits,
    }
}
