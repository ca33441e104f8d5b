//! Which traced processes run a Python, and where the kernel side has to look for waits on its lock; and which program each interpreter runs,
//! Python or another.
//!
//! A process is looked at when it is first seen and after every exec, and again at growing intervals as long as it shows no interpreter
//! (one may still be loading) or its interpreters can change. A forked process inherits what is known of its parent, so a storm of forks
//! costs nothing.
//!
//! A [`Reader`] looks at them, one after the other, and may take its time: what it has found meanwhile is taken in whenever somebody asks.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use schedscope_ebpf::gil::{AddressRange, RANGES};

use super::python::{GilKind, Interpreter, Unresolved};
use super::reader::{Answer, Health, InProcess, Reader};
use super::snapshot::{Snapshot, Tgid, Thread, Tid};

/// Shortest pause before a process is looked at again.
const MIN_PAUSE_NS: u64 = 2_000_000;
/// Longest pause for one whose interpreters can change while it runs.
const MAX_PAUSE_PYTHON_NS: u64 = 5_000_000_000;
/// Longest pause for one without an interpreter: a host has thousands of these.
const MAX_PAUSE_NS: u64 = 300_000_000_000;
/// Pause before one is looked at again that was too large to look at.
const PAUSE_OVER_BUDGET_NS: u64 = 1_000_000_000;
/// Pause before one is looked at again that its reader failed at; doubled each time.
const PAUSE_FAILED_NS: u64 = 10_000_000_000;
/// Ended processes remembered, about as many as threads are kept for a report.
const ENDED_MAX: usize = 65_536;
/// Kinds of interpreters told apart. A host has a few; whoever makes more finds them counted as one.
const KINDS_MAX: usize = 128;
/// The file of the kinds that are not told apart.
const FURTHER_KINDS: &str = "further interpreters";

/// What is known of a process.
#[derive(Clone, Debug)]
enum Finding {
    /// Not looked at yet.
    New,
    NoPython,
    Python(Arc<Locks>),
    /// It is or may be a Python, but its locks cannot be told apart from others.
    Unresolved(Unresolved),
}

/// What is kept of a process's interpreter.
#[derive(Debug)]
struct Locks {
    kind: GilKind,
    gils: usize,
    ranges: [AddressRange; RANGES],
    /// Under which its kind is counted.
    key: KindKey,
}

impl Locks {
    fn python(&self) -> Python {
        match self.kind {
            GilKind::FreeThreaded => Python::FreeThreaded,
            _ if self.gils > 1 => Python::ManyGils,
            _ => Python::OneGil,
        }
    }
}

/// The file that holds an interpreter, and its version.
type KindKey = Arc<(PathBuf, String)>;

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

/// When a process's leader began, and its number of execs: another program under the same pid is another process.
type Identity = (u64, u32);

/// Threads, and the ranges that their records lack.
pub(crate) type Told = Vec<(Tid, [AddressRange; RANGES])>;

#[derive(Debug)]
struct Process {
    identity: Identity,
    finding: Finding,
    /// How often the reader has failed at it in a row.
    failures: u32,
    /// When it was first seen under this identity.
    since_ns: u64,
    due_ns: u64,
    comm: String,
    /// The program that it runs as an interpreter, once that is known. It stays: its arguments may become a title of its own choice.
    script: Option<Arc<str>>,
}

impl Process {
    fn has_name_of_python(&self) -> bool {
        self.comm.starts_with("python")
    }
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
#[derive(Debug)]
pub struct Interpreters {
    reader: Box<dyn Reader>,
    processes: HashMap<Tgid, Process>,
    /// Those that are due and that the reader has not been asked about, in order.
    waiting: VecDeque<Tgid>,
    /// What the reader was asked about.
    asked: Option<(Tgid, Identity)>,
    /// Threads of processes that are waiting or asked about, to be told what is found before the next snapshot.
    threads: HashMap<Tgid, Vec<Tid>>,
    /// Those whose script became known since somebody asked for them.
    learned: Vec<Tgid>,
    /// When the reader is asked no more before the next snapshot.
    turn_ends: Instant,
    /// Processes that have ended as a Python.
    last: HashMap<Tgid, Python>,
    /// Interpreters seen over all time, by file and version.
    seen: BTreeMap<KindKey, Kind>,
    /// Processes that ended or called exec before their locks were found, by reason.
    unresolved: ByReason,
}

/// Looks at processes by itself.
impl Default for Interpreters {
    fn default() -> Self {
        Interpreters::read_by(Box::<InProcess>::default())
    }
}

impl Interpreters {
    /// Has processes looked at by this reader.
    pub(crate) fn read_by(reader: Box<dyn Reader>) -> Self {
        Interpreters {
            reader,
            processes: HashMap::new(),
            waiting: VecDeque::new(),
            asked: None,
            threads: HashMap::new(),
            learned: Vec::new(),
            turn_ends: Instant::now(),
            last: HashMap::new(),
            seen: BTreeMap::new(),
            unresolved: ByReason::default(),
        }
    }

