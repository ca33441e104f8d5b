//! What the loader freezes into the object's read-only data before the verifier sees it.
//!
//! Struct offsets come from the running kernel's BTF, so one object serves every kernel. The data is frozen, hence the verifier
//! knows each value as a constant: a wrong offset is refused at load, and a branch on an absent field is removed.

/// Value of an offset whose field the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// A field of a kernel struct whose offset the programs need.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name of the frozen global that holds the offset in bytes.
    pub global: &'static str,
    /// The struct in BTF.
    pub of: &'static str,
    /// Members from the struct inwards, a number for an element of an array of words; alternatives for kernels that name them otherwise.
    pub paths: &'static [&'static [&'static str]],
    /// Tracing works without it; the programs test for [`ABSENT`].
    pub optional: bool,
}

const fn field(global: &'static str, of: &'static str, paths: &'static [&'static [&'static str]]) -> Field {
    Field { global, of, paths, optional: false }
}

const fn optional(global: &'static str, of: &'static str, paths: &'static [&'static [&'static str]]) -> Field {
    Field { global, of, paths, optional: true }
}

/// Every field the programs read, with the kernel's own names for it.
pub const FIELDS: &[Field] = &[
    field("TASK_PID", "task_struct", &[&["pid"]]),
    field("TASK_TGID", "task_struct", &[&["tgid"]]),
    field("TASK_REAL_PARENT", "task_struct", &[&["real_parent"]]),
    field("TASK_COMM", "task_struct", &[&["comm"]]),
    // Renamed from `state` in 5.14.
    field("TASK_STATE", "task_struct", &[&["__state"], &["state"]]),
    field("TASK_ON_RQ", "task_struct", &[&["on_rq"]]),
    field("TASK_ON_CPU", "task_struct", &[&["on_cpu"]]),
    // In `thread_info` on x86-64 since 5.16 and on aarch64; before that a member of the task.
    field("TASK_CPU", "task_struct", &[&["thread_info", "cpu"], &["cpu"]]),
    // Since 6.12 a task that blocks may stay on the queue until its lag is spent.
    optional("TASK_SCHED_DELAYED", "task_struct", &[&["se", "sched_delayed"]]),
    field("TASK_NVCSW", "task_struct", &[&["nvcsw"]]),
    field("TASK_NIVCSW", "task_struct", &[&["nivcsw"]]),
    field("TASK_MIGRATIONS", "task_struct", &[&["se", "nr_migrations"]]),
    field("TASK_RUNTIME", "task_struct", &[&["se", "sum_exec_runtime"]]),
    // Needs CONFIG_SCHED_INFO.
    optional("TASK_RUN_DELAY", "task_struct", &[&["sched_info", "run_delay"]]),
    // To the run queue, where the kernel schedules groups (CONFIG_FAIR_GROUP_SCHED).
    optional("TASK_CFS_RQ", "task_struct", &[&["se", "cfs_rq"]]),
    optional("CFS_RQ_RQ", "cfs_rq", &[&["rq"]]),
    optional("RQ_CLOCK", "rq", &[&["clock"]]),
    optional("RQ_NR_SWITCHES", "rq", &[&["nr_switches"]]),
    // x86-64, then aarch64.
    optional("REGS_SYSCALL", "pt_regs", &[&["orig_ax"], &["syscallno"]]),
    // Arguments 0, 1 and 3 of the system call: for futex(2) the address, the operation and the timeout.
    optional("REGS_ARGUMENT_0", "pt_regs", &[&["di"], &["regs", "0"]]),
    optional("REGS_ARGUMENT_1", "pt_regs", &[&["si"], &["regs", "1"]]),
    optional("REGS_ARGUMENT_3", "pt_regs", &[&["r10"], &["regs", "3"]]),
    // x86-64 only: tells a 32-bit program, whose system calls have other numbers.
    optional("REGS_CODE_SEGMENT", "pt_regs", &[&["cs"]]),
    // x86-64, where the register holds an error until the system call has returned.
    optional("REGS_RESULT", "pt_regs", &[&["ax"]]),
    optional("TASK_START_TIME", "task_struct", &[&["start_time"]]),
    field("TASK_GROUP_LEADER", "task_struct", &[&["group_leader"]]),
];

/// Global with the byte offset of the word that holds `task_struct.in_iowait`, a bit field.
pub const TASK_IOWAIT_WORD: &str = "TASK_IOWAIT_WORD";
/// Global with the mask of that bit in its word.
pub const TASK_IOWAIT_MASK: &str = "TASK_IOWAIT_MASK";
/// Global: 1 if `sched_switch` passes the previous state as its fourth argument (5.18, and RHEL 9's 5.14).
pub const HAS_PREV_STATE: &str = "HAS_PREV_STATE";
/// Global: 1 if the helper `bpf_task_pt_regs` exists (5.15).
pub const HAS_TASK_PT_REGS: &str = "HAS_TASK_PT_REGS";
/// Global: number of `sched_yield` on this architecture.
pub const SYSCALL_YIELD: &str = "SYSCALL_YIELD";
/// Global, `[u8; SYSCALLS]`: the blocked reason of each system call.
pub const SYSCALL_CLASS: &str = "SYSCALL_CLASS";
/// Global: workloads per CPU in the cell map.
pub const WORKLOADS: &str = "WORKLOADS";
/// Global: slots per CPU in the thread-by-core map.
pub const TASK_SLOTS: &str = "TASK_SLOTS";
/// Global: number of possible CPUs, or 0 if threads are not broken down by core.
pub const THREAD_CPUS: &str = "THREAD_CPUS";
/// Most CPUs that a thread can be broken down by; bounds a loop for the verifier.
pub const MAX_THREAD_CPUS: u32 = 512;
