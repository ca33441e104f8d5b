//! The workloads, a row each, with as many columns as fit.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::put;
use crate::report::ColourDepth;
use crate::report::words::columns;
use crate::top::controls::SortKey;
use crate::top::palette::{fore, letter, of_mark, strong};
use crate::top::view::{Row, View};
use crate::top::words::{cause, cores, cut, latency, model, rate};

/// What a column shows, in the order in which columns stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Source,
    Model,
    Threads,
    Running,
    Demand,
    Latency,
    Switches,
    Migrations,
    Lost,
}

const ALL: [Kind; 10] = [
    Kind::Name,
    Kind::Source,
    Kind::Model,
    Kind::Threads,
    Kind::Running,
    Kind::Demand,
    Kind::Latency,
    Kind::Switches,
    Kind::Migrations,
    Kind::Lost,
];
/// The same, the ones first that a narrow terminal shows.
const BY_WEIGHT: [Kind; 10] = [
    Kind::Name,
    Kind::Running,
    Kind::Demand,
    Kind::Lost,
    Kind::Latency,
    Kind::Switches,
    Kind::Migrations,
    Kind::Model,
    Kind::Source,
    Kind::Threads,
];
/// Those that get what is left, in this order.
const GROWING: [Kind; 3] = [Kind::Name, Kind::Lost, Kind::Model];
/// Columns before the first one: the mark of a workload.
const MARK: usize = 2;
const NAME_MOST: usize = 48;

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Name => "workload",
        Kind::Source => "named by",
        Kind::Model => "model",
        Kind::Threads => "threads",
        Kind::Running => "C",
        Kind::Demand => "D",
        Kind::Latency => "wake p99",
        Kind::Switches => "switch/s",
        Kind::Migrations => "migr/s",
        Kind::Lost => "cores lost to",
    }
}

/// The title of the column that it is sorted by.
pub(super) fn title_of(sort: SortKey) -> &'static str {
    ALL.into_iter().find(|kind| kind.sorted_by() == Some(sort)).map_or("", title)
}

impl Kind {
    /// Columns of the terminal that it takes at least.
    fn least(self) -> usize {
        match self {
            Kind::Name | Kind::Source | Kind::Model => 10,
            Kind::Running | Kind::Demand => 5,
            Kind::Threads | Kind::Migrations => 7,
            Kind::Latency | Kind::Switches => 9,
            Kind::Lost => 14,
        }
    }

    /// Columns between it and the one before.
    fn gap(self) -> usize {
        // What is on its left ends at the right.
        if self == Kind::Lost { 2 } else { 1 }
    }

    fn is_figure(self) -> bool {
        !matches!(self, Kind::Name | Kind::Source | Kind::Model | Kind::Lost)
    }

    fn sorted_by(self) -> Option<SortKey> {
        match self {
            Kind::Name => Some(SortKey::Name),
            Kind::Running => Some(SortKey::Running),
            Kind::Demand => Some(SortKey::Demand),
            Kind::Latency => Some(SortKey::Latency),
            Kind::Switches => Some(SortKey::Switches),
            Kind::Migrations => Some(SortKey::Migrations),
            Kind::Lost => Some(SortKey::Lost),
            Kind::Source | Kind::Model | Kind::Threads => None,
        }
    }

    /// The cell of a row, in full.
    fn text(self, row: &Row<'_>, wall_ns: u64) -> String {
        let recent = &row.recent;
        match self {
            Kind::Name => row.name.to_owned(),
            Kind::Source => row.source.map_or("?", |source| source.name()).to_owned(),
            Kind::Model => row.model.map_or("?", |model| model.name()).to_owned(),
            Kind::Threads => recent.threads.to_string(),
            Kind::Running => cores(recent.on_cpu_ns, wall_ns),
            Kind::Demand => cores(recent.on_cpu_ns.saturating_add(recent.runnable_ns), wall_ns),
            Kind::Latency => latency(row.last.and_then(|last| last.wakeup_p99_ns)),
            Kind::Switches => rate(recent.switches, wall_ns),
            Kind::Migrations => rate(recent.migrations, wall_ns),
            Kind::Lost => match (row.most_lost(), row.last) {
                (Some((to, ns)), Some(last)) => format!("{} {}", cores(ns, last.wall_ns), cause(to)),
                _ => "-".to_owned(),
            },
        }
    }
}

