//! A thread that falls asleep while another sends it signals, beside a third that computes on its CPU.
//!
//! A signal that arrives on the way to sleep keeps the thread awake. If the CPU goes to the other one all the same, the
//! kernel counts that switch as voluntary although the thread never blocked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::first_cpu;
use crate::report::{KernelCounts, Report};
use crate::sys;
use crate::threads::joined;

/// What three threads wait for besides: to be started and moved, and for each other's end.
const BESIDES: u64 = 100;

/// Long enough to be gone when a signal ends it, short enough to come often.
const SLEEP: Duration = Duration::from_micros(20);

pub(crate) fn run(seconds: f64) -> Result<Report> {
    sys::survive_interruptions()?;
    let (cpu, started_ns) = (first_cpu()?, sys::monotonic_ns());
    let over = &AtomicBool::new(false);
    let is_over = || over.load(Ordering::Relaxed);
    let (ids, sleepers_id) = mpsc::channel();
    let (sleeps, kernel) = thread::scope(|scope| {
        let sleeper = scope.spawn(move || {
            sys::name_thread("sleeper");
            sys::pin_to(cpu)?;
            let _ = ids.send(sys::thread_id());
            let mut sleeps = 0_u64;
            while !is_over() {
                sys::sleep_once(SLEEP);
                sleeps += 1;
            }
            anyhow::Ok((sleeps, KernelCounts::of_this_thread()))
        });
        let spinner = scope.spawn(move || {
            sys::name_thread("spinner");
            sys::pin_to(cpu)?;
            while !is_over() {
                std::hint::spin_loop();
            }
            anyhow::Ok(KernelCounts::of_this_thread())
        });
        if let Ok(id) = sleepers_id.recv() {
            let until = Instant::now() + Duration::from_secs_f64(seconds);
            while Instant::now() < until {
                sys::interrupt(id);
            }
        }
        over.store(true, Ordering::Relaxed);
        let (sleeps, of_sleeper) = joined(sleeper.join())?.context("the sleeper")?;
        let of_spinner = joined(spinner.join())?.context("the spinner")?;
        anyhow::Ok((sleeps, vec![of_sleeper, of_spinner]))
    })?;
    Ok(Report {
        expected: Some(json!({ "voluntary_at_most": sleeps + BESIDES })),
        kernel,
        ..Report::of_truth("interrupted", "threads", "one sleep", 2, sleeps, started_ns)
    })
}
