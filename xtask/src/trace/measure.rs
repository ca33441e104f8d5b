//! Runs a cell under the tracer.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result};

use super::{
    cell::{Cell, Outcome, Sample, Workload},
    child::{self, Stop},
    figures::Figures,
    host::Programs,
    runtime::last_line,
    steal,
};

/// What a cell may take; the longest takes some ten seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// The runs of one cell so far.
#[derive(Default)]
pub(crate) struct Runs {
    samples: Vec<Sample>,
    skipped: Option<String>,
    failed: Option<String>,
}

impl Runs {
    /// The cell's outcome; `None` if it was never run. One failure spoils it: medians over what is left would hide it.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        if let Some(why) = self.failed {
            return Some(Outcome::Failed { why });
        }
        if let Some(why) = self.skipped {
            return Some(Outcome::Skipped { why });
        }
        let runs: Vec<Figures> = self.samples.iter().map(Figures::of).collect();
        let figures = Figures::median(&runs)?;
        Some(Outcome::Measured { figures: Box::new(figures), runs, samples: self.samples })
    }

    /// True if it has run, each time well.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.failed.is_none() && self.skipped.is_none() && !self.samples.is_empty()
    }

    /// The last run in a few words.
    pub(crate) fn last_line(&self) -> String {
        match (&self.failed, &self.skipped, self.samples.last()) {
            (Some(why), ..) => format!("failed: {why}"),
            (None, Some(why), _) => format!("skipped: {why}"),
            (None, None, Some(sample)) => {
                let parallelism = &sample.report.parallelism;
                let seconds = sample.workload.wall_seconds;
                format!("{seconds:.2} s  C {:.2}  D {:.2}", parallelism.running_mean, parallelism.demand_mean)
            }
            (None, None, None) => String::new(),
        }
    }
}

/// Runs the cell once. That it can't run or fails is one of its outcomes; an error is something else.
pub(crate) fn run(cell: &Cell, programs: &Programs, runs: &mut Runs, stop: &Stop) -> Result<()> {
    if let Some(why) = &cell.skipped {
        runs.skipped = Some(why.clone());
        return Ok(());
    }
    let file = tempfile::NamedTempFile::new_in(programs.target.join("trace")).context("cannot create a temporary file")?;
    let mut command = Command::new(&programs.schedscope);
    command.args(["run", "--quiet", "--name", &cell.label(), "--json"]).arg(file.path()).arg("--");
    command.arg(&cell.program).args(&cell.arguments);
    let before = steal::Counters::now();
    let output = match child::output(&mut command, LIMIT, stop) {
        Ok(output) => output,
        Err(_) if stop.is_requested() => return Ok(()),
        Err(error) => {
            runs.failed = Some(format!("{error:#}"));
            return Ok(());
        }
    };
    if !output.status.success() {
        if !stop.is_requested() {
            runs.failed = Some(format!("{}: {}", output.status, last_line(&output.stderr)));
        }
        return Ok(());
    }
    let steal_share = steal::Counters::now().share_since(&before);
    let parsed = (|| {
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).context("cannot read what the workload printed")?;
        let workload: Workload = serde_json::from_value(said.clone()).context("the workload's report is not as expected")?;
        let report = serde_json::from_slice(&fs::read(file.path())?).context("cannot read the tracer's report")?;
        anyhow::Ok(Sample { said, workload, report, steal_share })
    })();
    match parsed {
        Ok(Sample { workload: Workload { skipped: Some(why), .. }, .. }) => runs.skipped = Some(why),
        Ok(sample) => runs.samples.push(sample),
        Err(error) => runs.failed = Some(format!("{error:#}")),
    }
    Ok(())
}
