use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::accounts;
use crate::kernel_types::Task;
use crate::tasks::find;

/// A woken thread has been queued, which completes what `sched_waking` began. Attached only while figures are verified, to measure how
/// much earlier our waits begin than the kernel's.
///
/// `TP_PROTO(struct task_struct *p)`, on the CPU that queued it, under its run queue's lock.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L174>
#[btf_tracepoint(function = "sched_wakeup")]
fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    let Some(traced) = find(task) else { return 0 };
    accounts::queued(task, traced.slot, &traced.record.clock);
    0
}
