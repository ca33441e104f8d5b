//! One page with the core maps of all cells in colour; it needs nothing but a browser.

use std::fmt::Write;
use std::ops::Range;

use super::cell::Row;
use super::claims::{self, Judgement};
use super::table;
use crate::report::RunReport;
use crate::report::schema::{CoreMap, CoreMapRow};
use crate::report::words::duration;

/// Columns of a picture; finer bins are merged.
const COLUMNS: usize = 240;
/// Height of a core's row and of the part of it that is filled.
const ROW_HEIGHT: usize = 26;
/// Units of a full bar.
const BAR_HEIGHT: f64 = 22.0;
/// Units of the lowest bar that is drawn.
const HEIGHT_MIN: f64 = 0.25;
/// Cores that are drawn: the busiest, on a machine that has more.
const CORES_MAX: usize = 16;
/// Colours of threads, the busiest first; distinct to the colour-blind too (after Okabe and Ito).
const COLOURS: [&str; 8] = ["#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7", "#b8a800", "#7a5fd0"];
const OTHER: &str = "#8a7a60";
const FOREIGN: &str = "#b0b0b0";

/// The page around it, with names in braces for what is put in.
const FRAME: &str = include_str!("page.html");

pub(crate) fn html(place: &str, rows: &[Row], judged: &[Judgement]) -> String {
    let (mut verdicts, mut cells, mut heading) = (String::new(), String::new(), String::new());
    for (sentence, verdict) in claims::lines(judged) {
        let _ = writeln!(verdicts, "<li>{} <b>{}</b></li>", escape(&sentence), escape(&verdict));
    }
    for row in rows {
        let Some(report) = row.report() else { continue };
        let section = row.cell.section();
        if section != heading {
            let _ = writeln!(cells, "<h2>{}</h2>", escape(&section));
            heading = section;
        }
        let (summary, sentence) = (escape(&table::summary(row)), escape(&report.model.sentence));
        let _ = writeln!(cells, "<h3>{summary}</h3>\n<p class=\"said\">{sentence}</p>\n{}", picture(report));
    }
    let page = FRAME.replace("{place}", &escape(place)).replace("{table}", &escape(&table::text(rows)));
    page.replace("{verdicts}", &verdicts).replace("{cells}", &cells)
}

/// The picture of one run and its legend.
fn picture(report: &RunReport) -> String {
    let Some(map) = &report.core_map else { return String::new() };
    let bins = map.rows.iter().map(|row| row.bins.len()).max().unwrap_or(0);
    if bins == 0 || map.bin_seconds <= 0.0 {
        return String::new();
    }
    let rows = busiest(map);
    let merged = bins.div_ceil(COLUMNS);
    let columns = bins.div_ceil(merged);
    let mut svg = format!(
        "<svg viewBox=\"0 0 1000 {}\" role=\"img\" aria-label=\"core map over {:.3} s\">",
        rows.len() * ROW_HEIGHT + 14,
        report.wall_seconds
    );
    for (index, row) in rows.iter().enumerate() {
        let top = index * ROW_HEIGHT + 2;
        let _ = write!(svg, "<text x=\"4\" y=\"{}\" font-size=\"11\" fill=\"currentColor\">CPU {}</text>", top + 15, row.cpu);
        let _ = write!(svg, "<g transform=\"translate(60 {top}) scale({:.4} 1)\">", 930.0 / columns as f64);
        for (colour, path) in paths(row, merged, columns, map.bin_seconds) {
            let _ = write!(svg, "<path fill=\"{colour}\" d=\"{path}\"/>");
        }
        svg.push_str("</g>");
    }
    let bottom = rows.len() * ROW_HEIGHT + 11;
    let seconds = duration(report.wall_seconds);
    let _ = write!(svg, "<text x=\"60\" y=\"{bottom}\" font-size=\"10\" fill=\"currentColor\">0</text>");
    let _ = write!(
        svg,
        "<text x=\"990\" y=\"{bottom}\" font-size=\"10\" text-anchor=\"end\" fill=\"currentColor\">{seconds}</text></svg>"
    );
    svg + &legend(map)
}

