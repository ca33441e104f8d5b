use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::catalog::{ALL, Bound, Kind};
use prometheus::proto::LabelPair;
use proptest::prelude::*;
use schedscope_ebpf::{
    abi::Histogram,
    blocked::Reason,
    bucket::{BUCKETS, index_of},
    loss::Loss,
};

use super::*;
use crate::capture::{distribution::Distribution, snapshot::Times};

fn distribution(values_ns: &[u64]) -> Distribution {
    let mut histogram = Histogram { sum_ns: 0, max_ns: 0, counts: [0; BUCKETS] };
    for &value_ns in values_ns {
        histogram.sum_ns += value_ns;
        histogram.max_ns = histogram.max_ns.max(value_ns);
        histogram.counts[index_of(value_ns)] += 1;
    }
    let mut distribution = Distribution::default();
    distribution.add(&histogram);
    distribution
}

fn web() -> Workload {
    let mut times = Times { on_cpu_ns: 2_500_000_000, wakeup_wait_ns: 1, preempt_wait_ns: 750_000_000, ..Times::default() };
    times.blocked_ns[Reason::Futex as usize] = 3_000_000_000;
    times.blocked_ns[Reason::Poll as usize] = 123_456_789;
    Workload {
        name: "web".into(),
        source: NameSource::Rule,
        allowed_cpus: Some(2),
        model: "threads (parallel)",
        totals: Totals {
            times,
            on_cpu_ns_by_cpu: vec![2_000_000_000, 0, 500_000_000],
            voluntary: 11,
            preempted: 7,
            yielded: 1,
            migrations: [[0, 5, 0, 0], [0, 0, 0, 2]],
            gil_handoffs: 4,
            gil_interval_ns: 5_000_000,
            threads_started: 8,
            processes_started: 1,
            threads: 8,
            processes: 1,
            timeslice: distribution(&[5_000_000, 5_000_000]),
            // On a bound, just above it, below the first, and above the last.
            wakeup_latency: distribution(&[2048, 2049, 1, 1 << 35]),
            preemption_wait: Distribution::default(),
            ..Totals::default()
        },
    }
}

fn exposition() -> Exposition {
    let mut losses = Losses::default();
    losses.0[Loss::TaskTableFull as usize] = 3;
    let place = CpuPlace { core: 0, llc: 0, node: 0, reserved: 0 };
    Exposition {
        pythons: [2, 0, 0, 0, 0],
        pythons_unresolved: [0, 0, 0, 1, 0, 0, 0, 0],
        workloads: vec![Workload { name: "other".into(), model: "idle", ..Workload::default() }, web()],
        cpus: vec![
            CpuTotals { cpu: Cpu(0), place: Some(place), switches_from_task: 5, switches_from_idle: 4, idle_ns: 1_500_000_000 },
            CpuTotals { cpu: Cpu(2), place: None, switches_from_task: 0, switches_from_idle: 1, idle_ns: 0 },
        ],
        online_at_start: vec![Cpu(0), Cpu(1)],
        losses,
        ended: Residuals { compared: 12, differing: 2, voluntary: 3, involuntary: 4, migrations: 5, on_cpu_ns: 6_000 },
        waiting: Residuals { compared: 40, differing: 1, ..Residuals::default() },
        torn_records: 1,
        programs: vec![Program { name: "sched_switch", attached: true, run_ns: 72_000, runs: 1000, recursion_misses: 0 }],
        bpf_measured_ns: 1_000_000_000,
        workloads_folded: 2,
        collection: Collection { duration_ns: 1_250_000, count: 9, errors: [0, 1, 0] },
        scrapes_refused: [4, 1],
        daemon_cpu_ns: 42_000_000,
    }
}

fn catalog_text(exposition: &Exposition) -> String {
    TextEncoder::new().encode_to_string(&families::families(exposition)).unwrap()
}

#[test]
fn the_exposition_is_the_golden_text() {
    let text = catalog_text(&exposition()).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/golden.prom");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(text == golden, "differs from {path}; look at the difference after UPDATE_GOLDEN=1 cargo test -p schedscope golden");
}

#[test]
fn every_row_of_the_catalog_is_exported_and_nothing_else() {
    let families = families::families(&exposition());
    let exported: Vec<&str> = families.iter().map(MetricFamily::name).collect();
    let rows: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(exported.len(), rows.len());
    assert_eq!(exported.into_iter().collect::<BTreeSet<_>>(), rows);
    for family in &families {
        let metric = ALL.iter().find(|metric| metric.name == family.name()).unwrap();
        assert!(!family.get_metric().is_empty(), "{} has no series", metric.name);
        let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for sample in family.get_metric() {
            let labels: Vec<&str> = sample.get_label().iter().map(LabelPair::name).collect();
            assert_eq!(labels, metric.labels.iter().map(|label| label.name).collect::<Vec<_>>(), "{}", metric.name);
            for pair in sample.get_label() {
                seen.entry(pair.name()).or_default().insert(pair.value());
            }
        }
        for label in metric.labels {
            if let Bound::Values(values) = label.bound {
                assert_eq!(seen[label.name], values.iter().copied().collect(), "{}: {}", metric.name, label.name);
            }
        }
    }
}

