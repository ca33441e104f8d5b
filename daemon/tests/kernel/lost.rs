//! Where the cores of the daemon's workloads went, on programs that lose them to something known beforehand.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::allowance::Group;
use super::host::{Guarded, comes_true, cpus, privileged, python, shell_called};
use super::served::{Daemon, assert_never_down, rule, sum};

/// Four threads that compute under one lock.
const LOCKED: &str = "
import threading
def compute():
    while True:
        pass
for _ in range(4):
    threading.Thread(target=compute).start()
";
/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(12);
/// The longest that a window is, if the machine is busy.
const WINDOW_SECONDS: f64 = 4.0;

fn lost(text: &str, workload: &str, cause: &str) -> f64 {
    sum(text, &format!("schedscope_workload_lost_cpu_seconds_total{{workload=\"{workload}\",cause=\"{cause}"))
}

/// CPU time that was there for it: what it used and what it lost.
fn given(text: &str, workload: &str) -> f64 {
    lost(text, workload, "") + on_cpu(text, workload)
}

fn on_cpu(text: &str, workload: &str) -> f64 {
    sum(text, &format!("schedscope_workload_on_cpu_seconds_total{{workload=\"{workload}\""))
}

fn model(text: &str, workload: &str) -> Vec<String> {
    let series = format!("schedscope_workload_info{{workload=\"{workload}\"");
    let lines = text.lines().filter(|line| line.starts_with(&series));
    lines.map(|line| line.split("model=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
}

/// What `/status` says of the last window of a workload.
fn last_window(daemon: &Daemon, workload: &str) -> Value {
    let status: Value = serde_json::from_str(&daemon.get("/status")).unwrap();
    let workloads = status["workloads"].as_array().unwrap();
    workloads.iter().find(|it| it["name"] == workload).map_or(Value::Null, |it| it["last_window"].clone())
}

#[test]
fn cores_are_lost_to_a_lock_and_to_a_quota() {
    let Some(()) = privileged() else { return };
    let Some(()) = cpus(2) else { return };
    let Some(python) = python() else { return };
    let names = ["locked", "throttled"].map(|name| format!("{}-{}", &name[..4], std::process::id()));
    let daemon = Daemon::start(&(rule("locked", &names[0]) + &rule("throttled", &names[1])));
    let dir = TempDir::new().unwrap();
    // The names are from the exec on; a Python finds its library by where the link leads.
    let link = dir.path().join(&names[0]);
    symlink(fs::canonicalize(python).unwrap(), &link).unwrap();
    let _locked = Guarded::start(link, &["-c", LOCKED]);
    let group = Group::with_quota(30_000);
    let shell = shell_called(&names[1], dir.path());
    let _throttled = Guarded::start(shell, &["-c", &group.script("while :; do :; done")]);

    let is_known = |text: &str| lost(text, "locked", "wait_gil") > 0.0 && lost(text, "throttled", "quota") > 0.0;
    assert!(comes_true(30, || is_known(&daemon.get("/metrics"))), "{}", daemon.get("/metrics"));
    let kernels_count = || group.counter("nr_throttled ");
    let throttled = |text: &str| sum::<u64>(text, "schedscope_workload_throttled_periods_total{workload=\"throttled\"");
    let (begin, first, kernel_before) = (Instant::now(), daemon.get("/metrics"), kernels_count());
    let mut text = first.clone();
    while begin.elapsed() < WATCHED {
        sleep(Duration::from_millis(700));
        let now = daemon.get("/metrics");
        assert_never_down(&text, &now);
        text = now;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let kernels = kernels_count() - kernel_before;

    let grown = |workload: &str, cause: &str| lost(&text, workload, cause) - lost(&first, workload, cause);
    let cores = text.lines().filter(|line| line.starts_with("schedscope_cpu_idle_seconds_total{")).count() as f64;
    for workload in ["locked", "throttled"] {
        // All there was, but for the parts of windows at both ends.
        let given = given(&text, workload) - given(&first, workload);
        assert!((given - cores * seconds).abs() < cores * WINDOW_SECONDS, "{workload}: {given} s in {seconds} s of {cores} CPUs");
        let window = last_window(&daemon, workload);
        let ns = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{window}"));
        let lost_ns: u64 = window["lost_ns"].as_object().unwrap().values().map(ns).sum();
        assert_eq!(ns(&window["used_ns"]) + lost_ns, ns(&window["given_ns"]), "{window}");
    }
    assert_eq!(grown("locked", "quota").to_bits(), 0.0_f64.to_bits());
    let quota = grown("throttled", "quota");
    assert!(quota > 0.1 * (seconds - WINDOW_SECONDS), "{quota} s lost to the quota of {seconds} s");
    assert_eq!(grown("throttled", "wait_gil").to_bits(), 0.0_f64.to_bits());
    // The kernel's own counters, up to the ends of windows.
    let ours = throttled(&text) - throttled(&first);
    assert!(ours.abs_diff(kernels) as f64 <= 10.0 * WINDOW_SECONDS && ours > 0, "{ours} periods, by the kernel {kernels}");

    // The words of a run.
    let says = |workload: &str, limit: &str, words: &str| {
        let window = last_window(&daemon, workload);
        let advice = window["advice"].as_str().unwrap_or_default();
        window["limit"] == limit && advice.contains(words) && !window["sentence"].as_str().unwrap_or_default().is_empty()
    };
    let file = group.file();
    let told = comes_true(20, || says("throttled", "quota", file.to_str().unwrap()));
    assert!(told, "{}", last_window(&daemon, "throttled"));
    let idle = |text: &str| sum::<f64>(text, "schedscope_cpu_idle_seconds_total{");
    let used = |text: &str| ["locked", "throttled"].map(|workload| on_cpu(text, workload)).iter().sum::<f64>();
    let others = cores * seconds - (idle(&text) - idle(&first)) - (used(&text) - used(&first));
    if others > 0.1 * cores * seconds {
        println!("skipped, since others used the CPUs for {others} s of {seconds} s: how much is lost to the lock");
        return;
    }
    // It lets one of them run at a time.
    let gil = grown("locked", "wait_gil");
    assert!(gil > 0.4 * (seconds - WINDOW_SECONDS), "{gil} s lost to the lock of {seconds} s");
    assert!(comes_true(20, || says("locked", "gil", "processes")), "{}", last_window(&daemon, "locked"));
    assert_eq!(model(&daemon.get("/metrics"), "locked"), ["threads (GIL-bound)"]);
}
