//! Which traced processes run a Python, and where the kernel side has to look for waits on its lock.
//!
//! A process is looked at when it is first seen and after every exec, and again at growing intervals as long as it shows no interpreter
//! (one may still be loading) or its interpreters can change. A forked process inherits what is known of its parent, so a storm of forks
//! costs nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use schedscope_ebpf::gil::{AddressRange, RANGES};

use super::{
    python::{GilKind, Interpreter, Resolver, Unresolved},
    snapshot::{Snapshot, Tgid, Thread, Tid},
};

/// Shortest pause before a process is looked at again.
const MIN_PAUSE_NS: u64 = 2_000_000;
/// Longest pause for one whose interpreters can change while it runs.
const MAX_PAUSE_PYTHON_NS: u64 = 5_000_000_000;
/// Longest pause for one without an interpreter: a host has thousands of these.
const MAX_PAUSE_NS: u64 = 300_000_000_000;
/// Most processes looked at in one go: reading one takes about 0.1 ms.
const AT_ONCE: usize = 64;
/// Ended processes remembered, about as many as threads are kept for a report.
const ENDED_MAX: usize = 65_536;

/// What is known of a process.
#[derive(Clone, Debug)]
enum Finding {
    /// Not looked at yet.
    New,
    NoPython,
    Python(Arc<Interpreter>),
    /// It is or may be a Python, but its locks cannot be told apart from others.
    Unresolved(Unresolved),
}

/// Which interpreter locks the threads of a process can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Python {
    OneGil,
    /// Sub-interpreters with locks of their own.
    ManyGils,
    /// None: a free-threaded build.
    FreeThreaded,
    /// Unknown, so waits for them look like any others.
    Unresolved,
}

#[derive(Debug)]
struct Process {
    /// When its leader began, and its number of execs: another program under the same pid is another process.
    identity: (u64, u32),
    finding: Finding,
    /// When it was first seen under this identity.
    since_ns: u64,
    due_ns: u64,
    comm: String,
}

/// A kind of interpreter and how many processes run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// One of the processes' interpreters.
    pub(crate) interpreter: Arc<Interpreter>,
    pub(crate) processes: u64,
}

pub(crate) type ByReason = [u64; Unresolved::ALL.len()];

/// The traced processes and their interpreters.
#[derive(Debug, Default)]
pub struct Interpreters {
    resolver: Resolver,
    processes: HashMap<Tgid, Process>,
    /// The last interpreter of each process that has ended.
    last: HashMap<Tgid, Arc<Interpreter>>,
    /// Interpreters seen over all time, by file and version.
    seen: BTreeMap<(String, String), Kind>,
    /// Processes that ended or called exec before their locks were found, by reason.
    unresolved: ByReason,
}

impl Interpreters {
    /// Takes a snapshot and returns the threads whose records lack the ranges of their process.
    pub fn update(&mut self, snapshot: &Snapshot) -> Vec<(Tid, [AddressRange; RANGES])> {
        let now_ns = snapshot.taken_ns;
        let present: HashSet<Tgid> = snapshot.live().map(Thread::tgid).collect();
        for thread in snapshot.live().filter(|thread| thread.tid().0 == thread.tgid().0) {
            self.meet(thread, now_ns);
        }
        self.forget(&present);
        self.look(now_ns);
        snapshot.live().filter_map(|thread| self.missing(thread)).collect()
    }

    /// The interpreter of a process, also after its end.
    pub(crate) fn of(&self, tgid: Tgid) -> Option<&Arc<Interpreter>> {
        match self.processes.get(&tgid) {
            Some(Process { finding: Finding::Python(interpreter), .. }) => Some(interpreter),
            Some(_) => None,
            None => self.last.get(&tgid),
        }
    }

    /// Which interpreter locks a process has; `None` if it is not a Python.
    pub(crate) fn python(&self, tgid: Tgid) -> Option<Python> {
        match self.of(tgid) {
            Some(interpreter) if interpreter.kind == GilKind::FreeThreaded => Some(Python::FreeThreaded),
            Some(interpreter) if interpreter.gils.len() > 1 => Some(Python::ManyGils),
            Some(_) => Some(Python::OneGil),
            None => self.processes.get(&tgid).and_then(reason).map(|_| Python::Unresolved),
        }
    }

    /// Live processes that run a Python, by [`GilKind`].
    pub(crate) fn alive(&self) -> [u64; GilKind::ALL.len()] {
        let mut counts = [0; GilKind::ALL.len()];
        for process in self.processes.values() {
            if let Finding::Python(interpreter) = &process.finding {
                counts[interpreter.kind as usize] += 1;
            }
        }
        counts
    }

    /// Every kind of interpreter that was seen.
    pub fn seen(&self) -> impl Iterator<Item = &Kind> {
        self.seen.values()
    }

    /// Processes that are or were a Python whose locks were not found, by reason.
    pub(crate) fn unresolved(&self) -> ByReason {
        let mut counts = self.unresolved;
        for process in self.processes.values() {
            count_unresolved(&mut counts, process);
        }
        counts
    }

