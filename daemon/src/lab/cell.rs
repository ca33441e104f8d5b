//! A cell of the lab: one task on one concurrency model on one runtime, and what came of it.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::sample::Sample;
use crate::report::RunReport;

/// Name of the runtime that is not an interpreter.
pub(crate) const NATIVE: &str = "native";

/// What kind of work a cell does; the sections of the table, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Native threads, one per CPU: what this machine can give.
    Calibration,
    /// Computing.
    #[default]
    Cpu,
    /// Waiting.
    Io,
    /// Examples that textbooks give.
    Textbook,
    /// Who has to wait for whom.
    Latency,
    /// What workers share, lose, cost and survive: cells about one claim.
    #[serde(alias = "claim")]
    Workers,
}

impl Kind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::Calibration => "Calibration",
            Kind::Cpu => "CPU-bound",
            Kind::Io => "I/O-bound",
            Kind::Textbook => "Textbook",
            Kind::Latency => "Latency",
            Kind::Workers => "Workers",
        }
    }
}

/// One cell, ready to be run. Its runtime lists it, and the plan adds how much work it does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// Its name in its runtime's list.
    pub id: String,
    /// Name of the runtime, such as `3.11.7`, or `native`.
    pub runtime: String,
    /// Section of the table.
    pub kind: Kind,
    /// What is done; native cells bear the name of the Python task that they are the control for.
    pub task: String,
    /// On what it is done.
    pub model: String,
    /// Number of workers.
    pub workers: usize,
    /// Name of the cell with the same work on one worker, in the same runtime.
    pub serial_twin: Option<String>,
    /// What one unit of work is.
    pub unit: Option<String>,
    /// Program to run.
    #[serde(skip)]
    pub program: PathBuf,
    /// Its arguments.
    #[serde(skip)]
    pub arguments: Vec<OsString>,
    /// Why the runtime cannot run it.
    #[serde(skip_serializing)]
    pub skipped: Option<String>,
}

impl Cell {
    /// Name that tells it from the same cell on another runtime.
    pub fn label(&self) -> String {
        if self.is_native() { self.id.clone() } else { format!("{} {}", self.runtime, self.id) }
    }

    pub(crate) fn is_native(&self) -> bool {
        self.runtime == NATIVE
    }

    /// True if it is its own twin: there is nothing to compare it with.
    pub(crate) fn is_serial(&self) -> bool {
        self.serial_twin.as_ref() == Some(&self.id)
    }

    pub(crate) fn section(&self) -> String {
        format!("{}: {}", self.kind.title(), self.task)
    }
}

/// A cell and its runs: a line of the table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What is run.
    pub cell: Cell,
    pub(crate) samples: Vec<Sample>,
    pub(crate) runs: Vec<Figures>,
    /// Why there are no figures. One failure spoils the cell: medians over what is left would hide it.
    pub(crate) problem: Option<Problem>,
}

/// Why a cell has no figures.
#[derive(Clone, Debug)]
pub(crate) enum Problem {
    /// This runtime or machine can't run it; in the runtime's words.
    Skipped(String),
    /// It should have run; the error's text.
    Failed(String),
}

impl Row {
    /// A cell that was not run yet.
    pub fn new(cell: Cell) -> Row {
        Row { cell, ..Row::default() }
    }

    pub(crate) fn figures(&self) -> Option<Figures> {
        if self.problem.is_none() { Figures::summary(&self.runs) } else { None }
    }

    /// The run that its picture shows: the first.
    pub(crate) fn report(&self) -> Option<&RunReport> {
        self.samples.first().filter(|_| self.problem.is_none()).map(|sample| &sample.report)
    }

    /// True if it has run, each time well.
    pub fn has_succeeded(&self) -> bool {
        self.problem.is_none() && !self.runs.is_empty()
    }

    /// The last run in a few words.
    pub fn last_line(&self) -> String {
        match (&self.problem, self.runs.last()) {
            (Some(Problem::Failed(why)), _) => format!("failed: {why}"),
            (Some(Problem::Skipped(why)), _) => format!("skipped: {why}"),
            (None, Some(run)) => format!("{:.2} s  C {:.2}  D {:.2}", run.wall_seconds, run.running_mean, run.demand_mean),
            (None, None) => String::new(),
        }
    }
}

pub(crate) fn find<'a>(rows: &'a [Row], runtime: &str, id: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.cell.runtime == runtime && row.cell.id == id)
}

/// Adds the speed-ups, which need the serial twins: each run is compared with the twin's run of the same round, which was made
/// close to it in time.
pub(crate) fn add_speed_ups(rows: &mut [Row]) {
    let twin = |cell: &Cell| find(rows, &cell.runtime, cell.serial_twin.as_ref()?).filter(|twin| twin.has_succeeded());
    let twins: Vec<Vec<Figures>> = rows.iter().map(|row| twin(&row.cell).map_or_else(Vec::new, |twin| twin.runs.clone())).collect();
    for (row, twin) in rows.iter_mut().zip(&twins) {
        row.runs.iter_mut().zip(twin).for_each(|(run, twin)| run.compare_with(twin));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cell for four workers, with the names that runtimes give.
    pub(in crate::lab) fn cell(runtime: &str, task: &str, model: &str) -> Cell {
        Cell {
            id: format!("{task}-{model}"),
            runtime: runtime.to_owned(),
            task: task.to_owned(),
            model: model.to_owned(),
            workers: 4,
            serial_twin: Some(format!("{task}-serial")),
            ..Cell::default()
        }
    }

    #[test]
    fn speed_is_compared_with_the_twin_of_the_same_runtime_per_unit_of_work() {
        let row = |runtime: &str, id: &str, twin: Option<&str>, wall_seconds: f64, work: f64| {
            let cell =
                Cell { id: id.to_owned(), runtime: runtime.to_owned(), serial_twin: twin.map(str::to_owned), ..Cell::default() };
            let figures = Figures { wall_seconds, work_seconds: 2.0 * wall_seconds, work, ..Figures::default() };
            Row { cell, runs: vec![figures], ..Row::default() }
        };
        let mut rows = vec![
            row("a", "serial", Some("serial"), 8.0, 64.0),
            row("a", "threads", Some("serial"), 2.0, 64.0),
            row("a", "more", Some("serial"), 2.0, 128.0),
            row("a", "less", Some("serial"), 2.0, 32.0),
            row("b", "serial", Some("serial"), 3.0, 64.0),
            row("b", "threads", Some("serial"), 2.0, 64.0),
            row("a", "alone", None, 2.0, 64.0),
            row("c", "threads", Some("serial"), 2.0, 64.0),
            row("a", "still", Some("serial"), 0.0, 64.0),
        ];
        rows[4].problem = Some(Problem::Failed(String::new()));
        add_speed_ups(&mut rows);
        let speed_ups = |of: fn(Figures) -> Option<f64>| rows.iter().map(|row| row.figures().and_then(of)).collect::<Vec<_>>();
        let expected = [Some(1.0), Some(4.0), Some(8.0), Some(2.0), None, None, None, None, None];
        assert_eq!(speed_ups(|figures| figures.speed_up), expected);
        assert_eq!(speed_ups(|figures| figures.work_speed_up), expected);
    }
}
