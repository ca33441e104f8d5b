//! Which processes are in a cgroup.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::Process;

use super::snapshot::Tgid;

/// Every cgroup has this file, and nothing else does.
const MEMBERS: &str = "cgroup.procs";

/// The directories of a cgroup that is given by one, or by its path in a hierarchy, as `/proc/PID/cgroup` has it: in each hierarchy that is
/// mounted here and has such a cgroup.
pub(crate) fn directories(cgroup: &Path) -> Vec<PathBuf> {
    if is_cgroup(cgroup) {
        return vec![cgroup.to_owned()];
    }
    let below = cgroup.strip_prefix("/").unwrap_or(cgroup);
    let mounts = Process::myself().and_then(|own| own.mountinfo()).map(|mounts| mounts.0).unwrap_or_default();
    let hierarchies = mounts.into_iter().filter(|mount| matches!(mount.fs_type.as_str(), "cgroup" | "cgroup2"));
    hierarchies.map(|mount| mount.mount_point.join(below)).filter(|directory| is_cgroup(directory)).collect()
}

fn is_cgroup(directory: &Path) -> bool {
    directory.is_absolute() && directory.join(MEMBERS).is_file()
}

/// The processes in a cgroup and in those below it. None of one that has gone.
pub(crate) fn members(directory: &Path) -> Vec<Tgid> {
    let mut members = Vec::new();
    let mut next = vec![directory.to_owned()];
    while let Some(directory) = next.pop() {
        let processes = fs::read_to_string(directory.join(MEMBERS)).unwrap_or_default();
        // Those that cannot be seen from here are 0.
        members.extend(processes.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).map(Tgid));
        let below = fs::read_dir(&directory).into_iter().flatten().flatten();
        next.extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files laid out as the kernel's.
    #[test]
    fn members_of_all_cgroups_below_are_found() {
        let root = tempfile::tempdir().unwrap();
        for (directory, processes) in [("", "1\n0\n"), ("a", "20\n3\n"), ("a/b", "4\n"), ("a/empty", "")] {
            let directory = root.path().join(directory);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(MEMBERS), processes).unwrap();
        }
        let found = |directory: &str| {
            let mut found: Vec<u32> = members(&root.path().join(directory)).iter().map(|tgid| tgid.0).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found(""), [1, 3, 4, 20]);
        assert_eq!(found("a"), [3, 4, 20]);
        assert_eq!(found("a/empty"), [0_u32; 0]);
        assert_eq!(found("gone"), [0_u32; 0]);
        assert_eq!(directories(&root.path().join("a")), [root.path().join("a")]);
        assert!(directories(&root.path().join("gone")).is_empty());
        assert!(directories(Path::new("")).iter().all(|directory| directory.join(MEMBERS).is_file()));
    }

    #[test]
    fn this_process_is_in_its_cgroup() {
        let own = Process::myself().unwrap().cgroups().unwrap().0;
        let of_mounted = |path: &str| directories(Path::new(path));
        let Some(found) = own.iter().map(|group| of_mounted(&group.pathname)).find(|found| !found.is_empty()) else {
            println!("skipped: no hierarchy of cgroups is mounted");
            return;
        };
        assert!(found.iter().any(|directory| members(directory).contains(&Tgid(std::process::id()))), "{found:?}");
    }
}
