//! Windows of workloads that come and go, and what is added up over them.

use proptest::prelude::*;
use schedscope_ebpf::abi::Cell;
use schedscope_ebpf::blocked::Reason;
use schedscope_ebpf::task_clock::Phase;

use super::*;
use crate::capture::allowance::{Limit, Quota, Usage};
use crate::capture::distribution::tests::histogram;

const SECOND_NS: u64 = 1_000_000_000;
const CORES: u32 = 2;

/// A thread that has done so much, and does nothing since the snapshot's moment.
fn thread(tid: u32, workload: u32, times: Times, taken_ns: u64) -> Thread {
    let mut thread = crate::capture::snapshot::tests::thread(tid, Phase::Running);
    thread.record.workload = workload;
    thread.record.clock.since_ns = taken_ns;
    thread.record.on_cpu_ns = times.on_cpu_ns;
    thread.record.preempt_wait_ns = times.preempt_wait_ns;
    thread.record.blocked_ns = times.blocked_ns;
    thread
}

fn on_cpu(seconds: u64) -> Times {
    Times { on_cpu_ns: seconds * SECOND_NS, ..Times::default() }
}

fn totals(times: Times) -> Totals {
    Totals { times, ..Totals::default() }
}

/// At this second, with these threads and totals.
fn update(live: &mut Live, second: u64, threads: Vec<Thread>, totals: &[Totals], allowed: HashMap<WorkloadId, Allowed>) {
    let snapshot = Snapshot { taken_ns: second * SECOND_NS, threads, cells: vec![vec![Cell::default()]], ..Snapshot::default() };
    let known = Known { cpus: CORES, physical_cores: CORES, totals: &|number| totals.get(number.0 as usize), python: &|_| None };
    live.update(&snapshot, &known, |_| allowed);
}

#[test]
fn a_workload_is_named_by_what_it_does_and_not_by_what_it_did_before() {
    let mut live = Live::default();
    let mut then = |second, seconds: &[u64]| {
        let whole = |seconds| {
            let mut times = on_cpu(seconds);
            times.blocked_ns[Reason::Sleep as usize] = (second - seconds) * SECOND_NS;
            times
        };
        let threads = (1..).zip(seconds).map(|(tid, seconds)| thread(tid, 1, whole(*seconds), second * SECOND_NS)).collect();
        update(&mut live, second, threads, &[Totals::default(), totals(on_cpu(seconds.iter().sum()))], HashMap::new());
        (live.of(WorkloadId(1)), live.last(WorkloadId(1)).map(|last| last.diagnosis.model))
    };
    let (idle, serial, processes) = (ModelName::Idle, ModelName::Serial, ModelName::Processes);
    assert_eq!(then(10, &[0, 9]), (idle, None));
    // Only the first one runs; what the other did before does not count.
    assert_eq!(then(13, &[3, 9]), (idle, Some(serial)));
    assert_eq!(then(16, &[6, 9]), (serial, Some(serial)));
    assert_eq!(then(19, &[9, 9]), (serial, Some(serial)));
    assert_eq!(then(22, &[12, 12]), (serial, Some(processes)));
    assert_eq!(then(23, &[12, 12]), (serial, Some(processes)), "too short to tell");
    assert_eq!(then(25, &[15, 15]), (serial, Some(processes)));
    assert_eq!(then(28, &[18, 18]), (processes, Some(processes)));
    assert_eq!(live.of(WorkloadId(7)), ModelName::Idle);
}

#[test]
fn a_window_ends_only_with_a_snapshot_of_the_workloads() {
    let mut live = Live::default();
    update(&mut live, 10, vec![thread(1, 0, on_cpu(0), 10 * SECOND_NS)], &[totals(on_cpu(0))], HashMap::new());
    let of_threads = Snapshot { taken_ns: 20 * SECOND_NS, ..Snapshot::default() };
    let known = Known { cpus: CORES, physical_cores: CORES, totals: &|_| None, python: &|_| None };
    live.update(&of_threads, &known, |_| panic!("nothing is looked at in between"));
    assert_eq!(live.lost(WorkloadId(0)), Lost::default());
}

