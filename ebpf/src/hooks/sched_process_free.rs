use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel_types::Task;
use crate::tasks::release;

/// A task is freed, an RCU grace period after it was reaped. Its last switch closed the ledger long before.
///
/// `TP_PROTO(struct task_struct *p)`, in the context of whoever runs the RCU callback.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L311>
#[btf_tracepoint(function = "sched_process_free")]
fn sched_process_free(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    // SAFETY: a helper without preconditions.
    release(task, unsafe { bpf_get_smp_processor_id() });
    0
}
