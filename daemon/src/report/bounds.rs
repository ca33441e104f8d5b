//! How far our figures may be from the kernel's. Pure.
//!
//! A bound is never a tolerance: it is what the two are known to count differently, measured in the same run. Counts of the same
//! thing are equal; on-CPU time may differ by [`ON_CPU_SHARE`]; the rest follows from what each side leaves out.

use schedscope_ebpf::task_clock::CLOCK_ERROR_NS;

/// On-CPU time may differ by this share.
pub const ON_CPU_SHARE: f64 = 0.001;

/// The interval in which ours less the kernel's must lie. A side that is `None` has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The least that the difference may be.
    pub at_least: Option<f64>,
    /// The most that the difference may be.
    pub at_most: Option<f64>,
}

impl Bounds {
    /// The two are equal.
    pub const EQUAL: Bounds = Bounds::between(0.0, 0.0);

    /// Both ends included.
    pub const fn between(at_least: f64, at_most: f64) -> Bounds {
        Bounds { at_least: Some(at_least), at_most: Some(at_most) }
    }

    /// A share of the kernel's figure to either side.
    pub fn share(share: f64, kernel: f64) -> Bounds {
        Bounds::between(-share * kernel.abs(), share * kernel.abs())
    }

    /// Whether a difference lies inside. One that is not a number does not.
    pub fn contain(&self, difference: f64) -> bool {
        difference.is_finite()
            && self.at_least.is_none_or(|least| difference >= least)
            && self.at_most.is_none_or(|most| difference <= most)
    }
}

/// What our runnable time and the kernel's `run_delay` differ by, summed over threads that were all forked and ended under
/// observation, or registered while they slept.
///
/// A wait after a preemption begins and ends at the same instants for both. A wait after a wake-up begins for us when the waker calls,
/// for the kernel when the thread is queued, perhaps by another CPU after an interrupt. And time that the kernel took out of a run,
/// because a hypervisor or an interrupt had the CPU, is a wait for us and nothing for `run_delay`. So is the moment that a thread which
/// waits spends between two queues when it is moved.
///
/// Since 6.12 a thread that goes to sleep may stay in its queue for a while. If the load balancer moves it then, the kernel takes it for
/// one that has been queued: the rest of its sleep counts as run delay (`enqueue_task` calls `sched_info_enqueue` without regard to
/// `sched_delayed`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunDelay {
    /// What the kernel's clock left out of runs, less what it had beyond ours: part of our waits, not of the kernel's.
    pub carried_seconds: f64,
    /// Waits of which no event told the begin. All of that may be wrong.
    pub unobserved_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// Waits after a wake-up or a fork.
    pub wakeups: u64,
    /// Waits after a preemption.
    pub preemptions: u64,
    /// Of those after a wake-up, after a fork: they begin for us when the kernel has queued the thread.
    pub forks: u64,
    /// Moves of threads that waited.
    pub moves: u64,
    /// What one move takes at most, off its CPU and queue and onto another. Where it was not measured, all of a wait may have gone by
    /// in it.
    pub move_seconds: Option<f64>,
    /// All that threads have slept which were moved while they slept.
    pub asleep_seconds: f64,
    /// Preemptions of threads that were about to wait. The kernel does not count what follows as run delay, since the thread is not in
    /// the state of one that runs.
    pub drowsy: u64,
    /// Longest wait after a preemption.
    pub longest_preemption_seconds: f64,
    /// Sum of the waits after a wake-up.
    pub wakeup_wait_seconds: f64,
    /// From waking to being queued, where that was measured.
    pub queueing: Option<Queueing>,
}

/// How long it took until woken threads were queued.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Queueing {
    /// Sum.
    pub seconds: f64,
    /// Wake-ups that were measured.
    pub wakeups: u64,
    /// The longest of them: none that was not measured is taken to have been longer.
    pub longest_seconds: f64,
}

/// The time of a switch is the scheduler's, converted with an offset that holds for a millisecond: clock corrections, at most 500 ppm,
/// make it wrong by this much until then (`schedscope_ebpf::switch_clock`). Besides, an offset begins too large and shrinks with better
/// measurements, by at most [`CLOCK_ERROR_NS`]: once for each thread that waits meanwhile. The kernel's waits need no conversion.
const CLOCK_ERROR_SECONDS: f64 = 500e-9;

