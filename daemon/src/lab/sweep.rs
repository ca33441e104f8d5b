//! The sweep: the same computing on 1, 2, 4, 8, … workers of each kind, which shows where more of them stop helping.
//!
//! [`cells`] says what is run, [`points`] what came of it; [`text`] shows it, [`json`] and [`csv`] are the data. All pure.

use std::fmt::Write;

use comfy_table::{CellAlignment, ColumnConstraint, Table, Width, presets};
use serde_json::{Value, json};
use textplots::{Chart, LabelBuilder, LabelFormat, Plot, Shape};

use super::cell::{Cell, Problem, Row};
use super::claims::FOREIGN_MAX_SPEED;
use super::figures::Figures;
use super::runtime::Runtime;
use super::units::{Unit, percent};

const SCHEMA: &str = "schedscope.lab-sweep/1";
const SECONDS: &str = "0.4";
/// Least number of workers that the sweep goes up to, and workers per CPU that it goes up to.
const WORKERS: usize = 8;
const WORKERS_PER_CPU: usize = 4;
/// Most workers, whatever the machine: processes need memory.
const WORKERS_MAX: usize = 64;
/// What is swept: the model, and what calls its cell.
const PYTHON: [(&str, &str); 3] = [
    ("threads", "arithmetic-threads"),
    ("processes-fork", "arithmetic-processes-fork"),
    ("subinterpreters", "arithmetic-subinterpreters"),
];
const NATIVE: [(&str, &str); 1] = [("native threads", "native --task spin --model threads")];

/// Size of a chart in dots: two to a column, four to a line.
const CHART: (u32, u32) = (44, 24);
/// Columns from one chart to the next: the chart itself and the label of its axis.
const CHART_WIDTH: u16 = 32;
/// Charts side by side, so that a terminal of 130 columns can show them.
const CHARTS: usize = 4;

pub(crate) fn cells(runtimes: &[Runtime], cpus: usize) -> Vec<Cell> {
    let mut cells = Vec::new();
    for runtime in runtimes.iter().filter(|runtime| runtime.unusable.is_none()) {
        for (model, call) in if runtime.is_native() { &NATIVE[..] } else { &PYTHON } {
            cells.extend(counts(cpus).map(|workers| {
                let id = format!("sweep-{}-{workers}", model.replace(' ', "-"));
                let call = format!("{call} --seconds {SECONDS} --workers {workers}");
                Cell { task: "sweep".to_owned(), model: (*model).to_owned(), workers, ..runtime.cell(id, call.split(' ')) }
            }));
        }
    }
    cells
}

/// 1, 2, 4 and so on.
fn counts(cpus: usize) -> impl Iterator<Item = usize> {
    let last = (WORKERS_PER_CPU * cpus).clamp(WORKERS, WORKERS_MAX);
    std::iter::successors(Some(1), |workers| Some(2 * workers)).take_while(move |workers| *workers <= last)
}

/// What so many workers of a kind came to.
pub(crate) struct Point<'a> {
    cell: &'a Cell,
    figures: Figures,
    /// Work per second over that of one worker of the kind.
    speed_up: f64,
}

impl Point<'_> {
    fn per_worker(&self, sum: f64) -> f64 {
        sum / self.cell.workers as f64
    }
}

/// A figure of a point: its name in the data, its heading in the table, and how it is written there.
type Column = (&'static str, &'static str, Unit, fn(&Point) -> f64);
const COLUMNS: [Column; 9] = [
    ("running_per_worker", "C/n", Unit::Plain, |point| point.per_worker(point.figures.running_mean)),
    ("demand_per_worker", "D/n", Unit::Plain, |point| point.per_worker(point.figures.demand_mean)),
    ("speed_up", "speed-up", Unit::Factor, |point| point.speed_up),
    ("voluntary_per_second", "vol/s", Unit::Rate, |point| point.figures.voluntary_per_second),
    ("preempted_per_second", "preempt/s", Unit::Rate, |point| point.figures.preempted_per_second),
    ("gil_share", "GIL", Unit::Percent, |point| point.figures.gil_share),
    ("queued_share", "CPU queue", Unit::Percent, |point| point.figures.queued_share),
    ("preemption_wait_p50_seconds", "turn", Unit::Seconds, |point| point.figures.preemption_wait_p50_seconds),
    ("foreign_share", "others", Unit::Percent, |point| point.figures.foreign_share),
];
const LEGEND: &str = "\
speed-up: work per second over that of one worker of the kind. GIL, CPU queue: of the time that the workers ran or waited for it,
the part that they waited. turn: from losing a CPU to getting one again, median. others: CPU time that other programs took.";

