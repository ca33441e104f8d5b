//! Series that are worth keeping when the raw ones are not: a handful for each workload and host, none for each core.
//!
//! Names follow `level:metric:operation`; the level lists the labels that remain beside `job`.

use schedscope::metrics::catalog;
use schedscope_ebpf::loss::Harm;

use crate::{
    dashboards::measures::reasons,
    promql::{Expr, rate, recorded_quantile, value},
};

/// What remains when everything of a workload on a host is added up.
pub(super) const HOST_WORKLOAD: &[&str] = &["job", "instance", "workload"];
/// What remains when everything of a host is added up.
pub(super) const HOST: &[&str] = &["job", "instance"];
/// Window of rates and quantiles: five scrapes a minute apart, which is Prometheus's own default; a rate needs two.
const WINDOW: &str = "5m";
/// Own cost is measured in one short window a minute; over this time several fall in.
const COST_WINDOW: &str = "10m";

/// A recording rule.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Name of the series that it records.
    pub name: String,
    /// What it records.
    pub expr: Expr,
}

impl Recording {
    fn new(name: &str, expr: Expr) -> Recording {
        Recording { name: name.to_owned(), expr }
    }

    /// The recorded series, for alerts.
    pub(super) fn recorded(&self) -> Expr {
        Expr::atom(self.name.clone(), self.expr.labels(), self.expr.quantity())
    }
}

/// C.
pub(super) fn running() -> Recording {
    let expr = rate(&catalog::WORKLOAD_ON_CPU).over(WINDOW).everywhere().sum_by(HOST_WORKLOAD);
    Recording::new("instance_workload:schedscope_workload_on_cpu_seconds:rate5m", expr)
}

/// Threads that wait for a CPU.
pub(super) fn runnable() -> Recording {
    let expr = rate(&catalog::WORKLOAD_RUNNABLE).over(WINDOW).everywhere().sum_by(HOST_WORKLOAD);
    Recording::new("instance_workload:schedscope_workload_runnable_seconds:rate5m", expr)
}

/// D.
pub(super) fn demand() -> Recording {
    let expr = running().recorded().plus(&runnable().recorded());
    Recording::new("instance_workload:schedscope_workload_demand:rate5m", expr)
}

fn effective_cpus() -> Recording {
    let on_cpu = rate(&catalog::WORKLOAD_ON_CPU).over(WINDOW).everywhere();
    let expr = running().recorded().squared().above(0.0).per(&on_cpu.sum_of_squares_by(HOST_WORKLOAD));
    Recording::new("instance_workload:schedscope_workload_effective_cpus:rate5m", expr)
}

/// Blocked threads by reason.
pub(super) fn blocked() -> Recording {
    let labels = &["job", "instance", "workload", "reason"];
    let expr = rate(&catalog::WORKLOAD_BLOCKED).over(WINDOW).everywhere().sum_by(labels);
    Recording::new("instance_workload_reason:schedscope_workload_blocked_seconds:rate5m", expr)
}

fn switches() -> Recording {
    let labels = &["job", "instance", "workload", "kind"];
    let expr = rate(&catalog::WORKLOAD_SWITCHES).over(WINDOW).everywhere().sum_by(labels);
    Recording::new("instance_workload_kind:schedscope_workload_context_switches:rate5m", expr)
}

/// Migrations per second.
pub(super) fn migrations() -> Recording {
    let expr = rate(&catalog::WORKLOAD_MIGRATIONS).over(WINDOW).everywhere().sum_by(HOST_WORKLOAD);
    Recording::new("instance_workload:schedscope_workload_cpu_migrations:rate5m", expr)
}

/// 99 of 100 wake-ups got a CPU in less.
pub(super) fn wakeup_p99() -> Recording {
    let expr = recorded_quantile(0.99, &catalog::WORKLOAD_WAKEUP_LATENCY, HOST_WORKLOAD, WINDOW);
    Recording::new("instance_workload:schedscope_workload_wakeup_latency_seconds:p99_rate5m", expr)
}

fn preemption_p99() -> Recording {
    let expr = recorded_quantile(0.99, &catalog::WORKLOAD_PREEMPTION_WAIT, HOST_WORKLOAD, WINDOW);
    Recording::new("instance_workload:schedscope_workload_preemption_wait_seconds:p99_rate5m", expr)
}

/// CPUs of the host.
pub(super) fn cpus() -> Recording {
    Recording::new("instance:schedscope_cpus:count", value(&catalog::CPU_TOPOLOGY).everywhere().count_by(HOST))
}

fn busy() -> Recording {
    let expr = rate(&catalog::CPU_IDLE).over(WINDOW).everywhere().mean_by(HOST).complement();
    Recording::new("instance:schedscope_cpu_busy:ratio_rate5m", expr)
}

/// Observations that are missing, per second.
pub(super) fn missing() -> Recording {
    let lost = rate(&catalog::EVENTS_LOST).over(WINDOW).everywhere().only("reason", &reasons(Harm::Missing));
    Recording::new("instance:schedscope_events_missing:rate5m", lost.sum_by(HOST))
}

/// CPUs that tracing takes: the BPF programs in the windows in which they are measured, and the daemon.
pub(super) fn own_cpus() -> Recording {
    let run = rate(&catalog::BPF_RUN_SECONDS).over(COST_WINDOW).everywhere().sum_by(HOST);
    let measured = rate(&catalog::BPF_MEASURED).over(COST_WINDOW).everywhere().sum_by(HOST);
    let daemon = rate(&catalog::DAEMON_CPU).over(COST_WINDOW).everywhere().sum_by(HOST);
    Recording::new("instance:schedscope_own_cpus:rate10m", run.per(&measured.above(0.0)).plus(&daemon))
}

/// Every recording; one that reads another comes after it.
pub fn all() -> Vec<Recording> {
    vec![
        running(),
        runnable(),
        demand(),
        effective_cpus(),
        blocked(),
        switches(),
        migrations(),
        wakeup_p99(),
        preemption_p99(),
        cpus(),
        busy(),
        missing(),
        own_cpus(),
    ]
}
