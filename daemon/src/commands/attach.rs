//! `schedscope attach`: processes that already run.

mod whom;

use std::time::{Duration, Instant};

use whom::Whom;

use super::signals::{Blocked, ENDING};
use super::{JsonOutput, ReportArgs, allowed_cpus, deliver, require_host, seconds_up_to};
use crate::capture::run::Subject;
use crate::capture::session::Session;
use crate::capture::snapshot::Tgid;
use crate::report::build::build;

/// Time between two looks for processes that have come to be meant.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looking may take at most one part in this many of the time.
const LOOKING_BUDGET: u32 = 50;

/// Arguments of `schedscope attach`.
#[derive(Debug, clap::Args)]
pub struct AttachArgs {
    /// What to trace
    #[command(flatten)]
    pub(crate) whom: WhomArgs,
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

/// Which processes are meant.
#[derive(Debug, Default, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct WhomArgs {
    /// Process to trace, with its descendants; may be given several times
    #[arg(long, value_name = "PID", num_args = 1..)]
    pub(crate) pid: Vec<u32>,
    /// Processes that run this program, with their descendants: name or path of the executable, or name of the main thread
    #[arg(long, value_name = "NAME")]
    pub(crate) program: Vec<String>,
    /// Processes of this systemd service or scope; that of a user's own systemd is user-UID/NAME
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Vec<String>,
    /// Processes in this container: its name, 12 digits of its id, or a pod as NAMESPACE/POD
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) container: Vec<String>,
    /// Processes in this cgroup and those below it: a directory, or the path as in /proc/PID/cgroup
    #[arg(long, value_name = "CGROUP")]
    pub(crate) cgroup: Vec<String>,
}

/// Traces until the processes end, the time is up, or it is interrupted.
pub async fn attach(args: AttachArgs) -> anyhow::Result<i32> {
    let topology = require_host()?;
    let json = JsonOutput::open(args.report.json.as_deref())?;
    let mut whom = Whom::new(&args.whom, !args.no_descendants)?;
    let everyone = whom.find_first()?;
    let mut session = Session::start(topology)?;
    // Of those who are not asked for by id, one that ends now is no lack.
    let untraced: Vec<Tgid> = session.begin(&everyone)?.into_iter().filter(|tgid| whom.processes().contains(tgid)).collect();
    let what = if untraced.is_empty() {
        format!("no thread of {whom} could be traced: have all processes ended?")
    } else {
        format!(
            "no thread of process {} could be traced: has it ended? Is it the process id, not a thread's?",
            whom::list(&untraced)
        )
    };
    if session.alive() == 0 {
        anyhow::bail!(what);
    }
    if !untraced.is_empty() {
        eprintln!("schedscope: {what} The report is about the others");
        whom.forget(&untraced);
    }
    // Until here a signal ends us, and nothing is lost.
    let mut signals = Blocked::new(&ENDING)?.listen()?;
    let end = args.duration.map(|seconds| tokio::time::Instant::now() + Duration::from_secs_f64(seconds));
    let mut pause = Duration::ZERO;
    let mut look_at = Instant::now() + LOOK_INTERVAL;
    // A program or a service that is started again and again may not run for a moment.
    let waits = args.duration.is_some() && whom.can_grow();
    while waits || session.alive() > 0 {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(tokio::time::Instant::now()));
        if left.is_zero() {
            break;
        }
        if whom.can_grow() && Instant::now() >= look_at {
            let begun = Instant::now();
            session.join(&whom.find())?;
            look_at = Instant::now() + LOOK_INTERVAL.max(begun.elapsed() * LOOKING_BUDGET);
        }
        tokio::select! {
            () = signals.end() => break,
            () = tokio::time::sleep(pause.min(left)) => pause = session.sample()?,
        }
    }
    let name = args.report.name.unwrap_or_else(|| whom.to_string());
    let subject = Subject { name, allowed_cpus: allowed_cpus(), ..Subject::default() };
    let report = build(&session.finish(None, subject)?);
    deliver(&report, json, args.report.quiet)?;
    Ok(0)
}
