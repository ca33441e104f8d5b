//! Records that both sides map, and the names under which they find each other.
//!
//! All records are plain integers without padding, sized in whole cache lines: maps are memory-mapped arrays with one bank per
//! CPU, so no CPU writes a line that another writes on the hot path.

use core::mem::{offset_of, size_of};

use crate::blocked::REASON_SLOTS;
use crate::bucket::BUCKETS;
use crate::distance::Distance;
use crate::gil::{self, AddressRange};
use crate::kernel_stack::Function;
use crate::loss::LOSS_SLOTS;
use crate::residual::Figures;
use crate::switch_clock::SwitchClock;
use crate::task_clock::TaskClock;
use crate::values;
use crate::wait_account::WaitAccount;

/// Names of the BPF programs: each is the kernel hook it is attached to, except the iterator.
pub mod program {
    /// A context switch: closes one interval of each of the two threads and opens the next.
    pub const SCHED_SWITCH: &str = "sched_switch";
    /// A blocked task becomes runnable.
    pub const SCHED_WAKING: &str = "sched_waking";
    /// A forked task becomes runnable.
    pub const SCHED_WAKEUP_NEW: &str = "sched_wakeup_new";
    /// A task moves to another CPU.
    pub const SCHED_MIGRATE_TASK: &str = "sched_migrate_task";
    /// A task forks: the child inherits its workload.
    pub const SCHED_PROCESS_FORK: &str = "sched_process_fork";
    /// A process execs: the thread that does so takes over its leader's pid.
    pub const SCHED_PROCESS_EXEC: &str = "sched_process_exec";
    /// A thread begins to end: from here on other counters no longer follow it.
    pub const SCHED_PROCESS_EXIT: &str = "sched_process_exit";
    /// A task is freed, and its slot with it.
    pub const SCHED_PROCESS_FREE: &str = "sched_process_free";
    /// Task iterator: registers threads that were alive before the programs were attached.
    pub const SEED_TASKS: &str = "seed_tasks";

    /// Empty programs, each with the hook it is attached to: their run time is what the kernel's metering itself costs.
    pub const METERS: [(&str, &str); 2] = [("meter_switch", SCHED_SWITCH), ("meter_waking", SCHED_WAKING)];

    /// A woken task has been queued. Attached only while figures are verified.
    pub const SCHED_WAKEUP: &str = "sched_wakeup";

    /// Looks now and then, on each CPU, whether the thread there waits for a lock inside the kernel without sleeping. Attached to the CPU's
    /// clock, only for a run.
    pub const SAMPLE_CPU: &str = "sample_cpu";

    /// Every program attached to a tracepoint of the same name.
    pub const HOOKS: [&str; 8] = [
        SCHED_SWITCH,
        SCHED_WAKING,
        SCHED_WAKEUP_NEW,
        SCHED_MIGRATE_TASK,
        SCHED_PROCESS_FORK,
        SCHED_PROCESS_EXEC,
        SCHED_PROCESS_EXIT,
        SCHED_PROCESS_FREE,
    ];
}

/// Names of the BPF maps, at most 15 characters.
pub mod map {
    /// `Array<[u32; PIDS_PER_ENTRY]>` by pid: the slot of each traced thread, 0 for none.
    pub const SLOT_OF_PID: &str = "SLOT_OF_PID";
    /// `HashMap<u64, u32>` by task address: the same for threads whose pid was changed by an exec.
    pub const SLOT_OF_TASK: &str = "SLOT_OF_TASK";
    /// `Array<TaskRecord>` by slot; slot 0 is never used.
    pub const TASKS: &str = "TASKS";
    /// `Stack<u32>`: free slots.
    pub const FREE_SLOTS: &str = "FREE_SLOTS";
    /// `Queue<u32>`: slots of ended threads, oldest first, until user space has read them.
    pub const DEAD_SLOTS: &str = "DEAD_SLOTS";
    /// `Array<Cell>` by CPU and workload.
    pub const CELLS: &str = "CELLS";
    /// `Array<CpuRecord>` by CPU.
    pub const CPUS: &str = "CPUS";
    /// `Array<u64>` by CPU and slot: on-CPU nanoseconds of each thread on each CPU.
    pub const THREAD_CPU: &str = "THREAD_CPU";
    /// `Array<CpuPlace>` by CPU.
    pub const PLACES: &str = "PLACES";
    /// `HashMap<u32, u32>` by tgid: the workload to which the iterator assigns the threads of a process.
    pub const SEED_TGIDS: &str = "SEED_TGIDS";

