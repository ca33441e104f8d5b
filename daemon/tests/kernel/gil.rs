//! Waits for the interpreter's lock against what the program itself knows about them.

use schedscope::report::RunReport;
use schedscope_ebpf::blocked::Reason;

use super::traced::{Traced, is_disturbed, run_python, run_python_with, thread};

/// Threads that compute for argument 1 seconds with a switch interval of argument 2. Each tells how long it neither ran nor waited for
/// a CPU, by its own clocks and the kernel's account of it: a thread that only computes has nothing to wait for but the lock.
const COMPUTE: &str = "
import json, sys, threading, time
sys.setswitchinterval(float(sys.argv[2]))
def delayed():
    with open(f'/proc/self/task/{threading.get_native_id()}/schedstat') as file:
        return int(file.read().split()[1]) / 1e9
neither = {}
def work():
    wall, cpu, delay = time.monotonic(), time.thread_time(), delayed()
    end = wall + float(sys.argv[1])
    while time.monotonic() < end:
        sum(i * i for i in range(200))
    neither[threading.get_native_id()] = time.monotonic() - wall - (time.thread_time() - cpu) - (delayed() - delay)
workers = [threading.Thread(target=work) for _ in range(3)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print(json.dumps(neither))
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

/// Above this share of the CPUs used by others threads do not get one as soon as they have the lock.
const BUSY: f64 = 0.1;

fn blocked(report: &RunReport, reason: Reason) -> f64 {
    report.threads.iter().filter_map(|thread| thread.blocked_seconds_by_reason.get(reason.name())).sum()
}

/// How often the threads that computed had the lock and gave it up, and how many of these were counted as hand-offs.
fn turns_and_handoffs(traced: &Traced) -> (f64, f64) {
    let workers = traced.workload();
    let is_worker = |tid: u32| workers.get(tid.to_string()).is_some();
    let of_workers = traced.report.threads.iter().filter(|thread| is_worker(thread.tid));
    of_workers.fold((0.0, 0.0), |(turns, handoffs), thread| {
        let gil = thread.gil.as_ref().unwrap();
        (turns + thread.on_cpu_seconds / gil.hold_seconds.unwrap(), handoffs + gil.handoffs as f64)
    })
}

#[test]
fn each_threads_wait_for_the_lock_is_what_its_own_clocks_leave_over() {
    let Some(traced) = run_python_with(&["--check"], COMPUTE, &["2", "0.005"]) else { return };
    let neither = traced.workload();
    for (tid, seconds) in neither.as_object().unwrap() {
        let tid: u32 = tid.parse().unwrap();
        let thread = thread(&traced.report, tid);
        let (ours, theirs) = (thread.blocked_seconds_by_reason[Reason::Gil.name()], seconds.as_f64().unwrap());
        // What they leave over has two parts that are no waits for the lock, which the kernel's account of all threads bounds: time that a
        // hypervisor took, and the way of woken threads to the queue. The first wait comes before the thread has looked at its clocks.
        let (near, check) = (0.02 * theirs + 0.01, &traced.report.check);
        let (taken, on_the_way) = (check.unseen_by_others.taken_seconds, check.waits.before_queued_seconds.max(0.0));
        let is_near = (-near..near + taken + on_the_way).contains(&(theirs - ours));
        assert!(
            is_near,
            "thread {tid}: {ours} s by its waits, {theirs} s by its clocks; {taken} s taken, {on_the_way} s on the way"
        );
        // Of three that take turns each waits twice as long as it runs, however little the three get of a busy host.
        assert!(theirs > thread.on_cpu_seconds, "{neither}: {thread:?}");
        assert!(theirs > 0.8 || is_disturbed(&traced.report, BUSY, "how long they wait"), "{neither}: {thread:?}");
    }
}

#[test]
fn the_switch_interval_is_the_one_that_was_set_and_hand_offs_come_that_often() {
    for interval in [0.002_f64, 0.02] {
        let Some(traced) = run_python(COMPUTE, &["2", &interval.to_string()]) else { return };
        let gil = &traced.report.gil;
        let shown = gil.switch_interval_seconds.unwrap();
        // A wait is short of the interval by the time it took to get there, more where the CPU was taken away on the way.
        assert!((0.97 * interval..=1.001 * interval).contains(&shown), "{shown} s, set to {interval} s");
        // Whoever wants the lock waits for an interval before it asks. Of threads that only compute, each turn ends with a hand-off;
        // one to a thread that has the lock before the giver looks leaves no wait, and is not counted.
        assert!(gil.handoffs_per_second < 1.1 / interval, "{gil:?}");
        let (turns, workers_handoffs) = turns_and_handoffs(&traced);
        let mean_turn = traced.report.wall_seconds / turns;
        println!("set to {interval} s: mean turn {mean_turn} s, {workers_handoffs} hand-offs of {turns} counted");
        // Reading a file gives the lock up as well, which each thread does twice.
        assert!(mean_turn > 0.75 * interval, "{mean_turn} s for an interval of {interval} s: {gil:?}");
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
