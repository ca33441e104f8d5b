//! What the figures say, in plain sentences. Pure: every sentence follows from figures by a rule with a tolerance.
//!
//! [`rules`] holds the rules; here are what they look at and when they may not speak.

mod rules;

use std::fmt::Write;

use serde::Serialize;

use super::{
    cell::{Kind, Row},
    figures::Figures,
    plan::CALIBRATION,
};

/// Part of the CPUs that native threads must get before anything is said about speed.
const CALIBRATION_MIN: f64 = 0.92;
/// Part of the CPUs that other programs may take while speed is measured.
const FOREIGN_MAX: f64 = 0.05;
/// The same where time is spent waiting, or a count or a size is measured.
const FOREIGN_MAX_WAITING: f64 = 0.3;
/// The same for demand, which others' load hardly changes.
const FOREIGN_MAX_DEMAND: f64 = 0.6;

/// What the figures answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// Something in between.
    Partly,
    /// The machine was not fit to tell.
    Inconclusive,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The question, as a key that stays the same.
    pub(crate) question: &'static str,
    /// The runtime that it is about.
    pub(crate) runtime: String,
    /// The answer.
    pub(crate) verdict: Verdict,
    /// The answer with its figures.
    pub(crate) sentence: String,
    /// Cells that it rests on.
    pub(crate) cells: Vec<String>,
}

/// A cell that ran: what a rule reads.
#[derive(Clone, Copy)]
struct Seen<'a> {
    row: &'a Row,
    figures: &'a Figures,
}

impl Seen<'_> {
    fn workers(&self) -> usize {
        self.row.cell.workers
    }
}

/// One runtime's cells on one machine.
struct View<'a> {
    rows: &'a [Row],
    runtime: &'a str,
    cpus: usize,
}

impl<'a> View<'a> {
    /// A cell that ran on this runtime.
    fn cell(&self, task: &str, model: &str) -> Option<Seen<'a>> {
        let row =
            self.rows.iter().find(|row| row.cell.runtime == self.runtime && row.cell.task == task && row.cell.model == model)?;
        Some(Seen { row, figures: row.figures()? })
    }

    /// The most that so many workers can gain here.
    fn ideal(&self, workers: usize) -> f64 {
        workers.min(self.cpus) as f64
    }

    /// Why nothing may be said about the speed of these cells, if so.
    fn obstacle_to_speed(&self, cells: &[Seen]) -> Option<String> {
        if self.cpus < 2 {
            return Some("with one CPU nothing can run in parallel".to_owned());
        }
        let calibration = self.rows.iter().find(|row| row.cell.kind == Kind::Calibration && row.cell.id == CALIBRATION);
        let Some(calibration) = calibration.and_then(Row::figures) else {
            return Some("the calibration cell did not run".to_owned());
        };
        if calibration.running_mean < CALIBRATION_MIN * self.cpus as f64 {
            return Some(format!("even native threads got only {:.2} of {} CPUs", calibration.running_mean, self.cpus));
        }
        obstacle(cells, FOREIGN_MAX)
    }
}

/// Why nothing may be said about these cells, if so.
fn obstacle(cells: &[Seen], foreign_max: f64) -> Option<String> {
    if let Some(cell) = cells.iter().find(|cell| cell.figures.lost > 0.0) {
        return Some(format!("{:.0} observations are missing in {}", cell.figures.lost, cell.row.cell.id));
    }
    let noisiest = cells.iter().max_by(|a, b| a.figures.foreign_share.total_cmp(&b.figures.foreign_share))?;
    let share = noisiest.figures.foreign_share;
    (share > foreign_max).then(|| format!("other programs took {:.0} % of the CPUs during {}", 100.0 * share, noisiest.row.cell.id))
}

/// All answers, runtime by runtime.
pub(crate) fn of(rows: &[Row], cpus: usize) -> Vec<Finding> {
    let mut runtimes: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| !row.cell.is_native()) {
        if !runtimes.contains(&row.cell.runtime.as_str()) {
            runtimes.push(&row.cell.runtime);
        }
    }
    runtimes.into_iter().flat_map(|runtime| rules::all(&View { rows, runtime, cpus })).collect()
}

/// The answers as a list; the runtime is named where there are several.
pub(crate) fn text(findings: &[Finding]) -> String {
    let Some(first) = findings.first() else { return String::new() };
    let are_several = findings.iter().any(|finding| finding.runtime != first.runtime);
    let mut text = String::from("What the kernel saw:\n");
    for finding in findings {
        let runtime = if are_several { format!("({}) ", finding.runtime) } else { String::new() };
        let _ = writeln!(text, "- {runtime}{}", finding.sentence);
    }
    text
}

#[cfg(test)]
mod tests;
