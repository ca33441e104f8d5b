//! Processes by what people call them: the name of a program, a systemd unit or a container.

use super::cgroup::{AFTER_RUNTIME, Place};
use super::identity::{Identity, SEPARATOR};

/// Bytes of a thread's name that the kernel keeps.
const COMM_BYTES: usize = 15;
/// Digits of an id by which a container is known: as many as its runtime and our names show.
const LEAST_DIGITS: usize = 12;
/// Kinds of units whose names have an ending of their own; what has none is a service, as for systemctl.
const UNITS: [&str; 2] = [".service", ".scope"];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A program, by the name or path of its executable or the name of its main thread.
    Program(String),
    /// A service or scope of systemd; that of a user's own has `user-N/` in front.
    Unit(String),
    /// A container, by its name or at least twelve digits of its id, with or without its runtime in front; a pod, with or without its
    /// namespace.
    Container(String),
}

impl Asked {
    /// By what a command line calls it.
    pub(crate) fn unit(name: &str) -> Asked {
        let is_whole = UNITS.iter().any(|ending| name.ends_with(ending));
        Asked::Unit(if is_whole { name.to_owned() } else { format!("{name}{}", UNITS[0]) })
    }

    /// Whether a process is meant.
    pub(crate) fn means(&self, process: &Identity) -> bool {
        match self {
            Asked::Program(name) => runs(process, name),
            Asked::Unit(name) => Place::of(&process.cgroup).unit().as_ref() == Some(name),
            Asked::Container(name) => is_in(process, name),
        }
    }
}

/// What the container of a process is called; `None` if it is in none.
pub(crate) fn container_of(process: &Identity) -> Option<String> {
    let place = Place::of(&process.cgroup);
    let (name, _) = place.name(process.container.as_ref())?;
    place.container_ids().next().map(|_| name)
}

fn runs(process: &Identity, name: &str) -> bool {
    let comm = &name.as_bytes()[..name.len().min(COMM_BYTES)];
    process.exe.as_deref() == Some(name) || process.executable() == name || process.comm.as_bytes() == comm
}

fn is_in(process: &Identity, name: &str) -> bool {
    let called = container_of(process).is_some_and(|container| is_called(&container, name));
    let digits = name.rsplit(AFTER_RUNTIME).next().unwrap_or(name);
    let has_id = || Place::of(&process.cgroup).container_ids().any(|id| id.starts_with(digits));
    called || (digits.len() >= LEAST_DIGITS && has_id())
}

/// Whether a container with this name is called so for short.
fn is_called(container: &str, name: &str) -> bool {
    let Some((runtime, own)) = container.split_once(AFTER_RUNTIME) else { return container == name };
    let name_alone = name.strip_prefix(runtime).and_then(|rest| rest.strip_prefix(AFTER_RUNTIME)).unwrap_or(name);
    let mut parts = own.split(SEPARATOR);
    let first = parts.next().unwrap_or_default();
    let short = if runtime == "k8s" {
        // What follows is the container of the pod.
        let pod = parts.next().unwrap_or_default();
        name_alone == pod || name_alone == format!("{first}{SEPARATOR}{pod}")
    } else {
        name_alone == first
    };
    short || own == name_alone || container == name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::identity::HostContainer;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_program_is_known_by_its_file_and_by_its_thread() {
        let python = Identity { comm: "worker 3".into(), exe: Some("/usr/bin/python3.11".into()), ..Identity::default() };
        for (name, expected) in [
            ("python3.11", true),
            ("/usr/bin/python3.11", true),
            ("worker 3", true),
            ("python3", false),
            ("worker", false),
            ("bin/python3.11", false),
            ("", false),
        ] {
            assert_eq!(Asked::Program(name.into()).means(&python), expected, "{name}");
        }
        // The kernel keeps fifteen bytes; its own threads have no file.
        let cut = |comm: &str| Identity { comm: comm.into(), ..Identity::default() };
        assert!(Asked::Program("kcompactd-of-node".into()).means(&cut("kcompactd-of-no")));
        assert!(!Asked::Program("kcompactd-of-no".into()).means(&cut("kcompactd-of-node")));
    }

    #[test]
    fn a_unit_is_a_service_unless_it_says_what_else() {
        for (name, cgroup, expected) in [
            ("nginx", "/system.slice/nginx.service", true),
            ("nginx.service", "/system.slice/nginx.service/worker", true),
            ("nginx", "/system.slice/nginx.scope", false),
            ("vm.scope", "/machine.slice/vm.scope", true),
            ("user-7/app", "/user.slice/user-7.slice/user@7.service/app.service", true),
            ("app", "/user.slice/user-7.slice/user@7.service/app.service", false),
            ("getty@tty1", "/system.slice/system-getty.slice/getty@tty1.service", true),
            ("nginx", "/", false),
            ("", "/", false),
        ] {
            let process = Identity { cgroup: cgroup.into(), ..Identity::default() };
            assert_eq!(Asked::unit(name).means(&process), expected, "{name} in {cgroup}");
        }
    }

    #[test]
    fn a_container_is_known_by_its_name_and_by_its_id() {
        let docker = format!("/docker/{ID}");
        let pod = format!("/kubepods/burstable/pod1/{ID}");
        let of_user = format!("/user.slice/user-7.slice/user@7.service/user.slice/libpod-{ID}.scope/x");
        for (name, cgroup, known_as, expected) in [
            ("web", &docker, Some("docker:web"), true),
            ("docker:web", &docker, Some("docker:web"), true),
            ("podman:web", &docker, Some("docker:web"), false),
            ("we", &docker, Some("docker:web"), false),
            (&ID[..12], &docker, Some("docker:web"), true),
            (&ID[..12], &docker, None, true),
            (ID, &docker, None, true),
            ("docker:0123456789ab", &docker, None, true),
            (&ID[..11], &docker, None, false),
            ("123456789abc", &docker, None, false),
            ("shop-1", &pod, Some("k8s:prod/shop-1/app"), true),
            ("prod/shop-1", &pod, Some("k8s:prod/shop-1/app"), true),
            ("prod/shop-1/app", &pod, Some("k8s:prod/shop-1/app"), true),
            ("k8s:prod/shop-1/app", &pod, Some("k8s:prod/shop-1/app"), true),
            ("k8s:prod/shop-1", &pod, Some("k8s:prod/shop-1/app"), true),
            // All of a namespace, or whatever is called `app` somewhere, is not one container.
            ("prod", &pod, Some("k8s:prod/shop-1/app"), false),
            ("app", &pod, Some("k8s:prod/shop-1/app"), false),
            ("user-7/podman:0123456789ab", &of_user, None, true),
            ("0123456789ab", &of_user, None, true),
            ("web", &"/lxc.payload.web/system.slice/nginx.service".to_owned(), None, true),
            ("web", &"/lxc.payload.web/lxc.payload.db".to_owned(), None, true),
            ("nginx.service", &"/system.slice/nginx.service".to_owned(), None, false),
            ("", &"/".to_owned(), None, false),
        ] {
            let container = known_as.map(|name| HostContainer { name: name.to_owned(), image: None });
            let process = Identity { cgroup: cgroup.clone(), container, ..Identity::default() };
            assert_eq!(Asked::Container(name.to_owned()).means(&process), expected, "{name} in {cgroup}");
        }
    }
}
