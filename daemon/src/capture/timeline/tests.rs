use proptest::prelude::*;
use schedscope_ebpf::abi::CpuRecord;
use schedscope_ebpf::task_clock::Phase;

use super::*;
use crate::capture::snapshot::tests::thread;

fn sample(taken_ns: u64, on_cpu_ns: &[u64]) -> Snapshot {
    let mut thread = thread(7, Phase::Blocked);
    thread.on_cpu_ns_by_cpu = on_cpu_ns.to_vec();
    Snapshot { taken_ns, cpus: vec![CpuRecord::default(); on_cpu_ns.len()], threads: vec![thread], ..Snapshot::default() }
}

fn total(timeline: &Timeline, cpu: usize) -> u64 {
    timeline.row(cpu).flat_map(|slice| slice.by_lane.values()).sum()
}

proptest! {
    #[test]
    fn no_nanosecond_is_lost_or_made_up(steps in prop::collection::vec((1_u64..100_000_000, 0_u64..100_000_000, 0_u64..100_000_000), 1..200)) {
        let mut now_ns = 1_000;
        let mut sums = [0, 0];
        let mut timeline = Timeline::starting(&sample(now_ns, &sums));
        for (step, first, second) in steps {
            now_ns += step;
            sums = [sums[0] + first.min(step), sums[1] + second.min(step)];
            timeline.feed(&sample(now_ns, &sums));
            prop_assert!(timeline.columns.len() <= MAX_BINS);
        }
        let mut shares = timeline.row(0).chain(timeline.row(1)).flat_map(|slice| slice.by_lane.values());
        prop_assert!(shares.all(|ns| *ns > 0), "a thread is in a column in which it did not run");
        prop_assert_eq!(total(&timeline, 0), sums[0]);
        prop_assert_eq!(total(&timeline, 1), sums[1]);
        prop_assert_eq!(timeline.lanes.iter().map(|lane| lane.total_ns).sum::<u64>(), sums[0] + sums[1]);
    }
}

#[test]
fn a_run_noticed_late_is_drawn_where_it_was() {
    let mut timeline = Timeline::starting(&sample(0, &[0]));
    timeline.feed(&sample(10_000_000, &[0]));
    timeline.feed(&sample(15_000_000, &[15_000_000]));
    let columns: Vec<u64> = timeline.row(0).map(|slice| slice.by_lane.values().sum()).collect();
    assert_eq!(columns, [5_000_000, 5_000_000, 5_000_000]);
}

#[test]
fn a_sample_that_lacks_an_open_interval_adds_nothing_and_the_next_adds_no_more() {
    let mut timeline = Timeline::starting(&sample(0, &[0]));
    for (taken_ns, on_cpu_ns) in [(10_000_000, 10_000_000), (20_000_000, 4_000_000), (30_000_000, 25_000_000)] {
        timeline.feed(&sample(taken_ns, &[on_cpu_ns]));
    }
    assert_eq!(total(&timeline, 0), 25_000_000);
}

/// A sample of idle times and of the time that the thread waited.
fn with_idle(taken_ns: u64, idle_ns: &[u64], waited_ns: u64) -> Snapshot {
    let mut snapshot = sample(taken_ns, &vec![0; idle_ns.len()]);
    for (cpu, &idle_ns) in snapshot.cpus.iter_mut().zip(idle_ns) {
        cpu.idle_ns = idle_ns;
    }
    snapshot.threads[0].record.wakeup_wait_ns = waited_ns;
    snapshot
}

proptest! {
    /// A core that is never idle is busy for the whole of every column, however often columns were merged; time waited is kept too.
    #[test]
    fn every_column_is_as_long_as_the_others(steps in prop::collection::vec((1_u64..200_000_000, 0_u64..100), 1..100)) {
        let start_ns = 7_000_000_000_000;
        let (mut now_ns, mut idle_ns, mut waited_ns) = (start_ns, 0, 0);
        let mut timeline = Timeline::starting(&with_idle(now_ns, &[0, 0], 0));
        for (step, percent) in steps {
            now_ns += step;
            idle_ns += step * percent / 100;
            waited_ns += step * percent / 50;
            timeline.feed(&with_idle(now_ns, &[0, idle_ns], waited_ns));
        }
        prop_assert!(timeline.lanes.is_empty(), "nobody ran");
        let length_ns = now_ns - start_ns;
        let bin_ns = timeline.bin_ns;
        prop_assert!(bin_ns * MAX_BINS as u64 >= length_ns && (bin_ns == FIRST_BIN_NS || bin_ns / 2 * (MAX_BINS as u64) < length_ns));
        prop_assert_eq!(timeline.columns.len() as u64, length_ns.div_ceil(bin_ns));
        for (column, slice) in timeline.row(0).enumerate() {
            let begin_ns = column as u64 * bin_ns;
            prop_assert_eq!(slice.busy_ns, bin_ns.min(length_ns - begin_ns), "column {}", column);
        }
        prop_assert_eq!(timeline.row(1).map(|slice| slice.busy_ns).sum::<u64>(), length_ns - idle_ns);
        prop_assert_eq!(timeline.columns.iter().map(|column| column.runnable_ns).sum::<u64>(), waited_ns);
    }
}

