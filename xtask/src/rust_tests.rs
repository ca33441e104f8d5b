//! What Rust's test harness prints, read line by line.

use crate::outcome::Counts;

/// What a test prints when it finds that it can't run here.
const SKIPPED: &str = "skipped: ";

/// What a run of the harness came to. A test that skips itself has passed for the harness, which prints its reason before the result.
#[derive(Default)]
pub(crate) struct RustTests {
    pub(crate) counts: Counts,
    /// The last result, behind `test result: `.
    pub(crate) result: Option<String>,
    /// Names of the tests that failed.
    pub(crate) failed: Vec<String>,
    self_skips: usize,
}

impl RustTests {
    pub(crate) fn read(&mut self, line: &str) {
        let counts = &mut self.counts;
        if let Some(reason) = line.strip_prefix(SKIPPED) {
            self.self_skips += 1;
            counts.skipped.push(reason.to_owned());
            return;
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            self.failed.push(name.to_owned());
            return;
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        self.result = Some(result.to_owned());
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
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "skipped: one CPU",
            "skipped: no perf",
            "test a::works ... ok",
            "test a::breaks ... FAILED",
            "test result: FAILED. 4 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            told.read(line);
        }
        assert_eq!(told.counts, Counts { passed: 5, failed: 2, skipped: vec!["one CPU".into(), "no perf".into()] });
        assert_eq!(told.failed, ["a::breaks"]);
    }
}
