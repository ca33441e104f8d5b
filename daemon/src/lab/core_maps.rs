//! The core map of every cell, as text.

use std::fmt::Write;

use crate::report::{Options, core_map};

use super::{cell::Row, table};

/// Cores shown on the terminal; the files have them all.
const ROWS_MAX: usize = 8;
/// How a map's rows begin; around them are title, time axis and legend.
const ROW_PREFIX: &str = "  CPU ";

/// For the terminal: a line with the name and a line per core.
pub(crate) fn compact(rows: &[Row], options: &Options) -> String {
    let mut text = String::from(
        "Core maps: a line per core, time from left to right, a colour or letter per thread; grey or +: other programs.\n",
    );
    each(rows, options, |title, lines| {
        let cores: Vec<&String> = lines.iter().filter(|line| line.starts_with(ROW_PREFIX)).collect();
        let _ = writeln!(text, "{title}");
        for line in cores.iter().take(ROWS_MAX) {
            let _ = writeln!(text, "{line}");
        }
        if cores.len() > ROWS_MAX {
            let _ = writeln!(text, "  and {} more", cores.len() - ROWS_MAX);
        }
    });
    text
}

/// For the file: with time axis and legend.
pub(crate) fn full(rows: &[Row], options: &Options) -> String {
    let mut text = String::new();
    each(rows, options, |title, lines| {
        let _ = writeln!(text, "{title}\n{}\n", lines.join("\n"));
    });
    text
}

fn each(rows: &[Row], options: &Options, mut show: impl FnMut(&str, &[String])) {
    for row in rows {
        let Some(lines) = row.report().and_then(|report| core_map::render(report, options)) else { continue };
        show(&table::summary(row), &lines);
    }
}
