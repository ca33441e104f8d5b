//! The ledger of one thread: every nanosecond of its life is running, runnable or blocked.
//!
//! Pure: the BPF hooks call these functions, and so do the host's tests and user space, which folds open intervals in with
//! [`TaskClock::open`]. An event closes the interval since the one before it and opens the next; what was last known to hold
//! is charged until an event says otherwise, and an event that contradicts it is counted as a [`Loss`].

mod phase;

pub use phase::{Departure, Phase};

use crate::loss::Loss;
use crate::switch_clock::OFFSET_ERROR_NS;

/// What closing an interval adds to the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time between being woken (or forked) and getting a CPU.
    pub wakeup_wait_ns: u64,
    /// Of that, the time until the thread was in a run queue.
    pub transit_ns: u64,
    /// Time between losing the CPU while runnable and getting one again.
    pub preempt_wait_ns: u64,
    /// Time blocked.
    pub blocked_ns: u64,
    /// By how much the wait was longer or shorter by the kernel's clock, see [`TaskClock::carry_ns`]; at least minus the wait.
    pub correction_ns: i64,
    /// The wait followed a preemption or a yield, and not a wake-up.
    pub after_preemption: bool,
    /// The beginning of the interval was observed, so its length belongs in a histogram.
    pub observed: bool,
    /// The event contradicts what was known.
    pub loss: Option<Loss>,
}

impl Closed {
    /// Sum of all parts.
    pub fn total_ns(&self) -> u64 {
        (self.on_cpu_ns + self.wakeup_wait_ns + self.preempt_wait_ns + self.blocked_ns).wrapping_add_signed(self.correction_ns)
    }
}

/// What the kernel's own accounting of a thread has grown by.
///
/// On-CPU time is the kernel's. The kernel reads its clock when the scheduler is entered, we read ours when the next task is chosen, some
/// microseconds later. And where the kernel knows of interrupts and of time stolen by a hypervisor, it leaves them out; what it leaves
/// out the thread spent waiting for the CPU.
///
/// It also settles what the events leave open: a switch-in that was not seen, because its hook did not run. That is rare
/// (a virtual machine's agent that hides itself from tracing is one cause), but without it a thread that resumed unseen
/// would count as waiting until its next switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelGrowth {
    /// Growth of `se.sum_exec_runtime` since the last switch-out.
    pub runtime_ns: u64,
    /// Growth of `sched_info.run_delay` during the wait of which an event was missed; `None` without `CONFIG_SCHED_INFO`.
    pub run_delay_ns: Option<u64>,
}

/// Where one thread's ledger stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TaskClock {
    /// A [`Phase`].
    pub phase: u32,
    /// CPU of the last switch-in.
    pub cpu: u32,
    /// Start of the open interval, `CLOCK_MONOTONIC`.
    pub since_ns: u64,
    /// When it was woken since its last switch-in; 0 if it was not. The only field that other CPUs write during a switch of the thread,
    /// so it is a word of its own.
    pub waking_ns: u64,
    /// Time between switch-in and switch-out that the kernel did not count as run time, or counted beyond it: the next wait is
    /// longer or shorter by that much.
    pub carry_ns: i64,
}

/// The clocks of two CPUs may disagree by this much about two successive events without contradicting each other.
pub const CLOCK_ERROR_NS: u64 = 50_000;

/// Two events of a thread on two CPUs may be out of order by this much, since the first offset of a CPU's clock may be so wrong. The
/// interval between them is then empty and the next one shorter, so the parts still sum to the thread's life.
pub const INVERSION_NS: u64 = OFFSET_ERROR_NS;

/// The kernel's clock and ours may disagree by at most this much about the length of one wait.
const SLACK_NS: u64 = 100_000;

impl TaskClock {
    /// The ledger of a thread from now on.
    pub const fn starting(phase: Phase, now_ns: u64) -> TaskClock {
        TaskClock { phase: phase as u32, cpu: 0, since_ns: now_ns, waking_ns: 0, carry_ns: 0 }
    }

