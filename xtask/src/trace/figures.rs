//! The figures of a cell. Pure.

use std::collections::HashMap;

use serde::Serialize;

use super::cell::{Outcome, Row, Sample};

/// What the table and the verdicts are made of. C and D are over the window in which all workers were at work, where there was
/// one; rates are over the whole run, starting and ending included.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Starting and working, as the workload measures it.
    pub(crate) wall_seconds: f64,
    /// From the command's first instruction to its end, as the tracer measures it.
    pub(crate) outside_wall_seconds: f64,
    /// Working alone: the first worker's begin to the last one's end.
    pub(crate) work_seconds: f64,
    /// Part of the outside wall time in which all workers were at work.
    pub(crate) window_share: f64,
    /// Units of work done.
    pub(crate) work: f64,
    /// Wall time of the serial twin over that of this cell.
    pub(crate) speed_up: Option<f64>,
    /// The same over the work alone, without what starting costs.
    pub(crate) work_speed_up: Option<f64>,
    /// C: mean number of threads on a CPU.
    pub(crate) running_mean: f64,
    /// D: mean number of threads running or runnable.
    pub(crate) demand_mean: f64,
    /// On how many CPUs the work was spread.
    pub(crate) effective_cpus: f64,
    /// Switches because a thread blocked.
    pub(crate) voluntary_per_second: f64,
    /// Switches although a thread could have gone on.
    pub(crate) preempted_per_second: f64,
    /// Moves to another CPU.
    pub(crate) migrations_per_second: f64,
    /// Waking to running, 99th percentile; none without a wake-up.
    pub(crate) wakeup_latency_p99_seconds: Option<f64>,
    /// Memory of all processes, shared pages counted once.
    pub(crate) pss_bytes: Option<f64>,
    /// From the call that starts a worker to its first instruction.
    pub(crate) start_seconds: Option<f64>,
    /// CPU time of all threads.
    pub(crate) on_cpu_seconds: f64,
    /// Of the time in which the workers ran or waited for a GIL, the part that they waited.
    pub(crate) gil_share: f64,
    /// Times a second that a thread gave a GIL up because another had asked for it.
    pub(crate) handoffs_per_second: f64,
    /// Losing a CPU to getting one again, median.
    pub(crate) preemption_wait_p50_seconds: f64,
    /// Time runnable over time running or runnable, of all threads.
    pub(crate) queued_share: f64,
    /// What a latency cell waited, median.
    pub(crate) latency_p50_seconds: Option<f64>,
    /// The same, 99th percentile.
    pub(crate) latency_p99_seconds: Option<f64>,
    /// Part of all CPU time that other programs took meanwhile.
    pub(crate) foreign_share: f64,
    /// Part of all CPU time that the hypervisor gave to others.
    pub(crate) steal_share: f64,
    /// Observations that are missing.
    pub(crate) lost: f64,
}

impl Figures {
    /// Figures of one run.
    pub(crate) fn of(sample: &Sample) -> Figures {
        let Sample { workload, report, steal_share, .. } = sample;
        let per_second = |count: u64| ratio(count as f64, report.wall_seconds).unwrap_or(0.0);
        let latency = &report.wakeup_latency_seconds;
        let window = workload.window_monotonic_ns.map_or(0.0, |[begin, end]| end.saturating_sub(begin) as f64 / 1e9);
        let whole = (report.parallelism.running_mean, report.parallelism.demand_mean);
        let at_work = workload
            .window_monotonic_ns
            .and_then(|[begin, end]| report.over_time.as_ref()?.means(begin, end))
            // A window of a few columns is shorter than what sampling resolves.
            .filter(|_| window > 10.0 * report.over_time.as_ref().map_or(0.0, |over_time| over_time.bin_seconds));
        let (running_mean, demand_mean) = at_work.unwrap_or(whole);
        let capacity = report.wall_seconds * f64::from(report.cpus.online);
        Figures {
            wall_seconds: workload.wall_seconds,
            outside_wall_seconds: report.wall_seconds,
            work_seconds: workload.work_seconds,
            window_share: ratio(window, report.wall_seconds).unwrap_or(0.0).min(1.0),
            work: workload.work as f64,
            speed_up: None,
            work_speed_up: None,
            running_mean,
            demand_mean,
            effective_cpus: report.parallelism.effective_cpus,
            voluntary_per_second: per_second(report.switches.voluntary),
            preempted_per_second: per_second(report.switches.preempted),
            migrations_per_second: per_second(report.migrations.total),
            wakeup_latency_p99_seconds: (latency.count > 0).then_some(latency.p99),
            pss_bytes: workload.pss_bytes.map(|bytes| bytes as f64),
            start_seconds: workload.start_seconds,
            on_cpu_seconds: report.time_seconds.on_cpu,
            gil_share: report.gil.share,
            handoffs_per_second: report.gil.handoffs_per_second,
            preemption_wait_p50_seconds: report.preemption_wait_seconds.p50,
            queued_share: ratio(report.time_seconds.runnable, report.time_seconds.runnable + report.time_seconds.on_cpu)
                .unwrap_or(0.0),
            latency_p50_seconds: workload.latency_seconds.map(|latency| latency.p50),
            latency_p99_seconds: workload.latency_seconds.map(|latency| latency.p99),
            foreign_share: ratio(report.host.foreign_on_cpu_seconds, capacity).unwrap_or(0.0),
            steal_share: *steal_share,
            lost: report.loss.total as f64,
        }
    }

