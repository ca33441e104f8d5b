//! The JSON contract of `schedscope run --json`, `schedscope.run/1`. Additions are fine, renames are not.
//!
//! `docs/schema/run-1.json` says the same as a JSON Schema: `cargo xtask generate` writes it, and the comments below are its descriptions.
//! So they speak of JSON, name no Rust, and say each unit that is not in the name.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::units::rounded;

pub use crate::capture::run::Exit;
pub use crate::verify::{Check, Residual, UnseenByOthers};

/// Value of the `schema` field.
pub const SCHEMA: &str = "schedscope.run/1";
/// Where the JSON Schema is, from the root of the repository.
pub const SCHEMA_FILE: &str = "docs/schema/run-1.json";
/// Most threads that are listed, the busiest first.
pub const MAX_THREADS: usize = 4096;

/// What every report that is written keeps to.
pub fn json_schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(RecursiveTransform(leave_out_types));
    settings.into_generator().into_root_schema_for::<RunReport>()
}

/// Takes out what is of our types and not of JSON: widths of numbers, what stands for a field that an older report lacks, and where the
/// lines of comments end.
fn leave_out_types(schema: &mut Schema) {
    schema.remove("format");
    schema.remove("default");
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

/// One traced run, as `schedscope run --json` and `schedscope attach --json` write it. Fields may be added, but keep their names and
/// meanings. Times have at most nine digits after the point, shares and means six.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "schedscope.run/1")]
pub struct RunReport {
    /// Always `schedscope.run/1`.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// Name given with `--name`, else the command's.
    pub name: String,
    /// The command and its arguments; empty for `attach`.
    pub command: Vec<String>,
    /// From the command's release to its exit.
    pub wall_seconds: f64,
    /// How the command ended.
    pub exit: Exit,
    /// What the kernel counted of the command's processes, those included that it waited for; absent after `attach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// CPUs of the host.
    pub cpus: Cpus,
    /// How many tasks there were.
    pub tasks: Tasks,
    /// C, D and effective CPUs.
    pub parallelism: Parallelism,
    /// Where the time of all threads went.
    pub time_seconds: TimeSeconds,
    /// Time blocked, summed over threads, by reason; every reason is present.
    pub blocked_seconds_by_reason: BTreeMap<String, f64>,
    /// Context switches.
    pub switches: Switches,
    /// CPU migrations.
    pub migrations: Migrations,
    /// From the first waking to the switch-in.
    pub wakeup_latency_seconds: Quantiles,
    /// From a switch-out while runnable to the switch-in.
    pub preemption_wait_seconds: Quantiles,
    /// From a switch-in to the switch-out.
    pub timeslice_seconds: Quantiles,
    /// On-CPU time by CPU number, as a string.
    pub on_cpu_seconds_by_cpu: BTreeMap<String, f64>,
    /// The busiest threads first; the rest is left out.
    #[schemars(length(max = MAX_THREADS))]
    pub threads: Vec<ThreadReport>,
    /// Threads that `threads` leaves out.
    pub threads_omitted: u64,
    /// What kind of concurrency this is.
    pub model: Model,
    /// Where the cores went.
    #[serde(default)]
    pub cores: CoresReport,
    /// Python's global interpreter locks.
    #[serde(default)]
    pub gil: GilReport,
    /// Missed observations.
    pub loss: LossReport,
    /// These figures against the kernel's own.
    pub check: Check,
    /// Which thread was on which core when; absent if nothing was sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_map: Option<CoreMap>,
    /// C and D over time; absent if nothing was sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_time: Option<OverTime>,
    /// What other tasks did on the CPUs meanwhile.
    pub host: Host,
}

/// Time summed over threads, in columns of equal length from the begin on; the last may be cut short by the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct OverTime {
    /// When the first column begins, in nanoseconds of `CLOCK_MONOTONIC`.
    pub begin_monotonic_ns: u64,
    /// Length of a column.
    pub bin_seconds: f64,
    /// On a CPU, by column.
    pub on_cpu_seconds: Vec<f64>,
    /// Waiting for a CPU, by column.
    pub runnable_seconds: Vec<f64>,
}

impl OverTime {
    /// C and D between two times, `CLOCK_MONOTONIC`; columns at the ends count by the part that lies inside. `None` if nothing does.
    pub fn means(&self, from_ns: u64, to_ns: u64) -> Option<(f64, f64)> {
        let seconds = |ns: u64| (ns as f64 - self.begin_monotonic_ns as f64) / 1e9;
        let (from, to) = (seconds(from_ns).max(0.0), seconds(to_ns).min(self.bin_seconds * self.on_cpu_seconds.len() as f64));
        if to <= from || self.bin_seconds <= 0.0 {
            return None;
        }
        let inside = |columns: &[f64]| -> f64 {
            let part = |index: usize| {
                let begin = index as f64 * self.bin_seconds;
                ((begin + self.bin_seconds).min(to) - begin.max(from)).max(0.0) / self.bin_seconds
            };
            columns.iter().enumerate().map(|(index, amount)| amount * part(index)).sum()
        };
        let (on_cpu, runnable) = (inside(&self.on_cpu_seconds), inside(&self.runnable_seconds));
        Some((on_cpu / (to - from), (on_cpu + runnable) / (to - from)))
    }
}

