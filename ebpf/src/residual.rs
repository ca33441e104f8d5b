//! Our counts of a thread against the kernel's own, where both can be read at the same moment.
//!
//! Pure: user space compares threads that have ended, the task iterator those that wait.

use crate::abi::{KernelCounts, TaskRecord};
use crate::task_clock::Phase;

/// How far our counts are from the kernel's, summed over threads. Differences are absolute, so they cannot cancel out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Residuals {
    /// Threads compared.
    pub compared: u64,
    /// Of these, threads with a count that differs.
    pub differing: u64,
    /// Difference in `nvcsw`.
    pub voluntary: u64,
    /// Difference in `nivcsw`.
    pub involuntary: u64,
    /// Difference in `se.nr_migrations`.
    pub migrations: u64,
    /// Difference in `se.sum_exec_runtime`.
    pub on_cpu_ns: u64,
}

/// The figures of a thread that are compared: ours, or how far the kernel's have grown since it was registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Figures {
    /// `se.sum_exec_runtime`.
    pub on_cpu_ns: u64,
    /// `nvcsw`.
    pub voluntary: u64,
    /// `nivcsw`.
    pub involuntary: u64,
    /// `se.nr_migrations`.
    pub migrations: u64,
}

impl Figures {
    /// Our figures.
    #[inline(always)]
    pub fn of(record: &TaskRecord) -> Figures {
        Figures {
            voluntary: record.voluntary,
            involuntary: record.preempted + record.yielded,
            migrations: record.migrations[0] + record.migrations[1],
            on_cpu_ns: record.on_cpu_ns,
        }
    }

    /// The growth of the kernel's figures, which are `now`.
    #[inline(always)]
    pub fn grown(record: &TaskRecord, now: &KernelCounts) -> Figures {
        let before = &record.kernel_before;
        Figures {
            voluntary: now.voluntary.wrapping_sub(before.voluntary),
            involuntary: now.involuntary.wrapping_sub(before.involuntary),
            migrations: now.migrations.wrapping_sub(before.migrations),
            on_cpu_ns: now.runtime_ns.wrapping_sub(before.runtime_ns),
        }
    }

    /// Whether the counts are equal.
    pub fn has_same_counts(&self, other: &Figures) -> bool {
        (self.voluntary, self.involuntary, self.migrations) == (other.voluntary, other.involuntary, other.migrations)
    }

    /// Adds the figures of another thread.
    pub fn add(&mut self, other: &Figures) {
        self.voluntary = self.voluntary.wrapping_add(other.voluntary);
        self.involuntary = self.involuntary.wrapping_add(other.involuntary);
        self.migrations = self.migrations.wrapping_add(other.migrations);
        self.on_cpu_ns = self.on_cpu_ns.wrapping_add(other.on_cpu_ns);
    }
}

impl Residuals {
    /// Adds a thread, for which the kernel's counts are `now`.
    #[inline(always)]
    pub fn add(&mut self, record: &TaskRecord, now: &KernelCounts) {
        let (ours, kernel) = (Figures::of(record), Figures::grown(record, now));
        let voluntary = ours.voluntary.abs_diff(kernel.voluntary);
        let involuntary = ours.involuntary.abs_diff(kernel.involuntary);
        let migrations = ours.migrations.abs_diff(kernel.migrations);
        self.compared += 1;
        self.differing += u64::from(voluntary + involuntary + migrations != 0);
        self.voluntary += voluntary;
        self.involuntary += involuntary;
        self.migrations += migrations;
        self.on_cpu_ns += ours.on_cpu_ns.abs_diff(kernel.on_cpu_ns);
    }

    /// Adds the sums of other threads.
    #[inline(always)]
    pub fn merge(&mut self, other: &Residuals) {
        self.compared += other.compared;
        self.differing += other.differing;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        self.migrations += other.migrations;
        self.on_cpu_ns += other.on_cpu_ns;
    }
}

/// Whether the kernel's counts at the thread's registration are exact: it was forked under observation, or blocked when it was
/// registered. For a thread on a CPU the kernel's run time is as old as the last tick.
#[inline(always)]
pub fn is_comparable(record: &TaskRecord) -> bool {
    record.seeded_as == Phase::New as u16 || record.seeded_as == Phase::Blocked as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that has done as much as `now` says, beyond what it had done before.
    fn agreeing(before: KernelCounts, now: KernelCounts) -> TaskRecord {
        TaskRecord {
            voluntary: now.voluntary - before.voluntary,
            preempted: now.involuntary - before.involuntary - 1,
            yielded: 1,
            migrations: [1, now.migrations - before.migrations - 1],
            on_cpu_ns: now.runtime_ns - before.runtime_ns,
            kernel_before: before,
            ..TaskRecord::default()
        }
    }

    const BEFORE: KernelCounts = KernelCounts { voluntary: 5, involuntary: 6, migrations: 7, runtime_ns: 8, run_delay_ns: 9 };
    const NOW: KernelCounts = KernelCounts { voluntary: 15, involuntary: 26, migrations: 37, runtime_ns: 48, run_delay_ns: 59 };

    #[test]
    fn agreement_is_zero_and_counts_as_compared() {
        let mut residuals = Residuals::default();
        residuals.add(&agreeing(BEFORE, NOW), &NOW);
        assert_eq!(residuals, Residuals { compared: 1, ..Residuals::default() });
    }

    #[test]
    fn differences_of_opposite_sign_add_up() {
        let mut residuals = Residuals::default();
        let record = agreeing(BEFORE, NOW);
        residuals.add(&TaskRecord { voluntary: record.voluntary + 2, ..record }, &NOW);
        residuals.add(&TaskRecord { voluntary: record.voluntary - 2, on_cpu_ns: record.on_cpu_ns - 3, ..record }, &NOW);
        residuals.add(&TaskRecord { yielded: 3, migrations: [0, 0], ..record }, &NOW);
        let expected = Residuals { compared: 3, differing: 3, voluntary: 4, involuntary: 2, migrations: 30, on_cpu_ns: 3 };
        assert_eq!(residuals, expected);
    }

    #[test]
    fn a_thread_that_ran_when_it_was_registered_is_left_out() {
        let record = agreeing(BEFORE, NOW);
        for (phase, comparable) in [(Phase::New, true), (Phase::Blocked, true), (Phase::Running, false), (Phase::Runnable, false)] {
            assert_eq!(is_comparable(&TaskRecord { seeded_as: phase as u16, ..record }), comparable, "{phase:?}");
        }
    }
}
