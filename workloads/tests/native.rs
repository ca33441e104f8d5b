//! Runs the real program and holds what it reports against what it was asked for.
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

/// Sums one of the kernel's counters over the reported tasks.
fn kernel_sum(report: &Value, counter: &str) -> u64 {
    report["kernel"].as_array().unwrap().iter().map(|task| number(&task[counter])).sum()
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
fn ping_pong_switches_once_for_each_pass() {
    for extra in [&[][..], &["--processes"]] {
        let args: Vec<_> = ["ping-pong", "--switches", "2000"].into_iter().chain(extra.iter().copied()).collect();
        let report = report(&args);
        assert_eq!(number(&report["work"]), 2000);
        // On a loaded machine the woken task may take the CPU before the waker blocks, which is a switch all the same.
        let switches = kernel_sum(&report, "voluntary") + kernel_sum(&report, "involuntary");
        assert!(switches >= 1998, "{report}");
    }
}

#[test]
fn migrate_migrates_as_often_as_it_says() {
    let output = output(&["migrate", "--count", "100"]);
    if !output.status.success() {
        // A machine with one CPU: then it must say so.
        assert!(String::from_utf8_lossy(&output.stderr).contains("two CPUs"));
        return;
    }
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Without CONFIG_SCHED_DEBUG the kernel does not tell.
    if let Some(migrations) = report["kernel"][0]["migrations"].as_u64() {
        assert_eq!(migrations - number(&report["expected"]["migrations_before"]), 100);
    }
}

#[test]
fn yields_are_involuntary_switches() {
    let report = report(&["yield-loop", "--count", "1000", "--threads", "2"]);
    let involuntary = kernel_sum(&report, "involuntary");
    assert!((1..=2200).contains(&involuntary), "{report}");
}

#[test]
fn storms_and_crowds_come_to_their_end() {
    assert_eq!(number(&report(&["fork-storm", "--count", "200", "--parallel", "4"])["work"]), 200);
    assert_eq!(number(&report(&["fork-storm", "--count", "5", "--exec"])["expected"]["execs"]), 5);
    assert_eq!(number(&report(&["many-threads", "--count", "300", "--seconds", "0.05"])["work"]), 300);
    let sleepers = report(&["sleepers", "--count", "5", "--seconds", "0.1", "--pause", "0.01"]);
    assert!(kernel_sum(&sleepers, "voluntary") >= number(&sleepers["work"]));
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
fn exec_from_a_thread_goes_on_as_the_same_process() {
    let report = report(&["exec-from-thread", "--work", "3"]);
    assert_eq!((&report["cell"], number(&report["work"])), (&Value::from("native-spin-serial"), 3));
}

#[test]
fn mixture_has_all_its_parts() {
    let report = report(&["mixed", "--seconds", "0.2"]);
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
