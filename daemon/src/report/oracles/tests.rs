use super::{
    super::schema::{Switches, ThreadReport, UnseenByOthers},
    *,
};
use crate::capture::snapshot::tests::thread;
use schedscope_ebpf::task_clock::Phase;

/// 100 voluntary and 20 involuntary switches of 4 threads in 2 processes, all ended; one was preempted once while it ended.
fn report() -> RunReport {
    let mut report = RunReport { switches: Switches { voluntary: 100, preempted: 15, yielded: 5 }, ..RunReport::default() };
    report.migrations.total = 9;
    report.time_seconds.on_cpu = 1.0;
    report.check.unseen_by_others = UnseenByOthers {
        ended: 4,
        ended_unwaited: 2,
        voluntary: 4,
        involuntary: 1,
        voluntary_unwaited: 2,
        involuntary_unwaited: 1,
        migrations: 1,
        on_cpu_seconds: 0.01,
        taken_seconds: 0.005,
        migrations_again: 2,
        migrations_repaired: 0,
    };
    report
}

fn all_within(residuals: &[Residual]) -> bool {
    residuals.iter().all(Residual::is_within)
}

#[test]
fn resource_usage_lacks_the_last_switches_of_threads_that_nobody_waits_for() {
    let agrees =
        |voluntary, involuntary, is_complete| all_within(&wait4(&report(), &Usage { voluntary, involuntary, is_complete }));
    assert!(agrees(98, 20, true) && agrees(98, 19, true));
    assert!(!agrees(97, 20, true), "we have counted one too many");
    assert!(!agrees(99, 20, true), "we have missed one");
    assert!(!agrees(98, 21, true) && !agrees(98, 18, true));
    assert!(agrees(50, 10, false), "a process that nobody waited for is missing from usage");
    assert!(!agrees(99, 20, false));
}

#[test]
fn perf_lacks_the_last_switch_of_every_thread_and_moves_within_one_wait() {
    let agrees = |context_switches, migrations, task_clock_ns| {
        let counts = PerfCounts { context_switches, migrations, task_clock_ns, nap_ns: 10_000, move_ns: 100_000 };
        all_within(&perf(&report(), &counts))
    };
    let clock_ns = 995_000_000;
    assert!(agrees(116, 7, clock_ns) && agrees(115, 6, clock_ns));
    assert!(!agrees(117, 7, clock_ns) && !agrees(114, 7, clock_ns));
    assert!(!agrees(116, 8, clock_ns) && !agrees(116, 5, clock_ns));
    // 120 naps and 9 moves are 2.1 ms. A thousandth and the time while ending below; a thousandth and what was taken above.
    assert!(agrees(116, 7, 987_500_000) && agrees(116, 7, 1_008_000_000));
    assert!(!agrees(116, 7, 986_500_000) && !agrees(116, 7, 1_008_500_000));
}

#[test]
fn what_perf_lacks_of_the_threads_own_counts_is_not_held_against_us() {
    let mut report = report();
    let agrees = |report: &RunReport, context_switches, migrations| {
        let counts = PerfCounts { context_switches, migrations, task_clock_ns: 995_000_000, nap_ns: 10_000, move_ns: 100_000 };
        all_within(&perf(report, &counts))
    };
    let kept = [("nvcsw", 100.0), ("nivcsw", 20.0), ("nr_migrations", 9.0)];
    report.check.residuals =
        kept.map(|(quantity, kernel)| Residual::new("task_struct", quantity, kernel, kernel, Bounds::EQUAL)).to_vec();
    assert!(!agrees(&report, 113, 7), "not all threads have ended");
    report.check.threads = 4;
    assert!(agrees(&report, 113, 5));
    assert!(!agrees(&report, 117, 7) && !agrees(&report, 116, 8), "perf has more than we");
    report.switches.voluntary += 1;
    assert!(!agrees(&report, 113, 5), "we have more than the kernel");
}

fn task(tid: u32, voluntary: u64) -> TaskCounters {
    TaskCounters { tid, voluntary, involuntary: 0, on_cpu_ns: 1_000, run_delay_ns: 0, timeslices: voluntary, migrations: Some(0) }
}

