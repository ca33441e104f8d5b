//! Very many tasks: at once, one after the other under one id, and more than there is room for.

use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use procfs::process::Process;
use schedscope::capture::kernel::{Depth, Sizes, Tracer};
use schedscope::capture::snapshot::{Snapshot, Tgid, Thread, WorkloadId};
use schedscope::capture::spawn::Gated;
use schedscope::capture::topology::Topology;
use schedscope_ebpf::loss::{Harm, Loss};

use super::host::{Guarded, comes_true, fast, privileged, workloads};
use super::served::Daemon;
use super::traced::exact;

#[test]
fn ten_thousand_threads_of_several_processes_fit_at_once() {
    let Some(()) = fast("a step of its own has 3,000 threads") else { return };
    let Some(traced) = exact("many-threads --processes 10 --count 1000") else { return };
    let tasks = &traced.report.tasks;
    let expected = ["processes", "threads", "peak_threads"].map(|key| traced.expected(key));
    assert!(expected[2] > 10_000);
    assert_eq!([tasks.processes, tasks.threads, tasks.peak_threads], expected, "{tasks:?}");
    assert_eq!(traced.report.threads_omitted, expected[1] - 4096);
}

#[test]
fn processes_with_the_same_id_are_told_apart() {
    let Some(traced) = exact("pid-reuse --count 300") else { return };
    let forks = traced.expected("forks");
    assert_eq!((traced.report.tasks.processes, traced.report.tasks.threads), (forks + 1, forks + 1));
    let mut by_pid = std::collections::HashMap::<u32, u64>::new();
    for thread in &traced.report.threads {
        assert!(thread.voluntary <= 2 || thread.comm == "reuse", "another's switches: {thread:?}");
        *by_pid.entry(thread.tid).or_default() += 1;
    }
    assert!(by_pid.values().any(|lives| *lives >= traced.expected("same_pid")), "{by_pid:?}");
}

/// Of what a crowd takes, a quarter may stay: the daemon remembers what it has been.
#[test]
fn what_a_crowd_takes_of_the_daemons_memory_comes_back() {
    let Some(()) = fast("a step of its own has 3,000 threads") else { return };
    let daemon = Daemon::start("");
    let own_kib = || Process::new(daemon.process.id().cast_signed()).unwrap().status().unwrap().rssanon.unwrap();
    // Until it has read the host's processes.
    sleep(Duration::from_secs(12));
    let before = own_kib();
    let mut most = before;
    let mut crowd = Guarded::workload("many-threads --processes 10 --count 1000 --seconds 3");
    while crowd.0.try_wait().unwrap().is_none() {
        most = most.max(own_kib());
        sleep(Duration::from_millis(50));
    }
    let taken = most - before;
    assert!(taken > 4 * 1024, "{before} to {most} KiB: too little to be seen to come back");
    assert!(comes_true(30, || own_kib() < before + taken / 4), "{before} to {most} KiB, and still {}", own_kib());
}

/// Threads that the small table has room for.
const ROOM: u32 = 64;
/// Threads that want to be in it at once.
const CROWD: u64 = 200;
/// What fills the table, and what must not suffer from it.
const FILLING: WorkloadId = WorkloadId(1);
const BYSTANDER: WorkloadId = WorkloadId(2);

struct SmallTable {
    tracer: Tracer,
    ended: Vec<Thread>,
}

impl SmallTable {
    fn new() -> SmallTable {
        let sizes = Sizes { workloads: 3, provisional: 0, tasks: ROOM, thread_by_core: true, wait_accounts: false, samples: false };
        SmallTable { tracer: Tracer::start(sizes, &Topology::read().unwrap()).unwrap(), ended: Vec::new() }
    }

    /// A traced command, from its first instruction.
    fn run(&mut self, arguments: &str, workload: WorkloadId) -> Child {
        let script = format!("exec '{}' {arguments} > /dev/null", workloads());
        let gated = Gated::fork(&["sh".to_owned(), "-c".to_owned(), script]).unwrap();
        self.tracer.seed(&[gated.tgid()], workload).unwrap();
        gated.release().unwrap()
    }

    fn look(&mut self) -> Snapshot {
        let mut snapshot = self.tracer.snapshot(Depth::Full).unwrap();
        self.ended.append(&mut snapshot.released);
        snapshot
    }

    /// Looks until the processes have ended and all that they had is released.
    fn wait(&mut self, processes: &mut [Child]) -> Snapshot {
        let has_ended = |process: &mut Child| process.try_wait().unwrap().is_some();
        self.look_until("the processes have ended", |_| processes.iter_mut().all(has_ended));
        let is_there = |tgid: Tgid| processes.iter().any(|process| Tgid(process.id()) == tgid);
        self.look_until("their threads are gone", |snapshot| !snapshot.threads.iter().any(|thread| is_there(thread.tgid())))
    }

