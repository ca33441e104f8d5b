//! What kind of concurrency a program shows, what follows from it, and what another model would take. Pure.
//!
//! - [`facts`]: the workers of each process and what they did, from a report or from a window of the daemon's.
//! - [`name`]: the model and the evidence for it.
//! - [`advice`]: one sentence that follows.
//! - [`estimate`]: the wall time of the same work done otherwise.
//! - [`live`]: the model of each workload of the daemon's, window by window.

pub mod advice;
pub mod estimate;
pub mod facts;
pub mod live;
pub mod name;

use std::collections::BTreeMap;

pub use facts::{Facts, Python, ThreadFacts};
pub use name::Name;

use crate::report::schema::{Model, RunReport};

/// The model of a run, given which of its processes are Pythons.
pub fn of_run(report: &RunReport, pythons: &BTreeMap<u32, Python>) -> Model {
    let facts = Facts::of_run(report, pythons);
    let named = name::of(&facts);
    Model {
        name: named.name.text().to_owned(),
        confidence: named.confidence,
        evidence: named.evidence,
        advice: advice::of(named.name, &facts),
        estimate: estimate::of(named.name, &facts, estimate::START_SECONDS),
    }
}

#[cfg(test)]
mod tests;
