//! What each cell of the map looks like, and what the legend says about it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{
    super::schema::{CoreMap, CoreMapRow, CoreMapThread},
    *,
};

const PLAIN: ColourDepth = ColourDepth::None;

fn thread(tid: u32, process: u32, comm: &str) -> CoreMapThread {
    CoreMapThread { tid, tgid: process, comm: comm.to_owned() }
}

/// One core, columns of one second: threads with their seconds in each, and the seconds of other programs.
fn report(threads: Vec<CoreMapThread>, columns: Vec<(Vec<(usize, f64)>, f64)>) -> RunReport {
    let seconds = columns.len() as f64;
    let (bins, foreign) = columns.into_iter().unzip();
    let core_map = Some(CoreMap { bin_seconds: 1.0, rows: vec![CoreMapRow { cpu: 0, bins, foreign }], threads });
    RunReport { wall_seconds: seconds, core_map, ..RunReport::default() }
}

/// The row of the core as it is drawn, without its number; in colours with the share behind it.
fn row(report: &RunReport, colour: ColourDepth) -> String {
    let bins = report.core_map.as_ref().unwrap().rows[0].bins.len();
    let lines = render(report, &Options { width: bins + draw::MARGIN, colour }).unwrap();
    let line = lines.iter().find_map(|line| line.strip_prefix("  CPU 0    ")).unwrap();
    if colour == PLAIN { line.chars().take(bins).collect() } else { line.to_owned() }
}

/// A map of one thread with these shares of its own and of others.
fn shares(shares: &[(f64, f64)]) -> RunReport {
    let columns = shares.iter().map(|&(busy, foreign)| (vec![(0, busy)], foreign)).collect();
    report(vec![thread(1, 1, "spin")], columns)
}

#[test]
fn a_cell_shows_who_had_more_of_it_and_whether_it_was_half() {
    let cells = shares(&[
        (0.0, 0.0),
        (0.009, 0.049),
        (0.01, 0.0),
        (0.0, 0.05),
        (0.49, 0.0),
        (0.5, 0.0),
        (0.3, 0.3),
        (0.3, 0.31),
        (1.0, 0.0),
    ]);
    assert_eq!(row(&cells, PLAIN), "..a+aAa+A");
}

#[test]
fn in_colours_a_cell_is_as_high_as_it_was_busy() {
    let heights = [0.0, 0.01, 0.1, 0.24, 0.26, 0.5, 0.7, 0.9, 0.95, 1.0];
    let drawn = row(&shares(&heights.map(|share| (share, 0.0))), ColourDepth::Ansi256);
    let signs: String = drawn.chars().filter(|c| "·▁▂▃▄▅▆▇█".contains(*c)).collect();
    assert_eq!(signs, "·▁▁▂▂▄▆▇██");
    let foreign = row(&shares(&heights.map(|share| (0.0, share))), ColourDepth::Ansi256);
    let signs: String = foreign.chars().filter(|c| "·▁▂▃▄▅▆▇█".contains(*c)).collect();
    assert_eq!(signs, "··▁▂▂▄▆▇██");
}

#[test]
fn a_cell_shared_with_others_has_a_grey_ground() {
    let drawn = |foreign: f64| row(&shares(&[(0.6, foreign)]), ColourDepth::Ansi256);
    assert!(!drawn(0.24).contains("48;5;") && drawn(0.25).contains("48;5;237"), "{}", drawn(0.25));
    // Neighbours of one style share one sequence; another style begins a new one.
    let sequences = |shares: &[(f64, f64)]| row(&self::shares(shares), ColourDepth::Ansi256).matches("\x1b[38").count();
    assert_eq!((sequences(&[(1.0, 0.0); 4]), sequences(&[(1.0, 0.0), (0.6, 0.3), (1.0, 0.0)])), (1, 3));
}