    /// `Array<WaitAccount>` by slot while figures are verified, else one entry.
    pub const WAIT_ACCOUNTS: &str = "WAIT_ACCOUNTS";

    /// `Array<Residuals>`, one entry: what the iterator found when it compared waiting threads with the kernel.
    pub const WAITING: &str = "WAITING";

    /// `HashMap<ExecKey, Owner>`: where a process belongs that execs into this. The programs add provisional owners, user space the
    /// final ones.
    pub const OWNERS: &str = "OWNERS";
    /// `Array<Provisional>`: what stands behind each provisional workload.
    pub const PROVISIONALS: &str = "PROVISIONALS";
    /// `Stack<u32>`: provisional workloads that nobody uses, by their index in `PROVISIONALS`.
    pub const FREE_PROVISION: &str = "FREE_PROVISION";
    /// `Array<ExecKeyDraft>` by CPU: where the programs put a key together.
    pub const EXEC_KEYS: &str = "EXEC_KEYS";
    /// `Array<u64>` by two workloads: processes that an exec has brought into the first from the second, after one exec at least.
    pub const ARRIVALS: &str = "ARRIVALS";

    /// `Array<Functions>`, one entry: where the kernel's functions are that show what a thread waits for. Written before the programs are
    /// attached.
    pub const KERNEL_CODE: &str = "KERNEL_CODE";

    /// Every map that we name; the compiler adds `.rodata`.
    pub const ALL: [&str; 18] = [
        SLOT_OF_PID,
        SLOT_OF_TASK,
        TASKS,
        FREE_SLOTS,
        DEAD_SLOTS,
        CELLS,
        CPUS,
        THREAD_CPU,
        PLACES,
        SEED_TGIDS,
        WAIT_ACCOUNTS,
        WAITING,
        OWNERS,
        PROVISIONALS,
        FREE_PROVISION,
        EXEC_KEYS,
        ARRIVALS,
        KERNEL_CODE,
    ];
}

/// Key of `SEED_TGIDS` that stands for every process not named in it: no process has tgid 0.
pub const SEED_EVERY: u32 = 0;
/// Key of `SEED_TGIDS` that is set once the first listing is over: the fork of a thread found after that was not seen.
pub const SEED_DONE: u32 = u32::MAX;

/// Stands for the task's address in a record that user space has made for a thread found in `/proc`, until the thread's first event
/// claims the record. Only where no task iterator runs.
pub const OFFERED: u64 = 1;

/// Pids share an entry of `SLOT_OF_PID` because the kernel rounds entries up to eight bytes.
pub const PIDS_PER_ENTRY: usize = 2;

/// CPU time from one sample of a CPU to the next. No multiple of a tick's length, so that what is done at ticks is not seen more often than
/// it is.
pub const SAMPLE_PERIOD_NS: u64 = 4_700_000;

/// What the kernel itself keeps about a thread, read from its `task_struct`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct KernelCounts {
    /// `nvcsw`.
    pub voluntary: u64,
    /// `nivcsw`.
    pub involuntary: u64,
    /// `se.nr_migrations`.
    pub migrations: u64,
    /// `se.sum_exec_runtime`.
    pub runtime_ns: u64,
    /// `sched_info.run_delay`; 0 without `CONFIG_SCHED_INFO`.
    pub run_delay_ns: u64,
}

