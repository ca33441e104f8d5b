use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use schedscope_ebpf::residual::Figures;
use schedscope_ebpf::task_clock::Phase;

use crate::kernel_types::Task;
use crate::owner;
use crate::tasks::find;

/// A thread begins to end. From here on other counters stop following it, one by one: perf's, resource usage, taskstats.
///
/// `TP_PROTO(struct task_struct *p)`, with a second argument since 6.16, in the context of `p`, before its last switch.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/exit.c#L931>
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    let Some(traced) = find(task) else { return 0 };
    let record = traced.record;
    let mut at_exit = Figures::of(record);
    if record.clock.phase == Phase::Running as u32 {
        // SAFETY: a helper without preconditions.
        at_exit.on_cpu_ns += unsafe { bpf_ktime_get_ns() }.saturating_sub(record.clock.since_ns);
    }
    record.at_exit = at_exit;
    if owner::is_decided_at_exec() && task.tid() == task.tgid() && owner::is_uncounted(record) {
        // SAFETY: a helper without preconditions.
        owner::count_start(unsafe { bpf_get_smp_processor_id() }, record.workload, true);
    }
    0
}
