//! What the host calls its containers, and their images: from the files that Docker, Podman, CRI-O and Kubernetes keep, without asking any
//! of them.
//!
//! A container is looked for when a process of it is met first. One that is not found is looked for again for a while, since Kubernetes
//! writes a name down once the container runs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::cgroup::{AFTER_RUNTIME, Container, Place};
use super::identity::{HostContainer, SEPARATOR};
use crate::files::read_file;

/// Where Docker keeps a directory for each container, by its id.
const DOCKER: &str = "var/lib/docker/containers";
/// Where Podman and CRI-O keep their lists, by the storage driver; the last one is that of containers that a reboot forgets
/// (`transient_store` in storage.conf).
const STORAGE: [&str; 3] = [
    "var/lib/containers/storage/overlay-containers",
    "var/lib/containers/storage/vfs-containers",
    "run/containers/storage/overlay-containers",
];
/// Podman notes in the second one what it removes at the end: `podman run --rm`, and containers of systemd units.
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];
/// Where Kubernetes keeps a link for each container, as `POD_NAMESPACE_CONTAINER-ID.log`.
const KUBERNETES: &str = "var/log/containers";
/// Entries of that directory that are read. A node has a few hundred.
const LINKS_MAX: usize = 16_384;
/// Containers remembered. One more, and all are looked for again.
const KNOWN_MAX: usize = 4096;
/// Shortest pause before a container is looked for again; each is as long as it was looked for before.
const MIN_PAUSE_NS: u64 = 200_000_000;
/// After this time it is not looked for any more.
const GIVE_UP_NS: u64 = 600_000_000_000;
/// Containers looked for again in one scan.
const AGAIN_MAX: usize = 4;

/// What is known of the host's containers.
#[derive(Debug)]
pub(crate) struct Containers {
    /// The host's root directory.
    root: PathBuf,
    /// By id.
    known: HashMap<String, Known>,
}

#[derive(Debug)]
enum Known {
    Found(HostContainer),
    /// It was not found yet.
    Sought {
        container: Container,
        since_ns: u64,
        due_ns: u64,
    },
}

impl Containers {
    pub(crate) fn of_host(root: PathBuf) -> Containers {
        Containers { root, known: HashMap::new() }
    }

    /// The container of a cgroup; `None` if it is unknown, or nobody but the owner of a unit or of another container says that it is one.
    pub(crate) fn look_up(&mut self, cgroup: &str, now_ns: u64) -> Option<HostContainer> {
        let container = Place::of(cgroup).host_container()?;
        match self.known.get(&container.id) {
            Some(Known::Found(found)) => return Some(found.clone()),
            Some(Known::Sought { .. }) => return None,
            None => {}
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let found = self.find(&container);
        let id = container.id.clone();
        let known = match found.clone() {
            Some(found) => Known::Found(found),
            None => Known::Sought { container, since_ns: now_ns, due_ns: now_ns.saturating_add(MIN_PAUSE_NS) },
        };
        self.known.insert(id, known);
        found
    }

    /// Looks again for some of those that were not found. Whether one of them is known now.
    pub(crate) fn look_again(&mut self, now_ns: u64) -> bool {
        let is_due = |known: &&Known| matches!(known, Known::Sought { due_ns, .. } if *due_ns <= now_ns);
        let due = self.known.values().filter(is_due).filter_map(|known| match known {
            Known::Sought { container, .. } => Some(container.clone()),
            Known::Found(_) => None,
        });
        let due: Vec<Container> = due.take(AGAIN_MAX).collect();
        let mut is_one_found = false;
        for container in due {
            let found = self.find(&container);
            is_one_found |= found.is_some();
            let Some(known) = self.known.get_mut(&container.id) else { continue };
            match (found, known) {
                (Some(found), known) => *known = Known::Found(found),
                (None, Known::Sought { since_ns, due_ns, .. }) => {
                    let age_ns = now_ns.saturating_sub(*since_ns);
                    *due_ns = if age_ns < GIVE_UP_NS { now_ns + age_ns.max(MIN_PAUSE_NS) } else { u64::MAX };
                }
                (None, Known::Found(_)) => {}
            }
        }
        is_one_found
    }

    fn find(&self, container: &Container) -> Option<HostContainer> {
        let of_runtime = self.of_runtime(container);
        let Some(name) = container.is_of_pod.then(|| self.of_kubernetes(&container.id)).flatten() else { return of_runtime };
        Some(HostContainer { name, image: of_runtime.and_then(|container| container.image) })
    }

    fn of_runtime(&self, Container { runtime, id, .. }: &Container) -> Option<HostContainer> {
        match *runtime {
            "docker" => of_docker(&read_file(&self.root.join(DOCKER).join(id).join("config.v2.json")).ok()?),
            "podman" | "libpod_parent" | "cri-o" => {
                let lists = STORAGE.iter().flat_map(|storage| LISTS.map(|list| self.root.join(storage).join(list)));
                lists.into_iter().find_map(|list| of_storage(&read_file(&list).ok()?, id))
            }
            _ => None,
        }
    }

    fn of_kubernetes(&self, id: &str) -> Option<String> {
        let links = fs::read_dir(self.root.join(KUBERNETES)).ok()?;
        links.take(LINKS_MAX).flatten().find_map(|link| of_link(Path::new(&link.file_name()).file_stem()?.to_str()?, id))
    }
}

/// The container of a `config.v2.json` of Docker's.
fn of_docker(file: &[u8]) -> Option<HostContainer> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Container {
        name: String,
        config: Option<Config>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        image: Option<String>,
    }
    let Container { name, config } = serde_json::from_slice(file).ok()?;
    let name = named("docker", name.strip_prefix('/').unwrap_or(&name))?;
    Some(HostContainer { name, image: config.and_then(|config| config.image) })
}

