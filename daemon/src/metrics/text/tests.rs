//! What a scrape says, by the text of it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use schedscope_ebpf::blocked::Reason;
use schedscope_ebpf::distance::CpuPlace;
use schedscope_ebpf::loss::Loss;

use super::*;
use crate::capture::distribution::tests::histogram;
use crate::capture::kernel::ProgramCost;
use crate::capture::reader::Health;
use crate::capture::snapshot::{Losses, Times};
use crate::diagnose::{Lost, ModelName};
use crate::label::NameSource;
use crate::metrics::catalog::{ALL, Bound, Kind};
use crate::metrics::exposition::{Collection, CpuTotals};

fn distribution(values_ns: &[u64]) -> Distribution {
    let mut distribution = Distribution::default();
    distribution.add(&histogram(values_ns));
    distribution
}

/// Of `other`, which has done nothing, and of `web`.
fn totals() -> [Totals; 2] {
    let mut times = Times { on_cpu_ns: 2_500_000_000, wakeup_wait_ns: 1, preempt_wait_ns: 750_000_000, ..Times::default() };
    times.blocked_ns[Reason::Futex as usize] = 3_000_000_000;
    times.blocked_ns[Reason::Poll as usize] = 123_456_789;
    let web = Totals {
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
        ..Totals::default()
    };
    [Totals::default(), web]
}

fn workload<'a>(name: &'a str, source: NameSource, totals: &'a Totals) -> Workload<'a> {
    let allowed_cpus = (totals.processes > 0).then_some(2);
    let model = if totals.threads > 0 { ModelName::ThreadsParallel } else { ModelName::Idle };
    let mut lost = Lost::default();
    if totals.threads > 0 {
        lost.ns[LostCause::Others as usize] = 1_500_000_000;
        lost.ns[LostCause::WaitFutex as usize] = 7;
        (lost.throttled_ns, lost.throttled_periods) = (250_000_000, 3);
    }
    let (pod_uid, image, began_ns) = (None, None, 1_700_000_000_250_000_000);
    Workload { name, source, pod_uid, image, began_ns, allowed_cpus, model, lost, totals }
}

fn exposition([other, web]: &[Totals; 2]) -> Exposition<'_> {
    let mut losses = Losses::default();
    losses.0[Loss::TaskTableFull as usize] = 3;
    let place = CpuPlace { core: 0, llc: 0, node: 0, reserved: 0 };
    Exposition {
        pythons: [2, 0, 0, 0, 0],
        pythons_unresolved: [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        reader: Health { restarts: [2, 0, 0, 0, 1, 0], left_behind: 1, has_given_up: false, cpu_ns: 1_500_000_000 },
        workloads: vec![
            workload("other", NameSource::Other, other),
            Workload {
                pod_uid: Some("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"),
                image: Some("registry.example/shop/web:1.27"),
                ..workload("k8s:shop/web-0/app", NameSource::Container, web)
            },
        ],
        cpus: vec![
            CpuTotals { cpu: Cpu(0), place: Some(place), switches_from_task: 5, switches_from_idle: 4, idle_ns: 1_500_000_000 },
            CpuTotals { cpu: Cpu(2), place: None, switches_from_task: 0, switches_from_idle: 1, idle_ns: 0 },
        ],
        online_at_start: vec![Cpu(0), Cpu(1)],
        losses,
        ended: Residuals { compared: 12, differing: 2, voluntary: 3, involuntary: 4, migrations: 5, on_cpu_ns: 6_000 },
        waiting: Residuals { compared: 40, differing: 1, ..Residuals::default() },
        torn_records: 1,
        programs: vec![Program {
            attached: true,
            cost: ProgramCost { name: "sched_switch", run_ns: 72_000, runs: 1000, recursion_misses: 0 },
        }],
        bpf_measured_ns: Some(1_000_000_000),
        workloads_folded: 2,
        workloads_ended: 6,
        collection: Collection { duration_ns: 1_250_000, count: 9, errors: [0, 1, 0, 0] },
        refused: [4, 1],
        daemon_cpu_ns: 42_000_000,
    }
}

