//! The account of one CPU: who is on it, how long it was idle, and whether every switch was seen.
//!
//! Pure. A switch names the task that leaves and the one that comes. The task that leaves must be the one that came last, or a switch in
//! between was not seen: with this the kernel side checks itself, on every CPU and at every switch. Then the run queue's own count of
//! switches shows how many were not seen.

use crate::abi::CpuRecord;
use crate::loss::Loss;

/// A task in a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switched {
    /// Address of its `task_struct`, never 0.
    pub task: u64,
    /// Thread id; 0 for the idle task of every CPU.
    pub tid: u32,
}

impl CpuRecord {
    /// Takes a switch at `now_ns`. Counts a [`Loss::SwitchChainBroken`] if one before it was not seen.
    #[inline(always)]
    pub fn switch(&mut self, prev: Switched, next: Switched, now_ns: u64) {
        if self.task != prev.task && self.task != 0 {
            self.loss[Loss::SwitchChainBroken as usize] += 1;
        }
        // Nothing per thread is ever kept under pid 0.
        if prev.tid == 0 {
            self.switches_from_idle += 1;
            // Even if the switch to it was not seen: then the CPU was idle for nearly all of that time. Time offline counts as idle too,
            // since no event tells the two apart.
            if self.since_ns != 0 {
                self.idle_ns += now_ns.saturating_sub(self.since_ns);
            }
        }
        self.idle = u64::from(next.tid == 0);
        self.task = next.task;
        self.since_ns = now_ns;
        self.switches += 1;
    }

    /// Time of the idle task up to `now_ns`, the open interval included.
    pub fn idle_ns(&self, now_ns: u64) -> u64 {
        let open_ns = if self.idle == 0 { 0 } else { now_ns.saturating_sub(self.since_ns) };
        self.idle_ns + open_ns
    }

    /// Counts the switches that were not seen. To be called before a switch is counted whose `prev` is not the task that came last.
    /// `counted` is the run queue's count, this switch included; `None` where the kernel does not let us read it.
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

    use proptest::prelude::*;

    use super::*;

    /// The idle task and a few others.
    fn task(number: u32) -> Switched {
        Switched { task: 0xFFFF_0000 + u64::from(number), tid: number }
    }

    /// What a CPU does: which task follows which, when, and whether we see it. A task is never followed by itself.
    fn switches() -> impl Strategy<Value = Vec<(Switched, Switched, u64, bool)>> {
        prop::collection::vec((1_u32..5, 1_u64..1_000, prop::bool::weighted(0.8)), 1..100).prop_map(|steps| {
            let (mut on, mut now_ns) = (0, 1_000);
            let step = |(skip, step_ns, seen)| {
                let next = (on + skip) % 5;
                let switch = (task(on), task(next), now_ns, seen);
                (on, now_ns) = (next, now_ns + step_ns);
                switch
            };
            steps.into_iter().map(step).collect()
        })
    }

    /// As the program does it.
    fn take(cpu: &mut CpuRecord, prev: Switched, next: Switched, now_ns: u64, counted: Option<u64>) {
        if cpu.task != prev.task {
            cpu.count_unseen(counted);
        }
        cpu.switch(prev, next, now_ns);
    }

    proptest! {
        #[test]
        fn a_chain_that_was_seen_whole_is_not_broken(switches in switches()) {
            let mut cpu = CpuRecord::default();
            let (mut idle_ns, mut from_idle) = (0, 0);
            for (index, &(prev, next, now_ns, _)) in switches.iter().enumerate() {
                take(&mut cpu, prev, next, now_ns, None);
                from_idle += u64::from(prev.tid == 0);
                idle_ns += if prev.tid == 0 && index > 0 { now_ns - switches[index - 1].2 } else { 0 };
            }
            prop_assert_eq!((cpu.idle_ns, cpu.switches, cpu.switches_from_idle), (idle_ns, switches.len() as u64, from_idle));
            prop_assert_eq!((cpu.loss.iter().sum::<u64>(), cpu.switches_unseen), (0, 0));
        }

        /// Every gap shows, unless the same task happens to be on the CPU before and after it, which changes nothing. By the run queue's
        /// count every hidden switch is found at the next gap that shows, even those that did not show; without it each gap is one.
        #[test]
        fn every_gap_is_counted_once(before: u32, readable: bool, switches in switches()) {
            let mut cpu = CpuRecord::default();
            let mut last: Option<Switched> = None;
            let (mut seen_count, mut gaps, mut hidden, mut found) = (0, 0, 0, 0);
            for (counted, (prev, next, now_ns, seen)) in (u64::from(before) + 1..).zip(switches) {
                if !seen {
                    hidden += u64::from(last.is_some());
                    continue;
                }
                if last.is_some_and(|last| last != prev) {
                    gaps += 1;
                    found = hidden;
                }
                take(&mut cpu, prev, next, now_ns, readable.then_some(counted));
                (last, seen_count) = (Some(next), seen_count + 1);
                prop_assert_eq!(cpu.loss[Loss::SwitchChainBroken as usize], gaps);
                prop_assert_eq!(cpu.switches_unseen, if readable { found } else { gaps });
            }
            prop_assert_eq!((cpu.switches, cpu.loss.iter().sum::<u64>()), (seen_count, gaps), "no other loss");
        }

        #[test]
        fn a_cpu_is_never_idle_for_longer_than_it_was_watched(switches in switches()) {
            let mut cpu = CpuRecord::default();
            let seen: Vec<(Switched, Switched, u64, bool)> = switches.into_iter().filter(|(.., seen)| *seen).collect();
            for (prev, next, now_ns, _) in &seen {
                cpu.switch(*prev, *next, *now_ns);
            }
            if let (Some(first), Some(last)) = (seen.first(), seen.last()) {
                prop_assert!(cpu.idle_ns <= last.2 - first.2);
                prop_assert_eq!(cpu.idle != 0, last.1.tid == 0);
            }
        }
    }

    #[test]
    fn another_cpus_idle_task_is_not_this_ones() {
        let mut cpu = CpuRecord::default();
        cpu.switch(task(1), Switched { task: 7, tid: 0 }, 100);
        cpu.switch(Switched { task: 8, tid: 0 }, task(1), 200);
        assert_eq!(cpu.loss[Loss::SwitchChainBroken as usize], 1);
    }
}
