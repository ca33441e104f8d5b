//! What every thread did from one sample to the next, so that a program's phases can be told apart. Pure.
//!
//! The sums are exact: what a sample misses inside a moment is in the next one.

use std::collections::HashMap;

use crate::capture::snapshot::{Snapshot, Thread, Tid, Times};

/// Parts kept over all moments, 200 bytes each. When they are used up, pairs of moments are merged.
const MAX_PARTS: usize = 40_000;

/// One stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) length_ns: u64,
    /// Time that the host's CPUs were idle.
    pub(crate) idle_ns: u64,
    /// What each thread did that was alive, by its index into [`History::threads`]; at most one for each.
    pub(crate) parts: Vec<(usize, Times)>,
}

#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Keys of the threads, in the order in which they were first seen; see [`Thread::key`].
    pub(crate) threads: Vec<(Tid, u64)>,
    pub(crate) moments: Vec<Moment>,
    /// Samples that make a moment; doubled with each merging.
    samples_each: u32,
    /// Samples in the last moment.
    samples: u32,
    parts: usize,
    sampled_ns: u64,
    idle_ns: u64,
    /// What each thread had done at the last sample, and its index.
    seen: HashMap<(Tid, u64), (usize, Times)>,
}

impl History {
    pub(crate) fn starting(snapshot: &Snapshot) -> History {
        let mut history = History {
            threads: Vec::new(),
            moments: Vec::new(),
            samples_each: 1,
            samples: 0,
            parts: 0,
            sampled_ns: snapshot.taken_ns,
            idle_ns: idle_ns(snapshot),
            seen: HashMap::new(),
        };
        for thread in &snapshot.threads {
            let index = history.index(thread);
            history.seen.insert(thread.key(), (index, thread.times(snapshot.taken_ns)));
        }
        history
    }

    pub(crate) fn feed(&mut self, snapshot: &Snapshot) {
        let now_ns = snapshot.taken_ns;
        if now_ns <= self.sampled_ns {
            return;
        }
        let idle_ns = idle_ns(snapshot);
        let mut moment = Moment {
            length_ns: now_ns - self.sampled_ns,
            idle_ns: idle_ns.saturating_sub(self.idle_ns),
            parts: Vec::with_capacity(snapshot.threads.len()),
        };
        for thread in snapshot.threads.iter().chain(&snapshot.released) {
            let (index, before) = self.seen.get(&thread.key()).copied().unwrap_or_else(|| (self.index(thread), Times::default()));
            let now = thread.times(now_ns);
            let grown = now.since(&before);
            // Sums of a record that is being written may be older.
            self.seen.insert(thread.key(), (index, now.zip(&before, u64::max)));
            if grown.total_ns() > 0 {
                moment.parts.push((index, grown));
            }
        }
        for thread in &snapshot.released {
            self.seen.remove(&thread.key());
        }
        self.sampled_ns = now_ns;
        self.idle_ns = self.idle_ns.max(idle_ns);
        self.add(moment);
    }

    fn add(&mut self, moment: Moment) {
        match self.moments.last_mut() {
            Some(last) if self.samples < self.samples_each => {
                self.samples += 1;
                let before = last.parts.len();
                last.join(moment);
                self.parts += last.parts.len() - before;
            }
            _ => {
                self.samples = 1;
                self.parts += moment.parts.len();
                self.moments.push(moment);
            }
        }
        while self.parts > MAX_PARTS && self.moments.len() > 1 {
            self.merge_pairs();
        }
    }

    fn merge_pairs(&mut self) {
        self.samples += if self.moments.len().is_multiple_of(2) { self.samples_each } else { 0 };
        self.samples_each *= 2;
        let mut merged: Vec<Moment> = Vec::with_capacity(self.moments.len() / 2 + 1);
        for (number, moment) in std::mem::take(&mut self.moments).into_iter().enumerate() {
            match merged.last_mut() {
                Some(left) if number % 2 == 1 => left.join(moment),
                _ => merged.push(moment),
            }
        }
        self.moments = merged;
        self.parts = self.moments.iter().map(|moment| moment.parts.len()).sum();
    }

    fn index(&mut self, thread: &Thread) -> usize {
        self.threads.push(thread.key());
        self.threads.len() - 1
    }
}

impl Moment {
    /// Takes in the moment that follows.
    pub(crate) fn join(&mut self, next: Moment) {
        self.length_ns += next.length_ns;
        self.idle_ns += next.idle_ns;
        let place: HashMap<usize, usize> = self.parts.iter().enumerate().map(|(place, (thread, _))| (*thread, place)).collect();
        for (thread, times) in next.parts {
            match place.get(&thread) {
                Some(&place) => self.parts[place].1 = self.parts[place].1.zip(&times, u64::saturating_add),
                None => self.parts.push((thread, times)),
            }
        }
    }
}

fn idle_ns(snapshot: &Snapshot) -> u64 {
    snapshot.cpus.iter().map(|cpu| cpu.idle_ns(snapshot.taken_ns)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schedscope_ebpf::task_clock::Phase;

    use super::*;

    const STEP_NS: u64 = 5_000_000;

    fn at(number: u64, on_cpu_ns: &[u64]) -> Snapshot {
        let thread = |(tid, ns): (usize, &u64)| {
            let mut thread = crate::capture::snapshot::tests::thread(u32::try_from(tid).unwrap_or(0) + 1, Phase::Running);
            thread.record.on_cpu_ns = *ns;
            thread.record.clock.since_ns = number * STEP_NS;
            thread
        };
        Snapshot { taken_ns: number * STEP_NS, threads: on_cpu_ns.iter().enumerate().map(thread).collect(), ..Snapshot::default() }
    }

    proptest! {
        /// However long it takes and however many there are: the moments cover the time, and nothing that a thread did is lost.
        #[test]
        fn nothing_is_lost_when_moments_are_merged(steps in prop::collection::vec(prop::collection::vec(0_u64..5_000_000, 1..4), 1..40), factor in 1_usize..4) {
            let crowd = 2500 * (factor - 1);
            let mut sums = vec![0; crowd + 3];
            let mut history = History::starting(&at(1, &sums));
            for (number, step) in (2_u64..).zip(&steps) {
                for (sum, ns) in sums.iter_mut().zip(step) {
                    *sum += ns;
                }
                for sum in &mut sums[3..] {
                    *sum += 1;
                }
                history.feed(&at(number, &sums));
            }
            prop_assert_eq!(history.moments.iter().map(|moment| moment.length_ns).sum::<u64>(), steps.len() as u64 * STEP_NS);
            prop_assert!(history.parts <= MAX_PARTS || history.moments.len() == 1);
            prop_assert_eq!(history.parts, history.moments.iter().map(|moment| moment.parts.len()).sum::<usize>());
            let mut found = vec![0; sums.len()];
            for (thread, times) in history.moments.iter().flat_map(|moment| &moment.parts) {
                found[*thread] += times.on_cpu_ns;
            }
            prop_assert_eq!(found, sums);
        }
    }
}
