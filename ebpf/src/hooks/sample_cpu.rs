use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_current_task};
use aya_ebpf::macros::perf_event;
use aya_ebpf::programs::PerfEventContext;

use crate::kernel_lock;
use crate::kernel_types::HAS_KERNEL_CODE;
use crate::tasks::record_of;
use crate::user_code;

/// The CPU's clock has run for a while: is the thread there waiting for a lock inside the kernel, or for another thread in a loop of its own?
/// Who waits so is not put to sleep, and no switch tells of it.
///
/// `static enum hrtimer_restart perf_swevent_hrtimer(struct hrtimer *hrtimer)` calls it, from the timer's interrupt: `sched_switch`, which
/// runs with interrupts off, is never halfway through the record.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/events/core.c>
#[perf_event]
fn sample_cpu(ctx: PerfEventContext) -> u32 {
    // SAFETY: helpers without preconditions.
    let (ids, address) = unsafe { (bpf_get_current_pid_tgid(), bpf_get_current_task()) };
    let Some(record) = record_of(ids as u32, address) else { return 0 };
    if user_code::is_interrupted(ctx.as_ptr()) {
        if user_code::is_pausing(ctx.as_ptr()) {
            record.samples_pausing += 1;
        }
    } else if HAS_KERNEL_CODE.load() != 0 && kernel_lock::is_current_at_one(ctx.as_ptr()) {
        record.samples_at_locks += 1;
    }
    0
}