fn busiest(map: &CoreMap) -> Vec<&CoreMapRow> {
    let busy = |row: &CoreMapRow| row.bins.iter().flatten().map(|(_, seconds)| seconds).sum::<f64>();
    let mut rows: Vec<&CoreMapRow> = map.rows.iter().collect();
    rows.sort_by(|a, b| busy(b).total_cmp(&busy(a)));
    rows.truncate(CORES_MAX);
    rows.sort_by_key(|row| row.cpu);
    rows
}

/// Per colour the bars of one core: those of one column stand on each other, neighbours of the same height are one.
fn paths(row: &CoreMapRow, merged: usize, columns: usize, bin_seconds: f64) -> Vec<(&'static str, String)> {
    let scale = BAR_HEIGHT / (merged as f64 * bin_seconds);
    let stacks: Vec<_> = (0..columns).map(|column| stack(row, column * merged..(column + 1) * merged, scale)).collect();
    let path = |index: usize| {
        let (mut path, mut left) = (String::new(), 0);
        for same in stacks.chunk_by(|a, b| a[index] == b[index]) {
            let ((top, height), length) = (same[0][index], same.len());
            if height > 0.0 {
                let _ = write!(path, "M{left} {top}h{length}v{height}h-{length}z");
            }
            left += length;
        }
        path
    };
    let all = COLOURS.into_iter().chain([OTHER, FOREIGN]).enumerate().map(|(index, colour)| (colour, path(index)));
    all.filter(|(_, path)| !path.is_empty()).collect()
}

/// Top and height of the bars in one column, in tenths of a unit: for each colour, for other threads and for other programs.
fn stack(row: &CoreMapRow, bins: Range<usize>, scale: f64) -> [(f64, f64); COLOURS.len() + 2] {
    let mut seconds = [0.0; COLOURS.len() + 2];
    for (thread, used) in row.bins.get(bins.start..row.bins.len().min(bins.end)).into_iter().flatten().flatten() {
        seconds[(*thread).min(COLOURS.len())] += used;
    }
    seconds[COLOURS.len() + 1] = row.foreign.get(bins.start..row.foreign.len().min(bins.end)).into_iter().flatten().sum();
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    let mut foot = BAR_HEIGHT;
    seconds.map(|seconds| {
        let height = (seconds * scale).min(foot);
        if height < HEIGHT_MIN {
            return (0.0, 0.0);
        }
        foot -= height;
        (tenths(foot), tenths(height))
    })
}

fn legend(map: &CoreMap) -> String {
    let mut text = String::from("<p>");
    let mut add = |colour: &str, name: &str| {
        let _ = write!(text, "<span class=\"key\"><b style=\"background:{colour}\"></b>{}</span>", escape(name));
    };
    for (thread, colour) in map.threads.iter().zip(COLOURS) {
        add(colour, &format!("{} {}", thread.comm, thread.tid));
    }
    if map.threads.len() > COLOURS.len() {
        add(OTHER, &format!("{} more", map.threads.len() - COLOURS.len()));
    }
    add(FOREIGN, "other programs");
    text + "</p>"
}

/// Names come from traced programs; none may end up as markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter if letter.is_control() && letter != '\n' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_markup_survives(text in ".*") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"']));
        }

        #[test]
        fn bars_stay_in_their_row(seconds in prop::collection::vec(0.0..0.02_f64, 1..600), foreign in 0.0..0.02_f64) {
            let bins = seconds.iter().map(|s| vec![(0, *s), (9, *s / 2.0)]).collect();
            let row = CoreMapRow { cpu: 0, bins, foreign: vec![foreign; seconds.len()] };
            let merged = seconds.len().div_ceil(COLUMNS);
            for (_, path) in paths(&row, merged, seconds.len().div_ceil(merged), 0.01) {
                for bar in path.split('z').filter(|bar| !bar.is_empty()) {
                    let top: f64 = bar.split([' ', 'h']).nth(1).and_then(|text| text.parse().ok()).unwrap_or(-1.0);
                    let height: f64 = bar.split(['v', 'h']).nth(2).and_then(|text| text.parse().ok()).unwrap_or(-1.0);
                    prop_assert!(top >= 0.0 && height > 0.0 && top + height <= BAR_HEIGHT + 0.11, "{bar}");
                }
            }
        }
    }
}
