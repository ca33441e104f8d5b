//! `perf sched timehist`: another reader of the same events, with arithmetic of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use regex::Regex;

/// Memory for each CPU. perf must not lose an event, or there is nothing to compare with.
const PAGES: &str = "16384";

/// What timehist shows of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Lines: one for each switch-out.
    pub(super) switches: u64,
    pub(super) run_ns: u64,
    pub(super) delay_ns: u64,
    pub(super) wakings: u64,
}

/// The beginning of a command that records while the rest of it runs.
pub(super) fn record(perf: &Path, data: &Path) -> Command {
    let mut command = Command::new(perf);
    command.args(["sched", "record", "--quiet", "--clockid", "mono", "--mmap-pages", PAGES, "--output"]).arg(data).arg("--");
    command
}

/// What it shows of every thread from a time on. `None` if perf has lost events.
pub(super) fn show(perf: &Path, data: &Path, begin_ns: u64) -> Result<Option<BTreeMap<u32, Shown>>> {
    let perf_of = |arguments: &[&str]| {
        let output = Command::new(perf).args(arguments).arg("--input").arg(data).output().context("cannot start perf")?;
        if !output.status.success() {
            bail!("perf {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(output)
    };
    let shown = perf_of(&["sched", "timehist", "--wakeups"])?;
    if String::from_utf8_lossy(&shown.stderr).contains("lost") {
        return Ok(None);
    }
    parse(&String::from_utf8_lossy(&shown.stdout), begin_ns).map(Some)
}

pub(super) fn parse(text: &str, begin_ns: u64) -> Result<BTreeMap<u32, Shown>> {
    let time = r"(?m)^\s*(\d+)\.(\d{6}) \[\d+\].*";
    let thread = r"\[(\d+)(?:/-?\d+)?\]";
    let switch = Regex::new(&format!(r"{time}{thread} +[\d.]+ +(\d+)\.(\d{{3}}) +(\d+)\.(\d{{3}})\s*$"))?;
    let waking = Regex::new(&format!(r"{time}awakened: .*{thread}\s*$"))?;
    let mut threads = BTreeMap::<u32, Shown>::new();
    for line in text.lines() {
        let Some(found) = switch.captures(line).or_else(|| waking.captures(line)) else { continue };
        let number = |index: usize| found[index].parse::<u64>().with_context(|| format!("perf says {line:?}"));
        if number(1)? * 1_000_000_000 + number(2)? * 1_000 < begin_ns {
            continue;
        }
        let thread = threads.entry(found[3].parse()?).or_default();
        if found.len() < 5 {
            thread.wakings += 1;
            continue;
        }
        thread.switches += 1;
        thread.delay_ns += number(4)? * 1_000_000 + number(5)? * 1_000;
        thread.run_ns += number(6)? * 1_000_000 + number(7)? * 1_000;
    }
    Ok(threads)
}
