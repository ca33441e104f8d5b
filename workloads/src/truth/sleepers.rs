//! Threads that sleep, wake up, and sleep again: each sleep is one voluntary switch and one wake-up.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::report::{KernelCounts, Report, seconds as to_seconds};
use crate::sys;
use crate::threads::{joined, spawn};

pub(crate) fn run(count: usize, seconds: f64, pause: f64) -> Result<Report> {
    let started_ns = sys::monotonic_ns();
    let body = move |index: usize| {
        sys::name_thread(&format!("sleeper-{index}"));
        let mut sleeps = 0_u64;
        while to_seconds(sys::monotonic_ns() - started_ns) < seconds {
            thread::sleep(Duration::from_secs_f64(pause));
            sleeps += 1;
        }
        (sleeps, KernelCounts::of_this_thread())
    };
    let handles = (0..count).map(|index| spawn(move || body(index))).collect::<Result<Vec<_>>>()?;
    let (mut work_by_worker, mut kernel) = (Vec::new(), Vec::new());
    for handle in handles {
        let (sleeps, counts) = joined(handle.join())?;
        work_by_worker.push(sleeps);
        kernel.push(counts);
    }
    let work = work_by_worker.iter().sum();
    let expected = Some(json!({ "voluntary_at_least": work }));
    let report = Report::of_truth("sleepers", "threads", "one sleep", count, work, started_ns);
    Ok(Report { work_by_worker, expected, kernel, ..report })
}
