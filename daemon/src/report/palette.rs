//! Colours. Written as escape sequences here, not through a crate: crossterm drops colours behind our back where `NO_COLOR` is set,
//! and [`super::render`] is a function of its arguments alone.

use super::options::ColourDepth;

/// A colour in both depths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    rgb: [u8; 3],
    ansi256: u8,
}

const fn colour(rgb: [u8; 3], ansi256: u8) -> Colour {
    Colour { rgb, ansi256 }
}

/// Colours for threads or processes. The first eight stay apart for the colour-blind too (after Okabe and Ito, lightened for dark
/// terminals).
pub(super) const TASKS: [Colour; 12] = [
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
/// Tasks that have no colour of their own.
pub(super) const OTHER: Colour = colour([170, 150, 120], 138);
/// Tasks outside the workload.
pub(super) const FOREIGN: Colour = colour([110, 110, 110], 242);
/// Ground of a cell that is shared with tasks outside the workload.
pub(super) const FOREIGN_GROUND: Colour = colour([58, 58, 58], 237);
/// Running.
pub(super) const RUNNING: Colour = TASKS[2];
/// Runnable and not running.
pub(super) const RUNNABLE: Colour = TASKS[0];
/// Blocked.
pub(super) const BLOCKED: Colour = TASKS[4];

impl ColourDepth {
    /// Text in a colour, on a ground if one is given.
    pub(super) fn paint(self, text: &str, fore: Colour, ground: Option<Colour>) -> String {
        let mut codes = self.code(38, fore);
        if let Some(ground) = ground {
            codes.push(';');
            codes.push_str(&self.code(48, ground));
        }
        self.wrap(text, &codes)
    }

    /// Bold text.
    pub(super) fn strong(self, text: &str) -> String {
        self.wrap(text, "1")
    }

    /// Text of less weight.
    pub(super) fn faint(self, text: &str) -> String {
        self.wrap(text, "2")
    }

    /// Bold red text.
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

    #[test]
    fn the_daemons_page_has_the_same_colours() {
        let style = include_str!("../../page/style.css");
        for (number, Colour { rgb: [red, green, blue], .. }) in TASKS.into_iter().enumerate() {
            let colour = format!("--w{number}: #{red:02x}{green:02x}{blue:02x};");
            assert!(style.contains(&colour), "{colour} is not in the page's style");
        }
    }
}
