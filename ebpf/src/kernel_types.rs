//! Fields of kernel structs, at offsets that the loader took from the running kernel's BTF.
//!
//! A load through a trusted pointer is a plain memory access that the verifier checks against the struct's members. The offset must
//! be a constant to it: the loader writes it into the instruction ([`Placeholder`]).

use core::arch::asm;

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_task_pt_regs};
use schedscope_ebpf::abi::KernelCounts;
use schedscope_ebpf::blocked::{NO_SYSCALL, Reason, SYSCALLS, UNTOLD};
use schedscope_ebpf::params::{self, ABSENT, Placeholder};

/// A constant of this number in [`params`]: a placeholder in the code, which the loader fills in.
pub(crate) struct Constant<const NUMBER: u16>;

impl<const NUMBER: u16> Constant<NUMBER> {
    /// Its value.
    #[inline(always)]
    pub(crate) fn load(self) -> u32 {
        let value: u32;
        // SAFETY: one move into a register. To the compiler the value is unknown, and the same each time.
        unsafe {
            asm!("{0} = {1}", out(wreg) value, const Placeholder::MOVE + NUMBER as u32, options(pure, nomem, nostack, preserves_flags));
        }
        value
    }
}

/// Declares constants under their names in `params`.
macro_rules! constants {
    ($($name:ident)*) => {
        $(pub(crate) const $name: Constant<{ params::number_of(stringify!($name)) }> = Constant;)*
    };
}

constants! {
    TASK_PID
    TASK_TGID
    TASK_FLAGS
    TASK_REAL_PARENT
    TASK_GROUP_LEADER
    TASK_START_TIME
    TASK_COMM
    TASK_STATE
    TASK_ON_RQ
    TASK_ON_CPU
    TASK_CPU
    TASK_SCHED_DELAYED
    TASK_NVCSW
    TASK_NIVCSW
    TASK_MIGRATIONS
    TASK_RUNTIME
    TASK_RUN_DELAY
    TASK_LAST_ARRIVAL
    TASK_LAST_QUEUED
    TASK_IOWAIT_WORD
    TASK_IOWAIT_MASK
    TASK_CFS_RQ
    CFS_RQ_RQ
    RQ_CLOCK
    RQ_NR_SWITCHES
    RQ_CLOCK_FLAGS
    REGS_SYSCALL
    REGS_ARGUMENT_0
    REGS_ARGUMENT_1
    REGS_ARGUMENT_3
    REGS_CODE_SEGMENT
    REGS_RESULT
    TASK_MM
    MM_EXE_FILE
    FILE_DENTRY
    FILE_MOUNT
    DENTRY_PARENT
    DENTRY_NAME
    VFSMOUNT_ROOT
    MOUNT_VFSMOUNT
    MOUNT_PARENT
    MOUNT_POINT
    TASK_CGROUPS
    CSS_SET_UNIFIED
    CSS_SET_LINKS
    CGROUP_LINK_NEXT
    CGROUP_LINK_CGROUP
    CGROUP_ROOT
    CGROUP_NODE
    ROOT_HIERARCHY
    NODE_ID
    NODE_NAME
    NODE_PARENT
    HAS_PREV_STATE
    HAS_TASK_PT_REGS
    HAS_KERNEL_CODE
    SYSCALL_YIELD
    WORKLOADS
    FIRST_PROVISIONAL
    SYSTEMD_HIERARCHY
    TASK_SLOTS
    THREAD_CPUS
    HAS_WAIT_ACCOUNTS
}

/// A type that a member of a kernel struct can have.
trait Member: Copy {
    /// # Safety
    /// The verifier must know `base` as a pointer to the struct that the constant is an offset in; it refuses any other member.
    unsafe fn load<const NUMBER: u16>(base: *const u8) -> Self;
}

macro_rules! member {
    ($($type:ty: $size:literal)*) => {$(
        impl Member for $type {
            #[inline(always)]
            unsafe fn load<const NUMBER: u16>(base: *const u8) -> Self {
                let value: u64;
                // SAFETY: one load, which the caller vouches for.
                unsafe {
                    asm!(
                        concat!("{0} = *(", $size, " *)({1} + {2})"), out(reg) value, in(reg) base,
                        const Placeholder::LOAD + NUMBER, options(pure, readonly, nostack, preserves_flags),
                    );
                }
                value as $type
            }
        }
    )*};
}

