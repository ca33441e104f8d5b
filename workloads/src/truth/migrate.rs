//! A thread that confines itself to one CPU and then to another, over and over: each time is one migration.

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::report::{KernelCounts, Report};
use crate::sys;

/// Runs it and reports.
pub(crate) fn run(count: u64) -> Result<Report> {
    let cpus = sys::usable_cpus().context("cannot read the CPU affinity")?;
    let &[first, second, ..] = cpus.as_slice() else {
        bail!("a migration needs two CPUs and this process may use {} only", cpus.len());
    };
    sys::name_thread("migrate");
    sys::pin_to(first).context("cannot move to the first CPU")?;
    let before = KernelCounts::of_this_thread();
    let started_ns = sys::monotonic_ns();
    for turn in 0..count {
        let target = if turn % 2 == 0 { second } else { first };
        sys::pin_to(target).with_context(|| format!("cannot move to CPU {target}"))?;
    }
    let wall_ns = sys::monotonic_ns() - started_ns;
    let after = KernelCounts::of_this_thread();
    let mut report = Report::of_truth("migrate", "serial", "one migration", 1, count, wall_ns);
    // Those before the loop: from wherever the process started to the first CPU.
    report.expected = Some(json!({ "migrations": count, "migrations_before": before.migrations }));
    report.kernel = vec![after];
    Ok(report)
}
