//! The process that reads others for the daemon: what it may do, and what becomes of the daemon when it fails.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use procfs::process::{Process, all_processes};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use schedscope::capture::reader::NAME;
use schedscope::lab::daemon::free_address;
use serde_json::Value;
use tempfile::TempDir;

use super::attached::state;
use super::host::{self, Guarded, comes_true, installed, privileged, python, send as signal};
use super::served::{Daemon, assert_never_down, samples, sum, try_get};
use crate::python::hostile::{HOSTILE, build_map, write_hostile};
use crate::python::interpreters::{Python, those};

const SPIN: &str = "
import threading
def spin():
    while True: pass
for _ in range(2): threading.Thread(target=spin, daemon=True).start()
print('ready', flush=True)
spin()
";

/// Helpers of a daemon that are alive.
pub(crate) fn helpers(daemon: &Daemon) -> Vec<u32> {
    let of_it = |process: &Process| {
        let stat = process.stat().ok().filter(|stat| stat.ppid.cast_unsigned() == daemon.process.id() && stat.state != 'Z');
        stat.is_some_and(|stat| stat.comm == NAME)
    };
    all_processes().unwrap().flatten().filter(of_it).map(|process| process.pid.cast_unsigned()).collect()
}

/// The helper that is there, or will be when there is something to read.
fn helper(daemon: &Daemon) -> u32 {
    let mut found = None;
    assert!(comes_true(20, || {
        found = helpers(daemon).pop();
        found.is_some()
    }));
    found.unwrap()
}

fn restarts(text: &str, reason: &str) -> u64 {
    sum(text, &format!("schedscope_reader_restarts_total{{reason=\"{reason}\"}}"))
}

fn failed_at(text: &str) -> u64 {
    sum(text, "schedscope_python_processes_unresolved{reason=\"reader_failed\"}")
}

fn pythons(text: &str) -> u64 {
    sum(text, "schedscope_python_processes{")
}

/// A process that has not been looked at yet, and ends soon.
fn something_to_read() {
    let mut process = Guarded::start("sleep", &["0.5"]);
    process.wait().unwrap();
}

/// A scrape, which must wait for nothing but a CPU.
fn scrape(daemon: &Daemon) -> String {
    let (text, took) = timed_scrape(daemon);
    assert!(took < Duration::from_millis(250), "a scrape took {took:?}");
    text
}

/// What it says, and how long that took, waits for a CPU left out: what else goes on may want all of them.
pub(crate) fn timed_scrape(daemon: &Daemon) -> (String, Duration) {
    // Other threads of ours may be a load.
    let own_wait = || {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(text.split(' ').nth(1).unwrap().parse().unwrap())
    };
    let cpu_waits = || cpu_waits(daemon.process.id()) + own_wait();
    let (begin, waits_before) = (Instant::now(), cpu_waits());
    let text = daemon.get("/metrics");
    (text, begin.elapsed().saturating_sub(cpu_waits().saturating_sub(waits_before)))
}

/// How long the threads of a process have waited for a CPU.
fn cpu_waits(pid: u32) -> Duration {
    let tasks = Process::new(pid.cast_signed()).unwrap().tasks().unwrap().flatten();
    Duration::from_nanos(tasks.filter_map(|task| task.schedstat().ok()).map(|stat| stat.run_delay).sum())
}

fn end(mut daemon: Daemon) {
    let begin = Instant::now();
    signal(daemon.process.id(), libc::SIGTERM);
    assert_eq!(daemon.process.wait().unwrap().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(2), "it ended after {:?}", begin.elapsed());
}

/// A Python that starts now is found.
fn assert_finds_pythons(daemon: &Daemon, python: &str) {
    let before = pythons(&daemon.get("/metrics"));
    let _python = Guarded::start(python, &["-c", SPIN]);
    assert!(comes_true(30, || pythons(&daemon.get("/metrics")) > before), "{}", daemon.get("/metrics"));
}

fn status_of(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {key} in {status}")).trim().to_owned()
}