impl RunDelay {
    /// The interval of ours less the kernel's.
    pub fn bounds(&self) -> Bounds {
        let wakeups = self.wakeups as f64;
        let offsets = CLOCK_ERROR_NS as f64 / 1e9 * self.threads as f64;
        let clock = CLOCK_ERROR_SECONDS * (wakeups + self.preemptions as f64) + offsets;
        let woken = self.wakeups.saturating_sub(self.forks);
        // Without a measurement, all of a wait may have gone by before the thread was queued.
        let (queueing, per_wakeup) = match self.queueing {
            Some(queueing) => {
                let missing = woken.saturating_sub(queueing.wakeups) as f64;
                (queueing.seconds + missing * queueing.longest_seconds, queueing.seconds / (queueing.wakeups as f64).max(1.0))
            }
            None => (self.wakeup_wait_seconds, self.wakeup_wait_seconds / wakeups.max(1.0)),
        };
        let per_move = self.move_seconds.unwrap_or(self.longest_preemption_seconds);
        let drowsy = self.drowsy as f64 * self.longest_preemption_seconds;
        Bounds::between(
            self.carried_seconds - self.unobserved_seconds - clock - per_wakeup * self.forks as f64 - self.asleep_seconds,
            self.carried_seconds + self.unobserved_seconds + clock + queueing + per_move * self.moves as f64 + drowsy,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: f64 = 1e-6;

    /// A thousand wake-ups that took 2 us each until they were queued.
    fn measured() -> RunDelay {
        RunDelay {
            wakeups: 1_000,
            wakeup_wait_seconds: 0.5,
            queueing: Some(Queueing { seconds: 2e-3, wakeups: 1_000, longest_seconds: 0.01 }),
            ..RunDelay::default()
        }
    }

    #[test]
    fn equal_means_equal() {
        assert!(Bounds::EQUAL.contain(0.0));
        assert!(!Bounds::EQUAL.contain(1.0) && !Bounds::EQUAL.contain(-1.0) && !Bounds::EQUAL.contain(f64::NAN));
        assert!(Bounds::share(0.001, 4.0).contain(-0.004) && !Bounds::share(0.001, 4.0).contain(0.0041));
        assert!(Bounds::default().contain(1e9) && !Bounds::default().contain(f64::INFINITY));
    }

    #[test]
    fn our_wait_is_longer_by_what_queueing_took() {
        let bounds = measured().bounds();
        assert!(bounds.contain(2e-3) && bounds.contain(0.0));
        // Half a microsecond for the conversion of each.
        assert!(!bounds.contain(2.6e-3), "{bounds:?}");
        assert!(!bounds.contain(-600.0 * MICROSECOND), "{bounds:?}");
        let threads = RunDelay { threads: 10, ..measured() }.bounds();
        assert!(threads.contain(2.9e-3) && !threads.contain(3.1e-3) && !threads.contain(-1.1e-3), "{threads:?}");
        let preempted = RunDelay { preemptions: 1_000, ..measured() }.bounds();
        assert!(preempted.contain(2.9e-3) && !preempted.contain(3.1e-3) && !preempted.contain(-1.1e-3), "{preempted:?}");
    }

    #[test]
    fn stolen_time_shifts_both_ends() {
        let bounds = RunDelay { carried_seconds: 0.1, ..measured() }.bounds();
        assert!(bounds.contain(0.101) && !bounds.contain(0.0) && !bounds.contain(0.103), "{bounds:?}");
    }

    #[test]
    fn a_wakeup_that_was_not_measured_may_have_been_as_slow_as_any_or_have_taken_all_of_its_wait() {
        let one_missing =
            RunDelay { queueing: Some(Queueing { seconds: 2e-3, wakeups: 999, longest_seconds: 0.01 }), ..measured() };
        let more = one_missing.bounds().at_most.unwrap() - measured().bounds().at_most.unwrap();
        assert!((more - 0.01).abs() < 1e-12, "{more}");
        let nothing = RunDelay { queueing: None, ..measured() }.bounds();
        assert!(nothing.contain(0.5) && !nothing.contain(0.6), "{nothing:?}");
    }

    #[test]
    fn forks_moves_and_unobserved_waits_open_an_end() {
        let forks = RunDelay { forks: 500, ..measured() }.bounds();
        assert!(forks.contain(-1.4e-3) && !forks.contain(-1.6e-3), "{forks:?}");
        let moved = RunDelay { moves: 500, longest_preemption_seconds: 2e-6, ..measured() }.bounds();
        assert!(moved.contain(3.4e-3) && !moved.contain(3.6e-3) && !moved.contain(-600.0 * MICROSECOND), "{moved:?}");
        let slowly = RunDelay { moves: 500, move_seconds: Some(1e-5), ..measured() }.bounds();
        assert!(slowly.contain(7.4e-3) && !slowly.contain(7.6e-3), "{slowly:?}");
        let asleep = RunDelay { asleep_seconds: 2.0, ..measured() }.bounds();
        assert!(asleep.contain(-2.0) && !asleep.contain(-2.1) && !asleep.contain(2.6e-3), "{asleep:?}");
        let drowsy = RunDelay { drowsy: 2, longest_preemption_seconds: 0.01, ..measured() }.bounds();
        assert!(drowsy.contain(0.02) && !drowsy.contain(0.03) && !drowsy.contain(-0.001), "{drowsy:?}");
        let unobserved = RunDelay { unobserved_seconds: 0.05, ..measured() }.bounds();
        assert!(unobserved.contain(-0.05) && unobserved.contain(0.05) && !unobserved.contain(-0.06), "{unobserved:?}");
    }
}
