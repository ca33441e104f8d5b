//! Alerts: few, each on something worth waking or telling someone for, with what to do.

use schedscope::metrics::catalog;
use schedscope_ebpf::loss::{Harm, Loss};

use super::recordings::{BLOCKED, CPUS, DEMAND, MIGRATIONS, OWN_CPUS, RUNNABLE, RUNNING, WAKEUP_P99};
use crate::dashboards::measures::reasons;

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Figures are missing or users suffer: look today.
    Warning,
    /// Worth knowing: look when you tune.
    Info,
}

impl Severity {
    /// The value of the `severity` label.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// An alert and its runbook.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Name.
    pub name: &'static str,
    /// How urgent it is.
    pub severity: Severity,
    /// What fires it.
    pub expr: String,
    /// How long it must hold first.
    pub hold: &'static str,
    /// One line, with Prometheus's templates.
    pub summary: &'static str,
    /// What it means for the figures or the workload.
    pub meaning: &'static str,
    /// What to do, step by step.
    pub steps: &'static [&'static str],
}

impl Alert {
    /// The anchor of its heading in `docs/alerts.md`.
    pub fn anchor(&self) -> String {
        self.name.to_lowercase()
    }
}

/// Every alert, those on the daemon first.
pub fn all() -> Vec<Alert> {
    [on_the_daemon(), on_losses(), on_its_limits(), on_workloads()].concat()
}

fn on_the_daemon() -> Vec<Alert> {
    vec![
        Alert {
            name: "SchedscopeDown",
            severity: Severity::Warning,
            expr: r#"max by (job, instance) (up{job=~".*schedscope.*"}) == 0"#.to_owned(),
            hold: "2m",
            summary: "schedscope on {{ $labels.instance }} does not answer",
            meaning: "Prometheus cannot scrape the daemon, so nothing of this host is recorded. Jobs with schedscope in their \
                      name are watched.",
            steps: &[
                "The targets page of Prometheus shows the error of the last scrape.",
                "On the host, `systemctl status schedscope` says whether it runs, and its log why not.",
                "`schedscope doctor` says what the host lacks and how to fix it.",
            ],
        },
        Alert {
            name: "SchedscopeProgramNotAttached",
            severity: Severity::Warning,
            expr: "max by (job, instance, program) (schedscope_bpf_program_attached) == 0".to_owned(),
            hold: "5m",
            summary: "{{ $labels.program }} is not running on {{ $labels.instance }}",
            meaning: "What this BPF program sees is missing from the figures.",
            steps: &[
                "`/status` of the daemon gives the kernel's reason.",
                "`schedscope doctor` says whether another kernel or a setting would help.",
            ],
        },
        Alert {
            name: "SchedscopeCollectionFailing",
            severity: Severity::Warning,
            expr: "sum by (job, instance, stage) (increase(schedscope_collection_errors_total[10m])) > 0".to_owned(),
            hold: "5m",
            summary: "schedscope on {{ $labels.instance }} fails at {{ $labels.stage }}",
            meaning: "A stage of the collection failed. snapshot: no counters were read, and that scrape has no figures. label: \
                      threads are counted under their parent's name, or as other. program_cost: the cost of tracing is not measured.",
            steps: &["The daemon's log has the first error of each stage.", "Restart it. If the error comes back, report it."],
        },
    ]
}

fn on_losses() -> Vec<Alert> {
    let missing = reasons(|loss| loss.harm() == Harm::Missing);
    // Threads without a record have none until there is a place for them.
    let lasting = reasons(|loss| matches!(loss, Loss::TaskTableFull | Loss::PidBeyondTable));
    vec![
        Alert {
            name: "SchedscopeObservationsMissing",
            severity: Severity::Warning,
            expr: format!("sum by (job, instance) (increase(schedscope_events_lost_total{{{missing}}}[15m])) > 0"),
            hold: "1m",
            summary: "schedscope on {{ $labels.instance }} missed {{ $value | humanize }} observations in 15 minutes",
            meaning: "The figures of this host have gaps; the reason says how large. Like every increase in Prometheus, the number is \
                      an estimate from the scrapes.",
            steps: &[
                "The daemon health dashboard shows the reason under Missing, by reason.",
                "The table in docs/alerts.md says what to do about each reason.",
            ],
        },
        Alert {
            name: "SchedscopeThreadsNotTraced",
            severity: Severity::Warning,
            // Not its growth: threads refused before the first scrape are still refused, and a counter that starts at 500 has a rate
            // of 0.
            expr: format!("sum by (job, instance, reason) (schedscope_events_lost_total{{{lasting}}}) > 0"),
            hold: "1m",
            summary: "schedscope on {{ $labels.instance }} had no room for {{ $value | humanize }} threads ({{ $labels.reason }})",
            meaning: "Threads have been refused since the daemon started, perhaps as it started. What such a thread does is missing \
                      from the figures until it ends or there is room for it. The count never falls, so this alert stays until the \
                      daemon is restarted.",
            steps: &[
                "task_table_full: raise `max_threads` in the daemon's configuration above the number of threads on the host, with \
                 room for ended ones that have not been read yet.",
                "pid_beyond_table: `kernel.pid_max` was raised after the daemon started; a restart is enough.",
                "Restart the daemon. It counts from 0 again and makes room for the threads alive then.",
            ],
        },
    ]
}