fn resident_bytes(pid: u32) -> u64 {
    status_of(pid, "VmRSS").trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn the_reader_has_few_rights_and_does_not_outlive_the_daemon() {
    let Some(()) = privileged() else { return };
    let mut daemon = Daemon::start("");
    let helper = helper(&daemon);
    assert!(comes_true(5, || status_of(helper, "Seccomp") == "2"));
    assert_eq!(status_of(helper, "NoNewPrivs"), "1");
    let needed: u64 = 1 << 2 | 1 << 19 | 1 << 40;
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        let held = u64::from_str_radix(&status_of(helper, set), 16).unwrap();
        assert_eq!(held & !needed, 0, "{set}: {held:x}");
    }
    // The daemon has given up what only its start takes.
    let of_daemon = u64::from_str_radix(&status_of(daemon.process.id(), "CapPrm"), 16).unwrap();
    let (bpf, sys_admin) = (1 << 39, 1 << 21);
    assert_eq!(of_daemon & !(needed | bpf | sys_admin), 0, "{of_daemon:x}");
    let limits = Process::new(helper.cast_signed()).unwrap().limits().unwrap();
    let limits = [limits.max_data_size, limits.max_open_files, limits.max_processes, limits.max_file_size, limits.max_cpu_time];
    assert!(limits.iter().all(|limit| !matches!(limit.soft_limit, procfs::process::LimitValue::Unlimited)), "{limits:?}");
    assert!(fs::read(format!("/proc/{helper}/environ")).unwrap().is_empty());
    // What it opens meanwhile to read others is closed again.
    let files = || fs::read_dir(format!("/proc/{helper}/fd")).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    assert!(comes_true(5, || files() == ["0", "1", "2"]), "{:?}", files());
    let socket = fs::read_link(format!("/proc/{helper}/fd/0")).unwrap();
    assert!(socket.to_str().unwrap().starts_with("socket:"), "{socket:?}");

    daemon.process.end();
    assert!(comes_true(2, || state(helper).is_none_or(|state| state == 'Z')), "it is still there");
}

#[test]
fn a_reader_that_is_killed_or_stopped_is_replaced_and_nothing_else_suffers() {
    let Some(python) = privileged().and_then(|()| python()) else { return };
    let daemon = Daemon::start("");
    let first = helper(&daemon);
    assert_finds_pythons(&daemon, &python);
    let mut before = scrape(&daemon);

    signal(first, libc::SIGKILL);
    something_to_read();
    assert_ne!(helper(&daemon), first);
    assert_finds_pythons(&daemon, &python);
    let text = scrape(&daemon);
    assert_eq!(restarts(&text, "ended"), 1);
    assert_never_down(&before, &text);
    before = text;

    // In the middle of its work, whatever it is at.
    for pause_ms in [0, 1, 3, 10, 30] {
        let new: Vec<Guarded> = (0..20).map(|_| Guarded::start("sleep", &["1"])).collect();
        sleep(Duration::from_millis(240 + pause_ms));
        for helper in helpers(&daemon) {
            signal(helper, libc::SIGKILL);
        }
        drop(new);
    }
    assert_finds_pythons(&daemon, &python);

    let stopped = helper(&daemon);
    signal(stopped, libc::SIGSTOP);
    let victim = Guarded::start("sleep", &["60"]);
    assert!(comes_true(10, || restarts(&scrape(&daemon), "deadline") == 1), "{}", daemon.get("/metrics"));
    drop(victim);
    assert!(failed_at(&scrape(&daemon)) >= 1);
    assert_finds_pythons(&daemon, &python);
    assert_ne!(helper(&daemon), stopped);
    let text = scrape(&daemon);
    assert_never_down(&before, &text);
    assert!(samples(&text).any(|(series, value)| series == "schedscope_reader_stopped" && value == 0.0));

    signal(helper(&daemon), libc::SIGSTOP);
    something_to_read();
    end(daemon);
}

/// A group of processes that do not run, and cannot be killed, until it is dropped.
struct Freezer(PathBuf);

impl Freezer {
    fn new() -> Option<Freezer> {
        let directory = Path::new("/sys/fs/cgroup/freezer").join(format!("schedscope-test-{}", std::process::id()));
        if fs::create_dir(&directory).is_err() {
            println!("skipped: no cgroup v1 freezer, whose processes cannot be killed");
            return None;
        }
        let freezer = Freezer(directory);
        freezer.set("FROZEN");
        Some(freezer)
    }

    fn set(&self, state: &str) {
        fs::write(self.0.join("freezer.state"), state).unwrap();
    }

    fn add(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.set("THAWED");
        assert!(comes_true(5, || fs::remove_dir(&self.0).is_ok()));
    }
}

