//! Why a thread left the CPU and is not runnable, from the state it left in and the system call it was in.

/// Counters per record; more than [`Reason::ALL`] needs, so that a masked index is always in bounds.
pub const REASON_SLOTS: usize = 16;
/// Entries of the system call table; numbers above it are classed as [`Reason::Other`].
pub const SYSCALLS: usize = 512;

/// How a system call's entry in the table is read: the reason in the low bits, and what else has to be looked at.
pub mod class {
    /// The bits that hold the [`super::Reason`].
    pub const REASON: u8 = 0x0f;
    /// epoll: counted by itself, since it is what event loops wait in.
    pub const EPOLL: u8 = 0x20;
    /// Waits for files unless its first argument, their number, is 0: then it is a timed sleep.
    pub const FILES_0: u8 = 0x40;
    /// The same with the second argument.
    pub const FILES_1: u8 = 0x80;
}

/// The reason a class stands for, given the call's first two arguments, as far as they are an `int`; `None` where they are not known.
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
    /// `TASK_UNINTERRUPTIBLE`.
    pub const UNINTERRUPTIBLE: u32 = 0x2;
    /// `__TASK_STOPPED`.
    pub const STOPPED: u32 = 0x4;
    /// `__TASK_TRACED`.
    pub const TRACED: u32 = 0x8;
    /// `TASK_DEAD`, set for the last switch of a task.
    pub const DEAD: u32 = 0x80;
    /// `TASK_WAKING`: a waker has it and is about to queue it.
    pub const WAKING: u32 = 0x200;
    /// `TASK_NEW`: forked and not queued yet.
    pub const NEW: u32 = 0x800;
}

/// What a blocked thread waits for. The discriminant is the index into the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The kernel has no way to tell (before 5.15), or the thread was asleep before tracing began.
    Unknown = 0,
    /// The global interpreter lock of a Python process.
    Gil = 1,
    /// Another futex: a lock, a condition variable, a join.
    Futex = 2,
    /// A timed sleep.
    Sleep = 3,
    /// poll, select, epoll or `io_uring`: an event loop at rest.
    Poll = 4,
    /// Reading from or writing to a pipe, socket, terminal or another file that can block.
    PipeSocket = 5,
    /// Waiting for a child process, or for a vfork child to exec.
    ChildWait = 6,
    /// Waiting for block I/O.
    Disk = 7,
    /// A page fault outside any system call.
    PageFault = 8,
    /// Stopped by a signal or a tracer.
    Stopped = 9,
    /// Any other system call, and kernel threads.
    Other = 10,
}

impl Reason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Reason; 11] = [
        Reason::Unknown,
        Reason::Gil,
        Reason::Futex,
        Reason::Sleep,
        Reason::Poll,
        Reason::PipeSocket,
        Reason::ChildWait,
        Reason::Disk,
        Reason::PageFault,
        Reason::Stopped,
        Reason::Other,
    ];

    /// The value of the `reason` label and of the key in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Unknown => "unknown",
            Reason::Gil => "gil",
            Reason::Futex => "futex",
            Reason::Sleep => "sleep",
            Reason::Poll => "poll",
            Reason::PipeSocket => "pipe_socket",
            Reason::ChildWait => "child_wait",
            Reason::Disk => "disk",
            Reason::PageFault => "page_fault",
            Reason::Stopped => "stopped",
            Reason::Other => "other",
        }
    }
}

/// The system call number that the kernel leaves in the saved registers when a task entered it another way
/// (`orig_ax` is -1 after an exception; `arch/x86/entry/entry_64.S`).
pub const NO_SYSCALL: i32 = -1;
/// Stands for the number where the kernel cannot tell which system call it was. No system call has it.
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

#[cfg(test)]
mod tests;
