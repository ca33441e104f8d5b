use aya_ebpf::{helpers::generated::bpf_get_smp_processor_id, macros::btf_tracepoint, programs::BtfTracePointContext};
use schedscope_ebpf::task_clock::Phase;

use crate::{
    charge::cell,
    kernel_types::Task,
    tasks::{admit, find},
};

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
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let workload = parent.record.workload;
    if let Some(record) = admit(child, workload, Phase::New, Phase::New, cpu) {
        // A thread shares its parent's addresses, and a process begins with a copy of them.
        record.gil = parent.record.gil;
        if let Some(cell) = cell(cpu, workload) {
            cell.threads_started += 1;
            if child.tid() == child.tgid() {
                cell.processes_started += 1;
            }
        }
    }
    0
}
