//! What is settled between a thread's sums, its workload's and the kernel's, beyond the intervals themselves.

use crate::{
    abi::{Cell, TaskRecord},
    task_clock::Phase,
};

/// Settles at a thread's end what its waits were longer or shorter by; shorter at most by what they were. Returns by how much they
/// changed.
#[inline(always)]
pub fn settle_end(record: &mut TaskRecord, cell: &mut Cell) -> i64 {
    let carry_ns = record.clock.take_carry();
    let mut excess_ns = carry_ns.unsigned_abs();
    if carry_ns >= 0 {
        record.preempt_wait_ns += excess_ns;
        cell.preempt_wait_ns += excess_ns;
        return carry_ns;
    }
    let waits = [(&mut record.preempt_wait_ns, &mut cell.preempt_wait_ns), (&mut record.wakeup_wait_ns, &mut cell.wakeup_wait_ns)];
    for (of_thread, of_workload) in waits {
        let cut_ns = excess_ns.min(*of_thread).min(*of_workload);
        *of_thread -= cut_ns;
        *of_workload -= cut_ns;
        excess_ns -= cut_ns;
    }
    carry_ns + excess_ns.cast_signed()
}

/// Notes which of a thread's migrations are not the first since it last ran.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "it is compared with the number before it, and 2^32 switches apart is far")]
pub fn note_migration(record: &mut TaskRecord) {
    let at_switch = (record.voluntary + record.preempted + record.yielded) as u32 + 1;
    if record.switches_at_migration == at_switch {
        record.migrations_again += 1;
    }
    record.switches_at_migration = at_switch;
}

/// How long the kernel had the thread queued in a wait of which an event was missed: what `run_delay` has grown by since the arrival
/// that ended it. If the thread was moved meanwhile, the kernel had added a part of the wait before: then it is what `run_delay` is
/// beyond all waits of the thread that were accounted for.
#[inline(always)]
pub fn unaccounted_delay(record: &TaskRecord, delay_ns: u64) -> u64 {
    let since_arrival_ns = delay_ns.saturating_sub(record.run_delay_at_arrival_ns);
    let accounted_ns = record.kernel_before.run_delay_ns + record.wakeup_wait_ns + record.preempt_wait_ns;
    let beyond_ns = delay_ns.saturating_sub(accounted_ns);
    if record.clock.phase != Phase::Running as u32 || beyond_ns > since_arrival_ns { beyond_ns } else { since_arrival_ns }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task_clock::TaskClock;

    fn blank() -> (TaskRecord, Cell) {
        // SAFETY: both are made of integers, for which zero is a value.
        unsafe { (core::mem::zeroed(), core::mem::zeroed()) }
    }

    proptest! {
        #[test]
        fn settling_moves_the_sums_of_thread_and_workload_alike_and_never_below_zero(
            carry_ns in -2_000_i64..2_000, preempted_ns in 0_u64..1_000, woken_ns in 0_u64..1_000,
            others_preempted_ns in 0_u64..1_000, others_woken_ns in 0_u64..1_000,
        ) {
            let (mut record, mut cell) = blank();
            record.clock.carry_ns = carry_ns;
            (record.preempt_wait_ns, record.wakeup_wait_ns) = (preempted_ns, woken_ns);
            (cell.preempt_wait_ns, cell.wakeup_wait_ns) = (preempted_ns + others_preempted_ns, woken_ns + others_woken_ns);
            let settled_ns = settle_end(&mut record, &mut cell);
            prop_assert_eq!(cell.preempt_wait_ns - record.preempt_wait_ns, others_preempted_ns);
            prop_assert_eq!(cell.wakeup_wait_ns - record.wakeup_wait_ns, others_woken_ns);
            let (before, after) = (preempted_ns + woken_ns, record.preempt_wait_ns + record.wakeup_wait_ns);
            prop_assert_eq!(after, before.saturating_add_signed(carry_ns));
            prop_assert_eq!(after, before.wrapping_add_signed(settled_ns));
            prop_assert_eq!(record.clock.carry_ns, 0);
        }
    }

    #[test]
    fn only_a_second_move_between_two_switches_is_another_one() {
        let (mut record, _) = blank();
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
    fn the_delay_of_a_missed_event_is_the_kernels() {
        let (mut record, _) = blank();
        record.kernel_before.run_delay_ns = 100;
        record.wakeup_wait_ns = 30;
        record.preempt_wait_ns = 20;
        record.run_delay_at_arrival_ns = 160;
        record.clock = TaskClock::starting(Phase::Running, 0);
        // Since the arrival, 40; beyond what is accounted for, 50, as after a move.
        assert_eq!(unaccounted_delay(&record, 200), 50);
        record.run_delay_at_arrival_ns = 140;
        assert_eq!(unaccounted_delay(&record, 200), 60);
        // Its arrival was missed too, so nothing is known of that moment.
        record.clock = TaskClock::starting(Phase::Blocked, 0);
        assert_eq!(unaccounted_delay(&record, 200), 50);
        assert_eq!(unaccounted_delay(&record, 10), 0);
    }
}
