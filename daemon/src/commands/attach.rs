//! `schedscope attach`: processes that already run.

use std::time::Duration;

use super::signals::{Blocked, ENDING};
use super::{JsonOutput, ReportArgs, allowed_cpus, deliver, require_host, seconds_up_to};
use crate::capture::family::families;
use crate::capture::run::Subject;
use crate::capture::session::Session;
use crate::capture::snapshot::Tgid;
use crate::report::build::build;

/// Arguments of `schedscope attach`.
#[derive(Debug, clap::Args)]
pub struct AttachArgs {
    /// Process to trace, with its descendants; may be given several times
    #[arg(long, required = true, value_name = "PID", num_args = 1..)]
    pub(crate) pid: Vec<u32>,
    /// Leave out the descendants that are there already
    #[arg(long)]
    pub(crate) no_descendants: bool,
    /// Stop after this many seconds; without it when the processes end, or at Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = seconds_up_to::<1_000_000_000>)]
    pub(crate) duration: Option<f64>,
    /// What becomes of the report
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

/// Traces until the processes end, the time is up, or it is interrupted.
pub async fn attach(args: AttachArgs) -> anyhow::Result<i32> {
    let topology = require_host()?;
    let json = JsonOutput::open(args.report.json.as_deref())?;
    let (processes, gone): (Vec<Tgid>, Vec<Tgid>) = args.pid.iter().copied().map(Tgid).partition(|tgid| exists(*tgid));
    if processes.is_empty() {
        anyhow::bail!("there is no process {}: 'ps -e' lists what runs", list(&gone));
    }
    if !gone.is_empty() {
        eprintln!("schedscope: there is no process {}; the report is about the others", list(&gone));
    }
    let mut session = Session::start(topology)?;
    let everyone = if args.no_descendants { processes.clone() } else { families(&processes) };
    // A descendant that ends now is no lack.
    let untraced: Vec<Tgid> = session.begin(&everyone)?.into_iter().filter(|tgid| processes.contains(tgid)).collect();
    if !untraced.is_empty() {
        let what = format!(
            "no thread of process {} could be traced: has it ended? Is it the process id, not a thread's, and in this pid namespace?",
            list(&untraced)
        );
        if untraced.len() == processes.len() {
            anyhow::bail!(what);
        }
        eprintln!("schedscope: {what} The report is about the others");
    }
    let traced: Vec<Tgid> = processes.into_iter().filter(|tgid| !untraced.contains(tgid)).collect();
    // Until here a signal ends us, and nothing is lost.
    let mut signals = Blocked::new(&ENDING)?.listen()?;
    let end = args.duration.map(|seconds| tokio::time::Instant::now() + Duration::from_secs_f64(seconds));
    let mut pause = Duration::ZERO;
    while session.alive() > 0 {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(tokio::time::Instant::now()));
        if left.is_zero() {
            break;
        }
        tokio::select! {
            () = signals.end() => break,
            () = tokio::time::sleep(pause.min(left)) => pause = session.sample()?,
        }
    }
    let name = args.report.name.unwrap_or_else(|| format!("pid {}", list(&traced)));
    let subject = Subject { name, allowed_cpus: allowed_cpus(), ..Subject::default() };
    let report = build(&session.finish(None, subject)?);
    deliver(&report, json, args.report.quiet)?;
    Ok(0)
}

fn exists(tgid: Tgid) -> bool {
    i32::try_from(tgid.0).is_ok_and(|pid| procfs::process::Process::new(pid).is_ok())
}

fn list(processes: &[Tgid]) -> String {
    processes.iter().map(|tgid| tgid.0.to_string()).collect::<Vec<_>>().join(", ")
}
