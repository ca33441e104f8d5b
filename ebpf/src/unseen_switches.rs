//! Switches that tracing was kept from seeing, by the kernel's own count.
//!
//! Pure. Each run queue counts its switches. As long as every one is seen that count and ours grow alike; where a task leaves a CPU
//! that was not the last to come onto it, they are compared.

use crate::abi::CpuRecord;

impl CpuRecord {
    /// To be called before a switch is counted whose `prev` is not the task that came last. `counted` is the run queue's count with
    /// this switch; `None` where the kernel does not let us read it.
    #[inline(always)]
    pub fn count_unseen(&mut self, counted: Option<u64>) {
        let Some(counted) = counted else {
            // At least one, except at the first switch.
            self.switches_unseen += u64::from(self.task != 0);
            return;
        };
        if self.task == 0 {
            self.switches_before = counted.wrapping_sub(1);
        } else {
            self.switches_unseen = counted.wrapping_sub(self.switches_before).wrapping_sub(self.switches + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use proptest::prelude::*;

    /// A CPU's switches: which task comes next, and whether we see it.
    fn switches() -> impl Strategy<Value = Vec<(u64, bool)>> {
        prop::collection::vec((1_u64..6, prop::bool::weighted(0.8)), 1..200)
    }

    /// Lets these switches happen after `before` others, and returns how many were seen, how many were not up to the last break, and the
    /// record.
    fn run(before: u64, switches: &[(u64, bool)], readable: bool) -> (u64, u64, CpuRecord) {
        let mut cpu = CpuRecord::default();
        let (mut on, mut counted, mut seen, mut hidden, mut hidden_at_break) = (100, before, 0, 0, 0);
        for &(next, is_seen) in switches {
            if next == on {
                continue;
            }
            counted += 1;
            if is_seen {
                if cpu.task != on {
                    cpu.count_unseen(readable.then_some(counted));
                    hidden_at_break = hidden;
                }
                (cpu.task, cpu.switches) = (next, cpu.switches + 1);
                seen += 1;
            } else if seen > 0 {
                hidden += 1;
            }
            on = next;
        }
        (seen, hidden_at_break, cpu)
    }

    proptest! {
        /// To the number, those too that led back to the task that was there before and broke nothing by themselves.
        #[test]
        fn what_was_hidden_is_found_at_the_next_break(before: u32, steps in switches()) {
            let (seen, hidden, cpu) = run(u64::from(before), &steps, true);
            prop_assert_eq!(cpu.switches, seen);
            prop_assert_eq!(cpu.switches_unseen, hidden);
        }

        #[test]
        fn nothing_is_found_where_all_was_seen(before: u32, steps in switches()) {
            let steps: Vec<(u64, bool)> = steps.into_iter().map(|(next, _)| (next, true)).collect();
            prop_assert_eq!(run(u64::from(before), &steps, true).2.switches_unseen, 0);
            prop_assert_eq!(run(u64::from(before), &steps, false).2.switches_unseen, 0);
        }
    }

    #[test]
    fn two_hidden_in_a_row_are_two() {
        let steps = [(1, true), (2, true), (3, false), (4, false), (5, true), (1, true), (2, false), (3, true)];
        assert_eq!(run(7, &steps, true).2.switches_unseen, 3);
        // Without the run queue's count a break is one.
        assert_eq!(run(7, &steps, false).2.switches_unseen, 2);
    }
}
