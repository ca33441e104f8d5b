//! Interpreters are counted under what they run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use procfs::process::Process;
use serde_json::Value;
use tempfile::TempDir;

use super::exact::{TICK_SECONDS, steal_seconds};
use super::host::{Guarded, comes_true, privileged, python};
use super::served::{Daemon, Totals, assert_never_down, sum};

/// A program that computes for ever, and one whose child does too.
const BUSY: &str = "while True: pass\n";
const BUSY_FAMILY: &str = "import os\nos.fork()\nwhile True: pass\n";

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn start(command: &mut Command) -> Guarded {
    Guarded(quiet(command).spawn().unwrap())
}

/// Seconds on CPUs, by the kernel.
fn cpu_seconds(process: &Child) -> f64 {
    Process::new(process.id().cast_signed()).unwrap().schedstat().unwrap().sum_exec_runtime as f64 / 1e9
}

/// File name of the program that a symbolic link or a launcher leads to.
fn executable_of(program: &str) -> String {
    fs::canonicalize(program).unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn interpreters_are_counted_under_what_they_run() {
    let Some(python) = privileged().and_then(|()| python()) else { return };
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (name, text) in [
        ("one.py", BUSY),
        ("two.py", BUSY),
        ("module.py", BUSY),
        ("ruled.py", BUSY),
        ("renamed.py", "open('/proc/self/comm', 'w').write('kernel')\nwhile True: pass\n"),
        ("before.py", BUSY),
        ("job.sh", "while :; do :; done\n"),
        ("direct", "#!/bin/sh -e\nwhile :; do :; done\n"),
    ] {
        fs::write(path(name), text).unwrap();
    }
    fs::set_permissions(path("direct"), fs::Permissions::from_mode(0o755)).unwrap();
    let of_python = || {
        let mut command = Command::new(&python);
        command.current_dir(dir.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let [interpreter, shell] = [executable_of(&python), executable_of("/bin/sh")];
    let before = start(of_python().arg("before.py"));
    let rule = "[[workload]]\nname = \"ruled\"\nmatch = { script = \"ruled.*\" }\n";
    let daemon = Daemon::start(&format!("max_workloads = 40\n{rule}"));
    let processes = [
        (format!("{interpreter} one.py"), "script", start(of_python().args(["-u", "-X", "dev"]).arg(path("one.py")))),
        (format!("{interpreter} two.py"), "script", start(of_python().args(["two.py", "-c"]))),
        (format!("{interpreter} module"), "script", start(of_python().args(["-Bm", "module", "x.py"]))),
        (format!("{interpreter} renamed.py"), "script", start(of_python().arg("renamed.py"))),
        ("ruled".to_owned(), "rule", start(of_python().arg("ruled.py"))),
        (format!("{shell} job.sh"), "script", start(Command::new("sh").arg("-e").arg(path("job.sh")))),
        (format!("{shell} direct"), "script", start(&mut Command::new(path("direct")))),
        (format!("{interpreter} before.py"), "script", before),
    ];
    let code = start(of_python().args(["-c", "while True: pass", "one.py"]));

    let mut text = String::new();
    for (name, ..) in &processes {
        let is_busy = comes_true(60, || {
            text = daemon.get("/metrics");
            Totals::of(&text, name).cpu_seconds > 0.2
        });
        assert!(is_busy, "{name}: {}", daemon.get("/status"));
    }
    // Each has its process and nobody else's. A reading was taken between two of the kernel's, whose account is a tick old; until a thread
    // switches, time that a hypervisor took from it is not told apart. Scrapes close to each other share a reading.
    let scrape = || {
        sleep(Duration::from_millis(300));
        let kernels = || processes.each_ref().map(|(.., process)| cpu_seconds(process));
        (kernels(), daemon.get("/metrics"), kernels())
    };
    let steal_before = steal_seconds();
    let (outer_begin, before, inner_begin) = scrape();
    sleep(Duration::from_secs(3));
    let (inner_end, after, outer_end) = scrape();
    let stolen = steal_seconds() - steal_before;
    for (at, (name, ..)) in processes.iter().enumerate() {
        let ours = Totals::of(&after, name).cpu_seconds - Totals::of(&before, name).cpu_seconds;
        let least = inner_end[at] - inner_begin[at] - TICK_SECONDS;
        let most = outer_end[at] - outer_begin[at] + TICK_SECONDS + stolen;
        assert!((least..=most).contains(&ours), "{name}: {ours} s, by the kernel {least} to {most} s");
    }
    let gained = |name: &str| Totals::of(&after, name).cpu_seconds - Totals::of(&before, name).cpu_seconds;
    assert!(gained(&interpreter) > 0.05, "code on the command line is the interpreter's");
    assert_never_down(&before, &after);
    let started = |name: &str| Totals::of(&after, name).processes;
    assert_eq!(started("ruled"), 1, "a rule's name has series from the start");
    for (name, ..) in &processes {
        assert!(started(name) <= 1, "{name}");
    }
    let status: Value = serde_json::from_str(&daemon.get("/status")).unwrap();
    let workloads = status["workloads"].as_array().unwrap();
    for (name, source, _) in &processes {
        let found: Vec<&Value> = workloads.iter().filter(|workload| workload["name"] == **name).collect();
        assert!(found.len() == 1 && found[0]["source"] == **source, "{name}: {found:?}");
    }
    drop(code);
}

#[test]
fn what_a_script_forks_is_counted_with_it_and_nobody_can_borrow_its_name() {
    let Some(python) = privileged().and_then(|()| python()) else { return };
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("family.py"), BUSY_FAMILY).unwrap();
    let interpreter = executable_of(&python);
    let name = format!("{interpreter} family.py");
    let liar = path(&name);
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &liar).unwrap();
    symlink(&liar, path("link")).unwrap();
    let daemon = Daemon::start("");
    let mut family = Command::new(&python);
    // In a group of its own, so that what it forks can be ended with it.
    let mut family = start(family.arg(path("family.py")).process_group(0));
    let borrowed = start(Command::new(path("link")).args(["-c", "while :; do :; done"]));
    let processes =
        |name: &str| sum::<u64>(&daemon.get("/metrics"), &format!("schedscope_workload_processes{{workload=\"{name}\"}}"));
    let are_both = comes_true(60, || processes(&name) == 2);
    let is_told_apart = comes_true(60, || processes(&format!("executable/{name}")) == 1);
    // SAFETY: takes numbers only; the group is that of our child.
    unsafe { libc::killpg(family.id().cast_signed(), libc::SIGKILL) };
    family.end();
    assert!(are_both && is_told_apart, "{}", daemon.get("/status"));
    drop(borrowed);
}
