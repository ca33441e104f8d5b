use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use schedscope_ebpf::gil::{AddressRange, RANGES};

use crate::kernel_types::Task;
use crate::owner;
use crate::tasks::{find, rename};

/// A process has called exec: it belongs from here on where its new program does. If the calling thread was not the leader, it has
/// taken over the leader's pid.
///
/// `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`, in the context of `p`.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L399>
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the argument is a trusted task pointer.
    let task = unsafe { Task::from_raw(ctx.arg(0)) };
    let Some(mut traced) = find(task) else { return 0 };
    let old_tid = ctx.arg::<u32>(1);
    let is_leader = old_tid == task.tid();
    if !is_leader {
        rename(task, &mut traced, old_tid);
    }
    // The kernel has ended the leader of a thread that was not, and the process was counted then.
    let is_uncounted = is_leader && owner::is_uncounted(traced.record);
    task.read_comm(&mut traced.record.comm);
    traced.record.execs += 1;
    // The addresses were those of the old program.
    traced.record.gil = [AddressRange::EMPTY; RANGES];
    if owner::is_decided_at_exec() {
        owner::hand_over(task, &mut traced, is_uncounted);
    }
    0
}
