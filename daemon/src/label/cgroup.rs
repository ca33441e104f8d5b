//! Unit and container from the path of a cgroup, as systemd and the container runtimes lay them out.

use super::identity::{HostContainer, NameSource, SEPARATOR};

/// Hexadecimal digits of a container id that a name keeps; docker prints as many.
const ID_DIGITS: usize = 12;

/// Prefix of the id, and the name of the runtime that writes it.
const RUNTIMES: [(&str, &str); 5] =
    [("docker-", "docker"), ("libpod-", "podman"), ("cri-containerd-", "containerd"), ("crio-", "cri-o"), ("lxc.payload.", LXC)];
/// Its containers have names for ids.
const LXC: &str = "lxc";
/// What the groups of Kubernetes' pods are in is called so, with more around it.
const PODS: &str = "kubepods";

/// Between the runtime and the id in the name of a container.
pub(super) const AFTER_RUNTIME: char = ':';
/// In front of the number of the user who has made a unit or container.
pub(super) const USER: &str = "user-";

/// A container of the host, by its full id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) runtime: &'static str,
    pub(super) id: String,
    /// It is in a directory for pods of Kubernetes.
    pub(super) is_of_pod: bool,
    /// UID of the pod, if that is in the path.
    pub(super) pod_uid: Option<String>,
}

/// What a cgroup says of a process. The part of a path that root has made comes first, and says whose the rest is: below a service or a
/// container anybody may be allowed to make cgroups and to call them as he likes, and below `user@N.service` user N is.
pub(super) struct Place<'a> {
    path: Vec<&'a str>,
    /// Number of the user, if his own manager runs the process.
    user: Option<&'a str>,
    whole: &'a str,
}

impl Place<'_> {
    pub(super) fn of(whole: &str) -> Place<'_> {
        // Cgroups outside of the namespace that this one is seen from are `..`.
        let mut parts = whole
            .split('/')
            .filter(|part| !part.is_empty())
            .skip_while(|part| *part == ".." || part.strip_suffix(".slice").is_some());
        let first = parts.next();
        let user = first.and_then(|part| part.strip_prefix("user@")?.strip_suffix(".service"));
        let path = if user.is_some() { parts.collect() } else { first.into_iter().chain(parts).collect() };
        Place { path, user, whole }
    }

    /// The systemd service or scope, except login sessions and systemd's own scope, which can hold anything. That of a user has his number
    /// in front.
    pub(super) fn unit(&self) -> Option<String> {
        match self.user {
            Some(user) => self.path.iter().rfind(|part| is_unit(part)).map(|unit| of_user(user, unit)),
            None => self.path.first().filter(|part| is_unit(part)).map(|unit| (*unit).to_owned()),
        }
    }

    /// The container whose cgroup root has made, if it has an id.
    pub(super) fn host_container(&self) -> Option<Container> {
        let at = (0..self.path.len()).find(|at| self.container(*at).is_some())?;
        let is_in_unit = at > 0 && self.unit().is_some();
        if self.user.is_some() || is_in_unit {
            return None;
        }
        let (runtime, id) = self.container(at)?;
        let around = || self.whole.split('/').take_while(|part| !part.contains(id));
        // What is in front of a path that is seen from within a container may have been theirs.
        let is_of_pod = self.whole.starts_with("/..") || around().any(|part| part.contains(PODS));
        let pod_uid = around().filter(|_| is_of_pod).find_map(pod_uid);
        is_id(id).then(|| Container { runtime, id: id.to_owned(), is_of_pod, pod_uid })
    }

    /// Full ids of the containers that the process is in, with LXC their names; the outermost first.
    pub(super) fn container_ids(&self) -> impl Iterator<Item = &str> {
        (0..self.path.len()).filter_map(|at| self.container(at)).map(|(_, id)| id)
    }

    fn container(&self, at: usize) -> Option<(&'static str, &str)> {
        container(self.path[at], at.checked_sub(1).map_or("", |parent| self.path[parent]))
    }

    /// What a process is called that no rule names, unless it is after its executable. `known` is what the host knows of its container.
    pub(super) fn name(&self, known: Option<&HostContainer>) -> Option<(String, NameSource)> {
        let container = |at: usize| {
            let (runtime, id) = self.container(at)?;
            let shown = if is_id(id) && runtime != LXC { &id[..ID_DIGITS] } else { id };
            Some(format!("{runtime}{AFTER_RUNTIME}{shown}"))
        };
        let innermost = (0..self.path.len()).rev().find_map(container);
        if let Some(user) = self.user {
            let name = innermost.map(|name| of_user(user, &name)).or_else(|| self.unit())?;
            return Some((name, NameSource::User));
        }
        let (outermost, source) = match (self.unit(), (0..self.path.len()).find_map(container)) {
            // The scope of a container is a unit too.
            (Some(unit), _) if container(0).is_none() => (unit, NameSource::Unit),
            (_, Some(container)) => (container, NameSource::Container),
            (unit, None) => (unit?, NameSource::Unit),
        };
        let shown = known.filter(|_| source == NameSource::Container).map_or(&outermost, |known| &known.name);
        let name = match innermost {
            Some(inner) if inner != outermost => format!("{shown}{SEPARATOR}{inner}"),
            _ => shown.clone(),
        };
        Some((name, source))
    }
}

