//! The terminal that the report is made for: its width and its colours.
//!
//! Escape sequences are written here, not through a crate: crossterm drops colours behind our back where `NO_COLOR` is set, and
//! [`super::render`] is a function of its arguments alone.

use std::io::IsTerminal;

/// Columns when the width is not known.
const DEFAULT_WIDTH: usize = 100;
/// Fewest columns that the report is laid out for; a narrower terminal wraps lines.
const MIN_WIDTH: usize = 60;
/// Most columns that are used; wider lines are hard to read.
const MAX_WIDTH: usize = 200;

/// Which colour codes the reader understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ColourDepth {
    /// No escape sequence at all.
    #[default]
    None,
    /// The 256 colours of xterm.
    Ansi256,
    TrueColour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) width: usize,
    pub(crate) colour: ColourDepth,
}

impl Default for Options {
    fn default() -> Self {
        Options { width: DEFAULT_WIDTH, colour: ColourDepth::None }
    }
}

impl Options {
    /// What suits `stdout`: its width and colours if it is a terminal, else [`Options::default`]. Honours `NO_COLOR`, `COLORTERM` and
    /// `TERM=dumb`.
    pub(crate) fn detect(stdout: &impl IsTerminal) -> Options {
        if !stdout.is_terminal() {
            return Options::default();
        }
        let columns = crossterm::terminal::size().ok().map(|(columns, _rows)| usize::from(columns));
        Options::of_terminal(columns, |name| std::env::var(name).ok())
    }

    /// What suits a terminal with these columns and environment variables.
    fn of_terminal(columns: Option<usize>, variable: impl Fn(&str) -> Option<String>) -> Options {
        let width = columns.filter(|&columns| columns > 0).unwrap_or(DEFAULT_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH);
        let value = |name| variable(name).unwrap_or_default();
        let colour = if !value("NO_COLOR").is_empty() || value("TERM") == "dumb" {
            ColourDepth::None
        } else if matches!(value("COLORTERM").as_str(), "truecolor" | "24bit") {
            ColourDepth::TrueColour
        } else {
            ColourDepth::Ansi256
        };
        Options { width, colour }
    }
}

/// A colour in both depths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colour {
    pub(crate) rgb: [u8; 3],
    pub(crate) ansi256: u8,
}

pub(crate) const fn colour(rgb: [u8; 3], ansi256: u8) -> Colour {
    Colour { rgb, ansi256 }
}

/// Colours for threads or processes. The first eight stay apart for the colour-blind too (after Okabe and Ito, lightened for dark
/// terminals).
pub(crate) const TASKS: [Colour; 12] = [
    colour([230, 159, 0], 214),
    colour([86, 180, 233], 74),
    colour([0, 178, 130], 36),
    colour([240, 228, 66], 227),
    colour([60, 130, 220], 68),
    colour([230, 94, 20], 166),
    colour([214, 130, 180], 175),
    colour([235, 235, 225], 255),
    colour([140, 100, 220], 98),
    colour([150, 200, 80], 113),
    colour([190, 60, 80], 131),
    colour([0, 150, 160], 30),
];
pub(crate) const OTHER: Colour = colour([170, 150, 120], 138);
pub(super) const FOREIGN: Colour = colour([110, 110, 110], 242);
/// Ground of a cell that is shared with tasks outside the workload.
pub(super) const FOREIGN_GROUND: Colour = colour([58, 58, 58], 237);
pub(crate) const RUNNING: Colour = TASKS[2];
pub(crate) const RUNNABLE: Colour = TASKS[0];
pub(super) const BLOCKED: Colour = TASKS[4];

impl ColourDepth {
    pub(super) fn paint(self, text: &str, fore: Colour, ground: Option<Colour>) -> String {
        let mut codes = self.code(38, fore);
        if let Some(ground) = ground {
            codes.push(';');
            codes.push_str(&self.code(48, ground));
        }
        self.wrap(text, &codes)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.wrap(text, "1")
    }

    /// Text of less weight.
    pub(super) fn faint(self, text: &str) -> String {
        self.wrap(text, "2")
    }

    pub(super) fn alarm(self, text: &str) -> String {
        self.wrap(text, "1;31")
    }

    /// The code that selects a colour; `layer` is 38 for text and 48 for the ground.
    fn code(self, layer: u8, colour: Colour) -> String {
        let [red, green, blue] = colour.rgb;
        match self {
            ColourDepth::None => String::new(),
            ColourDepth::Ansi256 => format!("{layer};5;{}", colour.ansi256),
            ColourDepth::TrueColour => format!("{layer};2;{red};{green};{blue}"),
        }
    }

    fn wrap(self, text: &str, codes: &str) -> String {
        if self == ColourDepth::None || text.is_empty() { text.to_owned() } else { format!("\x1b[{codes}m{text}\x1b[0m") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(columns: Option<usize>, environment: &[(&str, &str)]) -> Options {
        Options::of_terminal(columns, |name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn colours_follow_the_environment() {
        for (environment, colour) in [
            (&[("TERM", "xterm-256color")][..], ColourDepth::Ansi256),
            (&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")], ColourDepth::TrueColour),
            (&[("TERM", "dumb"), ("COLORTERM", "truecolor")], ColourDepth::None),
            (&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")], ColourDepth::None),
            // The convention: an empty NO_COLOR means nothing.
            (&[("NO_COLOR", ""), ("COLORTERM", "24bit")], ColourDepth::TrueColour),
        ] {
            assert_eq!(terminal(Some(80), environment).colour, colour, "{environment:?}");
        }
    }

    #[test]
    fn width_is_kept_within_reason() {
        for (columns, width) in [(None, 100), (Some(0), 100), (Some(20), 60), (Some(132), 132), (Some(999), 200)] {
            assert_eq!(terminal(columns, &[]).width, width);
        }
    }

    #[test]
    fn a_file_is_no_terminal() {
        let stdout = std::fs::File::open("/dev/null");
        assert_eq!(stdout.map(|file| Options::detect(&file)).ok(), Some(Options::default()));
    }

    #[test]
    fn the_daemons_page_has_the_same_colours() {
        let style = include_str!("../../page/style.css");
        for (number, Colour { rgb: [red, green, blue], .. }) in TASKS.into_iter().enumerate() {
            let colour = format!("--w{number}: #{red:02x}{green:02x}{blue:02x};");
            assert!(style.contains(&colour), "{colour} is not in the page's style");
        }
    }
}