    /// The thread gets a CPU.
    #[inline(always)]
    pub fn switch_in(&mut self, now_ns: u64, cpu: u32, queued_ns: Option<u64>) -> Closed {
        match self.end_wait(now_ns, cpu) {
            Some(closed) => closed,
            None => self.irregular_switch_in(now_ns, cpu, queued_ns),
        }
    }

    /// [`Self::switch_in`] after an ordinary wait, whose beginning and end were seen. `None`, and nothing has changed, after any other
    /// wait.
    #[inline(always)]
    pub fn end_wait(&mut self, now_ns: u64, cpu: u32) -> Option<Closed> {
        let mut closed = Closed { observed: true, ..Closed::default() };
        let elapsed_ns = self.since_to(now_ns)?;
        if self.phase == Phase::Blocked as u32 && self.waking_ns != 0 {
            // The waker may have stamped the time before the switch-out was stamped.
            closed.blocked_ns = self.waking_ns.saturating_sub(self.since_ns).min(elapsed_ns);
            closed.wakeup_wait_ns = elapsed_ns - closed.blocked_ns;
        } else if self.phase == Phase::Runnable as u32 {
            closed.preempt_wait_ns = elapsed_ns;
            closed.after_preemption = true;
        } else {
            return None;
        }
        self.since_ns += elapsed_ns;
        self.begin_run(cpu, &mut closed);
        Some(closed)
    }

    /// [`Self::switch_in`] of any other kind. `queued_ns` is how long the kernel has had the thread queued, by its own stamp; `None`
    /// if it keeps none.
    ///
    /// A thread that blocked may get a CPU without a waking. Its waker found it queued still, on its way to sleep, and waited until it
    /// was not; or a signal was pending, so that it never left the queue. The stamp tells since when it was runnable, and also if the
    /// waking was hidden from tracing.
    #[inline(always)]
    pub fn irregular_switch_in(&mut self, now_ns: u64, cpu: u32, queued_ns: Option<u64>) -> Closed {
        if self.phase == Phase::Running as u32 {
            // It is unknown where one run stopped and the next began, so both stay open as one. At the switch-out the kernel says how
            // long they were, and the rest is carried to the next wait.
            self.cpu = cpu;
            self.waking_ns = 0;
            return Closed { loss: Some(Loss::SwitchOutUnseen), ..Closed::default() };
        }
        if self.phase == Phase::Dead as u32 {
            return Closed { loss: Some(Loss::AfterEnd), ..Closed::default() };
        }
        let mut closed;
        if self.phase == Phase::Blocked as u32 && self.waking_ns == 0 {
            closed = Closed { observed: true, ..Closed::default() };
            let elapsed_ns = self.elapse(now_ns, &mut closed.loss);
            closed.wakeup_wait_ns = queued_ns.unwrap_or(elapsed_ns);
            closed.blocked_ns = elapsed_ns.saturating_sub(closed.wakeup_wait_ns);
            // The two clocks may differ by a little.
            self.carry_ns -= closed.wakeup_wait_ns.saturating_sub(elapsed_ns).cast_signed();
        } else {
            closed = self.close(now_ns);
        }
        self.begin_run(cpu, &mut closed);
        closed
    }

    #[inline(always)]
    fn begin_run(&mut self, cpu: u32, closed: &mut Closed) {
        let wait_ns = closed.wakeup_wait_ns + closed.preempt_wait_ns;
        closed.correction_ns = self.carry_ns.max(-wait_ns.cast_signed());
        self.carry_ns -= closed.correction_ns;
        self.phase = Phase::Running as u32;
        self.cpu = cpu;
        self.waking_ns = 0;
    }

