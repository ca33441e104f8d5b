//! Processes that were there before the tracer, in every state that a task can be in.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use schedscope::report::schema::ThreadReport;

use super::accounts::counters;
use super::attached::{Attached, state, wait_for_state};
use super::exact::{TICK_SECONDS, assert_consistent, assert_exact};
use super::host::{self, Guarded, comes_true, privileged, send};
use super::traced::{Running, thread};

/// A process that has forked as `vfork` does and waits for its child, which sleeps; both ids.
struct Waiting {
    parent: libc::pid_t,
    child: libc::pid_t,
}

impl Waiting {
    fn start() -> Waiting {
        // SAFETY: the child makes system calls only, and never returns.
        let parent = unsafe { libc::fork() };
        assert!(parent >= 0);
        if parent == 0 {
            // SAFETY: without CLONE_VM the child has a copy of the stack, so it may go on beside its waiting parent. It is killed.
            unsafe {
                let flags = libc::c_long::from(libc::CLONE_VFORK | libc::SIGCHLD);
                if libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) == 0 {
                    loop {
                        libc::pause();
                    }
                }
                libc::_exit(0);
            }
        }
        let mut child = 0;
        let children = format!("/proc/{parent}/task/{parent}/children");
        assert!(comes_true(10, || {
            child = fs::read_to_string(&children).unwrap().trim().parse().unwrap_or(0);
            child != 0
        }));
        Waiting { parent, child }
    }

    fn end(self) {
        // SAFETY: the parent waits for its child and is not reaped yet, so both ids are theirs.
        unsafe { libc::kill(self.child, libc::SIGKILL) };
        let mut status = 0;
        // SAFETY: the status is valid for writes; the process is our child.
        assert_eq!(unsafe { libc::waitpid(self.parent, &raw mut status, 0) }, self.parent);
    }
}

#[test]
fn every_state_is_seeded_and_marked() {
    let Some(()) = privileged() else { return };
    let sleeping = Guarded::start("sleep", &["60"]);
    let spinning = Guarded::shell("while :; do :; done");
    let stopped = Guarded::shell("while :; do :; done");
    send(stopped.id(), libc::SIGSTOP);
    wait_for_state(&stopped, 'T');
    wait_for_state(&sleeping, 'S');
    assert!(comes_true(10, || state(spinning.id()) == Some('R')));

    let attached = Attached::to(&[&sleeping, &spinning, &stopped]);
    let kernel_before = counters(&spinning).pop().unwrap();
    let begin = std::time::Instant::now();
    sleep(Duration::from_secs(1));
    let kernel_after = counters(&spinning).pop().unwrap();
    let between = begin.elapsed().as_secs_f64();
    send(attached.tracer.id(), libc::SIGINT);
    let report = attached.report();

    assert_consistent(&report);
    assert_eq!((report.tasks.threads, report.tasks.still_alive), (3, 3), "{:?}", report.tasks);
    assert!(report.threads.iter().all(|thread| thread.seeded && !thread.ended), "{:?}", report.threads);
    for process in [&sleeping, &stopped] {
        let thread = thread(&report, process.id());
        assert_eq!((thread.voluntary, thread.preempted, thread.yielded, thread.migrations), (0, 0, 0, 0), "{thread:?}");
        assert!(thread.on_cpu_seconds == 0.0 && thread.runnable_seconds == 0.0, "{thread:?}");
        assert!(thread.blocked_seconds >= between, "{thread:?}");
    }
    assert_waits_for(thread(&report, stopped.id()), "stopped");
    assert_waits_for_call(thread(&report, sleeping.id()), "sleep");
    let spinner = thread(&report, spinning.id());
    assert!(spinner.blocked_seconds == 0.0 && spinner.voluntary == 0, "{spinner:?}");
    // The kernel's own account of the running thread is a tick old, ours is of the moment.
    let kernel = kernel_after.cpu_seconds - kernel_before.cpu_seconds;
    assert!(spinner.on_cpu_seconds >= kernel - TICK_SECONDS, "our count {} s, the kernel's {kernel} s", spinner.on_cpu_seconds);
    assert!(spinner.on_cpu_seconds + spinner.runnable_seconds >= between - 0.001, "{spinner:?} in {between} s");
}

