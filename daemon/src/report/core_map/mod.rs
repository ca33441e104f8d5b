//! Cores over time: one row per core, time from left to right, coloured by thread or by process.

mod axis;
mod draw;
mod grid;
mod legend;

use super::{ColourDepth, Options, RunReport, palette::Colour, schema::ThreadReport};
use grid::Grid;
use legend::Legend;

/// A thread's or process's place in the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    letter: char,
    colour: Colour,
}

impl Key {
    /// A coloured block, or the letter where there is no colour.
    pub(super) fn mark(self, depth: ColourDepth) -> String {
        if depth == ColourDepth::None { self.letter.to_string() } else { depth.paint("█", self.colour, None) }
    }
}

/// The map, fitted to the width at hand.
pub(super) struct Picture {
    grid: Grid,
    legend: Legend,
}

impl Picture {
    /// `None` if the report has no map, or an empty one.
    pub(super) fn of(report: &RunReport, options: &Options) -> Option<Picture> {
        let map = report.core_map.as_ref()?;
        let grid = Grid::of(map, report.wall_seconds, options.width.saturating_sub(draw::MARGIN))?;
        let legend = Legend::of(map, &grid, options.colour);
        Some(Picture { grid, legend })
    }

    /// The key of a thread, if it has one.
    pub(super) fn key(&self, thread: &ThreadReport) -> Option<Key> {
        self.legend.key_of(thread)
    }

    /// The map with title, time axis and legend.
    pub(super) fn lines(&self, options: &Options) -> Vec<String> {
        draw::lines(&self.grid, &self.legend, options)
    }
}

/// The map of a report with title, time axis and legend, one string per line; `None` if nothing was sampled.
pub fn render(report: &RunReport, options: &Options) -> Option<Vec<String>> {
    Some(Picture::of(report, options)?.lines(options))
}

#[cfg(test)]
mod signs;
#[cfg(test)]
mod tests;
