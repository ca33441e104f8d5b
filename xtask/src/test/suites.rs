//! Suites of many tests: run with our terminal, and counted from what they print.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::outcome::{Counts, Outcome};
use crate::rust_tests::RustTests;
use crate::workspace::{PRIVILEGED, build_debug, cargo, files_below, find_program, output, root, run};

/// A test on the kernel that takes longer is worth a look.
const LONG: Duration = Duration::from_secs(10);

/// What a complete daemon exposes: the expectation of a test, so it is always up to date.
const EXPOSITION: &str = "daemon/src/metrics/golden.prom";

/// Runs `cargo test` on the chosen packages and tests. Those on the kernel run one at a time, since each watches the scheduler and
/// would see the others' load, and they start the programs of the workspace. What else the host does they see all the same, so those
/// that fail are repeated once, and the table says which were and why.
pub(super) fn cargo_test(on_the_kernel: bool, chosen: &[&str], filter: &[&str]) -> Result<Outcome> {
    if on_the_kernel {
        build_debug()?;
    }
    let mut told = run_tests(on_the_kernel, chosen, filter)?;
    if on_the_kernel && !told.failed.is_empty() {
        println!("\nrepeating what failed");
        let names = told.failed.iter().map(|test| test.name.as_str());
        let again = run_tests(on_the_kernel, chosen, &["--exact"].into_iter().chain(names).collect::<Vec<_>>())?;
        told = told.repeated(&again);
    }
    if told.counts.failed == 0 {
        return Ok(Outcome::Passed(told.counts));
    }
    let failed: Vec<String> = told.failed.iter().map(ToString::to_string).collect();
    Ok(Outcome::Failed { counts: told.counts, reason: format!("failed: {}", failed.join("; ")) })
}

/// Counts what `cargo test` prints. An error if it did not come to the tests, or if a program of tests did not come to its end.
fn run_tests(on_the_kernel: bool, chosen: &[&str], filter: &[&str]) -> Result<RustTests> {
    let mut command = cargo();
    command.arg("test").args(chosen).args(["--locked", "--no-fail-fast", "--", "--show-output"]).env_remove(PRIVILEGED);
    if on_the_kernel {
        command.arg("--test-threads=1").env(PRIVILEGED, "1");
    }
    let mut child = command.args(filter).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let (mut told, mut last) = (RustTests::default(), Instant::now());
    for_each_line(child.stdout.take(), |line| {
        println!("{line}");
        told.read(line);
        // One at a time, so each has had the time since the line before.
        let has_ended = on_the_kernel && line.starts_with("test ");
        if has_ended && last.elapsed() >= LONG {
            println!("  took {:.0} s", last.elapsed().as_secs_f64());
        }
        if has_ended || line.starts_with("running ") {
            last = Instant::now();
        }
    })?;
    let status = child.wait().context("cannot wait for cargo")?;
    // Tests without the variable are counted by the check that sets it.
    told.counts.skipped.retain(|reason| !reason.contains(PRIVILEGED));
    ensure!(status.success() || told.counts.failed > 0, "the tests did not run: {status}");
    ensure!(told.unfinished == 0, "{} of the programs of tests did not come to an end: {status}", told.unfinished);
    Ok(told)
}

/// Runs the unit tests of the Python workloads with the default Python and with the system's, if that is another.
pub(super) fn python_tests() -> Result<Outcome> {
    let mut counts = Counts::default();
    let mut broken = Vec::new();
    for (version, python) in pythons() {
        println!("{version}");
        let mut command = Command::new(&python);
        // Nothing is left behind in the source tree.
        command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(root().join("workloads/python"));
        command.args(["-m", "unittest", "discover", "--verbose", "-s", "tests"]).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", python.display()))?;
        for_each_line(child.stderr.take(), |line| {
            eprintln!("{line}");
            count_python(&mut counts, &version, line);
        })?;
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
fn count_python(counts: &mut Counts, version: &str, line: &str) {
    let Some((_, result)) = line.rsplit_once(" ... ") else { return };
    if let Some(reason) = result.strip_prefix("skipped ") {
        counts.skipped.push(format!("{version}: {}", reason.trim_matches(['\'', '"'])));
    } else if result == "ok" {
        counts.passed += 1;
    } else if result == "FAIL" || result == "ERROR" {
        counts.failed += 1;
    }
}

fn pythons() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for python in find_program("python3").into_iter().chain([PathBuf::from("/usr/bin/python3")]) {
        if let Ok(version) = output(Command::new(&python).arg("--version")) {
            found.entry(version.trim().to_owned()).or_insert(python);
        }
    }
    found
}

fn for_each_line(pipe: Option<impl io::Read>, mut action: impl FnMut(&str)) -> Result<()> {
    for line in BufReader::new(pipe.context("the tests have no output")?).lines() {
        action(&line.context("cannot read what the tests print")?);
    }
    Ok(())
}

/// Has promtool check what a daemon exposes, the configuration that we ship with the rules that it names, and the tests of those.
pub(super) fn promtool() -> Result<Outcome> {
    let (promtool, shipped) = (find_program("promtool").context("promtool is gone")?, root().join("grafana/prometheus"));
    let exposition = File::open(root().join(EXPOSITION)).with_context(|| format!("cannot read {EXPOSITION}"))?;
    run(Command::new(&promtool).args(["check", "metrics"]).stdin(Stdio::from(exposition)))?;
    run(Command::new(&promtool).args(["check", "config"]).arg(shipped.join("prometheus.yml")))?;
    let tests = files_below(&shipped.join("tests"))?;
    run(Command::new(&promtool).args(["test", "rules"]).args(&tests))?;
    Ok(Outcome::Passed(Counts { passed: 2 + tests.len(), ..Counts::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_python_test_is_counted_and_skips_keep_their_reason() {
        let mut counts = Counts::default();
        for line in [
            "test_a (tests.test_lab.A) ... ok",
            "test_b (tests.test_lab.A)",
            "What it does ... ok",
            "test_c (tests.test_lab.A) ... skipped 'no sub-interpreters'",
            "test_d (tests.test_lab.A) ... FAIL",
            "Ran 4 tests in 0.1s",
        ] {
            count_python(&mut counts, "Python 3.8", line);
        }
        assert_eq!(
            counts,
            Counts { passed: 2, failed: 1, skipped: vec!["Python 3.8: no sub-interpreters".into()], ..Counts::default() }
        );
    }
}
