//! What came of a check: a table for people, JSON for machines.

use std::{collections::BTreeMap, fmt::Write};

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::report::{
    RunReport,
    bounds::{Bounds, ON_CPU_SHARE},
    schema::Residual,
};

/// Value of the `schema` field.
const SCHEMA: &str = "schedscope.check/1";

/// One check.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Always `schedscope.check/1`.
    pub schema: String,
    /// Everything that could be compared is within its bounds.
    pub passed: bool,
    /// Kernel release.
    pub kernel: String,
    /// CPUs online.
    pub cpus: u32,
    /// From the release of the tree to its end.
    pub wall_seconds: f64,
    /// Processes traced.
    pub processes: u64,
    /// Threads traced.
    pub threads: u64,
    /// Threads of which a count differs from the kernel's.
    pub threads_differing: u64,
    /// Ours, the kernel's, the difference and what it may be.
    pub comparisons: Vec<Comparison>,
    /// Sources that could not be asked, and why.
    pub not_compared: BTreeMap<String, String>,
    /// Missed observations by reason; those that the kernel's accounting told all the same included.
    pub loss: BTreeMap<String, u64>,
}

/// A comparison and its verdict.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// The figures.
    #[serde(flatten)]
    pub residual: Residual,
    /// The difference is in bounds.
    pub within: bool,
}

impl Outcome {
    /// Judges a report.
    pub(super) fn of(report: &RunReport) -> Outcome {
        let check = &report.check;
        let charged: f64 =
            report.threads.iter().map(|thread| thread.on_cpu_seconds + thread.runnable_seconds + thread.blocked_seconds).sum();
        let lived: f64 = report.threads.iter().map(|thread| thread.lifetime_seconds).sum();
        let own = [
            Residual::new("task_struct", "threads with any other count", check.threads_differing as f64, 0.0, Bounds::EQUAL),
            Residual::new("ledger", "running + runnable + blocked_seconds", charged, lived, Bounds::share(ON_CPU_SHARE, lived)),
            Residual::new("ledger", "threads not compared", report.tasks.threads as f64, check.threads as f64, Bounds::EQUAL),
            Residual::new("ledger", "observations missing", report.loss.total as f64, 0.0, Bounds::EQUAL),
        ];
        let all = check.residuals.iter().chain(&check.oracles).chain(&own);
        let comparisons: Vec<Comparison> =
            all.map(|residual| Comparison { residual: residual.clone(), within: residual.is_within() }).collect();
        Outcome {
            schema: SCHEMA.to_owned(),
            passed: comparisons.iter().all(|comparison| comparison.within),
            kernel: report.host.kernel.clone(),
            cpus: report.cpus.online,
            wall_seconds: report.wall_seconds,
            processes: report.tasks.processes,
            threads: report.tasks.threads,
            threads_differing: check.threads_differing,
            comparisons,
            not_compared: check.not_compared.clone(),
            loss: report.loss.by_reason.iter().filter(|(_, count)| **count > 0).map(|(name, n)| (name.clone(), *n)).collect(),
        }
    }

    /// The outcome for a terminal, and what to do if it is bad.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{} threads of {} processes, {:.1} s, on Linux {} with {} CPUs\n\n",
            self.threads, self.processes, self.wall_seconds, self.kernel, self.cpus
        );
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["source", "quantity", "ours", "the kernel's", "difference", "allowed", "", ""]);
        let mut reasons: Vec<&str> = Vec::new();
        for Comparison { residual, within } in &self.comparisons {
            let figure = |value: f64| figure(&residual.quantity, value);
            table.add_row([
                residual.source.clone(),
                residual.quantity.clone(),
                figure(residual.ours),
                figure(residual.kernel),
                format!("{}{}", if residual.difference > 0.0 { "+" } else { "" }, figure(residual.difference)),
                allowed(residual),
                note(&mut reasons, &residual.because),
                if *within { "ok".to_owned() } else { "OUT OF BOUNDS".to_owned() },
            ]);
        }
        for column in 2..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let _ = writeln!(text, "{}\n", table.trim_fmt());
        for (index, reason) in reasons.iter().enumerate() {
            let _ = writeln!(text, "[{}] {reason}", index + 1);
        }
        for (source, why) in &self.not_compared {
            let _ = writeln!(text, "not compared: {source}: {why}");
        }
        let repaired: Vec<String> = self.loss.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if !repaired.is_empty() {
            let _ = writeln!(text, "events not seen: {}", repaired.join(", "));
        }
        if !self.passed {
            text.push_str(ADVICE);
        }
        text
    }
}

