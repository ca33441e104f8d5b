//! What each thread of a run did, from the kernel's events alone. Pure.
//!
//! The terms are those of docs/architecture.md. Where events cannot tell something, it is an interval that has all possibilities:
//!
//! - A thread that is woken while it is still on its CPU leaves no waking after its switch-out. If it blocked all the same, it waits from
//!   the switch-out at the earliest and from `sched_wakeup` at the latest.
//! - Where a switch was hidden from tracing, a thread leaves a CPU that it was not seen to get. Its wait is of any length up to then.

use std::collections::HashMap;

use super::{
    clock::{self, Span},
    ring::{Event, Kind},
};

/// Bits of `prev_state` for a thread that cannot go on; the one above them marks a preemption (`TASK_REPORT_MAX`).
const BLOCKED: u64 = 0xff;
/// Of these, those of a thread that has ended.
const DEAD: u64 = 0x30;
const PREEMPTED: u64 = 0x100;

/// Waits of one class.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    /// Those of which begin and end were seen.
    pub(super) seen: Vec<Span>,
    /// Those of which the end was hidden.
    pub(super) unseen: u64,
    /// All, added up.
    pub(super) sum: Span,
}

impl Waits {
    fn ended(&mut self, wait: Span) {
        self.seen.push(wait);
        self.sum.add(wait);
    }

    /// It ended some time before `now`.
    fn unseen(&mut self, now: Span, since: Span) {
        self.unseen += 1;
        self.sum.most_ns += now.since(since).most_ns;
    }

