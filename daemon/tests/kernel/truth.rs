//! Counts against workloads whose tasks, switches and migrations are known beforehand, and against the kernel's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use procfs::sys::kernel::Version as KernelVersion;
use schedscope::report::RunReport;
use schedscope::report::schema::ThreadReport;
use serde_json::Value;

use super::exact::assert_exact;
use super::host::{cpus, privileged, python, workloads};
use super::traced::{Traced, exact, run_with, thread};

/// Switches of a thread between reading its own counters and its end: a lock or two, and the last one.
const AFTER_READING: u64 = 12;

/// Switches of a process between its fork and its being registered, which it waits for.
const BEFORE_TRACING: u64 = 12;

/// Compares with what threads of the workload read of themselves in the kernel shortly before their end.
fn assert_threads_read_the_same(traced: &Traced) {
    let workload = traced.workload();
    let tasks = workload["kernel"].as_array().unwrap();
    assert!(!tasks.is_empty(), "{workload}");
    for task in tasks {
        let thread = named(traced, &task["tid"]);
        let pairs = [
            (Some(thread.voluntary), task["voluntary"].as_u64()),
            (Some(thread.preempted + thread.yielded), task["involuntary"].as_u64()),
            (task["migrations"].as_u64().map(|_| thread.migrations), task["migrations"].as_u64()),
        ];
        for (ours, read) in pairs {
            let (Some(ours), Some(read)) = (ours, read) else { continue };
            // The first thread had begun before it was registered.
            let before = if thread.seeded { BEFORE_TRACING } else { 0 };
            let range = read.saturating_sub(before)..=read + AFTER_READING;
            assert!(range.contains(&ours), "ours {ours}, read {read}: {task} {thread:?}");
        }
    }
}

fn named<'a>(traced: &'a Traced, tid: &Value) -> &'a ThreadReport {
    thread(&traced.report, u32::try_from(tid.as_u64().unwrap()).unwrap())
}

/// Whether this kernel tells what a thread waits for; before 5.15 it does not.
fn has_reasons(report: &RunReport) -> bool {
    // Every workload here waits for a thread or a child of its own.
    ["futex", "child_wait", "sleep"]
        .iter()
        .any(|reason| report.blocked_seconds_by_reason.get(*reason).is_some_and(|time| *time > 0.0))
}

#[test]
fn ping_pong_switches_once_for_each_pass() {
    for (extra, processes) in [("", 1), (" --processes", 2), (" --normal-policy", 1)] {
        let Some(traced) = exact(&format!("ping-pong --switches 40000{extra}")) else { return };
        assert_threads_read_the_same(&traced);
        let switches = &traced.report.switches;
        assert!(switches.voluntary + switches.preempted >= traced.expected("switches_at_least"), "{switches:?}");
        assert_eq!(switches.yielded, 0);
        assert_eq!(traced.report.tasks.processes, processes);
    }
}

#[test]
fn yields_are_told_from_preemptions() {
    let Some(traced) = exact("yield-loop --count 10000 --threads 2") else { return };
    assert_threads_read_the_same(&traced);
    let switches = &traced.report.switches;
    if has_reasons(&traced.report) {
        // A yield does not switch when nobody else is there, as at the end. Who is preempted on the way back from one still shows
        // that system call.
        assert!((1_000..=traced.expected("yields") + 10).contains(&switches.yielded), "{switches:?}");
    } else {
        assert_eq!(switches.yielded, 0, "this kernel does not tell yields: {switches:?}");
        assert!(switches.preempted >= 1_000, "{switches:?}");
    }
}

#[test]
fn every_forced_migration_is_counted() {
    let Some(traced) = cpus(2).and_then(|()| exact("migrate --count 997")) else { return };
    assert_threads_read_the_same(&traced);
    let (forced, before) = (traced.expected("migrations"), traced.expected("migrations_before"));
    let kernels = traced.workload()["kernel"][0]["migrations"].as_u64();
    assert_eq!(kernels, Some(before + forced));
    // Before the loop it may have been moved by the load balancer and by its first confinement; some of that may have been before tracing.
    let total = traced.report.migrations.total;
    assert!((forced..=before + forced).contains(&total), "{:?}, {before} before", traced.report.migrations);
}