#[test]
fn the_number_of_series_is_counted_and_bounded() {
    let exposition = exposition();
    let text = catalog_text(&exposition);
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(text.contains(&format!("\nschedscope_exposition_series {samples}\n")));
    for metric in ALL {
        let starts = |line: &&str| {
            line.split(['{', ' ']).next().is_some_and(|name| {
                name == metric.name
                    || metric.kind == Kind::Histogram
                        && ["_bucket", "_sum", "_count"].iter().any(|suffix| name.strip_suffix(suffix) == Some(metric.name))
            })
        };
        let series = text.lines().filter(|line| !line.starts_with('#')).filter(starts).count();
        assert!(series <= metric.series_at_most(2, 3), "{}: {series}", metric.name);
    }
}

#[test]
fn a_scrape_adds_the_process_collector() {
    let text = Metrics::new().unwrap().text(exposition()).unwrap();
    assert!(text.starts_with(&catalog_text(&exposition())));
    assert!(text.contains("\nprocess_resident_memory_bytes "));
    assert!(text.contains("schedscope_workload_threads{workload=\"web\"} 8"));
}

#[test]
fn a_family_without_series_is_left_out() {
    let mut exposition = exposition();
    exposition.workloads.truncate(1);
    let text = Metrics::new().unwrap().text(exposition).unwrap();
    assert!(!text.contains("schedscope_workload_allowed_cpus"), "no workload has a process");
    assert!(text.contains("schedscope_workload_threads{"));
}

/// What the exposition says about the time of each workload on each CPU.
fn on_cpu_seconds(exposition: &Exposition) -> BTreeMap<(String, String), f64> {
    let families = families::families(exposition);
    let family = families.iter().find(|family| family.name() == catalog::WORKLOAD_ON_CPU.name).unwrap();
    let series = family.get_metric().iter().map(|sample| {
        let labels = sample.get_label();
        ((labels[0].value().to_owned(), labels[1].value().to_owned()), sample.get_counter().get_value())
    });
    series.collect()
}

#[test]
fn a_workload_that_has_not_run_has_a_zero_on_every_cpu() {
    let mut exposition = exposition();
    exposition.workloads[1].totals.on_cpu_ns_by_cpu = vec![0, 0, 0, 4_000_000_000];
    let seconds = on_cpu_seconds(&exposition);
    // Online at the start, seen switching, and never seen though something ran there.
    for cpu in ["0", "1", "2", "3"] {
        let of = |name: &str| seconds[&(name.to_owned(), cpu.to_owned())];
        let web = if cpu == "3" { 4.0 } else { 0.0 };
        assert!(of("other").abs() < 1e-9 && (of("web") - web).abs() < 1e-9, "{cpu}: {seconds:?}");
    }
    assert_eq!(seconds.len(), 8);
}

/// Reads label values back as the format prescribes, so that a quoting error shows as another value or a broken line.
fn label_values(line: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c != '"' {
            continue;
        }
        let mut value = String::new();
        loop {
            match chars.next().expect("a value that ends") {
                '"' => break,
                '\\' => value.push(match chars.next().expect("an escape that ends") {
                    'n' => '\n',
                    escaped => escaped,
                }),
                plain => value.push(plain),
            }
        }
        values.push(value);
    }
    values
}

proptest! {
    /// Whatever runs where, on CPUs that are known: the series of one scrape are those of the next, and none goes down. So the
    /// rates miss nothing.
    #[test]
    fn on_cpu_time_grows_from_zero_in_series_that_do_not_end(
        used_ns in prop::collection::vec(prop::collection::vec(0_u64..3, 0..6), 1..5),
        more_ns in prop::collection::vec(prop::collection::vec(0_u64..3, 6), 5),
        online in 0_u32..6,
    ) {
        let workload = |(index, used_ns): (usize, &Vec<u64>)| Workload {
            name: format!("w{index}"),
            totals: Totals { on_cpu_ns_by_cpu: used_ns.clone(), ..Totals::default() },
            ..Workload::default()
        };
        let mut exposition = Exposition {
            workloads: used_ns.iter().enumerate().map(workload).collect(),
            online_at_start: (0..online).map(Cpu).collect(),
            ..Exposition::default()
        };
        let before = on_cpu_seconds(&exposition);
        let cpus = (0..6).filter(|&cpu| cpu < online as usize || used_ns.iter().any(|used| used.get(cpu).is_some_and(|ns| *ns > 0)));
        prop_assert_eq!(before.len(), used_ns.len() * cpus.clone().count());
        for (workload, more_ns) in exposition.workloads.iter_mut().zip(&more_ns) {
            let used_ns = &mut workload.totals.on_cpu_ns_by_cpu;
            used_ns.resize(6, 0);
            for cpu in cpus.clone() {
                used_ns[cpu] += more_ns[cpu];
            }
        }
        let after = on_cpu_seconds(&exposition);
        prop_assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (series, seconds) in before {
            prop_assert!(after[&series] >= seconds, "{:?}", series);
        }
    }

    #[test]
    fn no_name_breaks_the_exposition(name in prop_oneof![any::<String>(), "[\\\\\"\n{},= a]{0,12}"]) {
        let mut exposition = exposition();
        let lines = catalog_text(&exposition).split('\n').count();
        exposition.workloads[1].name.clone_from(&name);
        let text = catalog_text(&exposition);
        prop_assert_eq!(text.split('\n').count(), lines);
        let line = text.split('\n').find(|line| line.starts_with("schedscope_workload_info") && line.contains("\"rule\"")).unwrap();
        prop_assert_eq!(label_values(line), [name, "rule".to_owned(), "threads (parallel)".to_owned()]);
    }
}
