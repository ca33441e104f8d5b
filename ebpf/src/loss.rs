//! Every way an observation can be missing or contradictory. Each is counted where it happens, exported and shown.

/// Counters per CPU record; more than [`Loss::ALL`] needs, so that a new reason does not change the layout.
pub const LOSS_SLOTS: usize = 16;

/// Why an observation is missing. The discriminant is the index into `CpuRecord::loss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Loss {
    /// No free slot for a new thread: it is not traced, and neither are its descendants.
    TaskTableFull = 0,
    /// A pid above the table's size, which was `pid_max` at start: the thread is not traced.
    PidBeyondTable = 1,
    /// A thread came onto a CPU while the ledger had it on one: its switch-out was not seen.
    SwitchOutUnseen = 2,
    /// A thread left a CPU while the ledger had it off: its switch-in was not seen. The kernel's own accounting of the thread
    /// told how long it ran and waited.
    SwitchInUnseen = 3,
    /// An event of a thread that had ended.
    AfterEnd = 4,
    /// A thread's memory was freed without its last switch having been seen.
    EndUnseen = 5,
    /// An event carries an older time than the one before it; the interval counts as zero.
    ClockInversion = 6,
    /// Details of an ended thread were overwritten before user space read them; totals are not affected.
    ThreadDetailEvicted = 7,
    /// The `prev` of a switch was not the `next` of the switch before it on that CPU: a switch was not seen.
    SwitchChainBroken = 8,
    /// A thread's workload or CPU has no counters; what it did in that interval is missing from the totals.
    NoCounters = 9,
    /// A slot could not be handed back to the table.
    SlotLeaked = 10,
    /// The kernel had counted a migration of which no event was seen. It was added, with the distance between the CPUs of the
    /// thread's last two runs.
    MigrationUnseen = 11,
    /// A new task lies where an ended one did whose freeing was not seen. Its slot was freed now.
    FreeUnseen = 12,
    /// A thread of a workload was found that had begun without being traced: its fork was not seen, or there was no free slot for it.
    /// It is traced from then on; what it did before is missing, and so are descendants of it that have ended.
    ForkUnseen = 13,
}

/// What a loss does to the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Something is missing from the figures.
    Missing,
    /// The figures are right all the same, by the kernel's own accounting.
    Repaired,
    /// Every total is right; what single threads did by themselves is not known of all.
    Details,
}

impl Loss {
    /// Every reason, in the order of the counters.
    pub const ALL: [Loss; 14] = [
        Loss::TaskTableFull,
        Loss::PidBeyondTable,
        Loss::SwitchOutUnseen,
        Loss::SwitchInUnseen,
        Loss::AfterEnd,
        Loss::EndUnseen,
        Loss::ClockInversion,
        Loss::ThreadDetailEvicted,
        Loss::SwitchChainBroken,
        Loss::NoCounters,
        Loss::SlotLeaked,
        Loss::MigrationUnseen,
        Loss::FreeUnseen,
        Loss::ForkUnseen,
    ];

    /// The value of the `reason` label and of the key in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Loss::TaskTableFull => "task_table_full",
            Loss::PidBeyondTable => "pid_beyond_table",
            Loss::SwitchOutUnseen => "switch_out_unseen",
            Loss::SwitchInUnseen => "switch_in_unseen",
            Loss::AfterEnd => "after_end",
            Loss::EndUnseen => "end_unseen",
            Loss::ClockInversion => "clock_inversion",
            Loss::ThreadDetailEvicted => "thread_detail_evicted",
            Loss::SwitchChainBroken => "switch_chain_broken",
            Loss::NoCounters => "no_counters",
            Loss::SlotLeaked => "slot_leaked",
            Loss::MigrationUnseen => "migration_unseen",
            Loss::FreeUnseen => "free_unseen",
            Loss::ForkUnseen => "fork_unseen",
        }
    }

    /// Whether it leaves a gap in the figures.
    ///
    /// A broken chain is not one by itself: where it concerns a traced thread, that thread's own events show it too.
    pub const fn harm(self) -> Harm {
        match self {
            Loss::SwitchInUnseen | Loss::MigrationUnseen | Loss::FreeUnseen | Loss::SwitchChainBroken => Harm::Repaired,
            Loss::ThreadDetailEvicted => Harm::Details,
            _ => Harm::Missing,
        }
    }
}

const _: () = assert!(Loss::ALL.len() <= LOSS_SLOTS);

#[cfg(test)]
mod tests;