#[test]
fn readers_that_cannot_be_killed_are_left_behind_a_few_times() {
    let Some((python, freezer)) = privileged().and_then(|()| Some((python()?, Freezer::new()?))) else { return };
    let daemon = Daemon::start("");
    let number = |series: &str| sum::<u64>(&scrape(&daemon), series);
    let mut frozen = Vec::new();
    for count in 1..=4 {
        assert_eq!(number("schedscope_reader_stopped"), 0);
        let is_there = comes_true(20, || {
            something_to_read();
            let next = helpers(&daemon).into_iter().find(|helper| !frozen.contains(helper));
            frozen.extend(next);
            next.is_some()
        });
        assert!(is_there, "{count}: {}", daemon.get("/metrics"));
        freezer.add(frozen[count - 1]);
        let is_left = comes_true(30, || {
            something_to_read();
            number("schedscope_readers_left_behind") == count as u64
        });
        assert!(is_left, "{count}: {}", daemon.get("/metrics"));
    }
    // That is enough: the next one is not read at all, and that is said.
    assert_eq!(number("schedscope_reader_stopped"), 1);
    let status: Value = serde_json::from_str(&daemon.get("/status")).unwrap();
    assert!(status["reader_failure"].as_str().is_some_and(|why| why.contains("cannot be killed")), "{status}");
    something_to_read();
    assert_eq!(helpers(&daemon).len(), 4);

    freezer.set("THAWED");
    assert_finds_pythons(&daemon, &python);
    assert_eq!((number("schedscope_readers_left_behind"), number("schedscope_reader_stopped")), (0, 0));

    freezer.set("FROZEN");
    freezer.add(helper(&daemon));
    something_to_read();
    end(daemon);
}

#[test]
fn hostile_processes_cost_neither_memory_nor_time() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let Some(map) = build_map(dir.path()) else { return };
    let daemon = Daemon::start("");
    let first = helper(&daemon);
    let mut processes = Vec::new();
    for (index, hostile) in HOSTILE.iter().enumerate() {
        let file = dir.path().join(format!("hostile-{index}.so"));
        write_hostile(&file, hostile);
        processes.push(Guarded::start(&map, &[file.to_str().unwrap(), hostile.mappings]));
    }
    let series = "schedscope_python_processes_unresolved{reason=\"over_budget\"}";
    let mut most = (0, 0);
    assert!(comes_true(60, || {
        let text = scrape(&daemon);
        most.0 = most.0.max(resident_bytes(daemon.process.id()));
        most.1 = most.1.max(helpers(&daemon).into_iter().map(resident_bytes).max().unwrap_or(0));
        // Those that map it all as they begin are looked at again a second later.
        sum::<usize>(&text, series) >= HOSTILE.len()
    }));
    assert!(most.0 < 64 << 20 && most.1 < 64 << 20, "the daemon had {} bytes, its reader {}", most.0, most.1);
    assert_eq!(helper(&daemon), first, "no limit of the helper's had to end it");
    end(daemon);
}

/// A helper without these capabilities, and what it says of a process.
fn answer_without(capability: Option<&str>, process: u32) -> Value {
    let (ours, its) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let mut command = Command::new("setpriv");
    command.args(capability.map(|name| format!("--bounding-set=-{name}")));
    command.arg(host::schedscope()).arg(NAME).env_clear().stdin(its).stdout(Stdio::null());
    let helper = Guarded(command.spawn().unwrap());
    let answer = ask(&ours, process);
    drop(helper);
    answer
}

fn ask(socket: &OwnedFd, process: u32) -> Value {
    send(socket, &process.to_ne_bytes(), SendFlags::empty()).unwrap();
    let mut answer = vec![0; 1 << 16];
    let (_, length) = recv(socket, &mut answer[..], RecvFlags::empty()).unwrap();
    serde_json::from_slice::<Value>(&answer[..length]).unwrap()["result"].clone()
}

