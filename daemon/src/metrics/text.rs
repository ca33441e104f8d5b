//! An [`Exposition`] in Prometheus's text format, version 0.0.4. Nanoseconds are written as seconds, exactly.
//!
//! Our families are written straight into the text: a scrape of 64 workloads on 64 CPUs has 13,000 series, and building and encoding
//! the `prometheus` crate's messages for them takes several times as long. `benches/scrape.rs` compares the two, in time and byte by
//! byte. The crate collects and encodes the metrics of the process.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use prometheus::TextEncoder;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use schedscope_ebpf::abi::Cause;
use schedscope_ebpf::distance::Distance;
use schedscope_ebpf::residual::Residuals;

use super::catalog::{self, Metric, Unit};
use super::exposition::{Exposition, Program, Workload};
use super::labels::{CpuSwitchKind, Quantity, Refusal, Stage, Verdict};
use crate::capture::distribution::Distribution;
use crate::capture::python::{GilKind, Unresolved};
use crate::capture::reader::Restart;
use crate::capture::snapshot::Cpu;
use crate::capture::totals::{RunnableCause, SwitchKind, Totals, busy_cpus};
use crate::diagnose::LostCause;
use crate::label::OTHER;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of a scrape: the catalog's metrics, and the `process_*` set of this process.
///
/// # Errors
/// If the process collector's metrics cannot be encoded.
pub(crate) fn encode(exposition: &Exposition<'_>, process: &ProcessCollector) -> prometheus::Result<String> {
    let mut text = catalog_text(exposition);
    TextEncoder::new().encode_utf8(&process.collect(), &mut text)?;
    Ok(text)
}

/// The catalog's part of the text. Series known in advance are there from the start, with 0.
pub fn catalog_text(exposition: &Exposition<'_>) -> String {
    let mut text = Text::default();
    workload_times(&mut text, exposition);
    workload_counts(&mut text, &exposition.workloads);
    workload_state(&mut text, &exposition.workloads);
    pythons(&mut text, exposition);
    cpus(&mut text, exposition);
    check(&mut text, exposition);
    collection(&mut text, exposition);
    programs(&mut text, exposition);
    let series = text.series + 1;
    text.single(&catalog::EXPOSITION_SERIES, series);
    text.out
}

/// The CPUs on which every workload has a series, in order: a rate needs the 0 before the first run on a CPU. None ever leaves
/// this list, so no series ends.
fn cpus_of_workloads(exposition: &Exposition<'_>) -> BTreeSet<Cpu> {
    let seen = exposition.cpus.iter().map(|cpu| cpu.cpu);
    let busy = exposition.workloads.iter().flat_map(|workload| busy_cpus(&workload.totals.on_cpu_ns_by_cpu)).map(|(cpu, _)| cpu);
    exposition.online_at_start.iter().copied().chain(seen).chain(busy).collect()
}

fn workload_times(text: &mut Text, exposition: &Exposition<'_>) {
    let workloads = &exposition.workloads;
    let cpus: Vec<(usize, String)> =
        cpus_of_workloads(exposition).into_iter().map(|cpu| (cpu.0 as usize, cpu.0.to_string())).collect();
    text.family(&catalog::WORKLOAD_ON_CPU, workloads, |family, Workload { name, totals, .. }| {
        for (cpu, number) in &cpus {
            family.add(&[name, number], totals.on_cpu_ns_by_cpu.get(*cpu).copied().unwrap_or(0));
        }
    });
    text.family(&catalog::WORKLOAD_RUNNABLE, workloads, |family, Workload { name, totals, .. }| {
        for cause in RunnableCause::ALL {
            family.add(&[name, cause.name()], totals.runnable_ns(cause));
        }
    });
    text.per_workload(&catalog::WORKLOAD_TRANSIT, workloads, |totals| totals.times.transit_ns);
    text.family(&catalog::WORKLOAD_BLOCKED, workloads, |family, Workload { name, totals, .. }| {
        for (reason, ns) in totals.times.blocked_by_reason() {
            family.add(&[name, reason.name()], ns);
        }
    });
    text.family(&catalog::WORKLOAD_LOST, workloads, |family, Workload { name, lost, .. }| {
        for cause in LostCause::ALL {
            family.add(&[name, cause.name()], lost.ns[cause as usize]);
        }
    });
    text.family(&catalog::WORKLOAD_THROTTLED, workloads, |family, workload| {
        family.add(&[workload.name], workload.lost.throttled_ns);
    });
    text.family(&catalog::WORKLOAD_THROTTLED_PERIODS, workloads, |family, workload| {
        family.add(&[workload.name], workload.lost.throttled_periods);
    });
    text.distributions(&catalog::WORKLOAD_WAKEUP_LATENCY, workloads, |totals| &totals.wakeup_latency);
    text.distributions(&catalog::WORKLOAD_PREEMPTION_WAIT, workloads, |totals| &totals.preemption_wait);
    text.distributions(&catalog::WORKLOAD_TIMESLICE, workloads, |totals| &totals.timeslice);
}

