//! Many short-lived processes: the tracer must see each, forget each, and lose none.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::report::{Report, seconds};
use crate::sys::{self, Fork};

/// What the children execute when they are to execute something.
const PROGRAM: &str = "/bin/true";

/// Runs it and reports.
pub(crate) fn run(count: u64, parallel: u32, exec: bool) -> Result<Report> {
    sys::name_thread("storm");
    let started_ns = sys::monotonic_ns();
    let (mut alive, mut ended) = (0_u32, 0_u64);
    for _ in 0..count {
        if alive == parallel {
            reap(&mut alive, &mut ended)?;
        }
        start(exec)?;
        alive += 1;
    }
    while alive > 0 {
        reap(&mut alive, &mut ended)?;
    }
    let wall_ns = sys::monotonic_ns() - started_ns;
    let workers = usize::try_from(parallel).unwrap_or(usize::MAX);
    let mut report = Report::of_truth("fork-storm", "processes", "one process", workers, ended, wall_ns);
    report.start_seconds = (ended > 0).then(|| seconds(wall_ns) / ended as f64);
    let execs = if exec { count } else { 0 };
    report.expected = Some(json!({ "forks": count, "execs": execs, "exits": count + 1 }));
    Ok(report)
}

fn start(exec: bool) -> Result<()> {
    if exec {
        // `wait_any` reaps it; dropping the handle neither waits nor kills.
        let _child: Child =
            Command::new(PROGRAM).stdin(Stdio::null()).spawn().with_context(|| format!("cannot execute {PROGRAM}"))?;
        return Ok(());
    }
    match sys::fork().context("cannot fork; raise `ulimit -u` or lower --parallel")? {
        Fork::Child => sys::exit_now(0),
        Fork::Parent => Ok(()),
    }
}

fn reap(alive: &mut u32, ended: &mut u64) -> Result<()> {
    let (pid, status) = sys::wait_any().context("cannot wait for a child")?;
    if status != 0 {
        bail!("child {pid} failed (wait status {status:#x})");
    }
    *alive -= 1;
    *ended += 1;
    Ok(())
}
