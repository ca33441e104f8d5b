//! The few system calls that std does not offer. All unsafe code of this package is here.

use std::io;
use std::mem;
use std::os::fd::AsRawFd;

/// Wall clock of traces: `CLOCK_MONOTONIC` in nanoseconds, the same in all processes and in BPF programs.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec; the clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The calling thread's id in the kernel.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: takes no arguments, touches no memory of ours.
    unsafe { libc::gettid() }
}

/// Gives the calling thread a name that scheduler events carry; the kernel keeps 15 bytes.
pub(crate) fn name_thread(name: &str) {
    // A name helps the reader and nothing else depends on it: errors are of no interest.
    let _ = std::fs::write("/proc/thread-self/comm", &name.as_bytes()[..name.len().min(15)]);
}

/// The CPUs that the calling thread may use, ascending.
pub(crate) fn usable_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is valid for writes of the size given.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let all = 0..usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: every index is below CPU_SETSIZE.
    Ok(all.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Confines the calling thread to one CPU; when this returns, it runs there.
pub(crate) fn pin_to(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `cpu` comes from `usable_cpus`, hence is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is valid for reads of the size given.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
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

/// Gives the CPU to another runnable thread, if there is one.
pub(crate) fn yield_now() {
    // SAFETY: takes no arguments, touches no memory of ours.
    unsafe { libc::sched_yield() };
}

/// Context switches of the calling thread so far by the kernel's count: (voluntary, involuntary).
pub(crate) fn thread_switches() -> (u64, u64) {
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: `usage` is valid for writes; RUSAGE_THREAD is known to every Linux since 2.6.26.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    (u64::try_from(usage.ru_nvcsw).unwrap_or(0), u64::try_from(usage.ru_nivcsw).unwrap_or(0))
}

/// Which side of a fork we are on.
pub(crate) enum Fork {
    /// The parent.
    Parent,
    /// The child.
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
pub(crate) fn fork_as(pid: i32) -> io::Result<Fork> {
    // The kernel's `struct clone_args` as of Linux 5.5: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
    // set_tid, set_tid_size.
    let wanted = [pid];
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

/// Waits for any child; returns its process id and its raw wait status.
pub(crate) fn wait_any() -> io::Result<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    match unsafe { libc::waitpid(-1, &raw mut status, 0) } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok((child, status)),
    }
}

/// Points standard input, output and error to `/dev/null`, as a daemon does: nobody shall wait for them to close.
pub(crate) fn silence_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: both are open descriptors; std's handles name the streams by number and hold no state of the file.
        if unsafe { libc::dup2(null.as_raw_fd(), stream) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Makes the calling process the leader of a new session, without a terminal.
pub(crate) fn new_session() -> io::Result<()> {
    // SAFETY: takes no arguments, touches no memory of ours.
    if unsafe { libc::setsid() } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_does_not_run_backwards() {
        let first = monotonic_ns();
        assert!(first > 0);
        assert!(monotonic_ns() >= first);
    }

    #[test]
    fn pinning_leaves_one_cpu() {
        std::thread::spawn(|| {
            let last = *usable_cpus().unwrap().last().unwrap();
            pin_to(last).unwrap();
            assert_eq!(usable_cpus().unwrap(), vec![last]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn names_are_cut_to_what_the_kernel_keeps() {
        std::thread::spawn(|| {
            name_thread("a-name-longer-than-fifteen");
            assert_eq!(std::fs::read_to_string("/proc/thread-self/comm").unwrap(), "a-name-longer-t\n");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn sleeping_is_counted_as_a_voluntary_switch() {
        std::thread::spawn(|| {
            let before = thread_switches().0;
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert!(thread_switches().0 > before);
        })
        .join()
        .unwrap();
    }
}
