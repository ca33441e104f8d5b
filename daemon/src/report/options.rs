//! How the report is to look: width and colours.

use std::io::IsTerminal;

/// Columns when the width is not known.
pub const DEFAULT_WIDTH: usize = 100;
/// Fewest columns that the report is laid out for; a narrower terminal wraps lines.
const MIN_WIDTH: usize = 60;
/// Most columns that are used; wider lines are hard to read.
const MAX_WIDTH: usize = 200;

/// Which colour codes the reader understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColourDepth {
    /// No escape sequence at all.
    #[default]
    None,
    /// The 256 colours of xterm.
    Ansi256,
    /// 24 bits per colour.
    TrueColour,
}

/// How the report is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Columns to use.
    pub width: usize,
    /// Colours to use.
    pub colour: ColourDepth,
}

impl Default for Options {
    fn default() -> Self {
        Options { width: DEFAULT_WIDTH, colour: ColourDepth::None }
    }
}

impl Options {
    /// What suits `stdout`: its width and colours if it is a terminal, else [`Options::default`]. Honours `NO_COLOR`, `COLORTERM` and
    /// `TERM=dumb`.
    pub fn detect(stdout: &impl IsTerminal) -> Options {
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
}