#[test]
fn masks_and_quotas_are_causes_and_cores_that_others_had_too() {
    let limit = Limit { quota_ns: 25_000_000, period_ns: 100_000_000 };
    let usage = Usage { periods: 20, throttled_periods: 18, throttled_ns: SECOND_NS };
    let quota = Some(Quota { file: "cpu.max".into(), limit, usage });
    let waits = |on_cpu_ns, preempt_wait_ns| Times { on_cpu_ns, preempt_wait_ns, ..Times::default() };
    let lost = |allowed: Allowed, idle_ns: u64| {
        let mut live = Live::default();
        for (second, times) in [(10, waits(0, 0)), (12, waits(SECOND_NS, SECOND_NS))] {
            let taken_ns = second * SECOND_NS;
            let cpu = schedscope_ebpf::abi::CpuRecord {
                switches: 1,
                idle_ns: if second > 10 { idle_ns } else { 0 },
                ..Default::default()
            };
            let (threads, cells) = (vec![thread(1, 0, times, taken_ns)], vec![vec![Cell::default()]]);
            let snapshot = Snapshot { taken_ns, threads, cells, cpus: vec![cpu], ..Snapshot::default() };
            let all = totals(times);
            let known =
                Known { cpus: CORES, physical_cores: CORES, totals: &|number| (number.0 == 0).then_some(&all), python: &|_| None };
            live.update(&snapshot, &known, |_| HashMap::from([(WorkloadId(0), allowed.clone())]));
        }
        live.lost(WorkloadId(0))
    };
    let with = |cause: LostCause, lost: &Lost| lost.ns[cause as usize];
    let throttled = lost(Allowed { cpus: None, quota }, 3 * SECOND_NS);
    assert_eq!(
        (with(LostCause::Quota, &throttled), throttled.throttled_ns, throttled.throttled_periods),
        (SECOND_NS, SECOND_NS, 18)
    );
    let masked = lost(Allowed { cpus: Some(1), quota: None }, 3 * SECOND_NS);
    assert_eq!(with(LostCause::Mask, &masked), SECOND_NS);
    // Nothing was idle: of four seconds of CPUs others had three.
    let crowded = lost(Allowed::default(), 0);
    assert_eq!(with(LostCause::Others, &crowded), SECOND_NS);
    for lost in [throttled, masked, crowded] {
        assert_eq!(lost.ns.iter().sum::<u64>(), 3 * SECOND_NS, "one of four was used");
    }
}

#[test]
fn the_latency_of_a_window_is_of_that_window() {
    let mut live = Live::default();
    let mut all = totals(on_cpu(1));
    let mut then = |second, latencies_ns: &[u64]| {
        all.wakeup_latency.add(&histogram(latencies_ns));
        let threads = vec![thread(1, 0, on_cpu(1), second * SECOND_NS)];
        update(&mut live, second, threads, std::slice::from_ref(&all), HashMap::new());
        live.last(WorkloadId(0)).and_then(|last| last.wakeup_p99_ns)
    };
    assert_eq!(then(10, &[9_000_000; 100]), None);
    let microseconds = then(12, &[[1_000; 99].as_slice(), &[7_000_000]].concat());
    assert!(microseconds.is_some_and(|ns| (900..1_100).contains(&ns)), "{microseconds:?}");
    assert_eq!(then(14, &[]), None, "nothing was woken");
}

/// One step: how long it takes, and of each thread whether it is there, in which workload, and how much of the time it runs and waits.
type Step = (u64, Vec<(bool, u32, u64, u64)>, Option<u64>);