fn of_user(user: &str, name: &str) -> String {
    format!("{USER}{user}{SEPARATOR}{name}")
}

pub(super) fn is_unit(name: &str) -> bool {
    let is_service = name.strip_suffix(".service").is_some_and(|name| !name.is_empty() && !name.starts_with("user@"));
    let is_scope = name.strip_suffix(".scope").is_some_and(|name| !matches!(name, "" | "init") && !name.starts_with("session-"));
    is_service || is_scope
}

/// The container of a cgroup: its runtime, and its full id or with LXC its name.
fn container<'a>(cgroup: &'a str, parent: &str) -> Option<(&'static str, &'a str)> {
    let cgroup = cgroup.strip_suffix(".scope").unwrap_or(cgroup);
    for (prefix, runtime) in RUNTIMES {
        let Some(id) = cgroup.strip_prefix(prefix) else { continue };
        let is_name = runtime == LXC && !id.is_empty();
        if is_name || is_id(id) {
            return Some((runtime, id));
        }
    }
    // With the cgroupfs driver the id stands alone under a directory of the runtime's choice.
    let runtime = ["docker", "libpod_parent", "podman"].into_iter().find(|runtime| *runtime == parent).unwrap_or("container");
    is_id(cgroup).then_some((runtime, cgroup))
}

/// The UID in the name of a pod's group, `podUID`. Under systemd that is `kubepods-burstable-podUID.slice`, with `_` for each `-`.
fn pod_uid(group: &str) -> Option<String> {
    let (_, uid) = group.rsplit_once("pod")?;
    let uid = uid.strip_suffix(".slice").unwrap_or(uid).replace('_', "-");
    is_uid(&uid).then_some(uid)
}

/// Whether it is a UUID or, as pods have that the kubelet reads from files, a hash of as many digits.
fn is_uid(uid: &str) -> bool {
    let mut digits = uid.bytes().filter(|b| *b != b'-');
    let has_all = digits.by_ref().take(32).filter(u8::is_ascii_hexdigit).count() == 32;
    has_all && digits.next().is_none() && uid.len() <= 36
}

