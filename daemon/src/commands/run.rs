//! `schedscope run`: one command and all its descendants, from the first instruction.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use rustix::process;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{JsonOutput, ReportArgs, allowed_cpus, deliver, require_host};
use crate::{
    capture::{
        run::{Exit, Subject},
        session::Session,
        snapshot::Tgid,
        spawn::{Gated, exit_code},
    },
    report::build::build,
    verify::wait4,
};

/// How long threads that are ending may take after the command was reaped.
const SETTLE: Duration = Duration::from_millis(30);

/// Arguments of `schedscope run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// What becomes of the report
    #[command(flatten)]
    pub(crate) report: ReportArgs,
    /// Go on until every descendant has ended, not only the command itself
    #[arg(long)]
    pub(crate) wait_all: bool,
    /// Compare waits with the kernel's run delay as well; makes every switch and wake-up of the command dearer
    #[arg(long)]
    pub(crate) check: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// Runs the command and returns the code to exit with.
pub async fn run(args: RunArgs) -> anyhow::Result<i32> {
    let topology = require_host()?;
    let json = JsonOutput::open(args.report.json.as_deref())?;
    let allowed = allowed_cpus();
    let name = args.report.name.clone().unwrap_or_else(|| program_name(&args.command));
    // Before the fork: a signal must not end us while the child waits.
    let mut interrupts = Interrupts::listen()?;
    let mut session = if args.check { Session::start_verifying(topology)? } else { Session::start(topology)? };
    let gated = Gated::fork(&args.command)?;
    let leader = gated.tgid();
    let tree = wait4::Tree::of(leader);
    session.begin(&[leader])?;
    let child = gated.release()?;

    let mut waiting = tokio::task::spawn_blocking(move || wait4::reap(child));
    let mut pause = Duration::ZERO;
    let (status, rusage) = loop {
        tokio::select! {
            biased;
            ended = &mut waiting => break ended??,
            () = interrupts.next(leader) => {}
            () = tokio::time::sleep(pause) => pause = session.sample()?,
        }
    };
    settle(&mut session).await?;
    while args.wait_all && session.alive() > 0 {
        tokio::select! {
            () = interrupts.stop() => break,
            () = tokio::time::sleep(pause) => pause = session.sample()?,
        }
    }
    let window_of = if args.wait_all { None } else { Some(leader) };
    let exit = Exit { code: status.code(), signal: status.signal() };
    let subject = Subject { name, command: args.command, exit, allowed_cpus: allowed };
    let run = session.finish(window_of, subject)?;
    let mut report = build(&run);
    // Whether every process of the command was waited for is not known.
    tree.compare(&run, rusage, false, &mut report.check);
    deliver(&report, json, args.report.quiet)?;
    Ok(exit_code(status))
}

/// Samples until no thread is left, or until those that are will not end by themselves.
async fn settle(session: &mut Session) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + SETTLE;
    loop {
        session.sample()?;
        if session.alive() == 0 || tokio::time::Instant::now() > deadline {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn program_name(command: &[String]) -> String {
    command.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program)).to_owned()
}

/// The signals that would end us. The report is printed all the same.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    count: u32,
}

impl Interrupts {
    pub(super) fn listen() -> std::io::Result<Interrupts> {
        Ok(Interrupts {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            count: 0,
        })
    }

    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Waits for one and sees that the command hears of it. A terminal sends Ctrl-C to the command as well, so the first one is
    /// left to it; whoever presses it again means it.
    async fn next(&mut self, leader: Tgid) {
        let send = tokio::select! {
            _ = self.interrupt.recv() => {
                self.count += 1;
                (self.count > 1).then_some(process::Signal::KILL)
            }
            _ = self.terminate.recv() => Some(process::Signal::TERM),
            _ = self.hangup.recv() => Some(process::Signal::HUP),
        };
        let pid = i32::try_from(leader.0).ok().and_then(process::Pid::from_raw);
        if let (Some(signal), Some(pid)) = (send, pid) {
            // The child is not reaped yet, so the pid is still its own.
            let _ = process::kill_process(pid, signal);
        }
    }
}
