//! Whether a step showed what it had to. Pure.

use schedscope::commands::check::Comparison;
use schedscope::verify::{self, Check};
use serde::Deserialize;
use serde_json::Value;

use super::budget::Counts;
use super::plan::{Expect, Outcome, Step};
use crate::rust_tests::RustTests;

/// A run that must lose nothing.
const NO_LOSS: &[&str] = &[];

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub step: String,
    pub failure: Option<String>,
    pub measured: String,
    /// Programs that were loaded, if it was the step that tells.
    pub programs: Counts,
    pub is_tests: bool,
    pub tests_passed: usize,
    /// With what they said.
    pub tests_failed: Vec<String>,
    /// Tests that left themselves out, each with its reason.
    pub tests_skipped: Vec<String>,
    /// The table that `schedscope check` printed, if it was that.
    pub table: String,
}

pub(crate) fn judge(step: &Step, outcome: &Outcome) -> Verdict {
    let mut verdict = Verdict { step: step.name.clone(), ..Verdict::default() };
    let result = match &step.expect {
        Expect::Doctor => doctor(outcome, &mut verdict),
        Expect::Check => check(outcome, &mut verdict),
        Expect::Tests => tests(outcome, &mut verdict),
        Expect::Exact => exact(outcome, NO_LOSS).map(|(_, measured)| measured),
        Expect::OnCpu { cpu, at_least_seconds } => exact(outcome, NO_LOSS).and_then(|(report, measured)| {
            let seconds = number(report, &format!("/on_cpu_seconds_by_cpu/{cpu}"));
            let found = format!("{seconds:.3} s on CPU {cpu}");
            let is_enough = seconds >= *at_least_seconds;
            if is_enough { Ok(format!("{measured}; {found}")) } else { Err(format!("{found}, not {at_least_seconds} s or more")) }
        }),
        Expect::Refused { reason, threads } => refused(outcome, reason, *threads),
        Expect::Migrations { distance, at_least } => exact(outcome, NO_LOSS).and_then(|(report, measured)| {
            let seen = number(report, &format!("/migrations/by_distance/{distance}"));
            let others = number(report, "/migrations/total") - seen;
            // Some of the others bring the workload to its first CPU.
            let is_right = seen >= *at_least as f64 && others < *at_least as f64 / 10.0;
            let found = format!("{seen} migrations at distance {distance}, {others} at others");
            let (cpus, cores) = (number(report, "/cpus/allowed"), number(report, "/cpus/physical_cores"));
            // A core of this machine has two CPUs, and its report tells of that.
            let has_two_each = (cpus - 2.0 * cores).abs() < 0.5;
            match () {
                () if !is_right => Err(format!("{found}; at least {at_least} and hardly any")),
                () if distance == "smt" && !has_two_each => Err(format!("{cpus} CPUs on {cores} cores")),
                () => Ok(format!("{measured}; {found}")),
            }
        }),
    };
    let exit = match outcome.exit_code {
        Some(0) => None,
        Some(code) => Some(format!("exit code {code}\n{}", outcome.output.trim_end())),
        None => Some(format!("killed, or never started, after {:.0} s\n{}", outcome.wall_seconds, outcome.output.trim_end())),
    };
    match result {
        Ok(measured) => {
            verdict.measured = measured;
            verdict.failure = exit;
        }
        Err(why) => verdict.failure = Some(exit.map_or(why.clone(), |exit| format!("{why}; {exit}"))),
    }
    verdict
}

/// Reads the lines about programs, of which none may be missing.
fn doctor(outcome: &Outcome, verdict: &mut Verdict) -> Result<String, String> {
    let mut failures = Vec::new();
    for line in outcome.output.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, count) = match words.as_slice() {
            ["ok", "program", name, "loaded"] => (*name, None),
            ["ok", "program", name, count, "instructions", "verified"] => (*name, count.parse().ok()),
            ["less", "program", ..] => {
                failures.push(line.trim());
                continue;
            }
            _ => continue,
        };
        verdict.programs.insert(name.to_owned(), count);
    }
    match (failures.is_empty(), verdict.programs.len()) {
        (true, 0) => Err("no program was loaded".to_owned()),
        (true, count) => Ok(format!("{count} programs loaded")),
        (false, _) => Err(failures.join("\n")),
    }
}