    /// Takes a snapshot and returns the threads whose records lack the ranges of their process.
    pub fn update(&mut self, snapshot: &Snapshot) -> Told {
        let now_ns = snapshot.taken_ns;
        let present: HashSet<Tgid> = snapshot.live().map(Thread::tgid).collect();
        for thread in snapshot.live().filter(|thread| thread.tid().0 == thread.tgid().0) {
            self.meet(thread, now_ns);
        }
        self.forget(&present);
        self.begin_turn(snapshot);
        self.look(now_ns);
        snapshot.live().filter_map(|thread| self.missing(thread)).collect()
    }

    /// Takes in what the reader has found since, asks it about the next process, and returns the threads that have to be told.
    pub(crate) fn hear(&mut self, now_ns: u64) -> Told {
        let found = self.look(now_ns);
        let mut told = Told::new();
        for tgid in found {
            let Some(Process { finding: Finding::Python(locks), .. }) = self.processes.get(&tgid) else { continue };
            told.extend(self.threads.remove(&tgid).into_iter().flatten().map(|tid| (tid, locks.ranges)));
        }
        told
    }

    /// The program that a process runs as an interpreter, as far as it is known.
    pub(crate) fn script(&self, tgid: Tgid) -> Option<&str> {
        self.processes.get(&tgid)?.script.as_deref()
    }

    /// The processes whose script became known since the last time.
    pub(crate) fn take_learned(&mut self) -> Vec<Tgid> {
        mem::take(&mut self.learned)
    }

    /// How the reader has fared.
    pub(crate) fn reader_health(&self) -> Health {
        self.reader.health()
    }

    /// Which interpreter locks a process has, also after its end; `None` if it is not a Python.
    pub(crate) fn python(&self, tgid: Tgid) -> Option<Python> {
        match self.processes.get(&tgid) {
            Some(Process { finding: Finding::Python(locks), .. }) => Some(locks.python()),
            Some(process) => reason(process)
                .filter(|reason| {
                    process.has_name_of_python() || !matches!(reason, Unresolved::OverBudget | Unresolved::ReaderFailed)
                })
                .map(|_| Python::Unresolved),
            None => self.last.get(&tgid).copied(),
        }
    }

