//! C and D of the concurrency models.
//!
//! D holds under any load: who is kept from a CPU is runnable. What C can reach depends on what others leave, so its lower bound is
//! asserted only on a host that is quiet; its upper bound always.

use schedscope::report::RunReport;

use super::exact::{STARVED, foreign_share};
use super::host::{cpus, privileged, workloads};
use super::traced::{Traced, exact, is_disturbed, run, run_python};

/// Above this share of the CPUs used by others a lower bound of C means nothing.
const QUIET: f64 = 0.02;

/// Two workers that compute for two seconds: argument 1 is the kind of worker, argument 2 what they do.
const COMPUTE: &str = "
import hashlib, multiprocessing, sys, threading, time
def arithmetic():
    sum(i * i for i in range(2000))
def hashing(block=bytes(1 << 20)):
    hashlib.sha256(block).digest()
def work():
    task = globals()[sys.argv[2]]
    end = time.monotonic() + 2
    while time.monotonic() < end:
        task()
start = threading.Thread if sys.argv[1] == 'threads' else multiprocessing.get_context('fork').Process
workers = [start(target=work) for _ in range(2)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
";

/// Sixty-four coroutines that sleep 10 ms at a time.
const ASYNCIO: &str = "
import asyncio, time
async def download(end):
    while time.monotonic() < end:
        await asyncio.sleep(0.01)
async def main():
    await asyncio.gather(*(download(time.monotonic() + 2) for _ in range(64)))
asyncio.run(main())
";

/// Five downloads of two seconds, as the textbooks simulate them.
const DOWNLOADS: &str = "
import threading, time
workers = [threading.Thread(target=time.sleep, args=(2,)) for _ in range(5)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
";

fn figures(report: &RunReport) -> String {
    let (c, d) = (report.parallelism.running_mean, report.parallelism.demand_mean);
    format!("C = {c:.3}, D = {d:.3}, {:.0} % of the CPUs used by others, {:?}", 100.0 * foreign_share(report), report.model)
}

/// Whether others left too little for D to mean anything; says so.
fn is_starved(report: &RunReport) -> bool {
    is_disturbed(report, STARVED, &format!("D and the model; {}", figures(report)))
}

/// `count` workers that want a CPU all the time, and nobody else.
fn assert_parallel(report: &RunReport, count: u32, model: &str) {
    let (c, d, wanted) = (report.parallelism.running_mean, report.parallelism.demand_mean, f64::from(count));
    let figures = figures(report);
    assert!(c <= 1.02 * f64::from(count.min(report.cpus.allowed)), "{figures}");
    if is_starved(report) {
        return;
    }
    // Starting an interpreter and the workers takes up to a tenth of a run, more where others want the CPU too.
    assert!((0.85 * wanted..=1.02 * wanted + 0.1).contains(&d), "{figures}");
    let cpus = f64::from(count.min(report.cpus.allowed));
    assert_eq!(report.model.name, model, "{figures}");
    judge_on_a_quiet_host(report, 0.92 * cpus);
}

/// C is above this where nobody else wants the CPUs.
fn judge_on_a_quiet_host(report: &RunReport, least: f64) {
    let figures = figures(report);
    assert!(
        report.parallelism.running_mean > least || is_disturbed(report, QUIET, &format!("C > {least}; {figures}")),
        "{figures}"
    );
}

#[test]
fn python_threads_take_turns() {
    let Some(Traced { report, .. }) = run_python(COMPUTE, &["threads", "arithmetic"]) else { return };
    let figures = figures(&report);
    assert!(report.parallelism.running_mean <= 1.05, "{figures}");
    assert_eq!((report.tasks.processes, report.tasks.threads), (1, 3), "{figures}");
    // While one computes the other waits for the GIL, whoever else wants the CPUs; on a busy host it may also have been woken to ask
    // for the GIL, and wait for a CPU to do so.
    let gil_waits = report.blocked_seconds_by_reason["gil"];
    assert!(gil_waits > 0.3 * report.time_seconds.on_cpu, "{gil_waits} s for the GIL, {:?}: {figures}", report.time_seconds);
    if is_starved(&report) {
        return;
    }
    assert!((0.85..1.75).contains(&report.parallelism.demand_mean), "{figures}");
    assert_eq!(report.model.name, "threads (GIL-bound)", "{figures}");
    judge_on_a_quiet_host(&report, 0.92);
}

#[test]
fn python_processes_and_python_threads_that_hash_run_in_parallel() {
    for (kind, task, model) in [("processes", "arithmetic", "processes"), ("threads", "hashing", "threads (parallel)")] {
        let Some(traced) = run_python(COMPUTE, &[kind, task]) else { return };
        assert_parallel(&traced.report, 2, model);
    }
}

#[test]
fn coroutines_are_one_task_that_is_seldom_busy() {
    let Some(Traced { report, .. }) = run_python(ASYNCIO, &[]) else { return };
    let figures = figures(&report);
    assert_eq!(report.tasks.threads, 1, "{figures}");
    assert!(report.parallelism.running_mean < 0.5, "{figures}");
    assert!(report.parallelism.demand_mean < 0.6 || is_starved(&report), "{figures}");
    // All wake-ups of one turn of the loop are one: far fewer than the 12,800 sleeps.
    assert!((50..4_000).contains(&report.switches.voluntary), "{:?}", report.switches);
}

#[test]
fn threads_that_wait_need_no_core() {
    let Some(Traced { report, .. }) = run_python(DOWNLOADS, &[]) else { return };
    let figures = figures(&report);
    assert_eq!((report.tasks.processes, report.tasks.threads), (1, 6), "{figures}");
    assert!((2.0..3.5).contains(&report.wall_seconds), "the waits do not overlap: {} s", report.wall_seconds);
    assert!(report.parallelism.running_mean < 0.1, "{figures}");
    // Five that sleep, and the one that waits for them.
    assert!((11.5..14.0).contains(&report.time_seconds.blocked), "{:?}", report.time_seconds);
}

#[test]
fn native_threads_and_processes_run_in_parallel() {
    for (model, name) in [("threads", "native threads"), ("processes", "processes")] {
        let Some(traced) = exact(&format!("native --task spin --model {model} --workers 2 --seconds 2")) else { return };
        assert_parallel(&traced.report, 2, name);
    }
}

#[test]
fn more_threads_than_cpus_wait_for_their_turn() {
    let Some(()) = privileged().and_then(|()| cpus(2)) else { return };
    let command = format!("taskset -c 0 {} native --task spin --model threads --workers 3 --seconds 2", workloads());
    let report = &run(&command.split(' ').collect::<Vec<_>>()).report;
    let figures = figures(report);
    assert!((2.7..=3.1).contains(&report.parallelism.demand_mean) || is_starved(report), "{figures}");
    assert!(report.parallelism.running_mean <= 1.02, "{figures}");
    // Started on any CPU, then confined to one.
    assert!(report.parallelism.effective_cpus < 1.05, "{figures}");
    assert!(report.time_seconds.runnable_after_preemption > 0.9 * report.time_seconds.runnable, "{:?}", report.time_seconds);
}
