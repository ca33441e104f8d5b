//! Which of root's rights are used, and when.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// What reading other users' processes takes, each with what is missing without it.
pub(crate) const READING: [(&str, CapabilitySet, &str); 3] = [
    (
        "CAP_SYS_PTRACE",
        CapabilitySet::SYS_PTRACE,
        "no process of another user is read: workloads lack the names of their executables, and waits for Python locks count as futex waits",
    ),
    (
        "CAP_CHECKPOINT_RESTORE",
        CapabilitySet::CHECKPOINT_RESTORE,
        "Pythons whose files were replaced or removed since they started are not found; their waits for the lock count as futex waits",
    ),
    (
        "CAP_DAC_READ_SEARCH",
        CapabilitySet::DAC_READ_SEARCH,
        "of other users' Pythons those in private files are not found, nor the locks of sub-interpreters; waits for them count as futex waits",
    ),
];

/// What turning the kernel's BPF statistics on takes.
pub(crate) const STATISTICS: (&str, CapabilitySet, &str) =
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN, "what the BPF programs cost is not measured");

/// All of [`READING`].
pub(crate) fn reading() -> CapabilitySet {
    READING.iter().map(|(_, capability, _)| *capability).collect()
}

/// Whether this process has it; not if that is not known.
pub(crate) fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|held| held.effective.contains(capability))
}

/// Gives up what a daemon does not need once it traces, for this thread and those that it starts. Loading programs is over, so `CAP_PERFMON`
/// goes. `CAP_BPF` stays: before Linux 5.19 no map can be read without it where unprivileged BPF is off.
pub(crate) fn drop_all_but_for_serving(with_statistics: bool) -> rustix::io::Result<()> {
    let held = capabilities(None)?;
    // It may stand for CAP_BPF too.
    let statistics =
        if with_statistics || !held.permitted.contains(CapabilitySet::BPF) { STATISTICS.1 } else { CapabilitySet::empty() };
    let permitted = held.permitted & (CapabilitySet::BPF | reading() | statistics);
    // What follows a mapping is for the process that reads others, which is given no more than we may have.
    let effective = held.effective & permitted & !CapabilitySet::CHECKPOINT_RESTORE;
    set_capabilities(None, CapabilitySets { effective, permitted, inheritable: held.inheritable & permitted })
}
