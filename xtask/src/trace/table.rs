//! The comparison table, as text and as Markdown.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::{
    cell::{Cell, Outcome, Row},
    figures::Figures,
};

/// Headings; the first two columns and the last are words, the others numbers.
const HEADINGS: [&str; 16] = [
    "model",
    "on",
    "n",
    "wall",
    "speed-up",
    "C",
    "D",
    "CPUs",
    "GIL",
    "vol/s",
    "preempt/s",
    "migr/s",
    "p99 wake",
    "PSS",
    "start",
    "it is",
];
/// What the headings mean.
const LEGEND: &str = "n: workers. wall: starting and working, as the workload measures it. speed-up: wall of serial / wall. C: mean number \
of threads on a CPU.\nD: mean number running or runnable, the cores they want. CPUs: effective number of CPUs used. GIL: of the time that \
the workers ran\nor waited for a GIL, the part that they waited. vol/s, preempt/s: voluntary and preempted context switches. migr/s: moves \
to another CPU.\np99 wake: from waking to running. PSS: memory, shared pages counted once. start: from the call that starts a worker to \
its first\ninstruction. it is: the model as schedscope names it. C and D are over the time in which all workers were at work, rates \
over the whole run.";
/// Where the reason stands in the line of a cell that did not run.
const REASON_COLUMN: usize = 32;

/// Rows of one task.
struct Section<'a> {
    title: String,
    rows: Vec<&'a Row>,
}

/// The table with a heading for each task and a legend.
pub(crate) fn text(rows: &[Row]) -> String {
    let sections = sections(rows);
    let mut table = empty(presets::NOTHING);
    table.add_rows(sections.iter().flat_map(|section| &section.rows).map(|row| cells(row)));
    let drawn = table.trim_fmt();
    let mut lines = drawn.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    let mut text = lines.next().unwrap_or_default().to_owned();
    for section in sections {
        let _ = write!(text, "\n\n{}", section.title);
        for (row, line) in section.rows.iter().zip(&mut lines) {
            text.push_str("\n  ");
            match reason(row) {
                Some(reason) => {
                    let _ = write!(text, "{:<REASON_COLUMN$}{reason}", line.trim_end());
                }
                None => text.push_str(line),
            }
        }
    }
    // The rows are indented below their section's title, and so must be the headings.
    format!("  {text}\n\n{LEGEND}\n")
}

/// The same for a document: one table for each task.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    for section in sections(rows) {
        let mut table = empty(presets::ASCII_MARKDOWN);
        for row in &section.rows {
            let mut cells = cells(row);
            if let Some(reason) = reason(row) {
                cells[3] = reason;
            }
            table.add_row(cells);
        }
        let _ = write!(text, "## {}\n\n{}\n\n", section.title, table.trim_fmt());
    }
    text + &LEGEND.replace('\n', " ") + "\n"
}

/// A title line for a cell, as the pictures bear it.
pub(crate) fn summary(cell: &Cell, figures: &Figures) -> String {
    let speed_up = figures.speed_up.filter(|_| !cell.is_serial()).map_or(String::new(), |value| format!(", {}", factor(value)));
    let (wall, running, demand) = (seconds(figures.wall_seconds), figures.running_mean, figures.demand_mean);
    format!("{} ({}): {wall}{speed_up}, C {running:.2}, D {demand:.2}", cell.label(), cell.workers)
}

fn empty(preset: &str) -> Table {
    let mut table = Table::new();
    table.load_preset(preset).set_header(HEADINGS);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_cell_alignment(if index < 2 || index == HEADINGS.len() - 1 {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
    }
    table
}

/// Runs of rows with the same task.
fn sections(rows: &[Row]) -> Vec<Section<'_>> {
    let is_together = |a: &Row, b: &Row| (a.cell.kind, &a.cell.task) == (b.cell.kind, &b.cell.task);
    let title = |rows: &[Row]| {
        let first = &rows[0].cell;
        let unit = rows.iter().filter(|row| !row.cell.is_native()).find_map(|row| row.cell.unit.as_deref());
        let unit = unit.map_or_else(String::new, |unit| format!(" ({unit})"));
        format!("{}: {}{unit}", first.kind.title(), first.task)
    };
    rows.chunk_by(is_together).map(|rows| Section { title: title(rows), rows: rows.iter().collect() }).collect()
}

/// Why a row has no figures.
fn reason(row: &Row) -> Option<String> {
    match &row.outcome {
        Outcome::Measured { .. } => None,
        Outcome::Skipped { why } => Some(format!("skipped: {why}")),
        Outcome::Failed { why } => Some(format!("FAILED: {why}")),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.cell.model.clone(), row.cell.runtime.clone()];
    let Some(figures) = row.figures() else {
        cells.resize(HEADINGS.len(), String::new());
        return cells;
    };
    let maybe = |value: Option<f64>, shown: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), shown);
    cells.extend([
        row.cell.workers.to_string(),
        seconds(figures.wall_seconds),
        maybe(figures.speed_up, factor),
        format!("{:.2}", figures.running_mean),
        format!("{:.2}", figures.demand_mean),
        format!("{:.1}", figures.effective_cpus),
        if row.cell.is_native() { "-".to_owned() } else { format!("{:.0} %", 100.0 * figures.gil_share) },
        rate(figures.voluntary_per_second),
        rate(figures.preempted_per_second),
        rate(figures.migrations_per_second),
        maybe(figures.wakeup_latency_p99_seconds, seconds),
        maybe(figures.pss_bytes, |bytes| format!("{:.1} MiB", bytes / f64::from(1 << 20))),
        maybe(figures.start_seconds.filter(|_| row.cell.model != "serial"), seconds),
        row.report().map_or_else(String::new, |report| report.model.name.clone()),
    ]);
    cells
}

/// Three digits and a unit.
pub(crate) fn seconds(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 0.9995 => (value, "s"),
        value if value >= 0.000_999_5 => (value * 1e3, "ms"),
        value => (value * 1e6, "µs"),
    };
    let decimals = match scaled {
        scaled if scaled >= 99.95 => 0,
        scaled if scaled >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$} {unit}")
}

/// How many times as fast: two decimals, or as many as a small one needs.
pub(crate) fn factor(value: f64) -> String {
    match value {
        value if value >= 0.0995 => format!("{value:.2}x"),
        value if value >= 0.009_95 => format!("{value:.3}x"),
        value => format!("{value:.4}x"),
    }
}

/// A number per second; below ten with a decimal, as there the difference between one and two matters.
pub(crate) fn rate(value: f64) -> String {
    if value < 9.95 && value > 0.0 { format!("{value:.1}") } else { grouped(value) }
}

/// A whole number with a comma between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
