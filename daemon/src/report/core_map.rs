//! Cores over time: one row per core, time from left to right, coloured by thread or by process.

use std::collections::BTreeMap;

use super::schema::{CoreMap, CoreMapThread, ThreadReport};
use super::terminal::{Colour, FOREIGN, FOREIGN_GROUND, OTHER, TASKS};
use super::words::{clean, columns, duration, percent, sane, share};
use super::{ColourDepth, Options, RunReport};
use crate::units::rounded;

/// Columns that are not part of the map: `  CPU 1023 ` before it and ` >99 %` behind.
const MARGIN: usize = 17;
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
/// Letters where there are no colours.
const LETTERS: usize = 26;
/// Columns between two ticks of the time axis, at least.
const TICK_SPACING: usize = 12;
/// Lengths of a map in seconds, up to thirty years; anything else is no measurement.
const LENGTHS: std::ops::Range<f64> = 1e-6..1e9;

/// The map of a report with title, time axis and legend, one string per line; `None` if nothing was sampled.
pub(crate) fn render(report: &RunReport, options: &Options) -> Option<Vec<String>> {
    Some(Picture::of(report, options)?.lines(options))
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
        let grid = Grid::of(map, report.wall_seconds, options.width.saturating_sub(MARGIN))?;
        let legend = Legend::of(map, &grid, options.colour);
        Some(Picture { grid, legend })
    }

    pub(super) fn key(&self, thread: &ThreadReport) -> Option<Key> {
        let Legend { threads, task_of, keys, .. } = &self.legend;
        let index = threads.iter().position(|known| known.tid == thread.tid && known.tgid == thread.tgid)?;
        keys.get(&task_of[index]).copied()
    }

    pub(super) fn lines(&self, options: &Options) -> Vec<String> {
        let Picture { grid, legend } = self;
        let colour = options.colour;
        let marked = if colour == ColourDepth::None { "lettered" } else { "coloured" };
        let unit = if legend.by_process { "process" } else { "thread" };
        let column = duration(grid.column_seconds());
        let title = format!("Core map, {marked} by the {unit} that ran most; one column is {column}");
        let mut lines = vec![colour.strong(&title)];
        let used = |row: &&Row| row.cells.iter().any(|cell| cell.workload() > 0.0);
        let shown: Vec<&Row> = grid.rows.iter().filter(|row| grid.rows.len() <= ROWS_WITH_IDLE || used(row)).collect();
        for row in &shown {
            let busy = share(row.cells.iter().map(Cell::workload).sum(), grid.seconds);
            let label = format!("  CPU {}", row.cpu);
            lines.push(format!("{label:<LABEL$}{} {:>5}", paint_row(row, grid.column_seconds(), legend, colour), percent(busy)));
        }
        for line in axis(grid.seconds, grid.columns) {
            lines.push(format!("{:LABEL$}{}", "", colour.faint(&line)));
        }
        if shown.len() < grid.rows.len() {
            lines.push(format!("  {} other CPUs did not run this program.", grid.rows.len() - shown.len()));
        }
        lines.extend(legend.lines(options));
        lines
    }
}

/// The cells of a row; those of one style share one escape sequence.
fn paint_row(row: &Row, column_seconds: f64, legend: &Legend, depth: ColourDepth) -> String {
    let cells: Vec<(char, Style)> = row.cells.iter().map(|cell| sign(cell, column_seconds, legend, depth)).collect();
    let of_one_style = cells.chunk_by(|(_, style), (_, next)| style == next);
    of_one_style
        .map(|run| {
            let text: String = run.iter().map(|(sign, _)| sign).collect();
            match run[0].1 {
                (Some(fore), ground) => depth.paint(&text, fore, ground),
                (None, _) => text,
            }
        })
        .collect()
}

type Style = (Option<Colour>, Option<Colour>);

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
    EIGHTHS[rounded(share * 8.0).max(1) - 1]
}

