//! Native concurrency models: one thread, N threads, N processes.
//!
//! All workers get ready, wait for each other, and begin together, so the time of work holds no time of starting.

use std::sync::{OnceLock, mpsc};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::again::Again;
use crate::job::{Job, Model, NativeArgs, jobs, name_of};
use crate::processes;
use crate::report::{ModelRun, Report, Stopwatch};
use crate::sys;

/// Runs one native cell.
pub(crate) fn run(args: &NativeArgs, again: Again) -> Result<Report> {
    let NativeArgs { task, model, .. } = *args;
    if !model.can_do(task) {
        bail!("processes do not share the lock of `{}`; take --model threads", name_of(&task));
    }
    let jobs = jobs(args, sys::usable_cpus()?.len());
    let run = match model {
        Model::Serial => run_serial(&jobs),
        Model::Threads => run_threads(&jobs),
        Model::Processes => processes::run(&jobs, again),
    }?;
    Ok(Report::of_model(model, task, &run))
}

fn run_serial(jobs: &[Job]) -> Result<ModelRun> {
    let mut watch = Stopwatch::start();
    let (mut pss_bytes, mut starts_ns, mut workers) = (None, Vec::new(), Vec::new());
    for job in jobs {
        starts_ns.push(sys::monotonic_ns());
        workers.push(job.run(|_| {
            pss_bytes = watch.measure_memory();
            Ok(())
        })?);
    }
    Ok(ModelRun { wall_ns: watch.elapsed_ns(), pss_bytes, starts_ns, workers })
}

fn run_threads(jobs: &[Job]) -> Result<ModelRun> {
    let gate = OnceLock::new();
    let (ready, all_ready) = mpsc::channel();
    let mut watch = Stopwatch::start();
    thread::scope(|scope| {
        let (mut starts_ns, mut threads) = (Vec::new(), Vec::new());
        for job in jobs {
            let (ready, gate) = (ready.clone(), &gate);
            starts_ns.push(sys::monotonic_ns());
            let body = move || {
                job.run(|_| {
                    ready.send(()).context("the main thread is gone")?;
                    gate.wait();
                    Ok(())
                })
            };
            match thread::Builder::new().spawn_scoped(scope, body) {
                Ok(handle) => threads.push(handle),
                Err(error) => {
                    gate.get_or_init(|| ());
                    return Err(error).context("cannot start a thread; raise `ulimit -u` or start fewer workers");
                }
            }
        }
        // A worker that failed drops its sender, so this ends in any case.
        drop(ready);
        let ready_count = all_ready.iter().take(jobs.len()).count();
        let pss_bytes = if ready_count == jobs.len() { watch.measure_memory() } else { None };
        gate.get_or_init(|| ());
        let mut workers = Vec::new();
        for handle in threads {
            workers.push(handle.join().map_err(|_| anyhow::anyhow!("a worker thread panicked"))??);
        }
        Ok(ModelRun { wall_ns: watch.elapsed_ns(), pss_bytes, starts_ns, workers })
    })
}
