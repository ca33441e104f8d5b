//! The figures of a cell. Pure.

use schedscope_workloads::median;
use serde::Serialize;

use super::sample::Sample;

/// How a figure of several runs follows from the figures of each.
trait Summary: Copy {
    fn of(runs: impl Iterator<Item = Self>) -> Self;
}

/// The median.
impl Summary for f64 {
    fn of(runs: impl Iterator<Item = f64>) -> f64 {
        median(runs).unwrap_or(0.0)
    }
}

/// The median of the runs that have it.
impl Summary for Option<f64> {
    fn of(runs: impl Iterator<Item = Option<f64>>) -> Option<f64> {
        median(runs.flatten())
    }
}

/// The sum: a lost observation is never outvoted.
impl Summary for u64 {
    fn of(runs: impl Iterator<Item = u64>) -> u64 {
        runs.sum()
    }
}

macro_rules! figures {
    ($(#[$about:meta])+ struct Figures { $($(#[$doc:meta])+ $name:ident: $kind:ty,)+ }) => {
        $(#[$about])+
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub(crate) struct Figures {
            $($(#[$doc])+ pub(crate) $name: $kind,)+
        }

        impl Figures {
            /// The figures of several runs, each summed up on its own; `None` of no run.
            pub(crate) fn summary(runs: &[Figures]) -> Option<Figures> {
                (!runs.is_empty()).then(|| Figures { $($name: Summary::of(runs.iter().map(|run| run.$name)),)+ })
            }
        }
    };
}

figures! {
    /// What the table and the verdicts are made of. C and D are over the window in which all workers were at work, where there was
    /// one; rates are over the whole run, starting and ending included.
    struct Figures {
        /// Starting and working, as the workload measures it.
        wall_seconds: f64,
        /// From the command's first instruction to its end, as the tracer measures it.
        outside_wall_seconds: f64,
        /// Working alone: the first worker's begin to the last one's end.
        work_seconds: f64,
        /// Part of the outside wall time in which all workers were at work.
        window_share: f64,
        /// Units of work done.
        work: f64,
        /// Wall time of the serial twin over that of this cell.
        speed_up: Option<f64>,
        /// The same over the work alone, without what starting costs.
        work_speed_up: Option<f64>,
        /// C: mean number of threads on a CPU.
        running_mean: f64,
        /// D: mean number of threads running or runnable.
        demand_mean: f64,
        /// On how many CPUs the work was spread.
        effective_cpus: f64,
        /// Switches because a thread blocked.
        voluntary_per_second: f64,
        /// Switches although a thread could have gone on.
        preempted_per_second: f64,
        /// Moves to another CPU.
        migrations_per_second: f64,
        /// Waking to running, 99th percentile; none without a wake-up.
        wakeup_latency_p99_seconds: Option<f64>,
        /// Memory of all processes, shared pages counted once.
        pss_bytes: Option<f64>,
        /// From the call that starts a worker to its first instruction.
        start_seconds: Option<f64>,
        /// CPU time of all threads.
        on_cpu_seconds: f64,
        /// Of the time that the workers ran or waited for a GIL, the part that they waited.
        gil_share: f64,
        /// Times a second that a thread gave a GIL up because another had asked for it.
        handoffs_per_second: f64,
        /// Losing a CPU to getting one again, median.
        preemption_wait_p50_seconds: f64,
        /// Time runnable over time running or runnable, of all threads.
        queued_share: f64,
        /// What a latency cell waited, median.
        latency_p50_seconds: Option<f64>,
        /// The same, 99th percentile.
        latency_p99_seconds: Option<f64>,
        /// Part of all CPU time that other programs took.
        foreign_share: f64,
        /// Part of all CPU time that the hypervisor gave to others.
        steal_share: f64,
        /// Observations that are missing.
        lost: u64,
    }
}

impl Figures {
    /// Figures of one run. The speed-ups need the serial twin's run as well.
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
            lost: report.loss.total,
        }
    }

    /// Adds the speed-ups over the twin's run, per unit of work, should the two ever do different amounts.
    pub(crate) fn compare_with(&mut self, twin: &Figures) {
        let amount = ratio(self.work, twin.work).unwrap_or(1.0);
        self.speed_up = ratio(amount * twin.wall_seconds, self.wall_seconds);
        self.work_speed_up = ratio(amount * twin.work_seconds, self.work_seconds);
    }

    /// Units of work per second of working.
    pub(crate) fn work_per_second(&self) -> f64 {
        self.work / self.work_seconds.max(1e-9)
    }
}

/// A quotient that is a number.
fn ratio(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor > 0.0).then(|| dividend / divisor).filter(|quotient| quotient.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sample::Workload;
    use crate::report::RunReport;
    use crate::report::schema::OverTime;

    #[test]
    fn several_runs_give_medians_and_the_sum_of_what_was_lost() {
        let run = |wall_seconds, pss_bytes, lost| Figures { wall_seconds, pss_bytes, lost, ..Figures::default() };
        let runs = [run(9.0, None, 0), run(1.0, Some(15.0), 3), run(2.0, Some(45.0), 0)];
        assert_eq!(Figures::summary(&runs), Some(run(2.0, Some(30.0), 3)));
        assert_eq!(Figures::summary(&[]), None);
    }

    /// A run of four seconds on four CPUs in which half a second of starting is no part of the window.
    fn sample() -> Sample {
        let mut report = RunReport { wall_seconds: 4.0, ..RunReport::default() };
        (report.cpus.online, report.cpus.allowed) = (4, 2);
        (report.parallelism.running_mean, report.parallelism.demand_mean, report.parallelism.effective_cpus) = (1.5, 2.5, 3.5);
        (report.switches.voluntary, report.switches.preempted, report.switches.yielded) = (400, 80, 4);
        report.migrations.total = 12;
        (report.time_seconds.on_cpu, report.time_seconds.runnable) = (6.0, 2.0);
        report.gil.handoffs_per_second = 50.0;
        report.preemption_wait_seconds.p50 = 0.004;
        report.gil.share = 0.75;
        report.wakeup_latency_seconds.p99 = 0.25;
        report.host.foreign_on_cpu_seconds = 1.6;
        report.loss.total = 3;
        let workload = Workload {
            work: 64,
            wall_seconds: 3.5,
            work_seconds: 3.0,
            start_seconds: Some(0.01),
            window_monotonic_ns: Some([10_500_000_000, 13_500_000_000]),
            pss_bytes: Some(1 << 20),
            ..Workload::default()
        };
        Sample { workload, report, steal_share: 0.02, ..Sample::default() }
    }

    #[test]
    fn every_figure_is_taken_from_its_source() {
        let expected = Figures {
            wall_seconds: 3.5,
            outside_wall_seconds: 4.0,
            work_seconds: 3.0,
            window_share: 0.75,
            work: 64.0,
            running_mean: 1.5,
            demand_mean: 2.5,
            effective_cpus: 3.5,
            voluntary_per_second: 100.0,
            preempted_per_second: 20.0,
            migrations_per_second: 3.0,
            pss_bytes: Some(1_048_576.0),
            start_seconds: Some(0.01),
            on_cpu_seconds: 6.0,
            gil_share: 0.75,
            handoffs_per_second: 50.0,
            preemption_wait_p50_seconds: 0.004,
            queued_share: 0.25,
            foreign_share: 0.1,
            steal_share: 0.02,
            lost: 3,
            ..Figures::default()
        };
        assert_eq!(Figures::of(&sample()), expected);
        let mut woken = sample();
        woken.report.wakeup_latency_seconds.count = 1;
        assert_eq!(Figures::of(&woken), Figures { wakeup_latency_p99_seconds: Some(0.25), ..expected.clone() });
        // Without a window, or with one that is longer than the run.
        let mut whole = sample();
        whole.workload.window_monotonic_ns = None;
        assert_eq!(Figures::of(&whole), Figures { window_share: 0.0, ..expected.clone() });
        whole.workload.window_monotonic_ns = Some([0, 90_000_000_000]);
        assert_eq!(Figures::of(&whole), Figures { window_share: 1.0, ..expected });
        let nothing = Figures::of(&Sample { report: RunReport::default(), ..sample() });
        let rates = [nothing.voluntary_per_second, nothing.foreign_share, nothing.window_share];
        assert!(rates.iter().all(|rate| rate.abs() < 1e-9), "{rates:?}");
    }

    #[test]
    fn the_means_are_those_of_the_window_if_it_can_be_resolved() {
        let means = |bin_seconds: f64, on_cpu: &[f64]| {
            let mut sample = sample();
            let runnable_seconds = on_cpu.iter().map(|seconds| seconds / 2.0).collect();
            let begin_monotonic_ns = 9_500_000_000;
            sample.report.over_time =
                Some(OverTime { begin_monotonic_ns, bin_seconds, on_cpu_seconds: on_cpu.to_vec(), runnable_seconds });
            let figures = Figures::of(&sample);
            format!("C {:.3} D {:.3}", figures.running_mean, figures.demand_mean)
        };
        // Three seconds are six columns of half a second: too few, and so are ten.
        assert_eq!(means(0.5, &[0.1, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), "C 1.500 D 2.500");
        assert_eq!(means(0.3, &[0.3; 16]), "C 1.500 D 2.500");
        assert_eq!(means(0.25, &[0.5; 16]), "C 2.000 D 3.000");
    }
}