#[test]
fn the_letter_is_of_the_thread_that_had_most_and_the_busiest_has_the_first() {
    let threads = || vec![thread(1, 1, "main"), thread(2, 1, "left"), thread(3, 1, "never"), thread(4, 1, "right")];
    let columns = vec![
        (vec![(1, 0.6), (3, 0.4)], 0.0),
        (vec![(1, 0.4), (3, 0.6)], 0.0),
        // Of equals the first of the report.
        (vec![(3, 0.5), (1, 0.5)], 0.0),
        (vec![(0, 0.9), (2, 0.1)], 0.0),
    ];
    let report = report(threads(), columns);
    assert_eq!(row(&report, PLAIN), "BCBA");
    let picture = Picture::of(&report, &Options::default()).unwrap();
    let names: Vec<String> = picture.legend.entries.iter().map(|(key, name)| format!("{} {name}", key.mark(PLAIN))).collect();
    assert_eq!(names, ["A main 1", "B left 2", "C right 4"], "who is never in front needs no letter");
    let of = |tid, tgid| picture.key(&ThreadReport { tid, tgid, ..ThreadReport::default() }).map(|key| key.mark(PLAIN));
    assert_eq!([of(4, 1), of(3, 1), of(4, 2), of(9, 1)], [Some("C".to_owned()), None, None, None]);
}

#[test]
fn a_process_is_named_after_its_main_thread_and_sums_its_threads() {
    // Thirty threads in two processes: more than there are letters.
    let threads =
        (0..30).map(|n| thread(if n == 7 { 100 } else { 200 + n }, if n < 15 { 100 } else { 215 }, &format!("t{n}"))).collect();
    let mut columns: Vec<(Vec<(usize, f64)>, f64)> = (0..30).map(|n| (vec![(n, 1.0)], 0.0)).collect();
    // Two threads of the first process have more of it together than the one of the other.
    columns.push((vec![(20, 0.4), (1, 0.3), (2, 0.3)], 0.0));
    let report = report(threads, columns);
    assert_eq!(row(&report, PLAIN), format!("{}{}A", "A".repeat(15), "B".repeat(15)));
    let picture = Picture::of(&report, &Options::default()).unwrap();
    let names: Vec<&str> = picture.legend.entries.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["t7 100", "t15 215"]);
    assert_eq!(picture.legend.unit(), "process");
}

#[test]
fn who_has_no_letter_is_any_other() {
    let threads = |count: u32| {
        report((0..count).map(|n| thread(100 + n, 1, "t")).collect(), (0..count as usize).map(|n| (vec![(n, 1.0)], 0.0)).collect())
    };
    let drawn = |report: &RunReport| render(report, &Options { width: 100, colour: PLAIN }).unwrap().join("\n");
    assert!(!drawn(&threads(26)).contains("any other"));
    let text = drawn(&threads(27));
    assert!(text.contains('Z') && text.contains("* any other") && row(&threads(27), PLAIN).ends_with('*'), "{text}");
}

#[test]
fn the_legend_is_wrapped_at_the_width() {
    let threads: Vec<CoreMapThread> = (0..12).map(|n| thread(100 + n, 1, "worker")).collect();
    let columns = (0..12).map(|n| (vec![(n, 1.0)], 0.0)).collect();
    let lines = render(&report(threads, columns), &Options { width: 60, colour: PLAIN }).unwrap();
    let legend: Vec<&String> = lines.iter().skip_while(|line| !line.starts_with("  A worker")).collect();
    assert!(legend.iter().all(|line| line.chars().count() <= 60), "{legend:?}");
    // An item goes to the next line only if it does not fit: two blanks, letter, blank, name.
    assert_eq!(legend[0].matches("worker").count(), 60 / "  A worker 100".len());
}

#[test]
fn the_share_of_a_row_is_of_the_whole_run() {
    let lines = render(&shares(&[(1.0, 0.0), (0.6, 0.0), (0.0, 1.0), (0.0, 0.0)]), &Options::default()).unwrap();
    assert!(lines.iter().any(|line| line.starts_with("  CPU 0") && line.ends_with("  40 %")), "{lines:#?}");
    assert!(lines[0].starts_with("Core map, lettered by the thread that ran most; one column is "));
}

#[test]
fn a_map_of_no_length_is_not_drawn() {
    let mut empty = shares(&[]);
    assert!(render(&empty, &Options::default()).is_none());
    empty.core_map.as_mut().unwrap().rows.clear();
    assert!(render(&empty, &Options::default()).is_none());
    let mut timeless = shares(&[(1.0, 0.0)]);
    timeless.core_map.as_mut().unwrap().bin_seconds = 0.0;
    assert!(render(&timeless, &Options::default()).is_none());
}
