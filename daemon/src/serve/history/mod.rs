//! The last minutes for the built-in page, second by second: what the totals grew by between readings. Pure.
//!
//! The totals are those of `/metrics`, so sums over samples are exact. Samples are kept as the JSON that will be sent; their number
//! and their size are bounded.

mod colours;
mod figures;
mod last_window;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use colours::{Colours, SAMPLES, Use};
pub(crate) use figures::Figures;
pub(crate) use last_window::LastWindow;
use schedscope_ebpf::loss::Harm;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::capture::snapshot::Losses;
use crate::diagnose::ModelName;
use crate::label::NameSource;

/// Bytes of samples kept at most. Twenty workloads on two CPUs take 2 KB a sample; every client that asks takes a copy.
const MAX_BYTES: usize = 3 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) source: NameSource,
    pub(crate) model: ModelName,
    pub(crate) totals: Figures,
    /// Left out if it had no threads then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_window: Option<LastWindow>,
}

impl Row {
    /// What is left to say of a workload whose name has lost its number.
    fn at_its_end(self) -> Row {
        let totals = Figures { threads: 0, processes: 0, ..self.totals };
        Row { model: ModelName::Idle, totals, last_window: None, ..self }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// `CLOCK_MONOTONIC` when it was taken.
    pub(crate) taken_ns: u64,
    /// Time of the idle task by CPU, for CPUs that were seen switching.
    pub(crate) idle_ns: BTreeMap<u32, u64>,
    /// Workloads by [`Entry::key`](crate::label::table::Entry::key).
    pub(crate) rows: BTreeMap<u64, Row>,
    /// Observations that were missed since tracing began.
    pub(crate) losses: Losses,
}

#[derive(Serialize)]
struct Sample {
    number: u64,
    /// End, on the clock of [`Reading::taken_ns`].
    taken_ns: u64,
    wall_ns: u64,
    idle_ns: BTreeMap<u32, u64>,
    /// By workload; those without threads that did nothing are left out.
    workloads: BTreeMap<u64, Figures>,
}

/// How far a page has got: with which daemon, and the number of the sample it needs next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Position {
    /// [`Answer::epoch`] of the last answer.
    pub(crate) epoch: u64,
    /// [`Answer::next`] of the last answer.
    pub(crate) next: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Standing {
    pub(crate) id: u64,
    /// Its colour in the palette; none for `other` and for workloads that have not earned one.
    pub(crate) colour: Option<usize>,
    #[serde(flatten)]
    pub(crate) row: Row,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Answer {
    pub(crate) schema: &'static str,
    /// Different for every start of the daemon.
    pub(crate) epoch: u64,
    /// Number of the next sample.
    pub(crate) next: u64,
    /// When tracing began, on the clock of `taken_ns`.
    pub(crate) began_ns: u64,
    pub(crate) taken_ns: u64,
    /// Idle time by CPU since tracing began.
    pub(crate) idle_ns: BTreeMap<u32, u64>,
    pub(crate) workloads: Vec<Standing>,
    /// Losses since tracing began that leave a gap in the figures, by reason.
    pub(crate) missing: BTreeMap<&'static str, u64>,
    /// Those that the kernel's own accounting made up for.
    pub(crate) repaired: BTreeMap<&'static str, u64>,
    /// Those of details of single threads, which the page does not show.
    pub(crate) details: BTreeMap<&'static str, u64>,
    /// What the page has not seen yet.
    #[serde(serialize_with = "raw")]
    pub(crate) samples: Vec<Arc<RawValue>>,
}

fn raw<S: Serializer>(samples: &[Arc<RawValue>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(samples.iter().map(AsRef::as_ref))
}

/// The ring of samples.
#[derive(Debug)]
pub(crate) struct History {
    epoch: u64,
    began_ns: u64,
    last: Option<Reading>,
    /// Workloads that are no more, each with the sample that it was missing from first. The page may still show what they did before.
    ended: VecDeque<(u64, u64, Row)>,
    next: u64,
    samples: VecDeque<Arc<RawValue>>,
    bytes: usize,
    colours: Colours,
}

impl History {
    /// Nothing has been read yet; tracing began at `began_ns`.
    pub(crate) fn new(epoch: u64, began_ns: u64) -> History {
        History {
            epoch,
            began_ns,
            last: None,
            ended: VecDeque::new(),
            next: 0,
            samples: VecDeque::with_capacity(SAMPLES),
            bytes: 0,
            colours: Colours::default(),
        }
    }

    /// Adds a reading. The first only serves for comparison.
    pub(crate) fn push(&mut self, reading: Reading) {
        if let Some(mut last) = self.last.take() {
            if reading.taken_ns <= last.taken_ns {
                self.last = Some(last);
                return;
            }
            let sample = self.sample(&last, &reading);
            self.colour(&sample, &reading);
            last.rows.retain(|id, _| !reading.rows.contains_key(id));
            self.ended.extend(last.rows.into_iter().map(|(id, row)| (self.next, id, row.at_its_end())));
            self.keep(&sample);
            self.ended.retain(|(number, ..)| number + SAMPLES as u64 > self.next);
        }
        self.last = Some(reading);
    }

    fn sample(&self, last: &Reading, reading: &Reading) -> Sample {
        let nothing = Figures::default();
        let grown = reading.rows.iter().map(|(id, row)| {
            let before = last.rows.get(id).map_or(&nothing, |row| &row.totals);
            (*id, row.totals.since(before))
        });
        let idle = |(&cpu, &ns): (&u32, &u64)| Some((cpu, ns.saturating_sub(*last.idle_ns.get(&cpu)?)));
        Sample {
            number: self.next,
            taken_ns: reading.taken_ns,
            wall_ns: reading.taken_ns - last.taken_ns,
            idle_ns: reading.idle_ns.iter().filter_map(idle).collect(),
            workloads: grown.filter(|(_, figures)| *figures != nothing).collect(),
        }
    }

    fn colour(&mut self, sample: &Sample, reading: &Reading) {
        let uses = sample.workloads.iter().map(|(&id, figures)| Use {
            id,
            is_named: reading.rows.get(&id).is_some_and(|row| row.source == NameSource::Rule),
            on_cpu_ns: figures.on_cpu_total_ns(),
        });
        self.colours.update(sample.number, sample.wall_ns, uses);
    }

    fn keep(&mut self, sample: &Sample) {
        self.next += 1;
        let text = serde_json::value::to_raw_value(sample);
        debug_assert!(text.is_ok(), "maps with numbers for keys are JSON");
        let Ok(text) = text else { return };
        self.bytes += text.get().len();
        self.samples.push_back(text.into());
        while self.samples.len() > SAMPLES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.samples.pop_front() else { break };
            self.bytes -= oldest.get().len();
        }
    }

    /// What a page at `position` has not seen: everything, if it comes from another daemon or has seen nothing.
    pub(crate) fn after(&self, position: Position) -> Answer {
        let missing = if position.epoch == self.epoch { self.next.saturating_sub(position.next) } else { u64::MAX };
        let skipped = self.samples.len().saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX));
        let (taken_ns, idle_ns) = self.last.as_ref().map(|last| (last.taken_ns, last.idle_ns.clone())).unwrap_or_default();
        let standing = |(id, row): (&u64, &Row)| Standing { id: *id, colour: self.colours.of(*id), row: row.clone() };
        let present = self.last.iter().flat_map(|last| &last.rows).map(standing);
        Answer {
            schema: "schedscope.history/1",
            epoch: self.epoch,
            next: self.next,
            began_ns: self.began_ns,
            taken_ns,
            idle_ns,
            workloads: present.chain(self.ended.iter().map(|(_, id, row)| standing((id, row)))).collect(),
            missing: self.losses(Harm::Missing),
            repaired: self.losses(Harm::Repaired),
            details: self.losses(Harm::Details),
            samples: self.samples.iter().skip(skipped).cloned().collect(),
        }
    }

    fn losses(&self, harm: Harm) -> BTreeMap<&'static str, u64> {
        let all = self.last.iter().flat_map(|last| last.losses.by_reason());
        all.filter(|(loss, count)| loss.harm() == harm && *count > 0).map(|(loss, count)| (loss.name(), count)).collect()
    }
}

#[cfg(test)]
mod tests;
