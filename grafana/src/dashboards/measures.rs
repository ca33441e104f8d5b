//! Expressions that several dashboards show, so that one name means one thing.

use schedscope::metrics::catalog;
use schedscope_ebpf::loss::{Harm, Loss};

use crate::promql::{Expr, RANGE, Series, increase, rate, total, value};

/// Grouping of what belongs to one workload, wherever it runs.
pub(super) const WORKLOAD: &[&str] = &["workload"];
/// Grouping of what belongs to one workload on one host.
pub(super) const HOST_WORKLOAD: &[&str] = &["instance", "workload"];
/// Grouping of what belongs to one host.
pub(super) const HOST: &[&str] = &["instance"];
/// Own cost is measured in one short window a minute; over this time several fall in.
const COST_WINDOW: &str = "10m";

/// C: mean number of threads on a CPU.
pub(super) fn running(labels: &[&'static str]) -> Expr {
    rate(&catalog::WORKLOAD_ON_CPU).sum_by(labels)
}

/// Mean number of threads that wait for a CPU.
pub(super) fn runnable(labels: &[&'static str]) -> Expr {
    rate(&catalog::WORKLOAD_RUNNABLE).sum_by(labels)
}

/// D: running or runnable.
pub(super) fn demand(labels: &[&'static str]) -> Expr {
    running(labels).plus(&runnable(labels))
}

/// Mean number of threads blocked for one of `reasons`.
pub(super) fn blocked_for(reasons: &[&str], labels: &[&'static str]) -> Expr {
    rate(&catalog::WORKLOAD_BLOCKED).only("reason", reasons).sum_by(labels)
}

/// Over how many CPUs the running time is spread: the square of the sum over the sum of the squares. By host, since core 0 of two
/// hosts is not the same core.
pub(super) fn effective_cpus() -> Expr {
    spread(&rate(&catalog::WORKLOAD_ON_CPU))
}

/// See [`effective_cpus`], for on-CPU time of whatever interval.
pub(super) fn spread(on_cpu: &Series) -> Expr {
    // Without what did not run at all: 0 over 0 is no number.
    on_cpu.sum_by(HOST_WORKLOAD).squared().above(0.0).per(&on_cpu.sum_of_squares_by(HOST_WORKLOAD))
}

/// Share of the time in which a CPU has something to run, all tasks of the host.
pub(super) fn busy(labels: &[&'static str]) -> Expr {
    rate(&catalog::CPU_IDLE).mean_by(labels).complement().not_below_zero()
}

/// CPUs of the host that have something to run.
pub(super) fn busy_cpus(labels: &[&'static str]) -> Expr {
    cpus(labels).minus(&rate(&catalog::CPU_IDLE).sum_by(labels))
}

/// CPUs of the host.
pub(super) fn cpus(labels: &[&'static str]) -> Expr {
    value(&catalog::CPU_TOPOLOGY).count_by(labels)
}

/// Switches per second, of one kind or all.
pub(super) fn switches(kinds: &[&str], labels: &[&'static str]) -> Expr {
    rate(&catalog::WORKLOAD_SWITCHES).only("kind", kinds).sum_by(labels)
}

/// Losses that leave a gap in the figures, per second.
pub(super) fn missing() -> Series {
    rate(&catalog::EVENTS_LOST).only("reason", &reasons(Harm::Missing))
}

/// How many observations were lost in the whole time that is shown.
pub(super) fn missing_in_range() -> Expr {
    increase(&catalog::EVENTS_LOST).over(RANGE).only("reason", &reasons(Harm::Missing)).sum_by(&[])
}

/// How many were lost since the daemons started, so those before the first scrape too, of which no rate knows.
pub(super) fn missing_since_start() -> Expr {
    total(&catalog::EVENTS_LOST).only("reason", &reasons(Harm::Missing)).sum_by(&[])
}

/// Losses that the kernel's own accounting made good.
pub(super) fn repaired() -> Series {
    rate(&catalog::EVENTS_LOST).only("reason", &reasons(Harm::Repaired))
}

/// Losses that leave the totals right and only details of single threads out.
pub(super) fn details() -> Series {
    rate(&catalog::EVENTS_LOST).only("reason", &reasons(Harm::Details))
}

/// Loss reasons of one harm.
pub(crate) fn reasons(harm: Harm) -> Vec<&'static str> {
    Loss::ALL.into_iter().filter(|loss| loss.harm() == harm).map(Loss::name).collect()
}

/// CPUs that the BPF programs take on each host: their run time in the windows in which it is measured.
pub(super) fn tracing_cpus() -> Expr {
    let measured = rate(&catalog::BPF_MEASURED).over(COST_WINDOW).sum_by(HOST);
    // Where nothing was measured the quotient is no number.
    rate(&catalog::BPF_RUN_SECONDS).over(COST_WINDOW).sum_by(HOST).per(&measured.above(0.0))
}

/// Mean time of one run of a BPF program.
pub(super) fn seconds_per_run(labels: &[&'static str]) -> Expr {
    let runs = rate(&catalog::BPF_RUNS).over(COST_WINDOW).sum_by(labels);
    // Some programs run once an hour.
    rate(&catalog::BPF_RUN_SECONDS).over(COST_WINDOW).sum_by(labels).per(&runs.above(0.0))
}

/// CPUs that the daemon itself takes.
pub(super) fn daemon_cpus(labels: &[&'static str]) -> Expr {
    rate(&catalog::DAEMON_CPU).sum_by(labels)
}
