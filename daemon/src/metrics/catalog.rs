//! One row per exported metric. The exposition, `docs/metrics.md` and the checks of the dashboards follow from these rows: a metric
//! without a row cannot be exported, and a panel that queries one fails a test.

use schedscope_ebpf::abi::{Cause, program};
use schedscope_ebpf::blocked::Reason;
use schedscope_ebpf::distance::Distance;
use schedscope_ebpf::loss::Loss;

use super::labels::{CpuSwitchKind, Quantity, Refusal, Stage, Verdict};
use crate::capture::python::{GilKind, Unresolved};
use crate::capture::reader::Restart;
use crate::capture::totals::{RunnableCause, SwitchKind};
use crate::diagnose::{LostCause, ModelName};
use crate::label::NameSource;
use crate::values::{names, values};

values! {
    /// How a metric behaves over time.
    pub enum Kind {
        /// Never goes down while the daemon runs.
        Counter = "counter",
        /// Goes up and down.
        Gauge = "gauge",
        /// Cumulative buckets, a sum and a count.
        Histogram = "histogram",
    }
}

/// What a value counts, always in the base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Things.
    Count,
    /// Always 1: the labels carry the information.
    Info,
    /// 0 or 1.
    Bool,
}

/// What bounds the number of values that a label can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// These values, all exported from the start.
    Values(&'static [&'static str]),
    /// `max_workloads` of the configuration, and `other`.
    Workloads,
    /// CPUs of the host.
    Cpus,
    /// One value per value of the labels before it.
    Attribute,
    /// The same, one of these.
    OneOf(&'static [&'static str]),
}

/// A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What bounds its values.
    pub bound: Bound,
}

/// One exported metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Full name.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Unit of the exported value.
    pub unit: Unit,
    /// One sentence: what it is.
    pub help: &'static str,
    /// Labels in the order of exposition.
    pub labels: &'static [Label],
    /// Where the value comes from.
    pub source: &'static str,
}

impl Metric {
    /// Most series that the metric can have, `le` included.
    pub fn series_at_most(&self, workloads: usize, cpus: usize) -> usize {
        let per_set = match self.kind {
            Kind::Histogram => le_bounds_ns().count() + 3,
            Kind::Counter | Kind::Gauge => 1,
        };
        self.labels.iter().fold(per_set, |series, label| {
            series
                * match label.bound {
                    Bound::Values(values) => values.len(),
                    Bound::Workloads => workloads,
                    Bound::Cpus => cpus,
                    Bound::Attribute | Bound::OneOf(_) => 1,
                }
        })
    }
}

/// Prefix of every name.
pub const PREFIX: &str = "schedscope_";

/// Upper bounds of the exported histogram buckets in nanoseconds: 2^10 to 2^34, which is 1.02 us to 17.2 s. Each is a bound of
/// the finer buckets of [`schedscope_ebpf::bucket`], so the counts are exact and the bounds inclusive.
pub fn le_bounds_ns() -> impl Iterator<Item = u64> {
    (10..=34).map(|shift| 1 << shift)
}

/// Values of `program`: the hooks, and the iterator that lists the host's tasks.
pub(crate) const PROGRAMS: [&str; program::HOOKS.len() + 1] = {
    let mut names = [program::SEED_TASKS; program::HOOKS.len() + 1];
    names.split_at_mut(program::HOOKS.len()).0.copy_from_slice(&program::HOOKS);
    names
};

const fn label(name: &'static str, bound: Bound) -> Label {
    Label { name, bound }
}

