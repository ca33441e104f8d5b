//! One run of a cell: what the workload says of itself, and what the tracer saw.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::report::RunReport;

/// What a workload says of itself, `schedscope.workload/1`, as far as the lab needs it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Workload {
    /// Why it did not run; nothing else is there then.
    pub(crate) skipped: Option<String>,
    pub(crate) work: u64,
    /// Starting and working.
    pub(crate) wall_seconds: f64,
    /// Working alone.
    pub(crate) work_seconds: f64,
    /// From the call that starts a worker to its first instruction, median.
    pub(crate) start_seconds: Option<f64>,
    /// When all workers were at work, `CLOCK_MONOTONIC`.
    pub(crate) window_monotonic_ns: Option<[u64; 2]>,
    pub(crate) pss_bytes: Option<u64>,
    /// How long something had to wait, in cells about that.
    pub(crate) latency_seconds: Option<Latency>,
    /// What only this cell has to say, by name.
    pub(crate) details: Map<String, Value>,
}

/// A distribution as a workload reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// The workload's own line, whole.
    pub(crate) said: Value,
    pub(crate) workload: Workload,
    pub(crate) report: RunReport,
    /// Part of all CPU time that the hypervisor gave to others.
    pub(crate) steal_share: f64,
}
