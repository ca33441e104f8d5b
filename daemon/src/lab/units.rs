//! Figures as text.

use serde::{Deserialize, Serialize};

use crate::report::words::{duration, per_second};

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
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
    pub fn write(self, value: f64) -> String {
        match self {
            Unit::Plain => format!("{value:.2}"),
            Unit::Seconds => duration(value),
            Unit::Count => format!("{value:.0}"),
            Unit::Rate => per_second(value),
            Unit::Factor => factor(value),
            Unit::Percent if value > 0.0 && value < 0.0995 => format!("{:.1} %", 100.0 * value),
            Unit::Percent => percent(value),
            Unit::Bytes if value >= f64::from(1 << 20) => mebibytes(value),
            Unit::Bytes => format!("{:.0} KiB", value / 1024.0),
        }
    }
}

pub(crate) fn percent(part: f64) -> String {
    format!("{:.0} %", 100.0 * part)
}

pub(crate) fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// How many times as fast: two decimals, or as many as a small one needs.
pub(crate) fn factor(value: f64) -> String {
    match value {
        value if value >= 0.0995 => format!("{value:.2}x"),
        value if value >= 0.009_95 => format!("{value:.3}x"),
        value => format!("{value:.4}x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [1.234, 0.0995, 0.0994, 0.0234, 0.009_95, 0.009_94, 0.00234].map(factor),
            ["1.23x", "0.10x", "0.099x", "0.023x", "0.010x", "0.0099x", "0.0023x"]
        );
        assert_eq!(
            [0.0, 0.0123, 0.0994, 0.0996, 0.734].map(|part| Unit::Percent.write(part)),
            ["0 %", "1.2 %", "9.9 %", "10 %", "73 %"]
        );
        assert_eq!([16384.0, 3_670_016.0].map(|bytes| Unit::Bytes.write(bytes)), ["16 KiB", "3.5 MiB"]);
    }
}