    /// Live processes that run a Python, by [`GilKind`].
    pub(crate) fn alive(&self) -> [u64; GilKind::ALL.len()] {
        let mut counts = [0; GilKind::ALL.len()];
        for process in self.processes.values() {
            if let Finding::Python(locks) = &process.finding {
                counts[locks.kind as usize] += 1;
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
        let (inherited, script) = match parent {
            Some(Process { finding: finding @ (Finding::Python(_) | Finding::NoPython), script, .. })
                if leader.record.execs == 0 && !leader.was_seeded() =>
            {
                (finding.clone(), script.clone())
            }
            _ => (Finding::New, None),
        };
        let due_ns = if matches!(inherited, Finding::New) { now_ns } else { now_ns + MIN_PAUSE_NS };
        if let Finding::Python(locks) = &inherited
            && let Some(kind) = self.seen.get_mut(&locks.key)
        {
            kind.processes += 1;
        }
        let process = Process { identity, finding: inherited, failures: 0, since_ns: now_ns, due_ns, comm: leader.comm(), script };
        self.processes.insert(leader.tgid(), process);
    }

    fn forget(&mut self, present: &HashSet<Tgid>) {
        let (unresolved, last, asked) = (&mut self.unresolved, &mut self.last, self.asked);
        if last.len() > ENDED_MAX {
            last.clear();
        }
        self.processes.retain(|tgid, process| {
            // One that is being looked at may be what its reader fails at.
            let stays = present.contains(tgid) || asked.is_some_and(|(asked, _)| asked == *tgid);
            if !stays {
                count_unresolved(unresolved, process);
                match &process.finding {
                    Finding::Python(locks) => last.insert(*tgid, locks.python()),
                    _ => last.remove(tgid),
                };
            }
            stays
        });
    }

    /// Lines up the processes that are due.
    fn begin_turn(&mut self, snapshot: &Snapshot) {
        let asked = self.asked.map(|(tgid, _)| tgid);
        let is_due = |process: &Process| process.due_ns <= snapshot.taken_ns;
        let due = self.processes.iter().filter(|(tgid, process)| is_due(process) && Some(**tgid) != asked);
        let mut due: Vec<(u64, Tgid)> = due.map(|(tgid, process)| (process.due_ns, *tgid)).collect();
        due.sort_unstable_by_key(|(due_ns, tgid)| (*due_ns, tgid.0));
        self.waiting = due.into_iter().map(|(_, tgid)| tgid).collect();
        self.threads.clear();
        for thread in snapshot.live() {
            if self.processes.get(&thread.tgid()).is_some_and(is_due) {
                self.threads.entry(thread.tgid()).or_default().push(thread.tid());
            }
        }
        self.turn_ends = Instant::now() + self.reader.turn();
    }

    /// Takes in answers, and asks about processes that are waiting as long as the reader is free and the turn lasts. Returns those about
    /// which there was an answer.
    fn look(&mut self, now_ns: u64) -> Vec<Tgid> {
        let mut found = Vec::new();
        loop {
            if let Some((tgid, answer)) = self.reader.answer(now_ns) {
                self.learn(tgid, answer, now_ns);
                found.push(tgid);
            }
            let Some(tgid) = self.waiting.front().filter(|_| Instant::now() < self.turn_ends).copied() else { return found };
            if let Some(Process { identity, .. }) = self.processes.get(&tgid) {
                if !self.reader.ask(tgid, now_ns) {
                    return found;
                }
                self.asked = Some((tgid, *identity));
            }
            self.waiting.pop_front();
        }
    }

    fn learn(&mut self, tgid: Tgid, answer: Answer, now_ns: u64) {
        let asked = self.asked.take();
        let Some(process) = self.processes.get_mut(&tgid) else { return };
        let Answer { python: answer, script } = answer;
        let has_failed = answer == Err(Unresolved::ReaderFailed);
        // What it was before an exec; it is due again. But it stays what the reader failed at.
        if !has_failed && asked != Some((tgid, process.identity)) {
            return;
        }
        if let Some(script) = script.filter(|_| process.script.is_none()) {
            process.script = Some(script.into());
            self.learned.push(tgid);
        }
        let was_python = matches!(process.finding, Finding::Python(_));
        match answer {
            Ok(Some(interpreter)) => {
                let locks = note(&mut self.seen, interpreter, !was_python);
                process.finding = Finding::Python(Arc::new(locks));
            }
            // What was found once is kept although the process is about to end.
            _ if was_python => {}
            Ok(None) => process.finding = Finding::NoPython,
            Err(error) => process.finding = Finding::Unresolved(error),
        }
        let pause_ns = if has_failed {
            process.failures += 1;
            (PAUSE_FAILED_NS << (process.failures - 1).min(16)).min(MAX_PAUSE_NS)
        } else {
            process.failures = 0;
            pause_ns(&process.finding, now_ns.saturating_sub(process.since_ns))
        };
        process.due_ns = now_ns + pause_ns;
        if has_failed {
            let seconds = pause_ns / 1_000_000_000;
            tracing::warn!(
                "reading process {} ({}) failed; waits for its Python lock, if it has one, count as futex waits; next try in {seconds} s",
                tgid.0,
                process.comm
            );
        }
    }

    fn missing(&self, thread: &Thread) -> Option<(Tid, [AddressRange; RANGES])> {
        let Finding::Python(locks) = &self.processes.get(&thread.tgid())?.finding else { return None };
        (thread.record.gil != locks.ranges).then_some((thread.tid(), locks.ranges))
    }
}

/// As long as the process has been watched so far, within limits.
fn pause_ns(finding: &Finding, age_ns: u64) -> u64 {
    let longest = match finding {
        // Its only lock does not move.
        Finding::Python(locks) if locks.kind == GilKind::PerProcess && locks.gils > 0 => return u64::MAX / 2,
        Finding::Python(_) => MAX_PAUSE_PYTHON_NS,
        Finding::Unresolved(Unresolved::OverBudget) => return age_ns.clamp(PAUSE_OVER_BUDGET_NS, MAX_PAUSE_NS),
        _ => MAX_PAUSE_NS,
    };
    age_ns.clamp(MIN_PAUSE_NS, longest)
}

/// Notes an interpreter that was seen, if `is_new` as that of one more process, and returns what is kept of it.
fn note(seen: &mut BTreeMap<KindKey, Kind>, interpreter: Interpreter, is_new: bool) -> Locks {
    let version = interpreter.version.map(|version| version.to_string()).unwrap_or_default();
    let (kind, gils, ranges) = (interpreter.kind, interpreter.gils.len(), interpreter.wait_ranges());
    let wanted = Arc::new((interpreter.object.clone(), version));
    let (key, interpreter) = match seen.get_key_value(&wanted) {
        Some((key, _)) => (Arc::clone(key), interpreter),
        None if seen.len() < KINDS_MAX => (wanted, interpreter),
        None => {
            let object = PathBuf::from(FURTHER_KINDS);
            (Arc::new((object.clone(), String::new())), Interpreter { object, version: None, ..interpreter })
        }
    };
    let interpreter = Arc::new(interpreter);
    let entry = seen.entry(Arc::clone(&key)).or_insert_with(|| Kind { interpreter: Arc::clone(&interpreter), processes: 0 });
    entry.processes += u64::from(is_new);
    entry.interpreter = interpreter;
    Locks { kind, gils, ranges, key }
}

fn count_unresolved(counts: &mut ByReason, process: &Process) {
    if let Some(reason) = reason(process) {
        counts[reason as usize] += 1;
    }
}

/// Why the locks of a Python process are unknown. If nothing better is known, its name says whether it is one.
fn reason(process: &Process) -> Option<Unresolved> {
    let by_name = process.has_name_of_python();
    match &process.finding {
        Finding::New => by_name.then_some(Unresolved::Gone),
        Finding::Unresolved(error @ (Unresolved::Gone | Unresolved::Starting | Unresolved::NotReadable)) => {
            by_name.then_some(*error)
        }
        Finding::Unresolved(error) => Some(*error),
        Finding::NoPython | Finding::Python(_) => None,
    }
}

#[cfg(test)]
mod tests;
