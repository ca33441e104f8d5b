//! `schedscope attach`: processes that already run.

use std::time::Duration;

use super::{JsonOutput, ReportArgs, allowed_cpus, deliver, require_host, run::Interrupts, seconds_up_to};
use crate::{
    capture::{run::Subject, session::Session, snapshot::Tgid},
    report::build::build,
};

/// Arguments of `schedscope attach`.
#[derive(Debug, clap::Args)]
pub struct AttachArgs {
    /// Process to trace, with its descendants from now on; may be given several times
    #[arg(long, required = true, value_name = "PID", num_args = 1..)]
    pub(crate) pid: Vec<u32>,
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
    for pid in &args.pid {
        let process = i32::try_from(*pid).ok().and_then(|pid| procfs::process::Process::new(pid).ok());
        if process.is_none() {
            anyhow::bail!("there is no process {pid}: 'ps -e' lists what runs");
        }
    }
    let mut interrupts = Interrupts::listen()?;
    let mut session = Session::start(topology)?;
    let processes: Vec<Tgid> = args.pid.iter().copied().map(Tgid).collect();
    let pids = args.pid.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    session.begin(&processes)?;
    if session.alive() == 0 {
        anyhow::bail!(
            "no thread of process {pids} could be traced: is it the process id, not a thread's, and in this pid namespace?"
        );
    }
    let end = args.duration.map(|seconds| tokio::time::Instant::now() + Duration::from_secs_f64(seconds));
    let mut pause = Duration::ZERO;
    while session.alive() > 0 {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(tokio::time::Instant::now()));
        if left.is_zero() {
            break;
        }
        tokio::select! {
            () = interrupts.stop() => break,
            () = tokio::time::sleep(pause.min(left)) => pause = session.sample()?,
        }
    }
    let name = args.report.name.unwrap_or_else(|| format!("pid {pids}"));
    let subject = Subject { name, allowed_cpus: allowed_cpus(), ..Subject::default() };
    let report = build(&session.finish(None, subject)?);
    deliver(&report, json, args.report.quiet)?;
    Ok(0)
}