/// What is drawn: its title, the value, and the top of the axis, of the number of CPUs.
type Quantity = (&'static str, fn(&Point) -> f64, fn(f64) -> f64);
const QUANTITIES: [Quantity; 4] = [
    ("speed-up", |point| point.speed_up, |cpus| cpus),
    ("C per worker", |point| point.per_worker(point.figures.running_mean), |_| 1.0),
    ("D per worker", |point| point.per_worker(point.figures.demand_mean), |_| 1.0),
    ("part of the time waiting, for a GIL or a CPU", |point| point.figures.gil_share.max(point.figures.queued_share), |_| 1.0),
];

/// The points, and why those that are missing are.
pub(crate) fn points(rows: &[Row]) -> (Vec<Point<'_>>, Vec<String>) {
    let mut points = Vec::new();
    let mut missing: Vec<String> = Vec::new();
    for row in rows {
        let cell = &row.cell;
        if let Some(figures) = row.figures() {
            let of_kind = rows.iter().filter(|one| (&one.cell.runtime, &one.cell.model) == (&cell.runtime, &cell.model));
            let single = of_kind.filter(|one| one.cell.workers == 1).find_map(Row::figures);
            let single = single.as_ref().unwrap_or(&figures).work_per_second();
            points.push(Point { cell, speed_up: figures.work_per_second() / single.max(1e-9), figures });
        } else if let Some(Problem::Skipped(why) | Problem::Failed(why)) = &row.problem {
            missing.push(format!("{} {}: {why}", cell.runtime, cell.model));
        }
    }
    missing.dedup();
    (points, missing)
}

pub(crate) fn json(points: &[Point], missing: &[String], cpus: usize) -> Value {
    let points = points.iter().map(|point| {
        let mut value = json!({ "runtime": point.cell.runtime, "model": point.cell.model, "workers": point.cell.workers });
        for (name, _, _, figure) in COLUMNS {
            value[name] = json!(figure(point));
        }
        value
    });
    json!({ "schema": SCHEMA, "cpus": cpus, "points": points.collect::<Vec<_>>(), "missing": missing })
}

pub(crate) fn csv(points: &[Point]) -> String {
    let mut text = format!("runtime,model,workers,{}\n", COLUMNS.map(|(name, ..)| name).join(","));
    for point in points {
        let numbers = COLUMNS.map(|(_, _, _, figure)| format!("{:.6}", figure(point)));
        let _ = writeln!(text, "{},{},{},{}", point.cell.runtime, point.cell.model, point.cell.workers, numbers.join(","));
    }
    text
}

pub(crate) fn text(points: &[Point], missing: &[String], cpus: usize) -> String {
    let series: Vec<&[Point]> =
        points.chunk_by(|a, b| (&a.cell.runtime, &a.cell.model) == (&b.cell.runtime, &b.cell.model)).collect();
    let mut text = format!("The sweep: the same computing on more and more workers, on {cpus} CPUs\n");
    for (title, value, top) in QUANTITIES {
        for beside in series.chunks(CHARTS) {
            let _ = write!(text, "\n{title}\n{}", charts(beside, value, top(cpus as f64)));
        }
    }
    let _ = writeln!(text, "\n{}\n\n{LEGEND}", table(points));
    let foreign = points.iter().map(|point| point.figures.foreign_share).fold(0.0, f64::max);
    if foreign > FOREIGN_MAX_SPEED {
        let _ = writeln!(
            text,
            "Other programs took up to {} of the CPUs: D per worker is still right, C and the speed-ups are too low.",
            percent(foreign)
        );
    }
    for line in missing {
        let _ = writeln!(text, "  missing: {line}");
    }
    text
}

/// The charts of one quantity side by side, the number of workers doubling from left to right.
fn charts(series: &[&[Point]], value: fn(&Point) -> f64, top: f64) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.add_row(series.iter().map(|points| {
        let Cell { runtime, model, .. } = points[0].cell;
        format!("{runtime} {model}\n{}", chart(points, value, top).trim_end())
    }));
    for column in table.column_iter_mut() {
        column.set_padding((2, 0)).set_constraint(ColumnConstraint::Absolute(Width::Fixed(CHART_WIDTH)));
    }
    table.trim_fmt() + "\n"
}

