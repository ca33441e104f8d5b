//! How a thread's waits differ from the kernel's `run_delay`, event by event. Kept only while figures are verified.
//!
//! Pure. The kernel stamps a task when it is put on a run queue or preempted in the running state (`last_queued`), and adds the time
//! since then to `run_delay` when the task gets a CPU or is taken off the queue to be moved: `sched_info_*` in `kernel/sched/stats.h`.
//! Our wait begins when the thread is woken, before it is queued, and goes on while it is moved. Each function here takes one event at
//! which the two differ.

use crate::abi::TaskRecord;
use crate::task_clock::{Phase, TaskClock};

/// A time by our clock and by the scheduler's.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    /// `CLOCK_MONOTONIC`, as converted.
    pub monotonic_ns: u64,
    /// The run queue's clock.
    pub scheduler_ns: u64,
}

impl Instant {
    #[inline(always)]
    fn offset_ns(self) -> u64 {
        self.monotonic_ns.wrapping_sub(self.scheduler_ns)
    }
}

/// How a thread's waits and its run delay differ: sums over its waits, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct WaitAccount {
    /// From the waking until the thread was queued. Below zero if the clocks of two CPUs disagree.
    pub before_queued_ns: i64,
    /// What the kernel left out of runs, which makes our next wait longer, see [`TaskClock::carry_ns`].
    pub left_out_of_runs_ns: i64,
    /// Between leaving one queue and being put on another.
    pub between_queues_ns: i64,
    /// What the scheduler's clock lost or gained by its conversion into ours ([`crate::switch_clock`]).
    pub converted_ns: i64,
    /// Waits, or parts of them, that the kernel does not count: after a preemption on the way to sleep, see [`WaitAccount::departed`].
    pub uncounted_ns: u64,
    /// Sleep that the kernel counts: since 6.12 a sleeping thread may still be on a queue, and is stamped if it is moved.
    pub counted_sleep_ns: u64,
    /// By how much our waits with a missed event were longer than the kernel's, from which we take their length as far as it says.
    pub unobserved_ns: i64,
    /// The number of these waits.
    pub unobserved_waits: u64,
    /// Runs that the kernel does not count in `pcount`.
    pub uncounted_runs: u64,
    /// Our waits, as the kernel counts them, minus its `run_delay`, when the thread last left a CPU.
    difference_ns: i64,
    /// All our waits when it last left a CPU.
    waits_ns: u64,
    /// [`TaskClock::carry_ns`] then.
    carry_ns: i64,
    /// Our clock minus the scheduler's, wrapping, at the kernel's last stamp that is known.
    offset_ns: u64,
    /// When the wait after its last wake-up began; 0 once it has a CPU.
    woken_ns: u64,
    /// When it was last moved to another queue during this wait; 0 if it was not.
    moved_ns: u64,
    /// The kernel's `run_delay` when it last left a CPU.
    run_delay_at_departure_ns: u64,
    /// The kernel's `run_delay` at the last such move, or at the last move during this sleep.
    run_delay_at_move_ns: u64,
    /// The kernel's `last_arrival` at the last preemption on the way to sleep.
    last_arrival_ns: u64,
    /// [`TaskRecord::migrations_unseen`] when it last left a CPU.
    migrations_unseen: u64,
    /// 1 while it waits after such a preemption and has not been moved: the kernel has no stamp.
    is_uncounted: u32,
    /// 1 from such a preemption until the end of the run after it.
    may_miss_run: u32,
    /// 1 if it was moved since it went to sleep.
    moved_asleep: u32,
    /// 1 if it went to sleep when it last left a CPU.
    left_asleep: u32,
    /// 1 if an event was missed since then.
    is_unobserved: u32,
    /// 1 from the switch-in that was seen to the switch-out that was seen.
    is_on_cpu: u32,
}

/// What the kernel has counted for a thread that leaves its CPU, and whether it will stamp the thread.
#[derive(Clone, Copy, Debug)]
pub struct KernelWaits {
    /// `run_delay`.
    pub run_delay_ns: u64,
    /// `last_arrival`: when it last got a CPU, as far as the kernel noticed.
    pub last_arrival_ns: u64,
    /// Its state is not that of a running task.
    pub is_asleep: bool,
}

