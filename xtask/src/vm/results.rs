//! What the machines found: as data, `target/vm/results.json`, and as the tables that are printed at the end.

use std::collections::BTreeSet;
use std::{iter, mem};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::budget::Counts;
use super::kernels::{self, Kernel};
use super::plan::{Outcome, Step};
use super::verdict::Verdict;
use crate::architecture::Architecture;

/// One step on one kernel. Who writes it leaves the residuals as they are in the report; who reads it says what they are.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Finding<Residuals> {
    /// `uname -r`.
    pub kernel: String,
    pub step: String,
    pub command: Vec<String>,
    /// Threads compared with the kernel; nothing where none was traced, like the next three.
    pub threads: Option<u64>,
    /// Threads of which a count differs from the kernel's.
    pub threads_differing: Option<u64>,
    /// Our figure, the kernel's and the difference by quantity, as in the report of a run.
    pub residuals: Option<Residuals>,
    pub loss_total: Option<u64>,
    /// Tests passed; nothing where there were none.
    pub tests_passed: Option<usize>,
    pub tests_failed: Vec<String>,
    /// Why tests skipped themselves.
    pub tests_skipped: Vec<String>,
    /// By the machine's clock.
    pub wall_seconds: f64,
    pub passed: bool,
    pub failure: Option<String>,
}

impl Finding<Value> {
    pub(super) fn new(kernel: &str, step: &Step, outcome: &Outcome, verdict: &Verdict) -> Self {
        let at = |pointer: &str| outcome.report.as_ref().and_then(|report| report.pointer(pointer));
        Self {
            kernel: kernel.to_owned(),
            step: step.name.clone(),
            command: step.command.clone(),
            threads: at("/check/threads").and_then(Value::as_u64),
            // The other names are those of `schedscope check`.
            threads_differing: at("/check/threads_differing").or_else(|| at("/threads_differing")).and_then(Value::as_u64),
            residuals: at("/check/residuals").or_else(|| at("/comparisons")).filter(|residuals| residuals.is_array()).cloned(),
            loss_total: at("/loss/total").and_then(Value::as_u64),
            tests_passed: verdict.is_tests.then_some(verdict.tests_passed),
            tests_failed: verdict.tests_failed.clone(),
            tests_skipped: verdict.tests_skipped.clone(),
            wall_seconds: outcome.wall_seconds,
            passed: verdict.failure.is_none(),
            failure: verdict.failure.clone(),
        }
    }
}

/// What is known of a kernel after its run.
pub(super) struct KernelResult {
    /// Its first two numbers, and the architecture if it is another than this host's.
    pub kernel: String,
    /// `uname -r`, once it has booted.
    pub release: Option<String>,
    pub verdicts: Vec<Verdict>,
    /// Why the run did not come to its end.
    pub broken: Option<String>,
    pub excesses: Vec<String>,
    /// What failed at first and passed when it was repeated.
    pub repeated: Vec<String>,
    pub wall_seconds: f64,
}

impl KernelResult {
    /// Of a kernel that has not booted yet.
    pub(super) fn of(kernel: String) -> Self {
        let (verdicts, excesses, repeated) = (Vec::new(), Vec::new(), Vec::new());
        Self { kernel, release: None, verdicts, broken: None, excesses, repeated, wall_seconds: 0.0 }
    }

    /// Has what was repeated instead of what it was at first.
    pub(super) fn replace_with(&mut self, again: Self) {
        let has_passed = |step: &str| again.verdicts.iter().any(|verdict| verdict.step == step && verdict.failure.is_none());
        let (kept, failed) = mem::take(&mut self.verdicts).into_iter().partition::<Vec<_>, _>(|verdict| verdict.failure.is_none());
        let steps = failed.iter().filter(|verdict| has_passed(&verdict.step)).filter_map(complaint);
        let end = self.broken.take().filter(|_| again.broken.is_none());
        self.repeated = steps.chain(end).map(|why| format!("Linux {}: {why}", self.kernel)).collect();
        self.verdicts = kept.into_iter().chain(again.verdicts).collect();
        self.broken = again.broken;
        self.release = self.release.take().or(again.release);
    }

    /// Steps that failed, plus the end that was not reached and every budget that was exceeded.
    pub(super) fn failures(&self) -> usize {
        self.complaints().len()
    }

    /// A line for each of them.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.verdicts.iter().filter_map(complaint).chain(self.broken.clone()).chain(self.excesses.clone()).collect()
    }

    /// Steps that passed; the tests are counted one by one.
    pub(super) fn successes(&self) -> usize {
        let of = |verdict: &Verdict| {
            if verdict.is_tests { verdict.tests_passed } else { usize::from(verdict.failure.is_none()) }
        };
        self.verdicts.iter().map(of).sum()
    }

    pub(super) fn programs(&self) -> Counts {
        self.verdicts.iter().flat_map(|verdict| verdict.programs.clone()).collect()
    }
}

