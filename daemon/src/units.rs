//! Units. Everything is kept in nanoseconds and becomes seconds when it is shown, here and nowhere else.

pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The nearest whole number; 0 for what is negative or no number, and the largest there is for what is beyond it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` does what the comment says")]
pub(crate) fn rounded(number: f64) -> usize {
    number.round() as usize
}
