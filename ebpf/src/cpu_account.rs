//! The account of one CPU: who is on it, how long it was idle, and whether every switch was seen.
//!
//! Pure. A switch names the task that leaves and the one that comes: who leaves must be who came last, or a switch in between was not
//! seen. That is the check that the kernel side has of itself, on every CPU and at every switch.

use crate::{abi::CpuRecord, loss::Loss};

/// A task in a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switched {
    /// Address of its `task_struct`, never 0.
    pub task: u64,
    /// Thread id; 0 for the idle task of every CPU.
    pub tid: u32,
}

impl CpuRecord {
    /// Takes a switch at `now_ns` in. Counts a [`Loss::SwitchChainBroken`] if one before it was not seen.
    #[inline(always)]
    pub fn switch(&mut self, prev: Switched, next: Switched, now_ns: u64) {
        if self.task != prev.task && self.task != 0 {
            self.loss[Loss::SwitchChainBroken as usize] += 1;
        }
        // Nothing per thread is ever kept under pid 0.
        if prev.tid == 0 {
            self.switches_from_idle += 1;
            // Also when the switch to it was not seen: then the CPU was idle for nearly all of that time.
            if self.since_ns != 0 {
                self.idle_ns += now_ns.saturating_sub(self.since_ns);
            }
        }
        self.idle = u64::from(next.tid == 0);
        self.task = next.task;
        self.since_ns = now_ns;
        self.switches += 1;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use proptest::prelude::*;

    /// Takes a switch in; whether it showed that one before it was not seen.
    fn breaks(cpu: &mut CpuRecord, prev: Switched, next: Switched, now_ns: u64) -> bool {
        let before = cpu.loss;
        cpu.switch(prev, next, now_ns);
        let added = cpu.loss[Loss::SwitchChainBroken as usize] - before[Loss::SwitchChainBroken as usize];
        assert_eq!(cpu.loss.iter().sum::<u64>(), before.iter().sum::<u64>() + added, "no other loss");
        assert!(added <= 1);
        added == 1
    }

    /// The idle task and a few others.
    fn task(number: u32) -> Switched {
        Switched { task: 0xFFFF_0000 + u64::from(number), tid: number }
    }

    /// What a CPU does: which task comes when, and whether we see it. A task is never followed by itself.
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

    proptest! {
        #[test]
        fn a_chain_that_was_seen_whole_is_not_broken(switches in switches()) {
            let mut cpu = CpuRecord::default();
            let mut idle_ns = 0;
            for (index, &(prev, next, now_ns, _)) in switches.iter().enumerate() {
                prop_assert!(!breaks(&mut cpu, prev, next, now_ns));
                idle_ns += if prev.tid == 0 && index > 0 { now_ns - switches[index - 1].2 } else { 0 };
            }
            prop_assert_eq!(cpu.idle_ns, idle_ns);
            prop_assert_eq!(cpu.switches, switches.len() as u64);
        }

        /// Every gap shows, unless the same task happens to be on the CPU before and after it, which changes nothing.
        #[test]
        fn every_gap_is_counted_once(switches in switches()) {
            let mut cpu = CpuRecord::default();
            let mut last: Option<Switched> = None;
            for (prev, next, now_ns, _) in switches.into_iter().filter(|(.., seen)| *seen) {
                let gap = last.is_some_and(|last| last != prev);
                prop_assert_eq!(breaks(&mut cpu, prev, next, now_ns), gap);
                last = Some(next);
            }
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
    fn one_switch_that_was_not_seen_breaks_the_chain_once() {
        let mut cpu = CpuRecord::default();
        assert!(!breaks(&mut cpu, task(0), task(1), 100), "the first has nothing before it");
        // Not seen: 1 to 2.
        assert!(breaks(&mut cpu, task(2), task(0), 200));
        assert!(!breaks(&mut cpu, task(0), task(1), 300));
        assert_eq!((cpu.idle_ns, cpu.switches, cpu.switches_from_idle), (100, 3, 2));
    }

    #[test]
    fn a_cpu_that_goes_away_and_comes_back_goes_on_with_its_idle_task() {
        let mut cpu = CpuRecord::default();
        cpu.switch(task(0), task(1), 100);
        // The last switch of a CPU that is turned off leads to its idle task, and the first one afterwards away from it. The time in
        // between counts as idle: no event tells the two apart.
        assert!(!breaks(&mut cpu, task(1), task(0), 200));
        assert!(!breaks(&mut cpu, task(0), task(3), 1_000_200));
        assert_eq!(cpu.idle_ns, 1_000_000);
    }

    #[test]
    fn another_cpus_idle_task_is_not_this_ones() {
        let mut cpu = CpuRecord::default();
        cpu.switch(task(1), Switched { task: 7, tid: 0 }, 100);
        assert!(breaks(&mut cpu, Switched { task: 8, tid: 0 }, task(1), 200));
    }
}
