//! What a daemon knows after nobody has looked for a while, beside another one, and while everything comes and goes.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    accounts::{Counters, counters, wait_with_usage},
    host::{Guarded, comes_true, is_privileged},
    served::{Daemon, assert_never_down, count, rule, sum},
    signals::send,
    traced::workload,
};

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

/// A shell that starts processes one after the other once it is told to, and ends.
struct Storm {
    shell: Guarded,
    forks: u64,
}

impl Storm {
    fn ready(forks: u64) -> Storm {
        let script = format!(
            "printf '{}' > /proc/$$/comm; echo; read line; i=0; while [ $i -lt {forks} ]; do (:); i=$((i+1)); done",
            storm_name()
        );
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        Storm { shell: Guarded(shell), forks }
    }

    fn begin(&mut self) {
        self.shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
}

/// What a daemon says of the storm.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Totals {
    processes: u64,
    voluntary: u64,
    involuntary: u64,
    on_cpu_seconds: f64,
}

impl Totals {
    fn of(text: &str) -> Totals {
        let series = |metric: &str, rest: &str| format!("schedscope_workload_{metric}{{workload=\"storm\"{rest}");
        let of = |metric: &str, rest: &str| count(text, &series(metric, rest));
        Totals {
            processes: of("processes_started_total", ""),
            voluntary: of("context_switches_total", ",kind=\"voluntary\""),
            involuntary: of("context_switches_total", ",kind=\"preempted\"") + of("context_switches_total", ",kind=\"yielded\""),
            on_cpu_seconds: sum(text, &series("on_cpu_seconds_total", "")),
        }
    }
}

/// Waits until a daemon counts the storm under its name, which is then asleep, and returns what it has counted.
fn named(daemon: &Daemon) -> Totals {
    let threads = |text: &str| sum(text, "schedscope_workload_threads{workload=\"storm\"");
    assert!(comes_true(20, || threads(&daemon.get("/metrics")) > 0.5), "the rule does not name the storm");
    sleep(Duration::from_millis(300));
    Totals::of(&daemon.get("/metrics"))
}

/// A storm with the shell's own counters before it, and what each daemon had counted.
struct Watched {
    storm: Storm,
    kernel_before: Counters,
    before: Vec<Totals>,
}

impl Watched {
    fn new(daemons: &[&Daemon], forks: u64) -> Watched {
        let storm = Storm::ready(forks);
        let before = daemons.iter().map(|daemon| named(daemon)).collect();
        let kernel_before = counters(&storm.shell).pop().unwrap();
        Watched { storm, kernel_before, before }
    }

    /// Lets the storm go by.
    fn pass(&mut self) {
        self.storm.begin();
        self.assert_gone_by();
    }

    /// Waits until the shell is a zombie: reaping it is for later.
    fn assert_gone_by(&self) {
        let stat = format!("/proc/{}/stat", self.storm.shell.id());
        assert!(comes_true(120, || fs::read_to_string(&stat).unwrap().contains(") Z ")), "the storm does not end");
    }

    /// Compares what the daemons say now with the kernel's account of the whole tree.
    fn assert_right(&self, texts: &[String]) {
        let (status, usage) = wait_with_usage(&self.storm.shell);
        assert!(status.success());
        let forks = self.storm.forks;
        for (text, before) in texts.iter().zip(&self.before) {
            let after = Totals::of(text);
            let all = (before, &after, &usage, &self.kernel_before);
            assert_eq!(after.processes - before.processes, forks, "{all:?}");
            // A process may be reaped, and its counts added to its parent's, before its last switch and, for once, a preemption
            // on the way there.
            let voluntary = after.voluntary - before.voluntary;
            let kernel = usage.voluntary - self.kernel_before.voluntary;
            assert!((kernel..=kernel + forks + 1).contains(&voluntary), "voluntary {voluntary}: {all:?}");
            let involuntary = after.involuntary - before.involuntary;
            let kernel = usage.involuntary - self.kernel_before.involuntary;
            assert!((kernel..=kernel + forks + 1).contains(&involuntary), "involuntary {involuntary}: {all:?}");
            let kernel = usage.cpu_seconds - self.kernel_before.cpu_seconds;
            let more = after.on_cpu_seconds - before.on_cpu_seconds - kernel;
            assert!(more.abs() <= 1e-3 * kernel + 50e-6 * forks as f64, "{more} s more than {kernel} s: {all:?}");
        }
    }
}

/// Series of what was lost, but for those that are zero.
fn losses(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("schedscope_events_lost_total{") && !line.ends_with(" 0")).collect()
}

fn lost(text: &str, reason: &str) -> u64 {
    count(text, &format!("schedscope_events_lost_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_daemon_that_was_stopped_has_missed_nothing_but_details() {
    if !is_privileged() {
        return;
    }
    let daemon = Daemon::start(&(SMALL_TABLE.to_owned() + &config()));
    let mut watched = Watched::new(&[&daemon], FORKS_UNSEEN);
    send(daemon.process.id(), libc::SIGSTOP);
    let stopped = Instant::now();
    watched.pass();
    sleep(Duration::from_secs(3).saturating_sub(stopped.elapsed()));
    send(daemon.process.id(), libc::SIGCONT);
    let text = daemon.get("/metrics");
    watched.assert_right(std::slice::from_ref(&text));
    assert!(lost(&text, "thread_detail_evicted") > 0, "the table was too large for this test");
    assert_eq!(lost(&text, "task_table_full"), 0);
}

#[test]
fn a_scrape_after_a_long_time_is_as_right_as_any() {
    if !is_privileged() {
        return;
    }
    let daemon = Daemon::start(&config());
    let mut watched = Watched::new(&[&daemon], FORKS);
    watched.pass();
    sleep(Duration::from_secs(3));
    let text = daemon.get("/metrics");
    watched.assert_right(std::slice::from_ref(&text));
    assert_eq!(lost(&text, "task_table_full"), 0);
}

#[test]
fn two_daemons_and_a_run_beside_them_count_the_same() {
    if !is_privileged() {
        return;
    }
    let daemons = [Daemon::start(&config()), Daemon::start(&config())];
    let mut watched = Watched::new(&daemons.each_ref(), FORKS);
    watched.storm.begin();
    super::exact::assert_exact(&workload(&["mixed", "--seconds", "1"]).report);
    watched.assert_gone_by();
    let texts = daemons.each_ref().map(|daemon| daemon.get("/metrics"));
    let grown = |index: usize| {
        let (before, after) = (watched.before[index], Totals::of(&texts[index]));
        [after.processes - before.processes, after.voluntary - before.voluntary, after.involuntary - before.involuntary]
    };
    assert_eq!(grown(0), grown(1), "{:?}", texts.each_ref().map(|text| losses(text)));
    watched.assert_right(&texts);
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
    if !is_privileged() {
        return;
    }
    let daemon = Daemon::start(&config());
    let mut storm = Storm::ready(FORKS);
    named(&daemon);
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
    assert!(storm.shell.wait().unwrap().success());
    assert!(before.contains("workload=\"passing-"), "no passing workload had a name of its own");
}
