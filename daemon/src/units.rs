//! Units. Everything is kept in nanoseconds and becomes seconds when it is shown, here and nowhere else.

/// Seconds from nanoseconds.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
