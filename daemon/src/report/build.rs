//! Makes the report of a run from what was run. Pure.

use std::collections::BTreeMap;

use schedscope_ebpf::blocked::Reason;
use schedscope_ebpf::distance::Distance;

use super::answer;
use super::schema::{
    CoreMap, CoreMapRow, CoreMapThread, CoresReport, Cpus, Host, LossReport, MAX_THREADS, Migrations, OverTime, Parallelism,
    Quantiles, QuotaReport, RunReport, SCHEMA, Switches, Tasks, ThreadReport, TimeSeconds, Usage, WeightReport,
};
use crate::capture::allowance::{Quota, Weight};
use crate::capture::distribution::Distribution;
use crate::capture::run::{self, Run};
use crate::capture::snapshot::{Cpu, Losses, Thread};
use crate::capture::timeline::{Column, Timeline};
use crate::capture::totals::{Totals, busy_cpus, effective_cpus};
use crate::diagnose::{Window, diagnose};
use crate::units::{seconds, to_six_digits};
use crate::verify::task_struct;

/// Builds the report.
pub fn build(run: &Run) -> RunReport {
    let Run { subject, totals, threads, taken_ns, .. } = run;
    let (taken_ns, wall_ns) = (*taken_ns, run.wall_ns());
    let times = &totals.times;
    let per_wall = |ns: u64| if wall_ns == 0 { 0.0 } else { to_six_digits(ns as f64 / wall_ns as f64) };
    let mut listed: Vec<&Thread> = threads.iter().collect();
    listed.sort_by_key(|thread| std::cmp::Reverse(thread.times(taken_ns).on_cpu_ns));
    let omitted = listed.len().saturating_sub(MAX_THREADS);
    listed.truncate(MAX_THREADS);

    let (processes, thread_count) = run.tasks();
    let diagnosis = diagnose(&Window::of_run(run));
    RunReport {
        schema: SCHEMA.to_owned(),
        name: subject.name.clone(),
        command: subject.command.clone(),
        wall_seconds: seconds(wall_ns),
        exit: subject.exit.clone(),
        usage: (subject.usage != run::Usage::default()).then(|| usage(subject.usage)),
        cpus: cpus(run),
        tasks: Tasks { processes, threads: thread_count, peak_threads: peak(threads), still_alive: totals.threads },
        parallelism: Parallelism {
            running_mean: per_wall(times.on_cpu_ns),
            demand_mean: per_wall(times.on_cpu_ns + times.runnable_ns()),
            effective_cpus: to_six_digits(effective_cpus(&totals.on_cpu_ns_by_cpu)),
        },
        time_seconds: TimeSeconds {
            on_cpu: seconds(times.on_cpu_ns),
            runnable: seconds(times.runnable_ns()),
            runnable_after_wakeup: seconds(times.wakeup_wait_ns),
            runnable_after_preemption: seconds(times.preempt_wait_ns),
            transit: seconds(times.transit_ns),
            blocked: seconds(times.blocked_total_ns()),
        },
        blocked_seconds_by_reason: times.blocked_by_reason().map(|(reason, ns)| (reason.name().to_owned(), seconds(ns))).collect(),
        switches: Switches { voluntary: totals.voluntary, preempted: totals.preempted, yielded: totals.yielded },
        migrations: migrations(totals),
        wakeup_latency_seconds: quantiles(&totals.wakeup_latency),
        preemption_wait_seconds: quantiles(&totals.preemption_wait),
        timeslice_seconds: quantiles(&totals.timeslice),
        on_cpu_seconds_by_cpu: by_cpu(&totals.on_cpu_ns_by_cpu),
        threads: listed.into_iter().map(|thread| thread_report(thread, run)).collect(),
        threads_omitted: omitted as u64 + run.threads_forgotten,
        model: answer::model(&diagnosis),
        cores: CoresReport {
            given_seconds: seconds(diagnosis.cores.given_ns),
            used_seconds: seconds(diagnosis.cores.used_ns),
            lost_seconds: diagnosis.cores.lost.iter().map(|(cause, ns)| (cause.name(), seconds(*ns))).collect(),
        },
        gil: answer::gil(run, &diagnosis.figures),
        loss: losses(&run.losses),
        check: task_struct::check(run),
        core_map: core_map(&run.timeline, &run.online),
        over_time: over_time(&run.timeline),
        host: Host {
            foreign_on_cpu_seconds: seconds(run.foreign_on_cpu_ns()),
            idle_seconds: seconds(run.host.idle_ns),
            switches: run.host.switches,
            switches_from_idle: run.host.switches_from_idle,
            kernel: run.kernel.clone(),
        },
    }
}

