//! What schedscope says that processes would take, beside what they do take. Pure.
//!
//! The tracer estimates it from the run of the threads alone; the lab adds what the start of a process costs here, and has the
//! processes run to compare with.

use std::fmt::Write;

use schedscope_workloads::median;
use serde::{Deserialize, Serialize};

use super::cell::{self, Row};
use super::claims::FOREIGN_MAX_SPEED;
use super::units::percent;
use crate::report::words::duration;

/// Cells that start workers which do nothing: what processes cost more than threads.
const START: [&str; 2] = ["startup-threads", "startup-processes-fork"];
/// Workers that such a cell starts besides, so that none pays for what only the first one needs.
const FIRST_WORKERS: usize = 1;

/// One cell of threads bound by the GIL and its twin on processes; medians over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The cell of threads.
    pub cell: String,
    /// Its runtime.
    pub runtime: String,
    /// Threads.
    pub workers: usize,
    /// What the threads took, interpreter and all.
    pub threads_wall_seconds: f64,
    /// What processes should take.
    pub estimated_wall_seconds: f64,
    /// What they took.
    pub measured_wall_seconds: f64,
    /// Estimate over measurement, minus one.
    pub error: f64,
    /// What the same threads should take without a GIL.
    pub without_gil_wall_seconds: f64,
    /// What a process was taken to cost.
    pub start_seconds_per_process: f64,
    /// Most of the CPUs that others took during either.
    pub foreign_share: f64,
}

/// Every cell of threads that was found to be bound by the GIL and has a twin on forked processes.
pub(crate) fn of(rows: &[Row]) -> Vec<Compared> {
    rows.iter().filter(|row| !row.cell.is_native() && row.cell.model == "threads").filter_map(|row| compared(rows, row)).collect()
}

fn compared(rows: &[Row], threads: &Row) -> Option<Compared> {
    let find = |id: &str| cell::find(rows, &threads.cell.runtime, id);
    let processes = find(&format!("{}-processes-fork", threads.cell.task))?;
    // Cells about one claim run for a time, so that there is nothing to compare.
    threads.cell.serial_twin.as_ref()?;
    // Only threads that are bound have an estimate.
    let estimated = threads.samples.iter().map(|sample| sample.report.model.estimate.as_ref());
    let rounds: Vec<_> = (estimated.zip(&threads.runs).zip(&processes.runs))
        .filter_map(|((estimate, threads), processes)| Some((estimate?, threads, processes.outside_wall_seconds)))
        .collect();
    let start_seconds = start_seconds(find(START[0]), find(START[1]));
    let start_seconds = start_seconds.unwrap_or(rounds.first()?.0.start_seconds_per_process);
    let estimated = median(rounds.iter().map(|(estimate, ..)| estimate.processes_wall_seconds_at(start_seconds)))?;
    let measured = median(rounds.iter().map(|(_, _, measured)| *measured))?;
    Some(Compared {
        cell: threads.cell.id.clone(),
        runtime: threads.cell.runtime.clone(),
        workers: threads.cell.workers,
        threads_wall_seconds: median(rounds.iter().map(|(_, threads, _)| threads.outside_wall_seconds))?,
        estimated_wall_seconds: estimated,
        measured_wall_seconds: measured,
        error: estimated / measured - 1.0,
        without_gil_wall_seconds: median(rounds.iter().map(|(estimate, ..)| estimate.without_gil_wall_seconds))?,
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

pub(crate) fn text(compared: &[Compared]) -> String {
    if compared.is_empty() {
        return String::new();
    }
    let mut text = String::from("What processes would take, estimated from the threads' run alone, and what they took:\n");
    for one in compared {
        let is_quiet = one.foreign_share <= FOREIGN_MAX_SPEED;
        let noise =
            if is_quiet { String::new() } else { format!(" (other programs took {} of the CPUs)", percent(one.foreign_share)) };
        let _ = writeln!(
            text,
            "  {:<28} {:>8}  threads took {:>8}; processes: estimated {:>8}, measured {:>8}, error {:+.0} %{noise}",
            one.cell,
            one.runtime,
            duration(one.threads_wall_seconds),
            duration(one.estimated_wall_seconds),
            duration(one.measured_wall_seconds),
            100.0 * one.error,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cell::Cell;
    use crate::lab::cell::tests::cell;
    use crate::lab::figures::Figures;
    use crate::lab::sample::Sample;
    use crate::report::schema::Estimate;

    /// A cell that took so long.
    fn row(task: &str, model: &str, workers: usize, outside_wall_seconds: f64, estimate: Option<Estimate>) -> Row {
        let mut sample = Sample::default();
        sample.report.model.estimate = estimate;
        let mut cell = Cell { workers, ..cell("3.11.7", task, model) };
        cell.serial_twin.take_if(|_| task == "startup");
        let figures = Figures { outside_wall_seconds, ..Figures::default() };
        Row { cell, runs: vec![figures], samples: vec![sample], ..Row::default() }
    }

    #[test]
    fn threads_bound_by_the_gil_are_compared_with_the_run_on_processes() {
        // Two seconds of computing on two CPUs, and a tenth before.
        let estimate = Estimate { without_gil_wall_seconds: 1.1, workers: 4, ..Estimate::default() };
        let mut rows = [
            row("hash", "threads", 4, 2.1, Some(estimate)),
            row("hash", "processes-fork", 4, 1.3, None),
            row("startup", "threads", 8, 0.10, None),
            row("startup", "processes-fork", 8, 0.19, None),
        ];
        let compared = of(&rows);
        let [one] = compared.as_slice() else { unreachable!("one cell of threads has a twin: {compared:?}") };
        // Four processes at a hundredth each.
        assert!((one.start_seconds_per_process - 0.01).abs() < 1e-9, "{one:?}");
        assert!((one.estimated_wall_seconds - 1.14).abs() < 1e-9, "{one:?}");
        assert!((one.error - (1.14 / 1.3 - 1.0)).abs() < 1e-9);
        let text = text(&compared);
        assert!(text.ends_with("processes: estimated   1.14 s, measured   1.30 s, error -12 %\n"), "{text}");
        rows[0].samples[0].report.model.estimate = None;
        assert!(of(&rows).is_empty() && super::text(&of(&rows)).is_empty());
    }
}
