//! Cost per run of each program, by the kernel's statistics, beside an empty program on the same hook and beside libbpf-tools' runqlat,
//! which does one of the histograms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use schedscope::capture::interpreters::Interpreters;
use schedscope::capture::kernel::{Depth, ProgramCost, Sizes, Tracer, enable_stats, host_programs};
use schedscope::capture::snapshot::WorkloadId;
use schedscope::capture::spawn::Gated;
use schedscope::capture::topology::Topology;
use schedscope_ebpf::abi::program::{METERS, SCHED_SWITCH, SCHED_WAKING};
use schedscope_ebpf::params::HAS_TASK_PT_REGS;

use super::load::Load;
use super::quartiles::{Quartiles, median};
use crate::workspace::find_program;

/// In this time the interpreter has started and its lock is found.
const SETTLING: Duration = Duration::from_millis(300);
/// How often to look for the lock in that time.
const LOOKS: u32 = 10;

struct Run {
    programs: Vec<ProgramCost>,
    /// In the order of [`METERS`].
    meters: Vec<ProgramCost>,
}

impl Run {
    /// Every signal on but those left out, empty programs attached beside ours.
    fn measure(load: &Load, without: &[&str]) -> Result<Run> {
        let sizes = Sizes { workloads: 2, provisional: 0, tasks: 1024, thread_by_core: true, wait_accounts: false, samples: false };
        let mut kernel_side = Tracer::start_without(without, sizes, &Topology::read()?)?;
        kernel_side.attach_meters()?;
        let held = Gated::fork(&load.words(&["sh", "-c", "exec \"$@\" >/dev/null", "sh"]))?;
        kernel_side.seed(&[held.tgid()], WorkloadId(1))?;
        let (mut child, stats) = if load.has_gil {
            let child = held.release()?;
            find_lock(&mut kernel_side)?;
            (child, enable_stats()?)
        } else {
            let stats = enable_stats()?;
            (held.release()?, stats)
        };
        let ended = child.wait().context("cannot wait for the load")?;
        drop(stats);
        ensure!(ended.success(), "the load failed: {ended}; try `{load}`");
        Ok(Run { programs: kernel_side.costs(), meters: kernel_side.meter_costs() })
    }

    /// Run time of a program in nanoseconds, metering included; `None` if the load did not run it.
    fn gross_ns(&self, hook: &str) -> Option<f64> {
        self.programs.iter().find(|cost| cost.name == hook).and_then(|cost| per_run(cost.run_ns, cost.runs))
    }

    /// What the kernel's metering adds on a hook: the run time of an empty program.
    fn empty_ns(&self, hook: &str) -> Option<f64> {
        let index = METERS.iter().position(|(_, of)| *of == hook)?;
        self.meters.get(index).and_then(|cost| per_run(cost.run_ns, cost.runs))
    }

    fn net_ns(&self, hook: &str) -> Option<f64> {
        Some(self.gross_ns(hook)? - self.empty_ns(hook)?)
    }
}