    /// Field by field the median of several runs; of the loss it is the sum, as a lost observation is never outvoted.
    pub(crate) fn median(runs: &[Figures]) -> Option<Figures> {
        let of = |field: fn(&Figures) -> f64| median(runs.iter().map(field));
        let maybe = |field: fn(&Figures) -> Option<f64>| median(runs.iter().filter_map(field));
        Some(Figures {
            wall_seconds: of(|run| run.wall_seconds)?,
            outside_wall_seconds: of(|run| run.outside_wall_seconds)?,
            work_seconds: of(|run| run.work_seconds)?,
            window_share: of(|run| run.window_share)?,
            work: of(|run| run.work)?,
            speed_up: maybe(|run| run.speed_up),
            work_speed_up: maybe(|run| run.work_speed_up),
            running_mean: of(|run| run.running_mean)?,
            demand_mean: of(|run| run.demand_mean)?,
            effective_cpus: of(|run| run.effective_cpus)?,
            voluntary_per_second: of(|run| run.voluntary_per_second)?,
            preempted_per_second: of(|run| run.preempted_per_second)?,
            migrations_per_second: of(|run| run.migrations_per_second)?,
            wakeup_latency_p99_seconds: maybe(|run| run.wakeup_latency_p99_seconds),
            pss_bytes: maybe(|run| run.pss_bytes),
            start_seconds: maybe(|run| run.start_seconds),
            on_cpu_seconds: of(|run| run.on_cpu_seconds)?,
            gil_share: of(|run| run.gil_share)?,
            handoffs_per_second: of(|run| run.handoffs_per_second)?,
            preemption_wait_p50_seconds: of(|run| run.preemption_wait_p50_seconds)?,
            queued_share: of(|run| run.queued_share)?,
            latency_p50_seconds: maybe(|run| run.latency_p50_seconds),
            latency_p99_seconds: maybe(|run| run.latency_p99_seconds),
            foreign_share: of(|run| run.foreign_share)?,
            steal_share: of(|run| run.steal_share)?,
            lost: runs.iter().map(|run| run.lost).sum(),
        })
    }
}

/// Adds the speed-ups, which need the serial twins: each run is compared with the twin's run of the same round, which was made
/// close to it in time.
pub(crate) fn with_speed_ups(mut rows: Vec<Row>) -> Vec<Row> {
    let key = |runtime: &str, id: &str| (runtime.to_owned(), id.to_owned());
    let twins: HashMap<(String, String), Vec<Figures>> = rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Measured { runs, .. } => Some((key(&row.cell.runtime, &row.cell.id), runs.clone())),
            _ => None,
        })
        .collect();
    for row in &mut rows {
        let Some(twin) = row.cell.serial_twin.as_ref().and_then(|twin| twins.get(&key(&row.cell.runtime, twin))) else { continue };
        if let Outcome::Measured { figures, runs, .. } = &mut row.outcome {
            for (run, twin) in runs.iter_mut().zip(twin) {
                // Per unit of work, should a cell ever do another amount than its twin.
                let amount = ratio(run.work, twin.work).unwrap_or(1.0);
                run.speed_up = ratio(amount * twin.wall_seconds, run.wall_seconds);
                run.work_speed_up = ratio(amount * twin.work_seconds, run.work_seconds);
            }
            if let Some(medians) = Figures::median(runs) {
                **figures = medians;
            }
        }
    }
    rows
}

/// The middle value, or the mean of the two; `None` of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    Some(f64::midpoint(values[middle], values[values.len() / 2]))
}

/// A quotient that is a number.
fn ratio(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor > 0.0).then(|| dividend / divisor).filter(|quotient| quotient.is_finite())
}

#[cfg(test)]
mod tests;
