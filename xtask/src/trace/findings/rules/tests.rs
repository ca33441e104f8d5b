//! Each question's answers, and the figures at which one becomes another.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{
    super::{
        super::{cell::Row, figures::Figures},
        of,
        tests::{figures_of, row, with_gil},
        text,
    },
    *,
};

/// The answer to a question on four CPUs.
fn answer(rows: &[Row], question: &str) -> Finding {
    of(rows, 4).into_iter().find(|finding| finding.question == question).unwrap()
}

fn verdict(rows: &[Row], question: &str) -> Verdict {
    answer(rows, question).verdict
}

/// The calibration cell and these.
fn calibrated(rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
    with_gil().into_iter().take(1).chain(rows).collect()
}

fn changed(mut row: Row, change: impl FnOnce(&mut Figures)) -> Row {
    change(figures_of(std::slice::from_mut(&mut row), 0));
    row
}

#[test]
fn a_gain_counts_from_seven_tenths_of_the_ideal_on() {
    use Verdict::{No, Partly, Yes};
    for (speed_up, ideal, expected) in [
        (2.8, 4.0, Yes),
        (2.79, 4.0, Partly),
        (1.16, 4.0, Partly),
        (1.15, 4.0, No),
        (0.2, 4.0, No),
        // Where next to nothing can be gained, noise is not taken for it.
        (1.1, 1.5, No),
        (1.14, 1.2, No),
    ] {
        assert_eq!(judge_speed_up(speed_up, ideal), expected, "{speed_up} of {ideal}");
    }
}

#[test]
fn more_workers_than_cpus_need_not_gain_more() {
    let rows = |workers, speed_up| calibrated([row("hash", "serial", 1, 1.0, 1.0), row("hash", "threads", workers, speed_up, 4.0)]);
    assert_eq!(verdict(&rows(16, 2.8), "threads-speed-up-hashing"), Verdict::Yes);
    assert_eq!(verdict(&rows(2, 1.4), "threads-speed-up-hashing"), Verdict::Yes);
    assert_eq!(verdict(&rows(2, 1.39), "threads-speed-up-hashing"), Verdict::Partly);
    let finding = answer(&rows(2, 1.39), "threads-speed-up-hashing");
    assert_eq!(
        finding.sentence,
        "Threads speed up hashing, which lets the GIL go only in part: 2 of them are 1.39x as fast as serial on 4 CPUs; they want 4.0 cores."
    );
    assert_eq!((finding.runtime.as_str(), finding.cells), ("3.11.7", vec!["hash-serial".to_owned(), "hash-threads".to_owned()]));
}

#[test]
fn interpreters_of_their_own_are_judged_as_threads_are() {
    let rows = calibrated([row("arithmetic", "serial", 1, 1.0, 1.0), row("arithmetic", "subinterpreters", 4, 3.7, 3.9)]);
    let finding = answer(&rows, "subinterpreters-speed-up-computing");
    assert_eq!(finding.verdict, Verdict::Yes);
    assert!(finding.sentence.starts_with("Threads with an interpreter each speed up pure Python arithmetic: 4 of them are 3.70x"));
}

/// Four downloads that take this speed-up on threads and in an event loop.
fn downloads(threads: f64, event_loop: f64) -> Vec<Row> {
    vec![
        row("download", "serial", 1, 1.0, 0.01),
        row("download", "threads", 4, threads, 0.05),
        row("download", "asyncio", 4, event_loop, 0.04),
    ]
}

