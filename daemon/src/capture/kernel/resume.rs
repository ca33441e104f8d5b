//! Threads that run although their switch-in was not seen.
//!
//! The programs settle such a run when it ends (`task_clock::KernelGrowth`). Until then a thread that has a core to itself would be
//! reported as waiting, perhaps for seconds. Waits that long are rare, so asking `/proc` about each costs little.

use procfs::process::Process;
use schedscope_ebpf::abi::TaskRecord;
use schedscope_ebpf::task_clock::Phase;

/// Waits shorter than this are taken as they are.
const SUSPICIOUS_NS: u64 = 10_000_000;

/// Turns the copied record of a thread that waits suspiciously long into a running one if the kernel has run it meanwhile.
pub(super) fn if_unseen(record: &mut TaskRecord, now_ns: u64) {
    let waited_ns = now_ns.saturating_sub(record.clock.since_ns);
    if record.clock.phase != Phase::Runnable as u32 || waited_ns < SUSPICIOUS_NS {
        return;
    }
    let process = Process::new(record.tgid.cast_signed());
    let task = process.and_then(|process| process.task_from_tid(record.tid.cast_signed()));
    // The kernel's account is as of the last tick.
    if let Ok(used) = task.and_then(|task| task.schedstat()) {
        resume(record, now_ns, used.sum_exec_runtime.saturating_sub(record.runtime_at_departure_ns).min(waited_ns));
    }
}

/// Makes the last `ran_ns` of the open interval a run.
fn resume(record: &mut TaskRecord, now_ns: u64, ran_ns: u64) {
    if ran_ns == 0 {
        return;
    }
    let since_ns = now_ns - ran_ns;
    record.preempt_wait_ns += since_ns.saturating_sub(record.clock.since_ns);
    record.clock.since_ns = since_ns;
    record.clock.phase = Phase::Running as u32;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::snapshot::tests::thread;

    #[test]
    fn a_run_that_nobody_saw_begin_counts_as_one_and_a_wait_as_a_wait() {
        for (ran_ns, expected) in [(98_000_000, (98_000_000, 2_000_000)), (0, (0, 100_000_000))] {
            let mut thread = thread(1, Phase::Runnable);
            thread.record.clock.since_ns = 1_000_000;
            resume(&mut thread.record, 101_000_000, ran_ns);
            let times = thread.times(101_000_000);
            assert_eq!((times.on_cpu_ns, times.preempt_wait_ns), expected);
        }
    }
}
