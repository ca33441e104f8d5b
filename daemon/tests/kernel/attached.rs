//! `schedscope attach` beside processes that the test has started.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use procfs::process::Process;
use schedscope::report::RunReport;
use tempfile::TempDir;

use super::{
    host::{self, Guarded, comes_true},
    leftovers::wait_for_programs,
};

/// Whether a process waits for events. A tracer does so for the first time when all that it was given is registered.
fn waits_for_events(pid: u32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse::<libc::c_long>().ok());
    #[cfg(target_arch = "x86_64")]
    let waits = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
    #[cfg(not(target_arch = "x86_64"))]
    let waits = [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
    number.is_some_and(|number| waits.contains(&number))
}

/// `schedscope attach` at work.
pub(crate) struct Attached {
    pub(crate) tracer: Guarded,
    dir: TempDir,
}

impl Attached {
    pub(crate) fn to(processes: &[&Child]) -> Attached {
        let ids: Vec<u32> = processes.iter().map(|process| process.id()).collect();
        Attached::to_ids(&ids)
    }

    pub(crate) fn to_ids(processes: &[u32]) -> Attached {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(host::schedscope());
        command.args(["attach", "--quiet", "--json"]).arg(dir.path().join("report.json"));
        command.args(processes.iter().flat_map(|process| ["--pid".to_owned(), process.to_string()]));
        let mut tracer = Guarded(command.spawn().unwrap());
        wait_for_programs(tracer.id());
        let is_ready = comes_true(60, || waits_for_events(tracer.id()) || tracer.try_wait().unwrap().is_some());
        assert!(is_ready, "the tracer {} does not begin to trace", tracer.id());
        Attached { tracer, dir }
    }

    /// Waits for the tracer's end, which somebody has brought about.
    pub(crate) fn report(mut self) -> RunReport {
        assert!(self.tracer.wait().unwrap().success());
        serde_json::from_slice(&fs::read(self.dir.path().join("report.json")).unwrap()).unwrap()
    }
}

pub(crate) fn pid_of(child: &Child) -> libc::pid_t {
    libc::pid_t::try_from(child.id()).unwrap()
}

/// Waits until every thread of a process is in this state, off its CPU included.
pub(crate) fn wait_for_state(process: &Child, state: char) {
    let is_there = || {
        let tasks = Process::new(pid_of(process)).and_then(|process| process.tasks()).unwrap();
        tasks.flatten().all(|task| task.stat().is_ok_and(|stat| stat.state == state))
    };
    assert!(comes_true(10, is_there), "process {} does not come into state {state}", process.id());
    sleep(Duration::from_millis(50));
}

/// A shell that becomes the workload once it is told to.
pub(crate) fn waiting_workload(arguments: &[&str]) -> Guarded {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read line; exec \"$0\" \"$@\""]).arg(host::workloads()).args(arguments);
    let child = Guarded(shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    wait_for_state(&child, 'S');
    child
}
