//! What each loss means for the figures, and what to do about it.

use schedscope_ebpf::loss::Loss;

/// What a reader of the runbook can do about a loss.
pub(crate) fn remedy(loss: Loss) -> &'static str {
    match loss {
        Loss::TaskTableFull => "Raise `max_threads` in the daemon's configuration above the threads of the host, and restart it.",
        Loss::PidBeyondTable => "`kernel.pid_max` was raised after the daemon started: restart it.",
        Loss::ThreadDetailEvicted => {
            "Threads end faster than they are read. Nothing that the dashboards show is affected; raise `max_threads` to have all of them."
        }
        Loss::NoCounters => "Restart the daemon; if it comes back, report it with the output of `schedscope doctor`.",
        Loss::SwitchOutUnseen
        | Loss::SwitchInUnseen
        | Loss::EndUnseen
        | Loss::SwitchChainBroken
        | Loss::MigrationUnseen
        | Loss::FreeUnseen => {
            "Something hides events from tracing: look for skipped runs on the daemon health dashboard, and for a hypervisor's \
             agent. `schedscope check` says how far the figures are off."
        }
        Loss::ForkUnseen => {
            "With `task_table_full`: raise `max_threads`. Without it, something hides events from tracing, as for `end_unseen`."
        }
        Loss::AfterEnd | Loss::ClockInversion | Loss::SlotLeaked => {
            "It should not happen: report it with the output of `schedscope doctor` and the kernel's version."
        }
    }
}

/// Losses after which something stays untraced: threads without a record have none until there is a place for them.
pub(super) fn lasting() -> Vec<&'static str> {
    Loss::ALL.into_iter().filter(|loss| matches!(loss, Loss::TaskTableFull | Loss::PidBeyondTable)).map(Loss::name).collect()
}
