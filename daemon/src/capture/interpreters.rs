//! Which traced processes run a Python, and where the kernel side has to look for waits on its lock.
//!
//! A process is looked at when it is first seen and after every exec, and again at growing intervals as long as it shows no interpreter
//! (one may still be loading) or its interpreters can change. A forked process inherits what is known of its parent, so a storm of forks
//! costs nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
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
/// Pause before one is looked at again that was too large to look at.
const PAUSE_OVER_BUDGET_NS: u64 = 1_000_000_000;
/// Most processes looked at in one go: reading one takes about 0.1 ms.
const AT_ONCE: usize = 64;
/// No further one is begun after this time. The others come first the next time.
const TIME_AT_ONCE: Duration = Duration::from_millis(20);
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
#[derive(Debug, Default)]
pub struct Interpreters {
    resolver: Resolver,
    processes: HashMap<Tgid, Process>,
    /// Processes that have ended as a Python.
    last: HashMap<Tgid, Python>,
    /// Interpreters seen over all time, by file and version.
    seen: BTreeMap<KindKey, Kind>,
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

    /// Which interpreter locks a process has, also after its end; `None` if it is not a Python.
    pub(crate) fn python(&self, tgid: Tgid) -> Option<Python> {
        match self.processes.get(&tgid) {
            Some(Process { finding: Finding::Python(locks), .. }) => Some(locks.python()),
            Some(process) => reason(process)
                .filter(|reason| process.has_name_of_python() || *reason != Unresolved::OverBudget)
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
        let inherited = match parent.map(|parent| &parent.finding) {
            Some(finding @ (Finding::Python(_) | Finding::NoPython)) if leader.record.execs == 0 && !leader.was_seeded() => {
                finding.clone()
            }
            _ => Finding::New,
        };
        let due_ns = if matches!(inherited, Finding::New) { now_ns } else { now_ns + MIN_PAUSE_NS };
        if let Finding::Python(locks) = &inherited
            && let Some(kind) = self.seen.get_mut(&locks.key)
        {
            kind.processes += 1;
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
                    Finding::Python(locks) => last.insert(*tgid, locks.python()),
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
        let begin = Instant::now();
        for (_, tgid) in due.into_iter().take(AT_ONCE) {
            if begin.elapsed() > TIME_AT_ONCE {
                break;
            }
            let found = self.resolver.resolve(tgid);
            let Some(process) = self.processes.get_mut(&tgid) else { continue };
            let was_python = matches!(process.finding, Finding::Python(_));
            match found {
                Ok(Some(interpreter)) => {
                    let locks = note(&mut self.seen, interpreter, !was_python);
                    process.finding = Finding::Python(Arc::new(locks));
                }
                // What was found once is kept although the process is about to end.
                _ if was_python => {}
                Ok(None) => process.finding = Finding::NoPython,
                Err(error) => process.finding = Finding::Unresolved(error),
            }
            process.due_ns = now_ns + pause_ns(&process.finding, now_ns.saturating_sub(process.since_ns));
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
mod tests {
    use super::*;
    use crate::capture::python::Found;

    #[test]
    fn kinds_without_end_are_counted_as_one() {
        let mut seen = BTreeMap::new();
        let interpreter = |index: usize| Interpreter {
            version: None,
            kind: GilKind::Unknown,
            runtime: AddressRange::new(0x1000, 8),
            gils: Vec::new(),
            object: PathBuf::from(format!("/srv/user/{index}")),
            found: Found::Symbol,
            further_runtimes: Vec::new(),
        };
        let keys: Vec<KindKey> = (0..3 * KINDS_MAX).map(|index| note(&mut seen, interpreter(index), true).key).collect();
        assert_eq!(seen.len(), KINDS_MAX + 1);
        assert_eq!(seen.values().map(|kind| kind.processes).sum::<u64>(), keys.len() as u64);
        assert!(keys.iter().all(|key| seen.contains_key(key)));
        // Those that were told apart still are.
        note(&mut seen, interpreter(3), true);
        assert_eq!(seen[&keys[3]].processes, 2);
    }
}
