//! Runs and traces the tree, and asks the kernel about it on the way.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    load::{self, RESTING},
    outcome::Outcome,
};
use crate::{
    capture::{run::Subject, session::Session, snapshot::Tgid, spawn::Gated, topology::Topology},
    commands::allowed_cpus,
    oracle::{
        Oracles, affinity,
        host::HostStat,
        tasks::{self, TaskCounters},
        usage,
    },
    report::{
        bounds::Bounds,
        build::build,
        oracles::{self, AtRest, HostReading},
        schema::{Check, Residual},
    },
};

/// The tree may take this many times as long as it is told to work, and half a minute: the host may be busy.
const PATIENCE: f64 = 60.0;
/// Attempts to find the whole tree at rest.
const ATTEMPTS: u32 = 50;

/// Traces the tree and compares.
pub(super) fn run(topology: Topology, seconds: f64) -> anyhow::Result<Outcome> {
    let mut tree = load::command("tree", seconds)?;
    tree.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut session = Session::start(topology)?;
    let mut compared = Check::default();
    if let Err(error) = session.measure_queueing(affinity::mean_move_seconds()) {
        compared.not_compared.insert("queueing".to_owned(), format!("run delay has a wide bound only: {error}"));
    }
    let begin = host_reading(&session)?;
    let gated = Gated::prepared(tree)?;
    let leader = gated.tgid();
    let oracles = Oracles::attach(leader, true);
    session.begin(&[leader])?;
    let mut child = gated.release()?;
    let deadline = Instant::now() + Duration::from_secs_f64(seconds * PATIENCE + 30.0);

    let lines = lines_of(child.stdout.take().context("the tree has no output")?)?;
    sample_until_it_rests(&mut session, &lines, deadline).or_else(|error| kill(&mut child, error))?;
    match oracles.before() {
        Some(before) => {
            compare_at_rest(&mut session, leader, before, &mut compared).or_else(|error| kill(&mut child, error))?;
        }
        None => drop(compared.not_compared.insert("proc".to_owned(), "its counters before the start are not known".to_owned())),
    }
    drop(child.stdin.take());
    while !usage::has_ended(&child)? || session.alive() > 0 {
        if Instant::now() > deadline {
            kill(&mut child, anyhow::anyhow!("the traced tree does not end"))?;
        }
        let pause = session.sample()?;
        std::thread::sleep(pause.min(Duration::from_millis(10)));
    }
    let end = host_reading(&session)?;
    let (status, rusage) = usage::reap(child)?;
    if !status.success() {
        bail!("the traced tree failed ({status}): the host may lack memory or processes");
    }
    let subject = Subject { name: "check".to_owned(), allowed_cpus: allowed_cpus(), ..Subject::default() };
    let mut report = build(&session.finish(Some(leader), subject)?);
    oracles.compare(&mut report, rusage, true);
    report.check.oracles.append(&mut compared.oracles);
    report.check.not_compared.append(&mut compared.not_compared);
    report.check.oracles.push(oracles::proc_stat(&begin, &end));
    Ok(Outcome::of(&report))
}

/// `/proc/stat` around our own count.
fn host_reading(session: &Session) -> anyhow::Result<HostReading> {
    let read = || HostStat::read().context("cannot read /proc/stat");
    let visit = || affinity::visit_all().context("cannot visit every CPU");
    visit()?;
    let (earlier, ours, later) = (read()?, session.host_switches(), read()?);
    visit()?;
    Ok(HostReading { earlier, ours, later, settled: session.host_switches() })
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
        let (threads, totals) = session.inspect()?;
        if earlier != read_tree(leader)? {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let tree = AtRest { threads: &threads, totals: &totals, move_seconds: session.move_seconds() };
        let (residuals, differing) = oracles::proc(&tree, &earlier, before);
        compared.oracles.extend(residuals);
        let any = Residual::new("proc", "threads with any other count", differing as f64, 0.0, Bounds::EQUAL);
        compared.oracles.push(any);
        return Ok(());
    }
    compared.not_compared.insert("proc".to_owned(), "the tree was never found at rest; try again on a calmer host".to_owned());
    Ok(())
}

/// Every thread of a process and of its descendants, found without our help.
fn read_tree(process: Tgid) -> anyhow::Result<Vec<TaskCounters>> {
    let mut threads = Vec::new();
    for process in tasks::descendants(process)? {
        threads.extend(tasks::read_resting(process).with_context(|| format!("cannot read the counters of process {}", process.0))?);
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
