//! Why a program uses the cores as it does: from a [`Window`] of typed figures to a [`Diagnosis`]. Pure, and the only place that decides;
//! the report, the metrics and the lab render what comes out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`window`] | what goes in, from a run or from a few seconds of the daemon's |
//! | `workers` | which threads do the work |
//! | [`figures`] | the figures that the verdicts rest on and that are told with them |
//! | [`model`] | the concurrency model and the evidence for it |
//! | [`limit`] | what keeps it from using more of the cores, and the advice that goes with it |
//! | [`cores`] | where the cores went: used, or lost to one cause |
//! | [`what_if`] | what the same work would take without one thing in its way |
//! | [`patterns`] | what threads do to each other that no sum tells |
//! | `runtimes` | threads that a runtime has for itself |
//! | `thresholds` | every number that a verdict turns on |
//! | [`live`] | each workload of the daemon's, window by window, and what it has lost so far |

pub(crate) mod cores;
pub(crate) mod figures;
pub(crate) mod limit;
pub(crate) mod live;
pub(crate) mod model;
pub(crate) mod patterns;
mod runtimes;
mod thresholds;
pub(crate) mod what_if;
pub(crate) mod window;
mod workers;

pub(crate) use cores::Cores;
pub(crate) use figures::Figures;
pub(crate) use limit::{Advice, Group, Limit};
pub use live::{Lost, LostCause};
pub(crate) use model::Evidence;
pub use model::ModelName;
pub(crate) use patterns::{BlockedLoop, Bottleneck, Hung, Messages, Polling, Spinning};
pub(crate) use thresholds::START_NS_PER_PROCESS;
use what_if::WhatIfs;
pub(crate) use what_if::{Obstacle, WhatIf};
pub(crate) use window::Window;
use workers::Workers;

/// What a window says about a program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Diagnosis {
    pub(crate) model: ModelName,
    /// How sure that is, 0 to 1.
    pub(crate) confidence: f64,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) limit: Limit,
    pub(crate) advice: Option<Advice>,
    /// What the end of each obstacle would bring, the best first.
    pub(crate) what_if: Vec<WhatIf>,
    pub(crate) figures: Figures,
    /// Where the cores went.
    pub(crate) cores: Cores,
}

pub(crate) fn diagnose(window: &Window) -> Diagnosis {
    let workers = Workers::of(window);
    let figures = Figures::of(window, &workers);
    let (model, confidence, evidence) = model::of(window, &workers, &figures);
    let what_ifs = WhatIfs::of(window, &workers, &figures);
    let limit = Limit::of(window, &workers, &figures, &what_ifs);
    let advice = limit.advice(model, &figures);
    let cores = Cores::of(window, &workers);
    Diagnosis { model, confidence, evidence, limit, advice, what_if: what_ifs.all, figures, cores }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
