//! Reports to test with: consistent ones built from threads, and arbitrary ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::schema::{CoreMap, CoreMapRow, CoreMapThread, Residual, RunReport, SCHEMA, ThreadReport};

/// A report whose sums follow from its threads, which spread evenly over the CPUs.
pub(in super::super) struct Sample {
    report: RunReport,
}

impl Sample {
    /// On a host with this many CPUs, for so long.
    pub(in super::super) fn new(cpus: u32, wall_seconds: f64) -> Sample {
        let mut report = RunReport { schema: SCHEMA.to_owned(), name: "sample".to_owned(), wall_seconds, ..RunReport::default() };
        report.command = vec!["./sample".to_owned()];
        (report.cpus.online, report.cpus.allowed) = (cpus, cpus);
        report.exit.code = Some(0);
        report.host.kernel = "6.18.0".to_owned();
        Sample { report }
    }

    /// Adds a thread with its seconds on a CPU and runnable, and blocked by reason.
    pub(in super::super) fn thread(mut self, comm: &str, [on_cpu, runnable]: [f64; 2], blocked: &[(&str, f64)]) -> Sample {
        let tid = 1000 + u32::try_from(self.report.threads.len()).unwrap();
        let blocked: BTreeMap<String, f64> = blocked.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
        self.report.threads.push(ThreadReport {
            tid,
            tgid: 1000,
            comm: comm.to_owned(),
            on_cpu_seconds: on_cpu,
            runnable_seconds: runnable,
            blocked_seconds: blocked.values().sum(),
            lifetime_seconds: on_cpu + runnable + blocked.values().sum::<f64>(),
            blocked_seconds_by_reason: blocked,
            voluntary: 23,
            preempted: 7,
            migrations: 3,
            ..ThreadReport::default()
        });
        self
    }

    pub(in super::super) fn threads(self, count: usize, comm: &str, times: [f64; 2], blocked: &[(&str, f64)]) -> Sample {
        (0..count).fold(self, |sample, _| sample.thread(comm, times, blocked))
    }

    pub(in super::super) fn change(mut self, change: impl FnOnce(&mut RunReport)) -> Sample {
        change(&mut self.report);
        self
    }

    pub(in super::super) fn report(mut self) -> RunReport {
        let report = &mut self.report;
        let cpus = report.cpus.online;
        for thread in &mut report.threads {
            let share = thread.on_cpu_seconds / f64::from(cpus);
            thread.on_cpu_seconds_by_cpu = (0..cpus).map(|cpu| (cpu.to_string(), share)).collect();
            report.time_seconds.on_cpu += thread.on_cpu_seconds;
            report.time_seconds.runnable += thread.runnable_seconds;
            report.time_seconds.blocked += thread.blocked_seconds;
            for (name, seconds) in &thread.blocked_seconds_by_reason {
                *report.blocked_seconds_by_reason.entry(name.clone()).or_default() += seconds;
            }
            report.switches.voluntary += thread.voluntary;
            report.switches.preempted += thread.preempted;
            report.migrations.total += thread.migrations;
        }
        report.migrations.while_queued = report.migrations.total - report.migrations.at_wakeup;
        report.time_seconds.runnable_after_wakeup = report.time_seconds.runnable / 4.0;
        report.time_seconds.runnable_after_preemption = report.time_seconds.runnable * 0.75;
        let processes: std::collections::BTreeSet<u32> = report.threads.iter().map(|thread| thread.tgid).collect();
        report.tasks.processes = processes.len() as u64;
        report.tasks.threads = report.threads.len() as u64;
        report.tasks.peak_threads = report.tasks.threads;
        let time = &report.time_seconds;
        report.on_cpu_seconds_by_cpu = (0..cpus).map(|cpu| (cpu.to_string(), time.on_cpu / f64::from(cpus))).collect();
        report.parallelism.running_mean = time.on_cpu / report.wall_seconds;
        report.parallelism.demand_mean = (time.on_cpu + time.runnable) / report.wall_seconds;
        report.parallelism.effective_cpus = f64::from(cpus);
        report.host.idle_seconds = (f64::from(cpus) * report.wall_seconds - time.on_cpu).max(0.0);
        self.report
    }
}