/// One traced thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct TaskRecord {
    /// Odd while `sched_switch` writes the record: a reader that finds it odd or changed reads again.
    pub sequence: u32,
    /// Index into the cells of each CPU. Written by user space when it relabels a process.
    pub workload: u32,
    /// Address of the `task_struct`: tells this thread from a later one with the same pid. 0 in an unused slot, or [`OFFERED`].
    pub task: u64,
    /// See [`TaskClock`].
    pub clock: TaskClock,
    /// The kernel's `sum_exec_runtime` at the last switch-out.
    pub runtime_at_departure_ns: u64,
    /// What it waits for while blocked: a [`crate::blocked::Reason`].
    pub reason: u32,
    /// Thread id.
    pub tid: u32,
    /// Closed time on a CPU.
    pub on_cpu_ns: u64,
    /// Closed time runnable after a wake-up.
    pub wakeup_wait_ns: u64,
    /// Closed time runnable after losing the CPU.
    pub preempt_wait_ns: u64,
    /// Voluntary switches, by the kernel's rule for `nvcsw`.
    pub voluntary: u64,
    /// Involuntary switches (`nivcsw`) other than yields.
    pub preempted: u64,
    /// Involuntary switches (`nivcsw`) in `sched_yield`.
    pub yielded: u64,
    /// The kernel's `nr_migrations` if no migration was missed.
    pub migrations_expected: u64,
    /// The kernel's `run_delay` when it last blocked.
    pub run_delay_at_departure_ns: u64,
    /// Of [`Self::wakeup_wait_ns`], the time until the kernel had put the thread in a run queue.
    pub transit_ns: u64,
    /// Of that, what followed waits for an interpreter's lock.
    pub gil_transit_ns: u64,
    /// Closed time blocked, by reason.
    pub blocked_ns: [u64; REASON_SLOTS],
    /// When its life began, or its tracing if it was alive before; `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// Migrations by [`Cause`].
    pub migrations: [u64; 2],
    /// Process id.
    pub tgid: u32,
    /// The parent's process id when the thread was forked or seeded.
    pub ppid: u32,
    /// `exec` calls of this thread; user space labels the process anew when it changes.
    pub execs: u32,
    /// The phase found when it was seeded; [`crate::task_clock::Phase::New`] for a thread forked under observation.
    pub seeded_as: u16,
    /// [`Owner::identity`] of the program that its process was found to run at its last exec; 0 if unknown. Inherited through fork.
    pub identity: u16,
    /// The kernel's numbers when tracing of the thread began.
    pub kernel_before: KernelCounts,
    /// The kernel's numbers at the thread's last switch.
    pub kernel_after: KernelCounts,
    /// Name at the fork, the last exec or the end, whichever was last. Not always terminated, not always UTF-8.
    pub comm: [u8; 16],
    /// What we had counted when the thread began to end, its on-CPU time with the open interval; all 0 before that.
    pub at_exit: Figures,
    /// The number of the thread's switches, plus one, at its last migration; 0 before the first. That number stands still while it waits.
    pub switches_at_migration: u32,
    /// Migrations beyond the first between two runs: a counter that looks only when a thread gets a CPU misses them.
    pub migrations_again: u32,
    /// Migrations whose events were not seen.
    pub migrations_unseen: u64,
    /// Where its process keeps the locks of its Python interpreters. Written by user space, inherited through fork, cleared at exec.
    pub gil: [AddressRange; gil::RANGES],
    /// Times it blocked in epoll.
    pub epoll_waits: u64,
    /// Times it blocked on a futex inside [`Self::gil`], for any [`gil::GilWait`].
    pub gil_waits: u64,
    /// Of these, waits after a run in which it held the lock, not those in which it only asked for it again.
    pub gil_turns: u64,
    /// Of these, waits for another thread to take the lock, which it had handed over because that thread asked. If that thread takes it
    /// at once, there is no such wait.
    pub gil_handoffs: u64,
    /// Switch interval of its last wait for the lock, in microseconds; 0 if unknown.
    pub gil_interval_us: u32,
    /// Times it blocked on another futex than a GIL's with a time limit; starts again after 2^32.
    pub timed_waits: u32,
    /// [`Self::on_cpu_ns`] when it last blocked there.
    pub on_cpu_at_gil_ns: u64,
    /// Samples that found it on a CPU and waiting for a lock inside the kernel: [`program::SAMPLE_CPU`]. Starts again after 2^32, which are
    /// months.
    pub samples_at_locks: u32,
    /// Samples that found it in its own code beside an instruction by which a program says that it waits for another thread.
    pub samples_pausing: u32,
}

