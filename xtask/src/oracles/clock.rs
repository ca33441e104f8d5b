//! When things happened, as intervals: the ring says when an event was written, and our figures are by the scheduler's own clock. Pure.
//!
//! The scheduler reads its clock when it is entered, some time before it writes `sched_switch`, and takes that reading for the end of one
//! run and the begin of the next. After a wake-up that asks for a switch it does not read the clock again (`rq_clock_skip_update` in
//! `wakeup_preempt`): the switch then has the time of the wake-up. A thread that is moved to a CPU asks in the same way. So the reading
//! lies
//!
//! - after the last thing that the CPU did outside the scheduler, or after such a wake-up or move, and
//! - before the next event on that CPU; the programs of a tracepoint run one after another, in either order.
//!
//! Our conversion of that reading adds at most what lay between it and another clock, read in the same switch, the last time that it was
//! measured.
//!
//! The kernel also says how long each run was at least by that clock (`sched_stat_runtime`, which leaves out what a hypervisor or an
//! interrupt took), so a run cannot have ended earlier, nor begun later.

use std::collections::HashMap;

use super::ring::{Event, Kind};

/// The idle thread of every CPU.
pub(super) const IDLE: u32 = 0;
/// Our conversion of the scheduler's clock is measured again after this time: docs/decisions/0004 and `ebpf/src/switch_clock.rs`.
const HOLDS_NS: u64 = 1_000_000;
/// By how much it may grow each time, and by how much it may be too small in between.
const DRIFT_NS: u64 = 500;
/// It may also grow by one part in this many of the time since then.
const DRIFT: u64 = 2_048;

/// A time or a length in nanoseconds that is known to lie in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) least_ns: u64,
    pub(super) most_ns: u64,
}

impl Span {
    /// The time from `start` to this.
    pub(super) fn since(self, start: Span) -> Span {
        Span { least_ns: self.least_ns.saturating_sub(start.most_ns), most_ns: self.most_ns.saturating_sub(start.least_ns) }
    }

    /// This, or nothing.
    pub(super) const fn or_none(self) -> Span {
        Span { least_ns: 0, ..self }
    }

    pub(super) fn add(&mut self, other: Span) {
        self.least_ns += other.least_ns;
        self.most_ns += other.most_ns;
    }
}

/// For each event, when it happened by the clock that our figures are by: the scheduler's at a switch and at a thread's begin, the
/// program's own at all others. `until_next` is what [`until_next`] returns.
pub(super) fn times(events: &[Event], until_next: &[Span]) -> Vec<Span> {
    let mut spans = until_next.to_vec();
    // By CPU: the last event outside the scheduler, and since when a wake-up may have asked for a switch.
    let (mut outside, mut asked) = (HashMap::new(), HashMap::new());
    let mut wakings = HashMap::new();
    let mut runs = Runs::default();
    let (mut conversions, mut converted) = (HashMap::<u32, Conversion>::new(), Vec::new());
    for (index, event) in events.iter().enumerate() {
        let entered_ns = *outside.get(&event.cpu).unwrap_or(&event.at_ns);
        match event.kind {
            Kind::Waking { tid } => {
                wakings.insert(tid, *event);
            }
            Kind::Wakeup { tid, cpu } => {
                let here = wakings.get(&tid).filter(|waking| waking.cpu == event.cpu);
                asked.insert(cpu, here.map_or(entered_ns, |waking| waking.at_ns));
            }
            Kind::WakeupNew { cpu, .. } => {
                spans[index].least_ns = entered_ns;
                asked.insert(cpu, entered_ns);
                converted.push((index, conversions.get(&cpu).map_or(0, |of| of.error_ns), until_next[index].most_ns));
            }
            // A thread that comes to a CPU asks for a switch there as one that is woken.
            Kind::Migrate { to, .. } => {
                asked.insert(to, entered_ns);
            }
            Kind::Runtime { tid, ns } => runs.add(tid, ns),
            Kind::Switch { next, .. } | Kind::Hidden { next, .. } => {
                spans[index] =
                    Span { least_ns: asked.remove(&event.cpu).unwrap_or(entered_ns).min(entered_ns), most_ns: event.at_ns };
                if let Kind::Switch { prev, .. } = event.kind {
                    let conversion = conversions.entry(event.cpu).or_default();
                    conversion.measured(event.at_ns, until_next[index].most_ns - spans[index].least_ns);
                    runs.end(event.cpu, prev, index);
                }
                converted.push((index, conversions.get(&event.cpu).map_or(0, |of| of.error_ns), until_next[index].most_ns));
                runs.begin(event.cpu, next, index);
            }
            // On the way to user space it would have switched.
            Kind::SyscallEnter { .. } => {
                asked.remove(&event.cpu);
            }
            Kind::Fork { .. } | Kind::Exec { .. } | Kind::Exit | Kind::SyscallExit { .. } | Kind::Entry => {}
        }
        if is_outside(event.kind) {
            outside.insert(event.cpu, event.at_ns);
        }
    }
    runs.narrow(&mut spans);
    for (index, error_ns, next_ns) in converted {
        spans[index].least_ns -= DRIFT_NS;
        spans[index].most_ns = next_ns.max(spans[index].most_ns + error_ns);
    }
    spans
}