fn any_seconds() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..20.0, 1 => Just(0.0), 1 => any::<f64>()]
}

fn any_reasons() -> impl Strategy<Value = BTreeMap<String, f64>> {
    let names = prop::sample::select(vec!["gil", "futex", "sleep", "poll", "child_wait", "stopped", "other", "un\x1bheard"]);
    prop::collection::btree_map(names.prop_map(str::to_owned), any_seconds(), 0..5)
}

fn any_thread() -> impl Strategy<Value = ThreadReport> {
    (any::<String>(), 1..9_u32, any_seconds(), any_seconds(), any_reasons()).prop_map(|(comm, tid, on_cpu, runnable, reasons)| {
        ThreadReport {
            tid,
            tgid: tid / 2,
            comm,
            on_cpu_seconds: on_cpu,
            runnable_seconds: runnable,
            blocked_seconds: reasons.values().sum(),
            blocked_seconds_by_reason: reasons,
            on_cpu_seconds_by_cpu: [("0".to_owned(), on_cpu), ("x\x1b".to_owned(), runnable)].into(),
            ..ThreadReport::default()
        }
    })
}

/// A map whose rows differ in length and may name threads that are not there.
pub(in super::super) fn any_core_map() -> impl Strategy<Value = CoreMap> {
    let bin = prop::collection::vec((0..9_usize, any_seconds()), 0..4);
    let row = (any::<u32>(), prop::collection::vec(bin, 0..40), prop::collection::vec(any_seconds(), 0..40))
        .prop_map(|(cpu, bins, foreign)| CoreMapRow { cpu, bins, foreign });
    let thread = (any::<u32>(), 0..3_u32, any::<String>()).prop_map(|(tid, tgid, comm)| CoreMapThread { tid, tgid, comm });
    (any_seconds(), prop::collection::vec(row, 0..20), prop::collection::vec(thread, 0..8))
        .prop_map(|(bin_seconds, rows, threads)| CoreMap { bin_seconds, rows, threads })
}

prop_compose! {
    /// A report of any figures and names, consistent or not.
    pub(in super::super) fn any_report()(
        seconds in prop::array::uniform8(any_seconds()), counts in prop::array::uniform5(0..5_u32), threads in prop::collection::vec(any_thread(), 0..6),
        reasons in any_reasons(), core_map in prop::option::of(any_core_map()), names in prop::array::uniform4(any::<String>()), code in any::<Option<i32>>(),
    ) -> RunReport {
        let [wall, running, demand, on_cpu, runnable, foreign, idle, difference] = seconds;
        let [allowed, online, thread_count, process_count, loss] = counts;
        let mut report = RunReport { wall_seconds: wall, threads, core_map, ..RunReport::default() };
        (report.cpus.allowed, report.cpus.online) = (allowed, online);
        (report.tasks.threads, report.tasks.processes) = (thread_count.into(), process_count.into());
        (report.parallelism.running_mean, report.parallelism.demand_mean) = (running, demand);
        (report.time_seconds.on_cpu, report.time_seconds.runnable, report.time_seconds.blocked) = (on_cpu, runnable, reasons.values().sum());
        (report.host.foreign_on_cpu_seconds, report.host.idle_seconds) = (foreign, idle);
        report.blocked_seconds_by_reason = reasons;
        report.on_cpu_seconds_by_cpu = [("0".to_owned(), on_cpu)].into();
        report.exit.code = code;
        report.loss.total = loss.into();
        report.check.threads = loss.into();
        report.check.residuals = vec![Residual { quantity: names[1].clone(), ours: difference, kernel: 1.0, difference, ..Residual::default() }];
        report.model.sentence.clone_from(&names[0]);
        report.model.evidence = names.to_vec();
        let [first, second, third, fourth] = names;
        report.loss.by_reason.insert(first, loss.into());
        report.name = second;
        report.host.kernel.clone_from(&third);
        report.model.name.clone_from(&fourth);
        report.command = vec![third, fourth];
        report
    }
}