/// Keeps the table, and takes over what its comparisons come to.
fn check(outcome: &Outcome, verdict: &mut Verdict) -> Result<String, String> {
    outcome.output.trim_end().clone_into(&mut verdict.table);
    let comparisons = outcome.report.as_ref().and_then(|report| Vec::<Comparison>::deserialize(&report["comparisons"]).ok());
    let comparisons = comparisons.ok_or("no comparisons")?;
    agrees(comparisons.iter().map(|comparison| comparison.residual.verdict()).collect())?;
    Ok(format!("{} figures within their bounds", comparisons.len()))
}

/// What is out of bounds, or why nothing was compared, as an error.
fn agrees(verdict: verify::Verdict) -> Result<(), String> {
    match verdict {
        verify::Verdict::Agrees => Ok(()),
        verify::Verdict::Differs { rows } => Err(rows.join("; ")),
        verify::Verdict::NotCompared { why } => Err(why),
    }
}

/// Reads what Rust's test harness prints.
fn tests(outcome: &Outcome, verdict: &mut Verdict) -> Result<String, String> {
    verdict.is_tests = true;
    let mut told = RustTests::default();
    outcome.output.lines().for_each(|line| told.read(line));
    let summary = told.result.ok_or("the tests did not come to an end")?;
    (verdict.tests_passed, verdict.tests_skipped) = (told.counts.passed, told.counts.skipped);
    verdict.tests_failed = told.failed.iter().map(ToString::to_string).collect();
    if summary.starts_with("ok") { Ok(format!("{} tests passed", verdict.tests_passed)) } else { Err(summary) }
}

/// A run in which some threads were refused: who was is counted, and everybody else as ever.
fn refused(outcome: &Outcome, reason: &str, threads: u64) -> Result<String, String> {
    let (report, measured) = exact(outcome, &[reason])?;
    let count = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let (traced, refused) = (count("/tasks/threads"), count(&format!("/loss/by_reason/{reason}")));
    let found = format!("{traced} threads traced and {refused} refused, of {threads}");
    let is_right = traced > 0 && refused > 0 && traced + refused == threads;
    if is_right { Ok(format!("{measured}; {found}")) } else { Err(found) }
}

/// Takes over what a traced run's comparisons with the kernel come to; nothing may be lost but for these reasons.
fn exact<'a>(outcome: &'a Outcome, allowed_losses: &[&str]) -> Result<(&'a Value, String), String> {
    let report = outcome.report.as_ref().ok_or("no report")?;
    let check = Check::deserialize(&report["check"]).map_err(|error| format!("no check in the report: {error}"))?;
    let mut wrong: Vec<String> = agrees(check.verdict()).err().into_iter().collect();
    let expected: f64 = allowed_losses.iter().map(|reason| number(report, &format!("/loss/by_reason/{reason}"))).sum();
    let lost = number(report, "/loss/total");
    if lost - expected != 0.0 {
        wrong.push(format!("{lost} observations lost: {}", reasons(report)));
    }
    if !wrong.is_empty() {
        return Err(format!("{}; tasks {}", wrong.join("; "), report["tasks"]));
    }
    let times = check.residuals.iter().filter(|row| row.is_time() && row.verdict() == verify::Verdict::Agrees);
    let times: Vec<String> = times.map(ToString::to_string).collect();
    Ok((report, format!("{} threads, switches and migrations equal; {}", check.threads, times.join(", "))))
}

fn reasons(report: &Value) -> String {
    let by_reason = report.pointer("/loss/by_reason").and_then(Value::as_object);
    let named = by_reason.into_iter().flatten().filter(|(_, count)| count.as_f64() != Some(0.0));
    named.map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}

/// The number there; not a number, which equals and exceeds nothing, if it is missing.
fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests;
