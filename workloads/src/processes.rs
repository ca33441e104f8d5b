//! The processes model: one child per worker, running this program's hidden `worker` command.
//!
//! They speak in lines: the worker writes that it is ready, reads the start signal, and writes its report as JSON.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};

use crate::again::Again;
use crate::job::Job;
use crate::report::{ModelRun, Stopwatch, WorkerReport};
use crate::sys;

/// A worker process and both ends of the talk with it.
struct Worker {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Worker {
    fn start(job: &Job, again: Again) -> Result<Self> {
        let mut command = again.command()?;
        command.args(["worker", "--job", &serde_json::to_string(job)?]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a worker process")?;
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().context("a worker process has no standard output")?);
        Ok(Self { child, to, from })
    }

    /// The worker's next line.
    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.from.read_line(&mut line).context("cannot read from a worker process")? == 0 {
            let status = self.child.wait().context("cannot wait for a worker process")?;
            bail!("worker process {} ended ({status}) before it reported", self.child.id());
        }
        Ok(line)
    }

    fn go(&mut self) -> Result<()> {
        let to = self.to.as_mut().context("a worker process has no standard input")?;
        to.write_all(b"go\n").context("cannot write to a worker process")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Nobody may outlive the run; a worker that waits for the signal ends when its input closes.
        self.to = None;
        let _ = self.child.wait();
    }
}

/// Runs the jobs, each in a process of its own.
pub(crate) fn run(jobs: &[Job], again: Again) -> Result<ModelRun> {
    let mut watch = Stopwatch::start();
    let (mut starts_ns, mut children) = (Vec::new(), Vec::new());
    for job in jobs {
        starts_ns.push(sys::monotonic_ns());
        children.push(Worker::start(job, again)?);
    }
    for child in &mut children {
        child.hear()?;
    }
    let pss_bytes = watch.measure_memory();
    for child in &mut children {
        child.go()?;
    }
    let mut workers = Vec::new();
    for child in &mut children {
        let line = child.hear()?;
        workers.push(serde_json::from_str::<WorkerReport>(&line).context("a worker process sent no report")?);
    }
    drop(children);
    Ok(ModelRun { wall_ns: watch.elapsed_ns(), pss_bytes, starts_ns, workers })
}

/// The worker's side.
pub(crate) fn worker_main(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job).context("--job is not a job")?;
    let report = job.run(|| {
        writeln!(stdout(), "ready").context("the parent is gone")?;
        let mut signal = String::new();
        if stdin().read_line(&mut signal).context("cannot read the start signal")? == 0 {
            bail!("the parent is gone");
        }
        Ok(())
    })?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
