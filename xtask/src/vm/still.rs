//! Keeps the kernel of an emulated machine from changing its own code while other processors run it.
//!
//! Tracepoints, and some switches of perf and BPF, are branches that the kernel patches when the first user comes and when the last one
//! goes: it writes a breakpoint, then the rest of the instruction, then its first byte. QEMU discards its translation of the
//! instruction before it carries out such a write; another processor that comes by in between translates the old bytes again, and that
//! translation stays (seen with QEMU 7.2, also without schedscope: switching `events/sched/enable` on and off a few dozen times under
//! load is enough). A stale breakpoint ends in an endless loop on Linux 5.10, where the whole machine falls silent, and in an oops on
//! 7.2. With users that stay there is nothing to patch: the same was done 20,000 times without a failure.

use std::{
    fs::{self, File},
    io,
    os::fd::FromRawFd,
    path::Path,
};

use anyhow::{Context, Result};
use schedscope_ebpf::abi::program;

const TRACEFS: &str = "/sys/kernel/tracing";
/// A tracepoint with one user calls that directly; from two on it goes through a list, and a third changes no code.
const USERS: [&str; 2] = ["first", "second"];
/// `PERF_COUNT_SW_*` that the tests count: task clock, context switches, migrations.
const PERF_EVENTS: [u64; 3] = [1, 3, 4];
const PERF_TYPE_SOFTWARE: u64 = 1;
/// Size of the first `perf_event_attr`, which every kernel takes.
const PERF_ATTR_SIZE: u64 = 64;
const BPF_ENABLE_STATS: libc::c_long = 32;

/// Users that stay as long as this lives.
pub(crate) struct Still {
    _open: Vec<File>,
}

/// Becomes a user of all that would be patched; tracefs must be mounted.
pub(crate) fn hold() -> Result<Still> {
    for user in USERS {
        let instance = Path::new(TRACEFS).join("instances").join(user);
        fs::create_dir_all(&instance).with_context(|| format!("cannot create {}", instance.display()))?;
        // It is to be called, not to record.
        write(&instance.join("tracing_on"), "0")?;
        for hook in program::HOOKS {
            write(&instance.join("events/sched").join(hook).join("enable"), "1")?;
        }
    }
    let mut open = vec![enable_bpf_statistics().context("cannot switch the kernel's BPF statistics on")?];
    for event in PERF_EVENTS {
        open.push(count(event).with_context(|| format!("cannot count perf's software event {event}"))?);
    }
    Ok(Still { _open: open })
}

fn write(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value).with_context(|| format!("cannot write {value} to {}", file.display()))
}

fn enable_bpf_statistics() -> io::Result<File> {
    // The beginning of `union bpf_attr`: run time.
    let attributes: [u32; 1] = [0];
    // SAFETY: the kernel reads as many bytes as we say, and takes the rest of the union for zero.
    owned(unsafe { libc::syscall(libc::SYS_bpf, BPF_ENABLE_STATS, attributes.as_ptr(), size_of_val(&attributes)) })
}

/// Counts an event of this process.
fn count(event: u64) -> io::Result<File> {
    // `perf_event_attr`: type and size, the event, and no flags.
    let attributes: [u64; 8] = [PERF_TYPE_SOFTWARE | PERF_ATTR_SIZE << 32, event, 0, 0, 0, 0, 0, 0];
    // SAFETY: the structure has the size that it says; this process, any CPU, no group.
    owned(unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) })
}

fn owned(descriptor: libc::c_long) -> io::Result<File> {
    match libc::c_int::try_from(descriptor) {
        // SAFETY: the kernel has just made it for us.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { File::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
