//! Every way an observation can be missing or contradictory. Each is counted where it happens, exported and shown.

use crate::values;

/// Counters per CPU record; more than [`Loss::ALL`] needs, so that a new reason does not change the layout.
pub const LOSS_SLOTS: usize = 16;

values! {
    /// Why an observation is missing. The value indexes `CpuRecord::loss`.
    #[derive(PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Loss {
        /// No free slot for a new thread: it is not traced, and neither are its descendants.
        TaskTableFull = "task_table_full",
        /// A pid above the table's size, which was `pid_max` at start: the thread is not traced.
        PidBeyondTable = "pid_beyond_table",
        /// A thread came onto a CPU while the ledger had it on one: its switch-out was not seen.
        SwitchOutUnseen = "switch_out_unseen",
        /// A thread left a CPU while the ledger had it off: its switch-in was not seen. The kernel's own accounting of the thread
        /// showed how long it ran and waited.
        SwitchInUnseen = "switch_in_unseen",
        /// An event of a thread that had ended.
        AfterEnd = "after_end",
        /// A thread's memory was freed without its last switch having been seen.
        EndUnseen = "end_unseen",
        /// An event carries an older time than the one before it, by more than clocks of CPUs can be apart; the interval counts as zero.
        ClockInversion = "clock_inversion",
        /// Details of an ended thread were overwritten before user space read them; totals are not affected.
        ThreadDetailEvicted = "thread_detail_evicted",
        /// The `prev` of a switch was not the `next` of the switch before it on that CPU: a switch was not seen.
        SwitchChainBroken = "switch_chain_broken",
        /// A thread's workload or CPU has no counters; what it did in that interval is missing from the totals.
        NoCounters = "no_counters",
        /// A slot could not be handed back to the table.
        SlotLeaked = "slot_leaked",
        /// The kernel had counted a migration of which no event was seen. It was added, with the distance between the CPUs of the
        /// thread's last two runs.
        MigrationUnseen = "migration_unseen",
        /// A new task has the address of an ended one whose freeing was not seen. The old one's slot was freed now.
        FreeUnseen = "free_unseen",
        /// A thread of a workload was found that had started untraced: its fork was not seen, or there was no free slot for it. It is
        /// traced from then on. What it did before is missing, and so are its descendants that have ended.
        ForkUnseen = "fork_unseen",
        /// A program was new and could not be told from others: all provisional workloads were in use, or its path was too long. Its
        /// process counted in the workload of whoever started it until user space read what it is.
        OwnerUnknown = "owner_unknown",
    }
}

/// How a loss affects the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Something is missing from the figures.
    Missing,
    /// Nothing: the kernel's own accounting made the figures right.
    Repaired,
    /// Every total is right, but details of some threads are missing.
    Details,
}

impl Loss {
    /// How it affects the figures.
    ///
    /// A broken chain by itself leaves no gap: if a traced thread was involved, its own events show that too.
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
mod tests {
    use super::*;

    /// A report must not be trusted blindly when something is missing from it, and nobody should be alarmed by what was made good.
    #[test]
    fn what_the_kernels_accounting_makes_good_leaves_no_gap() {
        let repaired = [Loss::SwitchInUnseen, Loss::MigrationUnseen, Loss::FreeUnseen, Loss::SwitchChainBroken];
        for loss in Loss::ALL {
            let expected = match loss {
                // The totals are in the cells, which outlive the thread's record.
                Loss::ThreadDetailEvicted => Harm::Details,
                _ if repaired.contains(&loss) => Harm::Repaired,
                _ => Harm::Missing,
            };
            assert_eq!(loss.harm(), expected, "{}", loss.name());
        }
    }
}
