//! Fields of kernel structs, at offsets that the loader took from the running kernel's BTF.
//!
//! A load through a trusted pointer is a plain memory access that the verifier checks against the struct's members. The offset must
//! be a constant to it: each comes from a frozen global, read by [`Global::load`].

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_probe_read_kernel, bpf_task_pt_regs},
};
use schedscope_ebpf::{
    abi::KernelCounts,
    blocked::{NO_SYSCALL, Reason, SYSCALLS},
    params::ABSENT,
};

/// Declares the frozen globals under the names in `params`; [`ABSENT`] until the loader sets them.
macro_rules! frozen {
    ($($name:ident = $value:expr;)*) => {
        $(#[unsafe(no_mangle)] pub(crate) static $name: Global<u32> = Global::new($value);)*
    };
}

frozen! {
    TASK_PID = ABSENT;
    TASK_TGID = ABSENT;
    TASK_REAL_PARENT = ABSENT;
    TASK_GROUP_LEADER = ABSENT;
    TASK_START_TIME = ABSENT;
    TASK_COMM = ABSENT;
    TASK_STATE = ABSENT;
    TASK_ON_RQ = ABSENT;
    TASK_ON_CPU = ABSENT;
    TASK_CPU = ABSENT;
    TASK_SCHED_DELAYED = ABSENT;
    TASK_NVCSW = ABSENT;
    TASK_NIVCSW = ABSENT;
    TASK_MIGRATIONS = ABSENT;
    TASK_RUNTIME = ABSENT;
    TASK_RUN_DELAY = ABSENT;
    TASK_IOWAIT_WORD = ABSENT;
    TASK_IOWAIT_MASK = 0;
    TASK_CFS_RQ = ABSENT;
    CFS_RQ_RQ = ABSENT;
    RQ_CLOCK = ABSENT;
    RQ_NR_SWITCHES = ABSENT;
    REGS_SYSCALL = ABSENT;
    REGS_ARGUMENT_0 = ABSENT;
    REGS_ARGUMENT_1 = ABSENT;
    REGS_ARGUMENT_3 = ABSENT;
    REGS_CODE_SEGMENT = ABSENT;
    REGS_RESULT = ABSENT;
    HAS_PREV_STATE = 0;
    HAS_TASK_PT_REGS = 0;
    SYSCALL_YIELD = ABSENT;
}

/// `-ENOSYS`, with which x86-64 enters every system call (`arch/x86/entry/entry_64.S`).
const NO_RESULT: i32 = -38;

/// Blocked reason of each system call, by number.
#[unsafe(no_mangle)]
static SYSCALL_CLASS: Global<[u8; SYSCALLS]> = Global::new([Reason::Other as u8; SYSCALLS]);

/// A `struct task_struct *` that the verifier trusts.
#[derive(Clone, Copy)]
pub(crate) struct Task(*const u8);

impl Task {
    /// # Safety
    /// `task` must be an argument of a BTF-typed program, the current task, or a pointer loaded from one of these.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(task: *const u8) -> Task {
        Task(task)
    }

    /// Its address, which identifies it as long as it lives.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: &Global<u32>) -> T {
        // SAFETY: the verifier has checked that this offset holds a member of this size in the running kernel's task_struct.
        unsafe { *self.0.add(offset.load() as usize).cast::<T>() }
    }

    /// The kernel's `pid`, which user space calls the thread id. 0 for every idle task.
    #[inline(always)]
    pub(crate) fn tid(self) -> u32 {
        self.load(&TASK_PID)
    }

    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        self.load(&TASK_TGID)
    }

    /// The thread that forked it, or who took its place when that ended.
    #[inline(always)]
    pub(crate) fn parent(self) -> Task {
        // SAFETY: a pointer member of a trusted struct is trusted; `real_parent` is never null.
        unsafe { Task::from_raw(self.load(&TASK_REAL_PARENT)) }
    }

    /// The main thread of its process.
    #[inline(always)]
    pub(crate) fn leader(self) -> Task {
        // SAFETY: as in `parent`.
        unsafe { Task::from_raw(self.load(&TASK_GROUP_LEADER)) }
    }

    /// Process id of the parent.
    #[inline(always)]
    pub(crate) fn ppid(self) -> u32 {
        self.parent().tgid()
    }

    /// When it was forked, `CLOCK_MONOTONIC`; 0 where the kernel does not tell.
    #[inline(always)]
    pub(crate) fn start_ns(self) -> u64 {
        if TASK_START_TIME.load() == ABSENT { 0 } else { self.load(&TASK_START_TIME) }
    }

    /// CPU it runs on or is queued on. At `sched_migrate_task` still the one it comes from.
    #[inline(always)]
    pub(crate) fn cpu(self) -> u32 {
        self.load(&TASK_CPU)
    }

    /// The member is an `int` on older kernels and a byte on 7.2: the low byte serves both, as its values are 0 and 1.
    #[inline(always)]
    pub(crate) fn is_on_cpu(self) -> bool {
        self.load::<u8>(&TASK_ON_CPU) != 0
    }

    /// In a run queue to be picked. A task whose dequeue is delayed (6.12) is still in the tree but waits to be woken.
    #[inline(always)]
    pub(crate) fn is_queued(self) -> bool {
        // A byte on 7.2, as `on_cpu` is; its values are 0 to 2.
        let on_rq = self.load::<u8>(&TASK_ON_RQ) != 0;
        if TASK_SCHED_DELAYED.load() == ABSENT {
            return on_rq;
        }
        on_rq && self.load::<u8>(&TASK_SCHED_DELAYED) == 0
    }

    /// State on kernels whose `sched_switch` does not pass it. A concurrent waker can turn it into TASK_WAKING, never into 0.
    #[inline(always)]
    pub(crate) fn state(self) -> u32 {
        self.load(&TASK_STATE)
    }

    #[inline(always)]
    pub(crate) fn in_iowait(self) -> bool {
        if TASK_IOWAIT_WORD.load() == ABSENT {
            return false;
        }
        self.load::<u32>(&TASK_IOWAIT_WORD) & TASK_IOWAIT_MASK.load() != 0
    }

    /// The registers that it entered the kernel with: `None` where the kernel does not give them (before 5.15).
    #[inline(always)]
    pub(crate) fn registers(self) -> Option<Registers> {
        if HAS_TASK_PT_REGS.load() == 0 || REGS_SYSCALL.load() == ABSENT {
            return None;
        }
        // SAFETY: the helper takes a trusted task and returns a trusted, never null `struct pt_regs *` (kernel/trace/bpf_trace.c).
        Some(Registers(unsafe { bpf_task_pt_regs(self.0.cast_mut().cast()) } as *const u8))
    }

    /// The name; zeros if it cannot be read.
    #[inline(always)]
    pub(crate) fn read_comm(self, comm: &mut [u8; 16]) {
        // SAFETY: the destination is 16 bytes and so is the member; the helper fails softly on a bad address.
        unsafe {
            bpf_probe_read_kernel(comm.as_mut_ptr().cast(), 16, self.0.add(TASK_COMM.load() as usize).cast());
        }
    }

    /// `se.sum_exec_runtime`, up to date when the task is switched out.
    #[inline(always)]
    pub(crate) fn runtime_ns(self) -> u64 {
        self.load(&TASK_RUNTIME)
    }

    /// `sched_info.run_delay`, up to the last switch-in; `None` without `CONFIG_SCHED_INFO`.
    #[inline(always)]
    pub(crate) fn run_delay_ns(self) -> Option<u64> {
        if TASK_RUN_DELAY.load() == ABSENT { None } else { Some(self.load(&TASK_RUN_DELAY)) }
    }

    /// Clock of the run queue that the task is on, up to date in `sched_switch`; `None` without `CONFIG_FAIR_GROUP_SCHED`.
    #[inline(always)]
    pub(crate) fn rq_clock_ns(self) -> Option<u64> {
        self.load_of_rq(&RQ_CLOCK)
    }

    /// Switches of the CPU that the task is on since the host's start, this one included; `None` as for [`Self::rq_clock_ns`].
    #[inline(always)]
    pub(crate) fn rq_switches(self) -> Option<u64> {
        self.load_of_rq(&RQ_NR_SWITCHES)
    }

    #[inline(always)]
    fn load_of_rq(self, offset: &Global<u32>) -> Option<u64> {
        if TASK_CFS_RQ.load() == ABSENT || CFS_RQ_RQ.load() == ABSENT || offset.load() == ABSENT {
            return None;
        }
        let cfs_rq: *const u8 = self.load(&TASK_CFS_RQ);
        // SAFETY: pointer members of trusted structs, at offsets that the verifier checks. Every task has a `cfs_rq`, of whatever
        // class it is: `set_task_rq` in kernel/sched/sched.h.
        unsafe {
            let rq = *cfs_rq.add(CFS_RQ_RQ.load() as usize).cast::<*const u8>();
            Some(*rq.add(offset.load() as usize).cast::<u64>())
        }
    }

    /// `se.nr_migrations`.
    #[inline(always)]
    pub(crate) fn migrations(self) -> u64 {
        self.load(&TASK_MIGRATIONS)
    }

    /// The kernel's own numbers at this moment.
    #[inline(always)]
    pub(crate) fn counts(self) -> KernelCounts {
        KernelCounts {
            voluntary: self.load(&TASK_NVCSW),
            involuntary: self.load(&TASK_NIVCSW),
            migrations: self.migrations(),
            runtime_ns: self.runtime_ns(),
            run_delay_ns: self.run_delay_ns().unwrap_or(0),
        }
    }
}

