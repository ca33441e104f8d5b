//! libbpf-tools' runqlat under the same load: it does one of the histograms.

use std::{
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result};
use schedscope::kernel::{enable_stats, host_programs};

use super::{median, pipe};
use crate::workspace::find_program;

/// Median run time of its programs in nanoseconds, metering included.
pub(super) struct Rival {
    /// On `sched_switch`.
    pub(super) switch_ns: f64,
    /// On `sched_wakeup`.
    pub(super) wakeup_ns: f64,
}

/// `None` if it is not installed.
pub(super) fn measure(repeats: u32, round_trips: u32) -> Result<Option<Rival>> {
    let Some(runqlat) =
        find_program("runqlat").or_else(|| Some("/usr/sbin/runqlat".into()).filter(|path: &std::path::PathBuf| path.is_file()))
    else {
        return Ok(None);
    };
    let (mut switch, mut wakeup) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let mut tool =
            Command::new(&runqlat).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot start runqlat")?;
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
        for program in programs?.iter().filter(|program| program.runs > 1000) {
            let ns = program.run_ns as f64 / program.runs as f64;
            match program.name.as_str() {
                "sched_switch" => switch.push(ns),
                "sched_wakeup" => wakeup.push(ns),
                _ => {}
            }
        }
    }
    Ok((!switch.is_empty()).then(|| Rival { switch_ns: median(&mut switch), wakeup_ns: median(&mut wakeup) }))
}