/// A container of one of the lists.
fn of_storage(file: &[u8], id: &str) -> Option<HostContainer> {
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        #[serde(default)]
        names: Vec<String>,
        /// JSON of its own, which Podman and CRI-O write alike.
        metadata: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Metadata {
        image_name: Option<String>,
    }
    let entries: Vec<Entry> = serde_json::from_slice(file).ok()?;
    let Entry { names, metadata, .. } = entries.into_iter().find(|entry| entry.id == id)?;
    let metadata = metadata.and_then(|text| serde_json::from_str(&text).ok());
    // Those of CRI-O are Kubernetes'.
    let name = named("podman", names.first()?)?;
    Some(HostContainer { name, image: metadata.and_then(|Metadata { image_name }| image_name) })
}

/// The name in that of a link, without its ending.
fn of_link(link: &str, id: &str) -> Option<String> {
    let mut parts = link.strip_suffix(id)?.strip_suffix('-')?.split('_');
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() { None } else { of_pod(namespace, pod, container) }
}

/// What a runtime calls a container, and if that was Kubernetes' choice, what Kubernetes does.
fn named(runtime: &str, name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('_').collect();
    if let ["k8s", container, pod, namespace, _uid, _attempt] = parts[..] {
        return of_pod(namespace, pod, container);
    }
    is_part(name).then(|| format!("{runtime}{AFTER_RUNTIME}{name}"))
}

fn of_pod(namespace: &str, pod: &str, container: &str) -> Option<String> {
    let is_name = [namespace, pod, container].into_iter().all(is_part);
    is_name.then(|| format!("k8s{AFTER_RUNTIME}{namespace}{SEPARATOR}{pod}{SEPARATOR}{container}"))
}

