//! The machine: whether it can be traced, what it is, and whose the results are.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use procfs::{CpuInfo, Current};

use super::child::last_line;

/// Lets the tracer examine the host; prints what is degraded.
pub(crate) fn examine(tracer: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("loading BPF programs needs root: run it again with sudo");
    }
    let output = Command::new(tracer).arg("doctor").output().context("cannot run `schedscope doctor`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        for line in text.lines().filter(|line| line.contains("  program ") && !line.starts_with("ok")) {
            eprintln!("doctor: {line}");
        }
        return Ok(());
    }
    for line in text.lines().filter(|line| line.starts_with("NO")) {
        eprintln!("{line}");
    }
    bail!("this host cannot be traced; `schedscope doctor` says more: {}", last_line(&output.stderr));
}

pub(crate) fn cpu_model() -> String {
    let model = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
    model.unwrap_or_else(|| "model not known".to_owned())
}

/// Gives what root wrote to the user who called sudo. A convenience: everybody can read the files anyway.
pub(crate) fn give_to_user(directory: &Path) {
    let id = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else { return };
    let _ = Command::new("chown").args(["-hR", &format!("{user}:{group}"), "--"]).arg(directory).status();
}