fn workload_counts(text: &mut Text, workloads: &[Workload<'_>]) {
    text.family(&catalog::WORKLOAD_SWITCHES, workloads, |family, Workload { name, totals, .. }| {
        for kind in SwitchKind::ALL {
            family.add(&[name, kind.name()], totals.switches(kind));
        }
    });
    text.family(&catalog::WORKLOAD_MIGRATIONS, workloads, |family, Workload { name, totals, .. }| {
        for cause in Cause::ALL {
            for distance in Distance::ALL {
                family.add(&[name, cause.name(), distance.name()], totals.migrations[cause as usize][distance as usize]);
            }
        }
    });
    text.per_workload(&catalog::WORKLOAD_THREADS_STARTED, workloads, |totals| totals.threads_started);
    text.per_workload(&catalog::WORKLOAD_PROCESSES_STARTED, workloads, |totals| totals.processes_started);
    text.per_workload(&catalog::WORKLOAD_GIL_HANDOFFS, workloads, |totals| totals.gil_handoffs);
}

fn workload_state(text: &mut Text, workloads: &[Workload<'_>]) {
    text.family(&catalog::WORKLOAD_START_TIME, workloads, |family, workload| family.add(&[workload.name], workload.began_ns));
    text.per_workload(&catalog::WORKLOAD_THREADS, workloads, |totals| totals.threads);
    text.per_workload(&catalog::WORKLOAD_PROCESSES, workloads, |totals| totals.processes);
    let allowed = workloads.iter().filter_map(|workload| Some((workload.name, workload.allowed_cpus?)));
    text.family(&catalog::WORKLOAD_ALLOWED_CPUS, allowed, |family, (name, cpus)| family.add(&[name], cpus.into()));
    text.family(&catalog::WORKLOAD_INFO, workloads, |family, workload| {
        let Workload { name, source, model, pod_uid, image, .. } = workload;
        // For Prometheus an empty label is as good as none.
        family.add(&[name, source.name(), model.name(), pod_uid.unwrap_or_default(), image.unwrap_or_default()], 1);
    });
    let waited = workloads.iter().filter(|workload| workload.totals.gil_interval_ns > 0);
    text.family(&catalog::WORKLOAD_GIL_SWITCH_INTERVAL, waited, |family, Workload { name, totals, .. }| {
        family.add(&[name], totals.gil_interval_ns);
    });
}

fn pythons(text: &mut Text, exposition: &Exposition<'_>) {
    text.family(&catalog::PYTHON_PROCESSES, GilKind::ALL, |family, kind| {
        family.add(&[kind.name()], exposition.pythons[kind as usize]);
    });
    text.family(&catalog::PYTHON_PROCESSES_UNRESOLVED, Unresolved::ALL, |family, reason| {
        family.add(&[reason.name()], exposition.pythons_unresolved[reason as usize]);
    });
    let reader = exposition.reader;
    text.family(&catalog::READER_RESTARTS, Restart::ALL, |family, reason| {
        family.add(&[reason.name()], reader.restarts[reason as usize]);
    });
    text.single(&catalog::READERS_LEFT_BEHIND, reader.left_behind);
    text.single(&catalog::READER_STOPPED, reader.has_given_up.into());
}

fn cpus(text: &mut Text, exposition: &Exposition<'_>) {
    text.family(&catalog::CPU_SWITCHES, &exposition.cpus, |family, cpu| {
        for kind in CpuSwitchKind::ALL {
            let count = match kind {
                CpuSwitchKind::FromTask => cpu.switches_from_task,
                CpuSwitchKind::FromIdle => cpu.switches_from_idle,
            };
            family.add(&[&cpu.cpu.0.to_string(), kind.name()], count);
        }
    });
    text.family(&catalog::CPU_IDLE, &exposition.cpus, |family, cpu| family.add(&[&cpu.cpu.0.to_string()], cpu.idle_ns));
    text.family(&catalog::CPU_TOPOLOGY, &exposition.cpus, |family, cpu| {
        if let Some(place) = cpu.place {
            let [cpu, core, llc, node] = [cpu.cpu.0, place.core, place.llc, place.node].map(|number| number.to_string());
            family.add(&[&cpu, &core, &llc, &node], 1);
        }
    });
}

fn check(text: &mut Text, exposition: &Exposition<'_>) {
    for (metric, compared) in [(&catalog::CHECK_THREADS, exposition.ended), (&catalog::CHECK_WAITING_THREADS, exposition.waiting)] {
        text.family(metric, Verdict::ALL, |family, verdict| {
            let count = match verdict {
                Verdict::Equal => compared.compared.saturating_sub(compared.differing),
                Verdict::Differing => compared.differing,
            };
            family.add(&[verdict.name()], count);
        });
    }
    let Residuals { voluntary, involuntary, migrations, on_cpu_ns, .. } = exposition.ended;
    text.family(&catalog::CHECK_RESIDUAL, Quantity::ALL, |family, quantity| {
        let residual = match quantity {
            Quantity::Voluntary => voluntary,
            Quantity::Involuntary => involuntary,
            Quantity::Migrations => migrations,
        };
        family.add(&[quantity.name()], residual);
    });
    text.single(&catalog::CHECK_RESIDUAL_SECONDS, on_cpu_ns);
}

fn collection(text: &mut Text, exposition: &Exposition<'_>) {
    let Exposition { losses, collection, refused, workloads, .. } = exposition;
    text.family(&catalog::EVENTS_LOST, losses.by_reason(), |family, (loss, count)| family.add(&[loss.name()], count));
    text.family(&catalog::COLLECTION_ERRORS, Stage::ALL, |family, stage| {
        family.add(&[stage.name()], collection.errors[stage as usize]);
    });
    text.family(&catalog::SCRAPES_REFUSED, Refusal::ALL, |family, refusal| {
        family.add(&[refusal.name()], refused[refusal as usize]);
    });
    text.single(&catalog::TORN_RECORDS, exposition.torn_records);
    text.single(&catalog::WORKLOADS_FOLDED, exposition.workloads_folded);
    let named = workloads.iter().filter(|workload| workload.name != OTHER).count();
    text.single(&catalog::WORKLOADS_ENDED, exposition.workloads_ended);
    text.single(&catalog::WORKLOADS_NAMED, named as u64);
    text.single(&catalog::COLLECTION_DURATION, collection.duration_ns);
    text.single(&catalog::COLLECTIONS, collection.count);
    text.single(&catalog::DAEMON_CPU, exposition.daemon_cpu_ns);
    text.family(&catalog::BPF_MEASURED, exposition.bpf_measured_ns, |family, ns| family.add(&[], ns));
    text.family(&catalog::BUILD_INFO, [env!("CARGO_PKG_VERSION")], |family, version| family.add(&[version], 1));
}

fn programs(text: &mut Text, Exposition { programs, bpf_measured_ns, .. }: &Exposition<'_>) {
    let mut of_each = |metric, value: fn(&Program) -> u64| {
        text.family(metric, catalog::PROGRAMS, |family, name| {
            family.add(&[name], programs.iter().find(|program| program.cost.name == name).map_or(0, value));
        });
    };
    of_each(&catalog::BPF_ATTACHED, |program| program.attached.into());
    // What is not measured is not 0.
    if bpf_measured_ns.is_some() {
        of_each(&catalog::BPF_RUN_SECONDS, |program| program.cost.run_ns);
        of_each(&catalog::BPF_RUNS, |program| program.cost.runs);
    }
    of_each(&catalog::BPF_RECURSION_MISSES, |program| program.cost.recursion_misses);
}

struct Text {
    out: String,
    /// Lines that are samples.
    series: u64,
    /// Upper bounds of buckets, with the end of their label sets.
    bounds: Vec<(u64, String)>,
}

impl Default for Text {
    fn default() -> Self {
        let bound = |ns| (ns, format!("le=\"{}\"}} ", Number(Unit::Seconds, ns)));
        Text { out: String::new(), series: 0, bounds: catalog::le_bounds_ns().map(bound).collect() }
    }
}

impl Text {
    /// Writes a family: `add` adds the series of each item. The format has no way to write a family without series.
    fn family<T>(&mut self, metric: &'static Metric, items: impl IntoIterator<Item = T>, add: impl Fn(&mut Family<'_>, T)) {
        let mut family = Family { text: self, metric, is_begun: false };
        for item in items {
            add(&mut family, item);
        }
    }

    fn per_workload(&mut self, metric: &'static Metric, workloads: &[Workload<'_>], value: fn(&Totals) -> u64) {
        self.family(metric, workloads, |family, Workload { name, totals, .. }| family.add(&[name], value(totals)));
    }

    fn distributions(&mut self, metric: &'static Metric, workloads: &[Workload<'_>], of: fn(&Totals) -> &Distribution) {
        self.family(metric, workloads, |family, Workload { name, totals, .. }| family.add_distribution(name, of(totals)));
    }

    fn single(&mut self, metric: &'static Metric, value: u64) {
        self.family(metric, [value], |family, value| family.add(&[], value));
    }
}

