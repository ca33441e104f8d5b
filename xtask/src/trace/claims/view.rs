//! What a rule looks at: one runtime's cells in one round.

use schedscope::report::schema::ThreadReport;
use serde_json::Value;

use super::super::{
    cell::{Row, Sample},
    figures::Figures,
    runtime::NATIVE,
};

/// Time in sleep or poll from which on a thread is one that waits.
const WAITED_SECONDS: f64 = 0.001;

/// A cell's run in one round.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) row: &'a Row,
    pub(super) figures: &'a Figures,
    sample: Option<&'a Sample>,
}

impl Seen<'_> {
    /// Number of workers.
    pub(super) fn workers(&self) -> f64 {
        self.row.cell.workers as f64
    }

    /// A number that only this cell reports.
    pub(super) fn detail(&self, name: &str) -> Option<f64> {
        match self.sample?.workload.details.get(name)? {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            value => value.as_f64(),
        }
    }

    /// Units of work per second of working.
    pub(super) fn work_per_second(&self) -> f64 {
        self.figures.work / self.figures.work_seconds.max(1e-9)
    }

    /// Threads that slept or waited in poll, but for those that hardly did: interpreters start and end with helpers.
    pub(super) fn waiting_threads(&self) -> Option<f64> {
        let waited = |thread: &ThreadReport| {
            ["sleep", "poll"].iter().filter_map(|reason| thread.blocked_seconds_by_reason.get(*reason)).sum::<f64>()
        };
        let threads = &self.sample?.report.threads;
        Some(threads.iter().filter(|thread| waited(thread) >= WAITED_SECONDS).count() as f64)
    }

    /// Voluntary switches of the whole run.
    pub(super) fn voluntary(&self) -> f64 {
        self.figures.voluntary_per_second * self.figures.outside_wall_seconds
    }

    /// Of the time in which the thread of this name ran or waited for a GIL, the part that it waited.
    pub(super) fn gil_share_of(&self, comm: &str) -> Option<f64> {
        let thread = self.sample?.report.threads.iter().find(|thread| thread.comm == comm)?;
        let waited = thread.blocked_seconds_by_reason.get("gil").copied().unwrap_or(0.0);
        let both = waited + thread.on_cpu_seconds;
        (both > 0.0).then(|| waited / both)
    }

    /// The interpreter's switch interval, as the waits of its threads show it.
    pub(super) fn switch_interval_seconds(&self) -> Option<f64> {
        self.sample?.report.gil.switch_interval_seconds
    }

    /// Whether the interpreter has a GIL in use, as it says itself; not every one does.
    pub(super) fn says_gil(&self) -> Option<bool> {
        self.sample?.said.pointer("/interpreter/gil")?.as_bool()
    }

    /// True if a Python ran whose locks were not found: its waits for them look like any others.
    pub(super) fn is_gil_unresolved(&self) -> bool {
        self.sample.is_some_and(|sample| !sample.report.gil.unresolved.is_empty())
    }
}

/// One round of one runtime's cells on one machine.
pub(super) struct View<'a> {
    pub(super) rows: &'a [Row],
    pub(super) runtime: &'a str,
    pub(super) cpus: usize,
    pub(super) round: usize,
}

impl<'a> View<'a> {
    /// A cell of this runtime.
    pub(super) fn cell(&self, id: &str) -> Option<Seen<'a>> {
        self.find(self.runtime, id)
    }

    /// A control that no interpreter takes part in.
    pub(super) fn native(&self, id: &str) -> Option<Seen<'a>> {
        self.find(NATIVE, id)
    }

    /// Those of the cells that ran.
    pub(super) fn cells(&self, ids: impl Iterator<Item = &'static str>) -> Vec<Seen<'a>> {
        ids.filter_map(|id| self.cell(id)).collect()
    }

    fn find(&self, runtime: &str, id: &str) -> Option<Seen<'a>> {
        let row = self.rows.iter().find(|row| row.cell.runtime == runtime && row.cell.id == id)?;
        Some(Seen { row, figures: row.run(self.round)?, sample: row.sample(self.round) })
    }

    /// The most that so many workers can gain here.
    pub(super) fn ideal(&self, workers: f64) -> f64 {
        workers.min(self.cpus as f64)
    }
}
