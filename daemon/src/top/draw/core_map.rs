//! What each core did in each of the last seconds. A host with more CPUs than rows has several in one.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::put;
use crate::report::ColourDepth;
use crate::report::words::share;
use crate::top::palette::{faint, fore, letter, of_mark, on, strong};
use crate::top::view::{Cell, Mark, View};
use crate::units::rounded;

/// Blocks of growing height.
const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Rows above the map.
pub(super) const TITLE: u16 = 1;
/// Most rows that a CPU has.
const LINES: usize = 4;
/// A share below which a cell is empty.
const VISIBLE: f64 = 0.02;
/// A cell without a gap shows two workloads if the second has this share of it.
const FULL: f64 = 0.95;
const SHARED: f64 = 0.15;

/// CPUs of one row, by their places, where there are so many rows; all rows have as many, but for the last.
fn group(cpus: usize, rows: usize) -> usize {
    cpus.div_ceil(rows.max(1)).max(1)
}

/// Rows that a CPU has where there are so many. A letter needs one.
fn lines(cpus: usize, rows: usize, depth: ColourDepth) -> usize {
    if depth == ColourDepth::None { 1 } else { (rows / cpus.max(1)).clamp(1, LINES) }
}

/// Rows of a map that may have `most`, and has room for several rows a CPU where it takes no more than `comfortable` then.
pub(super) fn height(view: &View<'_>, most: u16, comfortable: u16) -> u16 {
    let cpus = view.cpus.len();
    let wanted = cpus.saturating_mul(lines(cpus, comfortable.into(), view.colour));
    u16::try_from(wanted).unwrap_or(u16::MAX).min(most)
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View<'_>) {
    let Some(rows) = area.height.checked_sub(TITLE).filter(|rows| *rows > 0) else { return };
    let lines = lines(view.cpus.len(), rows.into(), view.colour);
    let size = group(view.cpus.len(), usize::from(rows) / lines);
    let labels: Vec<String> = view.cpus.chunks(size).map(label).collect();
    let margin = labels.iter().map(String::len).max().unwrap_or(0) + 1;
    let width = usize::from(area.width).saturating_sub(margin);
    let shown = view.map.len().min(width);
    let columns = &view.map[view.map.len() - shown..];
    let seconds = columns.iter().fold(0, |sum: u64, column| sum.saturating_add(column.wall_ns)) / 1_000_000_000;
    let each = if size > 1 { format!("a row is {size} CPUs, ") } else { String::new() };
    put(buffer, area, &format!("Core map: {each}a column is a second, the last {seconds} s"), strong());
    // The newest column is the last one on the right.
    let begin = area.right() - u16::try_from(shown).unwrap_or(0);
    for (row, y) in (area.y + TITLE..area.bottom()).enumerate() {
        let (group, line) = (row / lines, row % lines);
        let Some(text) = labels.get(group) else { break };
        if line == 0 {
            put(buffer, Rect { y, height: 1, ..area }, text, faint(view.colour));
        }
        for (x, column) in (begin..area.right()).zip(columns) {
            let cells = column.cells.get(group * size..).unwrap_or_default();
            let bands = Bands::of(&cells[..cells.len().min(size)], column.wall_ns);
            let (sign, style) =
                if view.colour == ColourDepth::None { bands.letter() } else { bands.block(lines - 1 - line, lines, view.colour) };
            if let Some(place) = buffer.cell_mut((x, y)) {
                place.set_char(sign).set_style(style);
            }
        }
    }
}

fn label(cpus: &[u32]) -> String {
    match cpus {
        [cpu] => format!("CPU {cpu}"),
        [first, .., last] => format!("CPU {first}-{last}"),
        [] => String::new(),
    }
}

/// What some CPUs did in a sample, as bands that lie on each other; what is above them is idle.
struct Bands(Vec<(Mark, f64)>);

impl Bands {
    fn of(cells: &[Cell], wall_ns: u64) -> Bands {
        let mut all = Cell::default();
        for cell in cells {
            all.merge(cell);
        }
        let whole = wall_ns as f64 * cells.len() as f64;
        // In the order of the palette, so that they stay where they are.
        all.by_mark.sort_by_key(|(mark, _)| mark.0.unwrap_or(usize::MAX));
        let mut bands: Vec<(Mark, f64)> = all.by_mark.iter().map(|(mark, ns)| (*mark, share(*ns as f64, whole))).collect();
        let named: f64 = bands.iter().map(|(_, share)| share).sum();
        // What no workload accounts for: the kernel's own work between two tasks.
        bands.push((Mark(None), (share(all.busy_ns as f64, whole) - named).max(0.0)));
        Bands(bands)
    }

    /// The letter of who ran most, a capital if the CPUs were busy for half the time or more.
    fn letter(&self) -> (char, Style) {
        let busy: f64 = self.0.iter().map(|(_, share)| share).sum();
        if busy < VISIBLE {
            return ('.', Style::new());
        }
        let most = self.0.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(Mark(None), |(mark, _)| *mark);
        let letter = letter(most);
        (if busy < 0.5 { letter.to_ascii_lowercase() } else { letter }, Style::new())
    }