/// A sample: name, labels and value.
type Sample<'a> = (&'a str, Vec<(String, String)>, f64);

fn samples(text: &str) -> Vec<Sample<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> Sample<'_> {
    let (metric, mut rest) = line.split_at(line.find(['{', ' ']).unwrap());
    let mut labels = Vec::new();
    while let Some(label) = rest.strip_prefix(['{', ',']) {
        let (name, value) = label.split_once("=\"").unwrap();
        let mut chars = value.chars();
        let mut unescaped = String::new();
        loop {
            match chars.next().expect("a value that ends") {
                '"' => break,
                '\\' => unescaped.push(match chars.next().expect("an escape that ends") {
                    'n' => '\n',
                    escaped => escaped,
                }),
                plain => unescaped.push(plain),
            }
        }
        labels.push((name.to_owned(), unescaped));
        rest = chars.as_str();
    }
    (metric, labels, rest.trim_start_matches('}').trim().parse().unwrap())
}

#[test]
fn the_exposition_is_the_golden_text() {
    let text = catalog_text(&exposition(&totals())).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/golden.prom");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(text == golden, "differs from {path}; look at the difference after UPDATE_GOLDEN=1 cargo test -p schedscope golden");
}

#[test]
fn every_row_of_the_catalog_is_exported_and_nothing_else() {
    let totals = totals();
    let text = catalog_text(&exposition(&totals));
    let samples = samples(&text);
    assert!(text.contains(&format!("\nschedscope_exposition_series {}\n", samples.len())));
    let mut exported = 0;
    for metric in ALL {
        let is_of = |name: &str| {
            name.strip_prefix(metric.name).is_some_and(|suffix| {
                suffix.is_empty() || metric.kind == Kind::Histogram && ["_bucket", "_sum", "_count"].contains(&suffix)
            })
        };
        let own: Vec<_> = samples.iter().filter(|(name, ..)| is_of(name)).collect();
        exported += own.len();
        assert!(!own.is_empty(), "{} has no series", metric.name);
        assert!(own.len() <= metric.series_at_most(2, 3), "{}: {}", metric.name, own.len());
        let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (_, labels, _) in own {
            let names = labels.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "le");
            assert_eq!(names.collect::<Vec<_>>(), metric.labels.iter().map(|label| label.name).collect::<Vec<_>>());
            for (name, value) in labels {
                seen.entry(name).or_default().insert(value);
            }
        }
        for label in metric.labels {
            if let Bound::Values(values) = label.bound {
                assert_eq!(seen[label.name], values.iter().copied().collect(), "{}: {}", metric.name, label.name);
            }
        }
    }
    assert_eq!(exported, samples.len());
}

#[test]
fn a_scrape_adds_the_process_collector() {
    let totals = totals();
    let text = encode(&exposition(&totals), &ProcessCollector::for_self()).unwrap();
    assert!(text.starts_with(&catalog_text(&exposition(&totals))));
    assert!(text.contains("\nprocess_resident_memory_bytes "));
}

#[test]
fn a_family_without_series_is_left_out() {
    let totals = totals();
    let mut exposition = exposition(&totals);
    exposition.workloads.truncate(1);
    let text = catalog_text(&exposition);
    assert!(!text.contains("schedscope_workload_allowed_cpus"), "no workload has a process");
    assert!(text.contains("schedscope_workload_threads{"));
}

/// What the exposition says about the time of each workload on each CPU.
fn on_cpu_seconds(exposition: &Exposition<'_>) -> BTreeMap<(String, String), f64> {
    let text = catalog_text(exposition);
    let on_cpu = samples(&text).into_iter().filter(|(name, ..)| *name == catalog::WORKLOAD_ON_CPU.name);
    on_cpu.map(|(_, labels, seconds)| ((labels[0].1.clone(), labels[1].1.clone()), seconds)).collect()
}

