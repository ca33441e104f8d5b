//! Cost per run of each program, by the kernel's statistics, beside an empty program on the same hook.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result};
use schedscope::{
    kernel::{ProgramCost, Sizes, Tracer, enable_stats},
    snapshot::WorkloadId,
    spawn::Gated,
    topology::Topology,
};
use schedscope_ebpf::abi::program;

use super::{median, pipe};

/// Medians over the runs, in nanoseconds.
pub(super) struct Events {
    /// Run time of each program by name, metering included, with the runs of the last repeat.
    pub(super) programs: BTreeMap<&'static str, (f64, u64)>,
    /// Run time of the empty program by hook.
    pub(super) meters: BTreeMap<&'static str, f64>,
    /// The empty program where no other one is on the hook.
    pub(super) net: BTreeMap<&'static str, f64>,
}

pub(super) fn measure(repeats: u32, round_trips: u32) -> Result<Events> {
    let mut gross: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut meters: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut net: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut runs = BTreeMap::new();
    for _ in 0..repeats {
        let (programs, empty) = measure_once(round_trips)?;
        for (cost, (_, hook)) in empty.iter().zip(program::METERS) {
            meters.entry(hook).or_default().push(per_run(cost));
        }
        for cost in programs.iter().filter(|cost| cost.runs > 0) {
            gross.entry(cost.name).or_default().push(per_run(cost));
            runs.insert(cost.name, cost.runs);
            if let Some(floor) = meters.get(cost.name).and_then(|values| values.last()) {
                net.entry(cost.name).or_default().push(per_run(cost) - floor);
            }
        }
    }
    let medians = |map: BTreeMap<&'static str, Vec<f64>>| -> BTreeMap<&'static str, f64> {
        map.into_iter().map(|(name, mut values)| (name, median(&mut values))).collect()
    };
    let programs = medians(gross).into_iter().map(|(name, ns)| (name, (ns, runs.get(name).copied().unwrap_or(0)))).collect();
    Ok(Events { programs, meters: medians(meters), net: medians(net) })
}

fn per_run(cost: &ProgramCost) -> f64 {
    if cost.runs == 0 { 0.0 } else { cost.run_ns as f64 / cost.runs as f64 }
}

/// One run of the load, traced with every signal on, meters attached, statistics on.
fn measure_once(round_trips: u32) -> Result<(Vec<ProgramCost>, Vec<ProgramCost>)> {
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
    Ok((tracer.costs(), tracer.meter_costs()))
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
