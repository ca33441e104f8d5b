//! Runs and traces the tree, and asks the kernel about it on the way.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::load::{self, RESTING};
use super::outcome::Outcome;
use crate::capture::run::Subject;
use crate::capture::session::Session;
use crate::capture::snapshot::Tgid;
use crate::capture::spawn::Gated;
use crate::capture::topology::Topology;
use crate::commands::allowed_cpus;
use crate::report::build::build;
use crate::verify::host::{self, HostReading, Perf};
use crate::verify::proc::{self, TaskCounters};
use crate::verify::wait4::{self, Ended};
use crate::verify::{Check, affinity, verdict};

/// The tree may take this many times as long as it is told to work, and half a minute: the host may be busy.
const PATIENCE: f64 = 60.0;
/// Attempts to find the whole tree at rest.
const ATTEMPTS: u32 = 50;

pub(super) fn run(topology: Topology, seconds: f64) -> anyhow::Result<Outcome> {
    let mut tree = load::command("tree", seconds)?;
    tree.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut compared = Check::default();
    let mut perf = match Perf::of(topology.online()) {
        Ok(perf) => Some(perf),
        Err(error) => {
            compared.not_compared.insert("perf".to_owned(), format!("its counters cannot be opened: {error}"));
            None
        }
    };
    let mut session = Session::start_verifying(topology)?;
    let begin = host_reading(&session, perf.as_mut())?;
    let gated = Gated::prepared(tree)?;
    let leader = gated.tgid();
    let of_tree = wait4::Tree::of(leader);
    session.begin(&[leader])?;
    let mut child = gated.release()?;
    let deadline = Instant::now() + Duration::from_secs_f64(seconds * PATIENCE + 30.0);

    let lines = lines_of(child.stdout.take().context("the tree has no output")?)?;
    sample_until_it_rests(&mut session, &lines, deadline).or_else(|error| kill(&mut child, error))?;
    match of_tree.before() {
        Some(before) => {
            compare_at_rest(&mut session, leader, before, &mut compared).or_else(|error| kill(&mut child, error))?;
        }
        None => drop(compared.not_compared.insert("proc".to_owned(), "its counters before the start are not known".to_owned())),
    }
    drop(child.stdin.take());
    while !wait4::has_ended(&child)? || session.alive() > 0 {
        if Instant::now() > deadline {
            kill(&mut child, anyhow::anyhow!("the traced tree does not end"))?;
        }
        let pause = session.sample()?;
        std::thread::sleep(pause.min(Duration::from_millis(10)));
    }
    let end = host_reading(&session, perf.as_mut())?;
    let Ended { status, switches, usage } = wait4::reap(child)?;
    if !status.success() {
        bail!("the traced tree failed ({status}): the host may lack memory or processes");
    }
    let subject = Subject { name: "check".to_owned(), allowed_cpus: allowed_cpus(), usage, ..Subject::default() };
    let run = session.finish(Some(leader), subject)?;
    let mut report = build(&run);
    of_tree.compare(&run, switches, true, &mut report.check);
    report.check.oracles.append(&mut compared.oracles);
    report.check.not_compared.append(&mut compared.not_compared);
    report.check.oracles.extend(host::compare(&begin, &end));
    report.check.oracles.extend(verdict::ledger(&run, &report.check));
    Ok(Outcome::of(&report))
}

/// The kernel's counts of all switches around our own.
fn host_reading(session: &Session, perf: Option<&mut Perf>) -> anyhow::Result<HostReading> {
    let visit = || affinity::visit_all().context("cannot visit every CPU");
    visit()?;
    let mut reading =
        HostReading::take(perf, || session.host_switches()).context("cannot read the kernel's counts of the host's switches")?;
    visit()?;
    reading.settled = session.host_switches();
    Ok(reading)
}

/// Lines of the tree's output, without blocking whoever samples.
fn lines_of(output: ChildStdout) -> anyhow::Result<Receiver<String>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("output".into()).spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn sample_until_it_rests(session: &mut Session, lines: &Receiver<String>, deadline: Instant) -> anyhow::Result<()> {
    loop {
        let pause = session.sample()?;
        match lines.recv_timeout(pause) {
            Ok(line) if line == RESTING => return Ok(()),
            Ok(line) => bail!("the traced tree says {line:?}"),
            Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => bail!("the traced tree does not come to rest"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the traced tree has ended too early"),
        }
    }
}

/// Reads `/proc` twice around our own figures; they are of one moment if nothing has changed in between.
fn compare_at_rest(session: &mut Session, leader: Tgid, before: &TaskCounters, compared: &mut Check) -> anyhow::Result<()> {
    for _ in 0..ATTEMPTS {
        let earlier = read_tree(leader)?;
        let threads = session.inspect()?;
        if earlier != read_tree(leader)? {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        proc::compare(&threads, &earlier, before, session.wait_accounts(), compared);
        return Ok(());
    }
    compared.not_compared.insert("proc".to_owned(), "the tree was never found at rest; try again on a calmer host".to_owned());
    Ok(())
}

/// Every thread of a process and of its descendants, found without our help.
fn read_tree(process: Tgid) -> anyhow::Result<Vec<TaskCounters>> {
    let mut threads = Vec::new();
    for process in proc::descendants(process)? {
        threads.extend(proc::read_resting(process).with_context(|| format!("cannot read the counters of process {}", process.0))?);
    }
    threads.sort_by_key(|thread| thread.tid);
    Ok(threads)
}

/// Ends the tree, whose processes end with their input, and passes the error on.
fn kill<T>(child: &mut Child, error: anyhow::Error) -> anyhow::Result<T> {
    child.kill()?;
    child.wait()?;
    Err(error)
}
