//! BPF programs of a process, and whether they are still in the kernel.

use std::{collections::BTreeSet, fs};

use schedscope::capture::kernel::host_programs;
use schedscope_ebpf::abi::program;

use super::host::comes_true;

/// Programs that `schedscope` attaches at least, whatever the kernel.
const HOOKS: usize = program::HOOKS.len();

/// Ids of the programs that a process holds or has attached.
pub(crate) fn programs_of(pid: u32) -> BTreeSet<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return BTreeSet::new() };
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())).collect()
}

/// Waits until a tracer has attached its programs, and returns their ids.
pub(crate) fn wait_for_programs(pid: u32) -> BTreeSet<u32> {
    let mut programs = BTreeSet::new();
    let complete = comes_true(20, || {
        programs = programs_of(pid);
        programs.len() >= HOOKS
    });
    assert!(complete, "the tracer {pid} has attached {programs:?} only");
    programs
}

/// Fails if any of the programs is still in the kernel. Links are freed a moment after their last user has gone.
pub(crate) fn assert_gone(programs: &BTreeSet<u32>) {
    assert!(programs.len() >= HOOKS, "{programs:?}");
    // Asked again if one goes away while it is looked at.
    let left = || host_programs().map(|all| all.into_iter().filter(|left| programs.contains(&left.id)).collect::<Vec<_>>());
    assert!(comes_true(5, || left().is_ok_and(|left| left.is_empty())), "these programs stay in the kernel: {:?}", left());
}
