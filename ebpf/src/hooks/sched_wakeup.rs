use aya_ebpf::{helpers::generated::bpf_get_smp_processor_id, macros::btf_tracepoint, programs::BtfTracePointContext};

use super::sched_switch::time_of_switch;
use crate::{
    charge::{cell, this_cpu},
    kernel_types::Task,
    tasks::find,
};

/// A woken thread has been queued: the end of what `sched_waking` began. Attached only while figures are being checked, to tell
/// how much earlier our waits begin than the kernel's.
///
/// `TP_PROTO(struct task_struct *p)`, on the CPU that queued it, under its run queue's lock.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L174>
#[btf_tracepoint(function = "sched_wakeup")]
fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    let Some(traced) = find(task) else { return 0 };
    let waking_ns = traced.record.clock.waking_ns;
    if waking_ns == 0 {
        return 0;
    }
    // When it was queued, by the clock that its switch-in will be told by: that is where the kernel's wait begins.
    let Some(cpu_record) = this_cpu(task.cpu()) else { return 0 };
    let now_ns = time_of_switch(cpu_record, task);
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(cell) = cell(cpu, traced.record.workload) {
        let queueing_ns = now_ns.saturating_sub(waking_ns);
        cell.queueing_ns += queueing_ns;
        cell.queueings += 1;
        if queueing_ns > cell.queueing_max_ns {
            cell.queueing_max_ns = queueing_ns;
        }
    }
    0
}