#[test]
fn waiting_overlaps_if_it_does_on_both() {
    use Verdict::{No, Partly, Yes};
    for (threads, event_loop, expected) in
        [(3.2, 4.0, Yes), (4.0, 3.2, Yes), (4.0, 3.19, Partly), (3.19, 4.0, Partly), (1.16, 4.0, Partly), (4.0, 1.15, No)]
    {
        assert_eq!(verdict(&downloads(threads, event_loop), "waiting-overlaps"), expected, "{threads}, {event_loop}");
    }
    assert_eq!(
        answer(&downloads(4.0, 3.5), "waiting-overlaps").sentence,
        "Waiting overlaps, on threads as in an event loop: 4 downloads take 1.00 s one by one, 250 ms on threads and 286 ms with asyncio; the threads use 0.05 of a core."
    );
    assert!(answer(&downloads(4.0, 2.0), "waiting-overlaps").sentence.starts_with("Waiting overlaps only in part: "));
    assert!(answer(&downloads(4.0, 1.0), "waiting-overlaps").sentence.starts_with("Waiting does not overlap on threads or in"));
}

#[test]
fn an_event_loop_saves_switches_if_there_are_half_as_many_per_unit() {
    use Verdict::{No, Partly, Yes};
    // Voluntary switches a second, for two seconds, over 100 fetches.
    let fetches = |threads: f64, event_loop: f64| {
        let fetch = |model, voluntary_per_second| {
            changed(row("fetch", model, 4, 1.0, 1.0), |figures| {
                (figures.voluntary_per_second, figures.outside_wall_seconds, figures.work) = (voluntary_per_second, 2.0, 100.0);
            })
        };
        answer(&[fetch("threads", threads), fetch("asyncio", event_loop)], "event-loop-saves-switches")
    };
    for (threads, event_loop, expected) in
        [(400.0, 200.0, Yes), (399.0, 200.0, Partly), (200.0, 399.0, Partly), (200.0, 400.0, No), (200.0, 0.0, Yes)]
    {
        assert_eq!(fetches(threads, event_loop).verdict, expected, "{threads}, {event_loop}");
    }
    assert_eq!(
        fetches(400.0, 100.0).sentence,
        "An event loop saves context switches: 8.0 voluntary switches per fetch on threads, 2.0 with asyncio."
    );
    assert!(fetches(100.0, 100.0).sentence.starts_with("An event loop switches about as often as threads"));
    assert!(fetches(100.0, 900.0).sentence.starts_with("An event loop switches more often than threads"));
}

#[test]
fn a_computing_thread_holds_up_others_if_they_do_half_as_much() {
    // Echoes in two seconds.
    let convoy = |beside_thread: f64, beside_process: f64| {
        let echo =
            |model, work| changed(row("convoy", model, 1, 1.0, 1.0), |figures| (figures.work, figures.work_seconds) = (work, 2.0));
        answer(&calibrated([echo("thread", beside_thread), echo("process", beside_process)]), "computing-thread-holds-up-others")
    };
    assert_eq!(convoy(100.0, 200.0).verdict, Verdict::Yes);
    assert_eq!(convoy(100.0, 199.0).verdict, Verdict::No);
    assert_eq!(
        convoy(100.0, 2000.0).sentence,
        "A computing thread holds up an answering one in its process: 50 echoes a second beside it, 1,000 beside a computing process."
    );
    assert!(convoy(100.0, 100.0).sentence.starts_with("A computing thread hardly holds up"));
}

#[test]
fn a_process_costs_more_if_it_takes_twice_as_long_to_start() {
    let started = |threads: f64, fork: f64, spawn: Option<f64>, pss: Option<[f64; 2]>| {
        let worker = |model, start, pss| {
            changed(row("arithmetic", model, 4, 1.0, 1.0), |figures| {
                (figures.start_seconds, figures.pss_bytes) = (Some(start), pss);
            })
        };
        let mebi = pss.map(|pss| pss.map(|mebibytes| mebibytes * 1_048_576.0));
        let mut rows =
            vec![worker("threads", threads, mebi.map(|pss| pss[0])), worker("processes-fork", fork, mebi.map(|pss| pss[1]))];
        rows.extend(spawn.map(|spawn| worker("processes-spawn", spawn, None)));
        answer(&rows, "process-costs-more")
    };
    assert_eq!(started(1e-3, 2e-3, None, None).verdict, Verdict::Yes);
    assert_eq!(started(1e-3, 1.99e-3, None, None).verdict, Verdict::No);
    assert_eq!(
        started(1e-4, 2e-3, Some(0.04), Some([12.0, 48.0])).sentence,
        "A process costs more than a thread: it starts in 2.00 ms by fork, 40.0 ms if spawned afresh, a thread in 100 µs; the 4 of them take 48 MiB together, as threads 12."
    );
    assert_eq!(
        started(1e-3, 1e-3, None, None).sentence,
        "A process starts about as fast as a thread: it starts in 1.00 ms by fork, a thread in 1.00 ms."
    );
}

