//! The tree that `schedscope check` traces: threads and processes that block, are preempted, yield and migrate.
//!
//! It works, then rests until it is told to go on, so that its counters can be read by others while they stand still; then come the
//! parts that end threads: short processes, and a thread that execs away its process.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use schedscope_workloads::{pin_to, usable_cpus};

use crate::verify::wait4;

/// What the tree prints when all of it rests.
pub(super) const RESTING: &str = "resting";

/// Threads that sleep, that yield, and one that moves about.
const SLEEPERS: usize = 4;
const YIELDERS: usize = 2;
/// Processes that end at once.
const SHORT: usize = 16;

/// Parts of the tree, each of which can be a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// All of it.
    Tree,
    /// Computes, and rests until its standard input says otherwise.
    Spin,
    /// Two threads, one of which execs a short process.
    Exec,
    /// Sleeps for a moment.
    Short,
}

/// A command that runs a part of the tree as a process of its own.
pub(super) fn command(part: &str, seconds: f64) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["check-load", part, "--seconds"]).arg(seconds.to_string());
    Ok(command)
}

pub(super) fn run(part: Part, seconds: f64) -> io::Result<()> {
    let time = Duration::from_secs_f64(seconds);
    match part {
        Part::Tree => tree(seconds),
        Part::Spin => {
            spin(time);
            rest()
        }
        Part::Exec => exec_from_a_thread(),
        Part::Short => {
            sleep(Duration::from_millis(1));
            Ok(())
        }
    }
}

/// Says that it rests, and does so until its standard input ends or has a line.
fn rest() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{RESTING}")?;
    stdout.flush()?;
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

/// More that want to compute than there are CPUs, so that some are preempted, beside threads that sleep, yield and move about.
fn tree(seconds: f64) -> io::Result<()> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let spinners = (0..=cpus).map(|_| {
        let mut spinner = command("spin", seconds)?;
        spinner.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    });
    let mut spinners = spinners.collect::<io::Result<Vec<Child>>>()?;
    let barrier = Barrier::new(SLEEPERS + YIELDERS + 1 + 1);
    let times = |per_second: f64| whole(per_second * seconds);
    scope(|threads| {
        let start = |work: Box<dyn Fn() + Send>| {
            let barrier = &barrier;
            threads.spawn(move || {
                work();
                barrier.wait();
                barrier.wait();
            });
        };
        let (naps, yields, moves) = (times(400.0), times(10_000.0), times(400.0));
        for _ in 0..SLEEPERS {
            start(Box::new(move || {
                for _ in 0..naps {
                    sleep(Duration::from_micros(200));
                    spin(Duration::from_micros(100));
                }
            }));
        }
        for _ in 0..YIELDERS {
            start(Box::new(move || (0..yields).for_each(|_| std::thread::yield_now())));
        }
        start(Box::new(move || move_about(moves)));
        barrier.wait();
        let rested = spinners.iter_mut().try_for_each(wait_until_it_rests).and_then(|()| rest());
        barrier.wait();
        rested
    })?;
    for mut spinner in spinners {
        drop(spinner.stdin.take());
        reap(spinner)?;
    }
    (0..SHORT).try_for_each(|_| reap(command("short", 0.0)?.spawn()?))?;
    reap(command("exec", 0.0)?.spawn()?)
}

fn wait_until_it_rests(child: &mut Child) -> io::Result<()> {
    let mut word = [0; RESTING.len() + 1];
    child.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.read_exact(&mut word)
}

/// Waits for a child's last switch before it is reaped: then its usage lacks nothing.
fn reap(child: Child) -> io::Result<()> {
    let status = wait4::reap(child)?.status;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("a part of the tree ended with {status}"))) }
}

/// The thread that execs takes over the pid of the leader, which the kernel ends.
fn exec_from_a_thread() -> io::Result<()> {
    let failed = std::thread::spawn(|| command("short", 0.0).map(|mut command| command.exec())).join();
    failed.map_err(|_| io::Error::other("the thread that execs failed")).and_then(|error| Err(error?))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of repetitions; a huge one saturates")]
fn whole(times: f64) -> usize {
    times.ceil().max(1.0) as usize
}

fn spin(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Moves the calling thread from one of its CPUs to the next, if it has more than one.
fn move_about(times: usize) {
    let cpus = usable_cpus().unwrap_or_default();
    for cpu in cpus.iter().cycle().take(if cpus.len() > 1 { times } else { 0 }) {
        // A CPU that has gone offline is passed over.
        let _ = pin_to(*cpu);
    }
}