/// CPUs of the host and those the command may use.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Cpus {
    /// CPUs online.
    pub online: u32,
    /// CPUs in the affinity mask at the start, which the cgroup's cpuset limits too.
    pub allowed: u32,
    /// Cores of the hardware that these are threads of; fewer where a core runs several.
    #[serde(default)]
    pub physical_cores: u32,
    /// CPUs in the masks of those threads that wanted one, on average; absent if no thread was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_masks: Option<f64>,
    /// The smallest quota among its cgroups and those above them, in CPUs; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<f64>,
    /// Every cgroup with a quota.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<QuotaReport>,
    /// Time that threads with a nice value above 0 or under `SCHED_IDLE` waited in a run queue.
    #[serde(default)]
    pub low_priority_runnable_seconds: f64,
    /// The smallest weight among its cgroups and those above them; absent if none is below the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<WeightReport>,
}

impl Cpus {
    /// CPUs in the masks of its threads, or in its own at the start; never 0.
    pub(super) fn usable(&self) -> u32 {
        self.in_masks.map_or(self.allowed, |cpus| u32::try_from(rounded(cpus)).unwrap_or(u32::MAX).max(1))
    }

    /// Some of so many of its CPUs are threads of one core, and may be no faster together than one of them.
    pub(super) fn share_cores(&self, cpus: u32) -> bool {
        (1..cpus).contains(&self.physical_cores)
    }
}

/// What a cgroup gets of a CPU that its neighbours want too.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct WeightReport {
    /// The file that sets it.
    pub file: String,
    /// 1 is the usual weight.
    pub relative: f64,
}

/// A limit on the CPU time of a cgroup, over the run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct QuotaReport {
    /// The file that holds it.
    pub file: String,
    /// In CPUs.
    pub cpus: f64,
    /// Length of a period.
    pub period_seconds: f64,
    /// Periods in which the group wanted a CPU.
    pub periods: u64,
    /// Of these, those in which its time was used up.
    pub throttled_periods: u64,
    /// How long it had nothing left, added up over CPUs.
    pub throttled_seconds: f64,
}

/// Task counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Tasks {
    /// Processes over the whole run.
    pub processes: u64,
    /// Threads over the whole run, leaders included.
    pub threads: u64,
    /// Most threads seen alive at once.
    pub peak_threads: u64,
    /// Threads alive when the report was made.
    pub still_alive: u64,
}

/// How many threads and CPUs were busy, on average over the run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Parallelism {
    /// C: mean number of threads on a CPU.
    pub running_mean: f64,
    /// D: mean number of threads running or runnable.
    pub demand_mean: f64,
    /// Number of CPUs that the on-CPU time is spread over: the square of its sum by the sum of its squares.
    pub effective_cpus: f64,
}

/// Seconds, summed over threads; their sum is the lives of all of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TimeSeconds {
    /// Seconds on a CPU.
    pub on_cpu: f64,
    /// Seconds in a run queue, waiting for a CPU: the kernel's run delay, and what it left out of runs for a hypervisor or an interrupt.
    pub runnable: f64,
    /// Seconds of `runnable` after a wake-up.
    pub runnable_after_wakeup: f64,
    /// Seconds of `runnable` after losing the CPU.
    pub runnable_after_preemption: f64,
    /// Seconds from a waking to the run queue; after a wait for a GIL this is part of that wait.
    #[serde(default)]
    pub transit: f64,
    /// Seconds blocked.
    pub blocked: f64,
}

/// Every CPU-second that the program was given, used or lost to one cause.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CoresReport {
    /// All that there was: the CPUs given times the length of the run.
    pub given_seconds: f64,
    /// On a CPU, and not spinning.
    pub used_seconds: f64,
    /// The rest, by cause: `quota`, `mask`, `others`, `transit`, `wait_` with a reason to be blocked, `too_few_threads`, and `spinning` for
    /// what was on a CPU only to wait: for a lock inside the kernel, or for another thread in a loop of its own.
    pub lost_seconds: BTreeMap<String, f64>,
}

/// Context switches by kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Switches {
    /// The kernel's `nvcsw`.
    pub voluntary: u64,
    /// In `nivcsw`, other than yields.
    pub preempted: u64,
    /// In `nivcsw`, from `sched_yield`.
    pub yielded: u64,
}

