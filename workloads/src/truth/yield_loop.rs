//! Threads on one CPU that give it to each other with `sched_yield`.
//!
//! A yield is a switch that the kernel counts as involuntary although the thread asked for it. The scheduler may pick
//! the same thread again, so the number of yields bounds the switches from above (plus ordinary preemptions).

use anyhow::Result;
use rustix::thread::sched_yield;
use serde_json::json;

use super::first_cpu;
use crate::report::{KernelCounts, Report};
use crate::sys;
use crate::threads::together;

pub(crate) fn run(count: u64, threads: u16) -> Result<Report> {
    sys::pin_to(first_cpu()?)?;
    let started_ns = sys::monotonic_ns();
    let body = |index: usize, wait: &dyn Fn()| {
        sys::name_thread(&format!("yield-{index}"));
        wait();
        (0..count).for_each(|_| sched_yield());
        KernelCounts::of_this_thread()
    };
    let (_, kernel) = together(threads.into(), body, || Ok(()))?;
    let yields = count * u64::from(threads);
    Ok(Report {
        expected: Some(json!({ "yields": yields, "migrations_by_worker": 0 })),
        kernel,
        ..Report::of_truth("yield-loop", "threads", "one sched_yield", threads.into(), yields, started_ns)
    })
}
