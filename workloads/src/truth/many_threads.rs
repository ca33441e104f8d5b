//! Many threads alive at the same time: the tracer's per-task memory must hold them all.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::report::{Report, seconds as to_seconds};
use crate::sys::{self, Fork};
use crate::threads::together;

/// Runs it in this process and reports.
pub(crate) fn run(count: usize, seconds: f64) -> Result<Report> {
    let started_ns = sys::monotonic_ns();
    let mut alive_ns = 0;
    all_at_once(count, || {
        alive_ns = sys::monotonic_ns();
        thread::sleep(Duration::from_secs_f64(seconds));
        Ok(())
    })?;
    Ok(Report {
        start_seconds: (count > 0).then(|| to_seconds(alive_ns - started_ns) / count as f64),
        expected: Some(json!({ "threads": count + 1, "peak_threads": count + 1 })),
        ..Report::of_truth("many-threads", "threads", "one thread", count, count as u64, started_ns)
    })
}

/// Runs it in several processes, which are all there at once, and reports.
pub(crate) fn as_processes(count: usize, processes: u32, seconds: f64) -> Result<Report> {
    let started_ns = sys::monotonic_ns();
    let (mut ready_from, ready_to) = pipe().context("cannot make a pipe")?;
    let (go_from, go_to) = pipe().context("cannot make a pipe")?;
    for _ in 0..processes {
        match sys::fork().context("cannot fork; raise `ulimit -u` or lower --processes")? {
            Fork::Child => {
                // Without our copy of its end we would never see it closed.
                drop((ready_from, go_to));
                sys::exit_now(i32::from(wait_for_go(count, ready_to, go_from).is_err()))
            }
            Fork::Parent => {}
        }
    }
    drop((ready_to, go_from));
    let mut ready = vec![0; processes as usize];
    ready_from.read_exact(&mut ready).context("a process could not start its threads; raise `ulimit -u` or lower --count")?;
    thread::sleep(Duration::from_secs_f64(seconds));
    drop(go_to);
    for _ in 0..processes {
        sys::reap()?;
    }
    let threads = processes as usize * (count + 1) + 1;
    Ok(Report {
        expected: Some(json!({ "processes": processes + 1, "threads": threads, "peak_threads": threads })),
        ..Report::of_truth("many-threads", "hybrid", "one thread", threads, threads as u64, started_ns)
    })
}

/// One of the processes: says when its threads are there, and ends them when the other end of `go` is closed.
fn wait_for_go(count: usize, mut ready: PipeWriter, mut go: PipeReader) -> Result<()> {
    all_at_once(count, || {
        ready.write_all(&[1]).context("the first process is gone")?;
        go.read_to_end(&mut Vec::new()).map(drop).context("cannot read from a pipe")
    })
}

/// Starts the threads, calls `meanwhile` when all are there, and ends them.
fn all_at_once(count: usize, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    let body = |index: usize, wait: &dyn Fn()| {
        sys::name_thread(&format!("many-{index}"));
        wait();
    };
    together(count, body, meanwhile).map(drop)
}
