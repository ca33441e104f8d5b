use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use schedscope_ebpf::abi::Cause;
use schedscope_ebpf::ledger::note_migration;
use schedscope_ebpf::loss::Loss;

use crate::accounts;
use crate::charge::{add_migrations, cell, lose_on};
use crate::kernel_types::Task;
use crate::tasks::find;

/// A thread moves to another CPU: placed by a wake-up, or moved by the load balancer or an affinity change.
///
/// `TP_PROTO(struct task_struct *p, int dest_cpu)`. Also reported when source and destination are the same, which the kernel
/// does not count in `se.nr_migrations` and neither do we. Called with the task's or its run queue's lock held.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L262>
#[btf_tracepoint(function = "sched_migrate_task")]
fn sched_migrate_task(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    let Some(traced) = find(task) else { return 0 };
    let (from, to) = (task.cpu(), ctx.arg::<u32>(1));
    if from == to {
        return 0;
    }
    note_migration(traced.record);
    accounts::migrates(task, traced.slot, &traced.record.clock);
    let cause = if task.is_queued() {
        traced.record.clock.moved_in_queue();
        Cause::WhileQueued
    } else {
        Cause::AtWakeup
    };
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let counted = cell(cpu, traced.record.workload).is_some_and(|cell| add_migrations(traced.record, cell, cause, from, to, 1));
    if !counted {
        lose_on(cpu, Loss::NoCounters);
    }
    0
}
