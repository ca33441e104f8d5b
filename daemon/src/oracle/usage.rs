//! Resource usage of a child and of all its descendants that were waited for.

use std::{
    io, mem,
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus},
};

use crate::capture::quiescent::wait_until_off_cpu;

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
