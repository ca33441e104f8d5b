use proptest::prelude::*;
use schedscope_ebpf::abi::Cell;
use schedscope_ebpf::task_clock::Phase;

use super::*;
use crate::capture::snapshot::tests::thread;
use crate::capture::snapshot::{Arrivals, Tgid};
use crate::capture::totals::Aggregate;
use crate::label::Scanner;
use crate::label::containers::Containers;
use crate::label::rules::Rule;

const NAMED: usize = 4;
const PROVISIONAL: usize = 5;
/// Longer than [`GRACE_NS`].
const READING_NS: u64 = 60_000_000;

fn key(program: u8) -> ExecKey {
    let mut key = ExecKey::default();
    key.exe[..6].copy_from_slice(&[b'p', b'0' + program, 0, b'd', b'0' + program % 3, 0]);
    key
}

/// Programs of a directory share a rule; all of `/d2` have none and never run enough for a name of their own.
fn scanner() -> Scanner {
    let rule =
        |name: &str, exe: &str| -> Rule { toml::from_str(&format!("name = '{name}'\nmatch = {{ exe = '{exe}' }}")).unwrap() };
    Scanner::new(Rules(vec![rule("zero", "/d0/*"), rule("one", "/d1/*")]), Containers::of_host("/nowhere".into()), NAMED - 1)
}

/// The workload to which a program belongs.
fn truth(program: u8) -> usize {
    [1, 2, 0][usize::from(program % 3)]
}

/// The kernel side, as far as it decides at an exec, with one CPU.
#[derive(Default)]
struct Kernel {
    now_ns: u64,
    owners: HashMap<ExecKey, Owner>,
    free: Vec<usize>,
    in_use: HashMap<usize, ExecKey>,
    cells: Vec<Cell>,
    arrivals: Vec<Arrivals>,
    /// Processes of one thread, with the programs that they run.
    processes: Vec<(Thread, u8)>,
    released: Vec<Thread>,
    last_tid: u32,
}

impl Kernel {
    fn new() -> Kernel {
        Kernel { free: (0..PROVISIONAL).collect(), cells: vec![Cell::default(); NAMED + PROVISIONAL], ..Kernel::default() }
    }

    /// A process calls exec, a new one or one that has before. False if it could not be told where it belongs.
    fn exec(&mut self, before: Option<usize>, program: u8) -> bool {
        let key = key(program);
        let mut owner = self.owners.get(&key).copied();
        if owner.is_none() {
            let Some(index) = self.free.pop() else { return false };
            self.in_use.insert(index, key);
            let workload = u32::try_from(NAMED + index).unwrap();
            owner = Some(Owner { workload, identity: 0 });
            self.owners.insert(key, Owner { workload, identity: 0 });
        }
        let Owner { workload, identity } = owner.unwrap();
        let index = before.unwrap_or_else(|| {
            self.last_tid += 1;
            let mut process = thread(self.last_tid, Phase::Running);
            process.record.clock.since_ns = u64::MAX / 2;
            self.processes.push((process, program));
            self.processes.len() - 1
        });
        let (process, runs) = &mut self.processes[index];
        let from = WorkloadId(process.record.workload);
        (process.record.workload, process.record.identity) = (workload, u16::try_from(identity).unwrap());
        process.record.execs += 1;
        *runs = program;
        if before.is_none() {
            self.cells[workload as usize].processes_started += 1;
        } else if from.0 != workload {
            self.arrivals.push(Arrivals { from, to: WorkloadId(workload), count: 1 });
        }
        true
    }

    fn snapshot(&mut self) -> Snapshot {
        self.now_ns += READING_NS;
        let provisional = self.in_use.iter().map(|(index, key)| ProvisionalWorkload {
            number: WorkloadId(u32::try_from(NAMED + index).unwrap()),
            key: *key,
            cgroup: Box::new([0; 512]),
            cells: vec![self.cells[NAMED + index]],
        });
        Snapshot {
            taken_ns: self.now_ns,
            cells: vec![self.cells[..NAMED].to_vec()],
            provisional: provisional.collect(),
            threads: self.processes.iter().map(|(thread, _)| thread.clone()).collect(),
            released: std::mem::take(&mut self.released),
            arrivals: std::mem::take(&mut self.arrivals),
            are_starts_deferred: true,
            ..Snapshot::default()
        }
    }

    fn obey(&mut self, orders: OwnerOrders) {
        for key in orders.forgotten {
            self.owners.remove(&key);
        }
        self.owners.extend(orders.known);
        for (tid, workload) in orders.moves {
            let moved = self.processes.iter_mut().find(|(thread, _)| thread.tid() == tid);
            moved.unwrap().0.record.workload = workload.0;
        }
        for workload in orders.retired {
            let index = workload.0 as usize - NAMED;
            assert!(self.processes.iter().all(|(thread, _)| thread.workload() != workload), "{workload:?} is in use");
            assert!(self.owners.values().all(|owner| owner.workload != workload.0), "a key leads to {workload:?}");
            self.cells[NAMED + index] = Cell::default();
            self.in_use.remove(&index);
            self.free.push(index);
        }
    }

