//! Unit and container from the path of a cgroup, as systemd and the container runtimes lay them out.

/// Hexadecimal digits of a container id that a name keeps; docker prints as many.
const ID_DIGITS: usize = 12;

/// Prefix of the id, and the name of the runtime that writes it.
const RUNTIMES: [(&str, &str); 5] =
    [("docker-", "docker"), ("libpod-", "podman"), ("cri-containerd-", "containerd"), ("crio-", "cri-o"), ("lxc.payload.", "lxc")];

/// The innermost systemd service or scope, except login sessions and systemd's own scope, which can hold anything.
pub(crate) fn unit(path: &str) -> Option<&str> {
    path.rsplit('/').find(|part| {
        let is_service = part.strip_suffix(".service").is_some_and(|name| !name.starts_with("user@"));
        let is_scope = part.strip_suffix(".scope").is_some_and(|name| name != "init" && !name.starts_with("session-"));
        (is_service || is_scope) && part.len() > ".service".len()
    })
}

/// The innermost container, as `runtime:id`.
pub(crate) fn container(path: &str) -> Option<String> {
    let mut parts = path.rsplit('/').peekable();
    while let Some(part) = parts.next() {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        for (prefix, runtime) in RUNTIMES {
            let Some(id) = part.strip_prefix(prefix) else { continue };
            if runtime == "lxc" && !id.is_empty() {
                return Some(format!("lxc:{id}"));
            }
            if let Some(id) = short_id(id) {
                return Some(format!("{runtime}:{id}"));
            }
        }
        // With the cgroupfs driver the id stands alone under a directory of the runtime's choice.
        if let Some(id) = short_id(part) {
            let parent = parts.peek().copied().unwrap_or_default();
            let runtime = if matches!(parent, "docker" | "libpod_parent" | "podman") { parent } else { "container" };
            return Some(format!("{runtime}:{id}"));
        }
    }
    None
}

/// The start of a full container id; `None` for anything else.
fn short_id(id: &str) -> Option<&str> {
    (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| &id[..ID_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn units() {
        for (path, expected) in [
            ("/system.slice/ssh.service", Some("ssh.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/user.slice/user-0.slice/user@0.service/app.slice/app-x.scope", Some("app-x.scope")),
            ("/user.slice/user-0.slice/user@0.service/init.scope", None),
            ("/user.slice/user-1000.slice/session-12.scope", None),
            ("/init.scope", None),
            ("/system.slice/db.service/worker-1", Some("db.service")),
            ("/.service", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(unit(path), expected, "{path}");
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
            ("/system.slice/docker-compose.service".to_owned(), None),
            ("/system.slice/docker.service".to_owned(), None),
        ] {
            assert_eq!(container(&path).as_deref(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_survived(path in any::<String>(), parts in prop::collection::vec("(docker-|/|[0-9a-f]{64}|\\.scope|é)", 0..8)) {
            let _ = (unit(&path), container(&path));
            let path = parts.concat();
            let _ = (unit(&path), container(&path));
        }
    }
}
