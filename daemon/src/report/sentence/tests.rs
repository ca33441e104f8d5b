//! Each kind of program once, and then any report at all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::super::samples::{Sample, any_report};
use super::*;

/// Programs that want the CPU, and programs that wait for something else.
fn wanting_and_waiting() -> Vec<(Sample, &'static str)> {
    vec![
        (Sample::new(2, 4.0), "No thread of this program was seen, so nothing can be said about its use of the cores."),
        (
            Sample::new(2, 4.0).thread("spin", [4.0, 0.0], &[]),
            "1 thread keeps 1.00 of 2 cores busy: a single thread cannot use more than one.",
        ),
        (Sample::new(2, 4.0).threads(2, "worker", [3.96, 0.04], &[]).each_a_process(), "2 processes keep 1.98 of 2 cores busy."),
        (
            Sample::new(2, 4.0).threads(4, "worker", [1.98, 2.02], &[]).each_a_process(),
            "4 processes want 4.00 cores and get 1.98 of 2: 50 % of the time they could run they wait for a CPU.",
        ),
        (
            Sample::new(2, 4.0).threads(8, "worker", [0.495, 0.015], &[("gil", 3.49)]),
            "8 threads want 1.02 cores and get 0.99 of 2: 87 % of their time they wait for the GIL.",
        ),
        (
            Sample::new(4, 4.0).threads(4, "worker", [0.98, 0.52], &[("gil", 2.5)]).thread("main", [0.02, 0.0], &[("futex", 3.98)]),
            "5 threads want 1.50 cores and get 0.98 of 4: 62 % of their time the 4 busiest wait for the GIL; 35 % of the time they could run they wait for a CPU.",
        ),
        (
            Sample::new(2, 4.0).thread("sleeper", [0.04, 0.0], &[("sleep", 3.96)]),
            "1 thread sleeps 99 % of its time and wants 0.01 of 2 cores: more cores would not make it faster.",
        ),
        (
            Sample::new(2, 4.0)
                .thread("sh", [0.01, 0.0], &[("child_wait", 3.99)])
                .thread("sleep", [0.01, 0.0], &[("sleep", 3.98)])
                .each_a_process(),
            "2 processes wait for child processes 50 % of their time, sleep 50 %, and want 0.01 of 2 cores: more cores would not make them faster.",
        ),
        (
            Sample::new(2, 4.0).thread("starved", [0.04, 0.3], &[("poll", 3.66)]),
            "1 thread waits for events 92 % of its time and wants 0.08 of 2 cores: 88 % of the time it could run it waits for a CPU.",
        ),
        (
            Sample::new(2, 4.0).threads(64, "fetch", [0.004, 0.001], &[("pipe_socket", 3.995)]),
            "64 threads wait for pipes or sockets >99 % of their time and want 0.08 of 2 cores: more cores would not make them faster.",
        ),
        (
            Sample::new(2, 4.0).threads(64, "tick", [0.004, 0.036], &[("sleep", 3.96)]),
            "64 threads want 0.64 cores and get 0.06 of 2: 99 % of their time they sleep; 90 % of the time they could run they wait for a CPU.",
        ),
    ]
}

/// Programs that something or somebody keeps from the CPU.
fn limited() -> Vec<(Sample, &'static str)> {
    vec![
        (
            Sample::new(2, 4.0).thread("reader", [1.6, 0.0], &[("disk", 2.4)]),
            "1 thread keeps 0.40 of 2 cores busy: 60 % of its time it waits for the disk, and a single thread cannot use more than one.",
        ),
        (
            Sample::new(2, 4.0).allowed(1).threads(2, "spin", [1.99, 2.01], &[]),
            "2 threads want 2.00 cores and get 0.99 of 1: 50 % of the time they could run they wait for a CPU; they may use 1 of the 2 online.",
        ),
        (
            Sample::new(2, 4.0).allowed(1).thread("spin", [3.98, 0.02], &[]),
            "1 thread keeps 0.99 of 1 core busy; it may use 1 of the 2 online.",
        ),
        (
            Sample::new(2, 4.0).threads(2, "spin", [2.0, 2.0], &[]).foreign(3.9),
            "2 threads want 2.00 cores and get 1.00 of 2: 50 % of the time they could run they wait for a CPU, and other programs took 0.97 cores.",
        ),
        (
            Sample::new(2, 4.0).threads(2, "spin", [2.0, 2.0], &[]).on_one_cpu(),
            "2 threads want 2.00 cores and get 1.00 of 2: 50 % of the time they could run they wait for a CPU, and 1 core had nearly all of their CPU time, as if pinned.",
        ),
        (
            Sample::new(2, 4.0).threads(4, "spin", [0.5, 3.5], &[]),
            "4 threads want 4.00 cores and get 0.50 of 2: 88 % of the time they could run they wait for a CPU, though 1.50 cores were idle, as under a CPU quota.",
        ),
        (
            Sample::new(2, 4.0)
                .threads(40, "cc1", [0.095, 0.0], &[])
                .thread("make", [0.005, 0.0], &[("child_wait", 3.9)])
                .each_a_process(),
            "41 processes keep 0.95 of 2 cores busy: of the 40 busiest threads 0.95 are alive at a time.",
        ),
        (
            Sample::new(2, 4.0).thread("main", [3.9, 0.0], &[("disk", 0.1)]).thread("helper", [0.01, 0.0], &[("futex", 3.9)]),
            "2 threads keep 0.98 of 2 cores busy: one thread does >99 % of the work.",
        ),
        (
            Sample::new(8, 4.0).threads(8, "lock", [0.5, 0.02], &[("futex", 2.0), ("sleep", 1.48)]),
            "8 threads want 1.04 cores and get 1.00 of 8: 50 % of their time they wait for locks or other threads, 37 % they sleep.",
        ),
    ]
}

#[test]
fn each_kind_of_program_gets_its_true_sentence() {
    let cases = wanting_and_waiting().into_iter().chain(limited());
    let wrong: Vec<String> = cases
        .map(|(sample, expected)| (sentence(&sample.report()), expected))
        .filter(|(text, expected)| text != expected)
        .map(|(text, expected)| format!("    {text}\nnot {expected}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

proptest! {
    #[test]
    fn any_report_gives_one_clean_sentence(report in any_report()) {
        let text = sentence(&report);
        prop_assert!(text.ends_with('.') && !text.contains("..") && !text.contains("  "), "{text}");
        prop_assert!(!text.contains("NaN") && !text.contains("inf") && !text.contains('-'), "{text}");
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        let words: Vec<&str> = text.split([' ', '.', ':', ',', ';']).collect();
        for pair in words.windows(2) {
            if pair[0] == "1" {
                prop_assert!(!matches!(pair[1], "threads" | "processes" | "cores" | "busiest"), "{text}");
            }
            if pair[1] == "%" {
                let percent = pair[0].trim_start_matches(['<', '>']).parse::<u32>();
                prop_assert!(percent.is_ok_and(|percent| percent <= 100), "{text}");
            }
        }
    }

    #[test]
    fn singular_subjects_take_singular_verbs(mut report in any_report()) {
        report.tasks.threads = 1;
        report.tasks.processes = 1;
        let text = sentence(&report);
        prop_assert!(text.starts_with("1 thread "), "{text}");
        let verb = text.split(' ').nth(2).unwrap();
        prop_assert!(matches!(verb, "keeps" | "wants" | "sleeps" | "waits" | "is"), "{text}");
        prop_assert!(!text.contains(" they ") && !text.contains(" their ") && !text.contains(" get "), "{text}");
    }
}