/// Columns with their widths, in the order in which they stand.
fn layout(width: usize, wanted: impl Fn(Kind) -> usize) -> Vec<(Kind, usize)> {
    let mut left = width.saturating_sub(MARK);
    let mut chosen: Vec<(Kind, usize)> = Vec::new();
    for kind in BY_WEIGHT {
        let gap = if chosen.is_empty() { 0 } else { kind.gap() };
        let needed = if chosen.is_empty() { kind.least().min(left) } else { kind.least() };
        if needed + gap > left {
            break;
        }
        left -= needed + gap;
        chosen.push((kind, needed));
    }
    for kind in GROWING {
        if let Some((_, width)) = chosen.iter_mut().find(|(known, _)| *known == kind) {
            let more = wanted(kind).saturating_sub(*width).min(left);
            *width += more;
            left -= more;
        }
    }
    chosen.sort_by_key(|(kind, _)| ALL.iter().position(|known| known == kind));
    chosen
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, view: &View<'_>) {
    if area.is_empty() {
        return;
    }
    let wall_ns = view.host.wall_ns;
    let wanted = |kind: Kind| {
        let widest = view.rows.iter().map(|row| columns(&kind.text(row, wall_ns))).max().unwrap_or(0);
        widest.max(title(kind).len() + 2).min(NAME_MOST)
    };
    let layout = layout(area.width.into(), wanted);
    let titles = |kind: Kind| {
        let mark = if kind.sorted_by() == Some(view.controls.sort) { "▼" } else { "" };
        format!("{}{mark}", title(kind))
    };
    line(buffer, Rect { height: 1, ..area }, &layout, titles, strong().add_modifier(Modifier::UNDERLINED));
    let height = usize::from(area.height) - 1;
    let chosen = view.chosen.unwrap_or(0);
    // The chosen one is always in sight.
    let first = (chosen + 1).saturating_sub(height.max(1));
    for (y, (place, row)) in (area.y + 1..area.bottom()).zip(view.rows.iter().enumerate().skip(first)) {
        let area = Rect { y, height: 1, ..area };
        let is_chosen = view.chosen == Some(place);
        let style = if is_chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        let text = |kind: Kind| match (kind, row.model) {
            (Kind::Model, Some(name)) => {
                let width = layout.iter().find(|(known, _)| *known == kind).map_or(0, |(_, width)| *width);
                if name.name().len() <= width { name.name().to_owned() } else { model(name).to_owned() }
            }
            _ => kind.text(row, wall_ns),
        };
        line(buffer, area, &layout, text, style);
        let sign = if view.colour == ColourDepth::None { letter(row.mark) } else { '█' };
        put(buffer, area, &sign.to_string(), fore(view.colour, of_mark(row.mark)).remove_modifier(Modifier::REVERSED));
    }
    if view.rows.is_empty() && area.height > 1 {
        let text = if view.controls.filter.is_empty() {
            "No program has used a tenth of a second of CPU time yet."
        } else {
            "No row has this text: / and Esc drop the filter."
        };
        put(buffer, Rect { y: area.y + 1, height: 1, ..area }, text, Style::new());
    }
}

fn line(buffer: &mut Buffer, area: Rect, layout: &[(Kind, usize)], text: impl Fn(Kind) -> String, style: Style) {
    buffer.set_style(area, style);
    let mut x = MARK;
    for (place, (kind, width)) in layout.iter().enumerate() {
        x += if place > 0 { kind.gap() } else { 0 };
        let text = cut(&text(*kind), *width);
        let at = if kind.is_figure() { x + width - columns(&text).min(*width) } else { x };
        let at = area.x.saturating_add(u16::try_from(at).unwrap_or(u16::MAX));
        if at < area.right() {
            buffer.set_stringn(at, area.y, &text, usize::from(area.right() - at), style);
        }
        x += width;
    }
}

/// All rows with all columns and a title, for a reader that is no terminal.
pub(in crate::top) fn plain(rows: &[Row<'_>], wall_ns: u64) -> String {
    use comfy_table::presets::NOTHING;
    use comfy_table::{CellAlignment, ContentArrangement, Table};
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.add_row(ALL.map(title));
    table.add_rows(rows.iter().map(|row| ALL.map(|kind| kind.text(row, wall_ns))));
    for (column, kind) in table.column_iter_mut().zip(ALL) {
        column.set_padding((0, 2));
        column.set_cell_alignment(if kind.is_figure() { CellAlignment::Right } else { CellAlignment::Left });
    }
    table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_narrow_terminal_has_the_columns_of_most_weight() {
        let shown = |width| layout(width, Kind::least).into_iter().map(|(kind, _)| title(kind)).collect::<Vec<_>>();
        assert_eq!(shown(40), ["workload", "C", "D", "cores lost to"]);
        assert_eq!(shown(80), ["workload", "model", "C", "D", "wake p99", "switch/s", "migr/s", "cores lost to"]);
        assert_eq!(shown(200).len(), ALL.len());
    }

    proptest! {
        #[test]
        fn columns_fit(width in 0..400_usize, wanted in 0..100_usize) {
            let layout = layout(width, |_| wanted);
            let used: usize = layout.iter().map(|(_, width)| width).sum::<usize>() + layout.iter().skip(1).map(|(kind, _)| kind.gap()).sum::<usize>();
            prop_assert!(used + MARK <= width.max(MARK), "{layout:?}");
        }
    }
}