    fn read(&mut self, scanner: &mut Scanner, totals: &mut Aggregate) {
        let mut snapshot = self.snapshot();
        // All have ended before anybody can read them.
        scanner.scan(&snapshot, |_: Tgid| None);
        let orders = scanner.settle(&mut snapshot, self.now_ns);
        assert!(snapshot.threads.iter().all(|thread| (thread.workload().0 as usize) < NAMED));
        totals.update(&snapshot);
        self.obey(orders);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Start(u8),
    ExecAgain(usize, u8),
    Work(usize, u64),
    End(usize),
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..9).prop_map(Step::Start),
        2 => (any::<usize>(), 0_u8..9).prop_map(|(index, program)| Step::ExecAgain(index, program)),
        4 => (any::<usize>(), 1_u64..100).prop_map(|(index, switches)| Step::Work(index, switches)),
        2 => any::<usize>().prop_map(Step::End),
        2 => Just(Step::Read),
    ]
}

proptest! {
    /// Whatever runs when: each workload has what its programs did from their exec on, as soon as it is read, and nothing goes down.
    #[test]
    fn everything_is_counted_where_it_belongs_and_once(steps in prop::collection::vec(step(), 0..120)) {
        let (mut kernel, mut scanner, mut totals) = (Kernel::new(), scanner(), Aggregate::default());
        let (mut switches, mut starts, mut shown) = ([0; NAMED], [0; NAMED], [(0, 0); NAMED]);
        for step in steps.into_iter().chain([Step::Read]) {
            let count = kernel.processes.len();
            match step {
                Step::Start(program) => starts[truth(program)] += u64::from(kernel.exec(None, program)),
                Step::ExecAgain(index, program) if count > 0 => {
                    let before = truth(kernel.processes[index % count].1);
                    if kernel.exec(Some(index % count), program) && truth(program) != before {
                        starts[truth(program)] += 1;
                    }
                }
                Step::Work(index, count_ns) if count > 0 => {
                    let (thread, program) = &kernel.processes[index % count];
                    kernel.cells[thread.workload().0 as usize].voluntary += count_ns;
                    switches[truth(*program)] += count_ns;
                }
                Step::End(index) if count > 0 => {
                    let (thread, _) = kernel.processes.swap_remove(index % count);
                    kernel.released.push(thread);
                }
                Step::Read => {
                    kernel.read(&mut scanner, &mut totals);
                    for workload in 0..NAMED {
                        let now = totals.totals(WorkloadId(u32::try_from(workload).unwrap())).unwrap();
                        prop_assert_eq!((now.voluntary, now.processes_started), (switches[workload], starts[workload]));
                        prop_assert!(now.voluntary >= shown[workload].0 && now.processes_started >= shown[workload].1);
                        shown[workload] = (now.voluntary, now.processes_started);
                    }
                }
                _ => {}
            }
        }
        // What is not used any more is handed back.
        kernel.processes.clear();
        for _ in 0..3 {
            kernel.read(&mut scanner, &mut totals);
        }
        prop_assert_eq!(kernel.free.len(), PROVISIONAL);
    }
}

#[test]
fn a_provisional_workload_is_kept_while_an_exec_may_still_lead_to_it() {
    let (mut kernel, mut scanner) = (Kernel::new(), scanner());
    assert!(kernel.exec(None, 0));
    kernel.processes.clear();
    let mut settle = |kernel: &mut Kernel, taken_ns| {
        let mut snapshot = Snapshot { taken_ns, ..kernel.snapshot() };
        scanner.scan(&snapshot, |_: Tgid| None);
        scanner.settle(&mut snapshot, taken_ns).retired.len()
    };
    assert_eq!([0, GRACE_NS - 1, GRACE_NS].map(|at_ns| settle(&mut kernel, 1_000 + at_ns)), [0, 0, 1]);
}

#[test]
fn threads_are_moved_out_of_a_provisional_workload_and_it_is_kept_until_they_are() {
    let (mut kernel, mut scanner) = (Kernel::new(), scanner());
    assert!(kernel.exec(None, 0) && kernel.exec(None, 0));
    // A zombie keeps its record until its parent asks for it.
    kernel.processes[1].0.record.clock.phase = Phase::Dead as u32;
    let mut settle = |kernel: &mut Kernel| {
        let mut snapshot = kernel.snapshot();
        scanner.scan(&snapshot, |_: Tgid| None);
        scanner.settle(&mut snapshot, 0)
    };
    for _ in 0..3 {
        let OwnerOrders { moves, retired, .. } = settle(&mut kernel);
        assert_eq!(moves, [(Tid(1), WorkloadId(1)), (Tid(2), WorkloadId(1))]);
        assert_eq!(retired, [], "a thread is in it");
    }
    kernel.processes.clear();
    assert_eq!(settle(&mut kernel).retired.len(), 1);
}

