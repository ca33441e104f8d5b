//! A daemon that detaches: fork, new session, fork again. The grandchild becomes init's, yet it is still our workload.

use std::fs::OpenOptions;
use std::io::{Read, Write, pipe};

use anyhow::{Context, Result, bail};
use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use serde_json::json;

use crate::report::{self, Report, seconds as to_seconds};
use crate::sys::{self, Fork};
use crate::tasks::multiply;

const STEPS_PER_UNIT: u32 = 100_000;

/// Runs it. The daemon's report goes to our standard output unless we leave before it is there.
pub(crate) fn run(seconds: f64, leave: bool) -> Result<()> {
    let started_ns = sys::monotonic_ns();
    let (mut from, to) = pipe().context("cannot make a pipe")?;
    match sys::fork().context("cannot fork")? {
        Fork::Child => {
            drop(from);
            let code = detach(seconds, started_ns, leave, to);
            sys::exit_now(i32::from(code.is_err()))
        }
        Fork::Parent => {
            drop(to);
            sys::reap().context("the child could not detach")?;
            // With `leave` the first line says that the daemon runs; else there is only its report.
            let mut text = String::new();
            from.read_to_string(&mut text).context("cannot read from the daemon")?;
            if text.is_empty() {
                bail!("the daemon ended without a report");
            }
            print!("{text}");
            Ok(())
        }
    }
}

/// The child: becomes a session leader, forks the daemon, and ends, so that init adopts the daemon.
fn detach(seconds: f64, started_ns: u64, leave: bool, mut to: std::io::PipeWriter) -> Result<()> {
    sys::name_thread("detach");
    setsid().context("cannot make a session")?;
    if let Fork::Parent = sys::fork().context("cannot fork the daemon")? {
        return Ok(());
    }
    sys::name_thread("daemon");
    let mut report = Report::of_truth("double-fork", "processes", "100,000 multiplications", 1, 0, started_ns);
    report.expected = Some(json!({ "forks": 2, "tid_of_daemon": sys::thread_id(), "on_cpu_seconds_at_least": seconds * 0.5 }));
    let first_ns = sys::monotonic_ns();
    report.start_seconds = Some(to_seconds(first_ns - started_ns));
    let mut to = if leave {
        writeln!(to, "{}", serde_json::to_string(&report)?)?;
        // Our end of the pipe must close for the parent to stop reading.
        drop(to);
        silence_streams().context("cannot let go of the standard streams")?;
        None
    } else {
        Some(to)
    };
    while to_seconds(sys::monotonic_ns() - first_ns) < seconds {
        multiply(STEPS_PER_UNIT, report.work);
        report.work += 1;
    }
    report.kernel = vec![report::KernelCounts::of_this_thread()];
    report.work_seconds = to_seconds(sys::monotonic_ns() - first_ns);
    report.wall_seconds = to_seconds(sys::monotonic_ns() - started_ns);
    if let Some(to) = &mut to {
        writeln!(to, "{}", serde_json::to_string(&report)?)?;
    }
    sys::exit_now(0)
}

/// Points standard input, output and error to `/dev/null`, as a daemon does: nobody shall wait for them to close.
fn silence_streams() -> Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    Ok(dup2_stderr(&null)?)
}
