//! An [`Exposition`] as the rows of the catalog. Nanoseconds become seconds here and nowhere else.

use std::collections::BTreeSet;

use crate::metrics::catalog::{self, Kind, Metric, Unit};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric as Sample, MetricFamily, MetricType};
use schedscope_ebpf::residual::Residuals;

use super::{Exposition, Workload};
use crate::capture::{distribution::Distribution, snapshot::Cpu, totals::busy_cpus};

/// Every family of the catalog. Series known in advance are there from the start, with 0.
pub fn families(exposition: &Exposition) -> Vec<MetricFamily> {
    let mut families = workload_times(exposition);
    families.extend(workload_counts(&exposition.workloads));
    families.extend(workload_state(&exposition.workloads));
    families.extend(pythons(exposition));
    families.extend(cpus(exposition));
    families.extend(check(exposition));
    families.extend(collection(exposition));
    families.extend(programs(exposition));
    let series: usize = families.iter().map(Family::samples).sum();
    let mut own = Family::of(&catalog::EXPOSITION_SERIES);
    own.add(&[], series as u64 + 1);
    families.push(own);
    families.into_iter().map(Family::finish).collect()
}

/// The CPUs on which every workload has a series, in order: a rate needs the 0 that comes before the first run on a CPU. None
/// ever leaves this list, so no series ends.
fn cpus_of_workloads(exposition: &Exposition) -> BTreeSet<Cpu> {
    let seen = exposition.cpus.iter().map(|cpu| cpu.cpu);
    let busy = exposition.workloads.iter().flat_map(|workload| busy_cpus(&workload.totals.on_cpu_ns_by_cpu)).map(|(cpu, _)| cpu);
    exposition.online_at_start.iter().copied().chain(seen).chain(busy).collect()
}

fn workload_times(exposition: &Exposition) -> Vec<Family> {
    let cpus: Vec<(usize, String)> =
        cpus_of_workloads(exposition).into_iter().map(|cpu| (cpu.0 as usize, cpu.0.to_string())).collect();
    let mut on_cpu = Family::of(&catalog::WORKLOAD_ON_CPU);
    let mut runnable = Family::of(&catalog::WORKLOAD_RUNNABLE);
    let mut blocked = Family::of(&catalog::WORKLOAD_BLOCKED);
    let mut wakeup_latency = Family::of(&catalog::WORKLOAD_WAKEUP_LATENCY);
    let mut preemption_wait = Family::of(&catalog::WORKLOAD_PREEMPTION_WAIT);
    let mut timeslice = Family::of(&catalog::WORKLOAD_TIMESLICE);
    for Workload { name, totals, .. } in &exposition.workloads {
        for (cpu, number) in &cpus {
            on_cpu.add(&[name, number], totals.on_cpu_ns_by_cpu.get(*cpu).copied().unwrap_or(0));
        }
        for (cause, ns) in catalog::RUNNABLE_CAUSES.iter().zip([totals.times.wakeup_wait_ns, totals.times.preempt_wait_ns]) {
            runnable.add(&[name, cause], ns);
        }
        for (reason, ns) in totals.times.blocked_by_reason() {
            blocked.add(&[name, reason.name()], ns);
        }
        wakeup_latency.add_distribution(&[name], &totals.wakeup_latency);
        preemption_wait.add_distribution(&[name], &totals.preemption_wait);
        timeslice.add_distribution(&[name], &totals.timeslice);
    }
    vec![on_cpu, runnable, blocked, wakeup_latency, preemption_wait, timeslice]
}

fn workload_counts(workloads: &[Workload]) -> Vec<Family> {
    let mut switches = Family::of(&catalog::WORKLOAD_SWITCHES);
    let mut migrations = Family::of(&catalog::WORKLOAD_MIGRATIONS);
    let mut threads_started = Family::of(&catalog::WORKLOAD_THREADS_STARTED);
    let mut processes_started = Family::of(&catalog::WORKLOAD_PROCESSES_STARTED);
    let mut handoffs = Family::of(&catalog::WORKLOAD_GIL_HANDOFFS);
    for Workload { name, totals, .. } in workloads {
        for (kind, count) in catalog::SWITCH_KINDS.iter().zip([totals.voluntary, totals.preempted, totals.yielded]) {
            switches.add(&[name, kind], count);
        }
        for (cause, by_distance) in catalog::MIGRATION_CAUSES.iter().zip(totals.migrations) {
            for (distance, count) in catalog::DISTANCES.iter().zip(by_distance) {
                migrations.add(&[name, cause, distance], count);
            }
        }
        threads_started.add(&[name], totals.threads_started);
        processes_started.add(&[name], totals.processes_started);
        handoffs.add(&[name], totals.gil_handoffs);
    }
    vec![switches, migrations, threads_started, processes_started, handoffs]
}

