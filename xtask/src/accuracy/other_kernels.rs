//! What `cargo xtask vm` found on other kernels.

use std::{fs, io, time::SystemTime};

use anyhow::{Context, Result};
use schedscope::report::schema::Residual;
use serde::Deserialize;

use crate::workspace::{output, target_dir};

/// Where it leaves its findings, from the directory of build products.
const RESULTS: &str = "vm/results.json";

/// One step on one kernel.
#[derive(Debug, Deserialize)]
pub(super) struct Finding {
    /// Kernel release.
    pub(super) kernel: String,
    /// Name of the step.
    pub(super) step: String,
    /// Threads compared; absent where none was traced.
    pub(super) threads: Option<u64>,
    /// Threads of which a count differs.
    pub(super) threads_differing: Option<u64>,
    /// As in the report of a run.
    #[serde(default)]
    pub(super) residuals: Vec<Residual>,
    /// Observations missing.
    pub(super) loss_total: Option<u64>,
    /// It showed what it had to.
    pub(super) passed: bool,
    /// When that was, UTC.
    #[serde(default)]
    pub(super) date: String,
}

/// The findings, dated by their file; `None` if there are none.
pub(super) fn read() -> Result<Option<Vec<Finding>>> {
    let path = target_dir().join(RESULTS);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut findings: Vec<Finding> =
        serde_json::from_str(&text).with_context(|| format!("{} is not what `cargo xtask vm` writes", path.display()))?;
    let modified = fs::metadata(&path)?.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = output(std::process::Command::new("date").args(["-u", "+%Y-%m-%d", "-d"]).arg(format!("@{modified}")))?;
    for finding in &mut findings {
        date.trim().clone_into(&mut finding.date);
    }
    Ok(Some(findings))
}
