//! What each thread of a run did, from the kernel's events alone. Pure.
//!
//! The terms are those of docs/architecture.md. Where events cannot tell something, it is an interval that has all possibilities:
//!
//! - A thread that is woken while it is still on its CPU leaves no waking after its switch-out. If it blocked all the same, it waits from
//!   the switch-out at the earliest and from `sched_wakeup` at the latest.
//! - A run that was certainly longer than the on-CPU time that was added up during it: a hypervisor had the CPU, or another CPU added to
//!   that time and its event is lost. One of a thread's runs may be such.
//! - A switch that has no event ([`Kind::Hidden`]) happened between two events. Its wait and run may or may not be in our distributions.

use std::collections::HashMap;

use super::clock::{self, IDLE, Span};
use super::ring::{DEAD, Event, Kind};

/// Bits of `prev_state` for a thread that cannot go on; the one above them marks a preemption (`TASK_REPORT_MAX`).
const BLOCKED: u64 = 0xff;
const PREEMPTED: u64 = 0x100;

/// Waits of one class.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    /// Those of which begin and end were seen.
    pub(super) seen: Vec<Span>,
    /// Those of which the end has no event.
    pub(super) hidden: Vec<Span>,
    /// All, added up.
    pub(super) sum: Span,
}

impl Waits {
    fn ended(&mut self, wait: Span, is_hidden: bool) {
        if is_hidden { &mut self.hidden } else { &mut self.seen }.push(wait);
        self.sum.add(wait);
    }

    /// The run before this wait was longer than the kernel counted, see [`Thread::left_out`].
    fn left_out(&mut self, left_out: &mut (u64, u64)) {
        let (too_late_ns, left_out_ns) = std::mem::take(left_out);
        self.sum.least_ns = self.sum.least_ns.saturating_sub(too_late_ns);
        self.sum.most_ns += left_out_ns;
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Thread {
    pub(super) tid: u32,
    /// The id that it had before it took over its process by exec.
    pub(super) old_tid: Option<u32>,
    pub(super) has_ended: bool,
    pub(super) voluntary: u64,
    pub(super) preempted: u64,
    pub(super) yielded: u64,
    pub(super) migrations: u64,
    pub(super) on_cpu_ns: u64,
    /// That may be missing there: the most that one run was longer, by the clock, than its events say. A hypervisor had the CPU meanwhile,
    /// or an event is lost.
    pub(super) unseen_ns: u64,
    /// Its fork among them.
    pub(super) wakings: u64,
    pub(super) wakeup: Waits,
    pub(super) preemption: Waits,
    /// On-CPU time of each run.
    pub(super) slices: Waits,
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
    /// Woken while on its CPU, and when the event was written.
    early: Option<(Span, Span)>,
    /// Woken since it left its CPU, and when the event was written.
    waking: Option<(Span, Span)>,
    /// Queued since then, at the latest.
    queued_ns: Option<u64>,
    /// From its waking to its switch-in.
    delay: Span,
    arrival: SwitchIn,
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
    /// Since then.
    Running(Span),
    Runnable(Span),
    Blocked(Span),
}

/// How a thread gets a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct SwitchIn {
    /// When the event was written.
    written: Span,
    /// There is none.
    is_hidden: bool,
    /// The CPU was idle since then.
    idle_since: Option<Span>,
}

impl SwitchIn {
    /// perf loses switches from idle CPUs.
    fn may_be_lost(&self) -> bool {
        self.is_hidden || self.idle_since.is_some()
    }

    /// When the run begins for perf: at the last switch on this CPU that it has.
    fn shown(&self) -> Span {
        Span { least_ns: self.idle_since.unwrap_or(self.written).least_ns, ..self.written }
    }
}

impl Thread {
    fn forked(tid: u32) -> Thread {
        Thread { tid, phase: Phase::Forked, ..Thread::default() }
    }

    pub(super) fn switches(&self) -> u64 {
        self.voluntary + self.preempted + self.yielded
    }

    /// It gets a CPU at `now`.
    fn switch_in(&mut self, now: Span, event: &SwitchIn) {
        self.delay = self.shown_delay(event.written);
        match self.phase {
            Phase::Blocked(_) | Phase::Unseen => {
                let wait = now.since(self.runnable_since(now));
                if matches!(self.phase, Phase::Unseen) {
                    self.wakeup.sum.add(wait);
                } else {
                    self.wakeup.ended(wait, event.is_hidden);
                }
            }
            Phase::New(since, _) => self.wakeup.ended(now.since(since), event.is_hidden),
            Phase::Runnable(since) => self.preemption.ended(now.since(since), event.is_hidden),
            Phase::Forked | Phase::Running(_) => {}
        }
        let waits = if matches!(self.phase, Phase::Runnable(_)) { &mut self.preemption } else { &mut self.wakeup };
        waits.left_out(&mut self.left_out);
        if event.may_be_lost() {
            self.delay = self.delay.or_none();
        }
        self.phase = Phase::Running(now);
        self.arrival = *event;
        (self.early, self.waking, self.queued_ns) = (None, None, None);
    }

