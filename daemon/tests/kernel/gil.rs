//! Waits for the interpreter's lock against what the program itself knows about them.

use std::collections::BTreeMap;

use schedscope::report::RunReport;
use schedscope::report::schema::ThreadReport;
use schedscope_ebpf::blocked::Reason;

use super::exact::assert_consistent;
use super::host;
use super::traced::{Traced, is_disturbed, run, run_python, thread};
use crate::python::interpreters::{Python, those};

/// Threads that work for argument 1 seconds with a switch interval of argument 2. Each tells how long it worked, and for how much of
/// that it neither ran nor waited for a CPU, by its own clocks and the kernel's account of it. The work is argument 3: a thread that
/// only computes, or lets the lock go for a moment again and again without blocking, has nothing to wait for but the lock.
const WORK: &str = "
import hashlib, json, os, sqlite3, sys, threading, time
sys.setswitchinterval(float(sys.argv[2]))
null, block = os.open('/dev/null', os.O_WRONLY), os.urandom(60_000)
own = threading.local()
def compute():
    sum(i * i for i in range(200))
def log():
    print('a line', file=own.lines)
def write():
    for _ in range(100):
        os.write(null, b'x')
def sha256():
    hashlib.sha256(block).digest()
    sum(i * i for i in range(1000))
def sql():
    own.table.execute('insert into t values(1)')
step = globals()[sys.argv[3]]
def delayed():
    with open(f'/proc/self/task/{threading.get_native_id()}/schedstat') as file:
        return int(file.read().split()[1]) / 1e9
def clocks():
    # A thread that loses the CPU between two readings counts the time twice or not at all.
    while True:
        own.looks += 1
        read = (time.monotonic(), time.thread_time(), delayed())
        if time.monotonic() - read[0] < 0.001:
            return read
told = {}
def work():
    # Each of these gives the lock up some times, so those that compute do without.
    if step is log:
        own.lines = open('/dev/null', 'w', buffering=1)
    if step is sql:
        own.table = sqlite3.connect(':memory:', isolation_level=None)
        own.table.execute('create table t(a)')
    own.looks = 0
    # One that looked at its clocks while another computes would hardly get a moment for it, and begin when the other has ended.
    before = clocks()
    together.wait()
    end = before[0] + float(sys.argv[1])
    while time.monotonic() < end:
        step()
    wall, cpu, delay = (after - before for after, before in zip(clocks(), before))
    told[threading.get_native_id()] = (wall, wall - cpu - delay, own.looks)
