//! What a rule says of one round.

use serde::{Deserialize, Serialize};

use super::super::table::{factor, rate, seconds};

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// Two decimals.
    Plain,
    /// A time.
    Seconds,
    /// A whole number.
    Count,
    /// A number per second.
    Rate,
    /// How many times as much.
    Factor,
    /// A part of one, as percent.
    Percent,
    /// Memory.
    Bytes,
}

impl Unit {
    /// A value as text.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Unit::Plain => format!("{value:.2}"),
            Unit::Seconds => seconds(value),
            Unit::Count => format!("{value:.0}"),
            Unit::Rate => rate(value),
            Unit::Factor => factor(value),
            Unit::Percent => percent(value),
            Unit::Bytes if value >= f64::from(1 << 20) => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Unit::Bytes => format!("{:.0} KiB", value / 1024.0),
        }
    }
}

fn percent(part: f64) -> String {
    if part > 0.0 && part < 0.0995 { format!("{:.1} %", 100.0 * part) } else { format!("{:.0} %", 100.0 * part) }
}

/// What one round says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    /// The claim holds.
    Holds,
    /// It does not.
    Fails,
    /// The figures fit neither; why.
    Between(String),
    /// The machine was not fit to tell; why.
    Unfit(String),
    /// This interpreter is not one that it is about; why.
    NotAbout(String),
}

/// A figure of one round.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) value: f64,
}

/// What a rule says of one round, and its figures.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) call: Call,
    pub(super) figures: Vec<Figure>,
}

impl Reading {
    /// A call without figures yet.
    pub(super) fn new(call: Call) -> Reading {
        Reading { call, figures: Vec::new() }
    }

    /// Adds a figure.
    pub(super) fn with(mut self, name: &'static str, unit: Unit, value: f64) -> Reading {
        self.figures.push(Figure { name, unit, value });
        self
    }

    /// Adds a figure that is not always there.
    pub(super) fn maybe(self, name: &'static str, unit: Unit, value: Option<f64>) -> Reading {
        match value {
            Some(value) => self.with(name, unit, value),
            None => self,
        }
    }
}

/// It holds if so, it fails if so, else it is neither, and why.
pub(super) fn call(holds: bool, fails: bool, neither: impl FnOnce() -> String) -> Call {
    match (holds, fails) {
        (true, _) => Call::Holds,
        (false, true) => Call::Fails,
        (false, false) => Call::Between(neither()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_short() {
        assert_eq!(Unit::Percent.write(0.734), "73 %");
        assert_eq!(Unit::Percent.write(0.0123), "1.2 %");
        assert_eq!(Unit::Bytes.write(16384.0), "16 KiB");
        assert_eq!(Unit::Bytes.write(3_670_016.0), "3.5 MiB");
        assert_eq!(call(true, true, String::new), Call::Holds);
        assert_eq!(call(false, false, || "why".to_owned()), Call::Between("why".to_owned()));
    }
}
