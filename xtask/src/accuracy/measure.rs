//! What the page shows: this host, measured, and the findings of `cargo xtask vm` on others.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;
use std::{fs, io};

use anyhow::{Context, Result};
use schedscope::commands::check::Outcome;
use schedscope::report::RunReport;
use schedscope::verify::Residual;

use crate::vm::Finding;
use crate::workspace::{build_release, date, output, require_root, target_dir};

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

/// How long the process tree of `schedscope check` works.
const CHECK_SECONDS: &str = "2";

pub(super) struct Host {
    pub(super) date: String,
    pub(super) check: Outcome,
    /// Of each of [`WORKLOADS`], in order.
    pub(super) runs: Vec<RunReport>,
}

/// Builds, and runs everything once.
pub(super) fn host() -> Result<Host> {
    require_root("accuracy")?;
    let programs = build_release()?;
    let directory = tempfile::tempdir()?;
    let json = directory.path().join("result.json");
    let date = date(SystemTime::now())?;
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
    let result = fs::read(json).map_err(anyhow::Error::from).and_then(|text| Ok(serde_json::from_slice(&text)?));
    result.with_context(|| format!("`schedscope check` failed: {}", String::from_utf8_lossy(&ended.stderr)))
}

fn traced(programs: &Path, json: &Path, workload: &[&str]) -> Result<RunReport> {
    let mut command = Command::new(programs.join("schedscope"));
    command.args(["run", "--check", "--wait-all", "--quiet", "--name", &workload.join(" "), "--json"]).arg(json).arg("--");
    command.arg(programs.join("schedscope-workloads")).args(workload);
    output(&mut command)?;
    Ok(serde_json::from_slice(&fs::read(json)?)?)
}

/// What `cargo xtask vm` found.
pub(super) struct OtherKernels {
    /// When that was, UTC.
    pub(super) date: String,
    /// By kernel and step.
    pub(super) findings: Vec<Finding<Vec<Residual>>>,
}

/// `None` if it has found nothing yet.
pub(super) fn other_kernels() -> Result<Option<OtherKernels>> {
    let path = target_dir().join("vm/results.json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let findings =
        serde_json::from_str(&text).with_context(|| format!("{} is not what `cargo xtask vm` writes", path.display()))?;
    Ok(Some(OtherKernels { date: date(fs::metadata(&path)?.modified()?)?, findings }))
}
