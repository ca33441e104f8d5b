//! How much CPU time cgroups allow, and how often it was used up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::hierarchy::Version;

/// Groups looked after at most; a program in more of them has its own group controller.
pub(super) const GROUPS_MAX: usize = 256;

/// CPU time that a cgroup may use in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) quota_ns: u64,
    pub(crate) period_ns: u64,
}

impl Limit {
    pub(crate) fn cpus(self) -> f64 {
        self.quota_ns as f64 / self.period_ns as f64
    }

    /// From `cpu.max`: two numbers of microseconds, or `max` and one.
    fn of_version_2(text: &str) -> Option<Limit> {
        let (quota, period) = text.trim().split_once(' ')?;
        Limit::of_us(quota, period)
    }

    /// From `cpu.cfs_quota_us`, which is -1 without a limit, and `cpu.cfs_period_us`.
    fn of_us(quota: &str, period: &str) -> Option<Limit> {
        let ns = |text: &str| text.trim().parse::<u64>().ok()?.checked_mul(1000).filter(|ns| *ns > 0);
        Some(Limit { quota_ns: ns(quota)?, period_ns: ns(period)? })
    }
}

/// What `cpu.stat` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Periods in which the group wanted a CPU.
    pub(crate) periods: u64,
    /// Of these, those in which it had used up its time.
    pub(crate) throttled_periods: u64,
    /// For how long, added up over the CPUs on which it had something to run.
    pub(crate) throttled_ns: u64,
}

impl Usage {
    fn parse(text: &str) -> Usage {
        let mut usage = Usage::default();
        for line in text.lines() {
            let Some((name, number)) = line.split_once(' ').and_then(|(name, number)| Some((name, number.parse::<u64>().ok()?)))
            else {
                continue;
            };
            match name {
                "nr_periods" => usage.periods = number,
                "nr_throttled" => usage.throttled_periods = number,
                "throttled_usec" => usage.throttled_ns = number.saturating_mul(1000),
                "throttled_time" => usage.throttled_ns = number,
                _ => {}
            }
        }
        usage
    }

    fn since(self, before: Usage) -> Usage {
        Usage {
            periods: self.periods.saturating_sub(before.periods),
            throttled_periods: self.throttled_periods.saturating_sub(before.throttled_periods),
            throttled_ns: self.throttled_ns.saturating_sub(before.throttled_ns),
        }
    }
}

/// A cgroup with a limit, and what became of it while it was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// The file that holds the limit.
    pub(crate) file: PathBuf,
    pub(crate) limit: Limit,
    pub(crate) usage: Usage,
}

/// A group's limit and the file that has it.
fn limit_of(version: Version, directory: &Path) -> Option<(PathBuf, Limit)> {
    let read = |file: &Path| fs::read_to_string(file).ok();
    let file = directory.join(if version == Version::One { "cpu.cfs_quota_us" } else { "cpu.max" });
    let limit = match version {
        Version::One => Limit::of_us(&read(&file)?, &read(&directory.join("cpu.cfs_period_us"))?),
        Version::Two => Limit::of_version_2(&read(&file)?),
    };
    Some((file, limit?))
}

/// A group's quota with what became of it since its counters were `before`, and what they are now. Without a `before` nothing is known
/// to have become of it.
pub(super) fn quota_since(version: Version, directory: &Path, before: Option<&Usage>) -> Option<(Quota, Usage)> {
    let (file, limit) = limit_of(version, directory)?;
    let now = read_usage(&file)?;
    let usage = now.since(*before.unwrap_or(&now));
    Some((Quota { file, limit, usage }, now))
}

#[derive(Debug)]
struct Watched {
    quota: Quota,
    /// What the counters were at first.
    before: Usage,
}

/// The limits of the groups that processes are in, by directory.
#[derive(Debug, Default)]
pub(super) struct Quotas(BTreeMap<PathBuf, Watched>);

impl Quotas {
    /// Looks whether a group has one.
    pub(super) fn meet(&mut self, version: Version, directory: &Path) {
        if self.0.len() < GROUPS_MAX
            && !self.0.contains_key(directory)
            && let Some((file, limit)) = limit_of(version, directory)
        {
            let before = read_usage(&file).unwrap_or_default();
            let quota = Quota { file, limit, usage: Usage::default() };
            self.0.insert(directory.to_owned(), Watched { quota, before });
        }
    }

    /// Reads the counters of all groups; one that is gone keeps what was read last.
    pub(super) fn read(&mut self) {
        for group in self.0.values_mut() {
            if let Some(usage) = read_usage(&group.quota.file) {
                group.quota.usage = usage.since(group.before);
            }
        }
    }

    /// All groups with a limit, and what became of them since they were met, when they were read last.
    pub(super) fn all(&self) -> impl Iterator<Item = &Quota> {
        self.0.values().map(|group| &group.quota)
    }
}

/// The counters beside the file that has the limit.
fn read_usage(file: &Path) -> Option<Usage> {
    Some(Usage::parse(&fs::read_to_string(file.with_file_name("cpu.stat")).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions_are_the_same_thing() {
        let half = Limit { quota_ns: 50_000_000, period_ns: 100_000_000 };
        assert_eq!(Limit::of_version_2("50000 100000\n"), Some(half));
        assert_eq!(Limit::of_us("50000\n", "100000\n"), Some(half));
        assert!((half.cpus() - 0.5).abs() < 1e-9);
        for none in ["max 100000", "", "50000", "x 100000", "50000 0"] {
            assert_eq!(Limit::of_version_2(none), None, "{none}");
        }
        assert_eq!(Limit::of_us("-1\n", "100000\n"), None);
    }

    #[test]
    fn counters_of_both_versions_are_nanoseconds() {
        let usage = Usage { periods: 21, throttled_periods: 20, throttled_ns: 1_030_000_000 };
        assert_eq!(Usage::parse("usage_usec 7\nnr_periods 21\nnr_throttled 20\nthrottled_usec 1030000\nnr_bursts 0\n"), usage);
        assert_eq!(Usage::parse("nr_periods 21\nnr_throttled 20\nthrottled_time 1030000000\n"), usage);
        assert_eq!(Usage::parse("nr_periods\nnr_throttled x\n"), Usage::default());
        assert_eq!(usage.since(usage), Usage::default());
    }

    #[test]
    fn a_quota_is_told_with_what_became_of_it_since_the_last_look() {
        let directory = tempfile::TempDir::new().unwrap();
        let write = |file: &str, text: &str| fs::write(directory.path().join(file), text).unwrap();
        let look = |before: Option<&Usage>| quota_since(Version::Two, directory.path(), before);
        write("cpu.stat", "nr_periods 20\nnr_throttled 12\nthrottled_usec 900000\n");
        assert_eq!(look(None), None, "there is no limit");
        write("cpu.max", "50000 100000\n");
        let (quota, first) = look(None).unwrap();
        assert_eq!(quota.usage, Usage::default(), "what was before is not known");
        write("cpu.stat", "nr_periods 30\nnr_throttled 15\nthrottled_usec 1000000\n");
        let (quota, _) = look(Some(&first)).unwrap();
        assert_eq!(quota.usage, Usage { periods: 10, throttled_periods: 3, throttled_ns: 100_000_000 });
        // Another group of that name.
        write("cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_usec 5\n");
        assert_eq!(look(Some(&first)).unwrap().0.usage, Usage::default());
    }
}
