//! Which thread ran on which core when, from the thread-by-core sums at each sample. Pure.
//!
//! The sums are exact, so every column's total is right whatever sampling misses inside the column.

use std::collections::HashMap;

use crate::capture::snapshot::{Snapshot, Thread, Tid};

/// Columns kept. When they are used up, pairs are merged and each column becomes twice as long.
const MAX_BINS: usize = 1024;
const FIRST_BIN_NS: u64 = 5_000_000;

/// A thread that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) tid: u32,
    pub(crate) tgid: u32,
    /// Name when last seen.
    pub(crate) comm: String,
    /// On-CPU time over the timeline.
    pub(crate) total_ns: u64,
}

/// One core in one column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Nanoseconds by index into the lanes.
    pub(crate) by_lane: HashMap<usize, u64>,
    /// Nanoseconds in which the core was not idle.
    pub(crate) busy_ns: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Column {
    /// By CPU number.
    pub(crate) cores: Vec<Slice>,
    /// Nanoseconds that all threads together were runnable.
    pub(crate) runnable_ns: u64,
}

/// What a thread had done at the last sample.
#[derive(Clone, Debug, Default)]
struct Seen {
    on_cpu_ns: Vec<u64>,
    runnable_ns: u64,
}

impl Seen {
    /// Raised to what was seen before: the sums of a record that is being written may be older.
    fn at_least(mut self, before: &Seen) -> Seen {
        self.runnable_ns = self.runnable_ns.max(before.runnable_ns);
        for (now, before) in self.on_cpu_ns.iter_mut().zip(&before.on_cpu_ns) {
            *now = (*now).max(*before);
        }
        self
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(crate) start_ns: u64,
    sampled_ns: u64,
    /// Time from one sample to the next: a column.
    pub(crate) bin_ns: u64,
    cpus: usize,
    pub(crate) columns: Vec<Column>,
    /// Threads that ran, in the order in which they were first seen.
    pub(crate) lanes: Vec<Lane>,
    /// By [`Thread::key`].
    lane_of: HashMap<(Tid, u64), usize>,
    seen: HashMap<(Tid, u64), Seen>,
    idle_seen: Vec<u64>,
}

impl Timeline {
    pub(crate) fn starting(snapshot: &Snapshot) -> Timeline {
        let mut timeline = Timeline {
            start_ns: snapshot.taken_ns,
            sampled_ns: snapshot.taken_ns,
            bin_ns: FIRST_BIN_NS,
            cpus: snapshot.cpus.len(),
            columns: Vec::new(),
            lanes: Vec::new(),
            lane_of: HashMap::new(),
            seen: HashMap::new(),
            idle_seen: idle(snapshot),
        };
        for thread in &snapshot.threads {
            timeline.seen.insert(thread.key(), seen(thread, snapshot.taken_ns));
        }
        timeline
    }

    pub(crate) fn feed(&mut self, snapshot: &Snapshot) {
        let now_ns = snapshot.taken_ns;
        if now_ns <= self.sampled_ns {
            return;
        }
        for thread in snapshot.threads.iter().chain(&snapshot.released) {
            let before = self.seen.remove(&thread.key()).unwrap_or_default();
            let now = seen(thread, now_ns).at_least(&before);
            self.seen.insert(thread.key(), now.clone());
            let waited_ns = now.runnable_ns.saturating_sub(before.runnable_ns);
            let from_ns = self.sampled_ns.min(now_ns.saturating_sub(waited_ns));
            self.spread(from_ns, now_ns, waited_ns, |column, ns| column.runnable_ns += ns);
            for (cpu, &ns) in now.on_cpu_ns.iter().enumerate() {
                let grown_ns = ns.saturating_sub(before.on_cpu_ns.get(cpu).copied().unwrap_or(0));
                if grown_ns > 0 {
                    let lane = self.lane(thread);
                    self.lanes[lane].total_ns += grown_ns;
                    // A run noticed only when it ended began before the last sample.
                    let from_ns = self.sampled_ns.min(now_ns.saturating_sub(grown_ns));
                    self.spread(from_ns, now_ns, grown_ns, |column, ns| {
                        *column.cores[cpu].by_lane.entry(lane).or_default() += ns;
                    });
                }
            }
        }
        for thread in &snapshot.released {
            self.seen.remove(&thread.key());
        }
        let elapsed_ns = now_ns - self.sampled_ns;
        for (cpu, idle_ns) in idle(snapshot).into_iter().enumerate() {
            let grown_ns = idle_ns.saturating_sub(self.idle_seen[cpu]).min(elapsed_ns);
            self.spread(self.sampled_ns, now_ns, elapsed_ns - grown_ns, |column, ns| column.cores[cpu].busy_ns += ns);
            self.idle_seen[cpu] = self.idle_seen[cpu].max(idle_ns);
        }
        self.sampled_ns = now_ns;
    }

