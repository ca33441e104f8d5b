//! Where the cgroups of a process are, with all groups above them.
//!
//! Both versions of cgroups are looked at as they are mounted here: of a process's group and of each group above it, since what is set for
//! any of them holds. In a container the group at the top of the mount is the container's own, unless the host's are mounted too. Its
//! namespace shows paths from the container's own group then, which is sought among the host's.

use std::fs;
use std::path::{Component, Path, PathBuf};

use procfs::process::{MountInfo, Process};

use crate::capture::snapshot::Tgid;

/// Groups that are looked at to find our own among the host's.
const SOUGHT_MAX: usize = 16_384;

/// Of the interface, which has other files in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    /// Whether a line of `/proc/PID/cgroup` is about a hierarchy of this version.
    fn has(self, controllers: &[String], number: u32) -> bool {
        match self {
            Version::One => controllers.iter().any(|controller| controller == "cpu"),
            Version::Two => number == 0,
        }
    }
}

/// A hierarchy of cgroups that can limit CPU time, as it is mounted here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    /// The number of its file system, the same for each mount.
    device: String,
    mount_point: PathBuf,
    /// The group that the mount begins with; begins with `..` if that is above the first one of our namespace.
    root: PathBuf,
    /// Where paths begin: at the root of the hierarchy, or at the first group of our namespace.
    origin: PathBuf,
}

impl Hierarchy {
    fn of(mount: &MountInfo) -> Option<Hierarchy> {
        let version = match mount.fs_type.as_str() {
            "cgroup" if mount.super_options.contains_key("cpu") => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        let (device, mount_point) = (mount.majmin.clone(), mount.mount_point.clone());
        Some(Hierarchy { version, device, mount_point, root: PathBuf::from(&mount.root), origin: PathBuf::from("/") })
    }

    /// The same from the root of the hierarchy, if it is mounted from there and our own process is found below it. `own` is the group of
    /// that as the namespace shows it.
    fn whole(self, own: &Path) -> Option<Hierarchy> {
        let above = parts(&self.root).filter(|part| *part == Component::ParentDir).count();
        if above == 0 || above < parts(&self.root).count() {
            return None;
        }
        let below: Vec<Component<'_>> = parts(own).collect();
        let found = self.group_with(std::process::id(), above + below.len())?;
        let found = found.strip_prefix(&self.mount_point).ok()?;
        let origin = below
            .iter()
            .rev()
            .try_fold(found, |path, part| path.file_name().filter(|name| *name == part.as_os_str()).and(path.parent()))?;
        Some(Hierarchy { origin: Path::new("/").join(origin), root: PathBuf::from("/"), ..self })
    }

    /// The group of a process that is so many levels below the mount.
    fn group_with(&self, pid: u32, levels: usize) -> Option<PathBuf> {
        let mut groups = vec![self.mount_point.clone()];
        for _ in 0..levels {
            let entries = groups.iter().filter_map(|group| fs::read_dir(group).ok()).flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path());
            groups = below.take(SOUGHT_MAX).collect();
        }
        let pid = pid.to_string();
        let is_in = |group: &PathBuf| {
            let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            processes.lines().any(|process| process == pid)
        };
        groups.into_iter().find(is_in)
    }

    /// The directories of the group and of those above it.
    fn upwards(&self, group: &Path) -> Vec<PathBuf> {
        let mut path = self.origin.clone();
        for part in parts(group) {
            match part {
                Component::ParentDir if path.parent().is_none() => return Vec::new(),
                Component::ParentDir => {
                    path.pop();
                }
                part => path.push(part),
            }
        }
        path.ancestors().map_while(|above| Some(self.mount_point.join(above.strip_prefix(&self.root).ok()?))).collect()
    }
}

/// Of a path from `/`.
fn parts(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|part| *part != Component::RootDir)
}

