//! What the hypervisor takes from this machine: time in which a CPU wanted to run and was not let.

use std::fs;

/// Column of the stolen time among those of `/proc/stat`, counted from the first number.
const STEAL: usize = 7;

/// CPU time of the host so far, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    all: u64,
    stolen: u64,
}

impl Counters {
    /// As they are now. A kernel that does not tell counts as one where nothing is stolen.
    pub(crate) fn now() -> Counters {
        fs::read_to_string("/proc/stat").ok().and_then(|text| Counters::parse(&text)).unwrap_or_default()
    }

    fn parse(stat: &str) -> Option<Counters> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // The two columns behind are time of guests, which is in the first two already.
        let ticks: Vec<u64> = line.split_whitespace().take(STEAL + 1).map(|text| text.parse().ok()).collect::<Option<_>>()?;
        Some(Counters { all: ticks.iter().sum(), stolen: ticks.get(STEAL).copied().unwrap_or(0) })
    }

    /// Part of all CPU time since then that was stolen.
    pub(crate) fn share_since(&self, before: &Counters) -> f64 {
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 0.0 } else { self.stolen.saturating_sub(before.stolen) as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stolen_part_is_of_the_time_between() {
        let before = Counters::parse("cpu  10 0 10 70 0 0 0 10 5 0\ncpu0 1 2 3").unwrap_or_default();
        let after = Counters::parse("cpu  20 0 20 140 0 0 0 20 9 0\n").unwrap_or_default();
        assert_eq!(before, Counters { all: 100, stolen: 10 });
        assert!((after.share_since(&before) - 0.1).abs() < 1e-9);
        assert!(before.share_since(&after).abs() < 1e-9);
        assert_eq!(Counters::parse("intr 1 2"), None);
    }
}
