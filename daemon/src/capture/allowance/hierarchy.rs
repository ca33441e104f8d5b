//! Where the cgroups of a process are, with all groups above them.
//!
//! Both versions of cgroups are looked at as they are mounted here: of a process's group and of each group above it, since what is set for
//! any of them holds. In a container the group at the top of the mount is the container's own.

use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};

use crate::capture::snapshot::Tgid;

/// Of the interface, which has other files in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A hierarchy of cgroups that can limit CPU time, as it is mounted here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    mount_point: PathBuf,
    /// The group that the mount begins with.
    root: PathBuf,
}

impl Hierarchy {
    fn of(mount: &MountInfo) -> Option<Hierarchy> {
        let version = match mount.fs_type.as_str() {
            "cgroup" if mount.super_options.contains_key("cpu") => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        Some(Hierarchy { version, mount_point: mount.mount_point.clone(), root: PathBuf::from(&mount.root) })
    }

    /// The directories of the group and of those above it.
    fn upwards(&self, group: &Path) -> impl Iterator<Item = PathBuf> {
        group.ancestors().map_while(|above| Some(self.mount_point.join(above.strip_prefix(&self.root).ok()?)))
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    pub(super) fn mounted() -> Hierarchies {
        let mounts = Process::myself().and_then(|own| own.mountinfo()).map(|mounts| mounts.0).unwrap_or_default();
        Hierarchies(mounts.iter().filter_map(Hierarchy::of).collect())
    }

    /// The directories of a process's groups; none if it has ended.
    pub(super) fn groups_of(&self, process: Tgid) -> Vec<(Version, PathBuf)> {
        let process = i32::try_from(process.0).ok().and_then(|pid| Process::new(pid).ok());
        let Some(groups) = process.and_then(|process| process.cgroups().ok()) else { return Vec::new() };
        let mut directories = Vec::new();
        for hierarchy in &self.0 {
            let group = groups.0.iter().find(|group| match hierarchy.version {
                Version::One => group.controllers.iter().any(|controller| controller == "cpu"),
                Version::Two => group.hierarchy == 0,
            });
            let above = group.into_iter().flat_map(|group| hierarchy.upwards(Path::new(&group.pathname)));
            directories.extend(above.map(|directory| (hierarchy.version, directory)));
        }
        directories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_where_its_hierarchy_is_mounted_with_all_above_it() {
        let directories = |root: &str, group: &str| {
            let hierarchy = Hierarchy { version: Version::Two, mount_point: "/sys/fs/cgroup".into(), root: root.into() };
            hierarchy.upwards(Path::new(group)).map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(directories("/", "/a/b"), ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"]);
        // A container without a namespace of its own for cgroups sees its own group as the mount's first.
        assert_eq!(directories("/docker/x", "/docker/x/y"), ["/sys/fs/cgroup/y", "/sys/fs/cgroup/"]);
        // A group elsewhere is not mounted here.
        assert!(directories("/docker/x", "/docker/z").is_empty());
    }
}