    /// Slices of one core, by column.
    pub(crate) fn row(&self, cpu: usize) -> impl Iterator<Item = &Slice> {
        self.columns.iter().filter_map(move |column| column.cores.get(cpu))
    }

    fn lane(&mut self, thread: &Thread) -> usize {
        let lane = *self.lane_of.entry(thread.key()).or_insert(self.lanes.len());
        let now = Lane { tid: thread.record.tid, tgid: thread.record.tgid, comm: thread.comm(), total_ns: 0 };
        if lane == self.lanes.len() {
            self.lanes.push(now);
        } else {
            self.lanes[lane].comm = now.comm;
        }
        lane
    }

    /// Spreads `amount_ns` evenly over the columns between two times.
    fn spread(&mut self, from_ns: u64, to_ns: u64, amount_ns: u64, mut add: impl FnMut(&mut Column, u64)) {
        let from_ns = from_ns.max(self.start_ns);
        let span_ns = to_ns.saturating_sub(from_ns);
        if span_ns == 0 {
            return;
        }
        while to_ns - self.start_ns > self.bin_ns * MAX_BINS as u64 {
            self.merge_pairs();
        }
        let mut given_ns = 0;
        let mut at_ns = from_ns;
        while at_ns < to_ns {
            let column = (at_ns - self.start_ns) / self.bin_ns;
            let end_ns = (self.start_ns + (column + 1) * self.bin_ns).min(to_ns);
            // Cumulative, so that rounding never loses a nanosecond.
            let due_ns =
                u64::try_from(u128::from(amount_ns) * u128::from(end_ns - from_ns) / u128::from(span_ns)).unwrap_or(amount_ns);
            let column = usize::try_from(column).unwrap_or(MAX_BINS - 1);
            if self.columns.len() <= column {
                let empty = Column { cores: vec![Slice::default(); self.cpus], runnable_ns: 0 };
                self.columns.resize(column + 1, empty);
            }
            if due_ns > given_ns {
                add(&mut self.columns[column], due_ns - given_ns);
            }
            given_ns = due_ns;
            at_ns = end_ns;
        }
    }

    fn merge_pairs(&mut self) {
        self.bin_ns *= 2;
        let mut merged: Vec<Column> = Vec::with_capacity(self.columns.len() / 2 + 1);
        for (column, bin) in std::mem::take(&mut self.columns).into_iter().enumerate() {
            if column % 2 == 0 {
                merged.push(bin);
            } else if let Some(left) = merged.last_mut() {
                left.runnable_ns += bin.runnable_ns;
                for (into, from) in left.cores.iter_mut().zip(bin.cores) {
                    into.busy_ns += from.busy_ns;
                    for (lane, ns) in from.by_lane {
                        *into.by_lane.entry(lane).or_default() += ns;
                    }
                }
            }
        }
        self.columns = merged;
    }
}

/// On-CPU time by CPU and time waited, open intervals included.
fn seen(thread: &Thread, now_ns: u64) -> Seen {
    Seen { on_cpu_ns: thread.on_cpu_ns_by_cpu(now_ns), runnable_ns: thread.times(now_ns).runnable_ns() }
}

fn idle(snapshot: &Snapshot) -> Vec<u64> {
    snapshot.cpus.iter().map(|cpu| cpu.idle_ns(snapshot.taken_ns)).collect()
}

#[cfg(test)]
mod tests;
