//! Runs that are cut short.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    thread::sleep,
    time::Duration,
};

use schedscope::report::RunReport;
use tempfile::TempDir;

use super::{
    host::{self, Guarded, comes_true, is_privileged},
    leftovers::{assert_gone, wait_for_programs},
};

/// Sends a signal to a process.
pub(crate) fn send(pid: u32, signal: i32) {
    // SAFETY: takes numbers only; the caller's child is not reaped yet, so the id is its own.
    assert_eq!(unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), signal) }, 0, "cannot send signal {signal} to {pid}");
}

/// Sends a signal to a process group, as a terminal does at Ctrl-C.
fn send_to_group(pid: u32, signal: i32) {
    // SAFETY: as above; a negative id names the group.
    assert_eq!(unsafe { libc::kill(-libc::pid_t::try_from(pid).unwrap(), signal) }, 0);
}

/// A tracer in a process group of its own and the command that it runs.
struct Running {
    tracer: Guarded,
    command: u32,
    dir: TempDir,
}

/// Traces a shell that says its process id and then becomes the rest of the script.
fn start(script: &str) -> Running {
    let dir = TempDir::new().unwrap();
    let mut tracer = Command::new(host::schedscope());
    tracer.args(["run", "--json"]).arg(dir.path().join("report.json")).args(["--", "sh", "-c", &format!("echo $$; {script}")]);
    let mut tracer = tracer.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(tracer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let command = line.trim().parse().unwrap_or_else(|_| panic!("the command did not start: {line:?}"));
    Running { tracer: Guarded(tracer), command, dir }
}

impl Running {
    /// Waits for the end; what was printed and what was written.
    fn end(mut self) -> (ExitStatus, String, RunReport) {
        let mut printed = String::new();
        self.tracer.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
        let status = self.tracer.wait().unwrap();
        let json = fs::read(self.dir.path().join("report.json")).unwrap_or_else(|error| panic!("{error}: {status} {printed}"));
        (status, printed, serde_json::from_slice(&json).unwrap())
    }
}

#[test]
fn ctrl_c_ends_the_command_and_prints_the_report() {
    if !is_privileged() {
        return;
    }
    let running = start("exec sleep 60");
    let programs = wait_for_programs(running.tracer.id());
    sleep(Duration::from_millis(100));
    send_to_group(running.tracer.id(), libc::SIGINT);
    let (status, printed, report) = running.end();
    assert_eq!(status.code(), Some(128 + libc::SIGINT));
    assert_eq!((report.exit.code, report.exit.signal), (None, Some(libc::SIGINT)));
    assert!(printed.contains("sleep"), "{printed}");
    assert!((0.1..20.0).contains(&report.wall_seconds), "{}", report.wall_seconds);
    assert_gone(&programs);
}

#[test]
fn ctrl_c_leaves_a_command_that_handles_it_to_its_own_end() {
    if !is_privileged() {
        return;
    }
    let running = start("trap 'exit 3' INT; while :; do sleep 0.05; done");
    sleep(Duration::from_millis(200));
    send_to_group(running.tracer.id(), libc::SIGINT);
    let (status, _, report) = running.end();
    assert_eq!((status.code(), report.exit.code), (Some(3), Some(3)));
}

#[test]
fn a_command_that_ignores_ctrl_c_is_killed_at_the_second() {
    if !is_privileged() {
        return;
    }
    let mut running = start("trap '' INT; exec sleep 60");
    sleep(Duration::from_millis(200));
    send_to_group(running.tracer.id(), libc::SIGINT);
    sleep(Duration::from_millis(300));
    assert_eq!(running.tracer.try_wait().unwrap(), None, "it did not wait for the command");
    send_to_group(running.tracer.id(), libc::SIGINT);
    let (status, _, report) = running.end();
    assert_eq!((status.code(), report.exit.signal), (Some(128 + libc::SIGKILL), Some(libc::SIGKILL)));
}

#[test]
fn sigterm_is_passed_on_and_the_report_is_printed() {
    if !is_privileged() {
        return;
    }
    let running = start("exec sleep 60");
    let programs = wait_for_programs(running.tracer.id());
    send(running.tracer.id(), libc::SIGTERM);
    let (status, printed, report) = running.end();
    assert_eq!((status.code(), report.exit.signal), (Some(128 + libc::SIGTERM), Some(libc::SIGTERM)));
    assert!(!printed.is_empty());
    assert_gone(&programs);
}

#[test]
fn kill_9_leaves_no_program_in_the_kernel() {
    if !is_privileged() {
        return;
    }
    let mut running = start("exec sleep 60");
    let programs = wait_for_programs(running.tracer.id());
    running.tracer.kill().unwrap();
    running.tracer.wait().unwrap();
    assert_gone(&programs);
    // Nobody was there to end it; it is not our child, but its group is the tracer's.
    assert!(fs::exists(format!("/proc/{}", running.command)).unwrap());
    send(running.command, libc::SIGKILL);
    let is_gone = || fs::read_to_string(format!("/proc/{}/stat", running.command)).map_or(true, |stat| stat.contains(") Z "));
    assert!(comes_true(5, is_gone));
}

#[test]
fn an_attached_process_outlives_the_tracer() {
    if !is_privileged() {
        return;
    }
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = sleeper.id().to_string();
    let tracer = Command::new(host::schedscope()).args(["attach", "--pid", &pid]).stderr(Stdio::piped()).spawn().unwrap();
    let programs = wait_for_programs(tracer.id());
    sleep(Duration::from_millis(300));
    send(tracer.id(), libc::SIGINT);
    let output = tracer.wait_with_output().unwrap();
    assert!(output.status.success() && !output.stderr.is_empty(), "{output:?}");
    assert_gone(&programs);
    assert_eq!(sleeper.try_wait().unwrap(), None, "the process did not survive");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}