/// Most threads alive at one time.
fn peak(threads: &[Thread]) -> u64 {
    // Ends sort before starts at the same instant.
    let mut events: Vec<(u64, i64)> = Vec::with_capacity(threads.len() * 2);
    for thread in threads {
        events.push((thread.record.start_ns, 1));
        if thread.has_ended() {
            events.push((thread.record.clock.since_ns, -1));
        }
    }
    events.sort_unstable();
    let (mut alive, mut most) = (0_i64, 0);
    for (_, change) in events {
        alive += change;
        most = most.max(alive);
    }
    u64::try_from(most).unwrap_or(0)
}

fn migrations(totals: &Totals) -> Migrations {
    let by_distance = Distance::ALL
        .iter()
        .enumerate()
        .map(|(index, distance)| (distance.name().to_owned(), totals.migrations.iter().map(|cause| cause[index]).sum()))
        .collect();
    Migrations {
        total: totals.migrations_total(),
        at_wakeup: totals.migrations[0].iter().sum(),
        while_queued: totals.migrations[1].iter().sum(),
        by_distance,
    }
}

fn quantiles(distribution: &Distribution) -> Quantiles {
    let at = |q| distribution.quantile_ns(q).map_or(0.0, seconds);
    Quantiles { count: distribution.count(), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: seconds(distribution.max_ns) }
}

fn by_cpu(on_cpu_ns_by_cpu: &[u64]) -> BTreeMap<String, f64> {
    busy_cpus(on_cpu_ns_by_cpu).map(|(Cpu(cpu), ns)| (cpu.to_string(), seconds(ns))).collect()
}

fn usage(run::Usage { user_ns, system_ns, page_faults, peak_pages, .. }: run::Usage) -> Usage {
    Usage { user_seconds: seconds(user_ns), system_seconds: seconds(system_ns), page_faults, peak_pages }
}

fn cpus(run: &Run) -> Cpus {
    let quota = |Quota { file, limit, usage }: &Quota| QuotaReport {
        file: file.display().to_string(),
        cpus: to_six_digits(limit.cpus()),
        period_seconds: seconds(limit.period_ns),
        periods: usage.periods,
        throttled_periods: usage.throttled_periods,
        throttled_seconds: seconds(usage.throttled_ns),
    };
    Cpus {
        online: u32::try_from(run.online.len()).unwrap_or(u32::MAX),
        allowed: run.subject.allowed_cpus,
        physical_cores: run.physical_cores,
        in_masks: run.allowance.cpus.map(to_six_digits),
        quota: run.allowance.quota_cpus().map(to_six_digits),
        quotas: run.allowance.quotas.iter().map(quota).collect(),
        low_priority_runnable_seconds: seconds(run.allowance.meek_ns),
        weight: run
            .allowance
            .weight
            .as_ref()
            .map(|Weight { file, relative }| WeightReport { file: file.display().to_string(), relative: to_six_digits(*relative) }),
    }
}

