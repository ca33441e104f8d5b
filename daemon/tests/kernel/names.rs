//! Names that processes and users choose, beside those of rules, the kernel and the system's units.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::host::{Guarded, comes_true, privileged};
use super::served::{Daemon, Totals, assert_never_down};

/// A number that no user of a host has.
const USER: u32 = 4_294_001;

/// The shell under another name, computing for ever.
fn busy(dir: &Path, name: &str) -> Command {
    let path = dir.join(name);
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &path).unwrap();
    let mut command = Command::new(path);
    command.args(["-c", "while :; do :; done"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A cgroup that is removed in the end, with those around it that nothing else is in.
pub(super) struct Group(pub(super) PathBuf);

impl Group {
    pub(super) fn new(path: &Path) -> Option<Group> {
        fs::create_dir_all(path).ok()?;
        Some(Group(path.to_owned()))
    }

    /// Starts a process in it, which is there before its exec.
    pub(super) fn start(&self, mut command: Command) -> Guarded {
        use std::os::unix::process::CommandExt as _;
        let procs = File::options().write(true).open(self.0.join("cgroup.procs")).unwrap();
        let enter = move || rustix::io::write(&procs, b"0").map(|_| ()).map_err(io::Error::from);
        // SAFETY: a system call, which is safe between fork and exec.
        unsafe { command.pre_exec(enter) };
        Guarded(command.spawn().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Up to one that is used still, the hierarchy's root at last.
        for path in self.0.ancestors() {
            if !comes_true(1, || fs::remove_dir(path).is_ok()) {
                break;
            }
        }
    }
}

/// The first hierarchy whose groups units and containers are told by.
pub(super) fn hierarchy() -> Option<&'static Path> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().map(Path::new).find(|path| path.join("cgroup.procs").exists())
}

#[test]
fn a_container_has_the_name_that_its_runtime_knows() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    // Of digits that no container of this host has.
    let ids = [1, 2, 3].map(|number| format!("{number:04x}{:060x}", std::process::id()));
    let groups = ids.each_ref().map(|id| Group::new(&hierarchy()?.join(format!("docker-{id}.scope"))));
    let [Some(known), Some(late), Some(unknown)] = groups else {
        println!("skipped: no hierarchy of cgroups can be written here: containers");
        return;
    };
    let [known_id, late_id, unknown_id] = ids;
    let write = |id: &str, name: &str| {
        let directory = dir.path().join("var/lib/docker/containers").join(id);
        fs::create_dir_all(&directory).unwrap();
        let file = format!("{{\"Config\":{{\"Image\":\"shop/{name}:1\"}},\"Name\":\"/{name}\"}}");
        fs::write(directory.join("config.v2.json"), file).unwrap();
    };
    write(&known_id, "web");
    let daemon = Daemon::start(&format!("host_root = \"{}\"\n", dir.path().display()));
    let groups = [(&known, "a"), (&late, "b"), (&unknown, "c")];
    let processes = groups.map(|(group, program)| group.start(busy(dir.path(), program)));
    let is_busy = |name: &str| comes_true(60, || Totals::of(&daemon.get("/metrics"), name).cpu_seconds > 0.3);
    let of_id = |id: &str| format!("docker:{}", &id[..12]);
    for name in ["docker:web", &of_id(&late_id), &of_id(&unknown_id)] {
        assert!(is_busy(name), "{name}: {}", daemon.get("/status"));
    }
    let before = daemon.get("/metrics");
    assert!(!before.contains(&of_id(&known_id)), "it was never called after its id");
    // As that of a pod, which is written down once it runs.
    write(&late_id, "late");
    assert!(is_busy("docker:late"), "{}", daemon.get("/status"));
    let after = daemon.get("/metrics");
    assert_never_down(&before, &after);
    let images = [("docker:web", "shop/web:1"), ("docker:late", "shop/late:1"), (&of_id(&unknown_id), "")];
    for (name, image) in images {
        let info = format!("schedscope_workload_info{{workload=\"{name}\",");
        let line = after.lines().find(|line| line.starts_with(&info)).unwrap();
        assert!(line.ends_with(&format!("\",pod_uid=\"\",image=\"{image}\"}} 1")), "{line}");
    }
    let status: Value = serde_json::from_str(&daemon.get("/status")).unwrap();
    let workloads = status["workloads"].as_array().unwrap();
    let source = |name: &str| workloads.iter().find(|workload| workload["name"] == name).map(|workload| &workload["source"]);
    assert_eq!((source("docker:web"), source("docker:late")), (Some(&"container".into()), Some(&"container".into())));
    drop(processes);
    drop([known, late, unknown]);
}

#[test]
fn a_borrowed_name_is_not_the_owners() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let nowhere = "match = { exe = \"/nowhere/*\" }";
    let daemon = Daemon::start(&format!(
        "[[workload]]\nname = \"web\"\n{nowhere}\n[[workload]]\nname = \"sshd\"\nmatch = {{ unit = \"sshd.service\" }}\n"
    ));
    let mut expected = vec![
        ("executable/kernel".to_owned(), "executable"),
        ("executable/web".to_owned(), "executable"),
        ("executable/sshd.service".to_owned(), "executable"),
        ("?gnp.exe".to_owned(), "executable"),
    ];
    // A user may make such units below his own manager, as deep as he likes.
    let manager = format!("user-{USER}.slice/user@{USER}.service");
    let deep = format!("{manager}/{}app.slice/deep.service", "x/".repeat(45));
    let group = |path: &str| Group::new(&hierarchy()?.join(path));
    let groups = [group(&format!("{manager}/app.slice/sshd.service")), group(&deep)];
    let names = ["kernel", "web", "sshd.service", "\u{202e}gnp.exe"];
    let mut processes: Vec<Guarded> = names.iter().map(|name| Guarded(busy(dir.path(), name).spawn().unwrap())).collect();
    if let [Some(sshd), Some(deep)] = &groups {
        processes.extend([sshd.start(busy(dir.path(), "of-user")), deep.start(busy(dir.path(), "of-user-too"))]);
        expected.extend(["sshd", "deep"].map(|unit| (format!("user-{USER}/{unit}.service"), "user")));
    } else {
        println!("skipped: no hierarchy of cgroups can be written here: units of users");
    }

    let of = |text: &str, name: &str| Totals::of(text, name);
    for (name, _) in &expected {
        let is_busy = comes_true(60, || of(&daemon.get("/metrics"), name).cpu_seconds > 0.1);
        assert!(is_busy, "{name}: {}", daemon.get("/status"));
    }
    let (metrics, status, history) = (daemon.get("/metrics"), daemon.get("/status"), daemon.get("/api/history"));
    for rule in ["web", "sshd"] {
        let totals = of(&metrics, rule);
        assert_eq!((totals.processes, totals.cpu_seconds), (0, 0.0), "{rule}: nobody is it");
    }
    // One of the deep ones is named when it is read first, and was its executable until then.
    let foreign =
        |name: &str| name.ends_with(".service") && !name.contains('/') && (name.contains("deep") || name.contains("sshd"));
    let status: Value = serde_json::from_str(&status).unwrap();
    let workloads = status["workloads"].as_array().unwrap();
    for (name, source) in &expected {
        let found: Vec<&Value> = workloads.iter().filter(|workload| workload["name"] == **name).collect();
        assert!(found.len() == 1 && found[0]["source"] == *source, "{name}: {found:?}");
        assert!(history.contains(&Value::from(name.as_str()).to_string()), "{name}");
    }
    assert!(!workloads.iter().any(|workload| foreign(workload["name"].as_str().unwrap())), "{workloads:?}");
    for text in [metrics, history] {
        assert!(!text.contains('\u{202e}'));
    }
    drop(processes);
    drop(groups);
}