const WORKLOAD: Label = label("workload", Bound::Workloads);
const CPU: Label = label("cpu", Bound::Cpus);
const SWITCH_KIND: Label = label("kind", Bound::Values(names!(SwitchKind)));
const CPU_SWITCH_KIND: Label = label("kind", Bound::Values(names!(CpuSwitchKind)));
const RUNNABLE_CAUSE: Label = label("cause", Bound::Values(names!(RunnableCause)));
const MIGRATION_CAUSE: Label = label("cause", Bound::Values(names!(Cause)));
const LOST_CAUSE: Label = label("cause", Bound::Values(names!(LostCause)));
const DISTANCE: Label = label("distance", Bound::Values(names!(Distance)));
const BLOCKED_REASON: Label = label("reason", Bound::Values(names!(Reason)));
const LOSS_REASON: Label = label("reason", Bound::Values(names!(Loss)));
const GIL: Label = label("gil", Bound::Values(names!(GilKind)));
const PYTHON_REASON: Label = label("reason", Bound::Values(names!(Unresolved)));
const RESTART: Label = label("reason", Bound::Values(names!(Restart)));
const PROGRAM: Label = label("program", Bound::Values(&PROGRAMS));
const VERDICT: Label = label("verdict", Bound::Values(names!(Verdict)));
const QUANTITY: Label = label("quantity", Bound::Values(names!(Quantity)));
const REFUSAL: Label = label("reason", Bound::Values(names!(Refusal)));
const STAGE: Label = label("stage", Bound::Values(names!(Stage)));
// One value at a time per workload, so these do not multiply the series.
const NAME_SOURCE: Label = label("source", Bound::OneOf(names!(NameSource)));
const MODEL: Label = label("model", Bound::OneOf(names!(ModelName)));
const POD_UID: Label = label("pod_uid", Bound::Attribute);
const IMAGE: Label = label("image", Bound::Attribute);
const CORE: Label = label("core", Bound::Attribute);
const LLC: Label = label("llc", Bound::Attribute);
const NODE: Label = label("node", Bound::Attribute);
const VERSION: Label = label("version", Bound::Attribute);

/// Writes each row as a static of its own, documented by its help sentence, and lists all of them in [`ALL`].
macro_rules! metrics {
    ($($row:ident: $kind:ident, $unit:ident, $name:literal, [$($label:ident),*], $help:literal, from $source:literal;)+) => {
        $(
            #[doc = $help]
            pub static $row: Metric = Metric {
                name: concat!("schedscope_", $name),
                kind: Kind::$kind,
                unit: Unit::$unit,
                help: $help,
                labels: &[$($label),*],
                source: $source,
            };
        )+
        /// Every metric with the prefix [`PREFIX`], in the order of `docs/metrics.md`.
        pub static ALL: &[&Metric] = &[$(&$row),+];
    };
}

