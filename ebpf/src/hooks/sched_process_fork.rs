use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel_types::Task;
use crate::tasks::{find, inherit};

/// Workload membership is inherited, by threads and processes alike.
///
/// `TP_PROTO(struct task_struct *parent, struct task_struct *child)`, where `parent` is the task that called fork or clone, not
/// the one that becomes the child's parent. The child is not queued yet.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L368>
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: both arguments are trusted task pointers.
    let (parent, child) = unsafe { (Task::from_raw(ctx.arg(0)), Task::from_raw(ctx.arg(1))) };
    let Some(parent) = find(parent) else { return 0 };
    // SAFETY: a helper without preconditions.
    inherit(parent.record, child, unsafe { bpf_get_smp_processor_id() });
    0
}
