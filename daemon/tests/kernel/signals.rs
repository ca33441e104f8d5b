//! Runs that are cut short.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use std::{fs, io, ptr};

use super::attached::{Attached, state};
use super::host::{Guarded, assert_gone, comes_true, privileged, send, wait_for_programs};
use super::served::Daemon;
use super::traced::{Running, in_own_group};

/// Sends a signal to a process group, as a terminal does at Ctrl-C.
fn send_to_group(pid: u32, signal: i32) {
    // SAFETY: as in `send`; a negative id names the group.
    assert_eq!(unsafe { libc::kill(-pid.cast_signed(), signal) }, 0);
}

/// Traces a shell that says its process id, which comes with it, and then becomes the rest of the script.
fn start(script: &str) -> (Running, u32) {
    let running = Running::start("run", &["--", "sh", "-c", &format!("echo $$; {script}")]);
    let mut command = None;
    let has_begun = comes_true(20, || {
        command = running.stdout().strip_suffix('\n').and_then(|line| line.parse().ok());
        command.is_some()
    });
    assert!(has_begun, "the command did not start");
    (running, command.unwrap())
}

#[test]
fn a_signal_ends_the_command_and_the_report_is_printed() {
    let Some(()) = privileged() else { return };
    let to_group = send_to_group as fn(u32, i32);
    for (signal, send) in [(libc::SIGINT, to_group), (libc::SIGQUIT, to_group), (libc::SIGINT, send), (libc::SIGTERM, send)] {
        let (running, _) = start("exec sleep 60");
        let programs = wait_for_programs(running.id());
        sleep(Duration::from_millis(100));
        send(running.id(), signal);
        let traced = running.end();
        assert_eq!(traced.status.code(), Some(128 + signal));
        assert_eq!((traced.report.exit.code, traced.report.exit.signal), (None, Some(signal)));
        assert!(traced.stderr.contains("sleep"), "{}", traced.stderr);
        assert!((0.1..20.0).contains(&traced.report.wall_seconds), "{}", traced.report.wall_seconds);
        assert_gone(&programs);
    }
}

/// A command that says which signals it gets, and ends at SIGUSR1.
struct Listening {
    running: Running,
    /// Its process id.
    command: u32,
    /// What it has said.
    heard: Vec<String>,
}

impl Listening {
    fn start(change: impl FnOnce(&mut Command)) -> Listening {
        // What it waits for must not be ended by what it gets.
        let script = "for name in HUP INT QUIT TERM; do trap \"echo $name\" $name; done; trap 'kill -9 $!; exit 3' USR1; \
             (trap '' HUP INT QUIT TERM; exec sleep 60) & echo $$; while kill -0 $!; do wait; done";
        let running = Running::start_with("run", &["--", "sh", "-c", script], change);
        let mut listening = Listening { running, command: 0, heard: Vec::new() };
        listening.command = listening.next().parse().unwrap();
        listening
    }

    /// The one line that it says from now on.
    fn next(&mut self) -> String {
        let said = |running: &Running| running.stdout().lines().map(str::to_owned).collect::<Vec<_>>();
        let known = self.heard.len();
        assert!(comes_true(20, || said(&self.running).len() > known), "it has heard nothing after {:?}", self.heard);
        // Whatever comes a second time has come by then.
        sleep(Duration::from_millis(200));
        self.heard = said(&self.running);
        assert_eq!(self.heard.len(), known + 1, "{:?}", self.heard);
        self.heard[known].clone()
    }

    fn end(self) {
        send(self.running.id(), libc::SIGUSR1);
        let traced = self.running.end();
        assert_eq!((traced.status.code(), traced.report.exit.code), (Some(3), Some(3)));
        assert!(traced.stderr.contains("exit code 3"), "{}", traced.stderr);
    }
}

const SIGNALS: [(i32, &str); 4] = [(libc::SIGHUP, "HUP"), (libc::SIGINT, "INT"), (libc::SIGQUIT, "QUIT"), (libc::SIGTERM, "TERM")];

#[test]
fn the_command_gets_each_signal_once_whoever_it_is_sent_to() {
    let Some(()) = privileged() else { return };
    let mut listening = Listening::start(in_own_group);
    let (tracer, command) = (listening.running.id(), listening.command);
    for (signal, name) in SIGNALS {
        for (recipient, send, to) in
            [(tracer, send as fn(u32, i32), "the tracer"), (tracer, send_to_group, "the group"), (command, send, "the command")]
        {
            send(recipient, signal);
            assert_eq!(listening.next(), name, "to {to}");
        }
    }
    // As a service manager does, which knows of every process.
    let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap();
    let mut all: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(all.contains(&command), "{all:?}");
    all.insert(0, tracer);
    for process in all {
        send(process, libc::SIGTERM);
    }
    assert_eq!(listening.next(), "TERM");
    listening.end();
}

#[test]
fn a_command_in_a_group_of_its_own_gets_what_is_sent_to_ours() {
    let Some(()) = privileged() else { return };
    let script = "trap 'echo TERM' TERM; trap 'exit 3' USR1; echo $$; while :; do sleep 0.02; done";
    let words = ["--", "setsid", "sh", "-c", script];
    let running = Running::start_with("run", &words, in_own_group);
    let mut listening = Listening { running, command: 0, heard: Vec::new() };
    listening.command = listening.next().parse().unwrap();
    send_to_group(listening.running.id(), libc::SIGTERM);
    assert_eq!(listening.next(), "TERM");
    listening.end();
}

