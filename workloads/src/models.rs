//! Native concurrency models: one thread, N threads, N processes.
//!
//! All workers get ready, wait for each other, and begin together, so the time of work holds no time of starting.

use anyhow::{Result, bail};

use crate::again::Again;
use crate::job::{Job, Model, NativeArgs, jobs, name_of};
use crate::report::{ModelRun, Report, Stopwatch};
use crate::threads::together;
use crate::{processes, sys};

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
        workers.push(job.run(|| {
            pss_bytes = watch.measure_memory();
            Ok(())
        })?);
    }
    Ok(ModelRun { wall_ns: watch.elapsed_ns(), pss_bytes, starts_ns, workers })
}

fn run_threads(jobs: &[Job]) -> Result<ModelRun> {
    let mut watch = Stopwatch::start();
    let mut pss_bytes = None;
    let work = |index: usize, wait: &dyn Fn()| {
        jobs[index].run(|| {
            wait();
            Ok(())
        })
    };
    let (starts_ns, reports) = together(jobs.len(), work, || {
        pss_bytes = watch.measure_memory();
        Ok(())
    })?;
    let workers = reports.into_iter().collect::<Result<_>>()?;
    Ok(ModelRun { wall_ns: watch.elapsed_ns(), pss_bytes, starts_ns, workers })
}
