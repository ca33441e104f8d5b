//! What the machines found, as data: `target/vm/results.json`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::{
    plan::{Outcome, Step},
    verdict::Verdict,
};

/// One step on one kernel.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// `uname -r`.
    kernel: String,
    /// The step.
    step: String,
    /// Program and arguments.
    command: Vec<String>,
    /// Threads compared with the kernel; absent where none was traced, like the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<u64>,
    /// Threads of which a count is not the kernel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    threads_differing: Option<u64>,
    /// Ours, the kernel's and the difference by quantity, as in the report of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    residuals: Option<Value>,
    /// Observations missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_total: Option<u64>,
    /// Tests passed; absent where there were none, like the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    tests_passed: Option<usize>,
    /// Tests that failed, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tests_failed: Vec<String>,
    /// Why tests left themselves out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tests_skipped: Vec<String>,
    /// By the machine's clock.
    wall_seconds: f64,
    /// It showed what it had to.
    passed: bool,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl Finding {
    /// What a step showed.
    pub(crate) fn new(kernel: &str, step: &Step, outcome: &Outcome, verdict: &Verdict) -> Self {
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

/// Writes all of them as one array.
pub(crate) fn write(findings: &[Finding], to: &Path) -> Result<()> {
    fs::write(to, serde_json::to_vec_pretty(findings)?).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vm::plan;

    #[test]
    fn a_traced_step_has_the_figures_of_its_report() {
        let residuals = json!([{ "quantity": "nvcsw", "ours": 1.0, "kernel": 1.0, "difference": 0.0 }]);
        let report = json!({
            "check": { "threads": 3, "threads_differing": 0, "residuals": residuals },
            "loss": { "total": 0 },
        });
        let step = plan::whole(&[], &[]).into_iter().find(|step| step.name == "mixed").unwrap();
        let outcome = Outcome { report: Some(report), ..Outcome::default() };
        let finding = serde_json::to_value(Finding::new("6.1", &step, &outcome, &Verdict::default())).unwrap();
        assert_eq!((&finding["kernel"], &finding["step"]), (&json!("6.1"), &json!("mixed")));
        assert_eq!((&finding["threads"], &finding["loss_total"], &finding["passed"]), (&json!(3), &json!(0), &json!(true)));
        assert_eq!(finding["residuals"], residuals);
        assert!(finding.get("tests_passed").is_none());
    }
}
