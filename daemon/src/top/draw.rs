//! The view on a terminal of any size; pure.
//!
//! From the top: the host, what is said of the chosen workload, where its cores went, the table, the core map, the keys. What a small
//! terminal has no room for is left out, the core map first.

mod bar;
mod core_map;
mod table;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::controls::Mode;
use super::palette::{alarm, faint, strong};
use super::view::{Host, State, View};
use super::words::{cores, cut, rate};
use crate::report::words::{columns, grouped};

/// Rows that the table has at least, its title among them, before anything else takes room from it.
const TABLE_LEAST: u16 = 4;
/// Rows of a terminal on which the parts appear.
const ROWS_WITH_BAR: u16 = 12;
const ROWS_WITH_MAP: u16 = 16;
const ROWS_WITH_ADVICE: u16 = 22;

const HELP: [&str; 22] = [
    "q, Esc, Ctrl-C   quit",
    "up, down, k, j   choose a workload; Page up and down, Home, End",
    "s                sort by the next column, marked with ▼",
    "/                show only rows with a text in name, model or source",
    "                 Enter keeps it, Esc drops it",
    "p, space         pause; nothing is lost meanwhile",
    "?, h             this",
    "",
    "C         CPUs in use: threads running, on average over two seconds",
    "D         CPUs wanted: threads running or waiting for a CPU",
    "wake p99  99 of 100 wake-ups reach a CPU within this time",
    "cores lost to   what keeps it from using more of the CPUs, and how",
    "          many that costs: GIL, futex, poll, sleep, pipe, disk, child:",
    "          its threads wait for that; others: have the CPU; no thread:",
    "          there are too few; waking up: on the way to a free CPU;",
    "          mask, quota: it may not",
    "",
    "Core map  a column is a second, a row one CPU or several; as high as",
    "          it was busy, in the colour of the workload that ran most;",
    "          without colours its letter, a capital if busy more than half",
    "",
    "Any key closes this.",
];

/// The host in a line and all rows with all columns, for readers that are no terminal.
pub(super) fn plain(view: &View<'_>) -> String {
    let host = host(view).into_iter().flatten().collect::<Vec<_>>().join(" · ");
    format!("{} · {}\n\n{}", host, view.origin, table::plain(&view.rows, view.host.wall_ns))
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.is_empty() {
        return;
    }
    let mut rest = Rows { area, top: area.top(), bottom: area.bottom() };
    header(buffer, rest.take(1), view);
    footer(buffer, rest.take_last(1), view);
    if view.controls.mode == Mode::Help {
        for line in HELP {
            put(buffer, rest.take(1), line, Style::new());
        }
        return;
    }
    if let Some(row) = view.chosen.and_then(|chosen| view.rows.get(chosen)) {
        let spare = rest.height().saturating_sub(TABLE_LEAST);
        let most = if area.height >= ROWS_WITH_MAP { 3 } else { 2 };
        let text =
            row.last.map_or("It has no threads now, or has not been watched for two seconds.", |last| last.sentence.as_str());
        let lines = wrapped(&format!("{}: {text}", row.name), area.width, most.min(spare));
        for line in lines {
            put(buffer, rest.take(1), &line, strong());
        }
        if let Some(last) = row.last.filter(|_| area.height >= ROWS_WITH_ADVICE) {
            for line in wrapped(&last.advice, area.width, 2) {
                put(buffer, rest.take(1), &line, Style::new());
            }
        }
        if let Some(last) = row.last.filter(|_| area.height >= ROWS_WITH_BAR) {
            bar::draw(buffer, rest.take(1), rest.take(1), last, view.colour);
        }
    }
    if area.height >= ROWS_WITH_MAP && !view.cpus.is_empty() {
        let most = (area.height / 3).min(rest.height().saturating_sub(TABLE_LEAST + core_map::TITLE));
        let height = core_map::height(view, most, area.height / 6);
        if height > 0 {
            core_map::draw(buffer, rest.take_last(height + core_map::TITLE), view);
        }
    }
    table::draw(buffer, rest.whole(), view);
}

/// The rows of the terminal that are not taken.
struct Rows {
    area: Rect,
    top: u16,
    bottom: u16,
}

impl Rows {
    fn height(&self) -> u16 {
        self.bottom - self.top
    }

