//! Runs the real program and holds what it reports against what it was asked for. What the kernel counts of the workloads with known
//! truth is compared in `daemon/tests/kernel/truth.rs`, traced.
#![expect(clippy::unwrap_used, reason = "a failed call is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_schedscope-workloads");

fn output(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

/// The one line of JSON that the program prints.
fn report(args: &[&str]) -> Value {
    let output = output(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a count: {value}"))
}

#[test]
fn every_model_does_exactly_the_work_asked_for() {
    for (task, model, workers) in
        [("spin", "serial", 1), ("factorial", "threads", 3), ("hash", "processes", 3), ("mutex", "threads", 4)]
    {
        let count = workers.to_string();
        let report = report(&["native", "--task", task, "--model", model, "--workers", &count, "--work", "11"]);
        assert_eq!(report["schema"], "schedscope.workload/1");
        assert_eq!(report["cell"], format!("native-{task}-{model}"));
        assert_eq!(number(&report["workers"]), workers);
        assert_eq!(number(&report["work"]), 11);
        assert!((100_000..1_000_000_000).contains(&number(&report["pss_bytes"])));
        assert!(report["wall_seconds"].as_f64().unwrap() >= report["work_seconds"].as_f64().unwrap());
    }
}

#[test]
fn waits_overlap_in_threads_and_add_up_in_series() {
    let wall = |model| {
        let args = ["native", "--task", "sleep", "--model", model, "--workers", "8", "--work", "8", "--pause", "0.05"];
        report(&args)["work_seconds"].as_f64().unwrap()
    };
    assert!(wall("serial") >= 0.4);
    assert!(wall("threads") < 0.2, "eight sleeps of 50 ms at once");
}

#[test]
fn fixed_time_ends_in_time() {
    let args = ["native", "--task", "spin", "--model", "processes", "--workers", "2", "--seconds", "0.2"];
    let report = report(&args);
    let seconds = report["work_seconds"].as_f64().unwrap();
    assert!((0.2..2.0).contains(&seconds), "{seconds}");
    let [begin, end] = [0, 1].map(|edge| number(&report["window_monotonic_ns"][edge]));
    assert!(begin < end);
}

#[test]
fn daemon_reports_or_is_left_behind() {
    assert!(number(&report(&["double-fork", "--seconds", "0.05"])["work"]) > 0);
    let begin = Instant::now();
    let left = report(&["double-fork", "--seconds", "1.5", "--leave"]);
    assert!(begin.elapsed() < Duration::from_secs(1), "it waited for the daemon");
    let daemon = left["expected"]["tid_of_daemon"].to_string();
    let comm = std::fs::read_to_string(format!("/proc/{daemon}/comm")).unwrap();
    assert_eq!(comm, "daemon\n");
}

#[test]
fn mixture_has_all_its_parts() {
    // On a busy host its parts begin one after another.
    let report = report(&["mixed", "--seconds", "1"]);
    for part in ["sleeps", "yields", "children"] {
        assert!(number(&report["expected"][part]) > 0, "{report}");
    }
}

#[test]
fn server_answers_after_its_delay() {
    let mut server = Command::new(PROGRAM).args(["serve-http", "--delay-ms", "50"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").unwrap().trim_end_matches('/');
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let waited = begin.elapsed();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(waited >= Duration::from_millis(50), "{waited:?}");
}

#[test]
fn errors_are_sentences_and_codes() {
    let output = output(&["native", "--task", "mutex", "--model", "processes"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("take --model threads") && !text.contains("panicked"), "{text}");
}