/// The time axis and its labels, for `columns` columns that stand for `seconds`.
fn axis(seconds: f64, columns: usize) -> [String; 2] {
    let step = tick_step(seconds * TICK_SPACING as f64 / columns as f64);
    let (unit, name) =
        [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")].into_iter().find(|(unit, _)| step >= 0.1 * unit).unwrap_or((1e-9, "ns"));
    let decimals = usize::from(step / unit < 0.999);
    let mut line = vec!['─'; columns];
    let mut labels = String::new();
    let mut written = 0;
    for tick in 0..=columns / TICK_SPACING + 1 {
        let time = tick as f64 * step;
        let column = rounded(time / seconds * columns as f64);
        if column >= columns {
            break;
        }
        line[column] = '┬';
        let label = if tick == 0 { format!("0 {name}") } else { format!("{:.decimals$}", time / unit) };
        labels.extend(std::iter::repeat_n(' ', column - written));
        written = column + label.chars().count();
        labels.push_str(&label);
    }
    [line.into_iter().collect(), labels]
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `least`.
fn tick_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

/// The sampled bins, resampled to the columns at hand. No second is lost or made up.
struct Grid {
    /// From the first column's start to the last one's end.
    seconds: f64,
    /// Number of columns, at least 1.
    columns: usize,
    /// In the order of the report.
    rows: Vec<Row>,
}

struct Row {
    cpu: u32,
    cells: Vec<Cell>,
}

#[derive(Clone, Default)]
struct Cell {
    /// Seconds by index of a thread in the report's map.
    threads: BTreeMap<usize, f64>,
    /// Seconds of tasks outside the workload.
    foreign: f64,
}

impl Grid {
    /// At most `width` columns; `None` without bins. `wall_seconds` tells how much of the last bin is real.
    fn of(map: &CoreMap, wall_seconds: f64, width: usize) -> Option<Grid> {
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
                        *cells[column].threads.entry(thread).or_default() += sane(seconds) * weight;
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

    fn column_seconds(&self) -> f64 {
        self.seconds / self.columns as f64
    }

    /// The columns that a bin falls into, and how much of it into each; the parts sum to 1.
    fn columns_of(&self, index: usize, bin: f64) -> impl Iterator<Item = (usize, f64)> + use<> {
        let column = self.column_seconds();
        let start = index as f64 * bin;
        let end = (start + bin).min(self.seconds);
        let last = self.columns - 1;
        let place = move |seconds: f64| rounded((seconds / column).floor()).min(last);
        let (first_column, last_column) = (place(start), place(end));
        let weight = move |index: usize| {
            if first_column == last_column {
                // Also a bin past the end, which has no length.
                return 1.0;
            }
            let inside = end.min((index + 1) as f64 * column) - start.max(index as f64 * column);
            (inside / (end - start)).max(0.0)
        };
        (first_column..=last_column).map(move |index| (index, weight(index))).filter(|(_, weight)| *weight > 1e-9)
    }
}

impl Cell {
    fn workload(&self) -> f64 {
        self.threads.values().sum()
    }
}

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

/// Keys by thread, or by process if there are more threads than keys.
struct Legend {
    threads: Vec<CoreMapThread>,
    by_process: bool,
    /// What each thread is coloured as: itself, or the first thread of its process. Indices into the report's map.
    task_of: Vec<usize>,
    /// By task, the busiest first.
    keys: BTreeMap<usize, Key>,
    /// True if some cells belong to tasks without a key.
    has_others: bool,
}

impl Legend {
    fn of(map: &CoreMap, grid: &Grid, depth: ColourDepth) -> Legend {
        let limit = if depth == ColourDepth::None { LETTERS } else { TASKS.len() };
        let mut legend = Legend {
            threads: map.threads.clone(),
            by_process: false,
            task_of: (0..map.threads.len()).collect(),
            keys: BTreeMap::new(),
            has_others: false,
        };
        let mut tasks = legend.tasks_in_front(grid);
        if tasks.len() > limit && map.threads.iter().any(|thread| thread.tgid != map.threads[0].tgid) {
            legend.by_process = true;
            let mut first_of = BTreeMap::new();
            let numbered = map.threads.iter().enumerate();
            legend.task_of = numbered.map(|(index, thread)| *first_of.entry(thread.tgid).or_insert(index)).collect();
            tasks = legend.tasks_in_front(grid);
        }
        legend.has_others = tasks.len() > limit;
        tasks.truncate(limit);
        // Those in front most often get the keys, in the order of the report: the busiest first.
        tasks.sort_unstable();
        let looks = ('A'..='Z').zip(TASKS.iter().cycle()).map(|(letter, colour)| Key { letter, colour: *colour });
        legend.keys = tasks.into_iter().zip(looks).collect();
        legend
    }

    /// Key of the task that had most of a cell; `None` if it has no key.
    fn key_in_front(&self, cell: &Cell) -> Option<Key> {
        self.keys.get(&self.in_front(cell)?).copied()
    }

    /// The task that had most of a cell; of equals the one that comes first in the report.
    fn in_front(&self, cell: &Cell) -> Option<usize> {
        let mut seconds_by_task = BTreeMap::<usize, f64>::new();
        for (&thread, seconds) in &cell.threads {
            *seconds_by_task.entry(self.task_of[thread]).or_default() += seconds;
        }
        let (task, seconds) = seconds_by_task.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        (seconds > 0.0).then_some(task)
    }

    /// Tasks that are in front in any cell, those in front most often first.
    fn tasks_in_front(&self, grid: &Grid) -> Vec<usize> {
        let mut cells_by_task = BTreeMap::<usize, usize>::new();
        for task in grid.rows.iter().flat_map(|row| &row.cells).filter_map(|cell| self.in_front(cell)) {
            *cells_by_task.entry(task).or_default() += 1;
        }
        let mut tasks: Vec<(usize, usize)> = cells_by_task.into_iter().collect();
        tasks.sort_by_key(|(_, cells)| std::cmp::Reverse(*cells));
        tasks.into_iter().map(|(task, _)| task).collect()
    }

    /// Name and id; a process is called like its main thread.
    fn name(&self, task: usize) -> String {
        let thread = &self.threads[task];
        if !self.by_process {
            return format!("{} {}", clean(&thread.comm), thread.tid);
        }
        let is_main = |other: &&CoreMapThread| other.tid == thread.tgid && other.tgid == thread.tgid;
        format!("{} {}", clean(&self.threads.iter().find(is_main).unwrap_or(thread).comm), thread.tgid)
    }

    /// The keys and signs with their meanings, as many on a line as fit.
    fn lines(&self, options: &Options) -> Vec<String> {
        let colour = options.colour;
        // Each with its width, as escape sequences take none.
        let names = self.keys.iter().map(|(task, key)| (key, self.name(*task)));
        let mut items: Vec<(String, usize)> =
            names.map(|(key, name)| (format!("{} {name}", key.mark(colour)), columns(&name) + 2)).collect();
        let is_plain = colour == ColourDepth::None;
        let signs = if is_plain { ["*", "+", ".", "a"] } else { ["█", "█", "·", "▂▅█"] };
        let scale = if is_plain { "lower case: busy less than half the time" } else { "height: share of the time busy" };
        let meanings = ["any other", "other programs", "idle", scale];
        let colours = [OTHER, FOREIGN, FOREIGN, FOREIGN];
        for ((sign, meaning), fore) in signs.into_iter().zip(meanings).zip(colours).skip(usize::from(!self.has_others)) {
            items.push((format!("{} {meaning}", colour.paint(sign, fore, None)), columns(sign) + 1 + columns(meaning)));
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
}

#[cfg(test)]
mod tests;