/// Room for the path of an executable in an [`ExecKey`], which is as large as the key of a map may be.
pub const EXE_BYTES: usize = 464;
/// Longest name in a path, with the zero that ends it.
pub const COMPONENT_BYTES: usize = 256;
/// Room for the path of a cgroup.
pub const CGROUP_BYTES: usize = 512;
/// Names, and for an executable mounts, after which the kernel side goes no further along a path; bounds a loop for the verifier.
pub const PATH_STEPS: u32 = 40;

/// What tells at an exec which workload a process belongs to. Two processes with equal keys belong to the same one.
///
/// Paths are written from their end on, each name ended by a zero, as the kernel's structs lead: `/usr/bin/env` is
/// `env 0 bin 0 usr 0`. What is left of the room is zeros, since all bytes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ExecKey {
    /// The kernel's id of its cgroup, unique in the hierarchy.
    pub cgroup_id: u64,
    /// The hierarchy that the cgroup is of: 0 for the unified one.
    pub hierarchy: u64,
    /// Name of the main thread.
    pub comm: [u8; 16],
    /// Path of the executable in its mount namespace.
    pub exe: [u8; EXE_BYTES],
}

impl Default for ExecKey {
    fn default() -> Self {
        ExecKey { cgroup_id: 0, hierarchy: 0, comm: [0; 16], exe: [0; EXE_BYTES] }
    }
}

/// Where a key is put together: the last name of a path may reach beyond the room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExecKeyDraft {
    /// The key.
    pub key: ExecKey,
    /// What does not fit, and is then not used.
    pub beyond: [u8; COMPONENT_BYTES],
    /// Bytes of the path so far.
    pub length: u64,
    /// The next name in a path is that of this `dentry`, or of this cgroup's node.
    pub at: u64,
    /// The mount in which that `dentry` was reached.
    pub vfsmount: u64,
}

/// Where processes belong that run one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Owner {
    /// Index into the cells of each CPU.
    pub workload: u32,
    /// User space's number for the key, which ends up in [`TaskRecord::identity`]; 0 while the workload is provisional.
    pub identity: u32,
}

/// A workload that the programs have opened for a program which user space has not named yet. User space adds its counters to those
/// of the workload that the name leads to, moves its threads there, and hands it back as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Provisional {
    /// Not 0 once the rest is written.
    pub in_use: u64,
    /// The program.
    pub key: ExecKey,
    /// Path of its cgroup, written like that of the executable; without its beginning if it is too long.
    pub cgroup: [u8; CGROUP_BYTES],
    /// As [`ExecKeyDraft::beyond`].
    pub beyond: [u8; COMPONENT_BYTES],
}

impl Default for Provisional {
    fn default() -> Self {
        Provisional { in_use: 0, key: ExecKey::default(), cgroup: [0; CGROUP_BYTES], beyond: [0; COMPONENT_BYTES] }
    }
}

values! {
    /// Why a thread moved to another CPU.
    #[repr(usize)]
    pub enum Cause {
        /// The wake-up chose another CPU.
        AtWakeup = "at_wakeup",
        /// Moved while it was in a run queue, or between two switches.
        WhileQueued = "while_queued",
    }
}

/// Distribution of one kind of interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Histogram {
    /// Sum of the observations.
    pub sum_ns: u64,
    /// Largest observation.
    pub max_ns: u64,
    /// Observations by [`crate::bucket::index_of`].
    pub counts: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { sum_ns: 0, max_ns: 0, counts: [0; BUCKETS] }
    }
}

