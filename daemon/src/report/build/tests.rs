//! Each figure of a report, from threads and totals made by hand.

use schedscope_ebpf::abi::CpuRecord;
use schedscope_ebpf::blocked::Reason;
use schedscope_ebpf::loss::Loss;
use schedscope_ebpf::task_clock::Phase;

use super::*;
use crate::capture::distribution::tests::histogram;
use crate::capture::run::HostCounters;
use crate::capture::run::tests::run_of;
use crate::capture::snapshot::Snapshot;
use crate::capture::snapshot::tests::thread;

const SECOND: u64 = 1_000_000_000;

/// A thread that lived from one time to the other.
fn lived(tid: u32, process: u32, start_ns: u64, end_ns: u64) -> Thread {
    let mut thread = thread(tid, Phase::Dead);
    thread.record.tgid = process;
    thread.record.start_ns = start_ns;
    thread.record.clock.since_ns = end_ns;
    thread
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn what_is_said_about_the_run_is_passed_on() {
    let report = build(&run_of(Vec::new()));
    assert_eq!((report.schema.as_str(), report.name.as_str(), report.host.kernel.as_str()), (SCHEMA, "web", "6.18.0"));
    assert_eq!(report.command, ["./web", "-v"]);
    assert_eq!((report.exit.code, report.exit.signal), (Some(3), None));
    assert_eq!((report.cpus.online, report.cpus.allowed), (2, 1));
    assert!(close(report.wall_seconds, 2.0));
    assert!(report.core_map.is_none() && report.over_time.is_none(), "nothing was sampled");
    assert_eq!(report.model.name, "idle");
}

#[test]
fn times_are_seconds_and_means_are_over_the_wall() {
    let mut run = run_of(Vec::new());
    run.totals.times.on_cpu_ns = 3 * SECOND;
    run.totals.times.wakeup_wait_ns = SECOND / 2;
    run.totals.times.preempt_wait_ns = SECOND / 4;
    run.totals.times.blocked_ns[Reason::Gil as usize] = 5 * SECOND;
    run.totals.times.blocked_ns[Reason::Disk as usize] = SECOND;
    run.totals.on_cpu_ns_by_cpu = vec![3 * SECOND / 2, 0, 3 * SECOND / 2];
    let report = build(&run);
    let time = &report.time_seconds;
    assert!(close(time.on_cpu, 3.0) && close(time.runnable, 0.75) && close(time.blocked, 6.0));
    assert!(close(time.runnable_after_wakeup, 0.5) && close(time.runnable_after_preemption, 0.25));
    assert!(close(report.parallelism.running_mean, 1.5) && close(report.parallelism.demand_mean, 1.875));
    assert!(close(report.parallelism.effective_cpus, 2.0));
    assert_eq!(report.blocked_seconds_by_reason.len(), Reason::ALL.len());
    assert!(close(report.blocked_seconds_by_reason["gil"], 5.0) && close(report.blocked_seconds_by_reason["disk"], 1.0));
    assert!(close(report.blocked_seconds_by_reason["futex"], 0.0));
    assert_eq!(report.on_cpu_seconds_by_cpu.keys().collect::<Vec<_>>(), ["0", "2"]);
    // Two CPUs for two seconds; what neither we nor the idle task had, others had.
    run.host = HostCounters { idle_ns: SECOND / 4, own_ns: 0, switches: 70, switches_from_idle: 20 };
    let host = build(&run).host;
    assert!(close(host.foreign_on_cpu_seconds, 0.75) && close(host.idle_seconds, 0.25));
    assert_eq!((host.switches, host.switches_from_idle), (70, 20));
}

#[test]
fn a_run_without_length_has_no_means() {
    let mut run = run_of(Vec::new());
    run.totals.times.on_cpu_ns = SECOND;
    run.end_ns = run.begin_ns;
    let report = build(&run);
    assert_eq!((report.parallelism.running_mean, report.parallelism.demand_mean), (0.0, 0.0));
}

#[test]
fn counters_and_distributions_are_those_of_the_totals() {
    let mut run = run_of(Vec::new());
    (run.totals.voluntary, run.totals.preempted, run.totals.yielded) = (11, 7, 5);
    run.totals.migrations = [[1, 2, 3, 4], [10, 20, 30, 40]];
    run.totals.wakeup_latency.add(&histogram(&[2048; 4]));
    let report = build(&run);
    assert_eq!((report.switches.voluntary, report.switches.preempted, report.switches.yielded), (11, 7, 5));
    let migrations = &report.migrations;
    assert_eq!((migrations.total, migrations.at_wakeup, migrations.while_queued), (110, 10, 100));
    assert_eq!(
        migrations.by_distance,
        [("smt", 11), ("llc", 22), ("node", 33), ("remote", 44)].map(|(k, v)| (k.to_owned(), v)).into()
    );
    let latency = &report.wakeup_latency_seconds;
    assert_eq!((latency.count, latency.max), (4, 2048e-9));
    assert!([latency.p50, latency.p90, latency.p99].iter().all(|p| (1792e-9..=2048e-9).contains(p)), "{latency:?}");
    let none = &report.preemption_wait_seconds;
    assert_eq!((none.count, none.p50, none.p99, none.max), (0, 0.0, 0.0, 0.0));
}

#[test]
fn tasks_that_were_there_before_are_counted_and_the_peak_is_the_most_at_once() {
    let mut seeded = lived(1, 1, 10, 50);
    seeded.record.seeded_as = Phase::Blocked as u16;
    let mut sibling = lived(2, 1, 10, 30);
    sibling.record.seeded_as = Phase::Running as u16;
    let mut alive = thread(5, Phase::Running);
    alive.record.start_ns = 45;
    // The third begins when the second ends: they were never there together.
    let mut run = run_of(vec![seeded, sibling, lived(3, 3, 30, 40), lived(4, 3, 35, 60), alive]);
    (run.totals.threads_started, run.totals.processes_started, run.totals.threads) = (3, 2, 1);
    let tasks = build(&run).tasks;
    assert_eq!((tasks.threads, tasks.processes, tasks.still_alive, tasks.peak_threads), (3 + 2, 2 + 1, 1, 3));
}

#[test]
fn threads_are_listed_with_open_intervals_the_busiest_first() {
    let mut idle = lived(1, 1, SECOND, 2 * SECOND);
    idle.record.on_cpu_ns = 10;
    idle.record.blocked_ns[Reason::Poll as usize] = SECOND;
    let mut busy = lived(2, 1, SECOND, 3 * SECOND);
    (busy.record.clock.phase, busy.record.clock.cpu) = (Phase::Running as u32, 1);
    busy.record.seeded_as = Phase::Blocked as u16;
    (busy.record.voluntary, busy.record.preempted, busy.record.yielded) = (1, 2, 3);
    (busy.record.wakeup_wait_ns, busy.record.preempt_wait_ns) = (SECOND / 2, SECOND / 4);
    busy.record.migrations = [4, 5];
    busy.on_cpu_ns_by_cpu = vec![0, SECOND, 5];
    let report = build(&run_of(vec![idle, busy]));
    let [first, second] = report.threads.as_slice() else { panic!("{:?}", report.threads) };
    assert_eq!((first.tid, first.tgid, first.ppid, first.comm.as_str()), (2, 1, 1, "worker"));
    assert!(close(first.on_cpu_seconds, 1.0) && close(first.runnable_seconds, 0.75) && close(first.lifetime_seconds, 3.0));
    assert_eq!((first.voluntary, first.preempted, first.yielded, first.migrations), (1, 2, 3, 9));
    assert_eq!(first.on_cpu_seconds_by_cpu.keys().collect::<Vec<_>>(), ["1", "2"]);
    assert!(close(first.on_cpu_seconds_by_cpu["1"], 2.0));
    assert!(first.seeded && !first.ended && first.blocked_seconds_by_reason.is_empty());
    assert!(!second.seeded && second.ended && close(second.lifetime_seconds, 1.0) && close(second.blocked_seconds, 1.0));
    assert_eq!(second.blocked_seconds_by_reason.keys().collect::<Vec<_>>(), ["poll"]);
    assert_eq!(report.threads_omitted, 0);
}

#[test]
fn a_list_that_is_too_long_says_how_many_it_leaves_out() {
    let threads = (0..MAX_THREADS as u64 + 3).map(|n| {
        let mut thread = lived(u32::try_from(n).unwrap(), 1, 1, 2);
        thread.record.on_cpu_ns = n;
        thread
    });
    let report = build(&run_of(threads.collect()));
    assert_eq!((report.threads.len(), report.threads_omitted), (MAX_THREADS, 3));
    assert_eq!(report.threads.last().unwrap().tid, 3);
}

#[test]
fn what_was_made_good_or_concerns_no_total_is_shown_but_is_no_loss() {
    let mut run = run_of(Vec::new());
    run.losses.0[Loss::SwitchInUnseen as usize] = 5;
    run.losses.0[Loss::ThreadDetailEvicted as usize] = 9;
    run.losses.0[Loss::AfterEnd as usize] = 2;
    run.losses.0[Loss::TaskTableFull as usize] = 1;
    let loss = build(&run).loss;
    assert_eq!(loss.total, 3);
    assert_eq!((loss.by_reason["switch_in_unseen"], loss.by_reason["after_end"], loss.by_reason["end_unseen"]), (5, 2, 0));
    assert_eq!(loss.by_reason["thread_detail_evicted"], 9);
    assert_eq!(loss.by_reason.len(), Loss::ALL.len());
}

/// Two samples 5 ms apart: thread 1 had 1 ms of CPU 0, thread 2 had 3 ms of it and 2 ms of CPU 2, on which another program ran.
fn sampled() -> Run {
    let sample = |taken_ns: u64, first: [u64; 3], second: [u64; 3], idle_ns: u64| {
        let thread = |tid: u32, on_cpu: [u64; 3]| {
            let mut thread = thread(tid, Phase::Blocked);
            thread.on_cpu_ns_by_cpu = on_cpu.to_vec();
            thread.record.preempt_wait_ns = if on_cpu == [0; 3] { 0 } else { 250_000 };
            thread
        };
        let cpus = (0..3).map(|cpu| CpuRecord { idle_ns: if cpu == 0 { idle_ns } else { 0 }, ..CpuRecord::default() }).collect();
        Snapshot { taken_ns, cpus, threads: vec![thread(1, first), thread(2, second)], ..Snapshot::default() }
    };
    let mut run = run_of(Vec::new());
    run.timeline = Timeline::starting(&sample(SECOND, [0; 3], [0; 3], 0));
    run.timeline.feed(&sample(SECOND + 5_000_000, [1_000_000, 0, 0], [3_000_000, 0, 2_000_000], 1_000_000));
    run
}

#[test]
fn the_core_map_names_the_busiest_first_and_tells_others_apart() {
    let map = build(&sampled()).core_map.unwrap();
    assert!(close(map.bin_seconds, 0.005));
    assert_eq!(map.threads.iter().map(|thread| (thread.tid, thread.tgid)).collect::<Vec<_>>(), [(2, 2), (1, 1)]);
    let [zero, two] = map.rows.as_slice() else { panic!("{:?}", map.rows) };
    assert_eq!((zero.cpu, two.cpu), (0, 2));
    assert_eq!(zero.bins, [vec![(0, 0.003), (1, 0.001)]]);
    assert_eq!(two.bins, [vec![(0, 0.002)]]);
    assert!(close(zero.foreign[0], 0.0) && close(two.foreign[0], 0.003));
}

#[test]
fn time_over_time_is_that_of_the_columns() {
    let over_time = build(&sampled()).over_time.unwrap();
    assert_eq!(over_time.begin_monotonic_ns, SECOND);
    assert!(close(over_time.bin_seconds, 0.005));
    assert!(over_time.on_cpu_seconds.len() == 1 && close(over_time.on_cpu_seconds[0], 0.006));
    assert!(over_time.runnable_seconds.len() == 1 && close(over_time.runnable_seconds[0], 0.0005));
}