#[test]
fn a_forked_process_counts_where_it_is_once_it_stays_there() {
    let count = |age_ns, execs, tid, seeded_as: Phase| {
        let mut forked = thread(7, Phase::Blocked);
        forked.record.workload = 1;
        forked.record.start_ns = 5;
        (forked.record.execs, forked.record.tid, forked.record.seeded_as) = (execs, tid, seeded_as as u16);
        let cells = vec![vec![Cell::default(); 2]];
        let mut snapshot =
            Snapshot { taken_ns: 5 + age_ns, cells, threads: vec![forked], are_starts_deferred: true, ..Snapshot::default() };
        scanner().settle(&mut snapshot, 0);
        (snapshot.cells[0][1].processes_started, snapshot.cells[0][1].threads_started)
    };
    assert_eq!(count(STAYS_NS, 0, 7, Phase::New), (1, 1));
    assert_eq!(count(STAYS_NS - 1, 0, 7, Phase::New), (0, 0));
    assert_eq!(count(STAYS_NS, 1, 7, Phase::New), (0, 0), "counted at its exec");
    assert_eq!(count(STAYS_NS, 0, 8, Phase::New), (0, 0), "no main thread");
    assert_eq!(count(STAYS_NS, 0, 7, Phase::Blocked), (0, 0), "older than the trace");
}

#[test]
fn programs_are_forgotten_that_were_not_met_for_longest() {
    let mut scanner = scanner();
    let mut forgotten = Vec::new();
    let key = |number: usize| {
        let mut key = ExecKey { cgroup_id: number as u64, ..ExecKey::default() };
        key.exe[0] = b'x';
        key
    };
    // The first is in use all the time.
    let mut old = thread(5, Phase::Running);
    old.record.identity = 1;
    for number in 0..=MAX_PROGRAMS {
        let met = ProvisionalWorkload {
            number: WorkloadId(9),
            key: key(number),
            cgroup: Box::new([0; 512]),
            cells: vec![Cell::default()],
        };
        let taken_ns = number as u64 * 2 * GRACE_NS;
        for taken_ns in [taken_ns, taken_ns + GRACE_NS] {
            let mut snapshot =
                Snapshot { taken_ns, provisional: vec![met.clone()], threads: vec![old.clone()], ..Snapshot::default() };
            scanner.scan(&snapshot, |_: Tgid| None);
            forgotten.extend(scanner.settle(&mut snapshot, taken_ns).forgotten);
        }
    }
    assert_eq!(forgotten, (1..=MAX_PROGRAMS / 4).map(key).collect::<Vec<_>>());
}

#[test]
fn every_counter_of_a_cell_is_added() {
    let mut part = Cell::default();
    for (number, value) in (1..).zip([
        &mut part.on_cpu_ns,
        &mut part.wakeup_wait_ns,
        &mut part.preempt_wait_ns,
        &mut part.transit_ns,
        &mut part.gil_transit_ns,
        &mut part.voluntary,
        &mut part.preempted,
        &mut part.yielded,
        &mut part.blocked_ns[3],
        &mut part.migrations[1][2],
        &mut part.threads_started,
        &mut part.processes_started,
        &mut part.gil_handoffs,
        &mut part.timeslice.sum_ns,
        &mut part.wakeup_latency.counts[5],
        &mut part.preemption_wait.counts[6],
        &mut part.unobserved_wait_ns,
    ]) {
        *value = number;
    }
    part.timeslice.max_ns = 40;
    let mut sum = Cell::default();
    add(&mut sum, &part);
    assert_eq!(sum, part);
    add(&mut sum, &part);
    assert_eq!((sum.voluntary, sum.timeslice.sum_ns, sum.timeslice.max_ns), (2 * part.voluntary, 2 * part.timeslice.sum_ns, 40));
}

#[test]
fn a_path_is_read_from_its_end() {
    let path = |bytes: &[u8]| path_of(&names_of(bytes));
    assert_eq!(path(b"env\0bin\0usr\0\0\0"), "/usr/bin/env");
    assert_eq!(path(&[0; 8]), "/");
    assert_eq!(path(b"\xffx\0"), "/\u{fffd}x");
}

#[test]
fn the_cgroup_is_unknown_if_its_beginning_is() {
    assert_eq!(cgroup_of(b"ssh.service\0system.slice\0\0\0"), "/system.slice/ssh.service");
    assert_eq!(cgroup_of(b"ssh.service\0abc\0\0"), "/abc/ssh.service");
    for cut in [&b"ssh.service\0abc\0"[..], b"ssh.service\0abc", &[&b"x\0".repeat(PATH_STEPS as usize), &[0; 8][..]].concat()] {
        assert_eq!(cgroup_of(cut), "");
    }
    assert_eq!(cgroup_of(&[&b"x\0".repeat(PATH_STEPS as usize - 1), &[0; 8][..]].concat()), "/x".repeat(PATH_STEPS as usize - 1));
}