fn workload_state(workloads: &[Workload]) -> Vec<Family> {
    let mut threads = Family::of(&catalog::WORKLOAD_THREADS);
    let mut processes = Family::of(&catalog::WORKLOAD_PROCESSES);
    let mut allowed_cpus = Family::of(&catalog::WORKLOAD_ALLOWED_CPUS);
    let mut info = Family::of(&catalog::WORKLOAD_INFO);
    let mut interval = Family::of(&catalog::WORKLOAD_GIL_SWITCH_INTERVAL);
    for workload in workloads {
        let name = workload.name.as_str();
        threads.add(&[name], workload.totals.threads);
        processes.add(&[name], workload.totals.processes);
        if let Some(allowed) = workload.allowed_cpus {
            allowed_cpus.add(&[name], u64::from(allowed));
        }
        info.add(&[name, workload.source.name(), workload.model], 1);
        if workload.totals.gil_interval_ns > 0 {
            interval.add(&[name], workload.totals.gil_interval_ns);
        }
    }
    vec![threads, processes, allowed_cpus, info, interval]
}

fn pythons(exposition: &Exposition) -> Vec<Family> {
    let mut found = Family::of(&catalog::PYTHON_PROCESSES);
    for (gil, count) in catalog::GIL_NAMES.iter().zip(exposition.pythons) {
        found.add(&[gil], count);
    }
    let mut unresolved = Family::of(&catalog::PYTHON_PROCESSES_UNRESOLVED);
    for (reason, count) in catalog::PYTHON_UNRESOLVED.iter().zip(exposition.pythons_unresolved) {
        unresolved.add(&[reason], count);
    }
    vec![found, unresolved]
}

fn cpus(exposition: &Exposition) -> Vec<Family> {
    let mut switches = Family::of(&catalog::CPU_SWITCHES);
    let mut idle = Family::of(&catalog::CPU_IDLE);
    let mut topology = Family::of(&catalog::CPU_TOPOLOGY);
    for cpu in &exposition.cpus {
        let number = cpu.cpu.0.to_string();
        for (kind, count) in catalog::CPU_SWITCH_KINDS.iter().zip([cpu.switches_from_task, cpu.switches_from_idle]) {
            switches.add(&[&number, kind], count);
        }
        idle.add(&[&number], cpu.idle_ns);
        if let Some(place) = cpu.place {
            topology.add(&[&number, &place.core.to_string(), &place.llc.to_string(), &place.node.to_string()], 1);
        }
    }
    vec![switches, idle, topology]
}

fn check(exposition: &Exposition) -> Vec<Family> {
    let mut ended = Family::of(&catalog::CHECK_THREADS);
    let mut waiting = Family::of(&catalog::CHECK_WAITING_THREADS);
    for (family, found) in [(&mut ended, exposition.ended), (&mut waiting, exposition.waiting)] {
        for (verdict, count) in catalog::VERDICTS.iter().zip([found.compared.saturating_sub(found.differing), found.differing]) {
            family.add(&[verdict], count);
        }
    }
    let mut residual = Family::of(&catalog::CHECK_RESIDUAL);
    let Residuals { voluntary, involuntary, migrations, on_cpu_ns, .. } = exposition.ended;
    for (quantity, count) in catalog::RESIDUALS.iter().zip([voluntary, involuntary, migrations]) {
        residual.add(&[quantity], count);
    }
    let mut on_cpu = Family::of(&catalog::CHECK_RESIDUAL_SECONDS);
    on_cpu.add(&[], on_cpu_ns);
    vec![ended, waiting, residual, on_cpu]
}

