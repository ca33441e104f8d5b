//! The daemon over HTTP.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    net::TcpStream,
    os::unix::ffi::OsStrExt,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    exact::{TICK_SECONDS, steal_seconds},
    host::{self, Guarded, comes_true, installed, privileged, send},
    leftovers::{assert_gone, wait_for_programs},
    served::{Daemon, assert_never_down, request, rule, sum},
};
use procfs::process::Process;
use tempfile::TempDir;

#[test]
fn a_thread_that_never_blocks_is_seen_at_every_scrape() {
    let Some(()) = privileged() else { return };
    // The name is one that no other run of these tests uses.
    let name = format!("spin-{}", std::process::id());
    let daemon = Daemon::start(&rule("spinner", &name));
    let spin = "printf \"$0\" > /proc/$$/comm; while :; do :; done";
    let spinner = Guarded::start("taskset", &["-c", "0", "sh", "-c", spin, &name]);
    let on_cpu = |text: &str| sum::<f64>(text, "schedscope_workload_on_cpu_seconds_total{workload=\"spinner\"");
    let demand = |text: &str| on_cpu(text) + sum::<f64>(text, "schedscope_workload_runnable_seconds_total{workload=\"spinner\"");
    assert!(comes_true(20, || on_cpu(&daemon.get("/metrics")) > 0.5), "the rule does not name the spinner");
    sleep(Duration::from_millis(300));

    // The reading was taken after the first of these moments and before the second.
    let scrape = || {
        let asked = Instant::now();
        (daemon.get("/metrics"), (asked, Instant::now()))
    };
    let kernels_before = kernel_seconds(&spinner);
    let steal_before = steal_seconds();
    let (first, first_taken) = scrape();
    let kernels_after = kernel_seconds(&spinner);
    let (mut before, mut taken) = (first.clone(), first_taken);
    for number in 1..=30 {
        // Longer than scrapes share a reading.
        sleep(Duration::from_millis(300));
        let least = kernel_seconds(&spinner) - kernels_after - TICK_SECONDS;
        let (text, now) = scrape();
        // C is the kernel's at every scrape, though the thread may never switch; the kernel's own account is a tick old. Until it
        // switches, time that a hypervisor took from it is not told apart.
        let most = kernel_seconds(&spinner) - kernels_before + TICK_SECONDS + (steal_seconds() - steal_before);
        let ran = on_cpu(&text) - on_cpu(&first);
        assert!((least..=most).contains(&ran), "scrape {number}: it ran {ran} s, by the kernel {least} to {most} s");
        assert_never_down(&before, &text);
        let grown = demand(&text) - demand(&before);
        let (least, most) = ((now.0 - taken.1).as_secs_f64() - 0.005, (now.1 - taken.0).as_secs_f64() + 0.005);
        assert!((least..=most).contains(&grown), "scrape {number}: D grew by {grown} s in {least} to {most} s");
        (before, taken) = (text, now);
    }
    let blocked = "schedscope_workload_blocked_seconds_total{workload=\"spinner\"";
    assert!(sum::<f64>(&before, blocked) - sum::<f64>(&first, blocked) < 0.01, "it never blocks");
    let (ours, kernel) = (on_cpu(&before), kernel_seconds(&spinner));
    // Until its first scan the daemon counted it as `other`; and time passes between its reading and ours.
    let late = 0.02 + taken.0.elapsed().as_secs_f64();
    assert!((kernel - 1.0 - late..=kernel + 0.02).contains(&ours), "our count {ours} s, the kernel's {kernel} s");
}

/// Seconds on a CPU by the kernel's account, which is a tick old.
fn kernel_seconds(process: &Child) -> f64 {
    let process = Process::new(process.id().cast_signed()).unwrap();
    process.schedstat().unwrap().sum_exec_runtime as f64 / 1e9
}

/// Prometheus's own parser and linter find nothing to say.
fn assert_accepted(text: &str) {
    assert!(text.contains("schedscope_workload_on_cpu_seconds_total{"), "{text}");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn prometheus_accepts_the_metrics_whatever_programs_are_called() {
    let Some(_) = privileged().and_then(|()| installed(&["promtool"], "prometheus")) else { return };
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(OsStr::from_bytes(b"a\"} 1\n# x\\\xff{b=\""));
    fs::copy(host::workloads(), &path).unwrap();
    let program = Guarded::start(&path, &["native", "--task", "spin", "--model", "serial", "--seconds", "60"]);
    let daemon = Daemon::start("");
    assert_accepted(&daemon.get("/metrics"));
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", program.id())).unwrap();
    let is_of_a_container = cgroup.contains(".scope") && !cgroup.contains("session-");
    if cgroup.contains(".service") || is_of_a_container {
        println!("skipped: programs are named by their units here, which no program chooses");
        return;
    }
    let name = "a'} 1?# x\\\\\u{fffd}{b='";
    let series = format!("schedscope_workload_on_cpu_seconds_total{{workload=\"{name}\"");
    assert!(comes_true(20, || sum::<f64>(&daemon.get("/metrics"), &series) > 0.2), "{}", daemon.get("/metrics"));
    assert_accepted(&daemon.get("/metrics"));
}

#[test]
fn a_daemon_answers_whoever_may_ask_and_ends_at_sigterm() {
    let Some(()) = privileged() else { return };
    let mut daemon = Daemon::start("");
    // One says nothing, one stops in the middle, one asks and does not read: nobody waits for them.
    let _silent = TcpStream::connect(daemon.address).unwrap();
    let mut halting = TcpStream::connect(daemon.address).unwrap();
    halting.write_all(b"GET /metrics HT").unwrap();
    let mut deaf = TcpStream::connect(daemon.address).unwrap();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let start = Instant::now();
    assert!(daemon.get("/metrics").contains("schedscope_"));
    assert_eq!(daemon.get("/healthz"), "ok\n");
    assert!(daemon.get("/").contains("/metrics"));
    let status: serde_json::Value = serde_json::from_str(&daemon.get("/status")).unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let attached = status["programs"].as_array().unwrap().iter().filter(|program| program["attached"] == true);
    assert!(attached.count() >= 7, "{status}");

    let (status, body) = request(daemon.address, "/metrics", "rebound.example.org").unwrap();
    assert!(status == 421 && !body.contains("schedscope_"), "{status}: {body}");
    let refused = "schedscope_scrapes_refused_total{reason=\"foreign_host\"}";
    // Scrapes may share a reading that was taken before.
    assert!(comes_true(5, || sum::<u64>(&daemon.get("/metrics"), refused) == 1), "{}", daemon.get("/metrics"));

    let programs = wait_for_programs(daemon.process.id());
    send(daemon.process.id(), libc::SIGTERM);
    assert_eq!(daemon.process.wait().unwrap().code(), Some(0));
    assert_gone(&programs);
}
