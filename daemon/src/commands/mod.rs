//! The subcommands: thin drivers over the library.

pub mod attach;
pub mod check;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod run;
pub mod signals;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::capture::allowance::CpuSet;
use crate::capture::preflight;
use crate::capture::snapshot::Tgid;
use crate::capture::topology::Topology;
use crate::report::{Options, RunReport, render};

/// Refuses, and says the fix, before anything is loaded.
fn require_host() -> anyhow::Result<Topology> {
    if let Some(lack) = preflight::first_fatal() {
        anyhow::bail!("{}", lack.detail);
    }
    Topology::read()
}

fn seconds_up_to<const MOST: u32>(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= f64::from(MOST));
    seconds.ok_or_else(|| format!("give a number of seconds above 0, at most {MOST}"))
}

/// Stands for standard output where a file is expected.
const STDOUT: &str = "-";

/// What becomes of the report, the same for every way to trace.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Name of the run in the report; the command or the process if not given
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Write the report as JSON to FILE, or to standard output for `-`, and what a command prints then to standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Do not print the report; useful with --json
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl ReportArgs {
    fn json_goes_to_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new(STDOUT))
    }
}

/// Where the JSON goes. Opened before anything is traced: a path that cannot be written must not cost a run.
struct JsonOutput(Box<dyn Write>);

impl JsonOutput {
    fn open(path: Option<&Path>) -> anyhow::Result<Option<JsonOutput>> {
        let Some(path) = path else { return Ok(None) };
        if path == Path::new(STDOUT) {
            return Ok(Some(JsonOutput(Box::new(std::io::stdout()))));
        }
        let file = std::fs::File::create(path)
            .with_context(|| format!("cannot write {}: give --json a file in a directory that exists", path.display()))?;
        Ok(Some(JsonOutput(Box::new(file))))
    }

    fn write(mut self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.0.write_all(text.as_bytes()).and_then(|()| self.0.flush()).context("cannot write the JSON")
    }
}

/// Prints the report to standard error, which leaves the command's own output alone, and writes the JSON if asked.
fn deliver(report: &RunReport, json: Option<JsonOutput>, quiet: bool) -> anyhow::Result<()> {
    if !quiet {
        let stderr = std::io::stderr();
        let text = render(report, &Options::detect(&stderr));
        // A reader that went away is no reason to fail.
        let _ = stderr.lock().write_all(text.as_bytes());
    }
    json.map_or(Ok(()), |json| json.write(report))
}

/// CPUs this process may use; a child inherits them.
fn allowed_cpus() -> u32 {
    let more_than_a_set_holds =
        || std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    CpuSet::of_process(Tgid(std::process::id())).map_or_else(more_than_a_set_holds, |set| set.count())
}