    /// At most so many from the top.
    fn take(&mut self, height: u16) -> Rect {
        let height = height.min(self.height());
        let taken = Rect { y: self.top, height, ..self.area };
        self.top += height;
        taken
    }

    /// At most so many from the bottom.
    fn take_last(&mut self, height: u16) -> Rect {
        let height = height.min(self.height());
        self.bottom -= height;
        Rect { y: self.bottom, height, ..self.area }
    }

    fn whole(mut self) -> Rect {
        self.take(u16::MAX)
    }
}

/// Writes a line, cut where the area ends; nothing where it has no rows.
fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    if !area.is_empty() {
        buffer.set_string(area.x, area.y, cut(text, area.width.into()), style);
    }
}

/// At most so many lines; the last one says if there were more.
fn wrapped(text: &str, width: u16, most: u16) -> Vec<String> {
    if text.is_empty() || width == 0 || most == 0 {
        return Vec::new();
    }
    let mut lines: Vec<String> = textwrap::wrap(text, usize::from(width)).into_iter().map(std::borrow::Cow::into_owned).collect();
    if lines.len() > usize::from(most) {
        lines.truncate(most.into());
        if let Some(last) = lines.last_mut() {
            *last = cut(&format!("{last} …"), width.into());
        }
    }
    lines
}

/// The host in a line, as much as fits; and who traces, if there is room.
fn header(buffer: &mut Buffer, area: Rect, view: &View<'_>) {
    buffer.set_style(area, Style::new().add_modifier(Modifier::REVERSED));
    let state = match &view.state {
        State::Starting => Some("waiting for figures".to_owned()),
        State::Gone(why) => Some(format!("NO ANSWER: {why}")),
        State::Stale(seconds) => Some(format!("NO NEW READING for {seconds} s")),
        State::Live if view.controls.is_paused => Some("PAUSED".to_owned()),
        State::Live => None,
    };
    let width = usize::from(area.width);
    let mut line = " ".to_owned();
    for part in std::iter::once(state).chain(host(view)).flatten() {
        let separator = if line == " " { "" } else { " · " };
        if line != " " && columns(&line) + columns(separator) + columns(&part) > width {
            break;
        }
        line.push_str(separator);
        line.push_str(&part);
    }
    let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let is_wrong = matches!(view.state, State::Gone(_) | State::Stale(_));
    put(buffer, area, &line, if is_wrong { alarm(view.colour).add_modifier(Modifier::REVERSED) } else { style });
    let origins = [format!("schedscope top, {} ", view.origin), format!("{} ", view.origin)];
    if let Some(origin) = origins.iter().find(|origin| columns(&line) + 2 + columns(origin) <= width) {
        let x = area.right() - u16::try_from(columns(origin)).unwrap_or(0);
        buffer.set_string(x, area.y, origin, Style::new().add_modifier(Modifier::REVERSED));
    }
}

/// The parts of the line about the host, those that there are.
fn host(view: &View<'_>) -> [Option<String>; 4] {
    let Host { wall_ns, cpus, idle_ns, runnable_ns, switches, missing } = view.host;
    let used_ns = wall_ns.saturating_mul(cpus as u64).saturating_sub(idle_ns);
    let is_known = cpus > 0;
    [
        is_known.then(|| format!("{} of {} in use", cores(used_ns, wall_ns), counted(cpus, "CPU"))),
        is_known.then(|| format!("{} runnable", cores(runnable_ns, wall_ns))),
        is_known.then(|| format!("{} switches/s", rate(switches, wall_ns))),
        (missing > 0).then(|| format!("{} missed", grouped(missing))),
    ]
}

fn counted(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// The keys, or what is being typed.
fn footer(buffer: &mut Buffer, area: Rect, view: &View<'_>) {
    let filter = &view.controls.filter;
    if view.is_editing() {
        return put(buffer, area, &format!(" show only: {filter}_   Enter keeps it, Esc drops it"), strong());
    }
    let sort = table::title_of(view.controls.sort);
    let shown = if filter.is_empty() { String::new() } else { format!("with \"{filter}\" only  ") };
    let pause = if view.controls.is_paused { "go on" } else { "pause" };
    let keys = format!(" {shown}q quit  s sort: {sort}  / filter  p {pause}  ? help  ↑↓ choose");
    put(buffer, area, &keys, faint(view.colour));
}

#[cfg(test)]
pub(super) mod tests;
