//! What a daemon knows after nobody has looked for a while, beside another one, and while everything comes and goes.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::accounts::{Counters, counters, wait_with_usage};
use super::attached::state;
use super::host::{Guarded, comes_true, privileged, send, shell_called};
use super::served::{Daemon, Totals, assert_never_down, lost, rule, threads};
use super::traced::exact;

/// Processes that a storm starts.
const FORKS: u64 = 2_000;
/// The same for one that nobody looks at while it passes: more than the table has room for, so that it overwrites the details of those
/// that have ended. Between its end and the moment at which the kernel frees it, which RCU may put off for a good part of a second,
/// a process needs its slot, so the table must not be tiny either.
const FORKS_UNSEEN: u64 = 6_000;
const SMALL_TABLE: &str = "max_threads = 4096\n";

/// The storm's name, which no other run of these tests uses.
fn storm_name() -> String {
    format!("storm-{}", std::process::id())
}

fn config() -> String {
    rule("storm", &storm_name())
}

/// A shell that starts processes one after the other once it is told to, and ends; with the kernel's account of it before, and what
/// each daemon had counted.
struct Storm {
    shell: Guarded,
    forks: u64,
    kernel_before: Counters,
    before: Vec<Totals>,
}

impl Storm {
    /// Waits until each daemon counts the shell under its name; it is then asleep.
    fn ready(daemons: &[&Daemon], forks: u64) -> Storm {
        let script = format!("read line; i=0; while [ $i -lt {forks} ]; do (:); i=$((i+1)); done");
        let dir = TempDir::new().unwrap();
        let mut shell = Command::new(shell_called(&storm_name(), dir.path()));
        let shell = Guarded(shell.args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap());
        let before = |daemon: &&Daemon| {
            assert!(comes_true(20, || threads(&daemon.get("/metrics"), "storm") > 0), "the rule does not name the storm");
            sleep(Duration::from_millis(300));
            Totals::of(&daemon.get("/metrics"), "storm")
        };
        let before = daemons.iter().map(before).collect();
        Storm { kernel_before: counters(&shell).pop().unwrap(), shell, forks, before }
    }

    fn begin(&mut self) {
        self.shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }

    /// Waits until the shell is a zombie: reaping it is for later.
    fn assert_gone_by(&self) {
        assert!(comes_true(120, || state(self.shell.id()) == Some('Z')), "the storm does not end");
    }

    /// Compares what the daemons say now with the kernel's account of the whole tree.
    fn assert_right(&self, texts: &[String]) {
        let (status, usage) = wait_with_usage(&self.shell);
        assert!(status.success());
        for (text, before) in texts.iter().zip(&self.before) {
            let after = Totals::of(text, "storm");
            let all = (before, &after, &usage, &self.kernel_before);
            assert_eq!(after.processes - before.processes, self.forks, "{all:?}");
            // A process may be reaped, and its counts added to its parent's, before its last switch and, for once, a preemption
            // on the way there.
            for (ours, kernel) in [
                (after.voluntary - before.voluntary, usage.voluntary - self.kernel_before.voluntary),
                (after.involuntary - before.involuntary, usage.involuntary - self.kernel_before.involuntary),
            ] {
                assert!((kernel..=kernel + self.forks + 1).contains(&ours), "our count {ours}, the kernel's {kernel}: {all:?}");
            }
            let kernel = usage.cpu_seconds - self.kernel_before.cpu_seconds;
            let more = after.cpu_seconds - before.cpu_seconds - kernel;
            assert!(more.abs() <= 1e-3 * kernel + 50e-6 * self.forks as f64, "{more} s more than {kernel} s: {all:?}");
        }
    }
}

#[test]
fn a_daemon_that_nobody_asked_or_that_was_stopped_has_missed_nothing_but_details() {
    let Some(()) = privileged() else { return };
    for (is_stopped, forks, table) in [(false, FORKS, ""), (true, FORKS_UNSEEN, SMALL_TABLE)] {
        let daemon = Daemon::start(&(table.to_owned() + &config()));
        let mut storm = Storm::ready(&[&daemon], forks);
        if is_stopped {
            send(daemon.process.id(), libc::SIGSTOP);
        }
        storm.begin();
        storm.assert_gone_by();
        sleep(Duration::from_secs(3));
        if is_stopped {
            send(daemon.process.id(), libc::SIGCONT);
        }
        let text = daemon.get("/metrics");
        storm.assert_right(std::slice::from_ref(&text));
        assert_eq!(lost(&text, "task_table_full"), 0);
        assert!(!is_stopped || lost(&text, "thread_detail_evicted") > 0, "the table was too large for this test");
    }
}

#[test]
fn two_daemons_and_a_run_beside_them_count_the_same() {
    let Some(()) = privileged() else { return };
    let daemons = [Daemon::start(&config()), Daemon::start(&config())];
    let mut storm = Storm::ready(&daemons.each_ref(), FORKS);
    storm.begin();
    assert!(exact("mixed --seconds 1").is_some());
    storm.assert_gone_by();
    let texts = daemons.each_ref().map(|daemon| daemon.get("/metrics"));
    let grown = |index: usize| {
        let (before, after) = (storm.before[index], Totals::of(&texts[index], "storm"));
        [after.processes - before.processes, after.voluntary - before.voluntary, after.involuntary - before.involuntary]
    };
    let losses = |text: &String| text.lines().filter(|line| line.starts_with("schedscope_events_lost")).collect::<String>();
    assert_eq!(grown(0), grown(1), "{:?}", texts.each_ref().map(losses));
    storm.assert_right(&texts);
}

/// Copies of the shell under names of their own, each of which computes for a moment and is gone.
fn passing_workloads(dir: &TempDir) -> Vec<Child> {
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let start = |number: u32| {
        let program = dir.path().join(format!("passing-{number}"));
        fs::copy(&shell, &program).unwrap();
        let script = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; (exit 0); exit 0";
        Command::new(program).args(["-c", script]).spawn().unwrap()
    };
    (0..40).map(start).collect()
}

#[test]
fn no_counter_goes_down_in_a_storm() {
    let Some(()) = privileged() else { return };
    let daemon = Daemon::start(&config());
    let mut storm = Storm::ready(&[&daemon], FORKS);
    storm.begin();
    let dir = TempDir::new().unwrap();
    let mut passing = passing_workloads(&dir);
    let mut before = daemon.get("/metrics");
    let end = Instant::now() + Duration::from_secs(60);
    let mut scrapes = 0;
    while !passing.is_empty() && Instant::now() < end || scrapes < 20 {
        // Longer than scrapes share a reading.
        sleep(Duration::from_millis(260));
        let text = daemon.get("/metrics");
        assert_never_down(&before, &text);
        before = text;
        scrapes += 1;
        passing.retain_mut(|process| process.try_wait().unwrap().is_none());
    }
    for mut process in passing {
        process.wait().unwrap();
    }
    storm.assert_gone_by();
    assert!(before.contains("workload=\"passing-"), "no passing workload had a name of its own");
    sleep(Duration::from_millis(260));
    storm.assert_right(&[daemon.get("/metrics")]);
}