#[test]
fn workers_of_io_uring_belong_to_the_process() {
    let Some(()) = privileged() else { return };
    if KernelVersion::current().unwrap() < KernelVersion::new(5, 12, 0) {
        println!("skipped: before Linux 5.12 the workers of io_uring are kernel threads");
        return;
    }
    if fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|value| value.trim() != "0") {
        println!("skipped: kernel.io_uring_disabled");
        return;
    }
    // The resource usage of the process includes what the workers did, so a worker that was missed is out of bounds.
    let Some(traced) = exact("io-uring --count 640") else { return };
    let (workers, others): (Vec<_>, Vec<_>) = traced.report.threads.iter().partition(|thread| thread.comm.starts_with("iou-wrk"));
    let on_cpu = |threads: &[&ThreadReport]| threads.iter().map(|thread| thread.on_cpu_seconds).sum::<f64>();
    assert!(workers.iter().all(|worker| !worker.seeded && worker.tgid == others[0].tgid), "{workers:?}");
    assert!(on_cpu(&workers) > 2.0 * on_cpu(&others), "{workers:?} {others:?}");
}

#[test]
fn waits_for_the_lock_of_the_address_space_are_told() {
    let Some(traced) = exact("mmap-lock --count 500 --threads 4") else { return };
    assert_threads_read_the_same(&traced);
    let mappers = traced.report.threads.iter().filter(|thread| thread.comm.starts_with("mapper-"));
    let mut blocked = BTreeMap::new();
    for (reason, time) in mappers.flat_map(|thread| &thread.blocked_seconds_by_reason) {
        *blocked.entry(reason.as_str()).or_insert(0.0) += time;
    }
    if fs::read_to_string("/proc/kallsyms").unwrap().lines().all(|line| line.starts_with("0000000000000000")) {
        println!("skipped: /proc/kallsyms shows no addresses");
        return;
    }
    // Before their work they wait for each other's start (futex), which is no part of it.
    let in_kernel: f64 = blocked.iter().filter(|(reason, _)| **reason != "futex").map(|(_, time)| time).sum();
    assert!(in_kernel > 0.01 && blocked["mmap_lock"] > 0.9 * in_kernel, "{blocked:?}");
    let untold = traced.report.blocked_seconds_by_reason["unknown"];
    assert!(!has_reasons(&traced.report) || untold < 0.01 * blocked.values().sum::<f64>().max(1.0), "{blocked:?}");
}

#[test]
fn sleepers_block_and_nothing_else() {
    let Some(traced) = exact("sleepers --count 16 --seconds 1 --pause 0.01") else { return };
    assert_threads_read_the_same(&traced);
    let report = &traced.report;
    assert!(report.switches.voluntary >= traced.expected("voluntary_at_least"), "{:?}", report.switches);
    assert!(report.wakeup_latency_seconds.count >= traced.expected("voluntary_at_least"), "{:?}", report.wakeup_latency_seconds);
    if has_reasons(report) {
        // Sixteen threads sleep for a second; all else is starting, ending and waiting for each other.
        let slept = report.blocked_seconds_by_reason["sleep"];
        assert!((13.0..17.0).contains(&slept), "{slept} s: {:?}", report.blocked_seconds_by_reason);
    }
}

/// The kernel counts as voluntary what a thread does that finds a signal on its way to sleep, though it never blocks.
#[test]
fn a_sleep_that_a_signal_prevents_is_a_voluntary_switch() {
    let Some(traced) = exact("interrupted --seconds 2") else { return };
    let switches = &traced.report.switches;
    assert!(switches.voluntary > 20 && switches.voluntary <= traced.expected("voluntary_at_most"), "{switches:?}");
    assert_eq!(switches.yielded, 0, "{switches:?}");
}

#[test]
fn every_process_and_thread_is_counted_once() {
    for (arguments, processes, threads, peak_threads, executed) in [
        ("fork-storm --count 10000 --parallel 4", 10_001, 10_001, 2..=5, 0),
        ("fork-storm --count 97 --exec", 98, 98, 2..=98, 97),
        ("many-threads --count 2000 --seconds 0.3", 1, 2001, 2001..=2001, 0),
    ] {
        let Some(traced) = exact(arguments) else { return };
        let tasks = &traced.report.tasks;
        assert_eq!((tasks.processes, tasks.threads), (processes, threads), "{arguments}: {tasks:?}");
        assert!(peak_threads.contains(&tasks.peak_threads), "{arguments}: {tasks:?}");
        assert_eq!(traced.report.threads.iter().filter(|thread| thread.comm == "true").count(), executed, "{arguments}");
    }
}

