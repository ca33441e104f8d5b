//! How the sums of a thread and its workload are reconciled with the kernel's, beyond the intervals themselves.

use crate::abi::{Cell, KernelCounts, TaskRecord};

impl TaskRecord {
    /// All closed waits.
    #[inline(always)]
    pub fn wait_ns(&self) -> u64 {
        self.wakeup_wait_ns + self.preempt_wait_ns
    }

    /// All switches away from the thread.
    #[inline(always)]
    pub fn switches(&self) -> u64 {
        self.voluntary + self.preempted + self.yielded
    }
}

/// Adds to the waits of a thread that ends the correction that its next wait would have got; no wait goes below 0, nor below the transit
/// in it, neither the thread's nor that of its workload on this CPU, where the thread may have waited less. Returns by how much they changed.
#[inline(always)]
pub fn settle_end(record: &mut TaskRecord, cell: &mut Cell) -> i64 {
    let carry_ns = core::mem::take(&mut record.clock.carry_ns);
    let mut excess_ns = carry_ns.unsigned_abs();
    if carry_ns >= 0 {
        record.preempt_wait_ns += excess_ns;
        cell.preempt_wait_ns += excess_ns;
        return carry_ns;
    }
    let waits = [
        (&mut record.preempt_wait_ns, &mut cell.preempt_wait_ns, [0, 0]),
        (&mut record.wakeup_wait_ns, &mut cell.wakeup_wait_ns, [record.transit_ns, cell.transit_ns]),
    ];
    for (of_thread, of_workload, transit_ns) in waits {
        let [thread_ns, workload_ns] = transit_ns;
        let cut_ns = excess_ns.min(of_thread.saturating_sub(thread_ns)).min(of_workload.saturating_sub(workload_ns));
        *of_thread -= cut_ns;
        *of_workload -= cut_ns;
        excess_ns -= cut_ns;
    }
    carry_ns + excess_ns.cast_signed()
}

/// Notes which of a thread's migrations are not the first since it last ran.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "only compared with the number before it, which is never 2^32 switches away")]
pub fn note_migration(record: &mut TaskRecord) {
    let at_switch = record.switches() as u32 + 1;
    if record.switches_at_migration == at_switch {
        record.migrations_again += 1;
    }
    record.switches_at_migration = at_switch;
}

/// How long a woken thread was on its way to a run queue: its wait minus the time for which the kernel has had it queued.
///
/// That is the growth of `run_delay` since it blocked, which a move between queues adds to, and `queued_ns`, the age of the kernel's
/// stamp. On an idle CPU the way is an interrupt that has to wake it up; nobody else has the CPU.
#[inline(always)]
pub fn transit(record: &TaskRecord, wait_ns: u64, delay_ns: u64, queued_ns: u64) -> u64 {
    let queued_ns = queued_ns + delay_ns.saturating_sub(record.run_delay_at_departure_ns);
    wait_ns.saturating_sub(queued_ns)
}

/// How long the kernel had the thread queued in a wait whose switch-in was missed: `run_delay` minus all waits of the thread that are
/// accounted for.
#[inline(always)]
pub fn unaccounted_delay(record: &TaskRecord, delay_ns: u64) -> u64 {
    let accounted_ns = record.kernel_before.run_delay_ns + record.wait_ns();
    delay_ns.saturating_sub(accounted_ns)
}

