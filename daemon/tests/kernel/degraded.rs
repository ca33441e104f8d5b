//! What is reported where the kernel has not got every program.

use std::{
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use schedscope::{
    report::{
        RunReport,
        schema::{Exit, Residual},
    },
    session::Session,
    snapshot::Tgid,
    spawn::Gated,
    topology::Topology,
};
use schedscope_ebpf::abi::program;

use super::{
    exact::{TICK_SECONDS, assert_consistent, assert_exact},
    host::{Guarded, comes_true, is_privileged, workloads},
};

/// A session that leaves some programs out.
fn session_without(programs: &[&str]) -> Session {
    Session::start_without(programs, Topology::read().unwrap()).unwrap()
}

/// Samples until the last thread has ended.
fn finish(mut session: Session, mut child: Child) -> RunReport {
    let mut ended = false;
    while !ended || session.alive() > 0 {
        sleep(session.sample().unwrap());
        ended = ended || child.try_wait().unwrap().is_some();
    }
    session.finish(None, String::new(), Vec::new(), Exit::default(), 1).unwrap()
}

/// Traces a workload from its first instruction to its end.
fn trace_without(programs: &[&str], arguments: &str) -> RunReport {
    let script = format!("exec '{}' {arguments} > /dev/null", workloads());
    let mut session = session_without(programs);
    let gated = Gated::fork(&["sh".to_owned(), "-c".to_owned(), script]).unwrap();
    session.begin(&[gated.tgid()]).unwrap();
    finish(session, gated.release().unwrap())
}

fn residual<'a>(report: &'a RunReport, quantity: &str) -> &'a Residual {
    report.check.residuals.iter().find(|residual| residual.quantity == quantity).unwrap()
}

#[test]
fn without_the_task_iterator_a_run_is_still_exact() {
    if !is_privileged() {
        return;
    }
    for arguments in ["mixed --seconds 1", "fork-storm --count 97 --exec", "exec-from-thread"] {
        let report = trace_without(&[program::SEED_TASKS], arguments);
        assert_exact(&report);
        assert!(report.threads.iter().any(|thread| thread.seeded), "the first thread is marked");
    }
}

#[test]
fn without_the_task_iterator_threads_that_were_there_are_registered() {
    if !is_privileged() {
        return;
    }
    let start = |arguments: &[&str]| {
        let mut command = Command::new(workloads());
        Guarded(command.args(arguments).stdout(Stdio::null()).spawn().unwrap())
    };
    let mut spinning = start(&["native", "--task", "spin", "--model", "threads", "--workers", "3", "--seconds", "600"]);
    let mut sleeping = start(&["sleepers", "--count", "8", "--seconds", "600", "--pause", "0.003"]);
    let threads = |process: &Child| std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap().count();
    assert!(comes_true(10, || threads(&spinning) == 4 && threads(&sleeping) == 9));
    let mut session = session_without(&[program::SEED_TASKS]);
    session.begin(&[Tgid(spinning.id()), Tgid(sleeping.id())]).unwrap();
    assert_eq!(session.alive(), 13);
    let end = Instant::now() + Duration::from_secs(1);
    while session.alive() > 0 {
        sleep(session.sample().unwrap());
        if Instant::now() > end {
            spinning.kill().unwrap();
            sleeping.kill().unwrap();
        }
        // Reaped, or they stay for ever.
        let _ = (spinning.try_wait().unwrap(), sleeping.try_wait().unwrap());
    }
    let report = session.finish(None, String::new(), Vec::new(), Exit::default(), 1).unwrap();
    assert_eq!(report.check.threads_differing, 0, "{:?}", report.check);
    assert_eq!((report.loss.total, report.check.threads), (0, 13), "{:?}", report.loss);
    assert!(report.threads.iter().all(|thread| thread.seeded));
    // What the kernel says of a run in the middle of it is up to a tick old.
    let runtime = residual(&report, "sum_exec_runtime_seconds");
    assert!(runtime.difference.abs() <= 1e-3 * runtime.kernel + 3.0 * TICK_SECONDS, "{runtime:?}");
}

#[test]
fn without_the_fork_hook_children_are_found_late_and_marked() {
    if !is_privileged() {
        return;
    }
    let report = trace_without(&[program::SCHED_PROCESS_FORK], "native --task spin --model processes --workers 2 --seconds 2");
    assert!(report.threads.len() >= 3 && report.threads.iter().all(|thread| thread.seeded), "{:?}", report.threads);
    // All but the first were found late, and each is counted.
    assert_eq!(report.loss.by_reason["fork_unseen"], report.threads.len() as u64 - 1, "{:?}", report.loss);
    assert_eq!(report.check.threads_differing, 0, "{:?}", report.check);
    assert!(report.time_seconds.on_cpu + report.time_seconds.runnable > 2.0 * 1.5, "{:?}", report.time_seconds);
}

#[test]
fn any_other_hook_may_be_missing_and_switches_still_agree() {
    if !is_privileged() {
        return;
    }
    let others = program::HOOKS.into_iter().filter(|hook| ![program::SCHED_SWITCH, program::SCHED_PROCESS_FORK].contains(hook));
    for hook in others {
        let report = trace_without(&[hook], "mixed --seconds 0.5");
        assert_eq!(report.check.threads_differing, 0, "without {hook}: {:?}", report.check);
        if hook != program::SCHED_PROCESS_FREE {
            assert_consistent(&report);
        }
    }
}
