//! How much longer the load takes while it is traced, statistics off.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Quartiles, median, pipe};

/// Wall time with against without.
pub(super) struct Slowdown {
    /// The ratios.
    pub(super) ratios: Quartiles,
    /// Microseconds per round trip without.
    pub(super) untraced_us: f64,
    /// The smallest and the largest ratio of two runs without: how noisy the machine is.
    pub(super) null_range: (f64, f64),
    /// Pairs measured.
    pub(super) pairs: u32,
}

pub(super) fn measure(binary: &Path, pairs: u32, round_trips: u32) -> Result<Slowdown> {
    let binary = binary.to_str().context("the target directory's path must be UTF-8")?;
    let (mut ratios, mut nulls, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let without = pipe::run(&[], round_trips)?;
        let with = pipe::run(&[binary, "run", "--quiet", "--"], round_trips)?;
        let again = pipe::run(&[], round_trips)?;
        ratios.push(with / f64::midpoint(without, again));
        nulls.push(again / without);
        plain.push(without);
    }
    let range =
        |values: &[f64]| values.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
    Ok(Slowdown { ratios: Quartiles::of(&mut ratios), null_range: range(&nulls), untraced_us: median(&mut plain), pairs })
}
