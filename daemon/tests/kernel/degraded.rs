//! What is reported where the kernel has not got every program.

use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use schedscope::capture::run::Subject;
use schedscope::capture::session::Session;
use schedscope::capture::snapshot::Tgid;
use schedscope::capture::spawn::Gated;
use schedscope::capture::topology::Topology;
use schedscope::report::RunReport;
use schedscope::report::build::build;
use schedscope_ebpf::abi::program;
use schedscope_ebpf::params::HAS_KERNEL_CODE;

use super::exact::{TICK_SECONDS, assert_consistent, assert_exact};
use super::host::{Guarded, comes_true, cpus, privileged, workloads};
use super::policies::policy;

/// A session that leaves some programs out and begins with these processes.
fn session_without(programs: &[&str], processes: &[Tgid]) -> Session {
    let mut session = Session::start_without(programs, Topology::read().unwrap()).unwrap();
    session.begin(processes).unwrap();
    session
}

/// Samples until the last thread has ended and the processes, which are reaped lest they stay for ever, have too.
fn finish(mut session: Session, processes: &mut [&mut Child]) -> RunReport {
    let mut are_there = true;
    while are_there || session.alive() > 0 {
        sleep(session.sample().unwrap());
        are_there = processes.iter_mut().any(|process| process.try_wait().unwrap().is_none());
    }
    build(&session.finish(None, Subject { allowed_cpus: 1, ..Subject::default() }).unwrap())
}

/// Traces a workload from its first instruction to its end.
fn trace_without(programs: &[&str], arguments: &str) -> RunReport {
    let script = format!("exec '{}' {arguments} > /dev/null", workloads());
    let gated = Gated::fork(&["sh".to_owned(), "-c".to_owned(), script]).unwrap();
    let session = session_without(programs, &[gated.tgid()]);
    finish(session, &mut [&mut gated.release().unwrap()])
}

#[test]
fn without_the_task_iterator_a_run_is_still_exact() {
    let Some(()) = privileged() else { return };
    for arguments in ["mixed --seconds 1", "fork-storm --count 97 --exec", "exec-from-thread"] {
        let report = trace_without(&[program::SEED_TASKS], arguments);
        assert_exact(&report);
        assert!(report.threads.iter().any(|thread| thread.seeded), "the first thread is marked");
    }
}

#[test]
fn without_addresses_of_kernel_functions_waits_count_by_system_call() {
    let Some(()) = privileged() else { return };
    let report = trace_without(&[HAS_KERNEL_CODE], "mmap-lock --count 200");
    assert_exact(&report);
    let blocked = &report.blocked_seconds_by_reason;
    let without_looking: f64 = ["other", "page_fault", "unknown"].iter().map(|reason| blocked[*reason]).sum();
    assert!(blocked["mmap_lock"] + blocked["kernel_lock"] == 0.0 && without_looking > 0.0, "{blocked:?}");
}

#[test]
fn without_samples_what_spins_in_the_kernel_counts_as_used() {
    let Some(()) = privileged() else { return };
    let report = trace_without(&[program::SAMPLE_CPU], "mmap-lock --count 200");
    assert_exact(&report);
    assert!(!report.cores.lost_seconds.contains_key("spinning"), "{:?}", report.cores);
    assert!((report.cores.used_seconds - report.time_seconds.on_cpu).abs() < 1e-6, "{:?}", report.cores);
}

#[test]
fn without_the_task_iterator_threads_that_were_there_are_registered() {
    let Some(()) = privileged() else { return };
    let mut spinning = Guarded::workload("native --task spin --model threads --workers 3 --seconds 600");
    let mut sleeping = Guarded::workload("sleepers --count 8 --seconds 600 --pause 0.003");
    let threads = |process: &Child| fs::read_dir(format!("/proc/{}/task", process.id())).unwrap().count();
    assert!(comes_true(10, || threads(&spinning) == 4 && threads(&sleeping) == 9));
    let mut session = session_without(&[program::SEED_TASKS], &[Tgid(spinning.id()), Tgid(sleeping.id())]);
    assert_eq!(session.alive(), 13);
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        sleep(session.sample().unwrap());
    }
    spinning.kill().unwrap();
    sleeping.kill().unwrap();
    let report = finish(session, &mut [&mut spinning, &mut sleeping]);
    assert_eq!(report.check.threads_differing, 0, "{:?}", report.check);
    assert_eq!((report.loss.total, report.check.threads), (0, 13), "{:?}", report.loss);
    assert!(report.threads.iter().all(|thread| thread.seeded));
    // What the kernel says of a run in the middle of it is up to a tick old.
    let mut residuals = report.check.residuals.iter();
    let runtime = residuals.find(|residual| residual.quantity == "sum_exec_runtime_seconds").unwrap();
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
    let Some(()) = privileged().and_then(|()| cpus(2)) else { return };
    for is_moved in [true, false] {
        let Some(words) = policy("chrt --fifo 5") else { return };
        let mut spinner = Guarded::start(words[0], &[&words[1..], &["sh", "-c", "while :; do :; done"]].concat());
        assert!(comes_true(5, || fs::read(format!("/proc/{}/comm", spinner.id())).unwrap() == b"sh\n"));
        confine(spinner.id(), 1);
        let session = session_without(&[program::SEED_TASKS], &[Tgid(spinner.id())]);
        // As a real-time task it is on its CPU now: either it is pulled off, which is counted as involuntary, or it ends there.
        if is_moved {
            confine(spinner.id(), 0);
        }
        spinner.kill().unwrap();
        let report = finish(session, &mut [&mut spinner]);
        assert_eq!((report.check.threads, report.check.threads_differing, report.loss.total), (1, 0, 0), "{:?}", report.check);
        assert_eq!(report.migrations.total, u64::from(is_moved), "{:?}", report.migrations);
        assert!(report.switches.voluntary == 1, "{:?}", report.check);
    }
}

#[test]
fn without_the_fork_hook_children_are_found_late_and_marked() {
    let Some(()) = privileged() else { return };
    let report = trace_without(&[program::SCHED_PROCESS_FORK], "native --task spin --model processes --workers 2 --seconds 2");
    assert!(report.threads.len() >= 3 && report.threads.iter().all(|thread| thread.seeded), "{:?}", report.threads);
    // All but the first were found late, and each is counted.
    assert_eq!(report.loss.by_reason["fork_unseen"], report.threads.len() as u64 - 1, "{:?}", report.loss);
    assert_eq!(report.check.threads_differing, 0, "{:?}", report.check);
    assert!(report.time_seconds.on_cpu + report.time_seconds.runnable > 2.0 * 1.5, "{:?}", report.time_seconds);
}

#[test]
fn any_other_hook_may_be_missing_and_switches_still_agree() {
    let Some(()) = privileged() else { return };
    let others = program::HOOKS.into_iter().filter(|hook| ![program::SCHED_SWITCH, program::SCHED_PROCESS_FORK].contains(hook));
    for hook in others {
        let report = trace_without(&[hook], "mixed --seconds 0.5");
        assert_eq!(report.check.threads_differing, 0, "without {hook}: {:?}", report.check);
        if hook != program::SCHED_PROCESS_FREE {
            assert_consistent(&report);
        }
    }
}
