//! The sampled bins, resampled to the columns at hand. No second is lost or made up.

use super::super::{schema::CoreMap, words::sane};

/// Lengths of a map in seconds, up to thirty years; anything else is no measurement.
const LENGTHS: std::ops::Range<f64> = 1e-6..1e9;

/// One row per core, all with the same columns.
pub(super) struct Grid {
    /// From the first column's start to the last one's end.
    pub(super) seconds: f64,
    /// Number of columns, at least 1.
    pub(super) columns: usize,
    /// In the order of the report.
    pub(super) rows: Vec<Row>,
}

/// One core.
pub(super) struct Row {
    pub(super) cpu: u32,
    pub(super) cells: Vec<Cell>,
}

/// What happened on a core during a column.
#[derive(Clone, Default)]
pub(super) struct Cell {
    /// Index of a thread in the report's map, and its seconds; every thread at most once.
    pub(super) threads: Vec<(usize, f64)>,
    /// Seconds of tasks outside the workload.
    pub(super) foreign: f64,
}

impl Grid {
    /// At most `width` columns; `None` without bins. `wall_seconds` tells how much of the last bin is real.
    pub(super) fn of(map: &CoreMap, wall_seconds: f64, width: usize) -> Option<Grid> {
        let bin = sane(map.bin_seconds);
        let bins = map.rows.iter().map(|row| row.bins.len().max(row.foreign.len())).max()?;
        if bins == 0 || bin == 0.0 {
            return None;
        }
        let longest = bins as f64 * bin;
        // The run ends within a bin. A map that is much longer than the run is a riddle, and shown as it is.
        let seconds = if wall_seconds > longest / 2.0 && wall_seconds < longest { wall_seconds } else { longest };
        if !LENGTHS.contains(&seconds) {
            return None;
        }
        // Few bins become several equal columns each, so that a short run fills the line too.
        let columns = if bins >= width { width.max(1) } else { bins * (width / bins) };
        let mut grid = Grid { seconds, columns, rows: Vec::with_capacity(map.rows.len()) };
        for row in &map.rows {
            let mut cells = vec![Cell::default(); columns];
            for (index, threads) in row.bins.iter().enumerate() {
                for (column, weight) in grid.columns_of(index, bin) {
                    for &(thread, seconds) in threads.iter().filter(|(thread, _)| *thread < map.threads.len()) {
                        cells[column].add(thread, sane(seconds) * weight);
                    }
                }
            }
            for (index, &seconds) in row.foreign.iter().enumerate() {
                for (column, weight) in grid.columns_of(index, bin) {
                    cells[column].foreign += sane(seconds) * weight;
                }
            }
            grid.rows.push(Row { cpu: row.cpu, cells });
        }
        Some(grid)
    }

    /// Length of one column.
    pub(super) fn column_seconds(&self) -> f64 {
        self.seconds / self.columns as f64
    }

    /// The columns that a bin falls into, and how much of it into each; the parts sum to 1.
    fn columns_of(&self, index: usize, bin: f64) -> impl Iterator<Item = (usize, f64)> + use<> {
        let column = self.column_seconds();
        let start = index as f64 * bin;
        let end = (start + bin).min(self.seconds);
        let last = self.columns - 1;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and bounded by `last` next")]
        let place = move |seconds: f64| ((seconds / column) as usize).min(last);
        let (first_column, last_column) = (place(start), place(end));
        let weight = move |index: usize| {
            if first_column == last_column {
                // Also a bin past the end, which has no length.
                return 1.0;
            }
            let from = if index == first_column { start } else { index as f64 * column };
            let to = if index == last_column { end } else { (index + 1) as f64 * column };
            ((to - from) / (end - start)).max(0.0)
        };
        (first_column..=last_column).map(move |index| (index, weight(index))).filter(|(_, weight)| *weight > 1e-9)
    }
}

impl Cell {
    fn add(&mut self, thread: usize, seconds: f64) {
        match self.threads.iter_mut().find(|(known, _)| *known == thread) {
            Some((_, sum)) => *sum += seconds,
            None => self.threads.push((thread, seconds)),
        }
    }

    /// Seconds of the workload.
    pub(super) fn workload(&self) -> f64 {
        self.threads.iter().map(|(_, seconds)| seconds).sum()
    }
}