/// Whether it is a full container id.
fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn unit(path: &str) -> Option<String> {
        Place::of(path).unit()
    }

    fn name(path: &str) -> Option<String> {
        Place::of(path).name(None).map(|(name, _)| name)
    }

    #[test]
    fn units() {
        for (path, expected) in [
            ("/system.slice/ssh.service", Some("ssh.service")),
            ("/../../system.slice/ssh.service", Some("ssh.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/user.slice/user-0.slice/user@0.service/app.slice/app-x.scope", Some("user-0/app-x.scope")),
            ("/user.slice/user-0.slice/user@0.service/init.scope", None),
            ("/user.slice/user-1000.slice/session-12.scope", None),
            ("/init.scope", None),
            ("/system.slice/db.service/worker-1", Some("db.service")),
            // Whoever the service belongs to calls these as he likes.
            ("/system.slice/db.service/ssh.service", Some("db.service")),
            ("/user.slice/user-7.slice/user@7.service/system.slice/ssh.service", Some("user-7/ssh.service")),
            ("/user.slice/user-7.slice/user@7.service/user@0.service", None),
            ("/builds/ssh.service", None),
            ("/.service", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(unit(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn containers() {
        for (path, expected) in [
            (format!("/system.slice/docker-{ID}.scope"), Some("docker:0123456789ab")),
            (format!("/docker/{ID}"), Some("docker:0123456789ab")),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Some("podman:0123456789ab")),
            (format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"), Some("containerd:0123456789ab")),
            (format!("/kubepods/burstable/pod1/{ID}"), Some("container:0123456789ab")),
            ("/lxc.payload.web/system.slice/nginx.service".to_owned(), Some("lxc:web")),
            ("/lxc.payload.web/lxc.payload.db".to_owned(), Some("lxc:web/lxc:db")),
            (format!("/docker/{ID}/lxc.payload.a/lxc.payload.b/x"), Some("docker:0123456789ab/lxc:b")),
            (format!("/system.slice/ci.service/docker/{ID}"), Some("ci.service/docker:0123456789ab")),
            (format!("/user.slice/user-7.slice/user@7.service/user.slice/libpod-{ID}.scope/x"), Some("user-7/podman:0123456789ab")),
            ("/system.slice/docker-compose.service".to_owned(), Some("docker-compose.service")),
            ("/system.slice/docker.service".to_owned(), Some("docker.service")),
            ("/docker".to_owned(), None),
        ] {
            assert_eq!(name(&path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn pods() {
        let uid = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
        let under_systemd = uid.replace('-', "_");
        let hash = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
        for (path, expected) in [
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under_systemd}.slice/cri-containerd-{ID}.scope"
                ),
                Some(uid),
            ),
            (format!("/kubepods.slice/kubepods-pod{under_systemd}.slice/crio-{ID}.scope/container"), Some(uid)),
            (
                format!("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{under_systemd}.slice/docker-{ID}.scope"),
                Some(uid),
            ),
            (format!("/kubepods/besteffort/pod{uid}/{ID}"), Some(uid)),
            (format!("/kubepods/pod{hash}/{ID}"), Some(hash)),
            // Seen from within another pod, and from within another container of the same one.
            (format!("/../../kubepods-pod{under_systemd}.slice/cri-containerd-{ID}.scope"), Some(uid)),
            (format!("/../cri-containerd-{ID}.scope"), None),
            // What is in the container may be called anything.
            (format!("/kubepods/pod{uid}/{ID}/pod{hash}/docker/{ID}"), Some(uid)),
            (format!("/docker/{ID}/kubepods/pod{uid}/{ID}"), None),
            (format!("/pod{uid}/{ID}"), None),
            (format!("/kubepods/pod1/{ID}"), None),
            (format!("/kubepods/pod{uid}-1/{ID}"), None),
            (format!("/kubepods/pod{hash}0/{ID}"), None),
            (format!("/kubepods/pod{}g/{ID}", &hash[1..]), None),
        ] {
            let container = Place::of(&path).host_container().unwrap();
            assert_eq!(container.pod_uid.as_deref(), expected, "{path}");
        }
        let in_unit = format!("/system.slice/ci.service/kubepods/pod{uid}/{ID}");
        assert_eq!(Place::of(&in_unit).host_container(), None);
    }

    proptest! {
        #[test]
        fn any_path_is_survived(path in any::<String>(), parts in prop::collection::vec("(docker-|/|[0-9a-f]{64}|\\.scope|é)", 0..8)) {
            let _ = (unit(&path), name(&path));
            let path = parts.concat();
            let _ = (unit(&path), name(&path));
        }

        #[test]
        fn below_the_manager_of_a_user_all_is_the_users(path in "(/|\\.\\.|[a-z]{1,3}|user@0|docker-[0-9a-f]{64}|lxc.payload.x|\\.(slice|service|scope)){0,12}") {
            for path in [unit(&format!("/user.slice/user@7.service/{path}")), name(&format!("/user.slice/user@7.service/{path}"))] {
                prop_assert!(path.as_deref().is_none_or(|name| name.starts_with("user-7/")), "{path:?}");
            }
        }

        #[test]
        fn below_a_service_or_container_all_bears_its_name(path in "(/|[a-z]{1,3}|docker-[0-9a-f]{64}|lxc.payload.x|\\.(slice|service|scope)){0,12}") {
            for (root, expected) in [("/system.slice/db.service", "db.service"), ("/lxc.payload.web", "lxc:web")] {
                let name = name(&format!("{root}/{path}")).unwrap();
                prop_assert!(name == expected || name.starts_with(&format!("{expected}/")), "{name}");
            }
        }
    }
}
