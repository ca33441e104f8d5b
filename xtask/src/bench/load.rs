//! The loads, both pinned to one CPU, and how much longer one takes while it is traced.

use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::{iter, thread};

use anyhow::{Context, Result, bail};

use super::quartiles::{Quartiles, median};
use crate::workspace::find_program;

/// Two threads that take the interpreter's lock from each other as often as they can.
const THREADS: &str = "
import sys, threading, time
sys.setswitchinterval(1e-6)
def work(end=time.monotonic() + 1.5):
    while time.monotonic() < end:
        pass
workers = [threading.Thread(target=work) for _ in range(2)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
";

/// A command that switches as often as it can.
pub(super) struct Load {
    words: Vec<String>,
    /// It has an interpreter's lock, to be found before its switches are measured.
    pub(super) has_gil: bool,
}

impl Load {
    /// Two processes that pass a byte back and forth.
    pub(super) fn pipe(round_trips: u32) -> Self {
        Self::pinned(&["perf", "bench", "sched", "pipe", "-l", &round_trips.to_string()], false)
    }

    /// Two Python threads; `None` without a Python.
    pub(super) fn python_threads() -> Option<Self> {
        let python = find_program("python3")?;
        Some(Self::pinned(&[&python.to_string_lossy(), "-c", THREADS], true))
    }

    /// On the last CPU, since interrupts prefer the first.
    fn pinned(words: &[&str], has_gil: bool) -> Self {
        let cpus = thread::available_parallelism().map_or(1, NonZero::get);
        let pin = ["taskset", "-c", &(cpus - 1).to_string()].map(str::to_owned);
        Self { words: pin.into_iter().chain(words.iter().map(ToString::to_string)).collect(), has_gil }
    }

    /// The command, behind these words.
    pub(super) fn words(&self, before: &[&str]) -> Vec<String> {
        before.iter().map(ToString::to_string).chain(self.words.iter().cloned()).collect()
    }

    pub(super) fn command(&self, before: &[&str]) -> Command {
        let words = self.words(before);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// Runs the pipe to its end and returns microseconds per round trip, as it reports them.
    pub(super) fn round_trip_us(&self, before: &[&str]) -> Result<f64> {
        let output = self.command(before).output().context("cannot start the load")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let us = text.lines().find_map(|line| line.trim().strip_suffix("usecs/op")?.trim().parse().ok());
        us.with_context(|| format!("{self} printed no time:\n{text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.words.join(" "))
    }
}

/// Says what to install if the load is not there.
pub(super) fn require() -> Result<()> {
    for (program, package) in [("perf", "linux-perf (Debian) or linux-tools-generic (Ubuntu)"), ("taskset", "util-linux")] {
        if find_program(program).is_none() {
            bail!("the bench needs {program}: install the package {package}");
        }
    }
    Ok(())
}

/// Wall time of the traced load, as a multiple of that of the untraced one; the kernel's statistics are off.
pub(super) struct Slowdown {
    /// Of a traced run between two untraced ones.
    pub(super) ratios: Quartiles,
    /// Microseconds per round trip of the untraced load.
    pub(super) untraced_us: f64,
    /// The smallest and the largest ratio of two untraced runs: how noisy the machine is.
    pub(super) null_range: (f64, f64),
    pub(super) pairs: u32,
}

pub(super) fn slowdown(binary: &Path, pairs: u32, pipe: &Load) -> Result<Slowdown> {
    let binary = binary.to_str().context("the target directory's path must be UTF-8")?;
    let triples = iter::repeat_with(|| {
        let before = pipe.round_trip_us(&[])?;
        Ok((before, pipe.round_trip_us(&[binary, "run", "--quiet", "--"])?, pipe.round_trip_us(&[])?))
    });
    let triples: Vec<(f64, f64, f64)> = triples.take(pairs as usize).collect::<Result<_>>()?;
    let nulls = || triples.iter().map(|(before, _, after)| after / before);
    Ok(Slowdown {
        ratios: Quartiles::of(triples.iter().map(|(before, traced, after)| traced / f64::midpoint(*before, *after))),
        untraced_us: median(triples.iter().map(|(before, ..)| *before)),
        null_range: (nulls().fold(f64::INFINITY, f64::min), nulls().fold(0.0, f64::max)),
        pairs,
    })
}
