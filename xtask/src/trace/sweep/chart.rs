//! The sweep as charts and as a table.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use textplots::{Chart, LabelBuilder, LabelFormat, Plot, Shape};

use super::{
    super::table::{factor, rate, seconds},
    Point,
};

/// Size of a chart in dots: two to a column, four to a line.
const SIZE: (u32, u32) = (44, 24);
/// Columns from one chart to the next: the chart itself and the label of its axis.
const COLUMN_WIDTH: usize = 32;
/// Charts side by side, so that a terminal of 130 columns can show them.
const BESIDE: usize = 4;

/// Part of the CPUs taken by others from which on it is worth a word.
const FOREIGN_NOTABLE: f64 = 0.05;

/// What is drawn: its title, the value, and the top of the axis, of the number of CPUs.
type Quantity = (&'static str, fn(&Point) -> f64, fn(f64) -> f64);
const QUANTITIES: [Quantity; 4] = [
    ("speed-up", |point| point.speed_up, |cpus| cpus),
    ("C per worker", |point| point.running_per_worker, |_| 1.0),
    ("D per worker", |point| point.demand_per_worker, |_| 1.0),
    ("part of the time waiting, for a GIL or a CPU", |point| point.gil_share.max(point.queued_share), |_| 1.0),
];

/// All points of one kind of worker.
struct Series<'a> {
    name: String,
    points: Vec<&'a Point>,
}

/// Charts, table, and what is missing.
pub(crate) fn text(points: &[Point], missing: &[String], cpus: usize) -> String {
    let series = series(points);
    let mut text = format!("The sweep: the same computing on more and more workers, on {cpus} CPUs\n");
    for (title, value, top) in QUANTITIES {
        for beside in series.chunks(BESIDE) {
            let _ = write!(text, "\n{title}\n{}", row(beside, value, top(cpus as f64)));
        }
    }
    let _ = writeln!(text, "\n{}", table(points));
    let foreign = points.iter().map(|point| point.foreign_share).fold(0.0, f64::max);
    if foreign > FOREIGN_NOTABLE {
        let _ = writeln!(
            text,
            "Other programs took up to {:.0} % of the CPUs meanwhile: D per worker is right all the same, C and the speed-ups are not what this \
             machine can do.",
            100.0 * foreign
        );
    }
    for line in missing {
        let _ = writeln!(text, "  not in it: {line}");
    }
    text
}

fn series(points: &[Point]) -> Vec<Series<'_>> {
    points
        .chunk_by(|a, b| (&a.runtime, &a.model) == (&b.runtime, &b.model))
        .map(|points| Series { name: format!("{} {}", points[0].runtime, points[0].model), points: points.iter().collect() })
        .collect()
}

/// The charts of one quantity side by side, the number of workers doubling from left to right.
fn row(series: &[Series], value: fn(&Point) -> f64, top: f64) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (index, one) in series.iter().enumerate() {
        let drawn = draw(one, value, top);
        for (line, text) in std::iter::once(one.name.as_str()).chain(drawn.lines()).enumerate() {
            if lines.len() <= line {
                lines.push(String::new());
            }
            let begin = index * COLUMN_WIDTH;
            let gap = begin.saturating_sub(lines[line].chars().count());
            lines[line] += &" ".repeat(gap);
            lines[line] += text;
        }
    }
    lines.iter().fold(String::new(), |text, line| text + "  " + line.trim_end() + "\n")
}

#[expect(clippy::cast_possible_truncation, reason = "a chart has fewer dots than an f32 tells apart")]
fn draw(series: &Series, value: fn(&Point) -> f64, top: f64) -> String {
    let dots: Vec<(f32, f32)> = series.points.iter().map(|p| ((p.workers as f64).log2() as f32, value(p) as f32)).collect();
    let last = dots.last().map_or(1.0, |(x, _)| x.max(1.0));
    let highest = dots.iter().map(|(_, y)| *y).fold(top as f32, f32::max);
    let shape = Shape::Lines(&dots);
    let mut chart = Chart::new_with_y_range(SIZE.0, SIZE.1, 0.0, last, 0.0, highest);
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
    table.load_preset(presets::NOTHING).set_header([
        "workers",
        "on",
        "n",
        "C/n",
        "D/n",
        "speed-up",
        "vol/s",
        "preempt/s",
        "GIL",
        "CPU queue",
        "turn",
        "others",
    ]);
    let percent = |part: f64| format!("{:.0} %", 100.0 * part);
    for point in points {
        table.add_row([
            point.model.clone(),
            point.runtime.clone(),
            point.workers.to_string(),
            format!("{:.2}", point.running_per_worker),
            format!("{:.2}", point.demand_per_worker),
            factor(point.speed_up),
            rate(point.voluntary_per_second),
            rate(point.preempted_per_second),
            percent(point.gil_share),
            percent(point.queued_share),
            seconds(point.preemption_wait_p50_seconds),
            percent(point.foreign_share),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "{}\n\nspeed-up: work per second over that of one worker of the kind. GIL, CPU queue: of the time that the workers ran or waited for it, the \
         part that they waited.\nturn: from losing a CPU to getting one again, median. others: part of the CPUs that other programs took.",
        table.trim_fmt()
    )
}
