//! libbpf-tools' runqlat under the same load: it does one of the histograms.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use schedscope::capture::kernel::{enable_stats, host_programs};
use schedscope_ebpf::abi::program;

use super::{Quartiles, events, median, pipe};
use crate::workspace::find_program;

/// Run time of its programs in nanoseconds, metering included.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// On `sched_switch`.
    switch_ns: f64,
    /// On `sched_wakeup`.
    wakeup_ns: f64,
}

/// Against ours.
pub(super) struct Rival {
    /// Median on `sched_switch`, metering included.
    pub(super) switch_ns: f64,
    /// Median on `sched_wakeup`, metering included.
    pub(super) wakeup_ns: f64,
    /// Median of a switch and a wake-up, net of the empty programs that were attached beside ours.
    pub(super) net_ns: f64,
    /// The same of ours by the same of theirs, in each pair of runs one after the other.
    pub(super) share: Quartiles,
}

/// Where it is, if it is installed.
pub(super) fn find() -> Option<PathBuf> {
    // Not on the path of everybody who may become root.
    find_program("runqlat").or_else(|| Some("/usr/sbin/runqlat".into()).filter(|path: &PathBuf| path.is_file()))
}

/// One run of the load under it.
pub(super) fn measure(runqlat: &Path, round_trips: u32) -> Result<Run> {
    let mut tool = Command::new(runqlat).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot start runqlat")?;
    // It attaches within a fraction of this; its programs' names say when.
    sleep(Duration::from_secs(1));
    let measured = {
        let _stats = enable_stats()?;
        pipe::run(&[], round_trips)
    };
    let programs = host_programs();
    tool.kill().context("cannot stop runqlat")?;
    tool.wait().context("cannot stop runqlat")?;
    measured?;
    let mut run = Run { switch_ns: 0.0, wakeup_ns: 0.0 };
    for program in programs?.iter().filter(|program| program.runs > 1000) {
        let ns = program.run_ns as f64 / program.runs as f64;
        match program.name.as_str() {
            "sched_switch" => run.switch_ns = ns,
            "sched_wakeup" => run.wakeup_ns = ns,
            _ => {}
        }
    }
    ensure!(run.switch_ns > 0.0 && run.wakeup_ns > 0.0, "{} did not run a program at every switch", runqlat.display());
    Ok(run)
}

impl Rival {
    /// Puts pairs of runs together; `None` without any.
    pub(super) fn of(pairs: &[(&events::Run, Run)]) -> Option<Rival> {
        let both = |of: &dyn Fn(&str) -> Option<f64>| Some(of(program::SCHED_SWITCH)? + of(program::SCHED_WAKING)?);
        let net = |(ours, theirs): &(&events::Run, Run)| {
            let metering_ns = both(&|hook| ours.meter_ns(hook))?;
            Some((both(&|hook| ours.net_ns(hook))?, theirs.switch_ns + theirs.wakeup_ns - metering_ns))
        };
        let nets: Vec<(f64, f64)> = pairs.iter().filter_map(net).collect();
        let of_theirs = |of: fn(&Run) -> f64| median(&mut pairs.iter().map(|(_, run)| of(run)).collect::<Vec<_>>());
        (!nets.is_empty()).then(|| Rival {
            switch_ns: of_theirs(|run| run.switch_ns),
            wakeup_ns: of_theirs(|run| run.wakeup_ns),
            net_ns: median(&mut nets.iter().map(|(_, theirs)| *theirs).collect::<Vec<_>>()),
            share: Quartiles::of(&mut nets.iter().map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>()),
        })
    }
}
