//! What schedscope says that processes would take, beside what they do take. Pure.
//!
//! The tracer estimates it from the run of the threads alone; the lab adds what the start of a process costs here, and has the
//! process run to compare with.

use std::fmt::Write;

use schedscope::report::schema::Estimate;
use serde::{Deserialize, Serialize};

use super::{cell::Row, figures::median, table::seconds};

/// Cells that start workers which do nothing: what processes cost more than threads.
const START: [&str; 2] = ["startup-threads", "startup-processes-fork"];
/// Workers that such a cell starts besides, so that none pays for what only the first one needs.
const FIRST_WORKERS: usize = 1;
/// Part of the CPUs that others may take before the machine's noise says more than the estimate.
const FOREIGN_MAX: f64 = 0.05;

/// One cell of threads bound by the GIL and its twin on processes; medians over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compared {
    /// The cell of threads.
    pub(crate) cell: String,
    /// Its runtime.
    pub(crate) runtime: String,
    /// Threads.
    pub(crate) workers: usize,
    /// What the threads took, interpreter and all.
    pub(crate) threads_wall_seconds: f64,
    /// What processes should take.
    pub(crate) estimated_wall_seconds: f64,
    /// What they took.
    pub(crate) measured_wall_seconds: f64,
    /// Estimate over measurement, less one.
    pub(crate) error: f64,
    /// What the same threads should take without a GIL.
    pub(crate) without_gil_wall_seconds: f64,
    /// What a process was taken to cost.
    pub(crate) start_seconds_per_process: f64,
    /// Most of the CPUs that others took during either.
    pub(crate) foreign_share: f64,
}

impl Compared {
    /// True if the machine was quiet enough for the error to be the estimate's.
    pub(crate) fn is_quiet(&self) -> bool {
        self.foreign_share <= FOREIGN_MAX
    }
}

/// Every cell of threads that was found to be bound by the GIL and has a twin on forked processes.
pub(crate) fn of(rows: &[Row]) -> Vec<Compared> {
    rows.iter().filter(|row| !row.cell.is_native() && row.cell.model == "threads").filter_map(|row| compared(rows, row)).collect()
}

fn compared(rows: &[Row], threads: &Row) -> Option<Compared> {
    let find = |id: &str| rows.iter().find(|row| row.cell.runtime == threads.cell.runtime && row.cell.id == id);
    let processes = find(&format!("{}-processes-fork", threads.cell.task))?;
    // Cells about one claim run for a time, so that there is nothing to compare.
    threads.cell.serial_twin.as_ref()?;
    let start_seconds = start_seconds(find(START[0]), find(START[1]));
    let mut rounds = Vec::new();
    for round in 0.. {
        let (Some(sample), Some(twin)) = (threads.sample(round), processes.run(round)) else { break };
        // Only threads that are bound have one.
        let Some(estimate) = &sample.report.model.estimate else { continue };
        rounds.push((estimate, sample.report.wall_seconds, twin.outside_wall_seconds));
    }
    let start_seconds = start_seconds.unwrap_or(rounds.first()?.0.start_seconds_per_process);
    let middle = |of: &dyn Fn(&(&Estimate, f64, f64)) -> f64| median(rounds.iter().map(of));
    let estimated = middle(&|(estimate, ..)| estimate.processes_wall_seconds_at(start_seconds))?;
    let measured = middle(&|(_, _, measured)| *measured)?;
    Some(Compared {
        cell: threads.cell.id.clone(),
        runtime: threads.cell.runtime.clone(),
        workers: threads.cell.workers,
        threads_wall_seconds: middle(&|(_, threads, _)| *threads)?,
        estimated_wall_seconds: estimated,
        measured_wall_seconds: measured,
        error: estimated / measured - 1.0,
        without_gil_wall_seconds: middle(&|(estimate, ..)| estimate.without_gil_wall_seconds)?,
        start_seconds_per_process: start_seconds,
        foreign_share: [threads, processes].iter().filter_map(|row| row.figures()).map(|f| f.foreign_share).fold(0.0, f64::max),
    })
}

