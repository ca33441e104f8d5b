//! A process tree against the resource usage that a wait for its root tells.
//!
//! A process is added up when it is waited for. A thread that nobody waits for is added up when it begins to be released, before its
//! last switch: that one is missing, and whatever else it did while ending may be. Processes that nobody waited for, because they
//! were orphaned or their parent ignores them, are missing as a whole.

use std::{
    io, mem,
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus},
};

use super::{
    comparison::{Bounds, Residual},
    proc::{self, TaskCounters},
    verdict::Check,
};
use crate::capture::{quiescent::wait_until_off_cpu, run::Run, snapshot::Tgid};

/// A tree that will be waited for.
pub struct Tree {
    before: Result<TaskCounters, String>,
}

impl Tree {
    /// Begins with a process that sleeps and has one thread.
    pub fn of(process: Tgid) -> Tree {
        let before = proc::read_resting(process).map_err(|error| format!("cannot read its counters before the start: {error}"));
        Tree { before: before.and_then(|mut threads| threads.pop().ok_or_else(|| "it is gone".to_owned())) }
    }

    /// The same with a process whose counters are known.
    #[cfg(test)]
    pub(super) fn began_as(before: TaskCounters) -> Tree {
        Tree { before: Ok(before) }
    }

    /// What the process had done before it was traced.
    pub fn before(&self) -> Option<&TaskCounters> {
        self.before.as_ref().ok()
    }

    /// Compares at the end. `usage` is that of the process; `is_complete` says that all of its descendants were waited for after
    /// their last switches. Else the bounds are open above.
    pub fn compare(self, run: &Run, usage: Rusage, is_complete: bool, check: &mut Check) {
        match self.before {
            Ok(before) => {
                let grown = Rusage {
                    voluntary: usage.voluntary.saturating_sub(before.voluntary),
                    involuntary: usage.involuntary.saturating_sub(before.involuntary),
                };
                let ours = Rusage { voluntary: run.totals.voluntary, involuntary: run.totals.preempted + run.totals.yielded };
                let rows = compare(ours, grown, is_complete, check);
                check.oracles.extend(rows);
            }
            Err(why) => drop(check.not_compared.insert("wait4".to_owned(), why)),
        }
    }
}

fn compare(ours: Rusage, kernel: Rusage, is_complete: bool, check: &Check) -> [Residual; 2] {
    let unseen = &check.unseen_by_others;
    let open_above = |most: u64| if is_complete { Some(most as f64) } else { None };
    let why = if is_complete {
        "a thread's usage is added up before its last switch"
    } else {
        "a thread's usage is added up before its last switch, a process's when it is waited for"
    };
    let row = |quantity, ours: u64, kernel: u64, least: u64, most: u64| {
        let bounds = Bounds { at_least: Some(least as f64), at_most: open_above(most) };
        Residual::new("wait4", quantity, ours as f64, kernel as f64, bounds).because(why)
    };
    [
        row("ru_nvcsw", ours.voluntary, kernel.voluntary, unseen.ended_unwaited, unseen.voluntary_unwaited),
        row("ru_nivcsw", ours.involuntary, kernel.involuntary, 0, unseen.involuntary_unwaited),
    ]
}

/// Counts of `struct rusage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rusage {
    /// `ru_nvcsw`.
    pub voluntary: u64,
    /// `ru_nivcsw`.
    pub involuntary: u64,
}

/// Whether the child has ended. It is not reaped.
pub fn has_ended(child: &Child) -> io::Result<bool> {
    wait_without_reaping(child, libc::WNOHANG)
}

fn wait_without_reaping(child: &Child, options: libc::c_int) -> io::Result<bool> {
    loop {
        // SAFETY: an all-zero siginfo is valid, and the kernel fills it in.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let options = options | libc::WEXITED | libc::WNOWAIT;
        // SAFETY: valid for writes; the child is ours and not reaped yet.
        if unsafe { libc::waitid(libc::P_PID, child.id(), &raw mut info, options) } == 0 {
            // SAFETY: the kernel has filled it in, or left it zero if the child goes on.
            return Ok(unsafe { info.si_pid() } != 0);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Waits for the child's last switch and reaps it. Reaped a moment earlier, that switch would be missing from its usage.
///
/// # Errors
/// If it cannot be waited for. A kernel that does not tell when a thread is off its CPU is no error.
#[expect(clippy::needless_pass_by_value, reason = "once it is reaped nobody may wait for it again")]
pub fn reap(child: Child) -> io::Result<(ExitStatus, Rusage)> {
    wait_without_reaping(&child, 0)?;
    // Not fatal: then the last switch may be missing.
    let _ = wait_until_off_cpu(child.id(), child.id());
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: both are valid for writes; the child is ours and not reaped yet, and nobody can reap it later: we own it.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } != pid {
        return Err(io::Error::last_os_error());
    }
    let count = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    let usage = Rusage { voluntary: count(usage.ru_nvcsw), involuntary: count(usage.ru_nivcsw) };
    Ok((ExitStatus::from_raw(status), usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_childs_and_its_sleeps_are_counted() {
        let command = ["-c", "sleep 0.01; sleep 0.01; exit 3"];
        let (status, usage) = reap(std::process::Command::new("sh").args(command).spawn().unwrap()).unwrap();
        assert_eq!(status.code(), Some(3));
        // Two sleeps, two waits for them, and the last switches of all three.
        assert!(usage.voluntary >= 7, "{usage:?}");
    }
}