together = threading.Barrier(3)
workers = [threading.Thread(target=work) for _ in range(3)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print(json.dumps(told))
";

/// Threads that hold a lock of the program's own while they sleep.
const LOCK: &str = "
import threading, time
lock = threading.Lock()
def work():
    for _ in range(100):
        with lock:
            time.sleep(0.002)
workers = [threading.Thread(target=work) for _ in range(4)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
";

/// Two times that a thread's clocks may be apart when they are read, in seconds.
const CLOCKS: f64 = 0.002;

/// Above this share of the CPUs used by others threads do not get one as soon as they have the lock.
const BUSY: f64 = 0.1;

fn blocked(report: &RunReport, reason: Reason) -> f64 {
    report.threads.iter().filter_map(|thread| thread.blocked_seconds_by_reason.get(reason.name())).sum()
}

/// What a worker says of itself: how long it worked, how long it neither ran nor waited for a CPU meanwhile, and how often it looked at its
/// clocks, one of which is a file.
type Told = BTreeMap<u32, (f64, f64, f64)>;

fn told(traced: &Traced) -> Told {
    serde_json::from_value(traced.workload()).unwrap()
}

/// How often the threads that computed had the lock and gave it up, how often at the least because they looked at a clock, and how many
/// were counted as hand-offs.
fn turns_looks_and_handoffs(traced: &Traced) -> [f64; 3] {
    told(traced).into_iter().fold([0.0; 3], |[turns, all_looks, handoffs], (tid, (_, _, looks))| {
        let thread = thread(&traced.report, tid);
        let gil = thread.gil.as_ref().unwrap();
        [turns + thread.on_cpu_seconds / gil.hold_seconds.unwrap(), all_looks + looks, handoffs + gil.handoffs as f64]
    })
}

/// Traces the work of a kind under an interpreter.
fn work(python: &Python, kind: &str, seconds: &str) -> Traced {
    let program = python.program.to_str().unwrap();
    let traced = run(&[program, "-c", WORK, seconds, "0.005", kind]);
    assert!(traced.status.success(), "{python:?} {kind}: {}", traced.stderr);
    assert_consistent(&traced.report);
    traced
}

/// A thread that worked, and what it says of itself.
struct Worker {
    thread: ThreadReport,
    /// How long it neither ran nor waited for a CPU while it worked.
    neither: f64,
    /// The rest of its life, in which it may have waited too.
    outside: f64,
}

fn workers(traced: &Traced) -> Vec<Worker> {
    let worker = |(tid, (wall, neither, _))| {
        let thread = thread(&traced.report, tid).clone();
        Worker { outside: thread.lifetime_seconds - wall, thread, neither }
    };
    told(traced).into_iter().map(worker).collect()
}

fn gil_wait(thread: &ThreadReport) -> f64 {
    thread.blocked_seconds_by_reason.get(Reason::Gil.name()).copied().unwrap_or(0.0)
}

#[test]
fn each_threads_wait_for_the_lock_is_what_its_own_clocks_leave_over() {
    if host::privileged().is_none() {
        return;
    }
    for python in &those(|python| python.minor() >= (3, 8) && !python.is_free_threaded, "CPython 3.8 or later with a GIL") {
        let traced = work(python, "compute", "2");
        // The kernel's account of all threads bounds what else the clocks leave over: time that a hypervisor took.
        let taken = traced.report.check.unseen_by_others.taken_seconds;
        for Worker { thread, neither, outside } in workers(&traced) {
            let near = -0.02 * neither - CLOCKS - outside..0.02 * neither + 0.01 + taken;
            let told = format!("{python:?}: {neither} s by its clocks, {outside} s outside, {taken} s taken: {thread:?}");
            assert!(near.contains(&(neither - gil_wait(&thread))), "{told}");
            // Of three that take turns each waits twice as long as it runs, however little the three get of a busy host. It may also have run
            // outside of what its clocks cover.
            assert!(neither > thread.on_cpu_seconds - outside, "{told}");
            assert!(neither > 0.8 || is_disturbed(&traced.report, BUSY, "how long they wait"), "{told}");
        }
    }
}

/// A thread that often lets the lock go finds it taken when it is back. It blocks for a moment; most of its wait is the way of the wake-up.
#[test]
fn a_convoys_wait_for_the_lock_is_what_its_threads_own_clocks_leave_over() {
    if host::privileged().is_none() {
        return;
    }
    for python in &those(|python| python.minor() >= (3, 8), "CPython 3.8 or later") {
        for kind in ["log", "write", "sha256", "sql"] {
            let traced = work(python, kind, "1");
            let taken = traced.report.check.unseen_by_others.taken_seconds;
            for Worker { thread, neither, outside } in workers(&traced) {
                let (gil, blocked) = (gil_wait(&thread), thread.blocked_seconds + thread.transit_seconds);
                let told =
                    format!("{python:?} {kind}: {neither} s by its clocks, {outside} s outside, {taken} s taken: {thread:?}");
                println!("{:?} {kind}: {neither:.3} s by its clocks, GIL {gil:.3} s, all {blocked:.3} s", python.version);
                let near = -0.02 * neither - CLOCKS - outside..0.02 * neither + CLOCKS + taken;
                assert!(near.contains(&(neither - blocked)), "{told}");
                // A few waits are for the allocator's or the database's own locks: longer ones where their holders lose the CPU.
                let is_gil = python.is_free_threaded || neither - gil < 0.15 * neither + 0.01 + taken;
                assert!(is_gil || is_disturbed(&traced.report, BUSY, "which lock they wait for"), "{told}");
            }
        }
    }
}

#[test]
fn the_switch_interval_is_the_one_that_was_set_and_hand_offs_come_that_often() {
    for interval in [0.002_f64, 0.02] {
        let Some(traced) = run_python(WORK, &["2", &interval.to_string(), "compute"]) else { return };
        let gil = &traced.report.gil;
        let shown = gil.switch_interval_seconds.unwrap();
        // A wait is short of the interval by the time it took to get there, more where the CPU was taken away on the way.
        assert!((0.97 * interval..=1.001 * interval).contains(&shown), "{shown} s, set to {interval} s");
        // Whoever wants the lock waits for an interval before it asks. Of threads that only compute, each turn ends with a hand-off;
        // one to a thread that has the lock before the giver looks leaves no wait, and is not counted.
        assert!(gil.handoffs_per_second < 1.1 / interval, "{gil:?}");
        let [turns, looks, workers_handoffs] = turns_looks_and_handoffs(&traced);
        let mean_turn = traced.report.wall_seconds / turns;
        println!("set to {interval} s: mean turn {mean_turn} s, {workers_handoffs} hand-offs of {turns} counted, {looks} looks");
        // Reading a file gives the lock up as well, and again where the lock was not to be had back at once.
        let mean_forced = traced.report.wall_seconds / (turns - looks);
        assert!(mean_forced > 0.75 * interval, "{mean_forced} s for an interval of {interval} s: {gil:?}");
        assert!(workers_handoffs <= turns && workers_handoffs > 0.0, "{workers_handoffs} of {turns}: {gil:?}");
        if is_disturbed(&traced.report, BUSY, "how long turns are, and how many end with a hand-off that is counted") {
            continue;
        }
        // A giver that is kept from the CPU looks after the other has the lock already.
        assert!(workers_handoffs > 0.4 * turns, "{workers_handoffs} of {turns}: {gil:?}");
        // It takes the next thread some time to ask and to get a CPU, and the one that computes some to look.
        assert!(mean_turn < 1.1 * interval + 0.002, "{mean_turn} s for an interval of {interval} s: {gil:?}");
    }
}

#[test]
fn waits_for_a_lock_of_the_programs_own_are_no_waits_for_the_interpreters() {
    let Some(traced) = run_python(LOCK, &[]) else { return };
    let (gil, futex) = (blocked(&traced.report, Reason::Gil), blocked(&traced.report, Reason::Futex));
    // Four of them: one sleeps, three wait for it.
    assert!(futex > 1.5, "{futex} s");
    assert!(gil < 0.05 * futex, "{gil} s of {futex} s");
}
