use super::*;

#[test]
fn migrations_are_found_in_the_kernels_text() {
    let text = "worker (12, #threads: 2)\n---\nse.load.weight  :  1048576\nse.nr_migrations     :      37\nnr_switches : 4\n";
    assert_eq!(migrations_in(text), Some(37));
    assert_eq!(migrations_in("nothing of the kind"), None);
}

fn worker(work: u64, first_ns: u64, begin_ns: u64, end_ns: u64) -> WorkerReport {
    WorkerReport { work, first_ns, begin_ns, end_ns }
}

fn report(starts_ns: &[u64], workers: Vec<WorkerReport>) -> Report {
    let run = ModelRun { wall_ns: 2_500_000_000, pss_bytes: Some(7), starts_ns: starts_ns.to_vec(), workers };
    Report::of_model(Model::Threads, TaskKind::Spin, &run)
}

#[test]
fn a_report_is_of_what_the_workers_say() {
    let second = 1_000_000_000;
    let workers = vec![
        worker(10, 100, second, 3 * second),
        worker(20, 450, second + 500, 2 * second),
        worker(5, 390, second - 100, 2 * second + 7),
    ];
    let report = report(&[0, 200, 300], workers);
    assert_eq!((report.schema, report.cell.as_str()), ("schedscope.workload/1", "native-spin-threads"));
    assert_eq!((report.workers, report.work, report.work_by_worker), (3, 35, vec![10, 20, 5]));
    // Starting took 100, 250 and 90.
    assert_eq!(report.start_seconds, Some(100e-9));
    assert_eq!((report.wall_seconds, report.pss_bytes), (2.5, Some(7)));
    // From the first begin to the last end; all were at work from the last begin to the first end.
    assert!((report.work_seconds - 2.000_000_1).abs() < 1e-12, "{}", report.work_seconds);
    assert_eq!(report.window_monotonic_ns, Some([second + 500, 2 * second]));
}

#[test]
fn workers_that_never_worked_at_the_same_time_have_no_window() {
    assert_eq!(report(&[0, 0], vec![worker(1, 0, 10, 20), worker(1, 0, 20, 30)]).window_monotonic_ns, None);
    assert_eq!(report(&[0, 0], vec![worker(1, 0, 10, 21), worker(1, 0, 20, 30)]).window_monotonic_ns, Some([20, 21]));
    let nobody = report(&[], Vec::new());
    assert_eq!((nobody.work, nobody.start_seconds, nobody.window_monotonic_ns), (0, None, None));
}

#[test]
fn medians_are_exact() {
    assert_eq!([median([3.0, 1.0, 2.0]), median([4.0, 1.0, 2.0, 9.0]), median([])], [Some(2.0), Some(3.0), None]);
}

#[test]
fn switches_are_those_of_the_calling_thread() {
    let before = KernelCounts::of_this_thread();
    for _ in 0..23 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let after = KernelCounts::of_this_thread();
    assert_eq!(before.tid, after.tid);
    assert!(after.voluntary >= before.voluntary + 23, "{before:?} {after:?}");
    assert_ne!(std::thread::spawn(KernelCounts::of_this_thread).join().unwrap().tid, before.tid);
}