    fn meet(&mut self, leader: &Thread, now_ns: u64) {
        let identity = (leader.record.start_ns, leader.record.execs);
        let known = self.processes.get_mut(&leader.tgid());
        if let Some(process) = known {
            if process.identity == identity {
                return;
            }
            count_unresolved(&mut self.unresolved, process);
        }
        let parent = self.processes.get(&Tgid(leader.record.ppid));
        let inherited = match parent.map(|parent| &parent.finding) {
            Some(finding @ (Finding::Python(_) | Finding::NoPython)) if leader.record.execs == 0 && !leader.was_seeded() => {
                finding.clone()
            }
            _ => Finding::New,
        };
        let due_ns = if matches!(inherited, Finding::New) { now_ns } else { now_ns + MIN_PAUSE_NS };
        if let Finding::Python(interpreter) = &inherited {
            note(&mut self.seen, interpreter);
        }
        let process = Process { identity, finding: inherited, since_ns: now_ns, due_ns, comm: leader.comm() };
        self.processes.insert(leader.tgid(), process);
    }

    fn forget(&mut self, present: &HashSet<Tgid>) {
        let (unresolved, last) = (&mut self.unresolved, &mut self.last);
        if last.len() > ENDED_MAX {
            last.clear();
        }
        self.processes.retain(|tgid, process| {
            let stays = present.contains(tgid);
            if !stays {
                count_unresolved(unresolved, process);
                match &process.finding {
                    Finding::Python(interpreter) => last.insert(*tgid, Arc::clone(interpreter)),
                    _ => last.remove(tgid),
                };
            }
            stays
        });
    }

    fn look(&mut self, now_ns: u64) {
        let mut due: Vec<(u64, Tgid)> = self
            .processes
            .iter()
            .filter(|(_, process)| process.due_ns <= now_ns)
            .map(|(tgid, process)| (process.due_ns, *tgid))
            .collect();
        due.sort_unstable_by_key(|(due_ns, tgid)| (*due_ns, tgid.0));
        for (_, tgid) in due.into_iter().take(AT_ONCE) {
            let found = match self.resolver.resolve(tgid) {
                Ok(Some(interpreter)) => Finding::Python(Arc::new(interpreter)),
                Ok(None) => Finding::NoPython,
                Err(error) => Finding::Unresolved(error),
            };
            let Some(process) = self.processes.get_mut(&tgid) else { continue };
            if let (Finding::Python(interpreter), false) = (&found, matches!(process.finding, Finding::Python(_))) {
                note(&mut self.seen, interpreter);
            }
            // What was found once is kept although the process is about to end.
            if !matches!((&process.finding, &found), (Finding::Python(_), Finding::Unresolved(_) | Finding::NoPython)) {
                process.finding = found;
            }
            process.due_ns = now_ns + pause_ns(&process.finding, now_ns.saturating_sub(process.since_ns));
        }
    }

    fn missing(&self, thread: &Thread) -> Option<(Tid, [AddressRange; RANGES])> {
        let ranges = self.of(thread.tgid())?.wait_ranges();
        (thread.record.gil != ranges).then(|| (thread.tid(), ranges))
    }
}

/// As long as the process has been watched so far, within limits.
fn pause_ns(finding: &Finding, age_ns: u64) -> u64 {
    let longest = match finding {
        // Its only lock does not move.
        Finding::Python(interpreter) if interpreter.kind == GilKind::PerProcess && !interpreter.gils.is_empty() => {
            return u64::MAX / 2;
        }
        Finding::Python(_) => MAX_PAUSE_PYTHON_NS,
        _ => MAX_PAUSE_NS,
    };
    age_ns.clamp(MIN_PAUSE_NS, longest)
}

fn note(seen: &mut BTreeMap<(String, String), Kind>, interpreter: &Arc<Interpreter>) {
    let version = interpreter.version.map(|version| version.to_string()).unwrap_or_default();
    let key = (interpreter.object.to_string_lossy().into_owned(), version);
    let kind = seen.entry(key).or_insert_with(|| Kind { interpreter: Arc::clone(interpreter), processes: 0 });
    kind.processes += 1;
    kind.interpreter = Arc::clone(interpreter);
}

fn count_unresolved(counts: &mut ByReason, process: &Process) {
    if let Some(reason) = reason(process) {
        counts[reason as usize] += 1;
    }
}

/// Why the locks of a Python process are unknown. If nothing better is known, its name says whether it is one.
fn reason(process: &Process) -> Option<Unresolved> {
    let by_name = process.comm.starts_with("python");
    match &process.finding {
        Finding::New => by_name.then_some(Unresolved::Gone),
        Finding::Unresolved(error @ (Unresolved::Gone | Unresolved::Starting | Unresolved::NotReadable)) => {
            by_name.then_some(*error)
        }
        Finding::Unresolved(error) => Some(*error),
        Finding::NoPython | Finding::Python(_) => None,
    }
}