/// A `struct pt_regs *` that the verifier trusts.
#[derive(Clone, Copy)]
pub(crate) struct Registers(*const u8);

impl Registers {
    #[inline(always)]
    fn load<T: Copy>(self, offset: &Global<u32>) -> T {
        // SAFETY: as in `Task::load`.
        unsafe { *self.0.add(offset.load() as usize).cast::<T>() }
    }

    /// The number of the system call, negative outside of any; `None` for a 32-bit program on x86-64, which has other numbers.
    #[inline(always)]
    pub(crate) fn syscall(self) -> Option<i32> {
        if REGS_CODE_SEGMENT.load() != ABSENT && self.load::<u16>(&REGS_CODE_SEGMENT) == USER_CODE_32 {
            return None;
        }
        // 32 bits are all of the member on aarch64 and its low half on x86-64.
        Some(self.load(&REGS_SYSCALL))
    }

    /// Whether it is inside `sched_yield`, given the system call it is in. Whoever is preempted on the way back from one still shows
    /// the call, but on x86-64 its result as well.
    #[inline(always)]
    pub(crate) fn is_yielding(self, syscall: Option<i32>) -> bool {
        let in_call = syscall == Some(SYSCALL_YIELD.load() as i32);
        in_call && (REGS_RESULT.load() == ABSENT || self.load::<i32>(&REGS_RESULT) == NO_RESULT)
    }