impl WaitAccount {
    /// A forked thread has been put on a queue.
    #[inline(always)]
    pub fn forked(&mut self, now: Instant) {
        self.offset_ns = now.offset_ns();
    }

    /// A woken thread has been put on a queue. The kernel stamped it `stamped_ago_ns` before: now, or when it was moved in its sleep.
    #[inline(always)]
    pub fn queued(&mut self, clock: &TaskClock, now: Instant, stamped_ago_ns: u64) {
        if clock.waking_ns == 0 || clock.phase != Phase::Blocked as u32 && clock.phase != Phase::Unseen as u32 {
            return;
        }
        self.woken_ns = if clock.waking_ns > clock.since_ns { clock.waking_ns } else { clock.since_ns };
        self.before_queued_ns += now.monotonic_ns.wrapping_sub(self.woken_ns).cast_signed();
        self.offset_ns = now.offset_ns();
        // Only the stamp shows a move before it was traced.
        if self.moved_asleep != 0 || clock.phase == Phase::Unseen as u32 {
            self.counted_sleep_ns += stamped_ago_ns;
            self.moved_asleep = 0;
        }
    }

    /// A thread that waits leaves its queue for another. `run_delay_ns` is the kernel's, which has just been added to.
    #[inline(always)]
    pub fn moved(&mut self, clock: &TaskClock, now: Instant, run_delay_ns: u64) {
        if self.is_uncounted != 0 {
            self.uncounted_ns += now.monotonic_ns.saturating_sub(clock.since_ns);
            self.is_uncounted = 0;
        } else if self.moved_ns != 0 {
            self.between_queues(now, run_delay_ns.saturating_sub(self.run_delay_at_move_ns));
        } else if self.is_woken_unseen() {
            // Our wait began when the thread left its CPU: see `TaskClock::moved_in_queue`.
            let counted_ns = run_delay_ns.saturating_sub(self.run_delay_at_departure_ns);
            self.woken_ns = clock.since_ns;
            self.before_queued_ns += now.monotonic_ns.wrapping_sub(self.woken_ns).wrapping_sub(counted_ns).cast_signed();
        } else {
            self.converted_ns += now.offset_ns().wrapping_sub(self.offset_ns).cast_signed();
        }
        self.moved_ns = now.monotonic_ns;
        self.run_delay_at_move_ns = run_delay_ns;
    }

    /// Adds the time since the last move, minus what the kernel counted of it.
    #[inline(always)]
    fn between_queues(&mut self, now: Instant, counted_ns: u64) {
        self.between_queues_ns += now.monotonic_ns.wrapping_sub(self.moved_ns).wrapping_sub(counted_ns).cast_signed();
    }

    /// A sleeping thread is moved from queue to queue.
    #[inline(always)]
    pub fn moved_asleep(&mut self, run_delay_ns: u64) {
        if self.moved_asleep != 0 {
            self.counted_sleep_ns += run_delay_ns.saturating_sub(self.run_delay_at_move_ns);
        }
        self.moved_asleep = 1;
        self.run_delay_at_move_ns = run_delay_ns;
    }

    /// A thread has got a CPU, and `record` has closed its wait. `stamped_ago_ns` is how long ago the kernel stamped the thread.
    #[inline(always)]
    pub fn arrived(&mut self, record: &TaskRecord, now: Instant, stamped_ago_ns: u64) {
        let correction_ns = self.carry_ns - record.clock.carry_ns;
        self.left_out_of_runs_ns += correction_ns;
        let wait_ns = (record.wait_ns() - self.waits_ns).wrapping_add_signed(-correction_ns);
        // Then our wait is what the kernel's stamp says, and no clock was converted.
        let is_stamped = self.is_woken_unseen() && wait_ns == stamped_ago_ns;
        if self.is_woken_unseen() && !is_stamped || self.offset_ns == 0 || self.is_on_cpu != 0 {
            self.is_unobserved = 1;
        }
        self.is_on_cpu = 1;
        // Clocks that disagree may let a thread be woken after it got its CPU: then it did not wait at all.
        self.before_queued_ns += self.woken_ns.saturating_sub(now.monotonic_ns).cast_signed();
        self.woken_ns = 0;
        if self.is_uncounted != 0 {
            self.uncounted_ns += wait_ns;
            self.is_uncounted = 0;
        } else if self.moved_ns != 0 {
            self.between_queues(now, stamped_ago_ns);
            self.moved_ns = 0;
        } else if is_stamped {
            self.moved_asleep = 0;
        } else {
            self.converted_ns += now.offset_ns().wrapping_sub(self.offset_ns).cast_signed();
        }
    }

