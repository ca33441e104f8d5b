//! Series that are worth keeping when the raw ones are not: a handful for each workload and host, none for each core.
//!
//! Names follow `level:metric:operation`; the level lists the labels that remain beside `job`. Rates and quantiles are over five
//! minutes, which is five scrapes a minute apart, Prometheus's own default; a rate needs two.

use schedscope_ebpf::loss::Harm;

use crate::dashboards::measures::reasons;

/// C.
pub(super) const RUNNING: &str = "instance_workload:schedscope_workload_on_cpu_seconds:rate5m";
/// Threads that wait for a CPU.
pub(super) const RUNNABLE: &str = "instance_workload:schedscope_workload_runnable_seconds:rate5m";
/// D.
pub(super) const DEMAND: &str = "instance_workload:schedscope_workload_demand:rate5m";
/// Blocked threads by reason.
pub(super) const BLOCKED: &str = "instance_workload_reason:schedscope_workload_blocked_seconds:rate5m";
/// Migrations per second.
pub(super) const MIGRATIONS: &str = "instance_workload:schedscope_workload_cpu_migrations:rate5m";
/// 99 of 100 wake-ups got a CPU in less.
pub(super) const WAKEUP_P99: &str = "instance_workload:schedscope_workload_wakeup_latency_seconds:p99_rate5m";
/// CPUs of the host.
pub(super) const CPUS: &str = "instance:schedscope_cpus:count";
/// CPUs that tracing takes: the BPF programs in the windows in which they are measured, and the daemon.
pub(super) const OWN_CPUS: &str = "instance:schedscope_own_cpus:rate10m";

/// A recording rule.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Name of the series that it records.
    pub name: &'static str,
    /// What it records, as PromQL.
    pub expr: String,
}

impl Recording {
    /// Labels of the series, as its name says.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        let level = self.name.split(':').next().unwrap_or_default();
        ["job"].into_iter().chain(level.split('_'))
    }
}

/// Every recording; one that reads another comes after it.
pub fn all() -> Vec<Recording> {
    let missing = reasons(|loss| loss.harm() == Harm::Missing);
    let record = |name, expr: &str| Recording { name, expr: expr.to_owned() };
    vec![
        record(RUNNING, "sum by (job, instance, workload) (rate(schedscope_workload_on_cpu_seconds_total[5m]))"),
        record(RUNNABLE, "sum by (job, instance, workload) (rate(schedscope_workload_runnable_seconds_total[5m]))"),
        record(DEMAND, &format!("{RUNNING} + {RUNNABLE}")),
        record(
            "instance_workload:schedscope_workload_effective_cpus:rate5m",
            &format!(
                "(({RUNNING}^2) > 0) / sum by (job, instance, workload) (rate(schedscope_workload_on_cpu_seconds_total[5m])^2)"
            ),
        ),
        record(BLOCKED, "sum by (job, instance, workload, reason) (rate(schedscope_workload_blocked_seconds_total[5m]))"),
        record(
            "instance_workload_kind:schedscope_workload_context_switches:rate5m",
            "sum by (job, instance, workload, kind) (rate(schedscope_workload_context_switches_total[5m]))",
        ),
        record(MIGRATIONS, "sum by (job, instance, workload) (rate(schedscope_workload_cpu_migrations_total[5m]))"),
        record(
            WAKEUP_P99,
            "histogram_quantile(0.99, sum by (job, instance, workload, le) \
             (rate(schedscope_workload_wakeup_latency_seconds_bucket[5m]))) >= 0",
        ),
        record(
            "instance_workload:schedscope_workload_preemption_wait_seconds:p99_rate5m",
            "histogram_quantile(0.99, sum by (job, instance, workload, le) \
             (rate(schedscope_workload_preemption_wait_seconds_bucket[5m]))) >= 0",
        ),
        record(CPUS, "count by (job, instance) (schedscope_cpu_topology_info)"),
        record(
            "instance:schedscope_cpu_busy:ratio_rate5m",
            "1 - avg by (job, instance) (rate(schedscope_cpu_idle_seconds_total[5m]))",
        ),
        record(
            "instance:schedscope_events_missing:rate5m",
            &format!("sum by (job, instance) (rate(schedscope_events_lost_total{{{missing}}}[5m]))"),
        ),
        // Own cost is measured in one short window a minute; over ten minutes several fall in.
        record(
            OWN_CPUS,
            "(sum by (job, instance) (rate(schedscope_bpf_program_run_seconds_total[10m])) \
             / (sum by (job, instance) (rate(schedscope_bpf_measured_seconds_total[10m])) > 0)) \
             + sum by (job, instance) (rate(schedscope_daemon_cpu_seconds_total[10m]))",
        ),
    ]
}
