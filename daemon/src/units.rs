//! Units. Everything is kept in nanoseconds and becomes seconds when it is shown, here and nowhere else.

pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Seconds from a quotient or a difference of seconds, to the nanosecond: what comes after it is noise.
pub(crate) fn to_the_nanosecond(seconds: f64) -> f64 {
    to_digits(seconds, 1e9)
}

/// A share, a mean or a rate with six digits after the point.
pub(crate) fn to_six_digits(number: f64) -> f64 {
    to_digits(number, 1e6)
}

fn to_digits(number: f64, power: f64) -> f64 {
    let rounded = (number * power).round() / power;
    // So large that the product has no number.
    if rounded.is_finite() { rounded } else { number }
}

/// The nearest whole number; 0 for what is negative or no number, and the largest there is for what is beyond it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` does what the comment says")]
pub(crate) fn rounded(number: f64) -> usize {
    number.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_mean_nothing_are_left_out() {
        assert_eq!((to_six_digits(2.0 / 3.0), to_the_nanosecond(2.0 / 3.0)), (0.666_667, 0.666_666_667));
        assert_eq!((to_the_nanosecond(0.1 + 0.2), to_the_nanosecond(3.959 - 3.96)), (0.3, -0.001));
        assert_eq!((to_the_nanosecond(1e300), to_six_digits(0.0)), (1e300, 0.0));
        assert!(to_six_digits(f64::NAN).is_nan() && to_six_digits(f64::INFINITY).is_infinite());
        // What is whole nanoseconds stays what it is.
        for ns in [1, 7, 999_999_999, 1_000_000_001, 86_400_123_456_789] {
            assert_eq!(to_the_nanosecond(seconds(ns)).to_bits(), seconds(ns).to_bits(), "{ns}");
        }
    }
}
