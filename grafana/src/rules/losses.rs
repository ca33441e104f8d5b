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
        | Loss::FreeUnseen
        | Loss::ForkUnseen => {
            "Something hides events from tracing: look for skipped runs on the daemon health dashboard, and for a hypervisor's \
             agent. `schedscope check` says how far the figures are off."
        }
        Loss::AfterEnd | Loss::ClockInversion | Loss::SlotLeaked => {
            "It should not happen: report it with the output of `schedscope doctor` and the kernel's version."
        }
    }
}
