//! Processes that have the same id one after the other: what a tracer keeps by id must not pass from one to the next.

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::report::Report;
use crate::sys::{self, Fork};

/// How often another id is tried because somebody else has taken the first one.
const ATTEMPTS: u32 = 100;

/// Runs it and reports.
pub(crate) fn run(count: u64) -> Result<Report> {
    sys::name_thread("reuse");
    let started_ns = sys::monotonic_ns();
    let mut forks = 0;
    let mut done = 0;
    for _ in 0..ATTEMPTS {
        // Any id that is free again.
        let pid = match sys::fork().context("cannot fork")? {
            Fork::Child => sys::exit_now(0),
            Fork::Parent => sys::wait_any().context("cannot wait for a child")?.0,
        };
        forks += 1;
        done = again_and_again(pid, count)?;
        forks += done;
        if done == count {
            break;
        }
    }
    if done < count {
        bail!("somebody else takes every id that is tried");
    }
    let wall_ns = sys::monotonic_ns() - started_ns;
    let mut report = Report::of_truth("pid-reuse", "processes", "one process", 1, forks, wall_ns);
    report.expected = Some(json!({ "forks": forks, "same_pid": count }));
    Ok(report)
}

/// Forks children with this id, each after the end of the one before; returns how many there were before somebody took the id.
fn again_and_again(pid: i32, count: u64) -> Result<u64> {
    for turn in 0..count {
        match sys::fork_as(pid) {
            // Odd ones sleep once, so that neighbours differ in what there is to count.
            Ok(Fork::Child) => {
                if turn % 2 == 1 {
                    std::thread::sleep(std::time::Duration::from_micros(50));
                }
                sys::exit_now(0)
            }
            Ok(Fork::Parent) => {
                let (ended, status) = sys::wait_any().context("cannot wait for a child")?;
                if (ended, status) != (pid, 0) {
                    bail!("child {ended} failed (wait status {status:#x})");
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(turn),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot fork as process {pid}, which needs root and Linux 5.5"));
            }
        }
    }
    Ok(count)
}
