//! Runs the unit tests of the Python workloads and counts what they report.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::check::{Counts, Outcome};
use crate::workspace::{find_program, output, root};

/// Runs them with the default Python and with the system's, if that is another.
pub(super) fn run_all() -> Result<Outcome> {
    let mut counts = Counts::default();
    let mut broken = Vec::new();
    for (version, python) in pythons() {
        println!("{version}");
        let mut command = Command::new(&python);
        // Nothing is left behind in the source tree.
        command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(root().join("workloads/python"));
        command.args(["-m", "unittest", "discover", "--verbose", "-s", "tests"]).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", python.display()))?;
        let report = child.stderr.take().context("Python has no error output")?;
        for line in BufReader::new(report).lines() {
            let line = line.context("cannot read what the tests print")?;
            eprintln!("{line}");
            count(&mut counts, &version, &line);
        }
        if !child.wait().context("cannot wait for Python")?.success() {
            broken.push(version);
        }
    }
    if broken.is_empty() {
        return Ok(Outcome::Passed(counts));
    }
    counts.failed = counts.failed.max(1);
    Ok(Outcome::Failed { counts, reason: format!("failed with {}", broken.join(" and ")) })
}

/// Adds one line of unittest's verbose report: `test_a (tests.A) ... ok`.
fn count(counts: &mut Counts, version: &str, line: &str) {
    let Some((_, result)) = line.rsplit_once(" ... ") else { return };
    if let Some(reason) = result.strip_prefix("skipped ") {
        counts.skipped.push(format!("{version}: {}", reason.trim_matches(['\'', '"'])));
    } else if result == "ok" {
        counts.passed += 1;
    } else if result == "FAIL" || result == "ERROR" {
        counts.failed += 1;
    }
}

/// Interpreters by version.
fn pythons() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for python in find_program("python3").into_iter().chain([PathBuf::from("/usr/bin/python3")]) {
        if let Ok(version) = output(Command::new(&python).arg("--version")) {
            found.entry(version.trim().to_owned()).or_insert(python);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_counted_and_skips_keep_their_reason() {
        let mut counts = Counts::default();
        for line in [
            "test_a (tests.test_lab.A) ... ok",
            "test_b (tests.test_lab.A)",
            "What it does ... ok",
            "test_c (tests.test_lab.A) ... skipped 'no sub-interpreters'",
            "test_d (tests.test_lab.A) ... FAIL",
            "Ran 4 tests in 0.1s",
        ] {
            count(&mut counts, "Python 3.8", line);
        }
        assert_eq!(counts, Counts { passed: 2, failed: 1, skipped: vec!["Python 3.8: no sub-interpreters".into()] });
    }
}
