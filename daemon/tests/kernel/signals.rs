//! Runs that are cut short.

use std::{thread::sleep, time::Duration};

use super::{
    attached::{Attached, state},
    host::{Guarded, assert_gone, comes_true, privileged, send, wait_for_programs},
    served::Daemon,
    traced::Running,
};

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
    let ctrl_c = (libc::SIGINT, send_to_group as fn(u32, i32));
    for (signal, send) in [ctrl_c, (libc::SIGTERM, send)] {
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
fn a_command_that_ignores_ctrl_c_is_killed_at_the_second() {
    let Some(()) = privileged() else { return };
    let (mut running, _) = start("trap '' INT; exec sleep 60");
    sleep(Duration::from_millis(200));
    send_to_group(running.id(), libc::SIGINT);
    sleep(Duration::from_millis(300));
    assert_eq!(running.process.try_wait().unwrap(), None, "it did not wait for the command");
    send_to_group(running.id(), libc::SIGINT);
    let traced = running.end();
    assert_eq!((traced.status.code(), traced.report.exit.signal), (Some(128 + libc::SIGKILL), Some(libc::SIGKILL)));
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