metrics! {
    WORKLOAD_ON_CPU: Counter, Seconds, "workload_on_cpu_seconds_total", [WORKLOAD, CPU],
        "CPU time of the workload's threads on each CPU; 0 where none has run.",
        from "Cell::on_cpu_ns, open intervals included";
    WORKLOAD_RUNNABLE: Counter, Seconds, "workload_runnable_seconds_total", [WORKLOAD, RUNNABLE_CAUSE],
        "Time that the workload's threads were in a run queue, waiting for a CPU, after a wake-up or after losing the CPU.",
        from "Cell::wakeup_wait_ns minus Cell::transit_ns, and Cell::preempt_wait_ns, open intervals included";
    WORKLOAD_TRANSIT: Counter, Seconds, "workload_transit_seconds_total", [WORKLOAD],
        "Time from waking the workload's threads until the kernel had them in a run queue, except after a wait for a GIL.",
        from "Cell::transit_ns minus Cell::gil_transit_ns";
    WORKLOAD_BLOCKED: Counter, Seconds, "workload_blocked_seconds_total", [WORKLOAD, BLOCKED_REASON],
        "Time that the workload's threads were blocked, by what they waited for; a wait for a GIL ends in a run queue.",
        from "Cell::blocked_ns and Cell::gil_transit_ns, open intervals included";
    WORKLOAD_LOST: Counter, Seconds, "workload_lost_cpu_seconds_total", [WORKLOAD, LOST_CAUSE],
        "CPU-seconds of the host that the workload did not use, by why; in windows of two seconds in which it had threads.",
        from "diagnose::live";
    WORKLOAD_THROTTLED: Counter, Seconds, "workload_throttled_seconds_total", [WORKLOAD],
        "Time for which a CPU quota of the workload's cgroups was used up, added up over CPUs.",
        from "cpu.stat, throttled_usec";
    WORKLOAD_THROTTLED_PERIODS: Counter, Count, "workload_throttled_periods_total", [WORKLOAD],
        "Periods in which a CPU quota of the workload's cgroups was used up.", from "cpu.stat, nr_throttled";
    WORKLOAD_SWITCHES: Counter, Count, "workload_context_switches_total", [WORKLOAD, SWITCH_KIND],
        "Context switches away from the workload's threads: voluntary is the kernel's nvcsw, the other two its nivcsw.",
        from "Cell::voluntary, Cell::preempted, Cell::yielded";
    WORKLOAD_MIGRATIONS: Counter, Count, "workload_cpu_migrations_total", [WORKLOAD, MIGRATION_CAUSE, DISTANCE],
        "Migrations of the workload's threads, by when they moved and by the nearest topology level that both CPUs share.",
        from "Cell::migrations";
    WORKLOAD_WAKEUP_LATENCY: Histogram, Seconds, "workload_wakeup_latency_seconds", [WORKLOAD],
        "Time from the first wake-up of a blocked thread until it runs.", from "Cell::wakeup_latency";
    WORKLOAD_PREEMPTION_WAIT: Histogram, Seconds, "workload_preemption_wait_seconds", [WORKLOAD],
        "Time from losing the CPU while runnable until running again.", from "Cell::preemption_wait";
    WORKLOAD_TIMESLICE: Histogram, Seconds, "workload_timeslice_seconds", [WORKLOAD],
        "Time from getting a CPU to leaving it.", from "Cell::timeslice";
    WORKLOAD_START_TIME: Gauge, Seconds, "workload_start_time_seconds", [WORKLOAD],
        "When the counters of the workload began at 0, in seconds since 1970.", from "labels";
    WORKLOAD_THREADS: Gauge, Count, "workload_threads", [WORKLOAD],
        "Threads alive.", from "TaskRecord";
    WORKLOAD_PROCESSES: Gauge, Count, "workload_processes", [WORKLOAD],
        "Processes alive.", from "TaskRecord";
    WORKLOAD_THREADS_STARTED: Counter, Count, "workload_threads_started_total", [WORKLOAD],
        "Threads that began in the workload, main threads of its processes included.", from "Cell::threads_started, ARRIVALS map";
    WORKLOAD_PROCESSES_STARTED: Counter, Count, "workload_processes_started_total", [WORKLOAD],
        "Processes that began in the workload: by their first exec, by an exec that led there from another workload, or forked there without one.",
        from "Cell::processes_started, ARRIVALS map";
    WORKLOAD_ALLOWED_CPUS: Gauge, Count, "workload_allowed_cpus", [WORKLOAD],
        "CPUs that at least one process of the workload may run on; absent while it has none.",
        from "sched_getaffinity(2) of each process";
    WORKLOAD_INFO: Gauge, Info, "workload_info", [WORKLOAD, NAME_SOURCE, MODEL, POD_UID, IMAGE],
        "Where the name comes from, the concurrency model that the workload showed over the last seconds, and a container's pod and image.",
        from "labels, and diagnose::live";
    WORKLOAD_GIL_HANDOFFS: Counter, Count, "workload_gil_handoffs_total", [WORKLOAD],
        "Times a Python thread released its interpreter's lock because another thread asked, and waited until that thread had it.",
        from "Cell::gil_handoffs";
    WORKLOAD_GIL_SWITCH_INTERVAL: Gauge, Seconds, "workload_gil_switch_interval_seconds", [WORKLOAD],
        "How long Python threads wait for the lock before they ask for it, by their last waits; absent while none has waited.",
        from "TaskRecord::gil_interval_us";

    PYTHON_PROCESSES: Gauge, Count, "python_processes", [GIL],
        "Live processes that run CPython, by who shares its lock.", from "interpreters";
    PYTHON_PROCESSES_UNRESOLVED: Gauge, Count, "python_processes_unresolved", [PYTHON_REASON],
        "Processes since the daemon started that are or may be a Python whose lock was not found; waits for it count as futex waits.",
        from "interpreters";
    READER_RESTARTS: Counter, Count, "reader_restarts_total", [RESTART],
        "Times the process that reads others for the daemon was replaced, by how it failed.", from "reader";
    READERS_LEFT_BEHIND: Gauge, Count, "readers_left_behind", [],
        "Such processes that were killed and do not end.", from "reader";
    READER_STOPPED: Gauge, Bool, "reader_stopped", [],
        "1 while so many of them do not end that no process is read, and new Pythons are not found.", from "reader";

    CPU_SWITCHES: Counter, Count, "cpu_context_switches_total", [CPU, CPU_SWITCH_KIND],
        "Context switches of each CPU, all tasks, by what it switched away from: a task or the idle task.",
        from "CpuRecord::switches, CpuRecord::switches_from_idle";
    CPU_IDLE: Counter, Seconds, "cpu_idle_seconds_total", [CPU],
        "Time that the CPU ran the idle task.", from "CpuRecord::idle_ns, the open interval included";
    CPU_TOPOLOGY: Gauge, Info, "cpu_topology_info", [CPU, CORE, LLC, NODE],
        "Physical core, last-level cache and NUMA node of each CPU.", from "sysfs, as in the PLACES map";

    EVENTS_LOST: Counter, Count, "events_lost_total", [LOSS_REASON],
        "Observations that are missing or contradictory.", from "CpuRecord::loss";
    CHECK_THREADS: Counter, Count, "check_threads_total", [VERDICT],
        "Ended threads whose switches and migrations were compared with the kernel's counts.",
        from "TaskRecord, kernel_after minus kernel_before";
    CHECK_WAITING_THREADS: Gauge, Count, "check_waiting_threads", [VERDICT],
        "Waiting threads that were compared with the kernel's counts at the last collection.",
        from "task iterator, WAITING map";
    CHECK_RESIDUAL: Counter, Count, "check_residual_total", [QUANTITY],
        "Differences between our counts and the kernel's for ended threads, summed without sign.",
        from "TaskRecord, kernel_after minus kernel_before";
    CHECK_RESIDUAL_SECONDS: Counter, Seconds, "check_residual_on_cpu_seconds_total", [],
        "Differences between our on-CPU time and the kernel's for ended threads, summed without sign.",
        from "TaskRecord, kernel_after minus kernel_before";
    TORN_RECORDS: Counter, Count, "torn_records_total", [],
        "Thread records that were being written whenever a reading looked at them; it lacks their open intervals.",
        from "snapshot";
    WORKLOADS_FOLDED: Counter, Count, "workloads_folded_total", [],
        "Names that were busy enough for series of their own when none were free; they count in other.", from "labels";
    WORKLOADS_ENDED: Counter, Count, "workloads_ended_total", [],
        "Names whose series have ended, because they were gone or because another name computed much more.", from "labels";
    WORKLOADS_NAMED: Gauge, Count, "workloads_named", [],
        "Names with series of their own, not counting other.", from "labels";
    COLLECTION_DURATION: Gauge, Seconds, "collection_duration_seconds", [],
        "Time that the last collection took to read the kernel's maps and total them up.", from "daemon";
    COLLECTIONS: Counter, Count, "collections_total", [],
        "Collections; scrapes in quick succession share one.", from "daemon";
    COLLECTION_ERRORS: Counter, Count, "collection_errors_total", [STAGE],
        "Failures of the daemon's loop, by what it was doing.", from "daemon";
    SCRAPES_REFUSED: Counter, Count, "scrapes_refused_total", [REFUSAL],
        "Requests refused because too many were being served, or because their Host was not a loopback name.",
        from "server";
    EXPOSITION_SERIES: Gauge, Count, "exposition_series", [],
        "Samples in this exposition, not counting the process collector's.", from "exposition";
    DAEMON_CPU: Counter, Seconds, "daemon_cpu_seconds_total", [],
        "CPU time of the daemon and of the processes that read others for it.", from "clock_gettime(2), the clocks of the processes";
    BPF_ATTACHED: Gauge, Bool, "bpf_program_attached", [PROGRAM],
        "1 if the BPF program is loaded and attached.", from "loader";
    BPF_RUN_SECONDS: Counter, Seconds, "bpf_program_run_seconds_total", [PROGRAM],
        "Run time of the BPF program while statistics were on; divide its rate by that of `bpf_measured_seconds_total`.",
        from "bpf_prog_info::run_time_ns";
    BPF_RUNS: Counter, Count, "bpf_program_runs_total", [PROGRAM],
        "Runs of the BPF program while statistics were on.", from "bpf_prog_info::run_cnt";
    BPF_RECURSION_MISSES: Counter, Count, "bpf_program_recursion_misses_total", [PROGRAM],
        "Runs that the kernel skipped because the program was already running on that CPU.",
        from "bpf_prog_info::recursion_misses";
    BPF_MEASURED: Counter, Seconds, "bpf_measured_seconds_total", [],
        "Time that the kernel's BPF statistics were on: short windows only, because they cost time themselves.",
        from "daemon";
    BUILD_INFO: Gauge, Info, "build_info", [VERSION],
        "Version of the daemon.", from "Cargo.toml";
}

#[cfg(test)]
mod tests;
