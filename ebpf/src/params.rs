//! What the loader writes into the object before the verifier sees it.
//!
//! Struct offsets come from the running kernel's BTF, so one object serves every kernel. They are written into the instructions
//! themselves, as the kernel's own relocations would be (rustc emits none), so a field costs one load and no look at a variable.
//! The verifier knows each value as a constant: a wrong offset is refused at load, and a branch on an absent field is removed.
//! How the places are marked and found: [`Placeholder`].

/// Value of an offset whose field the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// A field of a kernel struct whose offset the programs need.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name of the constant that is the offset in bytes.
    pub constant: &'static str,
    /// The struct in BTF.
    pub of: &'static str,
    /// Members from the struct inwards, a number for an element of an array of words; alternatives for kernels that name them otherwise.
    pub paths: &'static [&'static [&'static str]],
    /// Tracing works without it; the programs test for [`ABSENT`].
    pub optional: bool,
}

const fn field(constant: &'static str, of: &'static str, paths: &'static [&'static [&'static str]]) -> Field {
    Field { constant, of, paths, optional: false }
}

const fn optional(constant: &'static str, of: &'static str, paths: &'static [&'static [&'static str]]) -> Field {
    Field { constant, of, paths, optional: true }
}

/// Every field the programs read, with the kernel's own names for it.
pub const FIELDS: &[Field] = &[
    field("TASK_PID", "task_struct", &[&["pid"]]),
    field("TASK_TGID", "task_struct", &[&["tgid"]]),
    field("TASK_FLAGS", "task_struct", &[&["flags"]]),
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
    optional("TASK_LAST_ARRIVAL", "task_struct", &[&["sched_info", "last_arrival"]]),
    optional("TASK_LAST_QUEUED", "task_struct", &[&["sched_info", "last_queued"]]),
    // To the run queue, where the kernel schedules groups (CONFIG_FAIR_GROUP_SCHED).
    optional("TASK_CFS_RQ", "task_struct", &[&["se", "cfs_rq"]]),
    optional("CFS_RQ_RQ", "cfs_rq", &[&["rq"]]),
    optional("RQ_CLOCK", "rq", &[&["clock"]]),
    optional("RQ_NR_SWITCHES", "rq", &[&["nr_switches"]]),
    optional("RQ_CLOCK_FLAGS", "rq", &[&["clock_update_flags"]]),
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
    // From a process to the path of its executable.
    optional("TASK_MM", "task_struct", &[&["mm"]]),
    optional("MM_EXE_FILE", "mm_struct", &[&["exe_file"]]),
    optional("FILE_DENTRY", "file", &[&["f_path", "dentry"]]),
    optional("FILE_MOUNT", "file", &[&["f_path", "mnt"]]),
    optional("DENTRY_PARENT", "dentry", &[&["d_parent"]]),
    optional("DENTRY_NAME", "dentry", &[&["d_name", "name"]]),
    optional("VFSMOUNT_ROOT", "vfsmount", &[&["mnt_root"]]),
    // A file leads to the `vfsmount` inside a `mount`.
    optional("MOUNT_VFSMOUNT", "mount", &[&["mnt"]]),
    optional("MOUNT_PARENT", "mount", &[&["mnt_parent"]]),
    optional("MOUNT_POINT", "mount", &[&["mnt_mountpoint"]]),
    // And to the path of its cgroup, in the unified hierarchy or in a named one.
    optional("TASK_CGROUPS", "task_struct", &[&["cgroups"]]),
    optional("CSS_SET_UNIFIED", "css_set", &[&["dfl_cgrp"]]),
    optional("CSS_SET_LINKS", "css_set", &[&["cgrp_links"]]),
    optional("CGROUP_LINK_NEXT", "cgrp_cset_link", &[&["cgrp_link"]]),
    optional("CGROUP_LINK_CGROUP", "cgrp_cset_link", &[&["cgrp"]]),
    optional("CGROUP_ROOT", "cgroup", &[&["root"]]),
    optional("CGROUP_NODE", "cgroup", &[&["kn"]]),
    optional("ROOT_HIERARCHY", "cgroup_root", &[&["hierarchy_id"]]),
    optional("NODE_ID", "kernfs_node", &[&["id"]]),
    optional("NODE_NAME", "kernfs_node", &[&["name"]]),
    // Renamed in 6.15.
    optional("NODE_PARENT", "kernfs_node", &[&["__parent"], &["parent"]]),
];

/// The byte offset of the word that holds `task_struct.in_iowait`, a bit field.
pub const TASK_IOWAIT_WORD: &str = "TASK_IOWAIT_WORD";
/// The mask of that bit in its word.
pub const TASK_IOWAIT_MASK: &str = "TASK_IOWAIT_MASK";
/// 1 if `sched_switch` passes the previous state as its fourth argument (5.18, and RHEL 9's 5.14).
pub const HAS_PREV_STATE: &str = "HAS_PREV_STATE";
/// 1 if the helper `bpf_task_pt_regs` exists (5.15).
pub const HAS_TASK_PT_REGS: &str = "HAS_TASK_PT_REGS";
/// 1 if user space has filled [`crate::abi::map::KERNEL_CODE`]: the programs look at stacks for locks of the kernel.
pub const HAS_KERNEL_CODE: &str = "HAS_KERNEL_CODE";
/// The number of `sched_yield` on this architecture.
pub const SYSCALL_YIELD: &str = "SYSCALL_YIELD";
/// A frozen global, `[u8; SYSCALLS]`: the blocked reason of each system call.
pub const SYSCALL_CLASS: &str = "SYSCALL_CLASS";
/// Workloads per CPU in the cell map, provisional ones included.
pub const WORKLOADS: &str = "WORKLOADS";
/// The first provisional workload; all before it have names. As many as [`WORKLOADS`] if the programs decide nothing at an exec.
pub const FIRST_PROVISIONAL: &str = "FIRST_PROVISIONAL";
/// The number of the cgroup hierarchy that counts where the unified one has nothing but its root: systemd's on hosts with cgroup v1; 0
/// for none.
pub const SYSTEMD_HIERARCHY: &str = "SYSTEMD_HIERARCHY";
/// Slots per CPU in the thread-by-core map.
pub const TASK_SLOTS: &str = "TASK_SLOTS";
/// Number of possible CPUs, or 0 if threads are not broken down by core.
pub const THREAD_CPUS: &str = "THREAD_CPUS";
/// 1 while figures are verified: the programs keep a [`crate::wait_account::WaitAccount`] of every thread.
pub const HAS_WAIT_ACCOUNTS: &str = "HAS_WAIT_ACCOUNTS";
/// Most CPUs that a thread can be broken down by; bounds a loop for the verifier.
pub const MAX_THREAD_CPUS: u32 = 512;

/// Every constant that is not the offset of one of [`FIELDS`].
pub const OTHERS: &[&str] = &[
    TASK_IOWAIT_WORD,
    TASK_IOWAIT_MASK,
    HAS_PREV_STATE,
    HAS_TASK_PT_REGS,
    HAS_KERNEL_CODE,
    SYSCALL_YIELD,
    WORKLOADS,
    FIRST_PROVISIONAL,
    SYSTEMD_HIERARCHY,
    TASK_SLOTS,
    THREAD_CPUS,
    HAS_WAIT_ACCOUNTS,
];

/// The names of all constants, by number.
pub fn constants() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|field| field.constant).chain(OTHERS.iter().copied())
}

