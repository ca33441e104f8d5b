//! Native concurrency models: one thread, N threads, N processes.
//!
//! All workers get ready, wait for each other, and begin together, so the time of work holds no time of starting.

use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::args::{NativeArgs, Pin};
use crate::cells;
use crate::processes;
use crate::report::{ModelRun, Report, WorkerReport, tree_pss_bytes};
use crate::sys;
use crate::tasks::TaskKind;

/// How the workers are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Model {
    /// All work in the main thread.
    Serial,
    /// One thread per worker.
    Threads,
    /// One process per worker.
    Processes,
}

impl Model {
    /// All models, in the order of the list.
    pub(crate) const ALL: [Self; 3] = [Self::Serial, Self::Threads, Self::Processes];

    /// Its name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Threads => "threads",
            Self::Processes => "processes",
        }
    }

    /// Whether the task makes sense on this model: processes don't share the lock of `mutex`.
    pub(crate) fn can_do(self, task: TaskKind) -> bool {
        !(self == Self::Processes && task == TaskKind::Mutex)
    }
}

/// What one worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) task: TaskKind,
    /// Which of the workers it is, from 0.
    pub(crate) index: usize,
    /// Units to do, unless `seconds` is set.
    work: u64,
    seconds: Option<f64>,
    pause_seconds: f64,
    pin: Option<Pin>,
}

impl Job {
    /// Runs the worker's life: first instruction, name, preparation, ready, go, work.
    pub(crate) fn run(&self, ready_and_wait: impl FnOnce(u64) -> Result<()>) -> Result<WorkerReport> {
        let first_ns = sys::monotonic_ns();
        sys::name_thread(&format!("{}-{}", self.task.name(), self.index));
        self.pin()?;
        let mut unit = self.task.unit_of_work(Duration::from_secs_f64(self.pause_seconds));
        ready_and_wait(first_ns)?;
        let begin_ns = sys::monotonic_ns();
        let mut work = 0;
        while self.goes_on(work, begin_ns) {
            unit();
            work += 1;
        }
        Ok(WorkerReport { work, first_ns, begin_ns, end_ns: sys::monotonic_ns() })
    }

    /// True until the share is done (fixed work) or the time is up (fixed time).
    fn goes_on(&self, done: u64, begin_ns: u64) -> bool {
        match self.seconds {
            None => done < self.work,
            Some(seconds) => crate::report::seconds(sys::monotonic_ns() - begin_ns) < seconds,
        }
    }

    fn pin(&self) -> Result<()> {
        let Some(pin) = self.pin else { return Ok(()) };
        let usable = sys::usable_cpus().context("cannot read the CPU affinity")?;
        let cpu = match pin {
            Pin::One => usable[0],
            Pin::Spread => usable[self.index % usable.len()],
        };
        sys::pin_to(cpu).with_context(|| format!("cannot confine a worker to CPU {cpu}"))
    }
}

/// Runs one native cell.
pub(crate) fn run(args: &NativeArgs) -> Result<Report> {
    let NativeArgs { task, model, .. } = *args;
    if !model.can_do(task) {
        bail!("processes do not share the lock of `{}`; take --model threads", task.name());
    }
    let jobs = jobs(args, sys::usable_cpus().context("cannot read the CPU affinity")?.len());
    let run = match model {
        Model::Serial => run_serial(&jobs),
        Model::Threads => run_threads(&jobs),
        Model::Processes => processes::run(&jobs),
    }?;
    Ok(Report::of_model(cells::native_id(task, model), model.name(), task, &run))
}

/// One job per worker; together they do exactly the work that was asked for.
fn jobs(args: &NativeArgs, cpus: usize) -> Vec<Job> {
    let workers = match (args.model, args.workers) {
        (Model::Serial, _) => 1,
        (_, Some(workers)) => usize::try_from(workers).unwrap_or(1),
        (_, None) => cpus.max(2),
    };
    shares(args.work.unwrap_or(args.task.default_work()), workers)
        .enumerate()
        .map(|(index, work)| Job { task: args.task, index, work, seconds: args.seconds, pause_seconds: args.pause, pin: args.pin })
        .collect()
}

/// Splits `total` into shares that differ by one at most.
fn shares(total: u64, workers: usize) -> impl Iterator<Item = u64> {
    let count = workers as u64;
    (0..count).map(move |index| total / count + u64::from(index < total % count))
}

/// Wall time without the time that measuring memory takes.
pub(crate) struct Stopwatch {
    started_ns: u64,
    paused_ns: u64,
}

impl Stopwatch {
    /// Starts it.
    pub(crate) fn start() -> Self {
        Self { started_ns: sys::monotonic_ns(), paused_ns: 0 }
    }

    /// Reads the memory of all processes of the run; the time it takes does not count.
    pub(crate) fn measure_memory(&mut self) -> Option<u64> {
        let before = sys::monotonic_ns();
        let bytes = tree_pss_bytes();
        self.paused_ns += sys::monotonic_ns() - before;
        bytes
    }

    /// Nanoseconds since the start.
    pub(crate) fn elapsed_ns(&self) -> u64 {
        sys::monotonic_ns() - self.started_ns - self.paused_ns
    }
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
    let gate = Gate::default();
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
                    gate.open();
                    return Err(error).context("cannot start a thread; raise `ulimit -u` or start fewer workers");
                }
            }
        }
        // A worker that failed drops its sender, so this ends in any case.
        drop(ready);
        let ready_count = all_ready.iter().take(jobs.len()).count();
        let pss_bytes = if ready_count == jobs.len() { watch.measure_memory() } else { None };
        gate.open();
        let mut workers = Vec::new();
        for handle in threads {
            workers.push(handle.join().map_err(|_| anyhow::anyhow!("a worker thread panicked"))??);
        }
        Ok(ModelRun { wall_ns: watch.elapsed_ns(), pss_bytes, starts_ns, workers })
    })
}

/// Holds threads back until it is opened.
#[derive(Default)]
pub(crate) struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Returns once the gate is open.
    pub(crate) fn wait(&self) {
        let mut is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets all through, now and later.
    pub(crate) fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_add_up_and_differ_by_one_at_most(total in 0_u64..1_000_000, workers in 1_usize..100) {
            let parts: Vec<u64> = shares(total, workers).collect();
            prop_assert_eq!(parts.len(), workers);
            prop_assert_eq!(parts.iter().sum::<u64>(), total);
            prop_assert!(parts.iter().max().zip(parts.iter().min()).is_some_and(|(most, least)| most - least <= 1));
        }
    }
}
