use serde_json::json;

use super::*;

fn verdict(expect: Expect, outcome: &Outcome) -> Verdict {
    judge(&Step { name: "step".into(), expect, command: Vec::new(), timeout_seconds: 1 }, outcome)
}

fn failure(expect: Expect, outcome: &Outcome) -> Option<String> {
    verdict(expect, outcome).failure
}

fn printed(output: &str) -> Outcome {
    Outcome { exit_code: Some(0), output: output.into(), ..Outcome::default() }
}

/// A comparison that allows a difference of `most` to either side.
fn row(quantity: &str, difference: f64, most: f64) -> Value {
    json!({ "source": "task_struct", "quantity": quantity, "ours": 10.0 + difference, "kernel": 10.0, "difference": difference,
        "at_least": -most, "at_most": most, "within": difference.abs() <= most })
}

/// A run of two threads whose counts differ by that from the kernel's.
fn traced(difference: f64, on_cpu_difference: f64, lost: u64) -> Outcome {
    let report = json!({
        "check": { "threads": 2, "threads_differing": u8::from(difference != 0.0), "residuals": [
            row("nvcsw", difference, 0.0),
            row("sum_exec_runtime_seconds", on_cpu_difference, 0.001),
        ] },
        "loss": { "total": lost, "by_reason": { "task_table_full": lost, "other": 0 } },
        "tasks": { "threads": 2 },
        "on_cpu_seconds_by_cpu": { "5": 0.5 },
        "switches": { "voluntary": 10, "preempted": 3, "yielded": 0 },
        "cpus": { "allowed": 8, "physical_cores": 4 },
        "migrations": { "total": 520, "by_distance": { "smt": 505, "llc": 15 } },
    });
    Outcome { exit_code: Some(0), report: Some(report), ..Outcome::default() }
}

#[test]
fn programs_are_read_with_and_without_a_count() {
    let output = "ok    hook sched_switch          3 arguments\n\
                  ok    program sched_switch       17270 instructions verified\n\
                  ok    program seed_tasks         loaded\n";
    let verdict = verdict(Expect::Doctor, &printed(output));
    assert_eq!(verdict.failure, None);
    let expected = [("sched_switch".to_owned(), Some(17270)), ("seed_tasks".to_owned(), None)];
    assert_eq!(verdict.programs, Counts::from(expected));
    assert!(failure(Expect::Doctor, &printed("")).is_some());
    let refused = "ok    program sched_switch       loaded\nless  program sched_waking       access beyond the end\n";
    assert!(failure(Expect::Doctor, &printed(refused)).is_some_and(|why| why.contains("access beyond the end")));
}

#[test]
fn any_difference_loss_or_exit_code_fails() {
    let passes = |outcome: &Outcome| failure(Expect::Exact, outcome).is_none();
    assert!(passes(&traced(0.0, 0.0, 0)));
    assert!(passes(&traced(0.0, 0.0009, 0)), "within the tolerance");
    assert!(!passes(&traced(0.0, -0.0011, 0)));
    assert!(!passes(&traced(-1.0, 0.0, 0)));
    assert!(!passes(&Outcome { exit_code: Some(1), ..traced(0.0, 0.0, 0) }));
    assert!(!passes(&Outcome { exit_code: None, ..traced(0.0, 0.0, 0) }));
    assert!(!passes(&printed("no report")));
    assert!(!passes(&Outcome { exit_code: Some(0), report: Some(json!({})), ..Outcome::default() }));
    let lossy = failure(Expect::Exact, &traced(0.0, 0.0, 1));
    assert!(lossy.is_some_and(|why| why.starts_with("1 observations lost: task_table_full 1;")));
}

#[test]
fn everybody_is_either_traced_or_counted() {
    let refused = |threads, outcome| failure(Expect::Refused { reason: "task_table_full".into(), threads }, &outcome);
    assert_eq!(refused(9, traced(0.0, 0.0, 7)), None);
    assert!(refused(10, traced(0.0, 0.0, 7)).is_some(), "one is neither");
    assert!(refused(2, traced(0.0, 0.0, 0)).is_some(), "the table was never full");
    assert!(refused(9, traced(1.0, 0.0, 7)).is_some());
}

#[test]
fn what_a_cpu_did_must_be_enough() {
    let passes = |cpu, at_least_seconds| failure(Expect::OnCpu { cpu, at_least_seconds }, &traced(0.0, 0.0, 0)).is_none();
    assert!(passes(5, 0.5) && !passes(5, 0.6));
    assert!(!passes(4, 0.1), "nothing is known of that CPU");
}

#[test]
fn a_check_is_judged_by_its_comparisons() {
    let checked = |comparisons: Value| Outcome { report: Some(json!({ "comparisons": comparisons })), ..printed("the table\n") };
    let failure = |outcome: &Outcome| failure(Expect::Check, outcome);
    assert_eq!(failure(&checked(json!([row("nvcsw", 0.0, 0.0)]))), None);
    let differs = failure(&checked(json!([row("nvcsw", 1.0, 0.0), row("nivcsw", 0.0, 0.0)])));
    assert_eq!(differs.as_deref(), Some("task_struct nvcsw +1 (0 allowed)"));
    assert!(failure(&checked(json!([]))).is_some(), "nothing was compared");
    assert!(failure(&printed("no report")).is_some());
    assert!(failure(&Outcome { exit_code: Some(1), ..checked(json!([row("nvcsw", 0.0, 0.0)])) }).is_some());
}

#[test]
fn migrations_count_at_their_own_distance_alone() {
    let passes =
        |distance: &str| failure(Expect::Migrations { distance: distance.into(), at_least: 500 }, &traced(0.0, 0.0, 0)).is_none();
    assert_eq!(["smt", "llc", "remote"].map(passes), [true, false, false]);
    let mut sharing = traced(0.0, 0.0, 0);
    sharing.report.as_mut().unwrap()["cpus"]["physical_cores"] = json!(8);
    assert!(failure(Expect::Migrations { distance: "smt".into(), at_least: 500 }, &sharing).is_some());
}

#[test]
fn tests_are_counted_without_those_that_left_themselves_out() {
    let output = "skipped: one CPU\ntest result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.0s\n";
    let counted = verdict(Expect::Tests, &printed(output));
    assert_eq!((counted.failure.as_ref(), counted.tests_passed, counted.tests_skipped.len()), (None, 4, 1));
    let shown = verdict(Expect::Tests, &printed(&format!("successes:\n    a::c\n\n{output}")));
    assert!(shown.tests_failed.is_empty(), "{shown:?}");
    let output = format!("failures:\n\n---- a::b stdout ----\nwhy\n\nfailures:\n    a::b\n\n{output}");
    let failed = verdict(Expect::Tests, &printed(&output.replace("ok. 5 passed; 0", "FAILED. 4 passed; 1")));
    assert!(failed.failure.is_some());
    assert_eq!(failed.tests_failed, ["a::b"]);
    assert!(failure(Expect::Tests, &printed("running 5 tests\n")).is_some());
}
