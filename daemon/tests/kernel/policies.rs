//! Scheduling policies other than the normal one.

use std::{
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use schedscope::{commands::check::Outcome, report::RunReport};

use super::{
    attached::{Attached, wait_for_state},
    exact::assert_exact,
    host::{Guarded, privileged, schedscope, workloads},
};

/// The kernel's `struct sched_attr` in its first form.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

impl Attributes {
    fn of(policy: i32) -> Attributes {
        Attributes {
            size: u32::try_from(size_of::<Attributes>()).unwrap(),
            policy: policy.cast_unsigned(),
            ..Attributes::default()
        }
    }

    pub(crate) fn real_time(policy: i32) -> Attributes {
        Attributes { priority: 5, ..Attributes::of(policy) }
    }

    /// Starts a program under the policy; `None`, and the reason is printed, if this host does not let us have it.
    pub(crate) fn start(self, mut command: Command) -> Option<Guarded> {
        let set = move || {
            // SAFETY: the kernel reads as many bytes as `size` says.
            match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&self), 0) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: one system call between fork and exec.
        let child = unsafe { command.pre_exec(set) }.spawn();
        child.map(Guarded).inspect_err(|error| println!("skipped: no scheduling policy {} here: {error}", self.policy)).ok()
    }
}

/// From the kernel's `include/uapi/linux/sched.h`.
const SCHED_FLAG_RESET_ON_FORK: u64 = 1;

/// Traces a workload under a policy, from its exec to its end; `None` if this host does not let us have it.
fn trace_under(attributes: Attributes, arguments: &str) -> Option<RunReport> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("read line; exec '{}' {arguments}", workloads())]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = attributes.start(shell)?;
    wait_for_state(&child, 'S');
    let attached = Attached::to(&[&child]);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    Some(attached.report())
}

#[test]
fn first_in_first_out_yields_are_exact() {
    let Some(()) = privileged() else { return };
    // Two real-time threads of one priority on one CPU: whoever yields goes behind the other, so every call switches.
    let Some(report) = trace_under(Attributes::real_time(libc::SCHED_FIFO), "yield-loop --count 10000 --threads 2") else { return };
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
    let nice = Attributes { nice: 10, ..Attributes::of(libc::SCHED_OTHER) };
    for attributes in [
        Attributes::real_time(libc::SCHED_FIFO),
        Attributes::real_time(libc::SCHED_RR),
        Attributes::of(libc::SCHED_BATCH),
        Attributes::of(libc::SCHED_IDLE),
        nice,
    ] {
        for arguments in ["mixed --seconds 0.5", "native --task spin --model threads --workers 4 --seconds 0.5"] {
            let Some(report) = trace_under(attributes, arguments) else { continue };
            assert_exact(&report);
        }
    }
}

/// A real-time thread may take the CPU from one that has set its state to sleep: where the kernel lets itself be preempted, it leaves
/// the run after that out of its own count. Outside of it all counts are equal.
#[test]
fn runs_that_the_kernel_leaves_out_are_told_from_those_that_it_counts() {
    let Some(()) = privileged() else { return };
    let mut sleepers = Command::new(workloads());
    sleepers.args("sleepers --count 8 --seconds 60 --pause 0.0002".split(' ')).stdout(Stdio::null());
    let Some(_sleepers) = Attributes::real_time(libc::SCHED_FIFO).start(sleepers) else { return };
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
    let attributes = Attributes {
        flags: SCHED_FLAG_RESET_ON_FORK,
        runtime_ns: 4_000_000,
        deadline_ns: 20_000_000,
        period_ns: 20_000_000,
        ..Attributes::of(libc::SCHED_DEADLINE)
    };
    let Some(report) = trace_under(attributes, "native --task spin --model serial --seconds 1") else { return };
    assert_exact(&report);
    let busiest = &report.threads[0];
    // It works for a second by the wall clock and gets a fifth of it.
    let demand = busiest.on_cpu_seconds + busiest.runnable_seconds;
    assert!(demand >= 0.98, "{busiest:?}");
    let share = busiest.on_cpu_seconds / demand;
    assert!((0.1..0.3).contains(&share), "{share}: {busiest:?}");
}
