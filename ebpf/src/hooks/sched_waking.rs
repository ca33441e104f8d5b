use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel_types::Task;
use crate::tasks::find;

/// A blocked thread becomes runnable. `sched_wakeup` follows, perhaps on another CPU and after an interrupt; the wait begins here.
///
/// `TP_PROTO(struct task_struct *p)`, in the waker's context, before a CPU is chosen, under the task's `pi_lock`.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L166>
#[btf_tracepoint(function = "sched_waking")]
fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    let Some(traced) = find(task) else { return 0 };
    // Also reported for a task that was about to sleep but never left the queue: it did not block.
    if task.is_queued() {
        return 0;
    }
    // SAFETY: a helper without preconditions.
    traced.record.clock.waking(unsafe { bpf_ktime_get_ns() });
    0
}