#[test]
fn what_was_stopped_or_asleep_is_exact_once_it_goes_on() {
    let Some(()) = privileged() else { return };
    // A stopped process goes on, forks, and ends; one asleep in the kernel does the same.
    let mut stopped = Guarded::shell("kill -STOP $$; /bin/true; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
    wait_for_state(&stopped, 'T');
    let attached = Attached::to(&[&stopped]);
    send(stopped.id(), libc::SIGCONT);
    assert!(stopped.wait().unwrap().success());
    let report = attached.report();
    assert_exact(&report);
    assert_eq!(report.tasks.processes, 2, "{:?}", report.tasks);
    assert!(report.threads.iter().any(|thread| thread.seeded && thread.tid == stopped.id()));
}

#[test]
fn a_process_in_uninterruptible_sleep_is_blocked_until_it_wakes() {
    let Some(()) = privileged() else { return };
    let waiting = Waiting::start();
    let parent = waiting.parent.cast_unsigned();
    assert!(
        comes_true(10, || state(parent) == Some('D')),
        "a process that waits for its vfork child is in state {:?}",
        state(parent)
    );
    let attached = Attached::to_ids(&[parent]);
    sleep(Duration::from_millis(300));
    waiting.end();
    let report = attached.report();
    assert_exact(&report);
    // Its child with it.
    assert_eq!(report.tasks.threads, 2, "{:?}", report.tasks);
    let thread = thread(&report, parent);
    assert!(thread.seeded && thread.blocked_seconds >= 0.3, "{thread:?}");
    assert_waits_for_call(thread, "child_wait");
}

/// All that it does is wait for that.
fn assert_waits_for(thread: &ThreadReport, reason: &str) {
    let reasons: Vec<&str> = thread.blocked_seconds_by_reason.keys().map(String::as_str).collect();
    assert_eq!(reasons, [reason], "{thread:?}");
}

/// The same where the system call tells.
fn assert_waits_for_call(thread: &ThreadReport, reason: &str) {
    assert_waits_for(thread, if host::tells_system_calls() { reason } else { "unknown" });
}

#[test]
fn descendants_that_are_there_already_are_taken_along_or_left_out() {
    let Some(()) = privileged() else { return };
    let parent = Guarded::shell("sleep 60 & sleep 60 & wait");
    let has_children = || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).unwrap_or_default();
        children.split_whitespace().count() == 2
    };
    assert!(comes_true(10, has_children));
    for (more, processes) in [(None, 3), (Some("--no-descendants"), 1)] {
        let id = parent.id().to_string();
        let arguments = ["--duration", "0.3", "--pid", &id].into_iter().chain(more).collect::<Vec<_>>();
        let report = Running::start("attach", &arguments).end().report;
        assert_eq!(report.tasks.processes, processes, "{more:?}: {:?}", report.tasks);
    }
    // The sleeps would outlive it.
    let family = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).unwrap();
    for child in family.split_whitespace() {
        send(child.parse().unwrap(), libc::SIGKILL);
    }
}

#[test]
fn a_zombie_has_nothing_to_trace() {
    let Some(()) = privileged() else { return };
    let mut zombie = Guarded::start("true", &[]);
    assert!(comes_true(10, || state(zombie.id()) == Some('Z')));
    let mut sleeping = Guarded::start("sleep", &["60"]);
    wait_for_state(&sleeping, 'S');

    let output =
        Command::new(host::schedscope()).args(["attach", "--duration", "5", "--pid", &zombie.id().to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("could be traced"));

    // Beside another it is left out, and its going away is no loss.
    let attached = Attached::to_ids(&[zombie.id(), sleeping.id()]);
    zombie.wait().unwrap();
    sleep(Duration::from_millis(100));
    sleeping.end();
    let report = attached.report();
    assert_exact(&report);
    assert_eq!(report.tasks.threads, 1, "{:?}", report.tasks);
}
