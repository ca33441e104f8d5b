//! Many threads alive at the same time: the tracer's per-task memory must hold them all.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::models::Gate;
use crate::report::{Report, seconds as to_seconds};
use crate::sys;

/// Enough for a thread that only waits; the default of 2 MiB each would need gigabytes of address space.
const STACK_BYTES: usize = 64 << 10;

/// Runs it and reports.
pub(crate) fn run(count: usize, seconds: f64) -> Result<Report> {
    let started_ns = sys::monotonic_ns();
    let gate = Gate::default();
    let (ready, all_ready) = mpsc::channel();
    let alive_ns = thread::scope(|scope| -> Result<u64> {
        for index in 0..count {
            let (gate, ready) = (&gate, ready.clone());
            let body = move || {
                sys::name_thread(&format!("many-{index}"));
                // The receiver outlives the scope, so sending cannot fail.
                let _ = ready.send(());
                gate.wait();
            };
            if let Err(error) = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, body) {
                gate.open();
                return Err(error).with_context(|| format!("cannot start thread {index}; raise `ulimit -u` or lower --count"));
            }
        }
        all_ready.iter().take(count).for_each(drop);
        let alive_ns = sys::monotonic_ns();
        thread::sleep(Duration::from_secs_f64(seconds));
        gate.open();
        Ok(alive_ns)
    })?;
    let wall_ns = sys::monotonic_ns() - started_ns;
    let mut report = Report::of_truth("many-threads", "threads", "one thread", count, count as u64, wall_ns);
    report.start_seconds = (count > 0).then(|| to_seconds(alive_ns - started_ns) / count as f64);
    report.expected = Some(json!({ "threads": count + 1, "peak_threads": count + 1 }));
    Ok(report)
}
