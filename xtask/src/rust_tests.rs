//! What Rust's test harness prints, read line by line.

use std::collections::BTreeMap;
use std::fmt;

use crate::outcome::Counts;

/// What a test prints when it finds that it can't run here.
const SKIPPED: &str = "skipped: ";

/// As much of what a failed test said as a line of a table bears.
const SAID: usize = 300;

/// What a run of the harness came to. A test that skips itself has passed for the harness, which prints its reason before the result.
#[derive(Default)]
pub(crate) struct RustTests {
    pub(crate) counts: Counts,
    /// The last result, behind `test result: `.
    pub(crate) result: Option<String>,
    pub(crate) failed: Vec<FailedTest>,
    /// Programs of tests that have not come to a result, as one that is killed does not.
    pub(crate) unfinished: usize,
    self_skips: usize,
    /// Whether names of tests that failed follow. Their output comes under the same heading, before them.
    lists_failures: bool,
    shown: Shown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedTest {
    pub(crate) name: String,
    /// What it panicked with first, on one line. Empty if it did not tell.
    pub(crate) said: String,
}

impl fmt::Display for FailedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.said.is_empty() { "" } else { ": " };
        write!(f, "{}{gap}{}", self.name, self.said)
    }
}

/// The output of one test, as far as it has been shown.
#[derive(Default)]
struct Shown {
    of: String,
    is_panic: bool,
    /// Why each test panicked first.
    said: BTreeMap<String, String>,
}

impl Shown {
    fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            (self.of, self.is_panic) = (name.to_owned(), false);
        } else if line.starts_with("thread '") && line.contains(" panicked at ") {
            self.is_panic = !self.said.contains_key(&self.of);
        } else if line.is_empty() || line.starts_with("note: ") {
            self.is_panic = false;
        } else if self.is_panic {
            let said = self.said.entry(self.of.clone()).or_default();
            let gap = if said.is_empty() { "" } else { "; " };
            said.extend(gap.chars().chain(line.trim().chars()).take(SAID.saturating_sub(said.chars().count())));
        }
    }
}

impl RustTests {
    pub(crate) fn read(&mut self, line: &str) {
        self.shown.read(line);
        if let Some(reason) = line.strip_prefix(SKIPPED) {
            self.self_skips += 1;
            self.counts.skipped.push(reason.to_owned());
        } else if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.unfinished += 1;
        } else if matches!(line, "failures:" | "successes:") {
            self.lists_failures = line == "failures:";
        } else if line.starts_with("---- ") {
            self.lists_failures = false;
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| self.lists_failures) {
            let said = self.shown.said.remove(name).unwrap_or_default();
            self.failed.push(FailedTest { name: name.to_owned(), said });
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.finish(result);
        }
    }

    /// What it comes to when those that failed have run again.
    pub(crate) fn repeated(mut self, again: &Self) -> Self {
        let passed = |test: &FailedTest| again.failed.iter().all(|failed| failed.name != test.name);
        let (repeated, failed) = self.failed.into_iter().partition::<Vec<_>, _>(passed);
        // Some may have failed without being named.
        let passed = repeated.len().min(again.counts.passed);
        self.counts.passed += passed;
        self.counts.failed -= passed;
        self.counts.repeated = repeated.iter().map(ToString::to_string).collect();
        self.failed = failed;
        self
    }

    fn finish(&mut self, result: &str) {
        self.result = Some(result.to_owned());
        self.unfinished = self.unfinished.saturating_sub(1);
        self.lists_failures = false;
        let counts = &mut self.counts;
        for part in result.split(['.', ';']).map(str::trim) {
            let mut words = part.split(' ');
            let number = words.next().and_then(|number| number.parse::<usize>().ok());
            match (number, words.next()) {
                (Some(number), Some("passed")) => counts.passed += number.saturating_sub(std::mem::take(&mut self.self_skips)),
                // A test under #[ignore] never runs; one that can't run here says so with `skipped: `.
                (Some(number), Some("failed" | "ignored")) => counts.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_self_skips_taken_off() {
        let mut told = RustTests::default();
        for line in [
            "running 1 test",
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "running 6 tests",
            "skipped: one CPU",
            "skipped: no perf",
            "test a::works ... ok",
            "test a::breaks ... a program of its own prints",
            "FAILED",
            "successes:",
            "---- a::works stdout ----",
            "thread '<unnamed>' (6) panicked at a.rs:2:3:",
            "as it should",
            "successes:",
            "    a::works",
            "failures:",
            "---- a::breaks stdout ----",
            "    a::is_printed_by_it",
            "thread 'a::breaks' (7) panicked at a.rs:1:2:",
            "assertion `left == right` failed: two",
            "  left: 1",
            " right: 2",
            "note: run with `RUST_BACKTRACE=1`",
            "",
            "thread 'a::breaks' (7) panicked at b.rs:1:2:",
            "again",
            "failures:",
            "    a::breaks",
            "test result: FAILED. 4 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            told.read(line);
        }
        let skipped = vec!["one CPU".into(), "no perf".into()];
        assert_eq!(told.counts, Counts { passed: 5, failed: 2, skipped, ..Counts::default() });
        assert_eq!(told.unfinished, 1, "the first was killed");
        let failed: Vec<String> = told.failed.iter().map(ToString::to_string).collect();
        assert_eq!(failed, ["a::breaks: assertion `left == right` failed: two; left: 1; right: 2"]);
    }

    #[test]
    fn what_passes_when_it_is_repeated_is_told_and_nothing_else_is_forgiven() {
        let failed = |names: &[&str]| names.iter().map(|name| FailedTest { name: (*name).into(), said: "late".into() }).collect();
        let of = |passed, failed_count, names: &[&str]| RustTests {
            counts: Counts { passed, failed: failed_count, ..Counts::default() },
            failed: failed(names),
            ..RustTests::default()
        };
        let told = of(7, 2, &["a", "b"]).repeated(&of(1, 1, &["b"]));
        assert_eq!((told.counts.passed, told.counts.failed), (8, 1));
        assert_eq!((told.counts.repeated, told.failed), (vec!["a: late".to_owned()], failed(&["b"])));
        // One that was ignored counts as failed and cannot be repeated, and one that did not run has not passed.
        assert_eq!(of(7, 2, &["a"]).repeated(&of(1, 0, &[])).counts.failed, 1);
        assert_eq!(of(7, 1, &["a"]).repeated(&of(0, 0, &[])).counts.failed, 1);
    }
}
