//! A cell of the lab: one task on one concurrency model on one runtime, and what came of it.

use std::{ffi::OsString, path::PathBuf};

use schedscope::report::RunReport;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::figures::Figures;

/// What kind of work a cell does; the sections of the table, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Native threads, one per CPU: what this machine can give.
    Calibration,
    /// Computing.
    Cpu,
    /// Waiting.
    Io,
    /// Examples that textbooks give.
    Textbook,
    /// Who has to wait for whom.
    Latency,
    /// What workers share, lose, cost and survive.
    Workers,
}

impl Kind {
    /// Heading of the section.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::Calibration => "Calibration",
            Kind::Cpu => "CPU-bound",
            Kind::Io => "I/O-bound",
            Kind::Textbook => "Textbook",
            Kind::Latency => "Latency",
            Kind::Workers => "Workers",
        }
    }
}

/// One cell, ready to be run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    /// Its name in its runtime's list.
    pub(crate) id: String,
    /// Name of the runtime, such as `3.11.7`, or `native`.
    pub(crate) runtime: String,
    /// Section of the table.
    pub(crate) kind: Kind,
    /// What is done; native cells bear the name of the Python task that they are the control for.
    pub(crate) task: String,
    /// On what it is done.
    pub(crate) model: String,
    /// Number of workers.
    pub(crate) workers: usize,
    /// Name of the cell with the same work on one worker, in the same runtime.
    pub(crate) serial_twin: Option<String>,
    /// What one unit of work is.
    pub(crate) unit: Option<String>,
    /// Program to run.
    #[serde(skip)]
    pub(crate) program: PathBuf,
    /// Its arguments.
    #[serde(skip)]
    pub(crate) arguments: Vec<OsString>,
    /// Why the runtime cannot run it.
    #[serde(skip)]
    pub(crate) skipped: Option<String>,
}

impl Cell {
    /// Name that tells it from the same cell on another runtime.
    pub(crate) fn label(&self) -> String {
        if self.is_native() { self.id.clone() } else { format!("{} {}", self.runtime, self.id) }
    }

    /// True for the controls, which no interpreter takes part in.
    pub(crate) fn is_native(&self) -> bool {
        self.runtime == super::runtime::NATIVE
    }

    /// True if it is its own twin: there is nothing to compare it with.
    pub(crate) fn is_serial(&self) -> bool {
        self.serial_twin.as_ref() == Some(&self.id)
    }
}

/// What a workload says of itself, `schedscope.workload/1`, as far as the lab needs it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Workload {
    /// Why it did not run; nothing else is there then.
    #[serde(default)]
    pub(crate) skipped: Option<String>,
    /// Units of work done.
    #[serde(default)]
    pub(crate) work: u64,
    /// Workers that did it.
    #[serde(default)]
    pub(crate) workers: usize,
    /// Starting and working.
    #[serde(default)]
    pub(crate) wall_seconds: f64,
    /// Working alone.
    #[serde(default)]
    pub(crate) work_seconds: f64,
    /// From the call that starts a worker to its first instruction, median.
    #[serde(default)]
    pub(crate) start_seconds: Option<f64>,
    /// When all workers were at work, `CLOCK_MONOTONIC`.
    #[serde(default)]
    pub(crate) window_monotonic_ns: Option<[u64; 2]>,
    /// Memory of all its processes.
    #[serde(default)]
    pub(crate) pss_bytes: Option<u64>,
    /// How long somebody had to wait, in cells that are about it.
    #[serde(default)]
    pub(crate) latency_seconds: Option<Latency>,
    /// What only this cell has to say, by name.
    #[serde(default)]
    pub(crate) details: Map<String, Value>,
}

/// A distribution as a workload reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Latency {
    /// Median.
    pub(crate) p50: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
}

/// One run of a cell: what it says of itself, and what the kernel saw.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The workload's own line, whole.
    pub(crate) said: Value,
    /// The part of it that the lab needs.
    pub(crate) workload: Workload,
    /// The tracer's report.
    pub(crate) report: RunReport,
    /// Part of all CPU time that the hypervisor gave to others meanwhile.
    pub(crate) steal_share: f64,
}

/// What came of a cell.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It ran.
    Measured {
        /// Medians over the runs.
        figures: Box<Figures>,
        /// Figures of each run, in order; at least one.
        runs: Vec<Figures>,
        /// All runs, in the same order.
        samples: Vec<Sample>,
    },
    /// This runtime or machine can't run it.
    Skipped {
        /// In the runtime's words.
        why: String,
    },
    /// It should have run.
    Failed {
        /// The error's text.
        why: String,
    },
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What was run.
    pub(crate) cell: Cell,
    /// What came of it.
    pub(crate) outcome: Outcome,
}

impl Row {
    /// A line of the table.
    pub(crate) fn new(cell: Cell, outcome: Outcome) -> Row {
        Row { cell, outcome }
    }

    /// Its figures, if it ran.
    pub(crate) fn figures(&self) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Measured { figures, .. } => Some(figures),
            _ => None,
        }
    }

    /// The figures of one run.
    pub(crate) fn run(&self, index: usize) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Measured { runs, .. } => runs.get(index),
            _ => None,
        }
    }

    /// One run, whole.
    pub(crate) fn sample(&self, index: usize) -> Option<&Sample> {
        match &self.outcome {
            Outcome::Measured { samples, .. } => samples.get(index),
            _ => None,
        }
    }

    /// The run that its picture shows: the first.
    pub(crate) fn report(&self) -> Option<&RunReport> {
        match &self.outcome {
            Outcome::Measured { samples, .. } => samples.first().map(|sample| &sample.report),
            _ => None,
        }
    }
}