    /// From its waking to its switch-in, which was written then. A preempted thread may be woken too, if it was on its way to sleep.
    fn shown_delay(&self, written: Span) -> Span {
        let (woken, may_be_none) = match (self.waking, self.early, self.phase) {
            // Which of two events on two CPUs came first may look different to perf.
            (Some((_, woken)), _, Phase::Blocked(left) | Phase::Runnable(left)) => (woken, woken.least_ns < left.most_ns),
            (Some((_, woken)), ..) | (_, _, Phase::New(_, woken)) => (woken, false),
            (None, Some((_, woken)), _) => (woken, true),
            (None, None, _) => return Span::default(),
        };
        let delay = written.since(woken);
        if may_be_none { delay.or_none() } else { delay }
    }

    /// Since when a thread that blocked waits for the CPU that it gets at `now`.
    fn runnable_since(&self, now: Span) -> Span {
        if let Some((waking, _)) = self.waking {
            return waking;
        }
        let Phase::Blocked(since) = self.phase else { return now };
        let least_ns = self.early.map_or(since.least_ns, |(early, _)| early.least_ns.max(since.least_ns));
        Span { least_ns, most_ns: self.queued_ns.unwrap_or(now.most_ns).max(least_ns) }
    }

    /// It leaves its CPU.
    fn switch_out(&mut self, now: Span, event: Span, state: u64) {
        match self.phase {
            Phase::Running(since) => {
                let (length, slice_ns) = (now.since(since), self.slice_ns);
                let unseen_ns = if length.least_ns > slice_ns { length.most_ns - slice_ns } else { 0 };
                self.unseen_ns = self.unseen_ns.max(unseen_ns);
                self.slices.ended(Span { least_ns: slice_ns, most_ns: slice_ns + unseen_ns }, self.arrival.is_hidden);
                let run = event.since(self.arrival.shown());
                for (sum, length) in [(&mut self.run_events, run), (&mut self.delay_events, std::mem::take(&mut self.delay))] {
                    sum.add(if self.is_ending { length.or_none() } else { length });
                }
                self.left_out.0 += since.most_ns - since.least_ns;
                self.left_out.1 += length.most_ns.saturating_sub(slice_ns);
            }
            // Its switch-in would have been noticed.
            Phase::Forked | Phase::Unseen | Phase::New(..) | Phase::Runnable(_) | Phase::Blocked(_) => {}
        }
        self.slice_ns = 0;
        self.switches_ending += u64::from(self.is_ending);
        (self.waking, self.queued_ns) = (None, None);
        if state & BLOCKED != 0 {
            self.voluntary += 1;
            self.phase = Phase::Blocked(now);
            self.has_ended = state & DEAD != 0;
            if self.has_ended {
                // No wait comes after the last run. What it was too short takes from whichever there were.
                self.wakeup.left_out(&mut (self.left_out.0, 0));
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
    // When the last switch on each CPU was written.
    let mut switched = HashMap::new();
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
                    thread.wakings += 1;
                }
            }
            Kind::Exec { tid, old } if tid != old => {
                if let Some(thread) = alive.remove(&old) {
                    ended.extend(alive.insert(tid, Thread { tid, old_tid: Some(old), ..thread }));
                }
            }
            Kind::Switch { prev, state, next } => {
                if let Some(thread) = alive.get_mut(&prev) {
                    thread.switch_out(now, written, state);
                    if thread.has_ended {
                        ended.extend(alive.remove(&prev));
                    }
                }
                let before = switched.insert(event.cpu, written).filter(|_| prev == IDLE);
                if let Some(thread) = alive.get_mut(&next) {
                    thread.switch_in(now, &SwitchIn { written, is_hidden: false, idle_since: before });
                }
            }
            Kind::Hidden { next, since_ns } => {
                let written = Span { least_ns: since_ns, ..written };
                let before = switched.insert(event.cpu, written);
                if let Some(thread) = alive.get_mut(&next) {
                    thread.switch_in(now, &SwitchIn { written, is_hidden: true, idle_since: before });
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
    thread.wakings += u64::from(matches!(kind, Kind::Waking { .. }));
    match kind {
        Kind::Waking { .. } if matches!(thread.phase, Phase::Running(_)) => {
            thread.early.get_or_insert((now, written));
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
