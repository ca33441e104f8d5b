//! Expressions that several dashboards show, so that one name means one thing.

use schedscope::metrics::catalog;
use schedscope_ebpf::loss::{Harm, Loss};

use crate::promql::{RATE_INTERVAL, chosen, chosen_where, count, mean, rate, rate_of, sum};

/// By workload, over all hosts.
pub(super) const WORKLOAD: &str = "workload";
pub(super) const HOST_WORKLOAD: &str = "instance, workload";
pub(super) const HOST: &str = "instance";
/// Own cost is measured in one short window a minute; this covers several.
const COST_WINDOW: &str = "10m";

/// C: mean number of threads on a CPU.
pub(super) fn running(by: &str) -> String {
    sum(by, rate(&catalog::WORKLOAD_ON_CPU))
}

/// Mean number of threads that wait for a CPU.
pub(super) fn runnable(by: &str) -> String {
    sum(by, rate(&catalog::WORKLOAD_RUNNABLE))
}

/// D: running or runnable.
pub(super) fn demand(by: &str) -> String {
    format!("{} + {}", running(by), runnable(by))
}

/// Mean number of threads that wait for Python's interpreter lock.
pub(super) fn waiting_for_gil(by: &str) -> String {
    sum(by, rate_of(chosen_where(&catalog::WORKLOAD_BLOCKED, r#"reason=~"gil""#)))
}

/// Over how many CPUs the running time is spread.
pub(super) fn effective_cpus() -> String {
    spread("rate", RATE_INTERVAL)
}

/// Over how many CPUs the running time of some interval is spread: the square of the sum over the sum of the squares. By host,
/// since core 0 of two hosts is not the same core.
pub(super) fn spread(function: &str, interval: &str) -> String {
    let on_cpu = format!("{function}({}[{interval}])", chosen(&catalog::WORKLOAD_ON_CPU));
    // What did not run is dropped: 0 / 0 is NaN.
    format!("(({}^2) > 0) / {}", sum(HOST_WORKLOAD, &on_cpu), sum(HOST_WORKLOAD, format_args!("{on_cpu}^2")))
}

/// Share of the time in which a CPU has something to run, counting every task. Readings slightly apart in time could make it
/// negative.
pub(super) fn busy(by: &str) -> String {
    format!("clamp_min(1 - {}, 0)", mean(by, rate(&catalog::CPU_IDLE)))
}

pub(super) fn busy_cpus() -> String {
    format!("{} - {}", cpus(""), sum("", rate(&catalog::CPU_IDLE)))
}

pub(super) fn cpus(by: &str) -> String {
    count(by, chosen(&catalog::CPU_TOPOLOGY))
}

/// Switches of one kind per second.
pub(super) fn switches(kind: &str, by: &str) -> String {
    sum(by, rate_of(chosen_where(&catalog::WORKLOAD_SWITCHES, &format!("kind=~\"{kind}\""))))
}

pub(super) fn losses(harm: Harm) -> String {
    chosen_where(&catalog::EVENTS_LOST, &reasons(|loss| loss.harm() == harm))
}

/// A matcher for the reasons of some losses.
pub(crate) fn reasons(is_meant: impl Fn(Loss) -> bool) -> String {
    let names: Vec<&str> = Loss::ALL.into_iter().filter(|loss| is_meant(*loss)).map(Loss::name).collect();
    format!("reason=~\"{}\"", names.join("|"))
}

/// CPUs that the BPF programs take on each host: run time per second of the windows in which it is measured.
pub(super) fn tracing_cpus() -> String {
    // Where nothing was measured the quotient is NaN.
    format!("{} / ({} > 0)", sum(HOST, cost(&catalog::BPF_RUN_SECONDS)), sum(HOST, cost(&catalog::BPF_MEASURED)))
}

/// Mean time of one run of each BPF program.
pub(super) fn seconds_per_run() -> String {
    // Some programs run once an hour.
    format!("{} / ({} > 0)", sum("program", cost(&catalog::BPF_RUN_SECONDS)), sum("program", cost(&catalog::BPF_RUNS)))
}

fn cost(counter: &catalog::Metric) -> String {
    format!("rate({}[{COST_WINDOW}])", chosen(counter))
}

pub(super) fn daemon_cpus(by: &str) -> String {
    sum(by, rate(&catalog::DAEMON_CPU))
}