#[test]
fn merged_columns_keep_who_ran_where() {
    let half = MAX_BINS as u64 * FIRST_BIN_NS;
    let mut timeline = Timeline::starting(&sample(0, &[0, 0]));
    timeline.feed(&sample(FIRST_BIN_NS, &[4_000_000, 0]));
    timeline.feed(&sample(2 * FIRST_BIN_NS, &[5_000_000, 3_000_000]));
    timeline.feed(&sample(half, &[5_000_000, 3_000_000]));
    assert_eq!((timeline.bin_ns, timeline.columns.len()), (FIRST_BIN_NS, MAX_BINS));
    timeline.feed(&sample(half + 1, &[5_000_000, 3_000_000]));
    assert_eq!(timeline.bin_ns, 2 * FIRST_BIN_NS);
    let first: Vec<u64> = timeline.columns[0].cores.iter().map(|slice| slice.by_lane[&0]).collect();
    assert_eq!(first, [5_000_000, 3_000_000]);
    assert!(timeline.columns[1].cores.iter().all(|slice| slice.by_lane.is_empty()));
}

#[test]
fn what_was_done_before_the_timeline_is_not_on_it() {
    let mut before = sample(10_000_000, &[7_000_000]);
    before.threads[0].record.preempt_wait_ns = 9_000_000;
    let mut after = sample(15_000_000, &[8_000_000]);
    after.threads[0].record.preempt_wait_ns = 9_500_000;
    let mut timeline = Timeline::starting(&before);
    timeline.feed(&after);
    assert_eq!((total(&timeline, 0), timeline.lanes[0].total_ns), (1_000_000, 1_000_000));
    assert_eq!(timeline.columns[0].runnable_ns, 500_000);
    assert_eq!(timeline.start_ns, 10_000_000);
    // An older sample, or the same once more, adds nothing.
    timeline.feed(&sample(15_000_000, &[9_000_000]));
    assert_eq!(total(&timeline, 0), 1_000_000);
}

#[test]
fn open_intervals_are_on_it() {
    let running = |taken_ns: u64| {
        let mut snapshot = sample(taken_ns, &[0, 0]);
        snapshot.threads[0] = thread(7, Phase::Running);
        snapshot.threads[0].record.clock.cpu = 1;
        snapshot.threads[0].on_cpu_ns_by_cpu = vec![0, 0];
        // CPU 0 has been idle since 2 ms, CPU 1 has a task.
        (snapshot.cpus[0].idle, snapshot.cpus[0].since_ns) = (1, 2_000_000);
        snapshot
    };
    let mut timeline = Timeline::starting(&running(2_000_000));
    timeline.feed(&running(5_000_000));
    assert_eq!((total(&timeline, 0), total(&timeline, 1)), (0, 3_000_000));
    assert_eq!(timeline.columns[0].cores.iter().map(|slice| slice.busy_ns).collect::<Vec<_>>(), [0, 3_000_000]);
}

#[test]
fn a_thread_id_that_is_used_again_is_another_lane() {
    let mut timeline = Timeline::starting(&sample(0, &[0]));
    let mut renamed = sample(10, &[5]);
    renamed.threads[0].record.comm = *b"renamed\0\0\0\0\0\0\0\0\0";
    timeline.feed(&renamed);
    // The first one ended; what it did last is handed out with its slot.
    let mut ended = sample(20, &[8]);
    ended.released = std::mem::take(&mut ended.threads);
    timeline.feed(&ended);
    let mut second = sample(30, &[4]);
    second.threads[0].record.start_ns = 25;
    timeline.feed(&second);
    let lanes: Vec<(u32, &str, u64)> = timeline.lanes.iter().map(|lane| (lane.tid, lane.comm.as_str(), lane.total_ns)).collect();
    assert_eq!(lanes, [(7, "worker", 8), (7, "worker", 4)]);
    assert!(timeline.row(1).next().is_none(), "there is one core");
    assert_eq!(timeline.seen.len(), 1, "a thread that has ended is forgotten");
}
