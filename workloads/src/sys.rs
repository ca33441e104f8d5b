//! The few system calls that std does not offer. All unsafe code of this package is here.

use std::{io, mem};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitOptions, wait};
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Wall clock of traces: `CLOCK_MONOTONIC` in nanoseconds, the same in all processes and in BPF programs.
pub(crate) fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

pub(crate) fn thread_id() -> i32 {
    gettid().as_raw_nonzero().get()
}

/// Gives the calling thread a name that scheduler events carry; the kernel keeps 15 bytes.
pub(crate) fn name_thread(name: &str) {
    // A name helps the reader and nothing else depends on it: errors are of no interest.
    let _ = std::fs::write("/proc/thread-self/comm", &name.as_bytes()[..name.len().min(15)]);
}

/// The CPUs that the calling thread may use, ascending.
pub fn usable_cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("cannot read the CPU affinity")?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Confines the calling thread to one CPU; when this returns, it runs there.
pub fn pin_to(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot confine a thread to CPU {cpu}"))
}

/// Puts the calling thread, and all that it starts from now on, under `SCHED_BATCH`.
///
/// A batch task that wakes up never preempts the one that runs, so a waker goes on until it blocks of itself.
pub(crate) fn batch_policy() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` is valid for reads.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Context switches of the calling thread so far by the kernel's count: (voluntary, involuntary).
pub(crate) fn thread_switches() -> (u64, u64) {
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: `usage` is valid for writes; RUSAGE_THREAD is known to every Linux since 2.6.26.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    (u64::try_from(usage.ru_nvcsw).unwrap_or(0), u64::try_from(usage.ru_nivcsw).unwrap_or(0))
}

/// From now on [`interrupt`] ends a sleep of a thread of this process and does no more.
pub(crate) fn survive_interruptions() -> Result<()> {
    extern "C" fn ignore(_: libc::c_int) {}
    // SAFETY: an all-zero sigaction is valid: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = ignore as *const () as usize;
    // SAFETY: `action` is valid for reads, and the handler does nothing, hence nothing that a handler may not.
    match unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("cannot set a handler for a signal"),
    }
}

/// Sends the signal of [`survive_interruptions`] to a thread of this process. One that has ended gets none.
pub(crate) fn interrupt(tid: i32) {
    // SAFETY: takes numbers; `getpid` has no preconditions.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
}

/// Sleeps until `length` is over or a signal comes: what std offers goes on after a signal.
pub(crate) fn sleep_once(length: std::time::Duration) {
    let request = rustix::time::Timespec { tv_sec: 0, tv_nsec: length.subsec_nanos().into() };
    // Ended by a signal or by the clock, which are the same to the caller.
    let _ = rustix::thread::nanosleep(&request);
}

/// Which side of a fork we are on.
pub(crate) enum Fork {
    Parent,
    Child,
}

/// Forks the process.
///
/// Only for a process that has one thread: a lock that another thread held would stay locked in the child.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the caller has one thread, so the child may do all that the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent),
    }
}

/// Forks the process; the child's id is `pid`, which must be free. Needs `CAP_CHECKPOINT_RESTORE` or root.
///
/// The child is one of a bare system call: it must do no more than the simplest things, and end with [`exit_now`].
pub(crate) fn fork_as(pid: Pid) -> io::Result<Fork> {
    // The kernel's `struct clone_args` as of Linux 5.5: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    // set_tid, set_tid_size.
    let wanted = [pid.as_raw_nonzero().get()];
    let exit_signal = u64::try_from(libc::SIGCHLD).unwrap_or(0);
    let arguments: [u64; 10] = [0, 0, 0, 0, exit_signal, 0, 0, 0, wanted.as_ptr() as u64, 1];
    // SAFETY: the kernel reads as many bytes as we say, and one id; without a stack the child goes on with a copy of this one.
    match unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        _ => Ok(Fork::Parent),
    }
}

/// Ends the process at once, without running what was registered for its exit.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: does not return, hence nothing can observe a broken state.
    unsafe { libc::_exit(code) }
}

/// Waits for any child, which must have succeeded; returns its process id.
pub(crate) fn reap() -> Result<Pid> {
    let (pid, status) = wait(WaitOptions::empty()).context("cannot wait for a child")?.context("there is no child to wait for")?;
    if status.exit_status() != Some(0) {
        bail!("child {pid} failed ({status:?})");
    }
    Ok(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_what_the_kernel_keeps() {
        std::thread::spawn(|| {
            name_thread("a-name-longer-than-fifteen");
            assert_eq!(std::fs::read_to_string("/proc/thread-self/comm").unwrap(), "a-name-longer-t\n");
        })
        .join()
        .unwrap();
    }
}
