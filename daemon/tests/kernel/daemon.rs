//! The daemon over HTTP; with encryption and a password, as Prometheus asks for them.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use procfs::process::Process;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use schedscope::lab::daemon::free_address;
use serde_json::Value;
use tempfile::TempDir;

use super::exact::{TICK_SECONDS, steal_seconds};
use super::host::{self, Guarded, assert_gone, comes_true, installed, privileged, send, shell_called, wait_for_programs};
use super::served::{Daemon, assert_never_down, request, rule, sum, try_get};

#[test]
fn a_thread_that_never_blocks_is_seen_at_every_scrape() {
    let Some(()) = privileged() else { return };
    // The name is one that no other run of these tests uses.
    let name = format!("spin-{}", std::process::id());
    let daemon = Daemon::start(&rule("spinner", &name));
    let dir = TempDir::new().unwrap();
    let shell = shell_called(&name, dir.path());
    let spinner = Guarded::start("taskset", &["-c", "0", shell.to_str().unwrap(), "-c", "while :; do :; done"]);
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
    let status: Value = serde_json::from_str(&daemon.get("/status")).unwrap();
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

/// An authority, and a certificate of it for localhost.
fn write_certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority, &authority_key).unwrap();
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

/// bcrypt of "open sesame", made with the C library.
pub(super) const HASH: &str = "$2b$06$dPIp5khKZlH53Rl.lOhBqOeIZaLb3TF3bN18hOaJNhbSse1l4a5n.";

#[test]
fn prometheus_scrapes_with_the_password_and_not_without() {
    let Some(_) = privileged().and_then(|()| installed(&["prometheus"], "prometheus")) else { return };
    let dir = TempDir::new().unwrap();
    write_certificates(dir.path());
    let web = dir.path().join("web.yml");
    let text = format!("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prometheus: {HASH}\n");
    fs::write(&web, text).unwrap();
    let checked = Command::new("promtool").args(["check", "web-config"]).arg(&web).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");

    let port = free_address().unwrap().port();
    let mut command = Command::new(host::schedscope());
    // All addresses, which is refused without a web configuration.
    command.args(["daemon", "--listen", &format!("0.0.0.0:{port}"), "--web-config"]).arg(&web);
    let _daemon = Guarded(command.stderr(Stdio::null()).spawn().unwrap());
    let job = |name: &str, password: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  tls_config: {{ca_file: ca.pem}}\n  basic_auth: {{username: prometheus, \
             password: {password}}}\n  static_configs: [{{targets: ['localhost:{port}']}}]\n"
        )
    };
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{}{}",
        job("right", "open sesame"),
        job("wrong", "close sesame")
    );
    fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    let address = free_address().unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
    command.arg(format!("--web.listen-address={address}"));
    let _prometheus = Guarded(command.stderr(Stdio::null()).spawn().unwrap());
    let value = |query: &str| -> Option<String> {
        let answer: Value = serde_json::from_str(&try_get(address, &format!("/api/v1/query?query={query}"))?).ok()?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    assert!(comes_true(60, || value("up{job=%22right%22}").as_deref() == Some("1")), "it is not scraped");
    assert!(value("count(schedscope_workload_on_cpu_seconds_total)").is_some_and(|count| count != "0"));
    // The other asks all the while, and a wrong password delays nobody.
    assert!(comes_true(10, || value("up{job=%22wrong%22}").as_deref() == Some("0")), "a wrong password is let in");
    assert!(comes_true(20, || value("count_over_time(up{job=%22right%22}[20s])")
        .is_some_and(|count| count.parse::<u32>().unwrap() >= 5)));
    assert_eq!(value("min_over_time(up{job=%22right%22}[5s])").as_deref(), Some("1"));
    let targets = try_get(address, "/api/v1/targets").unwrap();
    assert!(targets.contains("401 Unauthorized"), "{targets}");
}
