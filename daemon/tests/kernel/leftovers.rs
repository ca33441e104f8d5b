//! BPF programs of a process, and whether they are still in the kernel.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

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
        programs.len() >= HOOKS && programs.iter().all(|id| exists(*id))
    });
    assert!(complete, "the tracer {pid} has attached {programs:?} only");
    programs
}

/// Fails if any of the programs is still in the kernel. Links are freed a moment after their last user has gone.
pub(crate) fn assert_gone(programs: &BTreeSet<u32>) {
    assert!(programs.len() >= HOOKS, "{programs:?}");
    let gone = comes_true(5, || programs.iter().all(|id| !exists(*id)));
    assert!(gone, "these programs stay in the kernel: {:?}", programs.iter().filter(|id| exists(**id)).collect::<Vec<_>>());
}

/// Asks the kernel for the program with this id.
fn exists(id: u32) -> bool {
    const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
    // The beginning of `union bpf_attr` for this command: program, next program, flags.
    let attributes: [u32; 3] = [id, 0, 0];
    // SAFETY: the kernel reads as many bytes as we say.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_GET_FD_BY_ID, attributes.as_ptr(), size_of_val(&attributes)) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "cannot ask for program {id}: {error}");
        return false;
    }
    // SAFETY: the descriptor is new and nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).unwrap()) });
    true
}