#[test]
fn a_machine_is_fit_up_to_its_bounds() {
    let speed = "processes-speed-up-computing";
    let with = |change: fn(&mut [Row])| {
        let mut rows = with_gil();
        change(&mut rows);
        rows
    };
    let is_told = |rows: &[Row], question| verdict(rows, question) != Verdict::Inconclusive;
    assert!(is_told(&with(|rows| figures_of(rows, 0).running_mean = 3.68), speed));
    assert!(!is_told(&with(|rows| figures_of(rows, 0).running_mean = 3.67), speed));
    assert!(is_told(&with(|rows| figures_of(rows, 3).foreign_share = 0.05), speed));
    assert!(!is_told(&with(|rows| figures_of(rows, 3).foreign_share = 0.051), speed));
    for (waiting, index) in [("waiting-overlaps", 7), ("process-costs-more", 3)] {
        for (share, expected) in [(0.3, true), (0.31, false)] {
            let mut rows = with_gil();
            figures_of(&mut rows, index).foreign_share = share;
            assert_eq!(is_told(&rows, waiting), expected, "{waiting} at {share}");
        }
    }
    // The noisiest of the cells decides, and is named.
    let noisy = with(|rows| {
        figures_of(rows, 1).foreign_share = 0.1;
        figures_of(rows, 3).foreign_share = 0.2;
    });
    assert!(answer(&noisy, speed).sentence.contains("other programs took 20 % of the CPUs during arithmetic-processes-fork"));
    let lossy = with(|rows| figures_of(rows, 3).lost = 7.0);
    assert!(answer(&lossy, speed).sentence.contains("7 observations are missing in arithmetic-processes-fork"));
}

#[test]
fn demand_is_told_up_to_a_higher_load_and_nothing_with_one_cpu() {
    let told = |share: f64| {
        let mut rows = with_gil();
        figures_of(&mut rows, 2).foreign_share = share;
        answer(&rows, "threads-speed-up-computing").sentence
    };
    assert!(told(0.6).ends_with("Their demand is clear: 4 of them want 1.2 cores, where 4 processes want 4.0."), "{}", told(0.6));
    assert!(told(0.61).ends_with("during arithmetic-threads."), "{}", told(0.61));
    let one = of(&with_gil(), 1);
    assert_eq!(one[0].verdict, Verdict::Inconclusive);
    assert!(
        one[0].sentence.starts_with("Inconclusive whether threads speed up pure Python arithmetic: with one CPU nothing can run")
    );
    // What is no question of speed can be told there.
    assert!(one.iter().any(|finding| finding.question == "process-costs-more" && finding.verdict == Verdict::Yes));
}

#[test]
fn the_runtime_is_named_where_there_are_several() {
    let one = of(&downloads(4.0, 4.0), 4);
    assert!(text(&one).starts_with("What the kernel saw:\n- Waiting overlaps"));
    let mut other = downloads(4.0, 1.0);
    for row in &mut other {
        row.cell.runtime = "3.14t".to_owned();
    }
    let both = of(&[downloads(4.0, 4.0), other].concat(), 4);
    let text = text(&both);
    assert!(text.contains("\n- (3.11.7) Waiting overlaps, ") && text.contains("\n- (3.14t) Waiting does not"), "{text}");
}
