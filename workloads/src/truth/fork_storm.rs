//! Many short-lived processes: the tracer must see each, forget each, and lose none.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;

use crate::report::Report;
use crate::sys::{self, Fork};

/// What the children execute when they are to execute something.
const PROGRAM: &str = "/bin/true";

pub(crate) fn run(count: u64, parallel: u32, exec: bool) -> Result<Report> {
    sys::name_thread("storm");
    let started_ns = sys::monotonic_ns();
    let parallel = u64::from(parallel);
    for number in 0..count {
        if number >= parallel {
            sys::reap()?;
        }
        start(exec)?;
    }
    for _ in 0..parallel.min(count) {
        sys::reap()?;
    }
    let workers = usize::try_from(parallel).unwrap_or(usize::MAX);
    let report = Report::of_truth("fork-storm", "processes", "one process", workers, count, started_ns);
    let execs = if exec { count } else { 0 };
    Ok(Report {
        start_seconds: (count > 0).then(|| report.wall_seconds / count as f64),
        expected: Some(json!({ "forks": count, "execs": execs, "exits": count + 1 })),
        ..report
    })
}

fn start(exec: bool) -> Result<()> {
    if exec {
        // `sys::reap` waits for it; dropping the handle neither waits nor kills.
        let _child: Child =
            Command::new(PROGRAM).stdin(Stdio::null()).spawn().with_context(|| format!("cannot execute {PROGRAM}"))?;
        return Ok(());
    }
    match sys::fork().context("cannot fork; raise `ulimit -u` or lower --parallel")? {
        Fork::Child => sys::exit_now(0),
        Fork::Parent => Ok(()),
    }
}