    /// The thread leaves its CPU.
    #[inline(always)]
    pub fn switch_out(&mut self, now_ns: u64, departure: Departure, growth: KernelGrowth) -> Closed {
        match self.end_run(now_ns, departure, growth.runtime_ns) {
            Some(on_cpu_ns) => Closed { on_cpu_ns, observed: true, ..Closed::default() },
            None => self.irregular_switch_out(now_ns, departure, growth),
        }
    }

    /// [`Self::switch_out`] after an ordinary run, whose beginning was seen: its on-CPU time. `None`, and nothing has changed, after any
    /// other run.
    #[inline(always)]
    pub fn end_run(&mut self, now_ns: u64, departure: Departure, runtime_ns: u64) -> Option<u64> {
        let elapsed_ns = self.since_to(now_ns)?;
        if self.phase != Phase::Running as u32 {
            return None;
        }
        self.since_ns += elapsed_ns;
        self.carry_ns += elapsed_ns.cast_signed() - runtime_ns.cast_signed();
        self.phase = departure.leads_to() as u32;
        Some(runtime_ns)
    }

    /// [`Self::switch_out`] of any other kind.
    #[inline(always)]
    pub fn irregular_switch_out(&mut self, now_ns: u64, departure: Departure, growth: KernelGrowth) -> Closed {
        let running = self.phase == Phase::Running as u32;
        let mut closed = Closed { observed: running, ..Closed::default() };
        if running {
            let elapsed_ns = self.elapse(now_ns, &mut closed.loss);
            closed.on_cpu_ns = growth.runtime_ns;
            self.carry_ns += elapsed_ns.cast_signed() - closed.on_cpu_ns.cast_signed();
        } else if self.phase == Phase::Dead as u32 {
            closed.loss = Some(Loss::AfterEnd);
            return closed;
        } else {
            self.resume_unseen(now_ns, growth, &mut closed);
        }
        self.phase = departure.leads_to() as u32;
        closed
    }

    /// Closes a wait and the run after it, between which no event was seen. A seeded thread may have run all the time.
    #[inline(always)]
    fn resume_unseen(&mut self, now_ns: u64, growth: KernelGrowth, closed: &mut Closed) {
        let since_ns = self.since_ns;
        let elapsed_ns = self.elapse(now_ns, &mut closed.loss);
        closed.on_cpu_ns = growth.runtime_ns.min(elapsed_ns);
        let off_ns = elapsed_ns - closed.on_cpu_ns;
        if self.phase != Phase::Unseen as u32 || off_ns > SLACK_NS {
            closed.loss = Some(Loss::SwitchInUnseen);
        }
        if self.phase == Phase::New as u32 {
            closed.wakeup_wait_ns = off_ns;
        } else if self.phase == Phase::Runnable as u32 {
            closed.preempt_wait_ns = off_ns;
            closed.after_preemption = true;
        } else if self.waking_ns != 0 {
            closed.blocked_ns = self.waking_ns.saturating_sub(since_ns).min(off_ns);
            closed.wakeup_wait_ns = off_ns - closed.blocked_ns;
        } else {
            // Neither its waking nor its switch-in was seen. Without the kernel's account it counts as blocked until it ran: such a
            // thread is usually put on the CPU at once.
            closed.wakeup_wait_ns = growth.run_delay_ns.unwrap_or(0).min(off_ns);
            closed.blocked_ns = off_ns - closed.wakeup_wait_ns;
        }
        self.waking_ns = 0;
    }

    /// The first waking after the thread was dequeued. The caller has checked that it is not queued: `try_to_wake_up` also
    /// reports a task that never left the queue.
    #[inline(always)]
    pub fn waking(&mut self, now_ns: u64) {
        if self.waking_ns == 0 {
            self.waking_ns = now_ns;
        }
    }

    /// A forked thread becomes runnable; its life begins. False if an earlier event was seen.
    #[inline(always)]
    pub fn wakeup_new(&mut self, now_ns: u64) -> bool {
        let new = self.phase == Phase::New as u32;
        if new {
            self.since_ns = now_ns;
        }
        new
    }

