use std::array;

use schedscope_ebpf::abi::Cell;
use schedscope_ebpf::blocked::Reason;
use schedscope_ebpf::task_clock::Phase;

use super::*;
use crate::capture::distribution::tests::histogram;
use crate::capture::snapshot::tests::thread;

/// A cell in which every counter is another multiple of `n`.
fn cell(n: u64) -> Cell {
    Cell {
        on_cpu_ns: n,
        wakeup_wait_ns: 20 * n,
        preempt_wait_ns: 3 * n,
        transit_ns: 18 * n,
        gil_transit_ns: 4 * n,
        voluntary: 4 * n,
        preempted: 5 * n,
        yielded: 6 * n,
        blocked_ns: array::from_fn(|reason| (20 + reason as u64) * n),
        migrations: array::from_fn(|cause| array::from_fn(|distance| (50 + 4 * cause as u64 + distance as u64) * n)),
        gil_handoffs: 12 * n,
        threads_started: 7 * n,
        processes_started: 8 * n,
        timeslice: histogram(&[9 * n]),
        wakeup_latency: histogram(&[10 * n]),
        preemption_wait: histogram(&[11 * n]),
        unobserved_wait_ns: 13 * n,
    }
}

/// Two CPUs and two workloads. The second workload is looked at; its cells come to 101.
fn snapshot(taken_ns: u64, threads: Vec<Thread>) -> Snapshot {
    Snapshot { taken_ns, cells: vec![vec![cell(7), cell(1)], vec![cell(70), cell(100)]], threads, ..Snapshot::default() }
}

const LOOKED_AT: WorkloadId = WorkloadId(1);

fn totals(snapshot: &Snapshot) -> Totals {
    let mut aggregate = Aggregate::default();
    assert_eq!(aggregate.update(snapshot).len(), 2);
    aggregate.totals(LOOKED_AT).cloned().unwrap_or_default()
}

#[test]
fn every_counter_is_summed_over_the_cpus() {
    let totals = totals(&snapshot(0, Vec::new()));
    let times = Times {
        on_cpu_ns: 101,
        wakeup_wait_ns: 2 * 101,
        preempt_wait_ns: 3 * 101,
        // What followed waits for a GIL is part of them: reason 1.
        transit_ns: 14 * 101,
        blocked_ns: array::from_fn(|reason| (20 + reason as u64 + if reason == Reason::Gil as usize { 4 } else { 0 }) * 101),
    };
    assert_eq!(totals.times, times);
    assert_eq!(totals.wait_ns, 23 * 101);
    assert_eq!(totals.on_cpu_ns_by_cpu, [1, 100]);
    assert_eq!([totals.voluntary, totals.preempted, totals.yielded], [4, 5, 6].map(|k| k * 101));
    assert_eq!(totals.migrations, [[50, 51, 52, 53], [54, 55, 56, 57]].map(|cause| cause.map(|k| k * 101)));
    assert_eq!(totals.migrations_total(), (50..58).sum::<u64>() * 101);
    assert_eq!([totals.threads_started, totals.processes_started], [7 * 101, 8 * 101]);
    let distributions = [&totals.timeslice, &totals.wakeup_latency, &totals.preemption_wait];
    assert_eq!(distributions.map(|d| (d.sum_ns, d.max_ns, d.count())), [9, 10, 11].map(|k| (k * 101, k * 100, 2)));
    assert_eq!(totals.unobserved_wait_ns, 13 * 101);
    assert_eq!([totals.threads, totals.processes], [0, 0]);
}

/// A thread of the workload that does this since 1,000.
fn doing(tid: u32, process: u32, phase: Phase, cpu: u32) -> Thread {
    let mut thread = thread(tid, phase);
    thread.record.tgid = process;
    thread.record.clock.cpu = cpu;
    thread.record.clock.since_ns = 1_000;
    thread
}

