use aya_ebpf::{helpers::generated::bpf_get_smp_processor_id, macros::btf_tracepoint, programs::BtfTracePointContext};
use schedscope_ebpf::{loss::Loss, task_clock::Phase};

use crate::{
    charge::lose_on,
    kernel_types::Task,
    tasks::{find, release},
};

/// A task's memory goes away, a grace period after it was reaped. Its last switch has closed the ledger long before.
///
/// `TP_PROTO(struct task_struct *p)`, in the context of whoever runs the RCU callback.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L311>
#[btf_tracepoint(function = "sched_process_free")]
fn sched_process_free(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    let Some(traced) = find(task) else { return 0 };
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if traced.record.clock.phase != Phase::Dead as u32 {
        traced.record.clock.phase = Phase::Dead as u32;
        lose_on(cpu, Loss::EndUnseen);
    }
    release(task, &traced, cpu);
    0
}
