//! What a blocked thread waits for, from the state it left its CPU in and the system call it was in.

use crate::values;

/// Counters per record; more than [`Reason::ALL`] needs, so that a masked index is always in bounds.
pub const REASON_SLOTS: usize = 16;
/// Entries of the system call table; numbers above it are classed as [`Reason::Other`].
pub const SYSCALLS: usize = 512;

/// A system call's entry in the table: the reason in the low bits, and flags for the arguments that have to be looked at.
pub mod class {
    /// The bits that hold the [`super::Reason`].
    pub const REASON: u8 = 0x0f;
    /// Uses or changes the address space, and locks it for that.
    pub const MEMORY: u8 = 0x10;
    /// Counted separately: of [`super::Reason::Poll`] epoll, which event loops wait in; of [`super::Reason::Futex`] waits with a time
    /// limit, whose address is the fourth argument.
    pub const COUNTED: u8 = 0x20;
    /// Waits for files unless its first argument, their number, is 0: then it is a timed sleep.
    pub const FILES_0: u8 = 0x40;
    /// The same with the second argument.
    pub const FILES_1: u8 = 0x80;
    /// Any of those that ask for a look at the arguments.
    pub const ARGUMENTS: u8 = COUNTED | FILES_0 | FILES_1;
}

/// The reason that a class stands for, given the call's first two arguments as 32-bit numbers; `None` where they are unknown.
///
/// `select` and `poll` on no file at all are an old way to sleep: CPython's `time.sleep` before 3.11 is one.
#[inline(always)]
pub fn reason_of_class(class: u8, arguments: Option<(u32, u32)>) -> u8 {
    let files = match arguments {
        Some((files, _)) if class & class::FILES_0 != 0 => files,
        Some((_, files)) if class & class::FILES_1 != 0 => files,
        _ => 1,
    };
    if files == 0 { Reason::Sleep as u8 } else { class & class::REASON }
}

/// Bits of the task state, from the kernel's `include/linux/sched.h`; these have not changed since 4.14.
pub mod state {
    /// `TASK_INTERRUPTIBLE`.
    pub const INTERRUPTIBLE: u32 = 0x1;
    /// `TASK_UNINTERRUPTIBLE`.
    pub const UNINTERRUPTIBLE: u32 = 0x2;
    /// `__TASK_STOPPED`.
    pub const STOPPED: u32 = 0x4;
    /// `__TASK_TRACED`.
    pub const TRACED: u32 = 0x8;
    /// `TASK_DEAD`, set for the last switch of a task.
    pub const DEAD: u32 = 0x80;
    /// `TASK_WAKING`: it has been woken and is about to be queued.
    pub const WAKING: u32 = 0x200;
    /// `TASK_NOLOAD`: set with `TASK_UNINTERRUPTIBLE` by kernel threads that have nothing to do.
    pub const NOLOAD: u32 = 0x400;
    /// `TASK_NEW`: forked and not queued yet.
    pub const NEW: u32 = 0x800;
}

values! {
    /// What a blocked thread waits for. The value indexes the counters.
    #[derive(PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Reason {
        /// The kernel cannot tell: before Linux 5.15, and for 32-bit programs.
        Unknown = "unknown",
        /// The global interpreter lock of a Python process.
        Gil = "gil",
        /// A lock, a condition variable, a join: any other futex, a semaphore, a lock on a file.
        Futex = "futex",
        /// A timed sleep.
        Sleep = "sleep",
        /// poll, select, epoll or `io_uring`: an event loop at rest.
        Poll = "poll",
        /// Reading from or writing to a pipe, socket, terminal or another file that can block.
        PipeSocket = "pipe_socket",
        /// Waiting for a child process, or for a vfork child to exec.
        ChildWait = "child_wait",
        /// Waiting for block I/O.
        Disk = "disk",
        /// A page fault outside any system call.
        PageFault = "page_fault",
        /// The lock of the address space, which mmap, munmap and page faults of all threads of a process share.
        MmapLock = "mmap_lock",
        /// Another lock inside the kernel: a reader-writer semaphore, a mutex, a semaphore.
        KernelLock = "kernel_lock",
        /// Stopped by a signal or a tracer.
        Stopped = "stopped",
        /// Any other system call, and kernel threads.
        Other = "other",
    }
}