const ADVICE: &str = "\nThe figures of this host cannot be trusted. Run it again with a longer --seconds; if it fails again, please report \
     it with the output of 'schedscope check --json -' and 'schedscope doctor'.\n";

/// A count, or seconds to the microsecond.
fn figure(quantity: &str, value: f64) -> String {
    if quantity.ends_with("_seconds") { format!("{value:.6}") } else { format!("{value:.0}") }
}

/// The interval for people.
fn allowed(residual: &Residual) -> String {
    let figure = |value: f64| figure(&residual.quantity, value);
    match residual.bounds() {
        bounds if bounds == Bounds::EQUAL => "0".to_owned(),
        Bounds { at_least: Some(least), at_most: Some(most) } => format!("{} to {}", figure(least), figure(most)),
        Bounds { at_least: Some(least), at_most: None } => format!("{} or more", figure(least)),
        Bounds { at_least: None, at_most: Some(most) } => format!("{} or less", figure(most)),
        Bounds { at_least: None, at_most: None } => "anything".to_owned(),
    }
}

/// The number under which a reason is printed below the table.
fn note<'a>(reasons: &mut Vec<&'a str>, because: &'a str) -> String {
    if because.is_empty() {
        return String::new();
    }
    let index = reasons.iter().position(|reason| *reason == because).unwrap_or_else(|| {
        reasons.push(because);
        reasons.len() - 1
    });
    format!("[{}]", index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::schema::{Check, Tasks, ThreadReport};

    fn report(counts_differ_by: f64, time_differs_by: f64) -> RunReport {
        let on_cpu = Residual::new("task_struct", "sum_exec_runtime_seconds", 1.0 + time_differs_by, 1.0, Bounds::share(1e-3, 1.0));
        RunReport {
            tasks: Tasks { threads: 1, ..Tasks::default() },
            check: Check {
                threads: 1,
                residuals: vec![on_cpu],
                oracles: vec![
                    Residual::new("wait4", "ru_nvcsw", 103.0 + counts_differ_by, 100.0, Bounds::between(3.0, 4.0)).because("why"),
                ],
                ..Check::default()
            },
            threads: vec![ThreadReport {
                on_cpu_seconds: 1.0,
                blocked_seconds: 1.0,
                lifetime_seconds: 2.0,
                ..ThreadReport::default()
            }],
            ..RunReport::default()
        }
    }

    #[test]
    fn every_comparison_must_be_in_bounds() {
        let passes = |report: &RunReport| Outcome::of(report).passed;
        assert!(passes(&report(0.0, 0.0009)) && passes(&report(1.0, 0.0)));
        assert!(!passes(&report(2.0, 0.0)) && !passes(&report(-1.0, 0.0)) && !passes(&report(0.0, -0.002)));
        let mut unbalanced = report(0.0, 0.0);
        unbalanced.threads[0].lifetime_seconds = 2.1;
        assert!(!passes(&unbalanced));
        let mut unseen = report(0.0, 0.0);
        unseen.tasks.threads = 2;
        assert!(!passes(&unseen), "a thread that was not compared");
        let mut lossy = report(0.0, 0.0);
        lossy.loss.total = 1;
        assert!(!passes(&lossy));
        let mut differing = report(0.0, 0.0);
        differing.check.threads_differing = 1;
        assert!(!passes(&differing));
    }

    #[test]
    fn a_bad_outcome_says_what_to_do_and_a_good_one_does_not() {
        let good = Outcome::of(&report(0.0, 0.0)).table();
        assert!(good.contains("3 to 4") && good.contains("[1] why") && !good.contains("OUT OF BOUNDS"), "{good}");
        let bad = Outcome::of(&report(2.0, 0.0)).table();
        assert!(bad.contains("OUT OF BOUNDS") && bad.contains("please report"), "{bad}");
    }

    #[test]
    fn json_can_be_read_back() {
        let outcome = Outcome::of(&report(0.0, 0.0));
        let text = serde_json::to_string(&outcome).unwrap_or_default();
        let back: Outcome = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!((back.comparisons.len(), back.passed), (outcome.comparisons.len(), true), "{text}");
        assert_eq!(back.comparisons[1].residual.at_most, Some(4.0));
    }
}
