//! What came of a check: a table for people, JSON for machines.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::report::RunReport;
use crate::verify::{Residual, Verdict};

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
    /// What a report's comparisons come to.
    pub(super) fn of(report: &RunReport) -> Outcome {
        let check = &report.check;
        let compared = |residual: Residual| Comparison { within: !residual.verdict().differs(), residual };
        let comparisons: Vec<Comparison> = check.rows().into_iter().map(compared).collect();
        Outcome {
            schema: SCHEMA.to_owned(),
            passed: check.verdict() == Verdict::Agrees,
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
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} threads of {} processes, {:.1} s, on Linux {} with {} CPUs\n\n{}",
            self.threads,
            self.processes,
            self.wall_seconds,
            self.kernel,
            self.cpus,
            self.table(presets::NOTHING)
        );
        let repaired: Vec<String> = self.loss.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if !repaired.is_empty() {
            let _ = writeln!(text, "events not seen: {}", repaired.join(", "));
        }
        if !self.passed {
            text.push_str(ADVICE);
        }
        text
    }

    /// Every comparison in a table of that style, and below it why figures may differ and what was not compared.
    pub fn table(&self, preset: &str) -> String {
        let mut table = Table::new();
        table.load_preset(preset);
        table.set_header(["source", "quantity", "our figure", "the kernel's", "difference", "allowed", "why", ""]);
        let mut reasons: Vec<&str> = Vec::new();
        for Comparison { residual, .. } in &self.comparisons {
            table.add_row([
                residual.source.clone(),
                residual.quantity.clone(),
                residual.figure(residual.ours),
                residual.figure(residual.kernel),
                residual.figure(residual.difference),
                residual.allowed(),
                note(&mut reasons, &residual.because),
                residual.verdict().mark().to_owned(),
            ]);
        }
        for column in table.column_iter_mut().skip(2).take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!("{}\n\n", table.trim_fmt());
        for (index, reason) in reasons.iter().enumerate() {
            let number = format!("{}. ", index + 1);
            let options = textwrap::Options::new(WIDTH).initial_indent(&number).subsequent_indent("   ");
            let _ = writeln!(text, "{}", textwrap::fill(reason, options));
        }
        for (source, why) in &self.not_compared {
            let _ = writeln!(text, "Not compared: {source}: {why}");
        }
        text
    }
}

/// Of a line below the table.
const WIDTH: usize = 120;

const ADVICE: &str = "\nThe figures of this host cannot be trusted. Run it again with a longer --seconds; if it fails again, please report \
     it with the output of 'schedscope check --json -' and 'schedscope doctor'.\n";

/// The number under which a reason is printed below the table.
fn note<'a>(reasons: &mut Vec<&'a str>, because: &'a str) -> String {
    if because.is_empty() {
        return String::new();
    }
    let index = reasons.iter().position(|reason| *reason == because).unwrap_or_else(|| {
        reasons.push(because);
        reasons.len() - 1
    });
    (index + 1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::comparison::OUT_OF_BOUNDS;
    use crate::verify::{Bounds, Check};

    fn outcome(counts_differ_by: f64) -> Outcome {
        let usage = Residual::new("wait4", "ru_nvcsw", 103.0 + counts_differ_by, 100.0, Bounds::between(3.0, 4.0));
        let delay = Residual::new("task_struct", "run_delay_seconds", 1.0, 2.0, Bounds::NONE).because("not measured");
        let check = Check { threads: 1, residuals: vec![delay], oracles: vec![usage.because("it is so")], ..Check::default() };
        Outcome::of(&RunReport { check, ..RunReport::default() })
    }

    #[test]
    fn the_table_says_what_is_out_of_bounds_and_then_what_to_do() {
        let good = outcome(1.0);
        let text = good.text();
        assert!(good.passed && good.comparisons.iter().all(|comparison| comparison.within), "{good:?}");
        assert!(
            text.contains("3 to 4") && text.contains("1. not measured\n2. it is so\n") && text.contains("not compared"),
            "{text}"
        );
        let bad = outcome(2.0);
        assert!(!bad.passed && bad.text().contains(OUT_OF_BOUNDS) && bad.text().contains("please report"), "{}", bad.text());
        assert!(!text.contains(OUT_OF_BOUNDS) && !text.contains("please report"), "{text}");
    }

    #[test]
    fn json_can_be_read_back() {
        let outcome = outcome(0.0);
        let text = serde_json::to_string(&outcome).unwrap_or_default();
        let back: Outcome = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!((back.comparisons.len(), back.passed), (outcome.comparisons.len(), true), "{text}");
        assert_eq!(back.comparisons[2].residual.bounds.at_most, Some(4.0));
    }
}