/// What a program with processes that do nothing takes longer than one with as many threads, for each of them.
fn start_seconds(threads: Option<&Row>, processes: Option<&Row>) -> Option<f64> {
    let (threads, processes) = (threads?, processes?);
    let workers = processes.cell.workers + FIRST_WORKERS;
    let longer = processes.figures()?.outside_wall_seconds - threads.figures()?.outside_wall_seconds;
    Some((longer / workers as f64).max(0.0))
}

/// A line for each; empty if there is none.
pub(crate) fn text(compared: &[Compared]) -> String {
    if compared.is_empty() {
        return String::new();
    }
    let mut text = String::from("What processes would take, estimated from the threads' run alone, and what they took:\n");
    for one in compared {
        let noise = if one.is_quiet() {
            String::new()
        } else {
            format!(" (other programs took {:.0} % of the CPUs)", 100.0 * one.foreign_share)
        };
        let _ = writeln!(
            text,
            "  {:<28} {:>8}  threads took {:>8}; processes: estimated {:>8}, measured {:>8}, error {:+.0} %{noise}",
            one.cell,
            one.runtime,
            seconds(one.threads_wall_seconds),
            seconds(one.estimated_wall_seconds),
            seconds(one.measured_wall_seconds),
            100.0 * one.error,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use schedscope::report::RunReport;

    use super::{
        super::{
            cell::{Cell, Kind, Outcome, Sample, Workload},
            figures::Figures,
        },
        *,
    };

    /// A cell that took so long, with what the tracer saw of it.
    fn row(id: &str, model: &str, workers: usize, twin: Option<&str>, wall_seconds: f64, estimate: Option<Estimate>) -> Row {
        let mut report = RunReport { wall_seconds, ..RunReport::default() };
        report.model.estimate = estimate;
        let sample = Sample { said: serde_json::Value::Null, workload: Workload::default(), report, steal_share: 0.0 };
        let cell = Cell {
            id: id.to_owned(),
            runtime: "3.11.7".to_owned(),
            kind: Kind::Cpu,
            task: id.trim_end_matches(&format!("-{model}")).to_owned(),
            model: model.to_owned(),
            workers,
            serial_twin: twin.map(str::to_owned),
            unit: None,
            program: "python3".into(),
            arguments: Vec::new(),
            skipped: None,
        };
        let figures = Figures { outside_wall_seconds: wall_seconds, ..Figures::default() };
        Row::new(cell, Outcome::Measured { figures: Box::new(figures.clone()), runs: vec![figures], samples: vec![sample] })
    }

    fn rows() -> Vec<Row> {
        // Two seconds of computing on two CPUs, and a tenth before.
        let estimate = Estimate { without_gil_wall_seconds: 1.1, workers: 4, ..Estimate::default() };
        vec![
            row("hash-threads", "threads", 4, Some("hash-serial"), 2.1, Some(estimate)),
            row("hash-processes-fork", "processes-fork", 4, Some("hash-serial"), 1.3, None),
            row("startup-threads", "threads", 8, None, 0.10, None),
            row("startup-processes-fork", "processes-fork", 8, None, 0.19, None),
        ]
    }

    #[test]
    fn the_estimate_is_compared_with_the_run_on_processes() {
        let compared = of(&rows());
        let [one] = compared.as_slice() else { unreachable!("one cell of threads has a twin: {compared:?}") };
        // Four processes at a hundredth each.
        assert!((one.start_seconds_per_process - 0.01).abs() < 1e-9, "{one:?}");
        assert!((one.estimated_wall_seconds - 1.14).abs() < 1e-9, "{one:?}");
        assert!((one.error - (1.14 / 1.3 - 1.0)).abs() < 1e-9 && one.is_quiet());
        assert!(text(&compared).contains("processes: estimated   1.14 s, measured   1.30 s, error -12 %"), "{}", text(&compared));
    }

    #[test]
    fn threads_that_are_not_bound_have_no_estimate() {
        let mut rows = rows();
        let Outcome::Measured { samples, .. } = &mut rows.first_mut().unwrap().outcome else { unreachable!("it was measured") };
        samples[0].report.model.estimate = None;
        assert!(of(&rows).is_empty() && text(&of(&rows)).is_empty());
    }
}
