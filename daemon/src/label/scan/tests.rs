use std::collections::BTreeSet;

use proptest::prelude::*;
use schedscope_ebpf::abi::{ExecKey, TaskRecord};
use schedscope_ebpf::task_clock::Phase;

use super::*;
use crate::capture::snapshot::ProvisionalWorkload;
use crate::capture::snapshot::tests::thread;
use crate::label::table::OTHER_ID;

/// CPU time that earns any name a number.
const BUSY_NS: u64 = 1_000_000_000_000;

/// The main thread of a process that was forked under observation.
fn process(tgid: u32, ppid: u32, start_ns: u64, on_cpu_ns: u64) -> Thread {
    let mut thread = thread(tgid, Phase::Running);
    thread.record = TaskRecord { workload: 0, start_ns, ppid, on_cpu_ns, ..thread.record };
    thread
}

fn seeded(tgid: u32, on_cpu_ns: u64) -> Thread {
    let mut thread = process(tgid, 1, 5, on_cpu_ns);
    thread.record.seeded_as = Phase::Blocked as u16;
    thread
}

/// A snapshot that hands out threads which have ended, as the kernel side does: once more among `threads` if just now.
fn ended(mut thread: Thread) -> Snapshot {
    thread.record.clock.phase = Phase::Dead as u32;
    Snapshot { threads: vec![thread.clone()], released: vec![thread], ..Snapshot::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for a reader, which can fail")]
fn exe(name: &str) -> Option<Identity> {
    Some(Identity { exe: Some(format!("/bin/{name}")), ..Identity::default() })
}

fn moved(tid: u32, to: WorkloadId) -> Move {
    Move { tid: Tid(tid), to, start_of: None }
}

fn scanner() -> Scanner {
    Scanner::new(Rules::default(), Containers::of_host("/nowhere".into()), 8)
}

fn alive(threads: &[Thread]) -> Snapshot {
    Snapshot { threads: threads.to_vec(), ..Snapshot::default() }
}

fn names(scanner: &Scanner) -> Vec<&str> {
    scanner.table().iter().map(|entry| entry.name).collect()
}

#[test]
fn a_busy_process_moves_to_its_own_workload_with_all_its_threads() {
    let mut scanner = scanner();
    let mut second = seeded(10, BUSY_NS);
    second.record.tid = 11;
    let mut threads = [seeded(10, 0), second, seeded(20, 0)];
    let read = |tgid: Tgid| exe(if tgid.0 == 10 { "busy" } else { "lazy" });
    assert_eq!(scanner.scan(&alive(&threads), read), [moved(10, WorkloadId(1)), moved(11, WorkloadId(1))]);
    assert_eq!(names(&scanner), ["other", "busy"]);
    threads[0].record.workload = 1;
    assert_eq!(scanner.scan(&alive(&threads), read), [moved(11, WorkloadId(1))], "one is where it belongs");
}

#[test]
fn after_exec_a_process_is_named_anew_and_leaves_the_workload_it_inherited() {
    let mut scanner = scanner();
    let mut shell = seeded(10, BUSY_NS);
    scanner.scan(&alive(&[shell.clone()]), |_| exe("shell"));
    shell.record.workload = 1;
    let mut child = process(11, 10, 50, 0);
    child.record.workload = 1;
    child.record.execs = 1;
    let moves = scanner.scan(&alive(&[shell, child]), |tgid| exe(if tgid.0 == 10 { "shell" } else { "cat" }));
    // It was forked here, and nobody has counted it under its new name.
    assert_eq!(moves, [Move { start_of: Some(Tgid(11)), ..moved(11, OTHER_ID) }]);
}

/// Whoever gives itself another name, or is moved to another cgroup, comes to another workload as by an exec.
#[test]
fn a_process_counts_as_started_once_under_each_name() {
    let mut scanner = scanner();
    let mut worker = process(10, 1, 50, BUSY_NS);
    worker.record.execs = 1;
    let mut scan = |worker: &Thread, name: &str| {
        // Until its turn comes to be read again.
        for _ in 0..SCANS_PER_REFRESH {
            let moves = scanner.scan(&alive(std::slice::from_ref(worker)), |_| exe(name));
            if let [moved] = moves[..] {
                return Some((moved.to.0, moved.start_of.is_some()));
            }
        }
        None
    };
    assert_eq!(scan(&worker, "first"), Some((1, true)), "the kernel side did not know it");
    worker.record.workload = 1;
    assert_eq!(scan(&worker, "second"), Some((2, true)));
    // As when its move has failed.
    assert_eq!(scan(&worker, "second"), Some((2, false)));
    worker.record.workload = 2;
    assert_eq!(scan(&worker, "second"), None);
}

/// The main thread ends before the other one is the new program's. A scan can come before the kernel side is told of that, or before the
/// main thread is off its CPU.
#[test]
fn other_rules_move_what_runs_and_what_will_and_nothing_that_was_counted() {
    let mut scanner = Scanner::new(Rules::default(), Containers::of_host("/nowhere".into()), 8);
    let rules = |text: &str| Rules(vec![toml::from_str(text).unwrap()]);
    let mut parent = seeded(10, BUSY_NS);
    parent.record.execs = 1;
    let threads = [parent, process(11, 10, 50, BUSY_NS)];
    let read = |_: Tgid| exe("worker");
    let targets = |moves: &[Move]| moves.iter().map(|to| (to.tid.0, to.to.0)).collect::<BTreeSet<_>>();
    scanner.scan(&alive(&threads), read);
    let before = scanner.table().id("worker");
    assert_ne!(before, OTHER_ID);
    assert!(scanner.adopt(rules("name = 'shop'\nmatch = { exe = '*/worker' }"), 0).is_empty());
    let shop = scanner.table().id("shop");
    assert_ne!(shop, OTHER_ID);
    assert_eq!(scanner.table().id("worker"), before, "its series goes on");
    let moves = scanner.scan(&alive(&threads), read);
    assert_eq!(targets(&moves), [(10, shop.0), (11, shop.0)].into());
    // With the rule gone they are what they were.
    scanner.adopt(Rules::default(), 0);
    let moves = scanner.scan(&alive(&threads), read);
    assert_eq!(targets(&moves), [(10, before.0), (11, before.0)].into());
}

#[test]
fn an_exec_by_another_thread_is_one_start_whenever_a_scan_sees_it() {
    let program = |number: u32, name: &[u8]| {
        let mut key = ExecKey::default();
        key.exe[..name.len()].copy_from_slice(name);
        ProvisionalWorkload { number: WorkloadId(number), key, cgroup: Box::new([0; 512]), cells: Vec::new() }
    };
    let mut main = process(10, 1, 50, BUSY_NS);
    main.record = TaskRecord { workload: 8, execs: 1, identity: 1, ..main.record };
    main.record.at_exit.on_cpu_ns = 1;
    let mut other = process(10, 1, 60, BUSY_NS);
    other.record = TaskRecord { tid: 11, workload: 8, identity: 1, ..other.record };
    let mut after_hook = other.clone();
    after_hook.record = TaskRecord { tid: 10, workload: 1, execs: 1, identity: 2, ..other.record };
    let scan = |other: &Thread, main_is_last: bool| {
        let threads = if main_is_last { [other.clone(), main.clone()] } else { [main.clone(), other.clone()] };
        let provisional = vec![program(8, b"python\0"), program(9, b"job\0")];
        let mut moves = scanner().scan(&Snapshot { provisional, ..alive(&threads) }, |_| exe("job"));
        moves.sort_by_key(|moved| moved.tid.0);
        moves
    };
    for main_is_last in [false, true] {
        let start = |tid| Move { start_of: Some(Tgid(10)), ..moved(tid, WorkloadId(1)) };
        assert_eq!(scan(&other, main_is_last), [start(10), start(11)], "the hook will find it moved, and not count it");
        assert_eq!(scan(&after_hook, main_is_last), [moved(10, WorkloadId(1))], "the hook has counted it");
    }
}

/// It is named before its arguments are known, as a child is that it forks meanwhile.
#[test]
fn what_is_learned_of_a_process_renames_it_and_who_it_forks_until_then() {
    let mut scanner = scanner();
    let mut parent = process(10, 1, 50, BUSY_NS);
    parent.record.execs = 1;
    let read = |script: Option<&'static str>| {
        move |_: Tgid| Some(Identity { script: script.map(str::to_owned), ..exe("python3").unwrap() })
    };
    scanner.scan(&alive(std::slice::from_ref(&parent)), read(None));
    assert_eq!(names(&scanner), ["other", "python3"]);
    parent.record.workload = 1;
    let mut child = process(11, 10, 60, 0);
    child.record.workload = 1;
    scanner.name_anew(Tgid(10));
    // One that has ended.
    scanner.name_anew(Tgid(99));
    let threads = [parent, child];
    let moves = scanner.scan(&alive(&threads), read(Some("app.py")));
    assert_eq!(moves, [Move { start_of: Some(Tgid(10)), ..moved(10, WorkloadId(2)) }]);
    assert_eq!(names(&scanner), ["other", "python3", "python3 app.py"]);
    let moves = scanner.scan(&alive(&threads), read(Some("app.py")));
    // As when the first move has failed; the child was not counted by an exec.
    assert_eq!(moves, [moved(10, WorkloadId(2)), moved(11, WorkloadId(2))]);
}

#[test]
fn a_container_whose_name_is_known_late_is_renamed_with_what_will_run_in_it() {
    let root = tempfile::tempdir().unwrap();
    let mut scanner = Scanner::new(Rules::default(), Containers::of_host(root.path().to_owned()), 8);
    let id = "0123456789abcdef".repeat(4);
    let mut key = ExecKey::default();
    key.exe[..3].copy_from_slice(b"cc\0");
    let mut cgroup = Box::new([0; 512]);
    cgroup[..72].copy_from_slice(format!("{id}\0docker\0").as_bytes());
    let provisional = vec![ProvisionalWorkload { number: WorkloadId(9), key, cgroup, cells: Vec::new() }];
    let snapshot = |taken_ns| Snapshot { taken_ns, provisional: provisional.clone(), ..alive(&[seeded(10, BUSY_NS)]) };
    let read = |_: Tgid| Some(Identity { cgroup: format!("/docker/{id}"), ..exe("cc").unwrap() });
    let mut known = |taken_ns| {
        let mut snapshot = snapshot(taken_ns);
        scanner.scan(&snapshot, read);
        let known = scanner.settle(&mut snapshot, taken_ns).known;
        let named: Vec<String> = scanner.table().iter().map(|entry| entry.name.to_owned()).collect();
        (named, known.iter().map(|(_, owner)| owner.workload).collect::<Vec<_>>())
    };
    let before = vec!["other".to_owned(), "docker:0123456789ab".to_owned()];
    assert_eq!(known(0), (before.clone(), vec![1]));
    let directory = root.path().join("var/lib/docker/containers").join(&id);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("config.v2.json"), r#"{"Name":"/web","Config":{"Image":"nginx:1.27"}}"#).unwrap();
    let after = [before, vec!["docker:web".to_owned()]].concat();
    assert_eq!(known(60_000_000_000), (after, vec![2]));
    let images: Vec<_> = scanner.table().iter().map(|entry| entry.origin.image.as_deref()).collect();
    assert_eq!(images, [None, None, Some("nginx:1.27")]);
}

#[test]
fn a_pid_that_is_used_again_is_read_again() {
    let mut scanner = scanner();
    scanner.scan(&alive(&[process(10, 1, 100, BUSY_NS)]), |_| exe("first"));
    scanner.scan(&alive(&[process(10, 1, 200, BUSY_NS)]), |_| exe("second"));
    assert_eq!(names(&scanner), ["other", "first", "second"]);
}

#[test]
fn short_lived_processes_of_one_name_earn_it_a_number_together() {
    let mut scanner = scanner();
    for tgid in 100..108 {
        scanner.scan(&alive(&[seeded(tgid, 0)]), |_| exe("cc"));
        scanner.scan(&ended(seeded(tgid, 12_000_000)), |_| None);
    }
    assert_eq!(names(&scanner), ["other"]);
    scanner.scan(&alive(&[seeded(200, 4_000_000)]), |_| exe("cc"));
    assert_eq!(names(&scanner), ["other", "cc"]);
}

#[test]
fn processes_that_no_scan_has_seen_alive_earn_their_name_a_number() {
    let mut scanner = scanner();
    let mut key = ExecKey::default();
    key.exe[..3].copy_from_slice(b"cc\0");
    let provisional = ProvisionalWorkload { number: WorkloadId(9), key, cgroup: Box::new([0; 512]), cells: Vec::new() };
    scanner.scan(&Snapshot { provisional: vec![provisional], ..Snapshot::default() }, |_| None);
    let mut short = process(100, 1, 50, 60_000_000);
    short.record.identity = 1;
    scanner.scan(&ended(short.clone()), |_| None);
    assert_eq!(names(&scanner), ["other"]);
    short.record.tid = 101;
    scanner.scan(&ended(short), |_| None);
    assert_eq!(names(&scanner), ["other", "cc"]);
}

#[test]
fn every_process_is_read_again_within_a_round() {
    let mut scanner = scanner();
    let thread = seeded(77, 0);
    let mut reads = 0;
    for _ in 0..=SCANS_PER_REFRESH {
        scanner.scan(&alive(std::slice::from_ref(&thread)), |_| {
            reads += 1;
            exe("x")
        });
    }
    assert!((2..=3).contains(&reads), "{reads}");
}

#[test]
fn a_family_forked_between_two_scans_is_named_from_the_oldest_on() {
    let mut scanner = scanner();
    let parent = seeded(30, BUSY_NS);
    scanner.scan(&alive(std::slice::from_ref(&parent)), |_| exe("server"));
    // The grandchild's number is lower: it is the start that counts.
    let family = [process(10, 20, 300, 0), process(20, 30, 200, 0), parent];
    let moves = scanner.scan(&alive(&family), |tgid| panic!("{tgid:?} was read"));
    assert_eq!(moves.iter().map(|moved| moved.tid.0).collect::<Vec<_>>(), [10, 20, 30]);
    // One that was alive before tracing began may have become anything since its fork.
    let mut reads = Vec::new();
    let mut stranger = seeded(40, 0);
    stranger.record.ppid = 30;
    scanner.scan(&alive(&[stranger, family[2].clone()]), |tgid| {
        reads.push(tgid.0);
        exe("stranger")
    });
    assert_eq!(reads, [40]);
}

#[test]
fn a_process_whose_main_thread_is_gone_is_still_the_same() {
    let mut scanner = scanner();
    let main = process(10, 1, 100, BUSY_NS);
    let mut worker = process(10, 1, 150, BUSY_NS);
    worker.record.tid = 11;
    scanner.scan(&alive(&[main, worker.clone()]), |_| exe("server"));
    scanner.scan(&alive(std::slice::from_ref(&worker)), |_| panic!("nothing has changed"));
    // Any of its threads may have called exec.
    worker.record.execs = 1;
    scanner.scan(&alive(&[worker]), |_| exe("after"));
    assert_eq!(names(&scanner), ["other", "server", "after"]);
}

#[test]
fn the_busiest_are_read_first_and_get_the_last_number() {
    let mut scanner = Scanner::new(Rules::default(), Containers::of_host("/nowhere".into()), 1);
    // The busiest is neither the first nor the last, and its time is that of two threads.
    let mut threads: Vec<Thread> = (1000..1100).map(|tgid| seeded(tgid, BUSY_NS)).collect();
    let mut second = seeded(1050, BUSY_NS);
    second.record.tid = 1;
    threads.push(second);
    let mut reads = Vec::new();
    let moves = scanner.scan(&alive(&threads), |tgid| {
        reads.push(tgid.0);
        exe(&format!("p{tgid:?}"))
    });
    assert_eq!((reads[0], reads.len()), (1050, READS_PER_SCAN), "the others wait for the next scan");
    assert_eq!(moves.iter().map(|moved| (moved.tid.0, moved.to.0)).collect::<Vec<_>>(), [(1050, 1), (1, 1)]);
    assert_eq!(scanner.table().folded(), READS_PER_SCAN as u64 - 1);
    let counted: Vec<(u32, u32)> = scanner.processes().filter(|(_, id)| *id != OTHER_ID).map(|(tgid, id)| (tgid.0, id.0)).collect();
    assert_eq!(counted, [(1050, 1)]);
    scanner.scan(&alive(&threads), |_| exe("later"));
    assert_eq!(scanner.processes().count(), 100);
}

#[test]
fn a_process_that_cannot_be_read_is_tried_again() {
    let mut scanner = scanner();
    let threads = [seeded(10, BUSY_NS)];
    assert!(scanner.scan(&alive(&threads), |_| None).is_empty());
    assert_eq!(scanner.scan(&alive(&threads), |_| exe("late")).len(), 1);
}

proptest! {
    /// Whatever comes and goes: nothing is kept of what has ended, and a thread is only moved to a number that has a name.
    #[test]
    fn moves_go_to_numbers_that_exist(
        scans in prop::collection::vec(prop::collection::vec((1_u32..30, 1_u32..30, 0_u32..3, 0_u64..BUSY_NS, any::<bool>()), 0..20), 0..10)
    ) {
        let mut scanner = scanner();
        for scan in scans {
            let mut snapshot = Snapshot::default();
            for (tgid, ppid, execs, on_cpu_ns, dead) in scan {
                let mut thread = process(tgid, ppid, u64::from(tgid), on_cpu_ns);
                thread.record.execs = execs;
                if dead {
                    let ended = ended(thread);
                    snapshot.threads.extend(ended.threads);
                    snapshot.released.extend(ended.released);
                } else {
                    snapshot.threads.push(thread);
                }
            }
            let moves = scanner.scan(&snapshot, |tgid| if tgid.0 % 7 == 0 { None } else { exe(&format!("p{}", tgid.0 % 12)) });
            let named = scanner.table().iter().count();
            prop_assert!(moves.iter().all(|moved| (moved.to.0 as usize) < named));
            let live: BTreeSet<u32> = snapshot.threads.iter().filter(|t| !t.has_ended()).map(|t| t.record.tgid).collect();
            prop_assert!(moves.iter().all(|moved| live.contains(&moved.tid.0)));
            prop_assert!(scanner.processes().all(|(tgid, _)| live.contains(&tgid.0)));
        }
    }
}