    /// The thread is moved from one queue to another. If it blocked and no waking was seen, its waker found it on its way to sleep: it has
    /// waited since then.
    #[inline(always)]
    pub fn moved_in_queue(&mut self) {
        if self.phase == Phase::Blocked as u32 && self.waking_ns == 0 {
            self.waking_ns = self.since_ns;
        }
    }

    /// What the open interval comes to so far, without closing it. `unseen_as` is what a thread in [`Phase::Unseen`] was found doing
    /// when it was seeded.
    pub fn open(&self, now_ns: u64, unseen_as: Phase) -> Closed {
        let mut copy = *self;
        if self.phase == Phase::Unseen as u32 && self.waking_ns == 0 {
            copy.phase = unseen_as as u32;
        }
        let mut closed = Closed::default();
        if copy.phase == Phase::Blocked as u32 && self.waking_ns == 0 {
            closed.blocked_ns = copy.elapse(now_ns, &mut closed.loss);
        } else {
            closed = copy.close(now_ns);
        }
        // What the kernel left out of runs was waiting and will be added to the next wait. What it counted beyond them will be taken
        // from that wait, which may turn out to be shorter.
        closed.preempt_wait_ns += self.carry_ns.max(0).cast_unsigned();
        // An event between the reading of the clock and of the record is no contradiction.
        closed.loss = None;
        closed
    }

    /// Charges the open interval to what was last known and starts the next one at `now_ns`.
    #[inline(always)]
    fn close(&mut self, now_ns: u64) -> Closed {
        let mut closed = Closed { observed: true, ..Closed::default() };
        let since_ns = self.since_ns;
        let elapsed_ns = self.elapse(now_ns, &mut closed.loss);
        let phase = self.phase;
        if phase == Phase::Runnable as u32 {
            closed.preempt_wait_ns = elapsed_ns;
            closed.after_preemption = true;
        } else if phase == Phase::Blocked as u32 || phase == Phase::Unseen as u32 {
            closed.observed = phase == Phase::Blocked as u32;
            if self.waking_ns == 0 {
                // Alive before tracing began, and queued all the time: otherwise it would have been woken.
                closed.preempt_wait_ns = elapsed_ns;
                closed.after_preemption = true;
            } else {
                // The waker may have stamped the time before the switch-out was stamped.
                let blocked_ns = self.waking_ns.saturating_sub(since_ns).min(elapsed_ns);
                closed.blocked_ns = blocked_ns;
                closed.wakeup_wait_ns = elapsed_ns - blocked_ns;
            }
        } else if phase == Phase::New as u32 {
            closed.wakeup_wait_ns = elapsed_ns;
        } else if phase == Phase::Running as u32 {
            closed.on_cpu_ns = elapsed_ns;
        }
        closed
    }

    /// Length of the open interval; `None` if `now_ns` lies before its start by more than clocks can be off.
    #[inline(always)]
    fn since_to(&self, now_ns: u64) -> Option<u64> {
        if now_ns >= self.since_ns {
            Some(now_ns - self.since_ns)
        } else if self.since_ns - now_ns <= INVERSION_NS {
            Some(0)
        } else {
            None
        }
    }

    /// Moves the start of the open interval to `now_ns` and returns its length. The start never moves back.
    #[inline(always)]
    fn elapse(&mut self, now_ns: u64, loss: &mut Option<Loss>) -> u64 {
        if self.phase == Phase::Dead as u32 {
            return 0;
        }
        let Some(elapsed_ns) = self.since_to(now_ns) else {
            // A CPU that stood still in the middle of a switch ends it later by an older time. If the thread was seeded meanwhile, that
            // time is before any that is traced.
            if self.phase != Phase::Unseen as u32 {
                *loss = Some(Loss::ClockInversion);
            }
            return 0;
        };
        self.since_ns += elapsed_ns;
        elapsed_ns
    }
}

#[cfg(test)]
mod tests;