/// Whether the switch that is just happening, whose thread looks as if it had not meant to block, is in the kernel's `nvcsw`.
///
/// A thread on its way to sleep that finds a signal pending becomes runnable again before the switch is announced, and stays queued;
/// the kernel counts the switch as voluntary nevertheless (`__schedule` in `kernel/sched/core.c`). Its state says so before 5.18, and the
/// announced one since 8feb053d5319, which newer stable kernels have too; between them the announced one is that before.
/// Of a thread some of whose switches were missed, this may not be told.
/// <https://github.com/torvalds/linux/commit/8feb053d53194382fcfb68231296fdc220497ea6>
#[inline(always)]
pub fn was_kept_awake(record: &TaskRecord, kernel: &KernelCounts) -> bool {
    let before = &record.kernel_before;
    kernel.involuntary.wrapping_sub(before.involuntary) == record.preempted + record.yielded
        && kernel.voluntary.wrapping_sub(before.voluntary) == record.voluntary + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_switch_is_what_the_kernel_has_just_counted_it_as(before in prop::array::uniform2(0_u64..9), ours in prop::array::uniform3(0_u64..9)) {
            let [voluntary, preempted, yielded] = ours;
            let kernel_before = KernelCounts { voluntary: before[0], involuntary: before[1], ..KernelCounts::default() };
            let record = TaskRecord { voluntary, preempted, yielded, kernel_before, ..TaskRecord::default() };
            let counted = |voluntarily: u64, involuntarily: u64| KernelCounts {
                voluntary: before[0] + voluntary + voluntarily,
                involuntary: before[1] + preempted + yielded + involuntarily,
                ..KernelCounts::default()
            };
            prop_assert!(was_kept_awake(&record, &counted(1, 0)));
            prop_assert!(!was_kept_awake(&record, &counted(0, 1)));
            // Switches were missed.
            prop_assert!(!was_kept_awake(&record, &counted(1, 1)) && !was_kept_awake(&record, &counted(3, 0)));
        }
    }

    proptest! {
        #[test]
        fn settling_moves_the_sums_of_thread_and_workload_alike_and_never_below_zero(
            carry_ns in -2_000_i64..2_000, preempted_ns in 0_u64..1_000, woken_ns in 0_u64..1_000,
            transit_ns in 0_u64..1_000, others_preempted_ns in 0_u64..1_000, others_woken_ns in 0_u64..1_000,
        ) {
            let (mut record, mut cell) = (TaskRecord::default(), Cell::default());
            record.clock.carry_ns = carry_ns;
            (record.preempt_wait_ns, record.wakeup_wait_ns) = (preempted_ns, woken_ns);
            record.transit_ns = transit_ns.min(woken_ns);
            (cell.preempt_wait_ns, cell.wakeup_wait_ns) = (preempted_ns + others_preempted_ns, woken_ns + others_woken_ns);
            let settled_ns = settle_end(&mut record, &mut cell);
            prop_assert_eq!(cell.preempt_wait_ns - record.preempt_wait_ns, others_preempted_ns);
            prop_assert_eq!(cell.wakeup_wait_ns - record.wakeup_wait_ns, others_woken_ns);
            let (before, after) = (preempted_ns + woken_ns, record.wait_ns());
            prop_assert_eq!(after, before.saturating_add_signed(carry_ns).max(record.transit_ns));
            prop_assert!(record.wakeup_wait_ns >= record.transit_ns);
            prop_assert_eq!(after, before.wrapping_add_signed(settled_ns));
            prop_assert_eq!(record.clock.carry_ns, 0);
        }
    }

    proptest! {
        /// What a thread has waited elsewhere is not taken from this CPU's sums: both keep what was on the way to a run queue.
        #[test]
        fn settling_leaves_every_transit_whole(
            carry_ns in -2_000_i64..2_000, thread in prop::array::uniform3(0_u64..1_000), workload in prop::array::uniform3(0_u64..1_000),
        ) {
            let (mut record, mut cell) = (TaskRecord::default(), Cell::default());
            record.clock.carry_ns = carry_ns;
            (record.preempt_wait_ns, record.wakeup_wait_ns, record.transit_ns) = (thread[0], thread[1], thread[2].min(thread[1]));
            (cell.preempt_wait_ns, cell.wakeup_wait_ns, cell.transit_ns) = (workload[0], workload[1], workload[2].min(workload[1]));
            let settled_ns = settle_end(&mut record, &mut cell);
            prop_assert!(record.wakeup_wait_ns >= record.transit_ns && cell.wakeup_wait_ns >= cell.transit_ns);
            prop_assert_eq!(record.wait_ns(), (thread[0] + thread[1]).wrapping_add_signed(settled_ns));
            prop_assert_eq!(cell.preempt_wait_ns + cell.wakeup_wait_ns, (workload[0] + workload[1]).wrapping_add_signed(settled_ns));
        }
    }

    #[test]
    fn only_a_second_move_between_two_switches_is_another_one() {
        let mut record = TaskRecord::default();
        note_migration(&mut record);
        assert_eq!(record.migrations_again, 0);
        note_migration(&mut record);
        note_migration(&mut record);
        assert_eq!(record.migrations_again, 2);
        record.voluntary += 1;
        note_migration(&mut record);
        record.preempted += 1;
        note_migration(&mut record);
        record.yielded += 1;
        note_migration(&mut record);
        assert_eq!(record.migrations_again, 2);
    }

    #[test]
    fn a_woken_thread_is_in_transit_until_it_is_queued() {
        let record = TaskRecord { run_delay_at_departure_ns: 1_000, ..TaskRecord::default() };
        assert_eq!(transit(&record, 70, 1_000, 20), 50);
        assert_eq!(transit(&record, 70, 1_030, 20), 20);
        // Since 6.12 the kernel counts sleep as waiting if the thread is moved in it.
        assert_eq!(transit(&record, 70, 9_000, 20), 0);
    }

    #[test]
    fn the_delay_of_a_missed_event_is_the_kernels() {
        let mut record = TaskRecord::default();
        record.kernel_before.run_delay_ns = 100;
        record.wakeup_wait_ns = 30;
        record.preempt_wait_ns = 20;
        assert_eq!(unaccounted_delay(&record, 200), 50);
        assert_eq!(unaccounted_delay(&record, 10), 0);
    }
}