    fn left_out(&mut self, left_out: &mut (u64, u64)) {
        let (too_late_ns, left_out_ns) = std::mem::take(left_out);
        self.sum.least_ns = self.sum.least_ns.saturating_sub(too_late_ns);
        self.sum.most_ns += left_out_ns;
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Thread {
    pub(super) tid: u32,
    pub(super) has_ended: bool,
    pub(super) voluntary: u64,
    pub(super) preempted: u64,
    pub(super) yielded: u64,
    pub(super) migrations: u64,
    pub(super) on_cpu_ns: u64,
    pub(super) wakeup: Waits,
    pub(super) preemption: Waits,
    /// On-CPU time of each run whose begin was seen.
    pub(super) slices_ns: Vec<u64>,
    /// Of its switches, those since it began to end: perf may have let go of it.
    pub(super) switches_ending: u64,
    /// From event to event: what `perf sched timehist` calls "run time".
    pub(super) run_events: Span,
    /// The same for "sch delay".
    pub(super) delay_events: Span,
    phase: Phase,
    /// On-CPU time since the last switch-out.
    slice_ns: u64,
    /// By how much the last run was longer by the clock than the kernel counted, which belongs to the next wait: down to what the
    /// switch-in may have been converted too late, up to all that the kernel has left out.
    left_out: (u64, u64),
    /// Woken while on its CPU.
    early: Option<Span>,
    /// Woken since it left its CPU, and when the event was written.
    waking: Option<(Span, Span)>,
    /// Queued since then, at the latest.
    queued_ns: Option<u64>,
    /// From its waking to its switch-in.
    delay: Span,
    is_yielding: bool,
    is_ending: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// Asleep, nobody knows since when.
    #[default]
    Unseen,
    Forked,
    /// Queued for the first time then, and when the event was written.
    New(Span, Span),
    /// Since then, and when the event was written.
    Running(Span, Span),
    Runnable(Span),
    Blocked(Span),
}

impl Thread {
    fn forked(tid: u32) -> Thread {
        Thread { tid, phase: Phase::Forked, ..Thread::default() }
    }

    pub(super) fn switches(&self) -> u64 {
        self.voluntary + self.preempted + self.yielded
    }

    /// It gets a CPU at `now`; the event was written at `event`.
    fn switch_in(&mut self, now: Span, event: Span) {
        match self.phase {
            Phase::Blocked(_) | Phase::Unseen => {
                let wait = now.since(self.runnable_since(now));
                if matches!(self.phase, Phase::Unseen) {
                    self.wakeup.sum.add(wait);
                } else {
                    self.wakeup.ended(wait);
                }
                if let Some((_, woken)) = self.waking {
                    self.delay = event.since(woken);
                }
            }
            Phase::New(since, woken) => {
                self.wakeup.ended(now.since(since));
                self.delay = event.since(woken);
            }
            Phase::Runnable(since) => self.preemption.ended(now.since(since)),
            Phase::Forked | Phase::Running(..) => {}
        }
        let waits = if matches!(self.phase, Phase::Runnable(_)) { &mut self.preemption } else { &mut self.wakeup };
        waits.left_out(&mut self.left_out);
        self.phase = Phase::Running(now, event);
        (self.early, self.waking, self.queued_ns) = (None, None, None);
    }

    /// Since when a thread that blocked waits for the CPU that it gets at `now`.
    fn runnable_since(&self, now: Span) -> Span {
        if let Some((waking, _)) = self.waking {
            return waking;
        }
        let Phase::Blocked(since) = self.phase else { return now };
        let least_ns = self.early.map_or(since.least_ns, |early| early.least_ns.max(since.least_ns));
        Span { least_ns, most_ns: self.queued_ns.unwrap_or(now.most_ns).max(least_ns) }
    }

    /// It leaves its CPU.
    fn switch_out(&mut self, now: Span, event: Span, state: u64) {
        match self.phase {
            Phase::Running(since, written) => {
                self.slices_ns.push(self.slice_ns);
                for (sum, length) in
                    [(&mut self.run_events, event.since(written)), (&mut self.delay_events, std::mem::take(&mut self.delay))]
                {
                    sum.add(Span { least_ns: if self.is_ending { 0 } else { length.least_ns }, ..length });
                }
                self.left_out.0 += since.most_ns - since.least_ns;
                self.left_out.1 += now.since(since).most_ns.saturating_sub(self.slice_ns);
            }
            Phase::Runnable(since) => self.preemption.unseen(now, since),
            Phase::New(since, _) | Phase::Blocked(since) => self.wakeup.unseen(now, since),
            Phase::Forked | Phase::Unseen => self.wakeup.unseen(now, now),
        }
        self.slice_ns = 0;
        self.switches_ending += u64::from(self.is_ending);
        (self.waking, self.queued_ns) = (None, None);
        if state & BLOCKED != 0 {
            self.voluntary += 1;
            self.phase = Phase::Blocked(now);
            self.has_ended = state & DEAD != 0;
            if self.has_ended {
                self.preemption.left_out(&mut self.left_out);
            }
            return;
        }
        if self.is_yielding && state & PREEMPTED == 0 {
            self.yielded += 1;
        } else {
            self.preempted += 1;
        }
        self.phase = Phase::Runnable(now);
    }
}

/// Replays the events from `begin_ns` on, for a sleeping thread and all its descendants.
pub(super) fn replay(events: &[Event], leader: u32, begin_ns: u64) -> Vec<Thread> {
    let written = clock::until_next(events);
    let times = clock::times(events, &written);
    let mut alive = HashMap::from([(leader, Thread { tid: leader, ..Thread::default() })]);
    let mut ended = Vec::new();
    for (index, event) in events.iter().enumerate().filter(|(_, event)| event.at_ns >= begin_ns) {
        let (now, written) = (times[index], written[index]);
        let of_the_run = alive.contains_key(&event.current);
        match event.kind {
            Kind::Fork { child } if of_the_run => {
                alive.insert(child, Thread::forked(child));
            }
            Kind::WakeupNew { tid, .. } => {
                // The kernel makes workers for a process without a fork.
                let thread = if of_the_run { Some(alive.entry(tid).or_insert_with(|| Thread::forked(tid))) } else { None };
                if let Some(thread) = thread.filter(|thread| matches!(thread.phase, Phase::Forked)) {
                    thread.phase = Phase::New(now, written);
                }
            }
            Kind::Exec { tid, old } if tid != old => {
                if let Some(thread) = alive.remove(&old) {
                    ended.extend(alive.insert(tid, Thread { tid, ..thread }));
                }
            }
            Kind::Switch { prev, state, next } => {
                if let Some(thread) = alive.get_mut(&prev) {
                    thread.switch_out(now, written, state);
                    if thread.has_ended {
                        ended.extend(alive.remove(&prev));
                    }
                }
                if let Some(thread) = alive.get_mut(&next) {
                    thread.switch_in(now, written);
                }
            }
            kind => note(&mut alive, event.current, kind, now, written),
        }
    }
    ended.extend(alive.into_values());
    ended
}

/// Events that open or close no interval.
fn note(alive: &mut HashMap<u32, Thread>, current: u32, kind: Kind, now: Span, written: Span) {
    let tid = match kind {
        Kind::Waking { tid } | Kind::Wakeup { tid, .. } | Kind::Migrate { tid, .. } | Kind::Runtime { tid, .. } => tid,
        _ => current,
    };
    let Some(thread) = alive.get_mut(&tid) else { return };
    match kind {
        Kind::Waking { .. } if matches!(thread.phase, Phase::Running(..)) => {
            thread.early.get_or_insert(now);
        }
        Kind::Waking { .. } => {
            thread.waking.get_or_insert((now, written));
        }
        Kind::Wakeup { .. } => {
            thread.queued_ns.get_or_insert(now.most_ns);
        }
        Kind::Migrate { from, to, .. } => thread.migrations += u64::from(from != to),
        Kind::Runtime { ns, .. } => {
            thread.on_cpu_ns += ns;
            thread.slice_ns += ns;
        }
        Kind::SyscallEnter { number } => thread.is_yielding = number == libc::SYS_sched_yield,
        Kind::SyscallExit { .. } => thread.is_yielding = false,
        Kind::Exit => thread.is_ending = true,
        _ => {}
    }
}
