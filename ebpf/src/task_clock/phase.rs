//! What a thread does, and how it stops doing it.

use crate::blocked::state;

/// What a thread was last seen doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// Alive before tracing began; its first event shows what it did until then.
    Unseen = 0,
    /// Forked and not yet on a CPU: runnable.
    New = 1,
    /// On a CPU.
    Running = 2,
    /// Off the CPU but not blocked: preempted or yielded.
    Runnable = 3,
    /// Off the CPU until it is woken; from the waking on it is runnable.
    Blocked = 4,
    /// After its last switch.
    Dead = 5,
}

impl Phase {
    /// The phase with this discriminant; user space reads numbers from a map and must not trust them.
    pub const fn from_raw(raw: u32) -> Option<Phase> {
        Some(match raw {
            0 => Phase::Unseen,
            1 => Phase::New,
            2 => Phase::Running,
            3 => Phase::Runnable,
            4 => Phase::Blocked,
            5 => Phase::Dead,
            _ => return None,
        })
    }
}

/// How a thread left the CPU, by the kernel's own rule for `nvcsw` and `nivcsw` (`__schedule` in `kernel/sched/core.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It waits for something. Counted in `nvcsw`.
    Blocked,
    /// It ended. The kernel counts this switch in `nvcsw` too.
    Dead,
    /// Another task took the CPU. Counted in `nivcsw`.
    Preempted,
    /// It called `sched_yield`. Counted in `nivcsw`.
    Yielded,
}

impl Departure {
    /// Classifies a switch-out from the arguments of `sched_switch`.
    ///
    /// `preempt` is set only for preemption inside the kernel; then the state does not matter, since the task stays on the queue
    /// whatever it was about to wait for.
    #[inline(always)]
    pub fn classify(preempt: bool, prev_state: u32, in_yield: bool) -> Departure {
        if !preempt && prev_state != 0 {
            if prev_state & state::DEAD != 0 { Departure::Dead } else { Departure::Blocked }
        } else if !preempt && in_yield {
            Departure::Yielded
        } else {
            Departure::Preempted
        }
    }

    /// What the thread does next.
    #[inline(always)]
    pub fn leads_to(self) -> Phase {
        match self {
            Departure::Blocked => Phase::Blocked,
            Departure::Dead => Phase::Dead,
            Departure::Preempted | Departure::Yielded => Phase::Runnable,
        }
    }
}