/// Whether it can be told where the name ends that it is part of.
fn is_part(name: &str) -> bool {
    !name.is_empty() && !name.contains([SEPARATOR, AFTER_RUNTIME])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER_ID: &str = "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    /// Of a container that is removed when it ends.
    const REMOVED_ID: &str = "a123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    /// Of one that a reboot forgets.
    const FORGOTTEN_ID: &str = "b123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// A root directory with these files.
    fn host(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn containers(root: &TempDir) -> Containers {
        Containers::of_host(root.path().to_owned())
    }

    fn name(containers: &mut Containers, cgroup: &str, now_ns: u64) -> Option<String> {
        containers.look_up(cgroup, now_ns).map(|container| container.name)
    }

    /// As Docker 24 writes it, but for what it says of networks, mounts and the environment.
    fn of_docker_24(name: &str, image: &str) -> String {
        format!(
            r#"{{"StreamConfig":{{}},"State":{{"Running":true,"Pid":4711,"ExitCode":0,"Health":null}},"ID":"{ID}","Path":"/docker-entrypoint.sh",
            "Args":["nginx"],"Config":{{"Hostname":"0123456789ab","User":"","ExposedPorts":{{"80/tcp":{{}}}},"Cmd":["nginx"],"Image":"{image}",
            "Volumes":null,"Labels":{{"maintainer":"NGINX \u003cdocker@nginx.com\u003e"}}}},"Image":"sha256:{OTHER_ID}","Name":"/{name}",
            "Driver":"overlay2","MountPoints":{{}},"RestartCount":0}}"#
        )
    }

    /// As Podman 4 and CRI-O 1.28 write it.
    fn of_podman_and_crio(id: &str, id_of_crio: &str) -> String {
        format!(
            r#"[{{"id":"1"}},
            {{"id":"{id}","names":["db","x"],"image":"d7af","layer":"206e",
            "metadata":"{{\"image-name\":\"docker.io/library/postgres:16\",\"image-id\":\"d7af\",\"name\":\"db\",\"created-at\":1711009710}}",
            "created":"2024-03-21T08:28:30.380877163Z","flags":{{"MountLabel":"","ProcessLabel":""}}}},
            {{"id":"{id_of_crio}","names":["k8s_a_p_n_u_1"],"image":"56cc","layer":"9a9a",
            "metadata":"{{\"pod-name\":\"k8s_p_n_u_0\",\"pod-id\":\"7f8e\",\"image-name\":\"quay.io/shop/app@sha256:{ID}\",\"image-id\":\"56cc\",\"name\":\"k8s_a_p_n_u_1\",\"metadata-name\":\"a\",\"attempt\":1,\"created-at\":1593500000}}",
            "created":"2020-06-30T06:53:20.1Z","flags":{{}}}}]"#
        )
    }

    #[test]
    fn each_runtime_says_what_it_calls_its_containers() {
        let root = host(&[
            (&format!("{DOCKER}/{ID}/config.v2.json"), &of_docker_24("web", "nginx:1.27")),
            (&format!("{DOCKER}/{OTHER_ID}/config.v2.json"), &of_docker_24("k8s_app_shop-1_prod_77-88_0", "sha256:77")),
            (&format!("{}/containers.json", STORAGE[0]), &of_podman_and_crio(ID, OTHER_ID)),
            (&format!("{}/volatile-containers.json", STORAGE[0]), &of_podman_and_crio(REMOVED_ID, "2")),
            (&format!("{}/volatile-containers.json", STORAGE[2]), &of_podman_and_crio(FORGOTTEN_ID, "3")),
        ]);
        fs::create_dir_all(root.path().join(KUBERNETES)).unwrap();
        for link in [format!("shop-1_prod_side.car-{OTHER_ID}.log"), format!("web-7f_default_app-{ID}.log"), "x.log".to_owned()] {
            // They lead nowhere where the daemon does not see what they lead to.
            symlink("/var/log/pods/nowhere", root.path().join(KUBERNETES).join(link)).unwrap();
        }
        let (postgres, app) = ("docker.io/library/postgres:16", &*format!("quay.io/shop/app@sha256:{ID}"));
        for (cgroup, expected) in [
            (format!("/system.slice/docker-{ID}.scope"), Some(("docker:web", Some("nginx:1.27")))),
            (format!("/docker/{ID}/lxc.payload.x"), Some(("docker:web", Some("nginx:1.27")))),
            (format!("/system.slice/docker-{OTHER_ID}.scope"), Some(("k8s:prod/shop-1/app", Some("sha256:77")))),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Some(("podman:db", Some(postgres)))),
            (format!("/libpod_parent/{ID}"), Some(("podman:db", Some(postgres)))),
            (format!("/machine.slice/libpod-{REMOVED_ID}.scope"), Some(("podman:db", Some(postgres)))),
            (format!("/machine.slice/libpod-{FORGOTTEN_ID}.scope"), Some(("podman:db", Some(postgres)))),
            (format!("/system.slice/crio-{OTHER_ID}.scope"), Some(("k8s:n/p/a", Some(app)))),
            // Kubernetes' name, and the image of who runs it.
            (format!("/kubelet.slice/kubelet-kubepods.slice/crio-{OTHER_ID}.scope"), Some(("k8s:prod/shop-1/side.car", Some(app)))),
            (
                format!("/kubepods.slice/kubepods-pod1.slice/docker-{ID}.scope"),
                Some(("k8s:default/web-7f/app", Some("nginx:1.27"))),
            ),
            // containerd keeps no file that says it.
            (format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"), Some(("k8s:default/web-7f/app", None))),
            (format!("/kubepods/burstable/pod1/{ID}"), Some(("k8s:default/web-7f/app", None))),
            (format!("/../../kubepods/pod1/{ID}"), Some(("k8s:default/web-7f/app", None))),
            // Seen from within another pod.
            (format!("/../../pod1/{ID}"), Some(("k8s:default/web-7f/app", None))),
            (format!("/../cri-containerd-{OTHER_ID}.scope"), Some(("k8s:prod/shop-1/side.car", None))),
            // Nobody but whoever has made the group says so.
            (format!("/system.slice/ci.service/docker/{ID}"), None),
            (format!("/lxc.payload.x/docker/{ID}"), None),
            (format!("/user.slice/user-7.slice/user@7.service/user.slice/libpod-{ID}.scope/x"), None),
            (format!("/system.slice/cri-containerd-{ID}.scope"), None),
            ("/system.slice/docker.service".to_owned(), None),
            ("/".to_owned(), None),
        ] {
            // Each by itself: an id belongs to one runtime.
            let expected = expected.map(|(name, image)| HostContainer { name: name.to_owned(), image: image.map(str::to_owned) });
            assert_eq!(containers(&root).look_up(&cgroup, 0), expected, "{cgroup}");
        }
    }

    #[test]
    fn a_container_whose_image_is_unknown_has_its_name() {
        for text in [r#"{"Name":"/web"}"#, r#"{"Name":"/web","Config":null}"#, r#"{"Name":"/web","Config":{"Image":null}}"#] {
            assert_eq!(of_docker(text.as_bytes()), Some(HostContainer { name: "docker:web".to_owned(), image: None }), "{text}");
        }
        for metadata in
            ["", r#""metadata":"","#, r#""metadata":"{","#, r#""metadata":"{}","#, r#""metadata":"{\"image-name\":1}","#]
        {
            let text = format!(r#"[{{"id":"1",{metadata}"names":["db"]}}]"#);
            let expected = HostContainer { name: "podman:db".to_owned(), image: None };
            assert_eq!(of_storage(text.as_bytes(), "1"), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_damaged_or_no_file_is_no_name() {
        let long = format!(r#"{{"Name":"/web"{}}}"#, " ".repeat(4 << 20));
        for text in ["", "{", "[]", r#"{"Name":5}"#, r#"{"Name":"/"}"#, r#"{"Name":"/a/b"}"#, r#"{"Name":"a:b"}"#, &long] {
            let root = host(&[(&format!("{DOCKER}/{ID}/config.v2.json"), text)]);
            assert_eq!(name(&mut containers(&root), &format!("/docker/{ID}"), 0), None, "{text:.40}");
        }
        let root = host(&[(&format!("{DOCKER}/{ID}/config.v2.json/x"), "a directory")]);
        assert_eq!(name(&mut containers(&root), &format!("/docker/{ID}"), 0), None);
        assert_eq!(of_storage(br#"[{"id":"1","names":[]}]"#, "1"), None);
    }

    #[test]
    fn a_container_is_asked_for_once_if_it_is_found_and_for_a_while_if_not() {
        let file = format!("{DOCKER}/{ID}/config.v2.json");
        let root = host(&[(&file, r#"{"Name":"/web"}"#)]);
        let mut names = containers(&root);
        let cgroup = format!("/docker/{ID}");
        assert_eq!(name(&mut names, &cgroup, 0).as_deref(), Some("docker:web"));
        fs::remove_file(root.path().join(&file)).unwrap();
        assert_eq!(name(&mut names, &cgroup, u64::MAX).as_deref(), Some("docker:web"));

        let mut late = containers(&root);
        assert_eq!(name(&mut late, &cgroup, 0), None);
        fs::write(root.path().join(&file), r#"{"Name":"/late"}"#).unwrap();
        assert_eq!((late.look_again(MIN_PAUSE_NS - 1), name(&mut late, &cgroup, MIN_PAUSE_NS - 1)), (false, None));
        assert!(late.look_again(MIN_PAUSE_NS));
        assert_eq!(name(&mut late, &cgroup, MIN_PAUSE_NS).as_deref(), Some("docker:late"));
        assert!(!late.look_again(u64::MAX));

        fs::remove_file(root.path().join(&file)).unwrap();
        let mut never = containers(&root);
        never.look_up(&cgroup, 0);
        let due_ns = |containers: &Containers| match containers.known[ID] {
            Known::Sought { due_ns, .. } => due_ns,
            Known::Found(_) => panic!("it is known"),
        };
        let mut looks = 0;
        while due_ns(&never) != u64::MAX {
            let now_ns = due_ns(&never);
            assert!(!never.look_again(now_ns));
            looks += 1;
        }
        assert!((5..30).contains(&looks), "{looks}");
    }

    #[test]
    fn containers_without_end_are_not_all_remembered() {
        let root = host(&[]);
        let mut names = containers(&root);
        for number in 0..2 * KNOWN_MAX {
            names.look_up(&format!("/docker/{number:064x}"), 0);
            assert!(names.known.len() <= KNOWN_MAX);
        }
    }

    proptest! {
        #[test]
        fn any_name_is_survived_and_says_where_its_parts_end(name in "(k8s_)?(\\PC|[a-z_/:]){0,12}", link in "([a-z_/-]{0,12}|\\PC{0,4})-1") {
            for found in [named("docker", &name), of_link(&link, "1")].into_iter().flatten() {
                let (runtime, rest) = found.split_once(AFTER_RUNTIME).unwrap();
                prop_assert!(!rest.contains(AFTER_RUNTIME));
                prop_assert_eq!(rest.split(SEPARATOR).count(), if runtime == "k8s" { 3 } else { 1 });
            }
        }
    }
}
