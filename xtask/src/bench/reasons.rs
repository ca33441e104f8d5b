//! What it costs to say why a thread is not running: the same load traced with the registers of the threads that leave and without,
//! in turns.

use std::{process::Child, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use schedscope::capture::{
    interpreters::Interpreters,
    kernel::{Depth, Sizes, Tracer, enable_stats},
    snapshot::WorkloadId,
    spawn::Gated,
    topology::Topology,
};
use schedscope_ebpf::{abi::program, params::HAS_TASK_PT_REGS};

use super::{median, pipe};
use crate::workspace::find_program;

/// Two threads that take the interpreter's lock from each other as often as they can, pinned as the pipe is.
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
/// In this time the interpreter has started and its lock is found.
const SETTLING: Duration = Duration::from_millis(300);
/// Looks for the lock meanwhile.
const LOOKS: u32 = 10;

/// Nanoseconds of a switch, metering included.
#[expect(clippy::struct_field_names, reason = "units are in names")]
pub(super) struct Cost {
    /// With reasons.
    pub(super) with_ns: f64,
    /// Without.
    pub(super) without_ns: f64,
    /// Median of the differences.
    pub(super) more_ns: f64,
}

/// What reasons cost under each load.
pub(super) struct Reasons {
    /// Two processes that wait for a pipe.
    pub(super) pipe: Cost,
    /// Two threads of a Python that wait for its lock: the arguments of the call are looked at too. `None` without a Python.
    pub(super) gil: Option<Cost>,
}

pub(super) fn measure(repeats: u32, round_trips: u32) -> Result<Reasons> {
    let pipe = compare(repeats, &pipe::command(round_trips), false)?;
    let gil = find_program("python3").map(|python| {
        let words = ["taskset", "-c", &pipe::cpu(), &python.to_string_lossy(), "-c", THREADS].map(str::to_owned);
        compare(repeats, &words, true)
    });
    Ok(Reasons { pipe, gil: gil.transpose()? })
}

fn compare(repeats: u32, words: &[String], is_python: bool) -> Result<Cost> {
    let (mut with, mut without, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repeats {
        with.push(switch_ns(&[], words, is_python)?);
        without.push(switch_ns(&[HAS_TASK_PT_REGS], words, is_python)?);
        more.extend(with.last().zip(without.last()).map(|(with, without)| with - without));
    }
    Ok(Cost { with_ns: median(&mut with), without_ns: median(&mut without), more_ns: median(&mut more) })
}

fn switch_ns(without: &[&str], words: &[String], is_python: bool) -> Result<f64> {
    let sizes = Sizes { workloads: 2, tasks: 1024, thread_by_core: true };
    let mut tracer = Tracer::start_without(without, sizes, &Topology::read()?)?;
    let quiet: Vec<String> =
        ["sh", "-c", "exec \"$@\" >/dev/null", "sh"].map(str::to_owned).into_iter().chain(words.iter().cloned()).collect();
    let load = Gated::fork(&quiet)?;
    tracer.seed(&[load.tgid()], WorkloadId(1))?;
    let mut child = load.release()?;
    if is_python {
        find_lock(&mut tracer)?;
    }
    let stats = enable_stats()?;
    let ended = wait(&mut child, words);
    drop(stats);
    ended?;
    let costs = tracer.costs();
    let switch = costs.iter().find(|cost| cost.name == program::SCHED_SWITCH && cost.runs > 0);
    switch.map(|cost| cost.run_ns as f64 / cost.runs as f64).context("the load did not switch")
}

fn find_lock(tracer: &mut Tracer) -> Result<()> {
    let mut interpreters = Interpreters::default();
    for _ in 0..LOOKS {
        sleep(SETTLING / LOOKS);
        for (tid, ranges) in interpreters.update(&tracer.snapshot(Depth::Threads)?) {
            tracer.set_gil(tid, ranges);
        }
    }
    ensure!(interpreters.seen().next().is_some(), "no interpreter's lock was found in the load of two Python threads");
    Ok(())
}

fn wait(child: &mut Child, words: &[String]) -> Result<()> {
    let status = child.wait().context("cannot wait for the load")?;
    ensure!(status.success(), "the load failed: {status}; try `{}`", words.join(" "));
    Ok(())
}
