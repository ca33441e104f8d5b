//! How fast this machine is, so that a cell takes as long as it should, on a slow one as on a fast one.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use anyhow::{Context, Result, bail};

use super::{
    child::{self, Stop, last_line},
    runtime::{Listed, Runtime},
    sample::Workload,
};

/// How long each task works for a rate; enough for one within a few percent.
const SECONDS: &str = "0.15";
/// How long a run may take, including start and end.
const LIMIT: Duration = Duration::from_secs(30);

/// Units of work per second that one worker does, by task.
pub(crate) type Rates = BTreeMap<String, f64>;

/// Runs the serial cell of each task for a moment, untraced.
pub(crate) fn rates<'a>(
    runtime: &Runtime,
    serial_cells: impl IntoIterator<Item = &'a Listed>,
    extra: &[OsString],
    stop: &Stop,
) -> Result<Rates> {
    let mut rates = Rates::new();
    for cell in serial_cells {
        let mut command = runtime.command(&cell.args);
        let output = child::output(command.args(["--seconds", SECONDS]).args(extra), LIMIT, stop)
            .with_context(|| format!("cannot calibrate {}", cell.id))?;
        if !output.status.success() {
            bail!("cannot calibrate {}: {}", cell.id, last_line(&output.stderr));
        }
        let workload: Workload =
            serde_json::from_slice(&output.stdout).with_context(|| format!("cannot read what {} printed", cell.id))?;
        if workload.work_seconds > 0.0 {
            rates.insert(cell.task.clone(), workload.work as f64 / workload.work_seconds);
        }
    }
    Ok(rates)
}
