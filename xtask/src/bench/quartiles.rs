//! What repeated measurements come to.

/// A median and the middle half of what was measured.
#[derive(Clone, Copy)]
pub(super) struct Quartiles {
    pub(super) median: f64,
    low: f64,
    high: f64,
}

impl Quartiles {
    /// Not a number without values; the median of an even number is the higher one of the middle two.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Quartiles {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |quarters: usize| values.get(quarters * values.len() / 4).copied().unwrap_or(f64::NAN);
        Quartiles { median: at(2), low: at(1), high: at(3) }
    }

    /// "92 (81 to 94)".
    pub(super) fn with_decimals(&self, decimals: usize) -> String {
        let Quartiles { median, low, high } = self;
        format!("{median:.decimals$} ({low:.decimals$} to {high:.decimals$})")
    }
}

pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Quartiles::of(values).median
}