/// All of them.
#[derive(Debug)]
pub(super) struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    pub(super) fn mounted() -> Hierarchies {
        let own = Process::myself();
        let mounts = own.as_ref().ok().and_then(|own| own.mountinfo().ok()).map(|mounts| mounts.0).unwrap_or_default();
        let groups = own.ok().and_then(|own| own.cgroups().ok()).map(|groups| groups.0).unwrap_or_default();
        let (mut whole, mut others) = (Vec::<Hierarchy>::new(), Vec::new());
        for hierarchy in mounts.iter().filter_map(Hierarchy::of) {
            let group = groups.iter().find(|group| hierarchy.version.has(&group.controllers, group.hierarchy));
            match group.and_then(|group| hierarchy.clone().whole(Path::new(&group.pathname))) {
                Some(from_root) => whole.push(from_root),
                None => others.push(hierarchy),
            }
        }
        // What is mounted from its root needs no part of it.
        others.retain(|part| whole.iter().all(|whole| whole.device != part.device));
        whole.append(&mut others);
        Hierarchies(whole)
    }

    /// Whether the groups of all processes are below what is mounted, though they are seen from within a namespace.
    pub(super) fn are_whole(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|hierarchy| hierarchy.origin != Path::new("/"))
    }

    /// The directories of a process's groups; none if it has ended.
    pub(super) fn groups_of(&self, process: Tgid) -> Vec<(Version, PathBuf)> {
        let process = i32::try_from(process.0).ok().and_then(|pid| Process::new(pid).ok());
        let Some(groups) = process.and_then(|process| process.cgroups().ok()) else { return Vec::new() };
        let mut directories = Vec::new();
        for hierarchy in &self.0 {
            let group = groups.0.iter().find(|group| hierarchy.version.has(&group.controllers, group.hierarchy));
            let above = group.into_iter().flat_map(|group| hierarchy.upwards(Path::new(&group.pathname)));
            directories.extend(above.map(|directory| (hierarchy.version, directory)));
        }
        directories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(root: &str, origin: &str, group: &str) -> Vec<String> {
        let (device, mount_point) = ("0:38".into(), "/sys/fs/cgroup".into());
        let hierarchy = Hierarchy { version: Version::Two, device, mount_point, root: root.into(), origin: origin.into() };
        hierarchy.upwards(Path::new(group)).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_group_is_found_where_its_hierarchy_is_mounted_with_all_above_it() {
        assert_eq!(directories("/", "/", "/a/b"), ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"]);
        // A container without a namespace of its own for cgroups sees its own group as the mount's first.
        assert_eq!(directories("/docker/x", "/", "/docker/x/y"), ["/sys/fs/cgroup/y", "/sys/fs/cgroup/"]);
        // A group elsewhere is not mounted here.
        assert!(directories("/docker/x", "/", "/docker/z").is_empty());
        assert!(directories("/", "/", "/../z").is_empty());
    }

    #[test]
    fn a_group_that_is_seen_from_within_a_namespace_is_found_from_the_root() {
        assert_eq!(directories("/", "/pods/own", "/../web/app")[0], "/sys/fs/cgroup/pods/web/app");
        assert_eq!(directories("/", "/pods/own", "/../.."), ["/sys/fs/cgroup/"]);
        assert_eq!(directories("/", "/pods/own", "/x")[..2], ["/sys/fs/cgroup/pods/own/x", "/sys/fs/cgroup/pods/own"]);
        assert!(directories("/", "/pods/own", "/../../..").is_empty());
    }

    /// Directories laid out as the kernel's.
    #[test]
    fn our_own_group_is_found_among_the_hosts() {
        let root = tempfile::tempdir().unwrap();
        for (group, processes) in [("pods/own/init", std::process::id().to_string()), ("pods/web/init", "1".into())] {
            fs::create_dir_all(root.path().join(group)).unwrap();
            fs::write(root.path().join(group).join("cgroup.procs"), format!("1{processes}\n{processes}\n")).unwrap();
        }
        let seen_as = |shown: &str, own: &str| {
            let (device, mount_point) = ("0:38".into(), root.path().to_owned());
            let hierarchy = Hierarchy { version: Version::Two, device, mount_point, root: shown.into(), origin: "/".into() };
            hierarchy.whole(Path::new(own)).map(|found| found.origin)
        };
        assert_eq!(seen_as("/../..", "/init"), Some("/pods/own".into()));
        assert_eq!(seen_as("/../../..", "/"), Some("/pods/own/init".into()));
        // Without a namespace, in part of the hierarchy, and where somebody else is.
        assert_eq!(
            [seen_as("/", "/pods/own/init"), seen_as("/../other", "/"), seen_as("/..", "/init"), seen_as("/../..", "/x")],
            [const { None }; 4]
        );
    }
}