/// What one CPU saw of one workload. Only that CPU writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Cell {
    /// Closed time on this CPU.
    pub on_cpu_ns: u64,
    /// Closed time runnable after a wake-up, charged where the thread got its CPU.
    pub wakeup_wait_ns: u64,
    /// Closed time runnable after losing the CPU.
    pub preempt_wait_ns: u64,
    /// Of [`Self::wakeup_wait_ns`], the time until the kernel had put the thread in a run queue.
    pub transit_ns: u64,
    /// Of that, what followed waits for an interpreter's lock.
    pub gil_transit_ns: u64,
    /// Voluntary switches, by the kernel's rule for `nvcsw`.
    pub voluntary: u64,
    /// Involuntary switches (`nivcsw`) other than yields.
    pub preempted: u64,
    /// Involuntary switches (`nivcsw`) in `sched_yield`.
    pub yielded: u64,
    /// Closed time blocked, by reason.
    pub blocked_ns: [u64; REASON_SLOTS],
    /// Migrations by [`Cause`] and [`Distance`], counted where `set_task_cpu` ran.
    pub migrations: [[u64; Distance::ALL.len()]; 2],
    /// Threads that started here, by a fork or by an exec.
    pub threads_started: u64,
    /// Of these, main threads of a process. Where the programs decide at an exec, a forked process is counted at its first exec, or at its
    /// end if it has called none.
    pub processes_started: u64,
    /// Interpreter locks handed over because another thread asked.
    pub gil_handoffs: u64,
    /// Switch-in to switch-out.
    pub timeslice: Histogram,
    /// First waking to switch-in.
    pub wakeup_latency: Histogram,
    /// Switch-out while runnable to switch-in.
    pub preemption_wait: Histogram,
    /// Waits whose beginning no event showed: in the sums above, in no distribution.
    pub unobserved_wait_ns: u64,
}

/// One CPU, all tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct CpuRecord {
    /// Address of the task that the last switch put on the CPU; 0 before the first.
    pub task: u64,
    /// Time of the last switch.
    pub since_ns: u64,
    /// 1 while the idle task is on the CPU.
    pub idle: u64,
    /// Closed time of the idle task.
    pub idle_ns: u64,
    /// All switches.
    pub switches: u64,
    /// Of these, away from the idle task.
    pub switches_from_idle: u64,
    /// See [`SwitchClock`]. Written under the lock of the CPU's run queue, by other CPUs too.
    pub clock: SwitchClock,
    /// Lost observations by [`crate::loss::Loss`].
    pub loss: [u64; LOSS_SLOTS],
    /// The kernel's count of switches before the first one seen.
    pub switches_before: u64,
    /// Switches that the kernel has counted but we have not seen, up to the last broken chain.
    pub switches_unseen: u64,
}

// Both sides compile these, so a layout that differs between the targets does not build.
const _: () = {
    assert!(size_of::<TaskClock>() == 32);
    // Every switch writes the first two cache lines: the clock, and the counters.
    assert!(size_of::<TaskRecord>() == 640 && offset_of!(TaskRecord, transit_ns) == 128);
    // The kernel's limit for keys is 512 (`MAX_BPF_STACK`).
    assert!(size_of::<ExecKey>() == 496 && offset_of!(ExecKey, exe) == 32);
    assert!(size_of::<Provisional>() == 8 + 496 + CGROUP_BYTES + COMPONENT_BYTES);
    assert!(size_of::<WaitAccount>() == 176);
    assert!(size_of::<Function>() == 16);
    assert!(offset_of!(TaskRecord, tid) == 60 && offset_of!(TaskRecord, on_cpu_ns) == 64);
    assert!(offset_of!(TaskRecord, comm) == 64 + 8 * 8 + 16 + 8 * REASON_SLOTS + 8 + 16 + 16 + 2 * size_of::<KernelCounts>());
    assert!(size_of::<Histogram>() == 8 * (2 + BUCKETS));
    assert!(size_of::<Cell>().is_multiple_of(64));
    assert!(offset_of!(Cell, timeslice) == 8 * (8 + REASON_SLOTS + 8 + 3));
    assert!(size_of::<CpuRecord>().is_multiple_of(64));
    assert!(offset_of!(CpuRecord, loss) == 80);
};