    /// It blocked, and no waking was seen before it was queued.
    #[inline(always)]
    fn is_woken_unseen(&self) -> bool {
        self.left_asleep != 0 && self.woken_ns == 0
    }

    /// The thread has ended, and the ledger has made its waits longer by `settled_ns`.
    #[inline(always)]
    pub fn settled(&mut self, settled_ns: i64) {
        self.left_out_of_runs_ns += settled_ns;
    }

    /// A thread leaves its CPU, and `record` has closed its run.
    ///
    /// The kernel stamps only a task in the running state when it leaves, and passes over one without a stamp when that gets a CPU: after
    /// a preemption on the way to sleep, unless a move stamps it, the wait is missing in `run_delay` and the run after it in `pcount`. Such
    /// a run leaves `last_arrival` as it was. Older kernels (5.10) count every run.
    #[inline(always)]
    pub fn departed(&mut self, record: &TaskRecord, now: Instant, kernel: KernelWaits) {
        if self.may_miss_run != 0 {
            self.uncounted_runs += u64::from(kernel.last_arrival_ns == self.last_arrival_ns);
        }
        self.waits_ns = record.wait_ns();
        self.carry_ns = record.clock.carry_ns;
        let grown_ns = kernel.run_delay_ns.wrapping_sub(record.kernel_before.run_delay_ns);
        let difference_ns = self.as_run_delay(self.waits_ns).wrapping_sub(grown_ns.cast_signed());
        if self.is_unobserved != 0 || self.is_on_cpu == 0 || self.migrations_unseen != record.migrations_unseen {
            // All that is known of this wait is what the kernel says.
            self.unobserved_ns += difference_ns - self.difference_ns;
            self.unobserved_waits += 1;
            self.is_unobserved = 0;
            self.migrations_unseen = record.migrations_unseen;
            self.moved_ns = 0;
            self.moved_asleep = 0;
        } else {
            self.difference_ns = difference_ns;
        }
        self.is_on_cpu = 0;
        self.woken_ns = 0;
        let phase = record.clock.phase;
        self.left_asleep = u32::from(phase == Phase::Blocked as u32);
        self.is_uncounted = u32::from(phase == Phase::Runnable as u32 && kernel.is_asleep);
        self.may_miss_run = self.is_uncounted;
        self.last_arrival_ns = kernel.last_arrival_ns;
        self.run_delay_at_departure_ns = kernel.run_delay_ns;
        self.offset_ns = now.offset_ns();
    }

    /// Adds the sums of another thread.
    pub fn add(&mut self, other: &WaitAccount) {
        self.before_queued_ns += other.before_queued_ns;
        self.left_out_of_runs_ns += other.left_out_of_runs_ns;
        self.between_queues_ns += other.between_queues_ns;
        self.converted_ns += other.converted_ns;
        self.uncounted_ns += other.uncounted_ns;
        self.counted_sleep_ns += other.counted_sleep_ns;
        self.unobserved_ns += other.unobserved_ns;
        self.unobserved_waits += other.unobserved_waits;
        self.uncounted_runs += other.uncounted_runs;
    }

    /// The thread's waits, `wait_ns` in all by our count, as the kernel counts them.
    #[inline(always)]
    pub fn as_run_delay(&self, wait_ns: u64) -> i64 {
        wait_ns.cast_signed()
            - self.before_queued_ns
            - self.left_out_of_runs_ns
            - self.between_queues_ns
            - self.converted_ns
            - self.uncounted_ns.cast_signed()
            - self.unobserved_ns
            + self.counted_sleep_ns.cast_signed()
    }
}
