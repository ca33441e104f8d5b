//! `schedscope attach` beside processes that the test has started.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use procfs::process::Process;
use schedscope::report::RunReport;

use super::host::{self, Guarded, comes_true, wait_for_programs};
use super::traced::Running;

pub(crate) struct Attached {
    pub(crate) tracer: Running,
}

impl Attached {
    pub(crate) fn to(processes: &[&Child]) -> Attached {
        Attached::to_ids(&processes.iter().map(|process| process.id()).collect::<Vec<_>>())
    }

    pub(crate) fn to_ids(processes: &[u32]) -> Attached {
        let ids: Vec<String> = processes.iter().flat_map(|process| ["--pid".to_owned(), process.to_string()]).collect();
        Attached::with(&ids.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn with(arguments: &[&str]) -> Attached {
        let mut tracer = Running::start("attach", arguments);
        wait_for_programs(tracer.id());
        let is_ready = comes_true(60, || waits_for_events(tracer.id()) || tracer.process.try_wait().unwrap().is_some());
        assert!(is_ready, "the tracer {} does not begin to trace", tracer.id());
        Attached { tracer }
    }

    /// Waits for the tracer's end, which somebody has brought about.
    pub(crate) fn report(self) -> RunReport {
        let traced = self.tracer.end();
        assert!(traced.status.success(), "{}", traced.stderr);
        traced.report
    }
}

/// Whether a process waits for events. A tracer does so for the first time when all that it was given is registered.
fn waits_for_events(pid: u32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse::<libc::c_long>().ok());
    let waits = [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
    #[cfg(target_arch = "x86_64")]
    let waits = [waits[0], waits[1], libc::SYS_epoll_wait];
    number.is_some_and(|number| waits.contains(&number))
}

pub(crate) fn pid_of(child: &Child) -> libc::pid_t {
    child.id().cast_signed()
}

/// State of a process's first thread; `None` once it is reaped.
pub(crate) fn state(pid: u32) -> Option<char> {
    Process::new(pid.cast_signed()).and_then(|process| process.stat()).ok().map(|stat| stat.state)
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
    waiting(&[&[host::workloads().as_str()], arguments].concat())
}

/// A shell that becomes the command once it is told to.
pub(crate) fn waiting(command: &[&str]) -> Guarded {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read line; exec \"$0\" \"$@\""]).args(command);
    let child = Guarded(shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    wait_for_state(&child, 'S');
    child
}
