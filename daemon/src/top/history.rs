//! What a daemon has told so far, and what its workloads did in the last seconds.

use std::collections::{BTreeSet, VecDeque};

use super::wire::{Answer, Figures, Sample, Workload, WorkloadId};
use crate::serve::history::Position;

/// As many as a daemon keeps: five minutes.
const SAMPLES: usize = 300;
/// Samples that the figures are of: as long as the window that the sentence is of.
const RECENT: usize = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct History {
    position: Position,
    pub(super) taken_ns: u64,
    /// CPUs that were seen switching.
    pub(super) cpus: BTreeSet<u32>,
    pub(super) workloads: Vec<Workload>,
    /// Observations that leave a gap in the figures.
    pub(super) missing: u64,
    /// The oldest first.
    pub(super) samples: VecDeque<Sample>,
}

/// What a workload did in the last samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) on_cpu_ns: u64,
    /// In a run queue and not on a CPU.
    pub(super) runnable_ns: u64,
    pub(super) switches: u64,
    pub(super) migrations: u64,
    /// Alive at the last sample.
    pub(super) threads: u64,
}

impl Recent {
    fn add(&mut self, figures: &Figures) {
        let sum = |parts: &[u64]| parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part));
        self.on_cpu_ns = figures.on_cpu_ns.values().fold(self.on_cpu_ns, |sum, ns| sum.saturating_add(*ns));
        self.runnable_ns = sum(&[self.runnable_ns, figures.wakeup_wait_ns, figures.preempt_wait_ns]);
        self.switches = sum(&[self.switches, figures.voluntary, figures.preempted, figures.yielded]);
        self.migrations = sum(&[self.migrations, figures.migrations]);
        self.threads = figures.threads;
    }
}

impl History {
    /// How far it has got.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Takes in what was told. Another daemon knows nothing of what the last one told.
    pub(super) fn take(&mut self, answer: Answer) {
        if answer.epoch != self.position.epoch {
            *self = History::default();
        }
        let next = self.position.next;
        self.samples.extend(answer.samples.into_iter().filter(|sample| sample.number >= next));
        self.samples.drain(..self.samples.len().saturating_sub(SAMPLES));
        self.position = Position { epoch: answer.epoch, next: answer.next };
        self.taken_ns = answer.taken_ns;
        self.cpus = answer.idle_ns.into_keys().collect();
        self.workloads = answer.workloads;
        self.missing = answer.missing.values().fold(0, |sum, count| sum.saturating_add(*count));
    }

    fn recent(&self) -> impl Iterator<Item = &Sample> {
        self.samples.range(self.samples.len().saturating_sub(RECENT)..)
    }

    /// How long the last samples are together; at least a nanosecond.
    pub(super) fn wall_ns(&self) -> u64 {
        self.recent().fold(0_u64, |wall_ns, sample| wall_ns.saturating_add(sample.wall_ns)).max(1)
    }

    /// What a workload did in them.
    pub(super) fn recent_of(&self, workload: WorkloadId) -> Recent {
        let mut recent = Recent::default();
        for sample in self.recent() {
            // One that is left out did nothing and had no threads.
            recent.add(sample.workloads.get(&workload.0).unwrap_or(&Figures::default()));
        }
        recent
    }

    /// How long CPUs were idle in them, added up.
    pub(super) fn idle_ns(&self) -> u64 {
        self.recent().flat_map(|sample| sample.idle_ns.values()).fold(0, |sum: u64, ns| sum.saturating_add(*ns))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sample(number: u64, on_cpu_ns: u64) -> Sample {
        let figures =
            Figures { on_cpu_ns: BTreeMap::from([(0, on_cpu_ns), (1, 1)]), voluntary: 3, threads: number, ..Figures::default() };
        Sample { number, wall_ns: 100, idle_ns: BTreeMap::from([(0, 40)]), workloads: BTreeMap::from([(5, figures)]) }
    }

    #[test]
    fn figures_are_of_the_last_samples_and_each_counts_once() {
        let mut history = History::default();
        history.take(Answer { epoch: 1, next: 3, samples: vec![sample(0, 70), sample(1, 20), sample(2, 30)], ..Answer::default() });
        let recent = history.recent_of(WorkloadId(5));
        assert_eq!(recent, Recent { on_cpu_ns: 52, switches: 6, threads: 2, ..Recent::default() });
        assert_eq!((history.wall_ns(), history.idle_ns()), (200, 80));
        // Told again, as by a daemon that has heard another position.
        history.take(Answer { epoch: 1, next: 4, samples: vec![sample(2, 30), sample(3, 40)], ..Answer::default() });
        assert_eq!((history.samples.len(), history.recent_of(WorkloadId(5)).on_cpu_ns), (4, 72));
        assert_eq!(history.position(), Position { epoch: 1, next: 4 });
    }

    #[test]
    fn another_daemon_begins_anew_and_what_is_old_goes() {
        let mut history = History::default();
        let many =
            |epoch| Answer { epoch, next: 400, samples: (0..400).map(|number| sample(number, 1)).collect(), ..Answer::default() };
        history.take(many(1));
        assert_eq!((history.samples.len(), history.samples[0].number), (SAMPLES, 100));
        history.take(Answer { samples: vec![sample(0, 1)], ..many(2) });
        assert_eq!(history.samples.len(), 1);
        assert_eq!(history.recent_of(WorkloadId(6)), Recent::default());
    }
}
