#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use schedscope::report::{RunReport, schema::OverTime};

use super::{
    super::cell::{Cell, Kind, Workload},
    *,
};

proptest! {
    #[test]
    fn half_of_the_values_lie_on_either_side_of_the_median(values in prop::collection::vec(-1e9..1e9_f64, 1..20)) {
        let middle = median(values.iter().copied()).unwrap();
        let below = values.iter().filter(|value| **value < middle).count();
        let above = values.iter().filter(|value| **value > middle).count();
        prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
    }

    #[test]
    fn ratios_are_numbers(dividend in any::<f64>(), divisor in any::<f64>()) {
        prop_assert!(ratio(dividend, divisor).is_none_or(f64::is_finite));
    }
}

#[test]
fn a_loss_in_one_run_of_three_is_not_outvoted() {
    let run = |lost| Figures { lost, wall_seconds: 1.0, ..Figures::default() };
    assert!((Figures::median(&[run(0.0), run(3.0), run(0.0)]).unwrap().lost - 3.0).abs() < 1e-9);
    assert_eq!(Figures::median(&[]), None);
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
        workers: 4,
        wall_seconds: 3.5,
        work_seconds: 3.0,
        start_seconds: Some(0.01),
        window_monotonic_ns: Some([10_500_000_000, 13_500_000_000]),
        pss_bytes: Some(1 << 20),
        ..Workload::default()
    };
    Sample { said: serde_json::Value::Null, workload, report, steal_share: 0.02 }
}

