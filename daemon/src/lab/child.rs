//! Running programs so that none outlives the lab, whether it ends well, by Ctrl-C or by force.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// From one look at the stop flag to the next; rare enough not to disturb what is measured.
const POLL: Duration = Duration::from_millis(100);
/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// Whether the user wants the lab to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on Ctrl-C and its like set a flag instead of ending this process.
    pub fn install() -> Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop.0)).context("cannot handle signals")?;
        }
        Ok(stop)
    }

    /// True once the user asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs a program to its end and returns what it printed. It is ended with all its children after `limit` or when the user wants
/// to stop; both are errors.
pub(crate) fn output(command: &mut Command, limit: Duration, stop: &Stop) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let group = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let began = Instant::now();
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(output) => return output.with_context(|| format!("cannot read from {name}")),
            Err(RecvTimeoutError::Disconnected) => bail!("lost {name}"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let is_late = began.elapsed() > limit;
        if is_late || stop.is_requested() {
            // The group's leader is not reaped yet, or its pipes are still open and so the group is not empty: its id is its own.
            let _ = kill_process_group(group, Signal::TERM);
            if receiver.recv_timeout(GRACE).is_err() {
                let _ = kill_process_group(group, Signal::KILL);
                let _ = receiver.recv_timeout(GRACE);
            }
            bail!(if is_late { format!("did not end within {} s", limit.as_secs()) } else { "interrupted".to_owned() });
        }
    }
}

/// The line of a program's error output that usually says what went wrong.
pub(crate) fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it gives no reason").to_owned()
}

/// Starts a program in a process group of its own; the kernel ends it if this process dies.
fn spawn(command: &mut Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.process_group(0).stdin(Stdio::null());
    // SAFETY: the closure runs between fork and exec and makes one system call, which is safe there.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?)) };
    command.spawn().with_context(|| format!("cannot start {name}"))
}

/// A program that serves until it is dropped.
pub struct Service {
    child: Child,
}

impl Service {
    /// Starts a service whose output nobody reads.
    pub fn start(command: &mut Command) -> Result<Service> {
        Ok(Service { child: spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))? })
    }

    /// Starts a service that prints into a file.
    pub(crate) fn logging(command: &mut Command, log: &Path) -> Result<Service> {
        let file = fs::File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Service { child: spawn(command.stdout(file).stderr(errors))? })
    }

    /// Id of the process, which leads a group of its own.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        if !self.has_ended() {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::test_kill_process_group;

    use super::*;

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_its_children() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Neither the shell nor its child heeds the polite signal.
        let script = "trap '' TERM; echo $$ > \"$1\"; sleep 300 & wait; sleep 300";
        let began = Instant::now();
        let mut command = Command::new("sh");
        let error = output(command.args(["-c", script, "sh"]).arg(file.path()), POLL * 2, &Stop::default()).unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
        assert!(began.elapsed() < GRACE * 3);
        let group = Pid::from_raw(fs::read_to_string(file.path()).unwrap().trim().parse().unwrap()).unwrap();
        while test_kill_process_group(group).is_ok() {
            assert!(began.elapsed() < GRACE * 5, "the group is still there");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn a_request_to_stop_ends_the_program() {
        let stop = Stop::default();
        stop.0.store(true, Ordering::Relaxed);
        let error = output(Command::new("sleep").arg("300"), Duration::from_secs(300), &stop).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }

    #[test]
    fn what_a_program_prints_comes_back() {
        let output = output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), GRACE, &Stop::default()).unwrap();
        assert_eq!((output.status.code(), &output.stdout[..], &output.stderr[..]), (Some(3), &b"out\n"[..], &b"err\n"[..]));
        let error = super::output(&mut Command::new("/nonexistent"), GRACE, &Stop::default()).unwrap_err();
        assert!(format!("{error:#}").contains("cannot start /nonexistent"));
    }

    #[test]
    fn the_last_line_says_what_went_wrong() {
        assert_eq!(last_line(b"Traceback:\n  deep\nOSError: no\n\n"), "OSError: no");
        assert_eq!(last_line(b""), "it gives no reason");
    }
}
