//! The sweep: the same computing on 1, 2, 4, 8, … workers of each kind, so that it shows from where on more of them are of no use.
//!
//! [`cells`] says what is run, [`points`] what came of it; [`chart`] shows it, [`json`] and [`csv`] are the data. All pure.

mod chart;

use std::fmt::Write;

use serde::Serialize;

use super::{
    cell::{Cell, Kind, Outcome, Row},
    runtime::Runtime,
};
pub(crate) use chart::text;

/// Value of the `schema` field of `sweep.json`.
const SCHEMA: &str = "schedscope.lab-sweep/1";
/// How long the workers work.
const SECONDS: &str = "0.4";
/// Least number of workers that the sweep goes up to, and workers per CPU that it goes up to.
const WORKERS: usize = 8;
const WORKERS_PER_CPU: usize = 4;
/// Most workers, whatever the machine: processes need memory.
const WORKERS_MAX: usize = 64;
/// What is swept: the model and the cell to call.
const PYTHON: [(&str, &str); 3] = [
    ("threads", "arithmetic-threads"),
    ("processes-fork", "arithmetic-processes-fork"),
    ("subinterpreters", "arithmetic-subinterpreters"),
];
/// The control.
const NATIVE: [&str; 6] = ["native", "--task", "spin", "--model", "threads", "--seconds"];

/// The cells of the sweep, model by model.
pub(crate) fn cells(runtimes: &[Runtime], cpus: usize) -> Vec<Cell> {
    let mut cells = Vec::new();
    for runtime in runtimes.iter().filter(|runtime| runtime.unusable.is_none()) {
        if runtime.is_native() {
            for workers in counts(cpus) {
                let arguments = NATIVE.iter().map(|text| (*text).to_owned()).chain([SECONDS.to_owned()]).collect();
                cells.push(cell(runtime, "native threads", arguments, workers));
            }
            continue;
        }
        for (model, id) in PYTHON {
            for workers in counts(cpus) {
                cells.push(cell(runtime, model, vec![id.to_owned(), "--seconds".to_owned(), SECONDS.to_owned()], workers));
            }
        }
    }
    cells
}

/// 1, 2, 4 and so on.
fn counts(cpus: usize) -> impl Iterator<Item = usize> {
    let last = (WORKERS_PER_CPU * cpus).clamp(WORKERS, WORKERS_MAX);
    std::iter::successors(Some(1), |workers| Some(2 * workers)).take_while(move |workers| *workers <= last)
}

fn cell(runtime: &Runtime, model: &str, arguments: Vec<String>, workers: usize) -> Cell {
    let arguments = arguments.into_iter().chain(["--workers".to_owned(), workers.to_string()]).map(Into::into);
    Cell {
        id: format!("sweep-{}-{workers}", model.replace(' ', "-")),
        runtime: runtime.name.clone(),
        kind: Kind::Cpu,
        task: "sweep".to_owned(),
        model: model.to_owned(),
        workers,
        serial_twin: None,
        unit: None,
        program: runtime.program.clone(),
        arguments: runtime.prefix.iter().map(|path| path.clone().into_os_string()).chain(arguments).collect(),
        skipped: None,
    }
}

/// What so many workers of a kind came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    /// Their runtime.
    pub(crate) runtime: String,
    /// Their kind.
    pub(crate) model: String,
    /// How many.
    pub(crate) workers: usize,
    /// C over their number.
    pub(crate) running_per_worker: f64,
    /// D over their number.
    pub(crate) demand_per_worker: f64,
    /// Work per second over that of one worker of the kind.
    pub(crate) speed_up: f64,
    /// Switches because a thread blocked, a second.
    pub(crate) voluntary_per_second: f64,
    /// Switches although it could have gone on, a second.
    pub(crate) preempted_per_second: f64,
    /// Of the time that they ran or waited for a GIL, the part that they waited.
    pub(crate) gil_share: f64,
    /// Of the time that they ran or waited for a CPU, the part that they waited.
    pub(crate) queued_share: f64,
    /// From losing a CPU to getting one again, median.
    pub(crate) preemption_wait_p50_seconds: f64,
    /// Part of all CPU time that other programs took meanwhile.
    pub(crate) foreign_share: f64,
}

/// The points, and why those that are missing are.
pub(crate) fn points(rows: &[Row]) -> (Vec<Point>, Vec<String>) {
    let mut points: Vec<Point> = Vec::new();
    let mut missing: Vec<String> = Vec::new();
    for row in rows {
        let Cell { runtime, model, workers, .. } = &row.cell;
        let figures = match &row.outcome {
            Outcome::Measured { figures, .. } => figures,
            Outcome::Skipped { why } | Outcome::Failed { why } => {
                let line = format!("{runtime} {model}: {why}");
                if !missing.contains(&line) {
                    missing.push(line);
                }
                continue;
            }
        };
        let rate = figures.work / figures.work_seconds.max(1e-9);
        let single = rows
            .iter()
            .find(|one| one.cell.workers == 1 && one.cell.runtime == *runtime && one.cell.model == *model)
            .and_then(Row::figures)
            .map_or(rate, |one| one.work / one.work_seconds.max(1e-9));
        points.push(Point {
            runtime: runtime.clone(),
            model: model.clone(),
            workers: *workers,
            running_per_worker: figures.running_mean / *workers as f64,
            demand_per_worker: figures.demand_mean / *workers as f64,
            speed_up: rate / single.max(1e-9),
            voluntary_per_second: figures.voluntary_per_second,
            preempted_per_second: figures.preempted_per_second,
            gil_share: figures.gil_share,
            queued_share: figures.queued_share,
            preemption_wait_p50_seconds: figures.preemption_wait_p50_seconds,
            foreign_share: figures.foreign_share,
        });
    }
    (points, missing)
}

/// The data as JSON.
pub(crate) fn json(points: &[Point], missing: &[String], cpus: usize) -> serde_json::Value {
    serde_json::json!({ "schema": SCHEMA, "cpus": cpus, "points": points, "missing": missing })
}

/// The data as lines of comma-separated values.
pub(crate) fn csv(points: &[Point]) -> String {
    let mut text = String::from(
        "runtime,model,workers,running_per_worker,demand_per_worker,speed_up,voluntary_per_second,preempted_per_second,gil_share,\
         queued_share,preemption_wait_p50_seconds,foreign_share\n",
    );
    for point in points {
        let numbers = [
            point.running_per_worker,
            point.demand_per_worker,
            point.speed_up,
            point.voluntary_per_second,
            point.preempted_per_second,
            point.gil_share,
            point.queued_share,
            point.preemption_wait_p50_seconds,
            point.foreign_share,
        ];
        let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:.6}")).collect();
        let _ = writeln!(text, "{},{},{},{}", point.runtime, point.model, point.workers, numbers.join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sweep_goes_beyond_the_cores() {
        assert_eq!(counts(2).collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(counts(8).last(), Some(32));
        assert_eq!(counts(256).last(), Some(64));
    }

    #[test]
    fn a_line_has_as_many_values_as_the_heading() {
        let point = Point {
            runtime: "3.11.7".to_owned(),
            model: "threads".to_owned(),
            workers: 4,
            running_per_worker: 0.25,
            demand_per_worker: 0.3,
            speed_up: 1.0,
            voluntary_per_second: 0.0,
            preempted_per_second: 0.0,
            gil_share: 0.7,
            queued_share: 0.1,
            preemption_wait_p50_seconds: 0.004,
            foreign_share: 0.0,
        };
        let text = csv(&[point]);
        let widths: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(widths, [12, 12]);
    }
}
