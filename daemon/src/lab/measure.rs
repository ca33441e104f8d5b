//! Runs a cell under the tracer.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use procfs::{CurrentSI, KernelStats};

use super::cell::{Problem, Row};
use super::child::{self, Stop, last_line};
use super::figures::Figures;
use super::sample::{Sample, Workload};

/// The tracer's report of a run, until it is read.
const REPORT: &str = "run.json";
/// How long a cell may take; the longest takes some ten seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// The tracer, a process of its own for each run.
#[derive(Clone, Debug)]
pub struct Tracer {
    /// The `schedscope` to start.
    pub program: PathBuf,
    /// Where its reports may lie for a moment.
    pub directory: PathBuf,
}

impl Tracer {
    /// Runs the cell once more. That it can't run or fails is part of the row.
    pub fn run(&self, row: &mut Row, stop: &Stop) {
        if let Some(why) = &row.cell.skipped {
            row.problem = Some(Problem::Skipped(why.clone()));
            return;
        }
        let file = self.directory.join(REPORT);
        let mut command = Command::new(&self.program);
        command.args(["run", "--quiet", "--name", &row.cell.label(), "--json"]).arg(&file).arg("--");
        command.arg(&row.cell.program).args(&row.cell.arguments);
        let before = host_ticks();
        let output = child::output(&mut command, LIMIT, stop);
        let steal_share = steal_share(before, host_ticks());
        let report = fs::read(&file).unwrap_or_default();
        // The tracer wrote none if it failed.
        let _ = fs::remove_file(&file);
        if stop.is_requested() && !output.as_ref().is_ok_and(|output| output.status.success()) {
            return;
        }
        match output.and_then(|output| sample(&output, &report, steal_share)) {
            Ok(Sample { workload: Workload { skipped: Some(why), .. }, .. }) => row.problem = Some(Problem::Skipped(why)),
            Ok(sample) => {
                row.runs.push(Figures::of(&sample));
                row.samples.push(sample);
            }
            Err(error) => row.problem = Some(Problem::Failed(format!("{error:#}"))),
        }
    }
}

fn sample(output: &Output, report: &[u8], steal_share: f64) -> Result<Sample> {
    if !output.status.success() {
        bail!("{}: {}", output.status, last_line(&output.stderr));
    }
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).context("cannot read what the workload printed")?;
    let workload: Workload = serde_json::from_value(said.clone()).context("the workload's report is not as expected")?;
    let report = serde_json::from_slice(report).context("cannot read the tracer's report")?;
    Ok(Sample { said, workload, report, steal_share })
}

/// All CPU time of the host so far, and how much of it the hypervisor gave to others, in ticks. 0 where the kernel does not tell.
fn host_ticks() -> [u64; 2] {
    let Ok(time) = KernelStats::current().map(|stats| stats.total) else { return [0; 2] };
    let steal = time.steal.unwrap_or(0);
    // The time of guests is in user and nice already.
    let busy = time.user + time.nice + time.system + time.irq.unwrap_or(0) + time.softirq.unwrap_or(0);
    [busy + time.idle + time.iowait.unwrap_or(0) + steal, steal]
}

fn steal_share(before: [u64; 2], after: [u64; 2]) -> f64 {
    let [all, stolen] = [0, 1].map(|index| after[index].saturating_sub(before[index]) as f64);
    if all > 0.0 { stolen / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stolen_part_is_of_the_time_between() {
        assert!((steal_share([100, 10], [200, 20]) - 0.1).abs() < 1e-9);
        assert!(steal_share([200, 20], [100, 10]).abs() < 1e-9);
        assert!(host_ticks()[0] > 0);
    }
}
