//! This host: `schedscope check`, and workloads whose scheduling is known.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};
use schedscope::{commands::check::Outcome, report::RunReport};

use crate::workspace::{cargo, output, run as run_command, target_dir};

/// Workloads with their arguments. Counts are prime where they can be, so that they are recognised.
pub(super) const WORKLOADS: [&[&str]; 10] = [
    &["ping-pong", "--switches", "20011", "--normal-policy"],
    &["ping-pong", "--switches", "20011", "--processes"],
    &["sleepers", "--count", "31", "--seconds", "1"],
    &["yield-loop", "--count", "10007"],
    &["migrate", "--count", "997"],
    &["many-threads", "--count", "499"],
    &["fork-storm", "--count", "97", "--exec"],
    &["double-fork"],
    &["exec-from-thread"],
    &["mixed", "--seconds", "1"],
];

/// How long the tree of `schedscope check` works.
const CHECK_SECONDS: &str = "2";

/// What was found on this host.
pub(super) struct Host {
    /// Date, UTC.
    pub(super) date: String,
    /// Of `schedscope check`.
    pub(super) check: Outcome,
    /// Of each of [`WORKLOADS`], in order.
    pub(super) runs: Vec<RunReport>,
}

/// Builds, and runs everything once.
pub(super) fn host() -> Result<Host> {
    // SAFETY: it only reads the process's own user id.
    if unsafe { libc::geteuid() } != 0 {
        bail!("tracing needs root: run `sudo -E env \"PATH=$PATH\" cargo xtask accuracy`");
    }
    run_command(cargo().args(["build", "--release", "--quiet", "-p", "schedscope", "-p", "schedscope-workloads"]))?;
    let programs = target_dir().join("release");
    let directory = tempfile::tempdir()?;
    let json = directory.path().join("result.json");
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?.trim().to_owned();
    eprintln!("schedscope check");
    let check = check(&programs, &json)?;
    let runs = WORKLOADS.iter().map(|workload| {
        eprintln!("{}", workload.join(" "));
        traced(&programs, &json, workload)
    });
    Ok(Host { date, check, runs: runs.collect::<Result<_>>()? })
}

fn check(programs: &Path, json: &Path) -> Result<Outcome> {
    let mut command = Command::new(programs.join("schedscope"));
    // Out of bounds is an exit code of 1, and a result.
    let ended = command.args(["check", "--seconds", CHECK_SECONDS, "--json"]).arg(json).output().context("cannot start check")?;
    let text = std::fs::read(json).with_context(|| format!("check has failed: {}", String::from_utf8_lossy(&ended.stderr)))?;
    serde_json::from_slice(&text).with_context(|| format!("check has failed: {}", String::from_utf8_lossy(&ended.stderr)))
}

fn traced(programs: &Path, json: &Path, workload: &[&str]) -> Result<RunReport> {
    let mut command = Command::new(programs.join("schedscope"));
    command.args(["run", "--check", "--wait-all", "--quiet", "--name", &workload.join(" "), "--json"]).arg(json).arg("--");
    command.arg(programs.join("schedscope-workloads")).args(workload);
    output(&mut command)?;
    Ok(serde_json::from_slice(&std::fs::read(json)?)?)
}