/// Another user's Python, whose executable nobody else may read and which is nowhere but in its own mapping; `None` if it has libraries in
/// directories of ours.
fn hidden(python: &Python) -> Option<Guarded> {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let copy = dir.path().join(HIDDEN);
    fs::copy(&python.executable, &copy).unwrap();
    chown(&copy, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy).args(["-S", "-E", "-c", SPIN]);
    let mut process = Guarded(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (line == "ready\n").then_some(process)
}

/// Name of the executable of a hidden Python.
const HIDDEN: &str = "hidden-python3";

#[test]
fn reading_takes_each_of_the_capabilities_that_the_reader_keeps() {
    let Some(_) = privileged().and_then(|()| installed(&["setpriv"], "util-linux")) else { return };
    for python in those(Python::is_supported, "CPython 3.7 or later") {
        let Some(process) = hidden(&python) else { continue };
        let found = answer_without(None, process.id());
        let object: OsString = serde_json::from_value(found["Ok"]["object"].clone()).unwrap();
        // Its interpreter may be in a library that everybody may read.
        if object.to_str().unwrap().contains(HIDDEN) {
            assert!(!found["Ok"]["gils"].as_array().unwrap().is_empty(), "{found}");
            for capability in ["sys_ptrace", "checkpoint_restore", "dac_read_search"] {
                let answer = answer_without(Some(capability), process.id());
                assert_eq!(answer["Err"], "not_readable", "without {capability}: {answer}");
            }
            return;
        }
    }
    println!("skipped: no Python is a program without a library of its own");
}

#[test]
fn what_is_missing_without_a_capability_is_said() {
    let Some(_) = privileged().and_then(|()| installed(&["setpriv"], "util-linux")) else { return };
    let setting = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    let are_addresses_free = setting("kptr_restrict") == "0" && !matches!(&*setting("perf_event_paranoid"), "2" | "3" | "4");
    for (capability, is_fatal, said) in [
        ("bpf,-sys_admin", true, "loading BPF programs needs root, or CAP_BPF and CAP_PERFMON"),
        ("perfmon,-sys_admin", true, "loading BPF programs needs root, or CAP_BPF and CAP_PERFMON"),
        ("sys_ptrace", false, "CAP_SYS_PTRACE is missing: without it no process of another user is read"),
        ("checkpoint_restore", false, "CAP_CHECKPOINT_RESTORE is missing: without it Pythons whose files"),
        ("dac_read_search", false, "CAP_DAC_READ_SEARCH is missing: without it of other users' Pythons"),
        ("syslog", false, if are_addresses_free { "" } else { "/proc/kallsyms shows no addresses" }),
        ("sys_admin", false, "CAP_SYS_ADMIN is missing: without it what the BPF programs cost is not measured"),
    ] {
        let address = free_address().unwrap();
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set=-{capability}")).arg(host::schedscope());
        let mut daemon =
            Guarded(command.args(["daemon", "--listen", &address.to_string()]).stderr(Stdio::piped()).spawn().unwrap());
        if !is_fatal {
            assert!(comes_true(20, || try_get(address, "/metrics").is_some()), "without {capability}");
            let text = try_get(address, "/metrics").unwrap();
            assert_eq!(text.contains("schedscope_bpf_program_run_seconds_total"), capability != "sys_admin");
            let status: Value = serde_json::from_str(&try_get(address, "/status").unwrap()).unwrap();
            assert_eq!(status["cost_failure"].is_string(), capability == "sys_admin", "{status}");
            signal(daemon.id(), libc::SIGTERM);
        }
        assert_eq!(daemon.wait().unwrap().success(), !is_fatal, "without {capability}");
        let mut log = String::new();
        daemon.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(log.contains(said), "without {capability}: {log}");
        // What the addresses are for is said in words of its own, by what could not be read.
        let is_named = !is_fatal && capability != "syslog";
        assert_eq!(log.matches("is missing").count(), usize::from(is_named), "without {capability}: {log}");
    }
}

/// Neither the daemon nor its reader has to be root's.
#[test]
fn a_user_with_the_capabilities_of_the_unit_reads_as_root_does() {
    let Some(()) = privileged() else { return };
    let Some(setpriv) = installed(&["setpriv"], "util-linux") else { return };
    let Some(python) = python() else { return };
    let Some((_dir, program)) = host::schedscope_for_all() else { return };
    let capabilities = "-all,+bpf,+perfmon,+sys_ptrace,+checkpoint_restore,+dac_read_search";
    let mut command = Command::new(setpriv);
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["bounding-set", "inh-caps", "ambient-caps"].map(|set| format!("--{set}={capabilities}")));
    let daemon = Daemon::start_under(command.arg(program).stderr(Stdio::null()), free_address().unwrap(), "");
    assert_eq!(status_of(daemon.process.id(), "Uid").split_whitespace().next(), Some("65534"));
    assert_finds_pythons(&daemon, &python);
    end(daemon);
}