/// Text that means something in the format.
fn strange() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\\\\"\n{},= a]{0,12}"]
}

proptest! {
    /// Whatever runs where, on CPUs that were online at the start, were seen switching, or ran something: the series of one scrape are
    /// those of the next, and none goes down. So the rates miss nothing.
    #[test]
    fn on_cpu_time_grows_from_zero_in_series_that_do_not_end(
        used_ns in prop::collection::vec(prop::collection::vec(0_u64..3, 0..6), 1..5),
        more_ns in prop::collection::vec(prop::collection::vec(0_u64..3, 6), 5),
        online in 0_u32..6,
        switching in 0_u32..6,
    ) {
        let names = ["a", "b", "c", "d"];
        let seconds = |used_ns: &[Vec<u64>]| {
            let on_cpu = |used_ns: &Vec<u64>| Totals { on_cpu_ns_by_cpu: used_ns.clone(), ..Totals::default() };
            let totals: Vec<Totals> = used_ns.iter().map(on_cpu).collect();
            on_cpu_seconds(&Exposition {
                workloads: names.iter().zip(&totals).map(|(name, totals)| workload(name, NameSource::Unit, totals)).collect(),
                online_at_start: (0..online).map(Cpu).collect(),
                cpus: vec![CpuTotals { cpu: Cpu(switching), place: None, switches_from_task: 1, switches_from_idle: 1, idle_ns: 0 }],
                ..Exposition::default()
            })
        };
        let before = seconds(&used_ns);
        let has_run = |cpu: usize| used_ns.iter().any(|used| used.get(cpu).is_some_and(|ns| *ns > 0));
        let cpus = (0..6).filter(|&cpu| cpu < online as usize || cpu == switching as usize || has_run(cpu));
        prop_assert_eq!(before.len(), used_ns.len() * cpus.clone().count());
        let mut later_ns = used_ns.clone();
        for (used_ns, more_ns) in later_ns.iter_mut().zip(&more_ns) {
            used_ns.resize(6, 0);
            for cpu in cpus.clone() {
                used_ns[cpu] += more_ns[cpu];
            }
        }
        let after = seconds(&later_ns);
        prop_assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (series, seconds) in before {
            prop_assert!(after[&series] >= seconds, "{:?}", series);
        }
    }

    #[test]
    fn no_name_and_no_image_breaks_the_exposition(name in strange(), image in strange()) {
        let totals = totals();
        let mut exposition = exposition(&totals);
        let lines = catalog_text(&exposition).split('\n').count();
        (exposition.workloads[1].name, exposition.workloads[1].image) = (&name, Some(image.as_str()));
        let text = catalog_text(&exposition);
        prop_assert_eq!(text.split('\n').count(), lines);
        // Not `lines()`, which also takes a carriage return for an end.
        let info = text.split('\n').filter(|line| line.starts_with("schedscope_workload_info")).map(samples);
        let (_, labels, _) = info.flatten().nth(1).unwrap();
        prop_assert_eq!([&labels[0].1, &labels[4].1], [&name, &image]);
    }

    /// As far as a float can hold it.
    #[test]
    fn seconds_are_the_nanoseconds(ns in prop_oneof![any::<u64>(), 0..5_000_000_000_u64, (0..99_u64).prop_map(|s| s * 1_000_000_000)]) {
        let text = Number(Unit::Seconds, ns).to_string();
        let seconds: f64 = text.parse().unwrap();
        prop_assert!((seconds - ns as f64 / 1e9).abs() <= f64::EPSILON * seconds, "{}", text);
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = fraction.len();
        prop_assert!(digits <= 9 && !fraction.ends_with('0'), "{}", text);
        prop_assert_eq!(whole.parse::<u64>().unwrap() * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().unwrap(), ns);
    }
}
