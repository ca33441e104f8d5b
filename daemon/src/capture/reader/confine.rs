//! What the helper gives up before it reads anything.

use std::collections::BTreeMap;
use std::process;

use anyhow::Context;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

use crate::capture::capabilities::reading;

/// A number that no kernel's last capability exceeds.
const CAPABILITIES_MAX: u32 = 63;
/// Data and heap. The program itself takes 1 MiB, what is remembered of files up to 8, a memory map up to 16.
const DATA_BYTES: u64 = 48 << 20;
/// Open files. A process takes eight.
const FILES: u64 = 32;

/// Gives up all that is not needed for good. Whatever cannot be given up is an error: better no reader than one that can do more.
pub(super) fn confine() -> anyhow::Result<()> {
    // The first time, this looks for the kernel's own clock in ways that the filter forbids.
    let _ = clock_gettime(ClockId::ThreadCPUTime);
    ignore_signals();
    close_files();
    drop_capabilities().context("cannot drop capabilities")?;
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask to end with the parent")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid to be dumped")?;
    for (resource, most) in [
        (Resource::Data, DATA_BYTES),
        (Resource::Nofile, FILES),
        (Resource::Nproc, 0),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ] {
        limit(resource, most).with_context(|| format!("cannot limit {resource:?}"))?;
    }
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    let filter = filter().context("cannot make the filter of system calls")?;
    seccompiler::apply_filter(&filter).context("cannot set the filter of system calls; is CONFIG_SECCOMP_FILTER on?")
}

/// Whoever ends the daemon may mean its whole group or unit. The helper ends when its socket is closed, and must not look broken before.
fn ignore_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: no handler is set.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Closes whatever whoever started the daemon has left open. From 5.9 on, so on every kernel that is supported.
fn close_files() {
    // SAFETY: nothing has been opened yet that is used later.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let needed = reading();
    let held = capabilities(None)?;
    // Without SETPCAP the bounding set stays; with no_new_privs nothing can be gained from it.
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for capability in (0..=CAPABILITIES_MAX).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
            if !needed.contains(capability) && capability_is_in_bounding_set(capability).unwrap_or(false) {
                remove_capability_from_bounding_set(capability)?;
            }
        }
    }
    clear_ambient_capability_set()?;
    let kept = held.permitted & needed;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })
}

/// Lowers a limit, never raises it.
fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}

/// Reading, memory, answering on the socket (0) and saying why it fails (2). Anything else kills the process: it cannot write a file or
/// another's memory, make memory executable, start a thread or a program, connect anywhere, or trace.
fn filter() -> Result<BpfProgram, seccompiler::Error> {
    /// An argument has none of these bits.
    fn without(argument: u8, bits: libc::c_int) -> Result<SeccompCondition, seccompiler::Error> {
        condition(argument, SeccompCmpOp::MaskedEq(u64::from(bits.cast_unsigned())), 0)
    }
    fn is(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::Error> {
        condition(argument, SeccompCmpOp::Eq, value)
    }
    fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::Error> {
        Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?)
    }

    let no_writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [
        // Files, and what is known of them.
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_lseek,
        libc::SYS_close,
        libc::SYS_statx,
        libc::SYS_fstat,
        libc::SYS_readlinkat,
        // Memory.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        // The socket.
        libc::SYS_recvfrom,
        // Time, hash keys, the end.
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ]
    .into_iter()
    .map(|call| (call, Vec::new()))
    .collect();
    let own = u64::from(process::id());
    for (call, conditions) in [
        (libc::SYS_openat, vec![without(2, no_writing)?]),
        (libc::SYS_mmap, vec![without(2, libc::PROT_EXEC)?]),
        // To whoever is at the other end, and to nobody else.
        (libc::SYS_sendto, vec![is(0, 0)?, is(4, 0)?]),
        (libc::SYS_write, vec![is(0, 2)?]),
        (libc::SYS_writev, vec![is(0, 2)?]),
        // The standard library's own check, in builds with assertions.
        (libc::SYS_fcntl, vec![is(1, libc::F_GETFD as u64)?]),
        // How a failed allocation ends.
        (libc::SYS_tgkill, vec![is(0, own)?, is(2, libc::SIGABRT as u64)?]),
    ] {
        rules.insert(call, vec![SeccompRule::new(conditions)?]);
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture)?;
    Ok(filter.try_into()?)
}
