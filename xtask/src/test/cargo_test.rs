//! Runs `cargo test` and counts what it reports.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::check::{Counts, Outcome};

/// Set for the tests that load BPF programs; without it they leave themselves out.
pub(super) const PRIVILEGED: &str = "SCHEDSCOPE_PRIVILEGED";

/// What a test prints when it finds that it can't run here.
const SKIPPED: &str = "skipped: ";

/// Runs a command that prints what `cargo test -- --show-output` prints, passes it on and counts.
pub(super) fn run(command: &mut Command) -> Result<Outcome> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut counts = Counts::default();
    let mut self_skips = 0;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what the tests print")?;
        println!("{line}");
        count(&mut counts, &mut self_skips, &line);
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if status.success() {
        return Ok(Outcome::Passed(counts));
    }
    let reason =
        if counts.failed == 0 { format!("the tests did not run: {status}") } else { format!("failed tests: {}", counts.failed) };
    counts.failed = counts.failed.max(1);
    Ok(Outcome::Failed { counts, reason })
}

/// A test that leaves itself out has still passed for cargo, which says so after the test's output.
fn count(counts: &mut Counts, self_skips: &mut usize, line: &str) {
    if let Some(reason) = line.strip_prefix(SKIPPED) {
        *self_skips += 1;
        // The others are counted by the check that sets the variable.
        if !reason.contains(PRIVILEGED) {
            counts.skipped.push(reason.to_owned());
        }
        return;
    }
    let Some(result) = line.strip_prefix("test result: ") else { return };
    for part in result.split(['.', ';']).map(str::trim) {
        let mut words = part.split(' ');
        let number = words.next().and_then(|number| number.parse::<usize>().ok());
        match (number, words.next()) {
            (Some(number), Some("passed")) => counts.passed += number.saturating_sub(std::mem::take(self_skips)),
            (Some(number), Some("failed")) => counts.failed += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_self_skips_taken_off() {
        let mut counts = Counts::default();
        let mut self_skips = 0;
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "skipped: one CPU",
            "skipped: needs SCHEDSCOPE_PRIVILEGED=1",
            "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            count(&mut counts, &mut self_skips, line);
        }
        assert_eq!(counts, Counts { passed: 5, failed: 1, skipped: vec!["one CPU".into()] });
    }
}