/// Migrations.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Migrations {
    /// All: the sum of the kernel's `se.nr_migrations`.
    pub total: u64,
    /// Placed elsewhere at a wake-up.
    pub at_wakeup: u64,
    /// Moved while queued.
    pub while_queued: u64,
    /// By nearest shared level: `smt`, `llc`, `node`, `remote`.
    pub by_distance: BTreeMap<String, u64>,
}

/// A distribution of times in seconds. Quantiles are off by at most 6.25 %; `max` is exact. All 0 if `count` is 0.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// Observations.
    pub count: u64,
    /// Median, in seconds.
    pub p50: f64,
    /// 90th percentile, in seconds.
    pub p90: f64,
    /// 99th percentile, in seconds.
    pub p99: f64,
    /// The longest, in seconds.
    pub max: f64,
}

/// One thread.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ThreadReport {
    /// Thread id.
    pub tid: u32,
    /// Process id.
    pub tgid: u32,
    /// Parent process id at the fork.
    pub ppid: u32,
    /// Name.
    pub comm: String,
    /// Time on a CPU.
    pub on_cpu_seconds: f64,
    /// Time in a run queue.
    pub runnable_seconds: f64,
    /// The part of `runnable_seconds` after losing the CPU.
    #[serde(default)]
    pub runnable_after_preemption_seconds: f64,
    /// Time from a waking to the run queue, where it is not part of a wait for a GIL.
    #[serde(default)]
    pub transit_seconds: f64,
    /// All time from a waking, or the fork, until the thread runs.
    #[serde(default)]
    pub wakeup_latency_seconds: f64,
    /// Time blocked.
    pub blocked_seconds: f64,
    /// Time blocked by reason; reasons without time are left out.
    pub blocked_seconds_by_reason: BTreeMap<String, f64>,
    /// Its life under observation: on a CPU, in a run queue, in transit and blocked.
    pub lifetime_seconds: f64,
    /// The kernel's `nvcsw`.
    pub voluntary: u64,
    /// In `nivcsw`, other than yields.
    pub preempted: u64,
    /// In `nivcsw`, from `sched_yield`.
    pub yielded: u64,
    /// CPUs in its mask when it was last looked at, as `0-3,8`; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus_allowed: Option<String>,
    /// Its scheduling policy when it was last looked at: `other`, `batch`, `idle`, `fifo`, `rr`, `deadline`, `ext`; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Its nice value when it was last looked at; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,
    /// Its real-time priority when it was last looked at, under `fifo` and `rr`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realtime_priority: Option<u8>,
    /// The kernel's `se.nr_migrations`.
    pub migrations: u64,
    /// On-CPU time by CPU number, as a string.
    pub on_cpu_seconds_by_cpu: BTreeMap<String, f64>,
    /// Waits in epoll.
    #[serde(default)]
    pub epoll_waits: u64,
    /// Waits with a time limit, for locks and other threads: futexes other than its interpreter's lock. 0 before Linux 5.15.
    #[serde(default)]
    pub timed_waits: u64,
    /// What it had to do with its interpreter's lock; absent where no such lock is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gil: Option<ThreadGil>,
    /// It was alive before tracing began.
    pub seeded: bool,
    /// It had ended when the report was made.
    pub ended: bool,
}

/// The kernel's `struct rusage`. Its CPU time ends a moment before the last switch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// CPU time in user mode; how the kernel divides CPU time is sampled by its ticks on most kernels.
    pub user_seconds: f64,
    /// CPU time in the kernel.
    pub system_seconds: f64,
    /// Page faults, with and without reading from a file.
    pub page_faults: u64,
    /// The most memory that one of the processes had at once, in pages.
    pub peak_pages: u64,
}

/// The concurrency model, as far as the evidence goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// Such as `serial`, `threads (parallel)`, `processes`, `mixed`, `idle`.
    pub name: String,
    /// How sure that is, 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub confidence: f64,
    /// One sentence each.
    pub evidence: Vec<String>,
    /// What keeps the program from being done sooner: `nothing_seen`, `hung`, `spinning`, `messages`, `cores`, `quota`, `mask`,
    /// `others`, `priority`, `cpu_wait`, `polling`, `at_rest`, `gil`, `locks`, `kernel_locks`, `page_faults`, `blocked_loop`, `bottleneck`, `too_few_threads` or `blocked`.
    #[serde(default)]
    pub limit: String,
    /// The limit with its figures, one sentence: the report's first line.
    #[serde(default)]
    pub sentence: String,
    /// What follows from the limit, one sentence; empty if nothing does.
    #[serde(default)]
    pub advice: String,
    /// What the run would have taken without its limit, the middle of its range; absent if that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_limit_wall_seconds: Option<f64>,
    /// What the run would have taken without one thing in its way, for each that would have saved something, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub what_if: Vec<WhatIf>,
    /// What processes would take, where the limit is the global interpreter lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// A prediction by the threads' own time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WhatIf {
    /// What would be gone: `quota`, `mask`, `others`, `gil`, `locks`, `kernel_locks`, `page_faults` or `too_few_threads`.
    pub cause: String,
    /// The least and the most wall time.
    pub wall_seconds: [f64; 2],
    /// It is what the limit stands for.
    #[serde(default)]
    pub is_limit: bool,
}

