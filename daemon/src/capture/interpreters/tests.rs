use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use schedscope_ebpf::task_clock::Phase;

use super::*;
use crate::capture::python::Found;
use crate::capture::snapshot::tests::thread;

const SECOND_NS: u64 = 1_000_000_000;

fn interpreter(object: &str) -> Interpreter {
    Interpreter {
        version: None,
        kind: GilKind::Unknown,
        runtime: AddressRange::new(0x1000, 8),
        gils: Vec::new(),
        object: PathBuf::from(object),
        found: Found::Symbol,
        further_runtimes: Vec::new(),
    }
}

#[test]
fn kinds_without_end_are_counted_as_one() {
    let mut seen = BTreeMap::new();
    let interpreter = |index: usize| interpreter(&format!("/srv/user/{index}"));
    let keys: Vec<KindKey> = (0..3 * KINDS_MAX).map(|index| note(&mut seen, interpreter(index), true).key).collect();
    assert_eq!(seen.len(), KINDS_MAX + 1);
    assert_eq!(seen.values().map(|kind| kind.processes).sum::<u64>(), keys.len() as u64);
    assert!(keys.iter().all(|key| seen.contains_key(key)));
    // Those that were told apart still are.
    note(&mut seen, interpreter(3), true);
    assert_eq!(seen[&keys[3]].processes, 2);
}

/// What a reader was asked and has not answered, and what it answers next.
#[derive(Debug, Default)]
struct Script {
    asked: Option<Tgid>,
    answer: Option<Answer>,
}

/// A reader that answers when the test says so.
#[derive(Clone, Debug, Default)]
struct Slow(Rc<RefCell<Script>>);

impl Slow {
    fn asked(&self) -> Option<u32> {
        self.0.borrow().asked.map(|tgid| tgid.0)
    }

    fn answers(&self, answer: impl Into<Answer>) {
        self.0.borrow_mut().answer = Some(answer.into());
    }
}

impl Reader for Slow {
    fn ask(&mut self, tgid: Tgid, _now_ns: u64) -> bool {
        let asked = &mut self.0.borrow_mut().asked;
        let is_free = asked.is_none();
        if is_free {
            *asked = Some(tgid);
        }
        is_free
    }

    fn answer(&mut self, _now_ns: u64) -> Option<(Tgid, Answer)> {
        let Script { asked, answer } = &mut *self.0.borrow_mut();
        let answer = answer.take()?;
        Some((asked.take()?, answer))
    }