#[test]
fn the_command_gets_once_what_the_terminal_sends() {
    let Some(()) = privileged() else { return };
    let (mut ours, mut its) = (0, 0);
    // SAFETY: both are valid for writes; a name, modes and a size are not asked for.
    assert_eq!(unsafe { libc::openpty(&raw mut ours, &raw mut its, ptr::null_mut(), ptr::null(), ptr::null()) }, 0);
    // SAFETY: the call has just opened both, and nobody else knows them.
    let (ours, its) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(its)) };
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).unwrap();
    let mut listening = Listening::start(|command| {
        command.stdin(its);
        // SAFETY: the closure makes system calls only.
        unsafe {
            command.pre_exec(|| {
                let is_done = libc::setsid() != -1 && libc::ioctl(0, libc::TIOCSCTTY, 0) != -1;
                if is_done { Ok(()) } else { Err(io::Error::last_os_error()) }
            });
        }
    });
    for (key, name) in [(b"\x03", "INT"), (b"\x1c", "QUIT"), (b"\x03", "INT")] {
        rustix::io::write(&ours, key).unwrap();
        assert_eq!(listening.next(), name);
    }
    // It hangs up: the session's first process gets that for itself, and as one of its group.
    drop(ours);
    assert_eq!(listening.next(), "HUP");
    listening.end();
}

/// Signals ignored and blocked in a process from its start.
fn with_signals(command: &mut Command, ignored: &'static [i32], blocked: &'static [i32]) {
    // SAFETY: the closure makes system calls only; the set is emptied before it is used.
    unsafe {
        command.pre_exec(move || {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in blocked {
                libc::sigaddset(&raw mut set, *signal);
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
            // The tests themselves may run under nohup.
            for (signal, _) in SIGNALS {
                libc::signal(signal, libc::SIG_DFL);
            }
            for signal in ignored {
                libc::signal(*signal, libc::SIG_IGN);
            }
            Ok(())
        });
    }
}

#[test]
fn the_command_finds_signals_as_we_found_them() {
    let Some(()) = privileged() else { return };
    let words = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    for (ignored, blocked) in [
        (&[][..], &[][..]),
        (&[libc::SIGPIPE], &[libc::SIGCHLD]),
        (&[libc::SIGCHLD], &[]),
        (&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT], &[libc::SIGTERM, libc::SIGUSR1]),
    ] {
        let mut without_us = Command::new(words[0]);
        with_signals(without_us.args(&words[1..]), ignored, blocked);
        let expected = String::from_utf8(without_us.output().unwrap().stdout).unwrap();
        let words = [&["--"][..], &words].concat();
        let traced = Running::start_with("run", &words, |command| with_signals(command, ignored, blocked)).end();
        assert_eq!((traced.status.code(), traced.stdout), (Some(0), expected), "ignored {ignored:?}, blocked {blocked:?}");
    }
}

#[test]
fn what_is_ignored_ends_neither_the_command_nor_the_tracer() {
    let Some(()) = privileged() else { return };
    // As `nohup` starts a program, and a shell without job control one in the background.
    let ignored = &[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];
    let mut running = Running::start_with("run", &["--", "sh", "-c", "echo $$; exec sleep 60"], |command| {
        with_signals(command.process_group(0), ignored, &[]);
    });
    assert!(comes_true(20, || running.stdout().ends_with('\n')), "the command did not start");
    let mut sleeper = Guarded::start("sleep", &["60"]);
    let target = sleeper.id().to_string();
    let mut attached = Running::start_with("attach", &["--pid", &target], |command| with_signals(command, ignored, &[]));
    let programs = wait_for_programs(attached.id());
    sleep(Duration::from_millis(200));
    for signal in ignored {
        send_to_group(running.id(), *signal);
        send(running.id(), *signal);
        send(attached.id(), *signal);
    }
    sleep(Duration::from_millis(300));
    assert_eq!((running.process.try_wait().unwrap(), attached.process.try_wait().unwrap()), (None, None));
    for process in [&running, &attached] {
        send(process.id(), libc::SIGTERM);
    }
    assert_eq!(running.end().report.exit.signal, Some(libc::SIGTERM));
    assert!(attached.end().status.success());
    assert_gone(&programs);
    assert_eq!(sleeper.try_wait().unwrap(), None);
}

#[test]
fn ctrl_c_leaves_a_command_that_handles_it_to_its_own_end() {
    let Some(()) = privileged() else { return };
    let (running, _) = start("trap 'exit 3' INT; while :; do sleep 0.05; done");
    sleep(Duration::from_millis(200));
    send_to_group(running.id(), libc::SIGINT);
    let traced = running.end();
    assert_eq!((traced.status.code(), traced.report.exit.code), (Some(3), Some(3)));
}

#[test]
fn kill_9_leaves_no_program_in_the_kernel() {
    let Some(()) = privileged() else { return };
    let (mut running, command) = start("exec sleep 60");
    let mut daemon = Daemon::start("");
    for process in [&mut running.process, &mut daemon.process] {
        let programs = wait_for_programs(process.id());
        process.kill().unwrap();
        process.wait().unwrap();
        assert_gone(&programs);
    }
    // Nobody was there to end the command; it is not our child, but its group is the tracer's.
    assert!(state(command).is_some());
    send(command, libc::SIGKILL);
    assert!(comes_true(5, || matches!(state(command), None | Some('Z'))));
}

#[test]
fn an_attached_process_outlives_the_tracer() {
    let Some(()) = privileged() else { return };
    let mut sleeper = Guarded::start("sleep", &["60"]);
    let attached = Attached::to(&[&sleeper]);
    let programs = wait_for_programs(attached.tracer.id());
    send(attached.tracer.id(), libc::SIGINT);
    let traced = attached.tracer.end();
    assert!(traced.status.success() && traced.stderr.contains("sleep"), "{}", traced.stderr);
    assert_eq!(traced.report.tasks.still_alive, 1);
    assert_gone(&programs);
    assert_eq!(sleeper.try_wait().unwrap(), None, "the process did not survive");
}
