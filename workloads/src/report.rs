//! What a run prints: one line of JSON, the same schema as the Python cells'.

use anyhow::{Context, Result};
use procfs::process::{Process, all_processes};
use serde::{Deserialize, Serialize};

use crate::job::{Model, name_of};
use crate::sys;
use crate::tasks::TaskKind;

const SCHEMA: &str = "schedscope.workload/1";

/// What one worker did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerReport {
    pub(crate) work: u64,
    /// Its first instruction, `CLOCK_MONOTONIC` nanoseconds.
    pub(crate) first_ns: u64,
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
}

/// A task's counters in the kernel, read by the task itself at the end of its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KernelCounts {
    pub(crate) tid: i32,
    /// Switches because it blocked.
    pub(crate) voluntary: u64,
    /// Switches although it could have gone on, `sched_yield` included.
    pub(crate) involuntary: u64,
    /// Moves to another CPU; `None` where the kernel has no `/proc/PID/sched`.
    pub(crate) migrations: Option<u64>,
}

impl KernelCounts {
    /// The calling thread's counters so far.
    pub(crate) fn of_this_thread() -> Self {
        let migrations = std::fs::read_to_string("/proc/thread-self/sched").ok().and_then(|text| migrations_in(&text));
        let (voluntary, involuntary) = sys::thread_switches();
        Self { tid: sys::thread_id(), voluntary, involuntary, migrations }
    }
}

/// The migration count in the text of `/proc/PID/sched`.
fn migrations_in(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("se.nr_migrations"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

/// The line that a run prints.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: &'static str,
    /// The cell's name in the list.
    pub(crate) cell: String,
    /// Serial, threads or processes.
    pub(crate) model: String,
    pub(crate) task: String,
    /// What one unit of `work` is.
    pub(crate) unit: &'static str,
    pub(crate) workers: usize,
    pub(crate) work: u64,
    pub(crate) work_by_worker: Vec<u64>,
    /// From before the first start to after the last end, without the time that reading memory sizes takes.
    pub(crate) wall_seconds: f64,
    /// Median time from starting a worker to its first instruction.
    pub(crate) start_seconds: Option<f64>,
    /// From the first worker's begin to the last one's end.
    pub(crate) work_seconds: f64,
    /// The part of it in which all workers were at work, `CLOCK_MONOTONIC`.
    pub(crate) window_monotonic_ns: Option<[u64; 2]>,
    /// Memory of all processes of the run, shared pages counted once.
    pub(crate) pss_bytes: Option<u64>,
    /// There is none; the Python cells say which.
    pub(crate) interpreter: Option<()>,
    /// What the kernel must have counted, for workloads with known truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<serde_json::Value>,
    /// The kernel's own counters of the tasks that matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) kernel: Vec<KernelCounts>,
}

impl Report {
    /// The report of a workload with known truth that ends now. Its times matter little and the counts are all.
    pub(crate) fn of_truth(cell: &str, model: &str, unit: &'static str, workers: usize, work: u64, started_ns: u64) -> Self {
        let wall_seconds = seconds(sys::monotonic_ns() - started_ns);
        let [model, cell, task] = [model, cell, cell].map(str::to_owned);
        let work_seconds = wall_seconds;
        Self { schema: SCHEMA, cell, model, task, unit, workers, work, wall_seconds, work_seconds, ..Self::default() }
    }

    /// The report of a model: what its workers said, and when each was started.
    pub(crate) fn of_model(model: Model, task: TaskKind, run: &ModelRun) -> Self {
        let begin = run.workers.iter().map(|worker| worker.begin_ns);
        let end = run.workers.iter().map(|worker| worker.end_ns);
        let (first_begin, last_begin) = (begin.clone().min().unwrap_or(0), begin.max().unwrap_or(0));
        let (first_end, last_end) = (end.clone().min().unwrap_or(0), end.max().unwrap_or(0));
        let starts = run.starts_ns.iter().zip(&run.workers).map(|(start, worker)| seconds(worker.first_ns.saturating_sub(*start)));
        Self {
            schema: SCHEMA,
            cell: model.cell_id(task),
            model: name_of(&model),
            task: name_of(&task),
            unit: task.unit(),
            workers: run.workers.len(),
            work: run.workers.iter().map(|worker| worker.work).sum(),
            work_by_worker: run.workers.iter().map(|worker| worker.work).collect(),
            wall_seconds: seconds(run.wall_ns),
            start_seconds: median(starts),
            work_seconds: seconds(last_end.saturating_sub(first_begin)),
            window_monotonic_ns: (last_begin < first_end).then_some([last_begin, first_end]),
            pss_bytes: run.pss_bytes,
            ..Self::default()
        }
    }
}

/// What a model hands back.
#[derive(Debug)]
pub(crate) struct ModelRun {
    pub(crate) wall_ns: u64,
    /// Memory while all workers were there.
    pub(crate) pss_bytes: Option<u64>,
    pub(crate) starts_ns: Vec<u64>,
    /// What each worker did, in the same order.
    pub(crate) workers: Vec<WorkerReport>,
}

/// Wall time without the time that measuring memory takes.
pub(crate) struct Stopwatch {
    started_ns: u64,
    paused_ns: u64,
}

impl Stopwatch {
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

    pub(crate) fn elapsed_ns(&self) -> u64 {
        sys::monotonic_ns() - self.started_ns - self.paused_ns
    }
}

pub(crate) fn print(report: &Report) -> Result<()> {
    println!("{}", serde_json::to_string(report).context("cannot write the report as JSON")?);
    Ok(())
}

pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The middle value, or the mean of the two; `None` of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(f64::midpoint(values[middle], values[values.len() / 2]))
}

/// PSS of this process and all its descendants; `None` if one of them could not be read.
pub(crate) fn tree_pss_bytes() -> Option<u64> {
    let parents: Vec<(i32, i32)> =
        all_processes().ok()?.flatten().filter_map(|process| Some((process.pid, process.stat().ok()?.ppid))).collect();
    let mut tree = vec![i32::try_from(std::process::id()).ok()?];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree.into_iter().map(pss_bytes).sum()
}

fn pss_bytes(pid: i32) -> Option<u64> {
    let rollup = Process::new(pid).ok()?.smaps_rollup().ok()?;
    rollup.memory_map_rollup.0.first()?.extension.map.get("Pss").copied()
}

#[cfg(test)]
mod tests;
