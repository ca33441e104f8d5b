//! The core map of every cell, as text.

use std::fmt::Write;

use super::cell::Row;
use super::table;
use crate::report::{Options, core_map};

/// Cores shown on the terminal; the files have them all.
const ROWS_MAX: usize = 8;
/// How a map's rows begin; around them are title, time axis and legend.
const ROW_PREFIX: &str = "  CPU ";

/// For the terminal: a line with the name and a line per core.
pub(crate) fn compact(rows: &[Row], options: &Options) -> String {
    let mut text = String::from(
        "Core maps: a line per core, time from left to right, a colour or letter per thread; grey or +: other programs.\n",
    );
    for (title, lines) in maps(rows, options) {
        let cores: Vec<&String> = lines.iter().filter(|line| line.starts_with(ROW_PREFIX)).collect();
        let _ = writeln!(text, "{title}");
        for line in cores.iter().take(ROWS_MAX) {
            let _ = writeln!(text, "{line}");
        }
        if cores.len() > ROWS_MAX {
            let _ = writeln!(text, "  and {} more", cores.len() - ROWS_MAX);
        }
    }
    text
}

/// For the file: with time axis and legend.
pub(crate) fn full(rows: &[Row], options: &Options) -> String {
    let mut text = String::new();
    for (title, lines) in maps(rows, options) {
        let _ = writeln!(text, "{title}\n{}\n", lines.join("\n"));
    }
    text
}

fn maps(rows: &[Row], options: &Options) -> impl Iterator<Item = (String, Vec<String>)> {
    rows.iter().filter_map(|row| Some((table::summary(row), core_map::render(row.report()?, options)?)))
}
