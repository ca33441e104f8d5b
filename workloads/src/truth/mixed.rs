//! A bit of everything at once: the nearest to a real program.
//!
//! One thread computes, four sleep, two yield on one CPU, two play ping-pong on it, and child processes come and go.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::sched_yield;
use serde_json::json;

use super::{first_cpu, ping_pong};
use crate::report::{KernelCounts, Report, seconds as to_seconds};
use crate::sys;
use crate::tasks::multiply;
use crate::threads::{joined, spawn};

/// What a part of the mixture did: its name, its own count, and the kernel's counters of its thread.
type Part = (&'static str, u64, KernelCounts);

pub(crate) fn run(seconds: f64) -> Result<Report> {
    let started_ns = sys::monotonic_ns();
    let goes_on = move || to_seconds(sys::monotonic_ns() - started_ns) < seconds;
    let cpu = first_cpu()?;
    let repeat = move |name: &'static str, step: fn()| -> Result<Part> {
        sys::name_thread(name);
        if name == "mix-yield" {
            sys::pin_to(cpu)?;
        }
        let mut count = 0;
        while goes_on() {
            step();
            count += 1;
        }
        Ok((name, count, KernelCounts::of_this_thread()))
    };
    let mut handles = vec![spawn(move || {
        repeat("mix-spin", || {
            multiply(100_000, 1);
        })
    })?];
    for _ in 0..4 {
        handles.push(spawn(move || repeat("mix-sleep", || thread::sleep(Duration::from_millis(5))))?);
    }
    for _ in 0..2 {
        handles.push(spawn(move || repeat("mix-yield", sched_yield))?);
    }
    handles.push(spawn(move || games(cpu, goes_on))?);
    handles.push(spawn(move || children(goes_on))?);
    let mut parts = Vec::new();
    for handle in handles {
        parts.push(joined(handle.join())??);
    }
    let work = parts.iter().map(|(_, count, _)| count).sum();
    let of = |wanted: &str| parts.iter().filter(|(name, ..)| *name == wanted).map(|(_, count, _)| count).sum::<u64>();
    Ok(Report {
        work_by_worker: parts.iter().map(|(_, count, _)| *count).collect(),
        expected: Some(json!({ "sleeps": of("mix-sleep"), "yields": of("mix-yield"), "children": of("mix-children") })),
        kernel: parts.iter().map(|(_, _, counts)| counts.clone()).collect(),
        ..Report::of_truth("mixed", "mixed", "one step of any part", parts.len(), work, started_ns)
    })
}

/// Games of ping-pong, five hundred passes each, so that a fast host does not start more threads than a report lists; the players
/// inherit the CPU of this thread.
fn games(cpu: usize, goes_on: impl Fn() -> bool) -> Result<Part> {
    sys::name_thread("mix-games");
    sys::pin_to(cpu)?;
    let mut count = 0;
    while goes_on() {
        ping_pong::as_threads(250)?;
        count += 1;
    }
    Ok(("mix-games", count, KernelCounts::of_this_thread()))
}

/// Child processes, one after the other.
fn children(goes_on: impl Fn() -> bool) -> Result<Part> {
    sys::name_thread("mix-children");
    let mut count = 0;
    while goes_on() {
        let status = Command::new("/bin/true").stdin(Stdio::null()).status().context("cannot execute /bin/true")?;
        count += u64::from(status.success());
    }
    Ok(("mix-children", count, KernelCounts::of_this_thread()))
}
