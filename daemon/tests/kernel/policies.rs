//! Scheduling policies other than the normal one.

use std::io::Write;
use std::process::Command;

use schedscope::commands::check::Outcome;
use schedscope::report::RunReport;

use super::attached::{Attached, waiting};
use super::exact::assert_exact;
use super::host::{Guarded, privileged, schedscope, workloads};

const FIFO: &str = "chrt --fifo 5";

/// The words before a command that give it a policy; `None`, with a printed reason, if this host does not let us have it.
pub(crate) fn policy(words: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = words.split(' ').collect();
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").output();
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: no {words:?} here: {tried:?}");
        return None;
    }
    Some(words)
}

/// Traces a workload under a policy, from its exec to its end; `None` if this host does not let us have it.
fn trace_under(words: &str, arguments: &str) -> Option<RunReport> {
    let workload = workloads();
    let command = [policy(words)?, vec![&workload], arguments.split(' ').collect()].concat();
    let mut child = waiting(&command);
    let attached = Attached::to(&[&child]);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    Some(attached.report())
}

#[test]
fn first_in_first_out_yields_are_exact() {
    let Some(()) = privileged() else { return };
    // Two real-time threads of one priority on one CPU: whoever yields goes behind the other, so every call switches.
    let Some(report) = trace_under(FIFO, "yield-loop --count 10000 --threads 2") else { return };
    assert_exact(&report);
    if report.blocked_seconds_by_reason["futex"] == 0.0 {
        // This kernel does not tell system calls.
        assert!(report.switches.preempted >= 20_000 && report.switches.yielded == 0, "{:?}", report.switches);
    } else if cfg!(target_arch = "x86_64") {
        assert_eq!(report.switches.yielded, 20_000, "{:?}", report.switches);
    } else {
        // Who is preempted on the way back still shows the call.
        let preempted = report.switches.preempted;
        assert!((20_000..=20_000 + preempted).contains(&report.switches.yielded), "{:?}", report.switches);
    }
}

#[test]
fn every_policy_is_exact() {
    let Some(()) = privileged() else { return };
    for policy in [FIFO, "chrt --rr 5", "chrt --batch 0", "chrt --idle 0", "nice -n 10"] {
        for arguments in ["mixed --seconds 0.5", "native --task spin --model threads --workers 4 --seconds 0.5"] {
            let Some(report) = trace_under(policy, arguments) else { continue };
            assert_exact(&report);
        }
    }
}

/// A real-time thread may take the CPU from one that has set its state to sleep: where the kernel lets itself be preempted, it leaves
/// the run after that out of its own count. Outside of it all counts are equal.
#[test]
fn runs_that_the_kernel_leaves_out_are_told_from_those_that_it_counts() {
    let Some(()) = privileged() else { return };
    let Some(words) = policy(FIFO) else { return };
    let workload = workloads();
    let sleepers = [&words[1..], &[&workload], &"sleepers --count 8 --seconds 60 --pause 0.0002".split(' ').collect::<Vec<_>>()];
    let _sleepers = Guarded::start(words[0], &sleepers.concat());
    let output = Command::new(schedscope()).args(["check", "--seconds", "0.5", "--json", "-"]).output().unwrap();
    let outcome: Outcome = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(outcome.threads_differing, 0, "{outcome:?}");
    let of_proc = outcome.comparisons.iter().filter(|comparison| comparison.residual.source == "proc");
    let timeslices = of_proc.map(|comparison| &comparison.residual).find(|residual| residual.quantity == "schedstat_timeslices");
    match timeslices {
        Some(timeslices) => {
            println!("{} timeslices, {}", timeslices.kernel, timeslices.because);
            assert!(timeslices.difference.abs() < 0.5 && timeslices.kernel > 0.0, "{timeslices:?}");
        }
        None => println!("skipped: this kernel does not count timeslices"),
    }
}

#[test]
fn a_deadline_task_waits_out_its_period_as_runnable() {
    let Some(()) = privileged() else { return };
    // 4 ms in every 20. Its children are not to be deadline tasks, or it may not fork.
    let deadline = "chrt --reset-on-fork --deadline --sched-runtime 4000000 --sched-deadline 20000000 --sched-period 20000000 0";
    let Some(report) = trace_under(deadline, "native --task spin --model serial --seconds 1") else { return };
    assert_exact(&report);
    let busiest = &report.threads[0];
    // It works for a second by the wall clock and gets a fifth of it.
    let demand = busiest.on_cpu_seconds + busiest.runnable_seconds;
    assert!(demand >= 0.98, "{busiest:?}");
    let share = busiest.on_cpu_seconds / demand;
    assert!((0.1..0.3).contains(&share), "{share}: {busiest:?}");
}
