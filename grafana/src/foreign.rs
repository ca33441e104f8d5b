//! Metrics that dashboards and alerts use and the daemon does not define: those of the process collector, of every scrape and of
//! the lab.

use schedscope::metrics::catalog::{Bound, Kind, Label, Metric, Unit};

pub(crate) static UP: Metric = foreign("up", Kind::Gauge, Unit::Bool, "1 if the last scrape worked.", "Prometheus");
pub(crate) static SCRAPE_DURATION: Metric =
    foreign("scrape_duration_seconds", Kind::Gauge, Unit::Seconds, "Duration of the last scrape.", "Prometheus");
pub(crate) static PROCESS_START: Metric = foreign(
    "process_start_time_seconds",
    Kind::Gauge,
    Unit::Seconds,
    "When the daemon started, in seconds since 1970.",
    "the process collector",
);
pub(crate) static PROCESS_MEMORY: Metric =
    foreign("process_resident_memory_bytes", Kind::Gauge, Unit::Count, "Memory of the daemon.", "the process collector");
pub(crate) static PROCESS_FILES: Metric =
    foreign("process_open_fds", Kind::Gauge, Unit::Count, "Open files of the daemon.", "the process collector");

/// What the lab runs now; served by `cargo xtask trace --serve`, and not by the daemon.
pub static LAB_PHASE: Metric = Metric {
    labels: &[Label { name: "workload", bound: Bound::Workloads }, Label { name: "phase", bound: Bound::Attribute }],
    ..foreign("schedscope_lab_phase_info", Kind::Gauge, Unit::Info, "What the lab runs now; absent between two cells.", "the lab")
};

/// All of them.
pub static ALL: &[&Metric] = &[&UP, &SCRAPE_DURATION, &PROCESS_START, &PROCESS_MEMORY, &PROCESS_FILES, &LAB_PHASE];

const fn foreign(name: &'static str, kind: Kind, unit: Unit, help: &'static str, source: &'static str) -> Metric {
    Metric { name, kind, unit, help, labels: &[], source }
}