/// The system call number that the kernel leaves in the saved registers when a task entered it another way
/// (`orig_ax` is -1 after an exception; `arch/x86/entry/entry_64.S`).
pub const NO_SYSCALL: i32 = -1;
/// Takes the place of the number where the kernel cannot tell which system call it was. No system call has this number.
pub const UNTOLD: i32 = i32::MIN;

/// The reason a thread blocked, from the state of its switch-out and the class of its system call.
///
/// The class is that of [`Reason::Unknown`] where the kernel cannot tell which system call it was. `in_iowait` is the task's own
/// flag, set around waits for block I/O.
#[inline(always)]
pub fn classify(prev_state: u32, in_iowait: bool, syscall_class: u8) -> u8 {
    if prev_state & (state::STOPPED | state::TRACED) != 0 {
        Reason::Stopped as u8
    } else if prev_state & state::UNINTERRUPTIBLE != 0 && in_iowait && syscall_class != Reason::PageFault as u8 {
        Reason::Disk as u8
    } else {
        syscall_class
    }
}

/// Whether a thread may have blocked at a lock inside the kernel: only then is its stack looked at. A wait for a lock that a signal can
/// end is not looked for; nearly all waits for other things are of that kind.
#[inline(always)]
pub fn may_be_at_kernel_lock(prev_state: u32, in_iowait: bool) -> bool {
    prev_state & (state::UNINTERRUPTIBLE | state::STOPPED | state::TRACED | state::NOLOAD) == state::UNINTERRUPTIBLE && !in_iowait
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_goes_before_system_call() {
        let poll = Reason::Poll as u8;
        assert_eq!(classify(state::STOPPED, false, poll), Reason::Stopped as u8);
        assert_eq!(classify(state::TRACED, false, Reason::Unknown as u8), Reason::Stopped as u8);
        assert_eq!(classify(state::UNINTERRUPTIBLE, true, Reason::PipeSocket as u8), Reason::Disk as u8);
        assert_eq!(classify(state::UNINTERRUPTIBLE, true, Reason::PageFault as u8), Reason::PageFault as u8);
        assert_eq!(classify(1, true, poll), Reason::Poll as u8);
        assert_eq!(classify(1, false, Reason::Unknown as u8), Reason::Unknown as u8);
    }

    #[test]
    fn the_disk_is_waited_for_without_interruption_and_in_iowait() {
        let read = Reason::PipeSocket as u8;
        assert_eq!(classify(state::UNINTERRUPTIBLE, false, read), Reason::PipeSocket as u8);
        assert_eq!(classify(state::UNINTERRUPTIBLE, true, Reason::Unknown as u8), Reason::Disk as u8);
        // Other bits may be set beside the ones that matter: TASK_NOLOAD, TASK_WAKEKILL.
        assert_eq!(classify(0x400 | state::UNINTERRUPTIBLE, true, read), Reason::Disk as u8);
        assert_eq!(classify(0x100 | state::STOPPED, true, read), Reason::Stopped as u8);
    }

    #[test]
    fn locks_are_looked_for_where_nothing_can_interrupt_and_no_disk_is_waited_for() {
        assert!(may_be_at_kernel_lock(state::UNINTERRUPTIBLE, false));
        // TASK_KILLABLE.
        assert!(may_be_at_kernel_lock(0x100 | state::UNINTERRUPTIBLE, false));
        assert!(!may_be_at_kernel_lock(state::UNINTERRUPTIBLE, true));
        // The second is TASK_IDLE.
        for state in
            [state::INTERRUPTIBLE, state::UNINTERRUPTIBLE | state::NOLOAD, state::STOPPED, state::TRACED, 0x100 | state::STOPPED]
        {
            assert!(!may_be_at_kernel_lock(state, false), "{state:#x}");
        }
    }

    #[test]
    fn polling_nothing_is_sleeping() {
        let poll = Reason::Poll as u8;
        assert_eq!(reason_of_class(poll | class::FILES_0, Some((0, 7))), Reason::Sleep as u8);
        assert_eq!(reason_of_class(poll | class::FILES_0, Some((3, 0))), poll);
        assert_eq!(reason_of_class(poll | class::FILES_1, Some((7, 0))), Reason::Sleep as u8);
        assert_eq!(reason_of_class(poll | class::FILES_1, None), poll);
        assert_eq!(reason_of_class(poll | class::COUNTED, Some((0, 0))), poll);
        assert!(Reason::ALL.len() <= REASON_SLOTS && Reason::ALL.iter().all(|reason| *reason as u8 & !class::REASON == 0));
    }
}
