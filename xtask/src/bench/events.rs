//! Cost per run of each program, by the kernel's statistics, beside an empty program on the same hook.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result};
use schedscope::capture::{
    kernel::{ProgramCost, Sizes, Tracer, enable_stats},
    snapshot::WorkloadId,
    spawn::Gated,
    topology::Topology,
};
use schedscope_ebpf::abi::program;

use super::{Quartiles, median, pipe};

/// One run of the load, traced.
pub(super) struct Run {
    programs: Vec<ProgramCost>,
    /// In the order of [`program::METERS`].
    meters: Vec<ProgramCost>,
}

impl Run {
    /// What a program costs beyond an empty one on the same hook, in nanoseconds; `None` if the load did not run it.
    pub(super) fn net_ns(&self, hook: &str) -> Option<f64> {
        Some(self.gross_ns(hook)? - self.meter_ns(hook)?)
    }

    /// What the kernel's metering counts of its own on a hook: the cost of an empty program.
    pub(super) fn meter_ns(&self, hook: &str) -> Option<f64> {
        let index = program::METERS.iter().position(|(_, of)| *of == hook)?;
        self.meters.get(index).map(per_run)
    }

    fn gross_ns(&self, hook: &str) -> Option<f64> {
        self.programs.iter().find(|cost| cost.name == hook && cost.runs > 0).map(per_run)
    }
}

/// Over the runs, in nanoseconds.
pub(super) struct Events {
    /// Median run time of each program by name, metering included, with the runs of the last repeat.
    pub(super) programs: BTreeMap<&'static str, (f64, u64)>,
    /// The same of the empty program by hook.
    pub(super) meters: BTreeMap<&'static str, f64>,
    /// Quartiles of what is left without it.
    pub(super) net: BTreeMap<&'static str, Quartiles>,
}

impl Events {
    /// Puts runs together.
    pub(super) fn of(runs: &[Run]) -> Events {
        let collect = |of: &dyn Fn(&Run) -> Option<f64>| runs.iter().filter_map(of).collect::<Vec<_>>();
        let mut events = Events { programs: BTreeMap::new(), meters: BTreeMap::new(), net: BTreeMap::new() };
        for cost in runs.iter().flat_map(|run| &run.programs).filter(|cost| cost.runs > 0) {
            let mut gross = collect(&|run| run.gross_ns(cost.name));
            events.programs.insert(cost.name, (median(&mut gross), cost.runs));
        }
        for (_, hook) in program::METERS {
            events.meters.insert(hook, median(&mut collect(&|run| run.meter_ns(hook))));
            events.net.insert(hook, Quartiles::of(&mut collect(&|run| run.net_ns(hook))));
        }
        events
    }
}

fn per_run(cost: &ProgramCost) -> f64 {
    if cost.runs == 0 { 0.0 } else { cost.run_ns as f64 / cost.runs as f64 }
}

/// One run of the load, traced with every signal on, meters attached, statistics on.
pub(super) fn measure(round_trips: u32) -> Result<Run> {
    let mut tracer = Tracer::start(Sizes { workloads: 2, tasks: 1024, thread_by_core: true }, &Topology::read()?)?;
    tracer.attach_meters()?;
    let words = pipe::command(round_trips);
    let quiet: Vec<String> = ["sh", "-c", "exec \"$@\" >/dev/null", "sh"].map(str::to_owned).into_iter().chain(words).collect();
    let load = Gated::fork(&quiet)?;
    tracer.seed(&[load.tgid()], WorkloadId(1))?;
    let _stats = enable_stats()?;
    let mut child = load.release()?;
    let status = child.wait().context("cannot wait for the load")?;
    anyhow::ensure!(status.success(), "the load failed: {status}; try `{}`", pipe::command(round_trips).join(" "));
    Ok(Run { programs: tracer.costs(), meters: tracer.meter_costs() })
}

/// The processor's name, for the table.
pub(super) fn processor() -> String {
    let output = Command::new("uname").arg("-m").output();
    let fallback = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| text.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned())))
        .unwrap_or(fallback)
}
