//! How a check can end, and the table of all of them.

use std::collections::BTreeSet;

use anyhow::Error;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

/// Columns of the table; a log has no terminal to ask.
const WIDTH: u16 = 120;

/// How many tests a check ran. A check that has no tests of its own counts as one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    pub passed: usize,
    pub failed: usize,
    /// Why tests skipped themselves, one reason each.
    pub skipped: Vec<String>,
    /// What failed and passed when it was repeated alone, and what it said when it failed. A test on a running kernel shares that
    /// with whatever else the host does.
    pub repeated: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed(Counts),
    Failed {
        counts: Counts,
        reason: String,
    },
    Skipped {
        reason: String,
        /// This host could have run it.
        is_avoidable: bool,
    },
}

impl Outcome {
    /// A check without tests of its own that passed.
    pub(crate) fn passed() -> Self {
        Self::Passed(Counts { passed: 1, ..Counts::default() })
    }

    /// A check without tests of its own that failed.
    pub(crate) fn failed(error: &Error) -> Self {
        eprintln!("error: {error:#}");
        let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
        Self::Failed { counts: Counts { failed: 1, ..Counts::default() }, reason }
    }

    /// In CI, skipping what the host can run is a failure.
    pub(crate) fn without_avoidable_skips(self) -> Self {
        match self {
            Self::Skipped { reason, is_avoidable: true } => Self::Failed {
                counts: Counts { failed: 1, ..Counts::default() },
                reason: format!("skipped, though this host can run it: {reason}"),
            },
            other => other,
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed { .. } => "FAILED",
            Self::Skipped { .. } => "skipped",
        }
    }
}

pub(crate) struct Line {
    pub name: &'static str,
    pub outcome: Outcome,
    pub seconds: f64,
}

/// What ran, how it ended, how long it took, and why anything is missing.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(["check", "result", "tests", "seconds", "note"]);
    for line in lines {
        let (tests, note) = match &line.outcome {
            Outcome::Passed(counts) => (counts.passed.to_string(), remarks(counts)),
            Outcome::Failed { counts, reason } => {
                (format!("{} of {}", counts.failed, counts.passed + counts.failed), reason.clone())
            }
            Outcome::Skipped { reason, .. } => (String::new(), reason.clone()),
        };
        table.add_row([line.name, line.outcome.word(), &tests, &format!("{:.1}", line.seconds), &note]);
    }
    table.to_string()
}

/// Which checks failed, and why.
pub(crate) fn failures(lines: &[Line]) -> Vec<String> {
    let failure = |line: &Line| match &line.outcome {
        Outcome::Failed { reason, .. } => Some(format!("{} failed: {reason}", line.name)),
        _ => None,
    };
    lines.iter().filter_map(failure).collect()
}

/// Why some did not run, and which did not pass at once.
fn remarks(counts: &Counts) -> String {
    let mut remarks: Vec<String> = counts.repeated.iter().map(|failed| format!("passed when repeated: {failed}")).collect();
    if !counts.skipped.is_empty() {
        let reasons: BTreeSet<&str> = counts.skipped.iter().map(String::as_str).collect();
        remarks.push(format!("{} skipped: {}", counts.skipped.len(), Vec::from_iter(reasons).join("; ")));
    }
    remarks.join("\n")
}

/// Totals over all tests; a check that did not run counts as one.
pub(crate) fn closing(lines: &[Line]) -> String {
    let (mut passed, mut failed, mut skipped, mut repeated) = (0, 0, 0, 0);
    for line in lines {
        match &line.outcome {
            Outcome::Passed(counts) | Outcome::Failed { counts, .. } => {
                passed += counts.passed;
                failed += counts.failed;
                skipped += counts.skipped.len();
                repeated += counts.repeated.len();
            }
            Outcome::Skipped { .. } => skipped += 1,
        }
    }
    let repeated = if repeated == 0 { String::new() } else { format!(", {repeated} of them when repeated") };
    format!("{passed} passed{repeated}, {failed} failed, {skipped} skipped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_in_the_table_and_in_the_totals() {
        let counts =
            Counts { passed: 4, failed: 1, skipped: vec!["one CPU".into(), "one CPU".into()], repeated: vec!["late".into()] };
        let lines = [
            Line { name: "a", outcome: Outcome::Passed(Counts { failed: 0, ..counts.clone() }), seconds: 1.0 },
            Line { name: "b", outcome: Outcome::Failed { counts, reason: "broke".into() }, seconds: 1.0 },
            Line { name: "c", outcome: Outcome::Skipped { reason: "no kernel".into(), is_avoidable: false }, seconds: 0.0 },
        ];
        assert_eq!(closing(&lines), "8 passed, 2 of them when repeated, 1 failed, 5 skipped");
        assert_eq!(failures(&lines), ["b failed: broke"]);
        let table = table(&lines);
        for text in ["2 skipped: one CPU", "passed when repeated: late", "broke", "1 of 5", "no kernel"] {
            assert!(table.contains(text), "{text} is not in\n{table}");
        }
    }

    #[test]
    fn ci_accepts_only_the_skips_of_things_the_host_cannot_run() {
        let skip = |is_avoidable| Outcome::Skipped { reason: "no kernel".into(), is_avoidable };
        assert_eq!(skip(false).without_avoidable_skips(), skip(false));
        assert_eq!(skip(true).without_avoidable_skips().word(), "FAILED");
    }
}