fn on_its_limits() -> Vec<Alert> {
    vec![
        Alert {
            name: "SchedscopeScrapesRefused",
            severity: Severity::Warning,
            expr: "sum by (job, instance) (increase(schedscope_scrapes_refused_total[10m])) > 0".to_owned(),
            hold: "5m",
            summary: "schedscope on {{ $labels.instance }} refuses requests",
            meaning: "Too many requests came at once and some were turned away. If scrapes are among them, their points are missing.",
            steps: &["Find out who asks: one Prometheus needs one connection.", "Let others ask Prometheus instead of the daemon."],
        },
        Alert {
            name: "SchedscopeWorkloadsFolded",
            severity: Severity::Info,
            expr: "sum by (job, instance) (increase(schedscope_workloads_folded_total[1h])) > 0".to_owned(),
            hold: "5m",
            summary: "schedscope on {{ $labels.instance }} counts busy workloads as other",
            meaning: "More workloads were busy in the last hour than can have series of their own. The rest is counted as other; the \
                      totals are right.",
            steps: &["Name the workloads that matter with rules in the configuration.", "Or raise `max_workloads`, at most 63."],
        },
        Alert {
            name: "SchedscopeCostHigh",
            severity: Severity::Warning,
            expr: format!("{OWN_CPUS} > 0.02 * {CPUS}"),
            hold: "15m",
            summary: "schedscope takes {{ $value | humanize }} CPUs of {{ $labels.instance }}",
            meaning: "Tracing takes more than 2 % of the host's CPUs. The cost of the BPF programs grows with context switches, that of \
                      the daemon with scrapes and threads. Where `own_cost` is off, or measured less than every ten minutes, the cost \
                      is unknown and this stays silent.",
            steps: &[
                "The daemon health dashboard says whether it is the BPF programs or the daemon.",
                "The programs: find the workload with the most context switches on the models dashboard, and why it switches.",
                "The daemon: scrape less often, or lower `max_workloads`.",
            ],
        },
    ]
}

fn on_workloads() -> Vec<Alert> {
    // The first bound above 10 ms. p99 is above a bucket's bound exactly when more than one observation in a hundred is, since
    // Prometheus interpolates up to a bound and not beyond. Between two bounds it would be a guess.
    let late_ns = catalog::le_bounds_ns().find(|bound_ns| *bound_ns > 10_000_000).unwrap_or(u64::MAX);
    let late_seconds = late_ns as f64 / 1e9;
    vec![
        Alert {
            name: "SchedscopeWakeupLatencyHigh",
            severity: Severity::Warning,
            // With less than one wake-up a second a quantile says little.
            expr: format!(
                "({WAKEUP_P99} > {late_seconds}) and (sum by (job, instance, workload) \
                 (rate(schedscope_workload_wakeup_latency_seconds_count[5m])) > 1)"
            ),
            hold: "10m",
            summary: "{{ $labels.workload }} on {{ $labels.instance }} waits about {{ $value | humanizeDuration }} for a CPU (p99)",
            meaning: "In the last five minutes more than 1 % of wake-ups waited longer than 16.8 ms for a CPU, which delays the \
                      workload's answers by as much. The threshold is exact; p99 itself is right to a factor of 2.",
            steps: &[
                "The core map of the host shows who has the cores.",
                "Give the workload more weight or CPUs of its own, or move the others away.",
                "If it competes with itself (D far above C on the models dashboard), run fewer threads.",
            ],
        },
        Alert {
            name: "SchedscopeCpuShort",
            severity: Severity::Warning,
            expr: format!("({RUNNABLE} > 1 * {RUNNING}) and ({DEMAND} > 1)"),
            hold: "15m",
            summary: "{{ $labels.workload }} on {{ $labels.instance }} wants more than twice the CPUs it gets",
            meaning: "Its threads spend more time waiting for a CPU than running, and together want more than one.",
            steps: &[
                "CPUs allowed, on the models dashboard: is it confined to a few?",
                "The core map: are the cores taken by others, or by itself?",
                "A CPU quota on its cgroup (`cpu.max`) looks the same: check `cpu.stat` there for throttling.",
            ],
        },
        Alert {
            name: "SchedscopeGilBound",
            severity: Severity::Info,
            expr: format!("(sum by (job, instance, workload) ({BLOCKED}{{reason=\"gil\"}}) > 1) and ({RUNNING} > 0.5)"),
            hold: "15m",
            summary: "{{ $value | humanize }} threads of {{ $labels.workload }} on {{ $labels.instance }} wait for the GIL",
            meaning: "Threads of a Python program take turns on one core per interpreter, however many cores there are.",
            steps: &[
                "Move the computation to processes (`multiprocessing`, `concurrent.futures.ProcessPoolExecutor`), or to a library \
                 that releases the lock.",
                "Or run fewer threads: those that the lock keeps from running only wait and switch.",
            ],
        },
        Alert {
            name: "SchedscopeMigrationStorm",
            severity: Severity::Info,
            expr: format!("({MIGRATIONS} / ({RUNNING} > 0.1)) > 1000"),
            hold: "10m",
            summary: "{{ $labels.workload }} on {{ $labels.instance }} migrates {{ $value | humanize }} times per second of running",
            meaning: "Its threads change core at least once per millisecond of running, so caches hardly warm up.",
            steps: &[
                "The scheduler latency dashboard shows the cause and the distance.",
                "At wake-up: give threads larger pieces of work, use fewer threads, or pin them.",
                "While queued: there are more runnable threads than cores, if only for moments.",
            ],
        },
    ]
}