/// By how much times of switches on one CPU may be converted too late.
#[derive(Default)]
struct Conversion {
    error_ns: u64,
    measured_at_ns: u64,
}

impl Conversion {
    fn measured(&mut self, at_ns: u64, most_ns: u64) {
        if self.measured_at_ns == 0 {
            self.error_ns = most_ns;
        }
        let age_ns = at_ns - self.measured_at_ns;
        if age_ns < HOLDS_NS {
            return;
        }
        self.error_ns = most_ns.min(self.error_ns + DRIFT_NS.max(age_ns / DRIFT));
        self.measured_at_ns = at_ns;
    }
}

/// Whether the scheduler does not write such an event between reading its clock and switching.
fn is_outside(kind: Kind) -> bool {
    // Balancing moves threads, and wakes those that help it.
    !matches!(
        kind,
        Kind::Waking { .. } | Kind::Wakeup { .. } | Kind::WakeupNew { .. } | Kind::Migrate { .. } | Kind::Runtime { .. }
    )
}

/// From each event to the next one on its CPU: any program at its tracepoint runs in between.
pub(super) fn until_next(events: &[Event]) -> Vec<Span> {
    let mut next = HashMap::new();
    let mut spans: Vec<Span> = events
        .iter()
        .rev()
        .map(|event| Span { least_ns: event.at_ns, most_ns: next.insert(event.cpu, event.at_ns).unwrap_or(event.at_ns) })
        .collect();
    spans.reverse();
    spans
}

/// Which switches a run lies between, and how long it was by the scheduler's clock.
#[derive(Default)]
struct Runs {
    ended: Vec<(usize, usize, u64)>,
    /// By CPU: who has it, since which switch.
    current: HashMap<u32, (u32, usize)>,
    /// By thread, since it last got a CPU.
    runtime_ns: HashMap<u32, u64>,
}

impl Runs {
    fn add(&mut self, tid: u32, ns: u64) {
        *self.runtime_ns.entry(tid).or_default() += ns;
    }

    fn begin(&mut self, cpu: u32, next: u32, index: usize) {
        self.current.insert(cpu, (next, index));
        self.runtime_ns.remove(&next);
    }

    fn end(&mut self, cpu: u32, prev: u32, index: usize) {
        let ns = self.runtime_ns.remove(&prev).unwrap_or(0);
        if let Some((tid, start)) = self.current.remove(&cpu)
            && tid == prev
            && prev != IDLE
        {
            self.ended.push((start, index, ns));
        }
    }

    fn narrow(&self, spans: &mut [Span]) {
        for &(start, end, ns) in &self.ended {
            let least_ns = spans[start].least_ns + ns;
            spans[end].least_ns = least_ns.clamp(spans[end].least_ns, spans[end].most_ns);
        }
        for &(start, end, ns) in self.ended.iter().rev() {
            let most_ns = spans[end].most_ns.saturating_sub(ns);
            let start = &mut spans[start];
            start.most_ns = start.most_ns.min(most_ns);
            start.least_ns = start.least_ns.min(most_ns);
        }
    }
}