    /// The part of them in row `line` of `lines`, counted from below. A cell can show two colours: two bands where there is no gap, else
    /// the larger one, as high as all of them.
    fn block(&self, line: usize, lines: usize, depth: ColourDepth) -> (char, Style) {
        let (bottom, height) = (line as f64 / lines as f64, 1.0 / lines as f64);
        let mut below = 0.0;
        let mut inside: Vec<(Mark, f64)> = Vec::new();
        for (mark, share) in &self.0 {
            let (low, high) = (f64::max(below, bottom), f64::min(below + share, bottom + height));
            inside.push((*mark, ((high - low) / height).max(0.0)));
            below += share;
        }
        let busy: f64 = inside.iter().map(|(_, share)| share).sum();
        if busy < VISIBLE {
            return (if line == 0 { '·' } else { ' ' }, faint(depth));
        }
        let mut by_size: Vec<usize> = (0..inside.len()).collect();
        by_size.sort_by(|a, b| inside[*b].1.total_cmp(&inside[*a].1));
        let first = by_size[0];
        let second = by_size.get(1).copied().filter(|second| busy >= FULL && inside[*second].1 >= SHARED);
        let Some(second) = second else { return (eighths(busy), fore(depth, of_mark(inside[first].0))) };
        let (lower, upper) = (inside[first.min(second)], inside[first.max(second)]);
        // At least an eighth of each.
        let part = (lower.1 / (lower.1 + upper.1)).min(0.875);
        (eighths(part), on(depth, of_mark(lower.0), of_mark(upper.0)))
    }
}

/// A block as high as the share, never nothing.
fn eighths(share: f64) -> char {
    EIGHTHS[rounded(share * 8.0).clamp(1, 8) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPTH: ColourDepth = ColourDepth::TrueColour;

    fn busy(by_mark: &[(usize, u64)]) -> Cell {
        let by_mark: Vec<_> = by_mark.iter().map(|(mark, ns)| (Mark(Some(*mark)), *ns)).collect();
        Cell { busy_ns: by_mark.iter().map(|(_, ns)| ns).sum(), by_mark }
    }

    #[test]
    fn a_cell_is_as_high_as_it_was_busy_and_lettered_by_who_ran_most() {
        let signs = |cells: &[Cell]| {
            let bands = Bands::of(cells, 100);
            (bands.block(0, 1, DEPTH).0, bands.letter().0)
        };
        assert_eq!(signs(&[Cell::default()]), ('·', '.'));
        assert_eq!(signs(&[busy(&[(0, 30), (1, 20)])]), ('▄', 'A'));
        assert_eq!(signs(&[busy(&[(0, 10), (1, 20)])]), ('▂', 'b'));
        assert_eq!(signs(&[busy(&[(2, 100)])]), ('█', 'C'));
        // Busy with what nobody accounts for.
        assert_eq!(signs(&[Cell { busy_ns: 100, by_mark: Vec::new() }]), ('█', '+'));
        // Two CPUs in one cell, one of them idle.
        assert_eq!(signs(&[busy(&[(0, 100)]), Cell::default()]), ('▄', 'A'));
    }

    #[test]
    fn two_that_share_a_cpu_are_both_seen() {
        let colours = |lower: usize, upper: usize| on(DEPTH, of_mark(Mark(Some(lower))), of_mark(Mark(Some(upper))));
        let half = Bands::of(&[busy(&[(1, 50), (0, 50)])], 100);
        assert_eq!(half.block(0, 1, DEPTH), ('▄', colours(0, 1)));
        // Over two rows each has its own, or they meet in one of them.
        let alone = |mark: usize| ('█', fore(DEPTH, of_mark(Mark(Some(mark)))));
        assert_eq!([half.block(0, 2, DEPTH), half.block(1, 2, DEPTH)], [alone(0), alone(1)]);
        let quarter = Bands::of(&[busy(&[(0, 25), (1, 75)])], 100);
        assert_eq!([quarter.block(0, 2, DEPTH), quarter.block(1, 2, DEPTH)], [('▄', colours(0, 1)), alone(1)]);
        let idle = Bands::of(&[busy(&[(0, 25)])], 100);
        assert_eq!([idle.block(0, 2, DEPTH).0, idle.block(1, 2, DEPTH).0], ['▄', ' ']);
    }

    #[test]
    fn cpus_share_rows_where_there_are_too_few_and_have_several_where_there_are_many() {
        assert_eq!([group(2, 8), group(8, 8), group(9, 8), group(256, 10), group(3, 0)], [1, 1, 2, 26, 3]);
        assert_eq!([lines(2, 4, DEPTH), lines(2, 99, DEPTH), lines(9, 8, DEPTH), lines(0, 8, DEPTH)], [2, LINES, 1, LINES]);
        assert_eq!(lines(2, 8, ColourDepth::None), 1);
        assert_eq!([label(&[7]), label(&[0, 1, 5])], ["CPU 7", "CPU 0-5"]);
    }
}