#[test]
fn open_intervals_belong_to_what_the_thread_does() {
    let closed = totals(&snapshot(0, Vec::new()));
    let mut woken = doing(12, 10, Phase::Blocked, 0);
    woken.record.clock.waking_ns = 1_300;
    let mut elsewhere = doing(50, 50, Phase::Running, 0);
    elsewhere.record.workload = 0;
    let mut nowhere = doing(51, 51, Phase::Running, 0);
    nowhere.record.workload = 2;
    let threads = vec![
        doing(10, 10, Phase::Running, 1),
        doing(11, 10, Phase::Runnable, 0),
        woken,
        doing(20, 20, Phase::Blocked, 0),
        doing(21, 20, Phase::Dead, 0),
        doing(30, 30, Phase::Dead, 0),
        elsewhere,
        nowhere,
    ];
    let open = totals(&snapshot(2_000, threads));
    assert_eq!(open.times.on_cpu_ns - closed.times.on_cpu_ns, 1_000);
    assert_eq!(open.on_cpu_ns_by_cpu, [1, 100 + 1_000]);
    assert_eq!(open.times.preempt_wait_ns - closed.times.preempt_wait_ns, 1_000);
    assert_eq!(open.times.wakeup_wait_ns - closed.times.wakeup_wait_ns, 700);
    let mut blocked_ns = closed.times.blocked_ns;
    blocked_ns[Reason::Sleep as usize] += 300 + 1_000;
    assert_eq!(open.times.blocked_ns, blocked_ns);
    // The dead and those of other workloads are not among the living.
    assert_eq!([open.threads, open.processes], [4, 2]);
}

#[test]
fn a_process_in_two_workloads_lives_in_both() {
    let mut moved = doing(11, 10, Phase::Running, 0);
    moved.record.workload = 0;
    let mut aggregate = Aggregate::default();
    let totals = aggregate.update(&snapshot(2_000, vec![doing(10, 10, Phase::Running, 0), moved]));
    assert_eq!([totals[0].processes, totals[1].processes], [1, 1]);
}

#[test]
fn no_time_goes_down_when_a_snapshot_misses_some() {
    let threads = vec![doing(10, 10, Phase::Running, 1), doing(11, 11, Phase::Blocked, 0), doing(12, 12, Phase::Runnable, 0)];
    let mut woken = doing(13, 13, Phase::Blocked, 0);
    woken.record.clock.waking_ns = 1_000;
    let threads = [threads, vec![woken]].concat();
    let mut aggregate = Aggregate::default();
    let before = aggregate.update(&snapshot(5_000, threads.clone()))[1].clone();
    // Their switches lie between the reading of the cells and of the records: what was open is in neither.
    let after = aggregate.update(&snapshot(5_001, Vec::new()))[1].clone();
    assert_eq!((after.times, &after.on_cpu_ns_by_cpu), (before.times, &before.on_cpu_ns_by_cpu));
    assert_eq!([after.threads, after.processes], [0, 0]);
    // From there on it grows as before.
    let later = aggregate.update(&snapshot(6_000, threads))[1].clone();
    assert_eq!(later.times.on_cpu_ns, before.times.on_cpu_ns + 1_000);
    assert_eq!(aggregate.totals(LOOKED_AT), Some(&later));
    assert_eq!(aggregate.totals(WorkloadId(2)), None);
}

#[test]
fn processes_that_started_are_never_fewer() {
    let mut aggregate = Aggregate::default();
    let before = aggregate.update(&snapshot(0, Vec::new()))[1].clone();
    // One that was counted where it stayed calls exec after all.
    let mut moved = snapshot(1, Vec::new());
    moved.cells[0][1].processes_started -= 1;
    moved.cells[0][1].threads_started -= 1;
    let after = &aggregate.update(&moved)[1];
    assert_eq!((after.processes_started, after.threads_started), (before.processes_started, before.threads_started));
}

#[test]
fn effective_cpus_is_the_participation_ratio() {
    for (on_cpu_ns, expected) in [(vec![], 0.0), (vec![0, 0], 0.0), (vec![0, 5], 1.0), (vec![3, 1], 1.6), (vec![2; 4], 4.0)] {
        assert!((effective_cpus(&on_cpu_ns) - expected).abs() < 1e-12, "{on_cpu_ns:?}");
    }
    assert_eq!(busy_cpus(&[0, 5, 0, 1]).collect::<Vec<_>>(), [(Cpu(1), 5), (Cpu(3), 1)]);
}