#[expect(clippy::cast_possible_truncation, reason = "a chart has fewer dots than an f32 tells apart")]
fn chart(points: &[Point], value: fn(&Point) -> f64, top: f64) -> String {
    let dots: Vec<(f32, f32)> = points.iter().map(|p| ((p.cell.workers as f64).log2() as f32, value(p) as f32)).collect();
    let last = dots.last().map_or(1.0, |(x, _)| x.max(1.0));
    let highest = dots.iter().map(|(_, y)| *y).fold(top as f32, f32::max);
    let shape = Shape::Lines(&dots);
    let mut chart = Chart::new_with_y_range(CHART.0, CHART.1, 0.0, last, 0.0, highest);
    let chart = chart
        .lineplot(&shape)
        .x_label_format(LabelFormat::Custom(Box::new(|exponent| format!("{:.0}", exponent.exp2()))))
        .y_label_format(LabelFormat::Custom(Box::new(|value| format!("{value:.2}"))));
    chart.axis();
    chart.figures();
    // The crate fills with blank braille, which some terminals draw as dots.
    chart.to_string().replace('\u{2800}', " ")
}

fn table(points: &[Point]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["workers", "on", "n"].into_iter().chain(COLUMNS.map(|(_, heading, ..)| heading)));
    for point in points {
        let Cell { model, runtime, workers, .. } = point.cell;
        let figures = COLUMNS.map(|(_, _, unit, figure)| unit.write(figure(point)));
        table.add_row([model.clone(), runtime.clone(), workers.to_string()].into_iter().chain(figures));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
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
    fn data_charts_and_table_show_the_same_points() {
        let row = |workers, work, skipped: Option<&str>| {
            let cell = Cell { runtime: "3.11.7".to_owned(), model: "threads".to_owned(), workers, ..Cell::default() };
            let figures = Figures { work, work_seconds: 2.0, running_mean: 1.0, gil_share: 0.5, ..Figures::default() };
            Row { cell, runs: vec![figures], problem: skipped.map(|why| Problem::Skipped(why.to_owned())), ..Row::default() }
        };
        let rows = [row(1, 10.0, None), row(2, 15.0, None), row(4, 0.0, Some("why")), row(8, 0.0, Some("why"))];
        let (points, missing) = points(&rows);
        assert_eq!(missing, ["3.11.7 threads: why"]);
        let json = json(&points, &missing, 2);
        assert_eq!((&json["points"][1]["workers"], &json["points"][1]["speed_up"]), (&2.into(), &1.5.into()));
        assert_eq!(json["points"][1]["running_per_worker"], 0.5);
        let csv = csv(&points);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[2], "3.11.7,threads,2,0.500000,0.000000,1.500000,0.000000,0.000000,0.500000,0.000000,0.000000,0.000000");
        assert_eq!(lines.iter().map(|line| line.split(',').count()).collect::<Vec<_>>(), [12, 12, 12]);
        let text = text(&points, &missing, 2);
        assert!(
            text.contains("1.50x")
                && text.contains("\nD per worker\n  3.11.7 threads\n")
                && text.ends_with("missing: 3.11.7 threads: why\n"),
            "{text}"
        );
    }
}
