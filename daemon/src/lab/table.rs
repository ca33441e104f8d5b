//! The comparison table, as text and as Markdown.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::cell::{Cell, Problem, Row};
use super::figures::Figures;
use super::units::{factor, mebibytes, percent};
use crate::report::words::{duration, per_second};

/// A heading, and what stands below it.
type Column = (&'static str, fn(&Cell, &Figures) -> String);
/// Headings and figures, between the two first columns and the last one, which are words.
const COLUMNS: [Column; 13] = [
    ("n", |cell, _| cell.workers.to_string()),
    ("wall", |_, figures| duration(figures.wall_seconds)),
    ("speed-up", |_, figures| maybe(figures.speed_up, factor)),
    ("C", |_, figures| format!("{:.2}", figures.running_mean)),
    ("D", |_, figures| format!("{:.2}", figures.demand_mean)),
    ("CPUs", |_, figures| format!("{:.1}", figures.effective_cpus)),
    ("GIL", |cell, figures| maybe(Some(figures.gil_share).filter(|_| !cell.is_native()), percent)),
    ("vol/s", |_, figures| per_second(figures.voluntary_per_second)),
    ("preempt/s", |_, figures| per_second(figures.preempted_per_second)),
    ("migr/s", |_, figures| per_second(figures.migrations_per_second)),
    ("p99 wake", |_, figures| maybe(figures.wakeup_latency_p99_seconds, duration)),
    ("PSS", |_, figures| maybe(figures.pss_bytes, mebibytes)),
    ("start", |cell, figures| maybe(figures.start_seconds.filter(|_| cell.model != "serial"), duration)),
];
const LEGEND: &str = "\
n: workers. wall: starting and working, as the workload measures it. speed-up: wall of serial / wall. C: mean number of threads on
a CPU. D: mean number running or runnable, the cores they want. CPUs: effective number of CPUs used. GIL: of the time that the
workers ran or waited for a GIL, the part that they waited. vol/s, preempt/s: voluntary and preempted context switches. migr/s:
moves to another CPU. p99 wake: from waking to running. PSS: memory, shared pages counted once. start: from the call that starts a
worker to its first instruction. it is: the model as schedscope names it. C and D are over the time in which all workers were at
work, rates over the whole run.";
/// Where the reason stands in the line of a cell that did not run.
const REASON_COLUMN: usize = 32;

pub(crate) fn text(rows: &[Row]) -> String {
    let mut table = empty(presets::NOTHING);
    table.add_rows(rows.iter().map(cells));
    let drawn = table.trim_fmt();
    let mut lines = drawn.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    let mut text = lines.next().unwrap_or_default().to_owned();
    for section in sections(rows) {
        let _ = write!(text, "\n\n{}", title(section));
        for (row, line) in section.iter().zip(&mut lines) {
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
        for row in section {
            let mut cells = cells(row);
            if let Some(reason) = reason(row) {
                cells[3] = reason;
            }
            table.add_row(cells);
        }
        let _ = write!(text, "## {}\n\n{}\n\n", title(section), table.trim_fmt());
    }
    text + &LEGEND.replace('\n', " ") + "\n"
}

/// A title line for a cell that ran, as the pictures bear it.
pub(crate) fn summary(row: &Row) -> String {
    let Row { cell, .. } = row;
    let figures = row.figures().unwrap_or_default();
    let speed_up = figures.speed_up.filter(|_| !cell.is_serial()).map_or(String::new(), |value| format!(", {}", factor(value)));
    let (wall, running, demand) = (duration(figures.wall_seconds), figures.running_mean, figures.demand_mean);
    format!("{} ({}): {wall}{speed_up}, C {running:.2}, D {demand:.2}", cell.label(), cell.workers)
}

fn empty(preset: &str) -> Table {
    let mut table = Table::new();
    let headings = ["model", "on"].into_iter().chain(COLUMNS.map(|(heading, _)| heading)).chain(["it is"]);
    table.load_preset(preset).set_header(headings);
    for column in table.column_iter_mut().skip(2).take(COLUMNS.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn sections(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| (a.cell.kind, &a.cell.task) == (b.cell.kind, &b.cell.task))
}

fn title(section: &[Row]) -> String {
    let unit = section.iter().filter(|row| !row.cell.is_native()).find_map(|row| row.cell.unit.as_deref());
    section[0].cell.section() + &unit.map_or_else(String::new, |unit| format!(" ({unit})"))
}

fn reason(row: &Row) -> Option<String> {
    row.problem.as_ref().map(|problem| match problem {
        Problem::Skipped(why) => format!("skipped: {why}"),
        Problem::Failed(why) => format!("FAILED: {why}"),
    })
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.cell.model.clone(), row.cell.runtime.clone()];
    if let Some(figures) = row.figures() {
        cells.extend(COLUMNS.iter().map(|(_, write)| write(&row.cell, &figures)));
    }
    cells.resize(2 + COLUMNS.len(), String::new());
    cells.push(row.report().map_or_else(String::new, |report| report.model.name.clone()));
    cells
}

fn maybe(value: Option<f64>, write: fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cell::tests::cell;

    fn row(model: &str, runtime: &str, task: &str, speed_up: Option<f64>) -> Row {
        let unit = if runtime == "native" { "native unit" } else { "one loop" };
        let cell = Cell { unit: Some(unit.to_owned()), ..cell(runtime, task, model) };
        let figures = Figures {
            wall_seconds: 2.5,
            speed_up,
            running_mean: 1.234,
            demand_mean: 3.456,
            effective_cpus: 1.96,
            voluntary_per_second: 1234.0,
            preempted_per_second: 5.25,
            pss_bytes: Some(1.5 * 1_048_576.0),
            start_seconds: Some(0.001),
            gil_share: 0.75,
            ..Figures::default()
        };
        Row { cell, runs: vec![figures], ..Row::default() }
    }

    fn rows() -> [Row; 5] {
        let without = |task, problem| Row { problem: Some(problem), ..row("threads", "3.11.7", task, None) };
        [
            row("serial", "native", "loop", Some(1.0)),
            row("serial", "3.11.7", "loop", Some(1.0)),
            without("loop", Problem::Skipped("no threads".to_owned())),
            without("hash", Problem::Failed("it fell".to_owned())),
            row("threads", "3.13t", "hash", Some(0.5)),
        ]
    }

    #[test]
    fn a_row_holds_each_figure_under_its_heading() {
        let expected = [
            "threads", "3.13t", "4", "2.50 s", "0.50x", "1.23", "3.46", "2.0", "75 %", "1,234", "5.2", "0", "-", "1.5 MiB",
            "1.00 ms", "",
        ];
        assert_eq!(cells(&rows()[4]), expected);
        assert_eq!(cells(&rows()[1])[14], "-", "a serial cell starts no worker");
        assert_eq!(cells(&row("threads", "x", "loop", None))[4], "-");
        let empty = cells(&rows()[2]);
        assert_eq!((empty.len(), empty[0].as_str(), empty[1].as_str()), (expected.len(), "threads", "3.11.7"));
        assert!(empty[2..].iter().all(String::is_empty));
    }

    #[test]
    fn the_table_has_a_section_per_task_with_its_unit_and_reasons_in_place() {
        let text = text(&rows());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("  model") && lines[0].trim_end().ends_with("it is"), "{text}");
        assert_eq!([lines[2], lines[7]], ["CPU-bound: loop (one loop)", "CPU-bound: hash (one loop)"], "{text}");
        assert!(lines[3].starts_with("  serial") && lines[4].contains("3.11.7") && lines[9].contains("0.50x"));
        // The reason stands where the figures would.
        assert_eq!(lines[5].find("skipped: no threads"), Some(2 + REASON_COLUMN));
        assert_eq!(lines[8].find("FAILED: it fell"), Some(2 + REASON_COLUMN));
        assert_eq!(lines[0].find("wall").map(|at| at + 4), lines[9].find("2.50 s").map(|at| at + 6));
        assert!(text.ends_with(&format!("\n\n{LEGEND}\n")));
    }

    #[test]
    fn a_document_has_one_table_per_task() {
        let text = markdown(&rows());
        assert_eq!((text.matches("## CPU-bound: ").count(), text.matches("| model").count()), (2, 2));
        assert!(text.contains("| skipped: no threads ") && text.contains("| FAILED: it fell "), "{text}");
        assert!(text.trim_end().lines().last().is_some_and(|legend| legend.starts_with("n: workers.")), "the legend is one line");
    }

    #[test]
    fn a_summary_names_the_speed_up_of_what_has_a_twin() {
        assert_eq!(summary(&rows()[4]), "3.13t hash-threads (4): 2.50 s, 0.50x, C 1.23, D 3.46");
        assert_eq!(summary(&rows()[0]), "loop-serial (4): 2.50 s, C 1.23, D 3.46");
    }
}
