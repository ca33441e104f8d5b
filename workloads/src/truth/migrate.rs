//! A thread that confines itself to one CPU and then to another, over and over: each time is one migration.

use anyhow::{Result, bail};
use serde_json::json;

use crate::report::{KernelCounts, Report};
use crate::sys;

pub(crate) fn run(count: u64) -> Result<Report> {
    let cpus = sys::usable_cpus()?;
    let &[first, second, ..] = cpus.as_slice() else {
        bail!("a migration needs two CPUs and this process may use {} only", cpus.len());
    };
    sys::name_thread("migrate");
    sys::pin_to(first)?;
    let before = KernelCounts::of_this_thread();
    let started_ns = sys::monotonic_ns();
    for turn in 0..count {
        sys::pin_to(if turn % 2 == 0 { second } else { first })?;
    }
    Ok(Report {
        // Those before the loop: from wherever the process started to the first CPU.
        expected: Some(json!({ "migrations": count, "migrations_before": before.migrations })),
        kernel: vec![KernelCounts::of_this_thread()],
        ..Report::of_truth("migrate", "serial", "one migration", 1, count, started_ns)
    })
}
