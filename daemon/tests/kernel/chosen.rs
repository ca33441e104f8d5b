//! `schedscope attach` to what people know: a program, a unit, a container, a cgroup.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use procfs::process::Process;
use schedscope::report::RunReport;
use tempfile::TempDir;

use super::attached::Attached;
use super::exact::assert_consistent;
use super::host::{self, Guarded, comes_true, privileged, send, shell_called};
use super::names::{Group, hierarchy};

/// Computes until it is told to end, in a process of its own.
const COMPUTE: &str = "(while :; do :; done) & wait";

fn computing(shell: &Path) -> Command {
    let mut command = Command::new(shell);
    command.args(["-c", COMPUTE]).stdin(Stdio::null());
    command
}

/// A shell and its child.
struct Family(Guarded);

impl Family {
    fn of(shell: Guarded) -> Family {
        assert!(comes_true(10, || Family::child(&shell).is_some()), "the shell {} has no child", shell.id());
        Family(shell)
    }

    fn child(shell: &Guarded) -> Option<u32> {
        let main = Process::new(shell.id().cast_signed()).and_then(|process| process.task_main_thread()).unwrap();
        main.children().unwrap().first().copied()
    }

    fn ids(&self) -> BTreeSet<u32> {
        [self.0.id(), Family::child(&self.0).unwrap()].into()
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(child) = Family::child(&self.0) {
            send(child, libc::SIGKILL);
        }
    }
}

/// What is reported of these, and of those who come later.
fn assert_traced(chosen: &[&str], expected: &[&Family], start_another: impl FnOnce() -> Guarded) -> RunReport {
    let attached = Attached::with(chosen);
    let late = Family::of(start_another());
    // It is looked for once a second.
    sleep(Duration::from_millis(2500));
    send(attached.tracer.id(), libc::SIGINT);
    let report = attached.report();
    assert_consistent(&report);
    let traced: BTreeSet<u32> = report.threads.iter().map(|thread| thread.tgid).collect();
    let all: BTreeSet<u32> = expected.iter().chain([&&late]).flat_map(|family| family.ids()).collect();
    assert_eq!(traced, all, "{chosen:?}");
    assert_eq!(report.loss.total, 0, "{chosen:?}: {:?}", report.loss);
    assert!(report.threads.iter().all(|thread| thread.seeded), "{:?}", report.threads);
    report
}

#[test]
fn a_program_is_traced_with_all_who_run_it() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let [worker, other] = ["scworker", "scother"].map(|name| shell_called(name, dir.path()));
    let start = || Guarded(computing(&worker).spawn().unwrap());
    let (one, two) = (Family::of(start()), Family::of(start()));
    let _other = Family::of(Guarded(computing(&other).spawn().unwrap()));
    let report = assert_traced(&["--program", "scworker"], &[&one, &two], start);
    assert_eq!(report.name, "program scworker");
}

#[test]
fn a_cgroup_is_traced_with_those_below_it() {
    let Some(()) = privileged() else { return };
    let Some((hierarchy, name)) = hierarchy().map(|path| (path, format!("schedscope-chosen-{}", process::id()))) else {
        println!("skipped: no hierarchy of cgroups is mounted");
        return;
    };
    let Some((group, below)) = Group::new(&hierarchy.join(&name)).zip(Group::new(&hierarchy.join(&name).join("below"))) else {
        println!("skipped: no hierarchy of cgroups can be written here");
        return;
    };
    let shell = PathBuf::from("/bin/sh");
    let (one, two) = (Family::of(group.start(computing(&shell))), Family::of(below.start(computing(&shell))));
    let _other = Family::of(Guarded(computing(&shell).spawn().unwrap()));
    let directory = group.0.display().to_string();
    for chosen in [&directory, &format!("/{name}")] {
        assert_traced(&["--cgroup", chosen], &[&one, &two], || below.start(computing(&shell)));
    }
    drop((one, two));
    drop(below);
}

#[test]
fn a_unit_and_a_container_are_traced_by_their_names() {
    let Some(()) = privileged() else { return };
    let id = format!("{:064x}", process::id());
    let unit = format!("schedscope-chosen-{}", process::id());
    let groups = [format!("docker-{id}.scope"), format!("system.slice/{unit}.service")];
    let groups = groups.each_ref().map(|path| Group::new(&hierarchy()?.join(path)));
    let [Some(container), Some(service)] = groups else {
        println!("skipped: no hierarchy of cgroups can be written here");
        return;
    };
    let shell = PathBuf::from("/bin/sh");
    let of_container = Family::of(container.start(computing(&shell)));
    let of_service = Family::of(service.start(computing(&shell)));
    assert_traced(&["--container", &id], &[&of_container], || container.start(computing(&shell)));
    let report = assert_traced(&["--unit", &unit], &[&of_service], || service.start(computing(&shell)));
    assert_eq!(report.name, format!("unit {unit}.service"));
}

#[test]
fn who_is_not_there_is_named_with_where_to_look() {
    let Some(()) = privileged() else { return };
    for (arguments, parts) in [
        (["--program", "no-such-program"], ["no process runs the program no-such-program", "ps -e"]),
        (["--unit", "no-such-unit"], ["unit no-such-unit.service", "systemctl list-units"]),
        (["--container", "no-such-container"], ["no process is in the container no-such-container", ""]),
        (["--cgroup", "/no/such"], ["no cgroup /no/such", "systemd-cgls"]),
    ] {
        let output = Command::new(host::schedscope()).arg("attach").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(parts.iter().all(|part| text.contains(part)) && text.lines().count() == 1, "{text}");
    }
    let sleeping = Guarded::start("sleep", &["60"]);
    let pid = sleeping.id().to_string();
    let arguments = ["attach", "--pid", &pid, "--unit", "no-such-unit", "--duration", "0.2", "--quiet"];
    let output = Command::new(host::schedscope()).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && text.contains("no-such-unit.service") && text.contains("about the others"), "{text}");
}