    fn turn(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn health(&self) -> Health {
        Health::default()
    }
}

fn read_by_slow() -> (Slow, Interpreters) {
    let slow = Slow::default();
    (slow.clone(), Interpreters::read_by(Box::new(slow)))
}

/// Processes of two threads each, the second numbered 100 higher, that have called exec this often.
fn snapshot(taken_ns: u64, processes: &[u32], execs: u32) -> Snapshot {
    let threads = processes.iter().flat_map(|tgid| [*tgid, tgid + 100].map(|tid| (*tgid, tid)));
    let threads = threads.map(|(tgid, tid)| {
        let mut thread = thread(tid, Phase::Running);
        (thread.record.tgid, thread.record.execs) = (tgid, execs);
        thread
    });
    Snapshot { taken_ns, threads: threads.collect(), ..Snapshot::default() }
}

#[test]
fn what_is_found_between_two_snapshots_is_told_at_once() {
    let (slow, mut interpreters) = read_by_slow();
    assert!(interpreters.update(&snapshot(SECOND_NS, &[1, 2], 0)).is_empty());
    assert_eq!(slow.asked(), Some(1));
    assert!(interpreters.hear(SECOND_NS).is_empty());
    slow.answers(Ok(Some(interpreter("/usr/bin/python3"))));
    let ranges = interpreter("").wait_ranges();
    assert_eq!(interpreters.hear(SECOND_NS), [(Tid(1), ranges), (Tid(101), ranges)]);
    // And the next one is asked about at once.
    assert_eq!(slow.asked(), Some(2));
    slow.answers(Ok(None));
    assert!(interpreters.hear(SECOND_NS).is_empty());
    assert_eq!(slow.asked(), None);
    assert_eq!((interpreters.python(Tgid(1)), interpreters.python(Tgid(2))), (Some(Python::OneGil), None));
}

#[test]
fn what_is_found_of_the_program_before_an_exec_is_not_that_after_it() {
    let (slow, mut interpreters) = read_by_slow();
    interpreters.update(&snapshot(SECOND_NS, &[1], 0));
    interpreters.update(&snapshot(SECOND_NS + 1, &[1], 1));
    slow.answers(Ok(Some(interpreter("/usr/bin/python3"))));
    assert!(interpreters.hear(SECOND_NS + 2).is_empty());
    assert_eq!(interpreters.python(Tgid(1)), None);
    interpreters.update(&snapshot(SECOND_NS + 3, &[1], 1));
    assert_eq!(slow.asked(), Some(1));
}

#[test]
fn a_process_that_its_reader_fails_at_is_counted_and_left_alone_for_longer_and_longer() {
    let (slow, mut interpreters) = read_by_slow();
    let (mut now_ns, mut pauses) = (SECOND_NS, Vec::new());
    interpreters.update(&snapshot(now_ns, &[1], 0));
    for _ in 0..7 {
        assert_eq!(slow.asked(), Some(1));
        slow.answers(Err(Unresolved::ReaderFailed));
        interpreters.hear(now_ns);
        assert_eq!(interpreters.unresolved()[Unresolved::ReaderFailed as usize], 1);
        let begin_ns = now_ns;
        while slow.asked().is_none() {
            now_ns += SECOND_NS;
            interpreters.update(&snapshot(now_ns, &[1], 0));
        }
        pauses.push((now_ns - begin_ns) / SECOND_NS);
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    // It is no Python for that.
    assert_eq!(interpreters.python(Tgid(1)), None);
    slow.answers(Ok(None));
    interpreters.hear(now_ns);
    assert_eq!(interpreters.unresolved()[Unresolved::ReaderFailed as usize], 0);
}

#[test]
fn a_process_that_ends_while_its_reader_fails_at_it_is_counted() {
    let (slow, mut interpreters) = read_by_slow();
    interpreters.update(&snapshot(SECOND_NS, &[1], 0));
    interpreters.update(&snapshot(2 * SECOND_NS, &[2], 0));
    slow.answers(Err(Unresolved::ReaderFailed));
    interpreters.update(&snapshot(3 * SECOND_NS, &[2], 0));
    interpreters.update(&snapshot(4 * SECOND_NS, &[2], 0));
    assert_eq!(interpreters.unresolved()[Unresolved::ReaderFailed as usize], 1);
    assert_eq!(slow.asked(), Some(2));
}

#[test]
fn a_script_is_what_was_found_first_and_what_a_forked_process_runs_too() {
    let (slow, mut interpreters) = read_by_slow();
    let mut now_ns = SECOND_NS;
    interpreters.update(&snapshot(now_ns, &[1], 1));
    assert_eq!((interpreters.take_learned(), interpreters.script(Tgid(1))), (Vec::new(), None));
    let mut answer = |interpreters: &mut Interpreters, script: Option<&str>| {
        slow.answers(Answer { python: Ok(None), script: script.map(str::to_owned) });
        interpreters.hear(now_ns);
        // Until it is looked at again.
        while slow.asked().is_none() {
            now_ns += SECOND_NS;
            interpreters.update(&snapshot(now_ns, &[1], 1));
        }
        (interpreters.script(Tgid(1)).map(str::to_owned), interpreters.take_learned())
    };
    assert_eq!(answer(&mut interpreters, None), (None, Vec::new()));
    assert_eq!(answer(&mut interpreters, Some("app.py")), (Some("app.py".to_owned()), vec![Tgid(1)]));
    assert_eq!(answer(&mut interpreters, Some("a title")), (Some("app.py".to_owned()), Vec::new()));
    assert_eq!(answer(&mut interpreters, None), (Some("app.py".to_owned()), Vec::new()));

    let mut forked = snapshot(now_ns, &[1, 2], 1);
    for thread in forked.threads.iter_mut().filter(|thread| thread.record.tgid == 2) {
        (thread.record.ppid, thread.record.execs) = (1, 0);
    }
    interpreters.update(&forked);
    assert_eq!(interpreters.script(Tgid(2)), Some("app.py"));
    // Another program is another script.
    interpreters.update(&snapshot(now_ns, &[1, 2], 2));
    assert_eq!([1, 2].map(|tgid| interpreters.script(Tgid(tgid))), [None, None]);
}