    fn wait_for_started(&mut self, workload: WorkloadId, threads: u64) {
        self.look_until("the threads have started", |snapshot| SmallTable::started(snapshot, workload) >= threads);
    }

    /// For at most a minute.
    fn look_until(&mut self, what: &str, mut is_so: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let snapshot = self.look();
            if is_so(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < end, "waited in vain until {what}: {:?}, {:?}", snapshot.losses(), snapshot.threads);
            sleep(Duration::from_millis(5));
        }
    }

    /// Threads that began under observation.
    fn started(snapshot: &Snapshot, workload: WorkloadId) -> u64 {
        snapshot.cells.iter().map(|cells| cells[workload.0 as usize].threads_started).sum()
    }

    fn full(snapshot: &Snapshot) -> u64 {
        snapshot.losses().0[Loss::TaskTableFull as usize]
    }
}

/// Every count of a thread is the kernel's, and its time within a clock reading.
fn assert_as_the_kernel_says(thread: &Thread) {
    let record = &thread.record;
    let (before, after) = (&record.kernel_before, &record.kernel_after);
    let ours = [record.voluntary, record.preempted + record.yielded, record.migrations.iter().sum()];
    let kernels =
        [after.voluntary - before.voluntary, after.involuntary - before.involuntary, after.migrations - before.migrations];
    assert_eq!(ours, kernels, "{} {record:?}", thread.comm());
    assert!(record.on_cpu_ns.abs_diff(after.runtime_ns - before.runtime_ns) < 1_000_000, "{} {record:?}", thread.comm());
}

#[test]
fn a_full_table_is_counted_hurts_nobody_else_and_recovers() {
    let Some(()) = privileged() else { return };
    let mut table = SmallTable::new();
    let bystander = table.run("sleepers --count 4 --seconds 1.5 --pause 0.001", BYSTANDER);
    table.wait_for_started(BYSTANDER, 4);
    let crowd = table.run(&format!("many-threads --count {CROWD} --seconds 0.3"), FILLING);
    let after = table.wait(&mut [bystander, crowd]);

    // One thread of either process was there before, and five began in the bystander's and the crowd's first moments.
    let (traced, refused) = (SmallTable::started(&after, FILLING), SmallTable::full(&after));
    assert_eq!(traced + refused, CROWD, "{:?}", after.losses());
    assert_eq!(traced, u64::from(ROOM) - 6, "there was room for these");
    let losses = after.losses();
    let missing = losses.by_reason().filter(|(loss, _)| loss.harm() == Harm::Missing).map(|(_, count)| count).sum::<u64>();
    assert_eq!(missing, refused, "another loss: {losses:?}");
    assert_eq!(SmallTable::started(&after, BYSTANDER), 4);
    assert_eq!(table.ended.len() as u64, traced + 1 + 5);
    table.ended.iter().for_each(assert_as_the_kernel_says);

    // All slots are back.
    let again = table.run(&format!("many-threads --count {} --seconds 0.1", ROOM - 1), FILLING);
    let last = table.wait(&mut [again]);
    assert_eq!(SmallTable::full(&last), refused, "slots were lost");
    assert_eq!(SmallTable::started(&last, FILLING), traced + u64::from(ROOM) - 1);
    table.ended.iter().for_each(assert_as_the_kernel_says);
}

#[test]
fn threads_that_found_no_room_are_found_when_there_is_some() {
    let Some(()) = privileged() else { return };
    let mut table = SmallTable::new();
    let first = table.run(&format!("many-threads --count {} --seconds 0.5", ROOM - 1), BYSTANDER);
    table.wait_for_started(BYSTANDER, u64::from(ROOM) - 1);
    // It is wanted, and there is no slot for it: counted once per listing that counts, never again by later ones.
    let late = Guarded::start("sleep", &["60"]);
    table.tracer.seed(&[Tgid(late.id())], FILLING).unwrap();
    let full = SmallTable::full(&table.look());
    assert!(full > 0);
    table.tracer.seed_again().unwrap();
    assert_eq!(SmallTable::full(&table.look()), full, "counted again");
    table.wait(&mut [first]);
    table.tracer.seed_again().unwrap();
    let snapshot = table.look();
    let found: Vec<_> = snapshot.threads.iter().filter(|thread| thread.tgid() == Tgid(late.id())).collect();
    assert!(found.len() == 1 && found[0].was_seeded(), "{found:?}");
    assert_eq!(snapshot.losses().0[Loss::ForkUnseen as usize], 1);
}