/// Which step failed and why, on one line.
fn complaint(verdict: &Verdict) -> Option<String> {
    let why = verdict.failure.as_ref()?.lines().next().unwrap_or_default();
    Some(format!("{}: {}", verdict.step, [&[why.to_owned()], verdict.tests_failed.as_slice()].concat().join("; ")))
}

fn table<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header.into_iter().map(Into::into).collect::<Vec<String>>());
    table
}

/// The kernels that can be booted and what the cache has of them.
pub(super) fn kernels(chosen: &[&Kernel], architecture: Architecture) -> Table {
    let mut table = table(["kernel", "Debian release", "in the cache"]);
    for kernel in chosen {
        let cached = kernels::cached(&kernels::dir_of(kernel, architecture));
        let cached = cached.map_or_else(|| "no".to_owned(), |image| format!("{} {}", image.package, image.version));
        table.add_row([kernel.version, kernel.release.suite, &cached]);
    }
    table
}

/// Instructions that each kernel verified, by program.
pub(super) fn programs(results: &[KernelResult]) -> Table {
    let versions = results.iter().map(|result| format!("Linux {}", result.kernel));
    let mut table = table(iter::once("instructions verified".to_owned()).chain(versions));
    let all: Vec<Counts> = results.iter().map(KernelResult::programs).collect();
    let names: BTreeSet<&String> = all.iter().flat_map(Counts::keys).collect();
    for name in names {
        let count = |counts: &Counts| match counts.get(name) {
            Some(Some(count)) => count.to_string(),
            Some(None) => "loaded".to_owned(),
            None => "NOT LOADED".to_owned(),
        };
        table.add_row(iter::once(name.clone()).chain(all.iter().map(count)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

pub(super) fn summary(results: &[KernelResult]) -> Table {
    let mut table = table(["kernel", "release", "programs", "budget", "steps passed", "tests passed", "skipped", "time", "result"]);
    for result in results {
        let programs = result.programs();
        let sum = |of: fn(&Verdict) -> usize| result.verdicts.iter().map(of).sum::<usize>();
        let budget = match (result.excesses.is_empty(), programs.values().any(Option::is_some)) {
            (false, _) => "exceeded",
            (true, true) => "kept",
            (true, false) => "unknown",
        };
        table.add_row([
            result.kernel.clone(),
            result.release.clone().unwrap_or_else(|| "did not boot".to_owned()),
            programs.len().to_string(),
            budget.to_owned(),
            format!("{} of {}", sum(|verdict| usize::from(verdict.failure.is_none())), result.verdicts.len()),
            sum(|verdict| verdict.tests_passed).to_string(),
            sum(|verdict| verdict.tests_skipped.len()).to_string(),
            format!("{:.0} s", result.wall_seconds),
            if result.failures() == 0 { "passed" } else { "FAILED" }.to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vm::plan;

    #[test]
    fn what_passes_when_it_is_repeated_is_told() {
        let verdict = |step: &str, failure: Option<&str>| Verdict {
            step: step.to_owned(),
            failure: failure.map(ToOwned::to_owned),
            ..Verdict::default()
        };
        let of = |verdicts, broken: Option<&str>| KernelResult {
            verdicts,
            broken: broken.map(ToOwned::to_owned),
            ..KernelResult::of("5.10".to_owned())
        };
        let mut result =
            of(vec![verdict("a", None), verdict("b", Some("late\nmore")), verdict("c", Some("wrong"))], Some("silent"));
        result.replace_with(of(vec![verdict("b", None), verdict("c", Some("still wrong")), verdict("d", None)], None));
        assert_eq!(result.repeated, ["Linux 5.10: b: late", "Linux 5.10: silent"]);
        assert_eq!(result.complaints(), ["c: still wrong"]);
        assert_eq!(result.successes(), 3);
    }

    #[test]
    fn a_traced_step_has_the_figures_of_its_report() {
        let residuals = json!([{ "quantity": "nvcsw", "ours": 1.0, "kernel": 1.0, "difference": 0.0 }]);
        let report = json!({
            "check": { "threads": 3, "threads_differing": 0, "residuals": residuals },
            "loss": { "total": 0 },
        });
        let step = plan::whole(&[], &[], Architecture::X86_64).into_iter().find(|step| step.name == "mixed").unwrap();
        let outcome = Outcome { report: Some(report), ..Outcome::default() };
        let finding = serde_json::to_value(Finding::new("6.1", &step, &outcome, &Verdict::default())).unwrap();
        assert_eq!((&finding["kernel"], &finding["step"]), (&json!("6.1"), &json!("mixed")));
        assert_eq!((&finding["threads"], &finding["loss_total"], &finding["passed"]), (&json!(3), &json!(0), &json!(true)));
        assert_eq!(finding["residuals"], residuals);
        assert!(finding["tests_passed"].is_null());
    }
}