fn per_run(run_ns: u64, runs: u64) -> Option<f64> {
    (runs > 0).then(|| run_ns as f64 / runs as f64)
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

/// A cost net of an empty program: in nanoseconds, and as a multiple of the empty program's in the same run.
pub(super) struct Cost {
    pub(super) ns: Quartiles,
    pub(super) of_empty: Quartiles,
}

impl Cost {
    /// From nanoseconds and those of the empty program, run by run.
    fn of(runs: impl Iterator<Item = (f64, f64)> + Clone) -> Cost {
        Cost {
            ns: Quartiles::of(runs.clone().map(|(ns, _)| ns)),
            of_empty: Quartiles::of(runs.map(|(ns, empty_ns)| ns / empty_ns)),
        }
    }
}

pub(super) struct Program {
    /// Median run time in nanoseconds, metering included.
    pub(super) gross_ns: f64,
    /// Median run time of an empty program on that hook.
    pub(super) empty_ns: f64,
    /// What is left without it.
    pub(super) net: Cost,
    /// Runs in the last repeat.
    pub(super) runs: u64,
}

/// By name; those that the load ran.
pub(super) type Programs = BTreeMap<&'static str, Program>;

fn programs(runs: &[Run]) -> Programs {
    let one = |cost: &ProgramCost| {
        let hook = cost.name;
        let nets = runs.iter().filter_map(move |run| Some((run.net_ns(hook)?, run.empty_ns(hook)?)));
        let program = Program {
            gross_ns: median(runs.iter().filter_map(|run| run.gross_ns(hook))),
            empty_ns: median(runs.iter().filter_map(|run| run.empty_ns(hook))),
            net: Cost::of(nets),
            runs: cost.runs,
        };
        (hook, program)
    };
    runs.iter().flat_map(|run| &run.programs).filter(|cost| cost.runs > 0).map(one).collect()
}

/// runqlat against ours.
pub(super) struct Rival {
    /// Median of its program on `sched_switch`, metering included.
    pub(super) switch_ns: f64,
    /// Median of its program on `sched_wakeup`, metering included.
    pub(super) wakeup_ns: f64,
    /// Median of a switch and a wakeup, net of the empty programs that were attached beside ours.
    pub(super) net_ns: f64,
    /// Ours divided by that, in each pair of runs one after the other.
    pub(super) share: Quartiles,
}

/// Our cost per event and runqlat's, if it is installed, in turns.
pub(super) fn beside_runqlat(repeats: u32, load: &Load) -> Result<(Programs, Option<Rival>)> {
    // It is not on the path of everybody who may become root.
    let runqlat = find_program("runqlat").or_else(|| Some(PathBuf::from("/usr/sbin/runqlat")).filter(|path| path.is_file()));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        ours.push(Run::measure(load, &[])?);
        if let Some(runqlat) = &runqlat {
            theirs.push(measure_runqlat(runqlat, load)?);
        }
    }
    let both = |of: &dyn Fn(&str) -> Option<f64>| Some(of(SCHED_SWITCH)? + of(SCHED_WAKING)?);
    let net = |(ours, (switch_ns, wakeup_ns)): (&Run, &(f64, f64))| {
        Some((both(&|hook| ours.net_ns(hook))?, switch_ns + wakeup_ns - both(&|hook| ours.empty_ns(hook))?))
    };
    let nets: Vec<(f64, f64)> = ours.iter().zip(&theirs).filter_map(net).collect();
    let rival = (!nets.is_empty()).then(|| Rival {
        switch_ns: median(theirs.iter().map(|(switch_ns, _)| *switch_ns)),
        wakeup_ns: median(theirs.iter().map(|(_, wakeup_ns)| *wakeup_ns)),
        net_ns: median(nets.iter().map(|(_, theirs)| *theirs)),
        share: Quartiles::of(nets.iter().map(|(ours, theirs)| ours / theirs)),
    });
    Ok((programs(&ours), rival))
}

/// Nanoseconds of its programs on `sched_switch` and `sched_wakeup`, in one run of the load.
fn measure_runqlat(runqlat: &Path, load: &Load) -> Result<(f64, f64)> {
    let mut tool = Command::new(runqlat).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot start runqlat")?;
    // It attaches within a fraction of this.
    sleep(Duration::from_secs(1));
    let stats = enable_stats()?;
    let measured = load.round_trip_us(&[]);
    drop(stats);
    let programs = host_programs();
    tool.kill().context("cannot stop runqlat")?;
    tool.wait().context("cannot stop runqlat")?;
    measured?;
    let programs = programs?;
    let ns = |name| {
        let mut found = programs.iter().filter(|program| program.name == name && program.runs > 1000);
        found.find_map(|program| per_run(program.run_ns, program.runs))
    };
    let both = ns("sched_switch").zip(ns("sched_wakeup"));
    both.with_context(|| format!("{} did not run a program at every switch", runqlat.display()))
}

/// What it costs to record why a thread leaves the CPU.
pub(super) struct Reasons {
    /// Two processes that wait for a pipe.
    pub(super) pipe: Difference,
    /// Two Python threads that wait for its lock, for which the arguments of the call are read too. `None` without a Python.
    pub(super) gil: Option<Difference>,
}

/// The same load with the registers of the threads that leave and without, in turns.
pub(super) struct Difference {
    /// Median of a switch with reasons, metering included.
    pub(super) with_ns: f64,
    /// Median of a switch without.
    pub(super) without_ns: f64,
    /// The difference in each pair.
    pub(super) cost: Cost,
}

pub(super) fn reasons(repeats: u32, pipe: &Load) -> Result<Reasons> {
    let gil = Load::python_threads().map(|threads| difference(repeats, &threads)).transpose()?;
    Ok(Reasons { pipe: difference(repeats, pipe)?, gil })
}

fn difference(repeats: u32, load: &Load) -> Result<Difference> {
    let mut pairs = Vec::new();
    for _ in 0..repeats {
        let (with, without) = (Run::measure(load, &[])?, Run::measure(load, &[HAS_TASK_PT_REGS])?);
        let switch = |run: &Run| run.gross_ns(SCHED_SWITCH).zip(run.empty_ns(SCHED_SWITCH));
        pairs.push(switch(&with).zip(switch(&without)).context("the load did not switch")?);
    }
    // Whatever slows the machine down for one of the two slows its empty program down as well.
    let costs = pairs
        .iter()
        .map(|((with, empty_with), (without, empty_without))| (with - without, f64::midpoint(*empty_with, *empty_without)));
    Ok(Difference {
        with_ns: median(pairs.iter().map(|((ns, _), _)| *ns)),
        without_ns: median(pairs.iter().map(|(_, (ns, _))| *ns)),
        cost: Cost::of(costs),
    })
}
