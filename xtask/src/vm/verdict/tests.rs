use serde_json::json;

use super::*;

fn step(expect: Expect) -> Step {
    Step { name: "step".into(), expect, command: Vec::new(), timeout_seconds: 1 }
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
        "migrations": { "total": 520, "by_distance": { "smt": 505, "llc": 15 } },
    });
    Outcome { exit_code: Some(0), report: Some(report), ..Outcome::default() }
}

#[test]
fn programs_are_read_with_and_without_a_count() {
    let output = "ok    hook sched_switch          3 arguments\n\
                  ok    program sched_switch       17270 instructions verified\n\
                  ok    program seed_tasks         loaded\n";
    let verdict = judge(&step(Expect::Doctor), &printed(output));
    assert_eq!(verdict.failure, None);
    let expected = [("sched_switch".to_owned(), Some(17270)), ("seed_tasks".to_owned(), None)];
    assert_eq!(verdict.programs, Counts::from(expected));
    assert!(judge(&step(Expect::Doctor), &printed("")).failure.is_some());
}

#[test]
fn a_program_that_is_refused_fails_with_the_reason() {
    let output = "ok    program sched_switch       loaded\nless  program sched_waking       access beyond the end\n";
    let failure = judge(&step(Expect::Doctor), &printed(output)).failure;
    assert!(failure.is_some_and(|why| why.contains("access beyond the end")));
}

#[test]
fn any_difference_loss_or_exit_code_fails() {
    let passes = |outcome: &Outcome| judge(&step(Expect::Exact), outcome).failure.is_none();
    assert!(passes(&traced(0.0, 0.0, 0)));
    assert!(passes(&traced(0.0, 0.0009, 0)), "within the tolerance");
    assert!(!passes(&traced(0.0, -0.0011, 0)));
    assert!(!passes(&traced(-1.0, 0.0, 0)));
    assert!(!passes(&traced(0.0, 0.0, 1)));
    assert!(!passes(&Outcome { exit_code: Some(1), ..traced(0.0, 0.0, 0) }));
    assert!(!passes(&Outcome { exit_code: None, ..traced(0.0, 0.0, 0) }));
    assert!(!passes(&printed("no report")));
    assert!(!passes(&Outcome { exit_code: Some(0), report: Some(json!({})), ..Outcome::default() }));
}

#[test]
fn a_loss_is_named() {
    let failure = judge(&step(Expect::Exact), &traced(0.0, 0.0, 7)).failure;
    assert!(failure.is_some_and(|why| why.starts_with("7 observations lost: task_table_full 7;")));
}

#[test]
fn everybody_is_either_traced_or_counted() {
    let refused = |threads| step(Expect::Refused { reason: "task_table_full".into(), threads });
    let fails = |lost: u64, threads: u64| judge(&refused(threads), &traced(0.0, 0.0, lost)).failure;
    assert_eq!(fails(7, 9), None);
    assert!(fails(7, 10).is_some(), "one is neither");
    assert!(fails(0, 2).is_some(), "the table was never full");
    assert!(judge(&refused(9), &traced(1.0, 0.0, 7)).failure.is_some());
}

#[test]
fn what_a_cpu_did_must_be_enough() {
    let fails = |cpu: u32, at_least_seconds: f64| {
        judge(&step(Expect::OnCpu { cpu, at_least_seconds }), &traced(0.0, 0.0, 0)).failure.is_some()
    };
    assert!(!fails(5, 0.5));
    assert!(fails(5, 0.6));
    assert!(fails(4, 0.1), "nothing is known of that CPU");
}

#[test]
fn a_check_is_judged_by_its_comparisons() {
    let checked = |comparisons: Value| Outcome { report: Some(json!({ "comparisons": comparisons })), ..printed("the table\n") };
    let failure = |outcome: &Outcome| judge(&step(Expect::Check), outcome).failure;
    assert_eq!(failure(&checked(json!([row("nvcsw", 0.0, 0.0)]))), None);
    let differs = failure(&checked(json!([row("nvcsw", 1.0, 0.0), row("nivcsw", 0.0, 0.0)])));
    assert_eq!(differs.as_deref(), Some("task_struct nvcsw +1 (0 allowed)"));
    assert!(failure(&checked(json!([]))).is_some(), "nothing was compared");
    assert!(failure(&printed("no report")).is_some());
    assert!(failure(&Outcome { exit_code: Some(1), ..checked(json!([row("nvcsw", 0.0, 0.0)])) }).is_some());
}

#[test]
fn migrations_count_at_their_own_distance_alone() {
    let passes = |distance: &str| {
        let expect = Expect::Migrations { distance: distance.into(), at_least: 500 };
        judge(&step(expect), &traced(0.0, 0.0, 0)).failure.is_none()
    };
    assert!(passes("smt"));
    assert!(!passes("llc"));
    assert!(!passes("remote"));
}

#[test]
fn tests_are_counted_without_those_that_left_themselves_out() {
    let output = "skipped: one CPU\ntest result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.0s\n";
    let verdict = judge(&step(Expect::Tests), &printed(output));
    assert_eq!((verdict.failure.as_ref(), verdict.tests_passed, verdict.tests_skipped.len()), (None, 4, 1));
    let shown = judge(&step(Expect::Tests), &printed(&format!("successes:\n    a::c\n\n{output}")));
    assert!(shown.tests_failed.is_empty(), "{shown:?}");
    let output = format!("failures:\n\n---- a::b stdout ----\nwhy\n\nfailures:\n    a::b\n\n{output}");
    let failed = judge(&step(Expect::Tests), &printed(&output.replace("ok. 5 passed; 0", "FAILED. 4 passed; 1")));
    assert!(failed.failure.is_some());
    assert_eq!(failed.tests_failed, ["a::b"]);
    assert!(judge(&step(Expect::Tests), &printed("running 5 tests\n")).failure.is_some());
}
