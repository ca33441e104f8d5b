use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::accounts;
use crate::charge::{this_cpu, time_of_switch};
use crate::kernel_types::Task;
use crate::tasks::{Traced, find, inherit};

/// A new thread becomes runnable: its life begins.
///
/// By the clock of its run queue, like a switch: the scheduler may take this reading for the switch-in too, so that another clock
/// would be ahead of it.
///
/// `TP_PROTO(struct task_struct *p)`, in the context of the task that made it, with the lock of the run queue that it is on now.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L182>
#[btf_tracepoint(function = "sched_wakeup_new")]
fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    let Some(traced) = find(task).or_else(|| begin_user_worker(task)) else { return 0 };
    let Some(cpu) = this_cpu(task.cpu()) else { return 0 };
    let now_ns = time_of_switch(cpu, task.rq_clock_ns());
    if traced.record.clock.wakeup_new(now_ns) {
        traced.record.start_ns = now_ns;
    }
    accounts::forked(task, traced.slot, now_ns);
    0
}

/// Begins to trace a thread that the kernel adds to a process for its own work, for io_uring or vhost: `create_io_thread` and
/// `vhost_task_create` copy a task without `sched_process_fork`. Any other thread that is not found was refused there, and counted.
#[inline(never)]
fn begin_user_worker(task: Task) -> Option<Traced> {
    if !task.is_user_worker() {
        return None;
    }
    let process = find(task.leader())?;
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    inherit(process.record, task, cpu);
    find(task)
}
