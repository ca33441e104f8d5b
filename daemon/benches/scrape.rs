//! How long it takes to make the text of a scrape of a large host, by the size that the design names, beside what the `prometheus`
//! crate's encoder takes for the same series: in turns, and byte for byte the same text.
//!
//! Prints the median and the quartiles in milliseconds, the size of the text in bytes, and the median of ours over theirs;
//! `cargo xtask bench` reads them. Ours begins with the totals; theirs with messages that are made already.

use std::time::Instant;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use schedscope::capture::distribution::Distribution;
use schedscope::capture::snapshot::{Cpu, Times};
use schedscope::capture::totals::Totals;
use schedscope::diagnose::{Lost, ModelName};
use schedscope::label::NameSource;
use schedscope::metrics::exposition::{CpuTotals, Exposition, Workload};
use schedscope::metrics::text::catalog_text;
use schedscope_ebpf::blocked::REASON_SLOTS;
use schedscope_ebpf::distance::{CpuPlace, Distance};

const WORKLOADS: u64 = 64;
const CPUS: u32 = 64;
/// Scrapes; of a host this size one comes every 15 seconds, so the first ones count as much as the others.
const SCRAPES: usize = 101;

/// Long numbers, as after weeks: each is another text of 14 or so digits.
fn figure(seed: u64) -> u64 {
    1_000_000_007 * (seed + 1) + 123_456_789_012
}

fn distribution(seed: u64) -> Distribution {
    let counts = std::array::from_fn(|bucket| seed + bucket as u64);
    let mut distribution = Distribution::default();
    distribution.add(&schedscope_ebpf::abi::Histogram { sum_ns: figure(seed), max_ns: figure(seed), counts });
    distribution
}

fn totals(number: u64) -> Totals {
    let blocked_ns: [u64; REASON_SLOTS] = std::array::from_fn(|reason| figure(number + reason as u64));
    Totals {
        times: Times {
            on_cpu_ns: figure(number),
            wakeup_wait_ns: figure(number),
            preempt_wait_ns: figure(number),
            transit_ns: figure(number),
            blocked_ns,
        },
        on_cpu_ns_by_cpu: (0..u64::from(CPUS)).map(|cpu| figure(number * 1_000 + cpu)).collect(),
        voluntary: figure(number),
        preempted: figure(number),
        migrations: [[figure(number); Distance::ALL.len()]; 2],
        threads: number,
        processes: number,
        timeslice: distribution(number),
        wakeup_latency: distribution(number + 1),
        preemption_wait: distribution(number + 2),
        ..Totals::default()
    }
}

fn exposition(workloads: &[(String, Totals)]) -> Exposition<'_> {
    let place = Some(CpuPlace { core: 0, llc: 0, node: 0, reserved: 0 });
    let cpu =
        |cpu| CpuTotals { cpu: Cpu(cpu), place, switches_from_task: 1, switches_from_idle: 1, idle_ns: figure(u64::from(cpu)) };
    let (source, pod_uid, image) = (NameSource::Unit, None, None);
    let (allowed_cpus, model) = (Some(CPUS), ModelName::ThreadsParallel);
    let ns = std::array::from_fn(|cause| figure(cause as u64));
    let lost = Lost { ns, throttled_ns: figure(1), throttled_periods: figure(2) };
    Exposition {
        workloads: workloads
            .iter()
            .map(|(name, totals)| Workload { name, source, pod_uid, image, began_ns: 0, allowed_cpus, model, lost, totals })
            .collect(),
        cpus: (0..CPUS).map(cpu).collect(),
        online_at_start: (0..CPUS).map(Cpu).collect(),
        ..Exposition::default()
    }
}

/// The families of a text, none of whose labels needs an escape.
fn families(text: &str) -> Vec<MetricFamily> {
    let mut families: Vec<MetricFamily> = Vec::new();
    let mut kind = MetricType::UNTYPED;
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            families.push(family);
            continue;
        }
        let Some(family) = families.last_mut() else { continue };
        if let Some((_, name)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind = match name {
                "counter" => MetricType::COUNTER,
                "gauge" => MetricType::GAUGE,
                _ => MetricType::HISTOGRAM,
            };
            family.set_field_type(kind);
        } else if let Some((series, value)) = line.rsplit_once(' ') {
            let (name, labels) = series.strip_suffix('}').and_then(|series| series.split_once('{')).unwrap_or((series, ""));
            let labels: Vec<LabelPair> = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(pair).collect();
            let value: f64 = value.parse().unwrap_or(f64::NAN);
            if kind == MetricType::HISTOGRAM {
                add_to_histogram(family, name, labels, value);
                continue;
            }
            let mut metric = Metric::from_label(labels);
            if kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            family.mut_metric().push(metric);
        }
    }
    families
}

fn pair((name, value): (&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.trim_end_matches('"').to_owned());
    pair
}

/// Takes a line of a histogram in; its count comes last. The encoder adds the bucket without an upper bound.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and far below 2^53")]
fn add_to_histogram(family: &mut MetricFamily, name: &str, mut labels: Vec<LabelPair>, value: f64) {
    let bound = name.ends_with("_bucket").then(|| labels.pop()).flatten();
    let is_first = bound.as_ref().is_some_and(|bound| bound.value() == "0.000001024");
    if is_first {
        family.mut_metric().push(Metric::from_label(labels));
    }
    let Some(metric) = family.mut_metric().last_mut() else { return };
    let mut histogram: Histogram = metric.get_histogram().clone();
    match bound {
        Some(bound) if bound.value() == "+Inf" => {}
        Some(bound) => {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound.value().parse().unwrap_or(f64::NAN));
            bucket.set_cumulative_count(value as u64);
            let mut buckets = histogram.get_bucket().to_vec();
            buckets.push(bucket);
            histogram.set_bucket(buckets);
        }
        None if name.ends_with("_sum") => histogram.set_sample_sum(value),
        None => histogram.set_sample_count(value as u64),
    }
    metric.set_histogram(histogram);
}

fn main() -> prometheus::Result<()> {
    let workloads: Vec<(String, Totals)> =
        (0..WORKLOADS).map(|number| (format!("a-service-with-a-name-{number}.service"), totals(number))).collect();
    let text = catalog_text(&exposition(&workloads));
    let families = families(&text);
    assert!(TextEncoder::new().encode_to_string(&families)? == text, "the crate's encoder writes another text");
    let (mut ours, mut theirs) = (Vec::with_capacity(SCRAPES), Vec::with_capacity(SCRAPES));
    for _ in 0..SCRAPES {
        ours.push(milliseconds(|| Ok(catalog_text(&exposition(&workloads))))?);
        theirs.push(milliseconds(|| TextEncoder::new().encode_to_string(&families))?);
    }
    let [quarter, half, three_quarters] = quartiles(&mut ours);
    let [_, theirs, _] = quartiles(&mut theirs);
    println!("{half:.3} {quarter:.3} {three_quarters:.3} {} {:.3}", text.len(), half / theirs);
    Ok(())
}

fn milliseconds(make: impl FnOnce() -> prometheus::Result<String>) -> prometheus::Result<f64> {
    let begin = Instant::now();
    std::hint::black_box(make()?);
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarters| values[quarters * values.len() / 4])
}
