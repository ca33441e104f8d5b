//! What must hold in every report, whatever was traced.

use std::sync::OnceLock;

use procfs::{CurrentSI, KernelStats};
use schedscope::report::RunReport;
use schedscope::report::schema::{Quantiles, SCHEMA, ThreadReport};
use schedscope::verify::Verdict;

/// Two sums of the same nanoseconds in another order, as seconds.
const ROUNDING_SECONDS: f64 = 1e-6;
/// The longest that kernels have.
pub(crate) const TICK_SECONDS: f64 = 0.01;
/// Above this share of the CPUs used by others a run gets too little to be judged by.
pub(crate) const STARVED: f64 = 0.6;
/// From so many on the waits must have been compared with the kernel's run delay.
const MANY_SWITCHES: u64 = 1000;

/// Share of the host's CPU time that others used.
pub(crate) fn foreign_share(report: &RunReport) -> f64 {
    report.host.foreign_on_cpu_seconds / (report.wall_seconds * f64::from(report.cpus.online))
}

/// Fails unless all tasks ended, nothing is missing, every count is the kernel's, and every nanosecond is in one place only.
pub(crate) fn assert_exact(report: &RunReport) {
    assert_eq!(report.tasks.still_alive, 0, "{:?}", report.tasks);
    assert_eq!(report.check.threads, report.tasks.threads, "not every thread was compared with the kernel: {:?}", report.check);
    assert_consistent(report);
}

/// The same for a report in which threads may go on.
pub(crate) fn assert_consistent(report: &RunReport) {
    assert_eq!(report.schema, SCHEMA);
    assert_eq!(report.loss.total, 0, "{:?}", report.loss);
    counts_are_the_kernels(report);
    lives_are_partitioned(&report.threads);
    totals_are_sums(report);
    parallelism_is_sane(report);
    for quantiles in [&report.wakeup_latency_seconds, &report.preemption_wait_seconds, &report.timeslice_seconds] {
        quantiles_ascend(quantiles);
    }
}

fn counts_are_the_kernels(report: &RunReport) {
    let check = &report.check;
    assert!(!check.verdict().differs(), "{:?}: {check:?}", check.verdict());
    // Of a few switches one that was missed leaves too little to compare.
    if check.waits.threads > 0 && report.switches.voluntary > MANY_SWITCHES {
        assert_eq!(check.residuals[4].verdict(), Verdict::Agrees, "{check:?}");
    }
}

/// Time that a hypervisor has taken from this host's CPUs since the first report was looked at or was about to be made, by the kernel's
/// account in ticks.
pub(crate) fn steal_seconds() -> f64 {
    static BEFORE: OnceLock<f64> = OnceLock::new();
    let now = KernelStats::current().unwrap().total.steal.unwrap_or(0) as f64 / procfs::ticks_per_second() as f64;
    now - BEFORE.get_or_init(|| now)
}

/// On-CPU time is by the kernel's clock and the life by ours: they differ by the microseconds that the scheduler takes to choose,
/// more when a balancing idle CPU pulls the thread over. In the mean that must vanish.
fn lives_are_partitioned(threads: &[ThreadReport]) {
    let (mut gaps, mut lives) = (0.0, 0.0);
    for thread in threads {
        let ThreadReport { on_cpu_seconds, runnable_seconds, transit_seconds, blocked_seconds, lifetime_seconds, .. } = thread;
        let gap = (on_cpu_seconds + runnable_seconds + transit_seconds + blocked_seconds - lifetime_seconds).abs();
        assert!(gap <= 1e-3 * lifetime_seconds + 100e-6, "{gap} s of this thread's life are missing or double: {thread:?}");
        assert_near(thread.on_cpu_seconds_by_cpu.values().sum(), *on_cpu_seconds, "time by CPU of a thread");
        assert_near(thread.blocked_seconds_by_reason.values().sum(), *blocked_seconds, "blocked time by reason of a thread");
        gaps += gap;
        lives += lifetime_seconds;
    }
    assert!(gaps <= 1e-3 * lives + 10e-6 * threads.len() as f64, "{gaps} s of {lives} s are missing or double");
}

fn totals_are_sums(report: &RunReport) {
    let time = &report.time_seconds;
    assert_near(report.on_cpu_seconds_by_cpu.values().sum(), time.on_cpu, "time by CPU");
    assert_near(report.blocked_seconds_by_reason.values().sum(), time.blocked, "blocked time by reason");
    assert_near(time.runnable_after_wakeup + time.runnable_after_preemption, time.runnable, "runnable time by cause");
    let migrations = &report.migrations;
    assert_eq!(migrations.at_wakeup + migrations.while_queued, migrations.total);
    assert_eq!(migrations.by_distance.values().sum::<u64>(), migrations.total);
    assert_eq!(report.threads.len() as u64 + report.threads_omitted, report.tasks.threads);
    if report.threads_omitted > 0 {
        return;
    }
    let sum = |of: fn(&ThreadReport) -> f64| report.threads.iter().map(of).sum::<f64>();
    assert_near(sum(|thread| thread.on_cpu_seconds), time.on_cpu, "on-CPU time of the threads");
    assert_near(sum(|thread| thread.runnable_seconds), time.runnable, "runnable time of the threads");
    assert_near(sum(|thread| thread.blocked_seconds), time.blocked, "blocked time of the threads");
    let count = |of: fn(&ThreadReport) -> u64| report.threads.iter().map(of).sum::<u64>();
    assert_eq!(count(|thread| thread.voluntary), report.switches.voluntary);
    assert_eq!(count(|thread| thread.preempted), report.switches.preempted);
    assert_eq!(count(|thread| thread.yielded), report.switches.yielded);
    assert_eq!(count(|thread| thread.migrations), migrations.total);
}

fn parallelism_is_sane(report: &RunReport) {
    let (c, d) = (report.parallelism.running_mean, report.parallelism.demand_mean);
    let cpus = f64::from(report.cpus.online);
    assert!(report.wall_seconds > 0.0, "{}", report.wall_seconds);
    // The window ends with the command, but its descendants are counted to the end of the tracing.
    let tolerance = 1.0 + 1e-3 + 1e-3 / report.wall_seconds;
    assert!((0.0..=cpus * tolerance).contains(&c), "C = {c} on {cpus} CPUs");
    assert!(c <= d && d <= report.tasks.peak_threads as f64 * tolerance, "C = {c}, D = {d}, {:?}", report.tasks);
    assert!((1.0 - 1e-9..=cpus + 1e-9).contains(&report.parallelism.effective_cpus), "{:?}", report.parallelism);
    assert!(report.tasks.peak_threads <= report.tasks.threads, "{:?}", report.tasks);
}

fn quantiles_ascend(quantiles: &Quantiles) {
    let Quantiles { p50, p90, p99, max, .. } = quantiles;
    // Quantiles are read off buckets that are 12.5 % wide.
    let bucket = 1.125;
    assert!(p50 <= p90 && p90 <= p99 && *p99 <= max * bucket + ROUNDING_SECONDS, "{quantiles:?}");
}

fn assert_near(sum: f64, whole: f64, what: &str) {
    assert!((sum - whole).abs() <= ROUNDING_SECONDS + 1e-9 * whole, "{what}: the sum is {sum} and the whole is {whole}");
}