fn resting(tid: u32, voluntary: u64) -> Thread {
    let mut thread = thread(tid, Phase::Blocked);
    thread.record.voluntary = voluntary;
    thread.record.on_cpu_ns = 1_000;
    thread
}

fn at_rest<'a>(threads: &'a [Thread], totals: &'a Totals) -> AtRest<'a> {
    AtRest { threads, totals, move_seconds: None }
}

#[test]
fn perf_may_count_a_move_from_before_the_begin() {
    let mut report = report();
    let migrations = |report: &RunReport, migrations| {
        perf(report, &PerfCounts { migrations, ..PerfCounts::default() }).swap_remove(1).is_within()
    };
    assert!(!migrations(&report, 8));
    report.threads.push(ThreadReport { seeded: true, ..ThreadReport::default() });
    assert!(migrations(&report, 8) && !migrations(&report, 9));
}

#[test]
fn threads_at_rest_are_compared_one_by_one() {
    let threads = [resting(1, 4), resting(2, 6)];
    let before = TaskCounters { on_cpu_ns: 0, ..task(1, 3) };
    let compare = |now: &[TaskCounters]| proc(&at_rest(&threads, &Totals::default()), now, &before);
    let (residuals, differing) = compare(&[task(1, 7), task(2, 6)]);
    assert_eq!(differing, 0);
    assert!(all_within(&residuals) && residuals.len() == 6, "{residuals:?}");
    // The sums agree, the threads do not.
    assert_eq!(compare(&[task(1, 8), task(2, 5)]).1, 2);
    assert!(!all_within(&compare(&[task(1, 8), task(2, 6)]).0));
    let late = TaskCounters { on_cpu_ns: 1_003, ..task(2, 6) };
    assert!(!all_within(&compare(&[task(1, 7), late]).0));
}

#[test]
fn runs_that_the_kernel_does_not_count_are_no_timeslices() {
    let mut threads = [resting(1, 4)];
    (threads[0].record.preempted, threads[0].record.drowsy.uncounted_runs) = (2, 1);
    let compare = |timeslices| {
        let now = TaskCounters { involuntary: 2, timeslices, ..task(1, 4) };
        let (residuals, differing) = proc(&at_rest(&threads, &Totals::default()), &[now], &TaskCounters::default());
        (all_within(&residuals), differing)
    };
    assert_eq!([compare(4), compare(5), compare(6)], [(false, 1), (true, 0), (false, 1)]);
}

#[test]
fn a_thread_that_one_side_does_not_know_counts_as_differing() {
    let threads = [resting(1, 4)];
    let before = TaskCounters::default();
    assert_eq!(proc(&at_rest(&threads, &Totals::default()), &[task(1, 4), task(2, 6)], &before).1, 1);
    assert_eq!(proc(&at_rest(&threads, &Totals::default()), &[], &before).1, 1);
}

#[test]
fn what_a_kernel_does_not_keep_is_left_out() {
    let now = [TaskCounters { migrations: None, timeslices: 0, ..task(1, 4) }];
    let (residuals, differing) = proc(&at_rest(&[resting(1, 4)], &Totals::default()), &now, &TaskCounters::default());
    assert_eq!((residuals.len(), differing), (3, 0));
}

#[test]
fn the_hosts_switches_are_bounded_by_those_during_the_readings() {
    let reading = |earlier, seen, unseen, later| HostReading {
        earlier: HostStat { switches: earlier, steal_ticks: 0 },
        ours: HostSwitches { seen, unseen },
        later: HostStat { switches: later, steal_ticks: 0 },
        settled: HostSwitches { seen, unseen },
    };
    let begin = reading(1_000, 10, 1, 1_003);
    // 500 switches by ours, two of them unseen.
    assert!(proc_stat(&begin, &reading(1_501, 508, 3, 1_505)).is_within());
    assert!(!proc_stat(&begin, &reading(1_504, 508, 3, 1_504)).is_within(), "one that we did not see");
    assert!(!proc_stat(&begin, &reading(1_490, 508, 3, 1_499)).is_within(), "one too many");
    // One that had been hidden on a CPU that was idle at the first reading.
    let late = HostReading { settled: HostSwitches { seen: 12, unseen: 2 }, ..begin };
    assert!(proc_stat(&late, &reading(1_499, 508, 3, 1_499)).is_within());
}