#[test]
fn a_daemon_that_detaches_stays_in_the_workload() {
    let Some(traced) = exact("double-fork --seconds 0.3 --leave") else { return };
    assert_eq!(traced.report.tasks.processes, 3, "{:?}", traced.report.tasks);
    let workload = traced.workload();
    let daemon = named(&traced, &workload["expected"]["tid_of_daemon"]);
    assert_eq!(daemon.comm, "daemon");
    // It works for 0.3 s by the wall clock, whoever else wants the CPU.
    assert!(daemon.lifetime_seconds >= 0.3 && daemon.on_cpu_seconds + daemon.runnable_seconds >= 0.29, "{daemon:?}");
}

#[test]
fn an_exec_from_a_thread_goes_on_as_the_same_process() {
    let Some(traced) = exact("exec-from-thread --work 200") else { return };
    let report = &traced.report;
    assert_eq!(report.tasks.processes, 1, "{:?}", report.tasks);
    let tgids: BTreeSet<u32> = report.threads.iter().map(|thread| thread.tgid).collect();
    assert_eq!(tgids.len(), 1, "{:?}", report.threads);
    // The thread that executed did the work afterwards, under the process's id.
    let busiest = &report.threads[0];
    assert_eq!(busiest.tid, busiest.tgid, "{busiest:?}");
    assert_eq!(traced.workload()["work"], 200);
}

#[test]
fn a_mixture_of_everything_adds_up() {
    let Some(traced) = exact("mixed --seconds 2") else { return };
    assert_threads_read_the_same(&traced);
    // The memory of ended tasks is used again and again here: a stale record must not keep a new task out.
    assert_eq!(traced.report.tasks.processes, 1 + traced.expected("children"), "{:?}", traced.report.loss);
}

/// Two workers that each say who they are and how much CPU time they have used.
const MULTIPROCESSING: &str = "
import multiprocessing, os, sys, time
def work(seconds):
    while time.process_time() < seconds:
        sum(i * i for i in range(1000))
    os.write(1, b'%d %f\\n' % (os.getpid(), time.process_time()))
if __name__ == '__main__':
    context = multiprocessing.get_context(sys.argv[1])
    workers = [context.Process(target=work, args=(0.5,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
";

#[test]
fn the_workers_of_multiprocessing_are_followed_however_they_are_started() {
    let Some(python) = privileged().and_then(|()| python()) else { return };
    let script = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
    fs::write(&script, MULTIPROCESSING).unwrap();
    let path = script.path().to_str().unwrap();
    for (method, processes) in [("fork", 3), ("spawn", 4), ("forkserver", 5)] {
        let traced = run_with(&["--wait-all"], &[&python, path, method]);
        assert!(traced.status.success(), "{method}: {}", traced.status);
        assert_exact(&traced.report);
        // Spawn and forkserver have a process that tracks resources, and forkserver the server.
        assert_eq!(traced.report.tasks.processes, processes, "{method}: {:?}", traced.report.tasks);
        let workers: Vec<(u32, f64)> = traced.stdout.lines().map(worker).collect();
        assert_eq!(workers.len(), 2, "{}", traced.stdout);
        for (pid, used) in workers {
            let of_worker = traced.report.threads.iter().filter(|thread| thread.tgid == pid);
            let ours: f64 = of_worker.map(|thread| thread.on_cpu_seconds).sum();
            // After asking for its time the worker only ends.
            assert!((used * 0.999..used + 0.1).contains(&ours), "{method}: ours {ours}, its own clock {used}");
        }
    }
}

fn worker(line: &str) -> (u32, f64) {
    let (pid, used) = line.split_once(' ').unwrap();
    (pid.parse().unwrap(), used.parse().unwrap())
}

#[test]
fn two_runs_at_once_do_not_see_each_other() {
    let Some(()) = privileged() else { return };
    let program = workloads();
    let [left, right] = ["300", "700"].map(|count| {
        let program = program.clone();
        std::thread::spawn(move || run_with(&["--wait-all"], &[&program, "fork-storm", "--count", count]))
    });
    for (run, processes) in [(left, 301), (right, 701)] {
        let traced = run.join().unwrap();
        assert_eq!(traced.report.tasks.processes, processes);
        assert_exact(&traced.report);
    }
}