    /// The arguments of the system call.
    #[inline(always)]
    pub(crate) fn arguments(self) -> Option<Arguments> {
        if REGS_ARGUMENT_0.load() == ABSENT || REGS_ARGUMENT_1.load() == ABSENT || REGS_ARGUMENT_3.load() == ABSENT {
            return None;
        }
        Some(Arguments {
            first: self.load(&REGS_ARGUMENT_0),
            second: self.load(&REGS_ARGUMENT_1),
            fourth: self.load(&REGS_ARGUMENT_3),
        })
    }
}

/// `__USER32_CS` of x86-64 (`arch/x86/include/asm/segment.h`).
const USER_CODE_32: u16 = 0x23;

/// What a system call was called with, as far as anything here depends on it.
pub(crate) struct Arguments {
    pub(crate) first: u64,
    pub(crate) second: u64,
    pub(crate) fourth: u64,
}

/// Blocked reason of a system call number.
#[inline(always)]
pub(crate) fn class_of(syscall: i32) -> u8 {
    if syscall == NO_SYSCALL {
        return Reason::PageFault as u8;
    }
    let index = syscall as usize;
    if index >= SYSCALLS {
        return Reason::Other as u8;
    }
    // SAFETY: the index is in bounds; the loader wrote the table before it was frozen.
    unsafe { core::ptr::read_volatile((&raw const SYSCALL_CLASS).cast::<u8>().add(index)) }
}
