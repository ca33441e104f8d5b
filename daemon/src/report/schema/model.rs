//! The model, and what the run had to do with Python's locks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The concurrency model, as far as the evidence goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Model {
    /// Such as `serial`, `threads (parallel)`, `processes`, `mixed`, `idle`.
    pub name: String,
    /// 0 to 1.
    pub confidence: f64,
    /// One sentence each.
    pub evidence: Vec<String>,
    /// What keeps the program from using more of the cores: `nothing_seen`, `cores`, `cpu_wait`, `at_rest`, `gil`, `locks`,
    /// `too_few_threads` or `blocked`.
    #[serde(default)]
    pub limit: String,
    /// The limit with its figures, one sentence: the report's first line.
    #[serde(default)]
    pub sentence: String,
    /// What follows from the limit, one sentence; empty if nothing does.
    #[serde(default)]
    pub advice: String,
    /// What another model would take; absent if the threads' ledger does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// Wall times that the ledger of the threads predicts for the same work done otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// With every worker thread as a process of its own.
    pub processes_wall_seconds: f64,
    /// With the same threads and no global interpreter lock.
    pub without_gil_wall_seconds: f64,
    /// What the start of one process was taken to cost.
    pub start_seconds_per_process: f64,
    /// Workers it was made for.
    pub workers: u64,
}

impl Estimate {
    /// The first figure, had the start of a process cost so much.
    pub fn processes_wall_seconds_at(&self, start_seconds_per_process: f64) -> f64 {
        self.without_gil_wall_seconds + start_seconds_per_process * self.workers as f64
    }
}

/// What the run had to do with global interpreter locks of CPython.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GilReport {
    /// Of the time in which the threads that do the work ran or waited for such a lock, the part that they waited.
    #[serde(default)]
    pub share: f64,
    /// Time that threads waited for such a lock, summed. The same as `blocked_seconds_by_reason.gil`.
    pub wait_seconds: f64,
    /// Times a thread gave the lock up because another had asked for it, and waited until that thread had it. Where the other is
    /// faster than this wait, none is counted: a lower bound.
    pub handoffs: u64,
    /// The same per second of wall time.
    pub handoffs_per_second: f64,
    /// After how long waiting threads ask for the lock, as their own waits said; absent if none waited.
    pub switch_interval_seconds: Option<f64>,
    /// The interpreters found.
    pub interpreters: Vec<InterpreterReport>,
    /// Python processes whose locks were not found, by reason. Their waits for it are among `futex`.
    pub unresolved: BTreeMap<String, u64>,
}

/// A CPython and how many processes ran it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InterpreterReport {
    /// Such as 3.11.2; absent if its file does not tell.
    pub version: Option<String>,
    /// The executable or library that holds it.
    pub object: String,
    /// Who shares a lock: `per_process`, `per_interpreter`, `free_threaded`, `free_threaded_but_enabled`, `unknown`.
    pub gil: String,
    /// Locks seen in one process; 0 if they could not be counted.
    pub gils: u64,
    /// `sys.getswitchinterval()`, as last read.
    pub switch_interval_seconds: Option<f64>,
    /// Processes.
    pub processes: u64,
}

/// A thread and its interpreter's lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadGil {
    /// Times it blocked at the lock.
    pub waits: u64,
    /// Times it gave the lock up because another thread had asked for it, and waited until that thread had it.
    pub handoffs: u64,
    /// Mean on-CPU time between getting the lock and giving it up, by force or by blocking; absent if it never waited for it. An
    /// upper bound where code releases the lock without blocking.
    pub hold_seconds: Option<f64>,
}