/// The number of a constant, by which its places are marked. For constants: an unknown name does not compile.
///
/// # Panics
/// If there is none of this name.
pub const fn number_of(name: &str) -> u16 {
    let mut number = 0;
    while number < FIELDS.len() + OTHERS.len() {
        let known = if number < FIELDS.len() { FIELDS[number].constant } else { OTHERS[number - FIELDS.len()] };
        if is_same(known, name) {
            #[expect(clippy::cast_possible_truncation, reason = "there are some dozens")]
            return number as u16;
        }
        number += 1;
    }
    panic!("no such constant")
}

const fn is_same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// An instruction in which the loader has to put the value of a constant, by the constant's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// Moves the value into a register.
    Move(u16),
    /// Loads the member that lies at this offset of a struct.
    Load(u16),
}

impl Placeholder {
    /// What the programs move, less the number.
    pub const MOVE: u32 = 0x5CED_0000;
    /// At what offset the programs load, less the number: further than any record of ours is long.
    pub const LOAD: u16 = 0x7C00;

    /// Finds out whether an instruction is one (its layout is `struct bpf_insn` of the kernel's `include/uapi/linux/bpf.h`).
    pub const fn of(instruction: [u8; 8]) -> Option<Placeholder> {
        let [code, _, low, high, word @ ..] = instruction;
        let (offset, immediate) = (u16::from_le_bytes([low, high]), u32::from_le_bytes(word));
        match code {
            // BPF_ALU | BPF_MOV | BPF_K.
            0xb4 if immediate & 0xFFFF_0000 == Placeholder::MOVE => Some(Placeholder::Move(u16::from_le_bytes([word[0], word[1]]))),
            // BPF_LDX | BPF_MEM of 4, 2, 1 and 8 bytes.
            0x61 | 0x69 | 0x71 | 0x79 if offset & 0xFC00 == Placeholder::LOAD => Some(Placeholder::Load(offset & 0x03FF)),
            _ => None,
        }
    }

