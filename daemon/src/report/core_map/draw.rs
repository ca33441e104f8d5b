//! The picture itself.

use super::{
    super::{
        ColourDepth, Options,
        palette::{Colour, FOREIGN, FOREIGN_GROUND, OTHER},
        words::{columns, duration, percent, share},
    },
    axis,
    grid::{Cell, Grid, Row},
    legend::Legend,
};

/// Columns that are not part of the map: `  CPU 1023 ` before it and ` >99 %` behind.
pub(super) const MARGIN: usize = 17;
const LABEL: usize = 11;
/// A share of a column below this is not drawn.
const VISIBLE: f64 = 0.01;
/// The same for other programs, some of which always stir.
const FOREIGN_VISIBLE: f64 = 0.05;
/// Foreign share from which on a cell has a grey ground.
const FOREIGN_SHARES: f64 = 0.25;
/// Most rows for which cores are shown that the workload never ran on.
const ROWS_WITH_IDLE: usize = 16;
const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How a run of cells is painted.
type Style = (Option<Colour>, Option<Colour>);

pub(super) fn lines(grid: &Grid, legend: &Legend, options: &Options) -> Vec<String> {
    let colour = options.colour;
    let marked = if colour == ColourDepth::None { "lettered" } else { "coloured" };
    let column = duration(grid.column_seconds());
    let title = format!("Core map, {marked} by the {} that ran most; one column is {column}", legend.unit());
    let mut lines = vec![colour.strong(&title)];
    let used = |row: &&Row| row.cells.iter().any(|cell| cell.workload() > 0.0);
    let shown: Vec<&Row> = grid.rows.iter().filter(|row| grid.rows.len() <= ROWS_WITH_IDLE || used(row)).collect();
    for row in &shown {
        let busy = share(row.cells.iter().map(Cell::workload).sum(), grid.seconds);
        let label = format!("  CPU {}", row.cpu);
        lines.push(format!("{label:<LABEL$}{} {:>5}", paint_row(row, grid.column_seconds(), legend, colour), percent(busy)));
    }
    for line in axis::lines(grid.seconds, grid.columns) {
        lines.push(format!("{:LABEL$}{}", "", colour.faint(&line)));
    }
    if shown.len() < grid.rows.len() {
        lines.push(format!("  {} other CPUs did not run this program.", grid.rows.len() - shown.len()));
    }
    lines.extend(legend_lines(legend, options));
    lines
}

/// The cells of a row; those of one style share one escape sequence.
fn paint_row(row: &Row, column_seconds: f64, legend: &Legend, depth: ColourDepth) -> String {
    let mut text = String::new();
    let mut run = String::new();
    let mut run_style: Style = (None, None);
    let mut flush = |run: &mut String, (fore, ground): Style| {
        match fore {
            Some(fore) => text.push_str(&depth.paint(run, fore, ground)),
            None => text.push_str(run),
        }
        run.clear();
    };
    for cell in &row.cells {
        let (sign, style) = sign(cell, column_seconds, legend, depth);
        if style != run_style {
            flush(&mut run, run_style);
            run_style = style;
        }
        run.push(sign);
    }
    flush(&mut run, run_style);
    text
}

/// The character of a cell and its colours.
fn sign(cell: &Cell, column_seconds: f64, legend: &Legend, depth: ColourDepth) -> (char, Style) {
    let busy = share(cell.workload(), column_seconds);
    let foreign = share(cell.foreign, column_seconds);
    let plain = depth == ColourDepth::None;
    if busy < VISIBLE && foreign < FOREIGN_VISIBLE {
        (if plain { '.' } else { '·' }, (Some(FOREIGN), None))
    } else if foreign > busy {
        (if plain { '+' } else { height(foreign) }, (Some(FOREIGN), None))
    } else if plain {
        let letter = legend.key_in_front(cell).map_or('*', |key| key.letter);
        (if busy < 0.5 { letter.to_ascii_lowercase() } else { letter }, (None, None))
    } else {
        let ground = (foreign >= FOREIGN_SHARES).then_some(FOREIGN_GROUND);
        (height(busy), (Some(legend.key_in_front(cell).map_or(OTHER, |key| key.colour)), ground))
    }
}

/// A block as high as the share, never nothing.
fn height(share: f64) -> char {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 8")]
    let eighths = ((share * 8.0).round() as usize).max(1);
    EIGHTHS[eighths - 1]
}

fn legend_lines(legend: &Legend, options: &Options) -> Vec<String> {
    let colour = options.colour;
    // Each with its width, as escape sequences take none.
    let mut items: Vec<(String, usize)> =
        legend.entries.iter().map(|(key, name)| (format!("{} {name}", key.mark(colour)), columns(name) + 2)).collect();
    let mut add = |sign: &str, fore: Colour, meaning: &str| {
        items.push((format!("{} {meaning}", colour.paint(sign, fore, None)), columns(sign) + 1 + columns(meaning)));
    };
    if colour == ColourDepth::None {
        if legend.has_others {
            add("*", OTHER, "any other");
        }
        add("+", FOREIGN, "other programs");
        add(".", FOREIGN, "idle");
        add("a", FOREIGN, "small letter: busy less than half");
    } else {
        if legend.has_others {
            add("█", OTHER, "any other");
        }
        add("█", FOREIGN, "other programs");
        add("·", FOREIGN, "idle");
        add("▂▅█", FOREIGN, "height: busy share");
    }
    let mut lines = vec![String::new()];
    let mut width = 0;
    for (text, columns) in items {
        if width > 0 && width + 4 + columns > options.width {
            lines.push(String::new());
            width = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str("  ");
            line.push_str(&text);
        }
        width += columns + 2;
    }
    lines
}
