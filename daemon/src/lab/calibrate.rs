//! How fast this machine is, so that a cell takes as long as it should, on a slow one as on a fast one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cell::Cell;
use super::child::{self, Stop, last_line};
use super::sample::Workload;

/// How long each task works for a rate; enough for one within a few percent.
const SECONDS: &str = "0.15";
/// How long a run may take, including start and end.
const LIMIT: Duration = Duration::from_secs(30);

/// Units of work per second that one worker does, by task.
pub(crate) type Rates = BTreeMap<String, f64>;

pub(crate) fn rates<'a>(serial_cells: impl IntoIterator<Item = &'a Cell>, extra: &[OsString], stop: &Stop) -> Result<Rates> {
    let mut rates = Rates::new();
    for cell in serial_cells {
        let mut command = Command::new(&cell.program);
        command.args(&cell.arguments).args(["--seconds", SECONDS]).args(extra);
        let output = child::output(&mut command, LIMIT, stop).with_context(|| format!("cannot calibrate {}", cell.id))?;
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
