//! Why a program uses the cores as it does: from a [`Window`] of typed figures to a [`Diagnosis`]. Pure, and the only place that decides;
//! the report, the metrics and the lab render what comes out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`window`] | what goes in, from a run or from a few seconds of the daemon's |
//! | `workers` | which threads do the work |
//! | [`model`] | the concurrency model and the evidence for it |
//! | [`limit`] | what keeps it from using more of the cores, and the advice that goes with it |
//! | [`estimate`] | what the same work would take on processes |
//! | `thresholds` | every number that a verdict turns on |
//! | [`live`] | the model of each workload of the daemon's, window by window |

pub mod estimate;
pub mod limit;
pub mod live;
pub mod model;
mod thresholds;
pub mod window;
mod workers;

pub use estimate::Estimate;
pub use limit::{Advice, Group, Holder, Limit};
pub use model::{Evidence, ModelName};
pub use window::{Ledger, Window};

use window::share;
use workers::Workers;

/// What a window says about a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// Its concurrency model.
    pub model: ModelName,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
    /// What speaks for it, beside the figures.
    pub evidence: Vec<Evidence>,
    /// What keeps it from using more of the cores.
    pub limit: Limit,
    /// What follows from the limit, if anything does.
    pub advice: Option<Advice>,
    /// What another model would take, if the ledgers tell.
    pub estimate: Option<Estimate>,
    /// The figures that all of it rests on.
    pub figures: Figures,
}

/// The figures that are told with a diagnosis.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Threads over the window.
    pub threads: u64,
    /// Processes over the window.
    pub processes: u64,
    /// Threads that do the work.
    pub workers: u64,
    /// Processes that these belong to.
    pub working_processes: u64,
    /// Cores that it may use or has used; never 0.
    pub cores: u64,
    /// Cores online; never fewer.
    pub online: u64,
    /// C: mean number of threads on a CPU.
    pub running: f64,
    /// D: mean number of threads on a CPU or waiting for one.
    pub demand: f64,
    /// Of the time in which the threads could run, the part that they waited for a CPU.
    pub wait_share: f64,
    /// The one figure about the GIL: of the time in which the workers ran or waited for it, the part that they waited.
    pub gil_share: f64,
}

/// Judges a window.
pub fn diagnose(window: &Window) -> Diagnosis {
    let workers = Workers::of(window);
    let cores = window.cores();
    let (on_cpu_ns, runnable_ns) = (window.times.on_cpu_ns, window.times.runnable_ns());
    let figures = Figures {
        threads: window.threads,
        processes: window.processes,
        workers: workers.iter().count() as u64,
        working_processes: workers.processes.len() as u64,
        cores,
        online: window.online_cores.max(cores),
        running: window.mean(on_cpu_ns),
        demand: window.mean(on_cpu_ns + runnable_ns),
        wait_share: share(runnable_ns, on_cpu_ns + runnable_ns),
        gil_share: workers.gil_share(),
    };
    let (model, confidence, evidence) = model::of(window, &workers, &figures);
    let limit = Limit::of(window, &workers, model, &figures);
    let advice = limit.advice(model, &figures);
    let estimate = Estimate::of(window, &workers, model);
    Diagnosis { model, confidence, evidence, limit, advice, estimate, figures }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
