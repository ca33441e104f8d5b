//! The same figures from other parts of the kernel, read by the tests themselves.

use std::fs;
use std::io::Write;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use perf_event::events::Software;
use perf_event::{Builder, Counter};

use super::accounts::{assert_agrees_with_usage, assert_growth, counters, wait_with_usage};
use super::attached::{Attached, pid_of, wait_for_state, waiting_workload};
use super::exact::{assert_consistent, assert_exact};
use super::host::{Guarded, cpus, privileged, send};
use super::traced::{exact, thread};

/// A counter of a process and its descendants.
fn perf_counter(event: Software, process: &Child) -> Counter {
    let mut builder = Builder::new().kind(event).observe_pid(pid_of(process)).any_cpu();
    builder.inherit(true).include_kernel().include_hv();
    let mut counter = builder.build().expect("perf_event_open");
    counter.enable().unwrap();
    counter
}

#[test]
fn whole_process_trees_agree_with_resource_usage_and_perf() {
    let Some(()) = privileged() else { return };
    for arguments in [
        &["ping-pong", "--switches", "20000", "--normal-policy"][..],
        &["sleepers", "--count", "8", "--seconds", "0.5"],
        &["yield-loop", "--count", "5000"],
        &["fork-storm", "--count", "97", "--exec"],
    ] {
        let mut child = waiting_workload(arguments);
        let before = counters(&child).pop().unwrap();
        let attached = Attached::to(&[&child]);
        let mut perf = perf_counter(Software::CONTEXT_SWITCHES, &child);
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let (status, usage) = wait_with_usage(&child);
        assert!(status.success(), "{arguments:?}: {status}");
        let perf = perf.read().unwrap();
        let report = attached.report();
        assert_exact(&report);
        assert_agrees_with_usage(&report, &before, &usage);
        // perf lets go of a thread while it ends, before its last switch.
        let switches = report.switches.voluntary + report.switches.preempted + report.switches.yielded;
        let unseen = &report.check.unseen_by_others;
        let allowed = unseen.ended..=unseen.voluntary + unseen.involuntary;
        assert!(allowed.contains(&(switches - perf)), "{switches} and {perf} by perf: {unseen:?}");
    }
}

#[test]
fn forced_migrations_agree_with_perf() {
    let Some(()) = privileged().and_then(|()| cpus(2)) else { return };
    let mut child = waiting_workload(&["migrate", "--count", "997"]);
    let attached = Attached::to(&[&child]);
    let mut perf = perf_counter(Software::CPU_MIGRATIONS, &child);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    let perf = perf.read().unwrap();
    let report = attached.report();
    assert_exact(&report);
    // Several between two runs of a thread are one to perf.
    let unseen = &report.check.unseen_by_others;
    let again = unseen.migrations_again..=unseen.migrations_again + unseen.migrations + unseen.migrations_repaired;
    assert!(perf >= 997 && again.contains(&(report.migrations.total - perf)), "{perf} by perf: {:?} {unseen:?}", report.migrations);
}

#[test]
fn threads_that_were_there_before_agree_with_proc() {
    let Some(()) = privileged() else { return };
    let processes = [
        Guarded::workload("native --task spin --model threads --workers 3 --seconds 60"),
        Guarded::workload("sleepers --count 8 --seconds 60 --pause 0.003"),
    ];
    sleep(Duration::from_millis(400));
    let freeze = || {
        for process in &processes {
            send(process.id(), libc::SIGSTOP);
        }
        for process in &processes {
            wait_for_state(process, 'T');
        }
    };
    freeze();
    let before = processes.each_ref().map(|process| counters(process));
    let attached = Attached::to(&processes.each_ref().map(|process| &**process));
    for process in &processes {
        send(process.id(), libc::SIGCONT);
    }
    sleep(Duration::from_secs(1));
    freeze();
    let after = processes.each_ref().map(|process| counters(process));
    send(attached.tracer.id(), libc::SIGINT);
    let report = attached.report();

    assert_consistent(&report);
    assert_eq!((report.tasks.processes, report.tasks.still_alive), (2, 4 + 9), "{:?}", report.tasks);
    for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
        assert_eq!(before.tid, after.tid);
        let thread = thread(&report, after.tid);
        assert!(thread.seeded && !thread.ended, "{thread:?}");
        assert_growth(thread, before, after);
    }
}

#[test]
fn switches_of_the_host_fit_into_those_of_proc_stat() {
    let Some(()) = privileged() else { return };
    let total = || {
        let text = fs::read_to_string("/proc/stat").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("ctxt ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = total();
    let traced = exact("ping-pong --switches 200000").unwrap();
    let during = total() - before;
    let host = &traced.report.host;
    assert!(host.switches <= during && host.switches >= 200_000, "{host:?}, {during} by /proc/stat");
    assert!(host.switches_from_idle <= host.switches, "{host:?}");
}
