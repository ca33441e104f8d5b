//! Waiting until a thread is off its CPU.

use std::io;
use std::time::{Duration, Instant};

/// How long a thread may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the thread sleeps or has ended, and has been switched out.
///
/// `/proc/PID/task/TID/syscall` says `running` for a thread that is not asleep. For any other the kernel answers only once it has left its
/// CPU (`wait_task_inactive`), which no other file under `/proc` promises.
/// Reading the file needs the permission to trace the process.
pub(crate) fn wait_until_off_cpu(pid: u32, tid: u32) -> io::Result<()> {
    wait_until(pid, tid, |syscall| syscall != "running")
}

/// Waits until the thread sleeps in a certain system call, and has been switched out.
pub(crate) fn wait_until_in_syscall(pid: u32, tid: u32, number: libc::c_long) -> io::Result<()> {
    let number = number.to_string();
    wait_until(pid, tid, |syscall| syscall.split(' ').next() == Some(&number))
}

fn wait_until(pid: u32, tid: u32, is_so: impl Fn(&str) -> bool) -> io::Result<()> {
    let path = format!("/proc/{pid}/task/{tid}/syscall");
    let deadline = Instant::now() + PATIENCE;
    while !is_so(std::fs::read_to_string(&path)?.trim_end()) {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("thread {tid} does not come to rest")));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_child_is_off_its_cpu() {
        if !std::path::Path::new("/proc/self/syscall").exists() {
            println!("skipped: this kernel has no /proc/PID/syscall");
            return;
        }
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let waited = wait_until_in_syscall(child.id(), child.id(), libc::SYS_clock_nanosleep);
        let syscall = std::fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        waited.unwrap();
        assert_ne!(syscall.trim_end(), "running");
    }

    #[test]
    fn a_thread_that_is_gone_is_an_error() {
        assert_eq!(wait_until_off_cpu(u32::MAX, u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
