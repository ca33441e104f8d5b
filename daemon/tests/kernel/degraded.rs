//! What is reported where the kernel has not got every program.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use schedscope::{
    capture::{run::Subject, session::Session, snapshot::Tgid, spawn::Gated, topology::Topology},
    report::{RunReport, build::build, schema::Residual},
};
use schedscope_ebpf::abi::program;

use super::{
    exact::{TICK_SECONDS, assert_consistent, assert_exact},
    host::{Guarded, comes_true, has_cpus, is_privileged, workloads},
    policies::Attributes,
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
    build(&session.finish(None, Subject { allowed_cpus: 1, ..Subject::default() }).unwrap())
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
    let report = build(&session.finish(None, Subject { allowed_cpus: 1, ..Subject::default() }).unwrap());
    assert_eq!(report.check.threads_differing, 0, "{:?}", report.check);
    assert_eq!((report.loss.total, report.check.threads), (0, 13), "{:?}", report.loss);
    assert!(report.threads.iter().all(|thread| thread.seeded));
    // What the kernel says of a run in the middle of it is up to a tick old.
    let runtime = residual(&report, "sum_exec_runtime_seconds");
    assert!(runtime.difference.abs() <= 1e-3 * runtime.kernel + 3.0 * TICK_SECONDS, "{runtime:?}");
}

/// Confines a process to one CPU; if it runs on another, the kernel takes it off that at once.
fn confine(pid: u32, cpu: usize) {
    // SAFETY: the set is plain bits, and its size is passed along.
    let status = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(pid.cast_signed(), size_of::<libc::cpu_set_t>(), &raw const set)
    };
    assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn without_the_task_iterator_the_first_event_of_a_running_thread_may_be_its_leaving() {
    if !is_privileged() || !has_cpus(2) {
        return;
    }
    for is_moved in [true, false] {
        let mut spinner = Command::new("sh");
        spinner.args(["-c", "while :; do :; done"]);
        // SAFETY: one system call between fork and exec.
        let spinner = unsafe { spinner.pre_exec(|| Attributes::real_time(libc::SCHED_FIFO).set()) };
        let mut spinner = match spinner.spawn() {
            Ok(child) => Guarded(child),
            Err(error) => {
                println!("skipped: no real-time policy here: {error}");
                return;
            }
        };
        confine(spinner.id(), 1);
        let mut session = session_without(&[program::SEED_TASKS]);
        session.begin(&[Tgid(spinner.id())]).unwrap();
        // As a real-time task it is on its CPU now: either it is pulled off, which is counted as involuntary, or it ends there.
        if is_moved {
            confine(spinner.id(), 0);
        }
        spinner.kill().unwrap();
        while session.alive() > 0 {
            sleep(session.sample().unwrap());
            let _ = spinner.try_wait().unwrap();
        }
        let report = build(&session.finish(None, Subject { allowed_cpus: 1, ..Subject::default() }).unwrap());
        assert_eq!((report.check.threads, report.check.threads_differing, report.loss.total), (1, 0, 0), "{:?}", report.check);
        assert_eq!(report.migrations.total, u64::from(is_moved), "{:?}", report.migrations);
        assert!(report.switches.voluntary == 1, "{:?}", report.check);
    }
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
