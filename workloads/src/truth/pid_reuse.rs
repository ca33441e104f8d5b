//! Processes that have the same id one after the other: what a tracer keeps by id must not pass from one to the next.

use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use serde_json::json;

use crate::report::Report;
use crate::sys::{self, Fork};

/// How often another id is tried because somebody else has taken the first one.
const ATTEMPTS: u32 = 100;

pub(crate) fn run(count: u64) -> Result<Report> {
    sys::name_thread("reuse");
    let started_ns = sys::monotonic_ns();
    let mut forks = 0;
    let mut done = 0;
    for _ in 0..ATTEMPTS {
        // Any id that is free again.
        let pid = match sys::fork().context("cannot fork")? {
            Fork::Child => sys::exit_now(0),
            Fork::Parent => sys::reap()?,
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
    Ok(Report {
        expected: Some(json!({ "forks": forks, "same_pid": count })),
        ..Report::of_truth("pid-reuse", "processes", "one process", 1, forks, started_ns)
    })
}

/// Forks children with this id, each after the end of the one before; returns how many there were before somebody took the id.
fn again_and_again(pid: Pid, count: u64) -> Result<u64> {
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
                let ended = sys::reap()?;
                if ended != pid {
                    bail!("child {ended} ended instead of {pid}");
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