struct Family<'a> {
    text: &'a mut Text,
    metric: &'static Metric,
    is_begun: bool,
}

impl Family<'_> {
    /// Adds a series. `value` is in nanoseconds if the metric is in seconds.
    fn add(&mut self, labels: &[&str], value: u64) {
        self.begin();
        self.push_name("", labels);
        self.push_value(if labels.is_empty() { " " } else { "} " }, self.metric.unit, value);
    }

    fn add_distribution(&mut self, workload: &str, distribution: &Distribution) {
        self.begin();
        let start = self.text.out.len();
        self.push_name("_bucket", &[workload]);
        let head = self.text.out.split_off(start) + ",";
        let bounds = std::mem::take(&mut self.text.bounds);
        let count = distribution.count();
        let at_most = distribution.cumulative(bounds.iter().map(|(ns, _)| *ns)).map(|(_, count)| count);
        for ((_, bound), count) in bounds.iter().zip(at_most) {
            self.text.out.push_str(&head);
            self.push_value(bound, Unit::Count, count);
        }
        self.text.bounds = bounds;
        self.text.out.push_str(&head);
        self.push_value("le=\"+Inf\"} ", Unit::Count, count);
        self.push_name("_sum", &[workload]);
        self.push_value("} ", Unit::Seconds, distribution.sum_ns);
        self.push_name("_count", &[workload]);
        self.push_value("} ", Unit::Count, count);
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.is_begun, true) {
            let Metric { name, help, kind, .. } = self.metric;
            self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
        }
    }

    /// Name and labels without the brace that closes them.
    fn push_name(&mut self, suffix: &str, values: &[&str]) {
        let Family { text: Text { out, .. }, metric, .. } = self;
        debug_assert_eq!(values.len(), metric.labels.len(), "{}", metric.name);
        out.push_str(metric.name);
        out.push_str(suffix);
        let mut separator = '{';
        for (label, value) in metric.labels.iter().zip(values) {
            out.push(separator);
            out.push_str(label.name);
            out.push_str("=\"");
            push_escaped(out, value);
            out.push('"');
            separator = ',';
        }
    }

    /// The rest of a sample's line.
    fn push_value(&mut self, separator: &str, unit: Unit, value: u64) {
        self.text.out.push_str(separator);
        self.push(format_args!("{}\n", Number(unit, value)));
        self.text.series += 1;
    }

    fn push(&mut self, arguments: fmt::Arguments<'_>) {
        let written = self.text.out.write_fmt(arguments);
        debug_assert!(written.is_ok(), "writing into a string cannot fail");
    }
}

/// Adds a label value, escaped as the format prescribes.
pub(crate) fn push_escaped(out: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'"' => "\\\"",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// A value in its base unit. Exact: a float could not hold the nanoseconds of 104 days.
struct Number(Unit, u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND_NS: u64 = 1_000_000_000;
        let Number(unit, value) = *self;
        match unit {
            Unit::Count | Unit::Info | Unit::Bool => write!(f, "{value}"),
            Unit::Seconds if value % SECOND_NS == 0 => write!(f, "{}", value / SECOND_NS),
            Unit::Seconds => {
                let (mut fraction, mut digits) = (value % SECOND_NS, 9);
                while fraction % 10 == 0 {
                    (fraction, digits) = (fraction / 10, digits - 1);
                }
                write!(f, "{}.{fraction:0digits$}", value / SECOND_NS)
            }
        }
    }
}

#[cfg(test)]
mod tests;