fn thread_report(thread: &Thread, run: &Run) -> ThreadReport {
    let now_ns = run.taken_ns;
    let times = thread.times(now_ns);
    let priority = run.allowance.priorities.get(&thread.key());
    ThreadReport {
        tid: thread.record.tid,
        tgid: thread.record.tgid,
        ppid: thread.record.ppid,
        comm: thread.comm(),
        on_cpu_seconds: seconds(times.on_cpu_ns),
        runnable_seconds: seconds(times.runnable_ns()),
        transit_seconds: seconds(times.transit_ns),
        runnable_after_preemption_seconds: seconds(times.preempt_wait_ns),
        wakeup_latency_seconds: seconds(thread.wakeup_latency_ns(now_ns)),
        blocked_seconds: seconds(times.blocked_total_ns()),
        blocked_seconds_by_reason: times
            .blocked_by_reason()
            .filter(|(_, ns)| *ns > 0)
            .map(|(reason, ns): (Reason, u64)| (reason.name().to_owned(), seconds(ns)))
            .collect(),
        lifetime_seconds: seconds(thread.lifetime_ns(now_ns)),
        voluntary: thread.record.voluntary,
        preempted: thread.record.preempted,
        yielded: thread.record.yielded,
        policy: priority.map(|priority| priority.policy.name().to_owned()),
        nice: priority.map(|priority| priority.nice),
        realtime_priority: priority.map(|priority| priority.realtime).filter(|realtime| *realtime > 0),
        cpus_allowed: run.allowance.masks.get(&thread.key()).map(ToString::to_string),
        migrations: thread.record.migrations.iter().sum(),
        on_cpu_seconds_by_cpu: by_cpu(&thread.on_cpu_ns_by_cpu(now_ns)),
        epoll_waits: thread.record.epoll_waits,
        timed_waits: thread.record.timed_waits.into(),
        gil: answer::thread_gil(thread, now_ns),
        seeded: thread.was_seeded(),
        ended: thread.has_ended(),
    }
}

fn losses(losses: &Losses) -> LossReport {
    LossReport {
        total: losses.missing(),
        by_reason: losses.by_reason().map(|(loss, count)| (loss.name().to_owned(), count)).collect(),
    }
}

fn core_map(timeline: &Timeline, online: &[u32]) -> Option<CoreMap> {
    let mut order: Vec<usize> = (0..timeline.lanes.len()).collect();
    order.sort_by_key(|lane| std::cmp::Reverse(timeline.lanes[*lane].total_ns));
    let mut place = vec![0; order.len()];
    for (index, lane) in order.iter().enumerate() {
        place[*lane] = index;
    }
    let rows: Vec<CoreMapRow> = online
        .iter()
        .map(|&cpu| {
            let slices: Vec<_> = timeline.row(cpu as usize).collect();
            let bins = slices.iter().map(|slice| {
                let mut bin: Vec<(usize, f64)> = slice.by_lane.iter().map(|(lane, ns)| (place[*lane], seconds(*ns))).collect();
                bin.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                bin
            });
            let foreign = slices.iter().map(|slice| seconds(slice.busy_ns.saturating_sub(slice.by_lane.values().sum())));
            CoreMapRow { cpu, bins: bins.collect(), foreign: foreign.collect() }
        })
        .collect();
    if rows.iter().all(|row| row.bins.is_empty()) {
        return None;
    }
    let threads = order
        .into_iter()
        .map(|lane| &timeline.lanes[lane])
        .map(|lane| CoreMapThread { tid: lane.tid, tgid: lane.tgid, comm: lane.comm.clone() })
        .collect();
    Some(CoreMap { bin_seconds: seconds(timeline.bin_ns), rows, threads })
}

fn over_time(timeline: &Timeline) -> Option<OverTime> {
    let columns = &timeline.columns;
    let on_cpu_ns = |column: &Column| column.cores.iter().flat_map(|slice| slice.by_lane.values()).sum();
    (!columns.is_empty()).then(|| OverTime {
        begin_monotonic_ns: timeline.start_ns,
        bin_seconds: seconds(timeline.bin_ns),
        on_cpu_seconds: columns.iter().map(|column| seconds(on_cpu_ns(column))).collect(),
        runnable_seconds: columns.iter().map(|column| seconds(column.runnable_ns)).collect(),
    })
}

#[cfg(test)]
mod tests;