fn collection(exposition: &Exposition) -> Vec<Family> {
    let mut lost = Family::of(&catalog::EVENTS_LOST);
    for (reason, count) in exposition.losses.by_reason() {
        lost.add(&[reason.name()], count);
    }
    let mut errors = Family::of(&catalog::COLLECTION_ERRORS);
    for (stage, count) in catalog::STAGES.iter().zip(exposition.collection.errors) {
        errors.add(&[stage], count);
    }
    let named = exposition.workloads.iter().filter(|workload| workload.name != catalog::OTHER).count();
    let mut refused = Family::of(&catalog::SCRAPES_REFUSED);
    for (reason, count) in catalog::REFUSALS.iter().zip(exposition.scrapes_refused) {
        refused.add(&[reason], count);
    }
    let mut families = vec![lost, errors, refused];
    for (metric, value) in [
        (&catalog::TORN_RECORDS, exposition.torn_records),
        (&catalog::WORKLOADS_FOLDED, exposition.workloads_folded),
        (&catalog::WORKLOADS_NAMED, named as u64),
        (&catalog::COLLECTION_DURATION, exposition.collection.duration_ns),
        (&catalog::COLLECTIONS, exposition.collection.count),
        (&catalog::DAEMON_CPU, exposition.daemon_cpu_ns),
        (&catalog::BPF_MEASURED, exposition.bpf_measured_ns),
    ] {
        let mut family = Family::of(metric);
        family.add(&[], value);
        families.push(family);
    }
    let mut build = Family::of(&catalog::BUILD_INFO);
    build.add(&[env!("CARGO_PKG_VERSION")], 1);
    families.push(build);
    families
}

fn programs(exposition: &Exposition) -> Vec<Family> {
    let mut attached = Family::of(&catalog::BPF_ATTACHED);
    let mut run_seconds = Family::of(&catalog::BPF_RUN_SECONDS);
    let mut runs = Family::of(&catalog::BPF_RUNS);
    let mut misses = Family::of(&catalog::BPF_RECURSION_MISSES);
    for name in catalog::PROGRAMS {
        let cost = exposition.programs.iter().find(|cost| cost.name == name).cloned().unwrap_or_default();
        attached.add(&[name], u64::from(cost.attached));
        run_seconds.add(&[name], cost.run_ns);
        runs.add(&[name], cost.runs);
        misses.add(&[name], cost.recursion_misses);
    }
    vec![attached, run_seconds, runs, misses]
}

/// A family under construction.
struct Family {
    metric: &'static Metric,
    samples: Vec<Sample>,
}

impl Family {
    fn of(metric: &'static Metric) -> Family {
        Family { metric, samples: Vec::new() }
    }

    /// Adds a series. `value` is in nanoseconds if the metric is in seconds.
    fn add(&mut self, labels: &[&str], value: u64) {
        let value = in_unit(self.metric.unit, value);
        let mut sample = self.labelled(labels);
        if self.metric.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
        self.samples.push(sample);
    }

    /// Adds the series of a histogram. The encoder adds the bucket without an upper bound.
    fn add_distribution(&mut self, labels: &[&str], distribution: &Distribution) {
        let buckets = distribution
            .cumulative(catalog::le_bounds_ns())
            .map(|(bound_ns, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(in_unit(self.metric.unit, bound_ns));
                bucket.set_cumulative_count(count);
                bucket
            })
            .collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(distribution.count());
        histogram.set_sample_sum(in_unit(self.metric.unit, distribution.sum_ns));
        let mut sample = self.labelled(labels);
        sample.set_histogram(histogram);
        self.samples.push(sample);
    }

    fn labelled(&self, values: &[&str]) -> Sample {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        let pairs = self.metric.labels.iter().zip(values).map(|(label, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(label.name.to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        Sample::from_label(pairs.collect())
    }

    /// Number of lines that its series take.
    fn samples(&self) -> usize {
        let per_series = if self.metric.kind == Kind::Histogram { catalog::le_bounds_ns().count() + 3 } else { 1 };
        self.samples.len() * per_series
    }

    fn finish(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.metric.name.to_owned());
        family.set_help(self.metric.help.to_owned());
        family.set_field_type(match self.metric.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(self.samples);
        family
    }
}

fn in_unit(unit: Unit, value: u64) -> f64 {
    match unit {
        Unit::Seconds => value as f64 / 1e9,
        Unit::Count | Unit::Info | Unit::Bool => value as f64,
    }
}
