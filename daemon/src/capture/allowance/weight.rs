//! How much of a CPU a cgroup gets beside its neighbours, which want it too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::hierarchy::Version;

/// Groups looked at at most, as for quotas.
const GROUPS_MAX: usize = 256;
/// `WEIGHT_IDLEPRIO` over the usual weight (`kernel/sched/sched.h`).
const IDLE: f64 = 3.0 / 1024.0;

/// A weight other than the usual one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weight {
    /// The file that sets it.
    pub(crate) file: PathBuf,
    /// 1 is the usual one.
    pub(crate) relative: f64,
}

impl Weight {
    fn of(version: Version, directory: &Path) -> Option<Weight> {
        let number = |name| number(&fs::read_to_string(directory.join(name)).ok()?);
        let (file, relative) = match version {
            _ if number("cpu.idle") == Some(1.0) => ("cpu.idle", IDLE),
            Version::One => ("cpu.shares", number("cpu.shares")? / 1024.0),
            Version::Two => ("cpu.weight", number("cpu.weight")? / 100.0),
        };
        Some(Weight { file: directory.join(file), relative })
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<u32>().ok().map(f64::from)
}

/// The weights of the groups that processes are in, as they were when the first of them was met.
#[derive(Debug, Default)]
pub(super) struct Weights(BTreeMap<PathBuf, Option<Weight>>);

impl Weights {
    pub(super) fn meet(&mut self, version: Version, directory: &Path) {
        if self.0.len() < GROUPS_MAX && !self.0.contains_key(directory) {
            self.0.insert(directory.to_owned(), Weight::of(version, directory));
        }
    }

    /// The smallest, if it is below the usual one.
    pub(super) fn smallest(&self) -> Option<Weight> {
        let weights = self.0.values().flatten().filter(|weight| weight.relative < 1.0);
        weights.min_by(|left, right| left.relative.total_cmp(&right.relative)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest weight of groups with these files.
    fn smallest(version: Version, groups: &[&[(&str, &str)]]) -> Option<(String, f64)> {
        let root = tempfile::tempdir().unwrap();
        let mut weights = Weights::default();
        for (index, files) in groups.iter().enumerate() {
            let directory = root.path().join(index.to_string());
            fs::create_dir(&directory).unwrap();
            files.iter().for_each(|(name, text)| fs::write(directory.join(name), text).unwrap());
            weights.meet(version, &directory);
        }
        let found = weights.smallest()?;
        Some((found.file.strip_prefix(root.path()).unwrap().display().to_string(), found.relative))
    }

    #[test]
    fn the_smallest_weight_is_told_in_terms_of_the_usual_one() {
        let two = |weights: &[&str]| {
            let files: Vec<_> = weights.iter().map(|weight| [("cpu.weight", *weight), ("cpu.idle", "0\n")]).collect();
            let groups: Vec<&[(&str, &str)]> = files.iter().map(<[_; 2]>::as_slice).collect();
            smallest(Version::Two, &groups)
        };
        assert_eq!(two(&["100\n", "200\n"]), None);
        assert_eq!(two(&["100\n", "25\n", "50\n"]), Some(("1/cpu.weight".to_owned(), 0.25)));
        assert_eq!(smallest(Version::One, &[&[("cpu.shares", "512\n")]]), Some(("0/cpu.shares".to_owned(), 0.5)));
        assert_eq!(smallest(Version::Two, &[&[("cpu.weight", "0\n"), ("cpu.idle", "1\n")]]), Some(("0/cpu.idle".to_owned(), IDLE)));
        // The group at the top has no such file.
        assert_eq!(smallest(Version::Two, &[&[], &[("cpu.weight", "what")]]), None);
    }
}
