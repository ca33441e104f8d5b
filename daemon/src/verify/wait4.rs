//! A process tree against the resource usage that a wait for its root returns.
//!
//! A process's usage is added to its parent's when it is waited for. The usage of a thread that nobody waits for is added when the thread
//! begins to be released, before its last switch: that switch is missing, and whatever else the thread does while ending may be. Processes
//! that nobody waited for, because they were orphaned or their parent ignores them, are missing as a whole.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::{io, mem};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::comparison::{Bounds, Residual};
use super::proc::{self, TaskCounters};
use super::verdict::Check;
use crate::capture::quiescent::wait_until_off_cpu;
use crate::capture::run::{Run, Usage};
use crate::capture::snapshot::Tgid;

/// A tree that will be waited for.
pub(crate) struct Tree {
    /// The counters of its root before the start, or why they are unknown.
    pub(super) before: Result<TaskCounters, String>,
}

impl Tree {
    /// Begins with a sleeping process that has one thread.
    pub(crate) fn of(process: Tgid) -> Tree {
        let before = proc::read_resting(process).map_err(|error| format!("cannot read its counters before the start: {error}"));
        Tree { before: before.and_then(|mut threads| threads.pop().ok_or_else(|| "it is gone".to_owned())) }
    }

    /// What the process had done before it was traced.
    pub(crate) fn before(&self) -> Option<&TaskCounters> {
        self.before.as_ref().ok()
    }

    /// Compares at the end. `usage` is that of the process. `is_complete` says that all of its descendants were waited for after their
    /// last switches; otherwise there is no upper bound.
    pub(crate) fn compare(self, run: &Run, usage: Rusage, is_complete: bool, check: &mut Check) {
        let missing = run.losses.missing();
        match self.before {
            // A thread that came to light late has done something before, which the usage includes: a loss and no disagreement.
            _ if missing > 0 => drop(check.not_compared.insert("wait4".to_owned(), format!("observations are missing: {missing}"))),
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
    let at_most = |most: u64| is_complete.then_some(most as f64);
    let why = if is_complete {
        "a thread's usage is added up before its last switch"
    } else {
        "a thread's usage is added up before its last switch, a process's when it is waited for"
    };
    let row = |quantity, ours: u64, kernel: u64, least: u64, most: u64| {
        let bounds = Bounds { at_least: Some(least as f64), at_most: at_most(most) };
        Residual::new("wait4", quantity, ours as f64, kernel as f64, bounds).because(why)
    };
    [
        row("ru_nvcsw", ours.voluntary, kernel.voluntary, unseen.ended_unwaited, unseen.voluntary_unwaited),
        row("ru_nivcsw", ours.involuntary, kernel.involuntary, 0, unseen.involuntary_unwaited),
    ]
}

/// The counts of `struct rusage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rusage {
    /// `ru_nvcsw`.
    pub(crate) voluntary: u64,
    /// `ru_nivcsw`.
    pub(crate) involuntary: u64,
}

/// How a child ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) switches: Rusage,
    pub(crate) usage: Usage,
}

/// Whether the child has ended. It is not reaped.
pub(crate) fn has_ended(child: &Child) -> io::Result<bool> {
    wait_without_reaping(child, WaitIdOptions::NOHANG)
}

fn wait_without_reaping(child: &Child, options: WaitIdOptions) -> io::Result<bool> {
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
}

/// Waits for the child's last switch and reaps it. Reaped a moment earlier, that switch would be missing from its usage.
#[expect(clippy::needless_pass_by_value, reason = "once it is reaped nobody may wait for it again")]
pub(crate) fn reap(child: Child) -> io::Result<Ended> {
    wait_without_reaping(&child, WaitIdOptions::empty())?;
    // An error is not fatal: then the last switch may be missing.
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
    let nanoseconds = |time: libc::timeval| count(time.tv_sec) * 1_000_000_000 + count(time.tv_usec) * 1000;
    Ok(Ended {
        status: ExitStatus::from_raw(status),
        switches: Rusage { voluntary: count(usage.ru_nvcsw), involuntary: count(usage.ru_nivcsw) },
        usage: Usage {
            user_ns: nanoseconds(usage.ru_utime),
            system_ns: nanoseconds(usage.ru_stime),
            page_faults: count(usage.ru_minflt) + count(usage.ru_majflt),
            peak_pages: count(usage.ru_maxrss) * 1024 / procfs::page_size(),
            fault_ns: 0,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_childs_and_its_sleeps_are_counted() {
        let command = ["-c", "sleep 0.01; sleep 0.01; exit 3"];
        let Ended { status, switches, usage } = reap(std::process::Command::new("sh").args(command).spawn().unwrap()).unwrap();
        assert_eq!(status.code(), Some(3));
        // Two sleeps, two waits for them, and the last switches of all three.
        assert!(switches.voluntary >= 7, "{switches:?}");
        assert!(usage.page_faults > 100 && usage.peak_pages > 100 && usage.user_ns + usage.system_ns > 0, "{usage:?}");
    }
}
