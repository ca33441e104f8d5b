//! What a rule looks at, when the machine is fit to judge, and what a rule says of one round.
//!
//! An unfit machine gives no verdict, never a wrong one.

use serde_json::Value;

use super::tolerances::{CALIBRATION_MIN, FOREIGN_MAX_DEMAND, FOREIGN_MAX_SPEED, FOREIGN_MAX_WAITING, STEAL_MAX};
use crate::lab::cell::{NATIVE, Row, find};
use crate::lab::figures::Figures;
use crate::lab::sample::Sample;
use crate::lab::units::{Unit, percent};
use crate::report::schema::ThreadReport;

/// Name of the cell that measures what the machine can give: native threads, one per CPU.
pub(crate) const CALIBRATION: &str = "native-spin-per-cpu";
/// A thread waits if it spent at least this long in sleep or poll.
const WAITED_SECONDS: f64 = 0.001;

/// What a rule rests on, and so what may not disturb it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Whether something happened at all: nothing disturbs that.
    Events,
    /// Demand, and the part of the time spent waiting for a lock.
    Demand,
    /// Time that mostly goes into waiting, or a large quotient of times.
    Waiting,
    /// Speed.
    Speed,
}

impl Gate {
    fn foreign_max(self) -> f64 {
        match self {
            Gate::Events => f64::INFINITY,
            Gate::Demand => FOREIGN_MAX_DEMAND,
            Gate::Waiting => FOREIGN_MAX_WAITING,
            Gate::Speed => FOREIGN_MAX_SPEED,
        }
    }
}

/// What a rule says of one round.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ruling {
    Holds,
    Fails,
    /// The figures fit neither; why.
    Between(String),
    /// The machine was not fit to judge; why.
    Unfit(String),
    /// The claim is not about this interpreter; why.
    NotAbout(String),
}

impl Ruling {
    /// The ruling with those of its figures that are there.
    #[expect(clippy::unnecessary_wraps, reason = "a rule whose cells did not report what it takes gives none")]
    pub(super) fn with(self, figures: &[(&'static str, Unit, Option<f64>)]) -> Option<Reading> {
        let figures = figures.iter().filter_map(|(name, unit, value)| Some(Figure { name, unit: *unit, value: (*value)? }));
        Some(Reading { ruling: self, figures: figures.collect() })
    }
}

/// It holds if so, it fails if so, else it is neither, and why.
pub(super) fn rule(holds: bool, fails: bool, neither: impl FnOnce() -> String) -> Ruling {
    match (holds, fails) {
        (true, _) => Ruling::Holds,
        (false, true) => Ruling::Fails,
        (false, false) => Ruling::Between(neither()),
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) value: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(super) ruling: Ruling,
    pub(super) figures: Vec<Figure>,
}

#[derive(Clone, Copy)]
pub(super) struct CellRun<'a> {
    pub(super) row: &'a Row,
    pub(super) figures: &'a Figures,
    sample: Option<&'a Sample>,
}

impl CellRun<'_> {
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

    /// Threads that slept or waited in poll, except those that hardly did: interpreters start and end with helpers.
    pub(super) fn waiting_threads(&self) -> Option<f64> {
        let waited = |thread: &ThreadReport| {
            ["sleep", "poll"].iter().filter_map(|reason| thread.blocked_seconds_by_reason.get(*reason)).sum::<f64>()
        };
        let threads = &self.sample?.report.threads;
        Some(threads.iter().filter(|thread| waited(thread) >= WAITED_SECONDS).count() as f64)
    }

    /// Voluntary switches of the whole run, per unit of work.
    pub(super) fn switches_per_unit(&self) -> f64 {
        self.figures.voluntary_per_second * self.figures.outside_wall_seconds / self.figures.work.max(1.0)
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
pub(crate) struct View<'a> {
    pub(super) rows: &'a [Row],
    pub(super) runtime: &'a str,
    pub(super) cpus: usize,
    pub(super) round: usize,
}

impl<'a> View<'a> {
    pub(super) fn cell(&self, id: &str) -> Option<CellRun<'a>> {
        self.find(self.runtime, id)
    }

    /// A control that no interpreter takes part in.
    pub(super) fn native(&self, id: &str) -> Option<CellRun<'a>> {
        self.find(NATIVE, id)
    }

    fn find(&self, runtime: &str, id: &str) -> Option<CellRun<'a>> {
        let row = find(self.rows, runtime, id)?;
        let figures = row.runs.get(self.round).filter(|_| row.problem.is_none())?;
        Some(CellRun { row, figures, sample: row.samples.get(self.round) })
    }

    /// The most that so many workers can gain here.
    pub(super) fn ideal(&self, workers: f64) -> f64 {
        workers.min(self.cpus as f64)
    }

    /// True if speed can be judged of these cells, where a rule can do without.
    pub(super) fn can_tell_speed(&self, cells: &[CellRun]) -> bool {
        self.obstacle(Gate::Speed, cells).is_none()
    }

    /// Why nothing may be said about these cells, if so.
    pub(super) fn obstacle(&self, gate: Gate, cells: &[CellRun]) -> Option<String> {
        if gate == Gate::Events {
            return None;
        }
        if let Some(cell) = cells.iter().find(|cell| cell.figures.lost > 0) {
            return Some(format!("{} observations are missing in {}", cell.figures.lost, cell.row.cell.id));
        }
        if let Some(why) = too_much(cells, "other programs", gate.foreign_max(), |figures| figures.foreign_share) {
            return Some(why);
        }
        if gate == Gate::Demand {
            return None;
        }
        if let Some(why) = too_much(cells, "the hypervisor", STEAL_MAX, |figures| figures.steal_share) {
            return Some(why);
        }
        if gate == Gate::Waiting {
            return None;
        }
        if self.cpus < 2 {
            return Some("with one CPU nothing can run in parallel".to_owned());
        }
        let Some(calibration) = self.native(CALIBRATION) else {
            return Some("the calibration cell did not run".to_owned());
        };
        let got = calibration.figures.running_mean;
        (got < CALIBRATION_MIN * self.cpus as f64).then(|| format!("even native threads got only {got:.2} of {} CPUs", self.cpus))
    }
}

/// Who took more than they may in the worst of the cells.
fn too_much(cells: &[CellRun], who: &str, most: f64, share: fn(&Figures) -> f64) -> Option<String> {
    let worst = cells.iter().max_by(|a, b| share(a.figures).total_cmp(&share(b.figures)))?;
    let share = share(worst.figures);
    (share > most).then(|| format!("{who} took {} of the CPUs during {}", percent(share), worst.row.cell.id))
}
