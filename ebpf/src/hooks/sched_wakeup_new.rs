use aya_ebpf::{helpers::generated::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{kernel_types::Task, tasks::find};

/// A forked thread becomes runnable: its life begins.
///
/// `TP_PROTO(struct task_struct *p)`, in the context of the task that forked it.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L182>
#[btf_tracepoint(function = "sched_wakeup_new")]
fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    if let Some(traced) = find(task) {
        // SAFETY: a helper without preconditions.
        let now_ns = unsafe { bpf_ktime_get_ns() };
        if traced.record.clock.wakeup_new(now_ns) {
            traced.record.start_ns = now_ns;
        }
    }
    0
}
