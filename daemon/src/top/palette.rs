//! Colours on the terminal, and what stands for them where there are none.

use ratatui::style::{Color, Modifier, Style};

use super::view::Mark;
use crate::diagnose::LostCause;
use crate::report::ColourDepth;
use crate::report::terminal::{Colour, OTHER, RUNNABLE, RUNNING, TASKS, colour};

/// Parts of a bar without colours, the largest first; those after the last one are as it is.
const GROUNDS: [char; 6] = ['█', '▒', '░', '=', '-', '.'];

const ALARM: Colour = colour([255, 143, 90], 209);
const FAINT: Colour = colour([125, 136, 148], 245);

/// Text of a colour; without colours, plain.
pub(super) fn fore(depth: ColourDepth, colour: Colour) -> Style {
    shade(depth, colour).map_or_else(Style::new, |shade| Style::new().fg(shade))
}

/// The same on a ground.
pub(super) fn on(depth: ColourDepth, fore: Colour, ground: Colour) -> Style {
    let ground = shade(depth, ground);
    ground.map_or_else(Style::new, |ground| self::fore(depth, fore).bg(ground))
}

fn shade(depth: ColourDepth, Colour { rgb: [red, green, blue], ansi256 }: Colour) -> Option<Color> {
    match depth {
        ColourDepth::None => None,
        ColourDepth::Ansi256 => Some(Color::Indexed(ansi256)),
        ColourDepth::TrueColour => Some(Color::Rgb(red, green, blue)),
    }
}

pub(super) fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// What is wrong.
pub(super) fn alarm(depth: ColourDepth) -> Style {
    fore(depth, ALARM).add_modifier(Modifier::BOLD)
}

/// Of less weight.
pub(super) fn faint(depth: ColourDepth) -> Style {
    fore(depth, FAINT)
}

pub(super) fn of_mark(Mark(colour): Mark) -> Colour {
    colour.and_then(|colour| TASKS.get(colour)).copied().unwrap_or(OTHER)
}

/// What stands for a workload where there is no colour.
pub(super) fn letter(Mark(colour): Mark) -> char {
    colour.and_then(|colour| u8::try_from(colour).ok()).map_or('+', |colour| char::from(b'A'.saturating_add(colour)))
}

/// A part of the bar of cores: what was used, or a cause.
pub(super) fn of_part(lost_to: Option<LostCause>) -> Colour {
    match lost_to {
        None => RUNNING,
        Some(LostCause::Others) => RUNNABLE,
        Some(LostCause::Quota) => colour([201, 138, 160], 175),
        Some(LostCause::Mask) => colour([143, 106, 74], 95),
        Some(LostCause::Transit) => TASKS[9],
        Some(LostCause::WaitGil) => TASKS[5],
        Some(LostCause::WaitFutex) => TASKS[4],
        Some(LostCause::WaitSleep) => colour([93, 107, 122], 60),
        Some(LostCause::WaitPoll) => colour([127, 147, 168], 103),
        Some(LostCause::WaitPipeSocket) => TASKS[8],
        Some(LostCause::WaitChildWait) => TASKS[6],
        Some(LostCause::WaitDisk) => TASKS[10],
        Some(LostCause::WaitPageFault) => TASKS[3],
        Some(LostCause::WaitMmapLock) => TASKS[1],
        Some(LostCause::WaitKernelLock) => TASKS[11],
        Some(LostCause::WaitStopped) => TASKS[7],
        Some(LostCause::WaitOther) => colour([71, 82, 94], 239),
        Some(LostCause::WaitUnknown) => colour([57, 66, 75], 238),
        Some(LostCause::TooFewThreads) => colour([48, 58, 68], 237),
    }
}

/// What a part of a bar is filled with; `rank` is its place by size.
pub(super) fn fill(depth: ColourDepth, rank: usize) -> char {
    if depth == ColourDepth::None { GROUNDS[rank.min(GROUNDS.len() - 1)] } else { GROUNDS[0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_nothing_is_coloured() {
        for style in [fore(ColourDepth::None, ALARM), on(ColourDepth::None, ALARM, FAINT), alarm(ColourDepth::None)] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
        assert_eq!([Mark(None), Mark(Some(0)), Mark(Some(11))].map(letter), ['+', 'A', 'L']);
    }

    /// Both show the same daemon, often side by side.
    #[test]
    fn causes_have_the_colours_of_the_page() {
        let style = include_str!("../../page/style.css");
        for cause in LostCause::ALL {
            let variable = match cause {
                LostCause::Others => "runnable",
                // On the page that is the ground itself, which a terminal chooses.
                LostCause::TooFewThreads => continue,
                cause => cause.name().trim_start_matches("wait_"),
            };
            let [red, green, blue] = of_part(Some(cause)).rgb;
            let colour = format!("--{variable}: #{red:02x}{green:02x}{blue:02x};");
            assert!(style.contains(&colour), "{colour} is not in the page's style");
        }
    }
}