prop_compose! {
    fn any_step()(
        millis in 500_u64..5_000, throttled in prop::option::weighted(0.3, 0_u64..3_000),
        threads in prop::collection::vec((any::<bool>(), 0_u32..3, 0_u64..=100, 0_u64..=100), 4),
    ) -> Step {
        (millis, threads, throttled)
    }
}

proptest! {
    /// Whatever comes and goes, and moves from workload to workload: what a workload used and what it lost is what was there for it, and
    /// nothing that is counted goes down.
    #[test]
    fn used_and_lost_is_what_was_given_and_nothing_goes_down(steps in prop::collection::vec(any_step(), 1..20)) {
        let mut live = Live::default();
        let mut now_ns = 10 * SECOND_NS;
        let mut of_threads = [Times::default(); 4];
        let mut sums = vec![Totals::default(); 3];
        // Of each workload: used when its last window ended, and given and used over the windows.
        let mut ended_ns = 0;
        let (mut ended, mut given, mut used) = ([0_u64; 3], [0_u64; 3], [0_u64; 3]);
        for (millis, threads, throttled) in steps {
            let wall_ns = millis * 1_000_000;
            now_ns += wall_ns;
            let mut there = Vec::new();
            for ((index, tid), (is_there, workload, runs, waits)) in (0..).zip(1..).zip(threads) {
                if !is_there {
                    continue;
                }
                let on_cpu_ns = wall_ns * runs / 100;
                let preempt_wait_ns = (wall_ns - on_cpu_ns) * waits / 100;
                let mut grown = Times { on_cpu_ns, preempt_wait_ns, ..Times::default() };
                grown.blocked_ns[Reason::Gil as usize] = wall_ns - on_cpu_ns - preempt_wait_ns;
                of_threads[index] = [of_threads[index], grown].iter().sum();
                let times = &mut sums[workload as usize].times;
                *times = [*times, grown].iter().sum();
                there.push(thread(tid, workload, of_threads[index], now_ns));
            }
            let usage = |ms| Usage { periods: 9, throttled_periods: 1, throttled_ns: ms * 1_000_000 };
            let limit = Limit { quota_ns: 1, period_ns: 2 };
            let quota = throttled.map(|ms| Quota { file: "cpu.max".into(), limit, usage: usage(ms) });
            let allowed = (0..3).map(|number| (WorkloadId(number), Allowed { cpus: Some(1 + number), quota: quota.clone() })).collect();
            let before: Vec<Lost> = (0..3).map(|number| live.lost(WorkloadId(number))).collect();
            let snapshot = Snapshot { taken_ns: now_ns, threads: there, cells: vec![vec![Cell::default()]], ..Snapshot::default() };
            let known = Known { cpus: CORES, physical_cores: CORES, totals: &|number| sums.get(number.0 as usize), python: &|_| None };
            live.update(&snapshot, &known, |_| allowed);
            if now_ns - ended_ns < WINDOW_NS {
                continue;
            }
            for (number, id) in (0..3).zip(0_u32..) {
                let on_cpu_ns = sums[number].times.on_cpu_ns;
                let lost = live.lost(WorkloadId(id));
                if let Some(last) = live.last(WorkloadId(id)).filter(|_| ended_ns > 0) {
                    prop_assert_eq!(last.wall_ns, now_ns - ended_ns);
                    let grown = on_cpu_ns - ended[number];
                    used[number] += grown;
                    given[number] += (last.wall_ns * u64::from(CORES)).max(grown);
                }
                ended[number] = on_cpu_ns;
                prop_assert_eq!(used[number] + lost.ns.iter().sum::<u64>(), given[number]);
                prop_assert!(lost.ns.iter().zip(before[number].ns).all(|(now, before)| *now >= before));
                prop_assert!(lost.throttled_ns >= before[number].throttled_ns);
                prop_assert!(lost.throttled_periods >= before[number].throttled_periods);
            }
            ended_ns = now_ns;
        }
    }
}