/// Wall times that the ledger of the threads predicts for the same work done otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GilReport {
    /// Of the time in which the threads that do the work ran or waited for such a lock, the part that they waited, 0 to 1.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub share: f64,
    /// Time that threads waited for such a lock, summed. The same as `blocked_seconds_by_reason.gil`.
    pub wait_seconds: f64,
    /// Times a thread gave the lock up because another had asked for it, and waited until that thread had it. Where the other is
    /// faster than this wait, none is counted: a lower bound.
    pub handoffs: u64,
    /// `handoffs` per second of wall time.
    pub handoffs_per_second: f64,
    /// After how long waiting threads ask for the lock, as their own waits said; null if none waited.
    pub switch_interval_seconds: Option<f64>,
    /// The interpreters found.
    pub interpreters: Vec<InterpreterReport>,
    /// Python processes whose locks were not found, by reason. Their waits for it are among `futex`.
    pub unresolved: BTreeMap<String, u64>,
}

/// A CPython, and how many processes ran it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct InterpreterReport {
    /// Such as `3.11.2`; null if its file does not tell.
    pub version: Option<String>,
    /// The executable or library that holds it.
    pub object: String,
    /// Who shares a lock: `per_process`, `per_interpreter`, `free_threaded`, `free_threaded_but_enabled`, `unknown`.
    pub gil: String,
    /// Locks seen in one process; 0 if they could not be counted.
    pub gils: u64,
    /// `sys.getswitchinterval()`, as last read; null if it could not be.
    pub switch_interval_seconds: Option<f64>,
    /// Processes that ran it.
    pub processes: u64,
}

/// A thread and its interpreter's lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadGil {
    /// Times it blocked at the lock.
    pub waits: u64,
    /// Times it gave the lock up because another thread had asked for it, and waited until that thread had it.
    pub handoffs: u64,
    /// Mean on-CPU time between getting the lock and giving it up, by force or by blocking; null if it never waited for it. An
    /// upper bound where code releases the lock without blocking.
    pub hold_seconds: Option<f64>,
}

/// Missed observations.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LossReport {
    /// Those that leave a gap in the figures.
    pub total: u64,
    /// Every reason is present.
    pub by_reason: BTreeMap<String, u64>,
}

/// Which thread had which core when.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CoreMap {
    /// Length of a column.
    pub bin_seconds: f64,
    /// One row per CPU that is online, in order.
    pub rows: Vec<CoreMapRow>,
    /// Threads that appear, the busiest first; rows refer to them by index.
    pub threads: Vec<CoreMapThread>,
}

/// One core over time.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CoreMapRow {
    /// CPU number.
    pub cpu: u32,
    /// For each column `[index into threads, seconds on this CPU]` of every thread that ran in it, the longest first.
    pub bins: Vec<Vec<(usize, f64)>>,
    /// For each column the seconds in which the CPU was busy with tasks outside the workload.
    pub foreign: Vec<f64>,
}

/// A thread in the map.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CoreMapThread {
    /// Thread id.
    pub tid: u32,
    /// Process id.
    pub tgid: u32,
    /// Name.
    pub comm: String,
}

/// The host while the run lasted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// CPU time of tasks outside the workload.
    pub foreign_on_cpu_seconds: f64,
    /// Idle CPU time.
    pub idle_seconds: f64,
    /// All context switches.
    pub switches: u64,
    /// Of these, from the idle task.
    pub switches_from_idle: u64,
    /// Kernel release.
    pub kernel: String,
}

#[cfg(test)]
mod tests {
    use super::OverTime;

    #[test]
    fn a_window_counts_the_parts_of_columns_inside_it() {
        let over_time = OverTime {
            begin_monotonic_ns: 1_000_000_000,
            bin_seconds: 1.0,
            on_cpu_seconds: vec![0.0, 2.0, 2.0, 0.0],
            runnable_seconds: vec![0.0, 2.0, 2.0, 0.0],
        };
        assert_eq!(over_time.means(2_000_000_000, 4_000_000_000), Some((2.0, 4.0)));
        let (running, demand) = over_time.means(1_000_000_000, 5_000_000_000).unwrap();
        assert!((running - 1.0).abs() < 1e-9 && (demand - 2.0).abs() < 1e-9);
        assert_eq!(over_time.means(2_500_000_000, 3_000_000_000), Some((2.0, 4.0)));
        assert_eq!(over_time.means(9_000_000_000, 10_000_000_000), None);
    }
}