/// Columns of half a second, in the third to eighth of which all workers are at work.
fn over_time(bin_seconds: f64) -> OverTime {
    OverTime {
        begin_monotonic_ns: 9_500_000_000,
        bin_seconds,
        on_cpu_seconds: vec![0.1, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        runnable_seconds: vec![0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
    }
}

#[test]
fn every_figure_is_taken_from_its_source() {
    let expected = Figures {
        wall_seconds: 3.5,
        outside_wall_seconds: 4.0,
        work_seconds: 3.0,
        window_share: 0.75,
        work: 64.0,
        speed_up: None,
        work_speed_up: None,
        running_mean: 1.5,
        demand_mean: 2.5,
        effective_cpus: 3.5,
        voluntary_per_second: 100.0,
        preempted_per_second: 20.0,
        migrations_per_second: 3.0,
        wakeup_latency_p99_seconds: None,
        pss_bytes: Some(1_048_576.0),
        start_seconds: Some(0.01),
        on_cpu_seconds: 6.0,
        gil_share: 0.75,
        handoffs_per_second: 50.0,
        preemption_wait_p50_seconds: 0.004,
        queued_share: 0.25,
        latency_p50_seconds: None,
        latency_p99_seconds: None,
        foreign_share: 0.1,
        steal_share: 0.02,
        lost: 3.0,
    };
    assert_eq!(Figures::of(&sample()), expected);
    let mut woken = sample();
    woken.report.wakeup_latency_seconds.count = 1;
    assert_eq!(Figures::of(&woken), Figures { wakeup_latency_p99_seconds: Some(0.25), ..expected.clone() });
    // Without a window, or with more of one than there was a run.
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
    let means = |bin_seconds: f64| {
        let mut sample = sample();
        sample.report.over_time = Some(over_time(bin_seconds));
        let figures = Figures::of(&sample);
        (figures.running_mean, figures.demand_mean)
    };
    // Three seconds are six columns of half a second: too few.
    assert_eq!(means(0.5), (1.5, 2.5));
    assert_eq!(means(0.3), (1.5, 2.5), "ten columns are not more than ten");
    let mut sample = sample();
    sample.report.over_time =
        Some(OverTime { bin_seconds: 0.25, on_cpu_seconds: vec![0.5; 16], runnable_seconds: vec![0.25; 16], ..over_time(0.0) });
    let figures = Figures::of(&sample);
    assert!((figures.running_mean - 2.0).abs() < 1e-9 && (figures.demand_mean - 3.0).abs() < 1e-9, "{figures:?}");
}

#[test]
fn medians_are_taken_field_by_field() {
    let run = |n: f64| Figures {
        wall_seconds: n,
        outside_wall_seconds: 2.0 * n,
        work_seconds: 3.0 * n,
        window_share: 4.0 * n,
        work: 5.0 * n,
        speed_up: Some(6.0 * n),
        work_speed_up: Some(7.0 * n),
        running_mean: 8.0 * n,
        demand_mean: 9.0 * n,
        effective_cpus: 10.0 * n,
        voluntary_per_second: 11.0 * n,
        preempted_per_second: 12.0 * n,
        migrations_per_second: 13.0 * n,
        wakeup_latency_p99_seconds: Some(14.0 * n),
        pss_bytes: Some(15.0 * n),
        start_seconds: Some(16.0 * n),
        on_cpu_seconds: 18.0 * n,
        gil_share: 19.0 * n,
        handoffs_per_second: 20.0 * n,
        preemption_wait_p50_seconds: 21.0 * n,
        queued_share: 22.0 * n,
        latency_p50_seconds: Some(23.0 * n),
        latency_p99_seconds: Some(24.0 * n),
        steal_share: 25.0 * n,
        foreign_share: 17.0 * n,
        lost: 0.0,
    };
    assert_eq!(Figures::median(&[run(9.0), run(1.0), run(2.0)]), Some(run(2.0)));
    assert_eq!(Figures::median(&[run(4.0), run(1.0), run(2.0), run(9.0)]), Some(run(3.0)));
    let unknown = Figures { pss_bytes: None, ..run(1.0) };
    assert_eq!(Figures::median(&[unknown, run(2.0)]).unwrap().pss_bytes, Some(30.0), "of those that have it");
}

#[test]
fn speed_is_compared_with_the_twin_of_the_same_runtime_per_unit_of_work() {
    let row = |runtime: &str, id: &str, twin: Option<&str>, wall_seconds: f64, work: f64| {
        let cell = Cell {
            id: id.to_owned(),
            runtime: runtime.to_owned(),
            kind: Kind::Cpu,
            task: String::new(),
            model: String::new(),
            workers: 1,
            serial_twin: twin.map(str::to_owned),
            unit: None,
            program: "x".into(),
            arguments: Vec::new(),
            skipped: None,
        };
        let figures = Figures { wall_seconds, work_seconds: wall_seconds / 2.0, work, ..Figures::default() };
        Row::new(cell, Outcome::Measured { figures: Box::new(figures.clone()), runs: vec![figures], samples: Vec::new() })
    };
    let mut rows = vec![
        row("a", "serial", Some("serial"), 8.0, 64.0),
        row("a", "threads", Some("serial"), 2.0, 64.0),
        row("a", "more", Some("serial"), 2.0, 128.0),
        row("b", "serial", Some("serial"), 3.0, 64.0),
        row("b", "threads", Some("serial"), 2.0, 64.0),
        row("a", "alone", None, 2.0, 64.0),
        row("c", "threads", Some("serial"), 2.0, 64.0),
        row("a", "still", Some("serial"), 0.0, 64.0),
    ];
    rows[3].outcome = Outcome::Failed { why: String::new() };
    let speeds: Vec<Option<f64>> =
        with_speed_ups(rows).iter().map(|row| row.figures().and_then(|figures| figures.speed_up)).collect();
    assert_eq!(speeds, [Some(1.0), Some(4.0), Some(8.0), None, None, None, None, None]);
    let rows = vec![row("a", "serial", Some("serial"), 8.0, 64.0), row("a", "threads", Some("serial"), 2.0, 32.0)];
    let figures = with_speed_ups(rows)[1].figures().cloned().unwrap();
    assert_eq!((figures.speed_up, figures.work_speed_up), (Some(2.0), Some(2.0)));
}
