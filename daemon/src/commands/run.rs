//! `schedscope run`: one command and all its descendants, from the first instruction.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, getpgrp, pidfd_open, pidfd_send_signal};

use super::signals::{Blocked, PASSED_ON, Witness};
use super::{JsonOutput, ReportArgs, allowed_cpus, deliver, require_host};
use crate::capture::page_faults::with_cost_of_faults;
use crate::capture::run::{Exit, Subject};
use crate::capture::session::Session;
use crate::capture::snapshot::Tgid;
use crate::capture::spawn::{self, Gated, exit_code};
use crate::report::build::build;
use crate::verify::wait4::{self, Ended};

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
    pub(crate) command: Vec<OsString>,
}

/// Runs the command and returns the code to exit with.
pub async fn run(args: RunArgs) -> anyhow::Result<i32> {
    let topology = require_host()?;
    let json = JsonOutput::open(args.report.json.as_deref())?;
    let allowed = allowed_cpus();
    let name = args.report.name.clone().unwrap_or_else(|| program_name(&args.command));
    let prepared = prepare(&args)?;
    let mut session = if args.check { Session::start_verifying(topology)? } else { Session::start(topology)? };
    // Until here a signal ends us, and nothing is lost. The command is forked with the signals blocked: what is sent to it before its
    // exec waits for that.
    let signals = Blocked::new(&PASSED_ON)?;
    let witness = Witness::start(&signals)?;
    let gated = Gated::prepared(prepared)?;
    let leader = gated.tgid();
    let mut recipient = Recipient::new(leader, witness)?;
    let tree = wait4::Tree::of(leader);
    session.begin(&[leader])?;
    signals.end_if_any_waits()?;
    let child = gated.release()?;
    let mut signals = signals.listen()?;

    let mut waiting = tokio::task::spawn_blocking(move || wait4::reap(child));
    let mut pause = Duration::ZERO;
    let Ended { status, switches, usage } = loop {
        tokio::select! {
            biased;
            ended = &mut waiting => break ended??,
            signal = signals.next() => recipient.pass_on(signal),
            () = tokio::time::sleep(pause) => pause = session.sample()?,
        }
    };
    settle(&mut session).await?;
    // What has ended the command is not meant for us.
    signals.forget();
    while args.wait_all && session.alive() > 0 {
        tokio::select! {
            () = signals.end() => break,
            () = tokio::time::sleep(pause) => pause = session.sample()?,
        }
    }
    let window_of = if args.wait_all { None } else { Some(leader) };
    let exit = Exit { code: status.code(), signal: status.signal() };
    let command = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let subject = Subject { name, command, exit, allowed_cpus: allowed, usage };
    let mut run = session.finish(window_of, subject)?;
    // Not before, since it takes milliseconds and the window may end now.
    run.subject.usage = with_cost_of_faults(usage);
    let mut report = build(&run);
    // Whether every process of the command was waited for is not known.
    tree.compare(&run, switches, false, &mut report.check);
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

fn program_name(command: &[OsString]) -> String {
    let program = command.first().map(OsString::as_os_str).unwrap_or_default();
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

/// The command with its standard output: ours, unless the JSON goes there.
fn prepare(args: &RunArgs) -> io::Result<Command> {
    let mut command = spawn::command(&args.command)?;
    if args.report.json_goes_to_stdout() {
        command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
    }
    Ok(command)
}

/// The command as a recipient of signals.
struct Recipient {
    pid: Pid,
    process: OwnedFd,
    witness: Witness,
}

impl Recipient {
    /// For a child that is not reaped.
    fn new(tgid: Tgid, witness: Witness) -> io::Result<Recipient> {
        let pid = Pid::from_raw(tgid.0.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Recipient { pid, process: pidfd_open(pid, PidfdFlags::empty())?, witness })
    }

    /// Sends on a signal that we have received, unless the command has had it too.
    fn pass_on(&mut self, signal: Signal) {
        let reached_group = self.witness.has_had(signal);
        if !(reached_group && self.is_in_our_group() && self.would_notice(signal)) {
            // It may have ended.
            let _ = pidfd_send_signal(&self.process, signal);
        }
    }

    /// A command that has left the group, as a shell with job control does, gets nothing that is sent there.
    fn is_in_our_group(&self) -> bool {
        getpgid(Some(self.pid)).is_ok_and(|group| group == getpgrp())
    }

    /// Whether it would make a difference to the command to get a signal twice. If not it is sent in any case: whoever picks processes by
    /// their executable may have sent it to us and the witness only.
    fn would_notice(&self, signal: Signal) -> bool {
        let status = Process::new(self.pid.as_raw_nonzero().get()).and_then(|process| process.status());
        status.is_ok_and(|status| (status.sigcgt | status.sigblk) & 1 << (signal.as_raw() - 1) != 0)
    }
}
