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
//! | [`estimate`] | what the same work would take on processes |
//! | `thresholds` | every number that a verdict turns on |
//! | [`live`] | the model of each workload of the daemon's, window by window |

pub(crate) mod cores;
pub(crate) mod estimate;
pub(crate) mod figures;
pub(crate) mod limit;
pub(crate) mod live;
pub(crate) mod model;
mod thresholds;
pub(crate) mod window;
mod workers;

pub(crate) use cores::Cores;
pub(crate) use estimate::{Estimate, Relief};
pub(crate) use figures::Figures;
pub(crate) use limit::{Advice, Group, Holder, Limit};
pub(crate) use model::Evidence;
pub use model::ModelName;
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
    /// What another model would take, if the ledgers tell.
    pub(crate) estimate: Option<Estimate>,
    pub(crate) figures: Figures,
    /// Where the cores went.
    pub(crate) cores: Cores,
}

pub(crate) fn diagnose(window: &Window) -> Diagnosis {
    let workers = Workers::of(window);
    let figures = Figures::of(window, &workers);
    let (model, confidence, evidence) = model::of(window, &workers, &figures);
    let limit = Limit::of(window, &workers, model, &figures);
    let advice = limit.advice(model, &figures);
    let estimate = Estimate::of(window, &workers, model);
    let cores = Cores::of(window, &workers);
    Diagnosis { model, confidence, evidence, limit, advice, estimate, figures, cores }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