    /// The constant's number.
    pub const fn number(self) -> u16 {
        match self {
            Placeholder::Move(number) | Placeholder::Load(number) => number,
        }
    }

    /// Puts the value into the instruction; `None` if it does not fit. A load from an absent field is never reached and goes nowhere.
    pub fn filled(self, mut instruction: [u8; 8], value: u32) -> Option<[u8; 8]> {
        match self {
            Placeholder::Move(_) => instruction[4..].copy_from_slice(&value.to_le_bytes()),
            Placeholder::Load(_) => {
                let offset = if value == ABSENT { 0 } else { i16::try_from(value).ok()? };
                instruction[2..4].copy_from_slice(&offset.to_le_bytes());
            }
        }
        Some(instruction)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_constant_has_a_number_of_its_own() {
        let names: Vec<_> = constants().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for (number, name) in names.iter().enumerate() {
            assert_eq!(usize::from(number_of(name)), number);
        }
        assert!(names.len() < 0x400, "more do not fit into an offset");
    }

    #[test]
    fn only_marked_instructions_are_changed() {
        // w3 = MOVE + 7; r2 = *(u32 *)(r1 + LOAD + 5); and the same with ordinary numbers.
        let (moves, loads) = ([0xb4, 3, 0, 0, 7, 0, 0xED, 0x5C], [0x61, 0x12, 5, 0x7C, 0, 0, 0, 0]);
        assert_eq!(Placeholder::of(moves), Some(Placeholder::Move(7)));
        assert_eq!(Placeholder::of(loads), Some(Placeholder::Load(5)));
        assert_eq!(Placeholder::of([0xb4, 3, 0, 0, 7, 0, 0, 0]), None);
        assert_eq!(Placeholder::of([0x61, 0x12, 5, 0x17, 0, 0, 0, 0]), None);
        assert_eq!(Placeholder::of([0x63, 0x12, 5, 0x7C, 0, 0, 0, 0]), None, "a store");

        assert_eq!(Placeholder::Move(7).filled(moves, 0x0102_0304), Some([0xb4, 3, 0, 0, 4, 3, 2, 1]));
        assert_eq!(Placeholder::Load(5).filled(loads, 0x0102), Some([0x61, 0x12, 2, 1, 0, 0, 0, 0]));
        assert_eq!(Placeholder::Load(5).filled(loads, ABSENT), Some([0x61, 0x12, 0, 0, 0, 0, 0, 0]));
        assert_eq!(Placeholder::Load(5).filled(loads, 0x8000), None);
    }
}
