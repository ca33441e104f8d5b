use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    accounts,
    charge::{this_cpu, time_of_switch},
    kernel_types::Task,
    tasks::find,
};

/// A forked thread becomes runnable: its life begins.
///
/// By the clock of its run queue, like a switch: the scheduler may take this reading for the switch-in too, so that another clock
/// would be ahead of it.
///
/// `TP_PROTO(struct task_struct *p)`, in the context of the task that forked it, with the lock of the run queue that it is on now.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L182>
#[btf_tracepoint(function = "sched_wakeup_new")]
fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    if let Some(traced) = find(task) {
        let Some(cpu) = this_cpu(task.cpu()) else { return 0 };
        let now_ns = time_of_switch(cpu, task);
        if traced.record.clock.wakeup_new(now_ns) {
            traced.record.start_ns = now_ns;
        }
        accounts::forked(task, traced.slot, now_ns);
    }
    0
}