member! {
    u8: "u8"
    u16: "u16"
    u32: "u32"
    i32: "u32"
    u64: "u64"
    *const u8: "u64"
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
    fn load<T: Member, const NUMBER: u16>(self, _offset: Constant<NUMBER>) -> T {
        // SAFETY: the verifier has checked that this offset holds a member of this size in the running kernel's task_struct.
        unsafe { T::load::<NUMBER>(self.0) }
    }

    /// The kernel's `pid`, which user space calls the thread id. 0 for every idle task.
    #[inline(always)]
    pub(crate) fn tid(self) -> u32 {
        self.load(TASK_PID)
    }

    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        self.load(TASK_TGID)
    }

    /// The thread that forked it, or who took its place when that ended.
    #[inline(always)]
    pub(crate) fn parent(self) -> Task {
        // SAFETY: a pointer member of a trusted struct is trusted; `real_parent` is never null.
        unsafe { Task::from_raw(self.load(TASK_REAL_PARENT)) }
    }

    /// The main thread of its process.
    #[inline(always)]
    pub(crate) fn leader(self) -> Task {
        // SAFETY: as in `parent`.
        unsafe { Task::from_raw(self.load(TASK_GROUP_LEADER)) }
    }

    /// Process id of the parent.
    #[inline(always)]
    pub(crate) fn ppid(self) -> u32 {
        self.parent().tgid()
    }

    /// When it was forked, `CLOCK_MONOTONIC`; 0 where the kernel does not tell.
    #[inline(always)]
    pub(crate) fn start_ns(self) -> u64 {
        if TASK_START_TIME.load() == ABSENT { 0 } else { self.load(TASK_START_TIME) }
    }

    /// CPU it runs on or is queued on. At `sched_migrate_task` still the one it comes from.
    #[inline(always)]
    pub(crate) fn cpu(self) -> u32 {
        self.load(TASK_CPU)
    }

    /// The member is an `int` on older kernels and a byte on 7.2: the low byte serves both, as its values are 0 and 1.
    #[inline(always)]
    pub(crate) fn is_on_cpu(self) -> bool {
        self.load::<u8, _>(TASK_ON_CPU) != 0
    }

    /// In a run queue to be picked. A task whose dequeue is delayed (6.12) is still in the tree but waits to be woken.
    #[inline(always)]
    pub(crate) fn is_queued(self) -> bool {
        // A byte on 7.2, as `on_cpu` is; its values are 0 to 2.
        let on_rq = self.load::<u8, _>(TASK_ON_RQ) != 0;
        if TASK_SCHED_DELAYED.load() == ABSENT {
            return on_rq;
        }
        on_rq && self.load::<u8, _>(TASK_SCHED_DELAYED) == 0
    }

    /// State on kernels whose `sched_switch` does not pass it. A concurrent waker can turn it into TASK_WAKING, never into 0.
    #[inline(always)]
    pub(crate) fn state(self) -> u32 {
        self.load(TASK_STATE)
    }

    #[inline(always)]
    pub(crate) fn in_iowait(self) -> bool {
        if TASK_IOWAIT_WORD.load() == ABSENT {
            return false;
        }
        self.load::<u32, _>(TASK_IOWAIT_WORD) & TASK_IOWAIT_MASK.load() != 0
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
        self.load(TASK_RUNTIME)
    }

    /// `sched_info.run_delay`, up to the last switch-in; `None` without `CONFIG_SCHED_INFO`.
    #[inline(always)]
    pub(crate) fn run_delay_ns(self) -> Option<u64> {
        if TASK_RUN_DELAY.load() == ABSENT { None } else { Some(self.load(TASK_RUN_DELAY)) }
    }

    /// `sched_info.last_arrival`, the last switch-in that the kernel counted; 0 without `CONFIG_SCHED_INFO`.
    #[inline(always)]
    pub(crate) fn last_arrival_ns(self) -> u64 {
        if TASK_LAST_ARRIVAL.load() == ABSENT { 0 } else { self.load(TASK_LAST_ARRIVAL) }
    }

    /// How long the kernel has had it queued by its own stamp (`sched_info.last_queued`), given the clock of its run queue; `None` if it
    /// has no stamp, or without `CONFIG_SCHED_INFO`.
    #[inline(always)]
    pub(crate) fn queued_for_ns(self, rq_clock_ns: Option<u64>) -> Option<u64> {
        if TASK_LAST_QUEUED.load() == ABSENT {
            return None;
        }
        let stamp_ns: u64 = self.load(TASK_LAST_QUEUED);
        if stamp_ns == 0 { None } else { Some(rq_clock_ns?.saturating_sub(stamp_ns)) }
    }

    /// Whether the kernel made it as a thread of a process for its own work: `PF_IO_WORKER` since 5.12, `PF_USER_WORKER` since 6.4
    /// (`include/linux/sched.h`). Older kernels do that work in kernel threads, which are no threads of the process.
    #[inline(always)]
    pub(crate) fn is_user_worker(self) -> bool {
        self.load::<u32, _>(TASK_FLAGS) & (PF_IO_WORKER | PF_USER_WORKER) != 0
    }

    /// Asleep, and still on a queue.
    #[inline(always)]
    pub(crate) fn sleeps_queued(self) -> bool {
        TASK_SCHED_DELAYED.load() != ABSENT && self.load::<u8, _>(TASK_SCHED_DELAYED) != 0
    }

    /// Clock of the run queue that the task is on, up to date in `sched_switch`; `None` without `CONFIG_FAIR_GROUP_SCHED`.
    #[inline(always)]
    pub(crate) fn rq_clock_ns(self) -> Option<u64> {
        self.load_of_rq(RQ_CLOCK)
    }

    /// Switches of the CPU that the task is on since the host's start, this one included; `None` as for [`Self::rq_clock_ns`].
    #[inline(always)]
    pub(crate) fn rq_switches(self) -> Option<u64> {
        self.load_of_rq(RQ_NR_SWITCHES)
    }

    #[inline(always)]
    fn load_of_rq<const NUMBER: u16>(self, offset: Constant<NUMBER>) -> Option<u64> {
        if TASK_CFS_RQ.load() == ABSENT || CFS_RQ_RQ.load() == ABSENT || offset.load() == ABSENT {
            return None;
        }
        let cfs_rq: *const u8 = self.load(TASK_CFS_RQ);
        // SAFETY: pointer members of trusted structs, at offsets that the verifier checks. Every task has a `cfs_rq`, of whatever
        // class it is: `set_task_rq` in kernel/sched/sched.h.
        unsafe {
            let rq = <*const u8>::load::<{ params::number_of("CFS_RQ_RQ") }>(cfs_rq);
            Some(u64::load::<NUMBER>(rq))
        }
    }

    /// `se.nr_migrations`.
    #[inline(always)]
    pub(crate) fn migrations(self) -> u64 {
        self.load(TASK_MIGRATIONS)
    }

    /// The kernel's own numbers at this moment.
    #[inline(always)]
    pub(crate) fn counts(self) -> KernelCounts {
        KernelCounts {
            voluntary: self.load(TASK_NVCSW),
            involuntary: self.load(TASK_NIVCSW),
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
    fn load<T: Member, const NUMBER: u16>(self, _offset: Constant<NUMBER>) -> T {
        // SAFETY: as in `Task::load`.
        unsafe { T::load::<NUMBER>(self.0) }
    }

    /// The number of the system call, negative outside of any; [`UNTOLD`] for a 32-bit program on x86-64, which has other numbers.
    #[inline(always)]
    pub(crate) fn syscall(self) -> i32 {
        if REGS_CODE_SEGMENT.load() != ABSENT && self.load::<u16, _>(REGS_CODE_SEGMENT) == USER_CODE_32 {
            return UNTOLD;
        }
        // 32 bits are all of the member on aarch64 and its low half on x86-64.
        self.load(REGS_SYSCALL)
    }

    /// Whether it is inside `sched_yield`, given the system call it is in. Whoever is preempted on the way back from one still shows
    /// the call, but on x86-64 its result as well.
    #[inline(always)]
    pub(crate) fn is_yielding(self, syscall: i32) -> bool {
        let in_call = syscall == SYSCALL_YIELD.load() as i32;
        in_call && (REGS_RESULT.load() == ABSENT || self.load::<i32, _>(REGS_RESULT) == NO_RESULT)
    }

    /// The arguments of the system call.
    #[inline(always)]
    pub(crate) fn arguments(self) -> Option<Arguments> {
        if REGS_ARGUMENT_0.load() == ABSENT || REGS_ARGUMENT_1.load() == ABSENT || REGS_ARGUMENT_3.load() == ABSENT {
            return None;
        }
        Some(Arguments {
            first: self.load(REGS_ARGUMENT_0),
            second: self.load(REGS_ARGUMENT_1),
            fourth: self.load(REGS_ARGUMENT_3),
        })
    }
}

const PF_IO_WORKER: u32 = 0x10;
const PF_USER_WORKER: u32 = 0x4000;

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
    let index = syscall as u32 as usize;
    if index >= SYSCALLS {
        return match syscall {
            NO_SYSCALL => Reason::PageFault as u8,
            UNTOLD => Reason::Unknown as u8,
            _ => Reason::Other as u8,
        };
    }
    // SAFETY: the index is in bounds; the loader wrote the table before it was frozen.
    unsafe { core::ptr::read_volatile((&raw const SYSCALL_CLASS).cast::<u8>().add(index)) }
}
