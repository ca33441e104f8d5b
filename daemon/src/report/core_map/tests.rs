//! What each cell looks like, what axis and legend say about it, and that no second is lost on the way. Heading, shares and a whole
//! axis are in `report/golden/gil.txt`.

use proptest::prelude::*;

use super::super::schema::CoreMapRow;
use super::*;

const PLAIN: ColourDepth = ColourDepth::None;

fn thread(tid: u32, process: u32, comm: &str) -> CoreMapThread {
    CoreMapThread { tid, tgid: process, comm: comm.to_owned() }
}

/// Columns of a core: threads with their seconds in each, and the seconds of other programs.
type Columns = Vec<(Vec<(usize, f64)>, f64)>;

/// Cores with columns of this length.
fn on_cores(bin_seconds: f64, threads: Vec<CoreMapThread>, cores: impl IntoIterator<Item = Columns>) -> RunReport {
    let row = |(cpu, columns): (u32, Columns)| {
        let (bins, foreign) = columns.into_iter().unzip();
        CoreMapRow { cpu, bins, foreign }
    };
    let rows: Vec<CoreMapRow> = (0..).zip(cores).map(row).collect();
    let wall_seconds = rows[0].bins.len() as f64 * bin_seconds;
    RunReport { wall_seconds, core_map: Some(CoreMap { bin_seconds, rows, threads }), ..RunReport::default() }
}

/// One core with columns of one second.
fn report(threads: Vec<CoreMapThread>, columns: Columns) -> RunReport {
    on_cores(1.0, threads, [columns])
}

/// A map of one thread with these shares of its own and of others.
fn shares(shares: &[(f64, f64)]) -> RunReport {
    report(vec![thread(1, 1, "spin")], shares.iter().map(|&(busy, foreign)| (vec![(0, busy)], foreign)).collect())
}

/// Two cores, `bins` columns of 0.1 s: thread `index % threads` has the first to itself, the second is foreign and then idle.
fn alternating(bins: usize, threads: u32, tgid_of: impl Fn(u32) -> u32) -> RunReport {
    let first = (0..bins).map(|index| (vec![(index % threads as usize, 0.1)], 0.0)).collect();
    let second = (0..bins).map(|index| (vec![], if index < bins / 2 { 0.1 } else { 0.0 })).collect();
    on_cores(0.1, (0..threads).map(|i| thread(100 + i, tgid_of(i), "spin")).collect(), [first, second])
}

fn drawn(report: &RunReport, width: usize, colour: ColourDepth) -> Vec<String> {
    render(report, &Options { width, colour }).unwrap()
}

/// The rows as they are drawn without colours, without their numbers and shares.
fn cells(report: &RunReport, width: usize) -> Vec<String> {
    let lines = drawn(report, width, PLAIN);
    lines.iter().filter_map(|line| line.strip_prefix("  CPU ")?.split_whitespace().nth(1).map(str::to_owned)).collect()
}

/// The only row without colours, a character per column.
fn row(report: &RunReport) -> String {
    cells(report, report.core_map.as_ref().unwrap().rows[0].bins.len() + MARGIN).concat()
}

/// The only row in colours, with the share behind it.
fn coloured(report: &RunReport) -> String {
    let width = report.core_map.as_ref().unwrap().rows[0].bins.len() + MARGIN;
    drawn(report, width, ColourDepth::Ansi256).into_iter().find(|line| line.starts_with("  CPU 0    ")).unwrap()
}

#[test]
fn ticks_stand_at_round_times() {
    assert_eq!(axis(0.025, 50)[1], "0 ms                10                  20");
    assert_eq!(axis(0.000_09, 50)[1].split_whitespace().collect::<Vec<_>>(), ["0", "µs", "50"]);
    assert_eq!(axis(0.000_000_09, 50)[1].split_whitespace().collect::<Vec<_>>(), ["0", "ns", "50"]);
    assert_eq!(axis(1.0, 50)[1].split_whitespace().collect::<Vec<_>>(), ["0", "s", "0.5"]);
    for (least, expected) in [(1.0, 1.0), (1.1, 2.0), (2.0, 2.0), (2.1, 5.0), (5.1, 10.0), (0.03, 0.05), (700.0, 1000.0)] {
        assert!((tick_step(least) / expected - 1.0).abs() < 1e-9, "{least}: {}", tick_step(least));
    }
}

#[test]
fn labels_stand_under_their_ticks() {
    for (seconds, columns) in [(4.0, 80), (0.7, 61), (123.0, 183), (0.000_3, 60), (9.9, 44)] {
        let [line, labels] = axis(seconds, columns);
        assert_eq!(line.chars().count(), columns);
        let starts = |text: &str| {
            let chars: Vec<char> = text.chars().collect();
            (0..chars.len()).filter(|&at| chars[at].is_ascii_digit() && (at == 0 || chars[at - 1] == ' ')).collect::<Vec<_>>()
        };
        let ticks: Vec<usize> = line.chars().enumerate().filter(|(_, c)| *c == '┬').map(|(at, _)| at).collect();
        assert_eq!(starts(&labels), ticks, "{labels}");
        assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] >= TICK_SPACING - 1), "{ticks:?}");
        // The next tick would stand beyond the end.
        let step = ticks[1] - ticks[0];
        assert!(ticks.last().is_some_and(|last| last + step + 1 >= columns), "{ticks:?} of {columns}");
    }
}

#[test]
fn a_cell_shows_who_had_more_of_it_and_whether_it_was_half() {
    let (idle, busy) = ([(0.0, 0.0), (0.009, 0.049), (0.01, 0.0), (0.0, 0.05)], [(0.49, 0.0), (0.5, 0.0), (1.0, 0.0)]);
    assert_eq!(row(&shares(&[&idle[..], &busy, &[(0.3, 0.3), (0.3, 0.31)]].concat())), "..a+aAAa+");
}

#[test]
fn in_colours_a_cell_is_as_high_as_it_was_busy() {
    let heights = [0.0, 0.01, 0.1, 0.24, 0.26, 0.5, 0.7, 0.9, 0.95, 1.0];
    let signs = |shares: [(f64, f64); 10]| -> String {
        coloured(&self::shares(&shares)).chars().filter(|c| "·▁▂▃▄▅▆▇█".contains(*c)).collect()
    };
    assert_eq!(signs(heights.map(|share| (share, 0.0))), "·▁▁▂▂▄▆▇██");
    assert_eq!(signs(heights.map(|share| (0.0, share))), "··▁▂▂▄▆▇██");
}

#[test]
fn a_cell_shared_with_others_has_a_grey_ground() {
    let drawn = |foreign: f64| coloured(&shares(&[(0.6, foreign)]));
    assert!(!drawn(0.24).contains("48;5;") && drawn(0.25).contains("48;5;237"), "{}", drawn(0.25));
    // Neighbours of one style share one sequence; another style begins a new one.
    let sequences = |shares: &[(f64, f64)]| coloured(&self::shares(shares)).matches("\x1b[38").count();
    assert_eq!((sequences(&[(1.0, 0.0); 4]), sequences(&[(1.0, 0.0), (0.6, 0.3), (1.0, 0.0)])), (1, 3));
}

/// The legend's keys with their names.
fn names(report: &RunReport) -> Vec<String> {
    let picture = Picture::of(report, &Options::default()).unwrap();
    picture.legend.keys.iter().map(|(task, key)| format!("{} {}", key.mark(PLAIN), picture.legend.name(*task))).collect()
}

#[test]
fn the_letter_is_of_the_thread_that_had_most_and_the_busiest_has_the_first() {
    let threads = vec![thread(1, 1, "main"), thread(2, 1, "left"), thread(3, 1, "never"), thread(4, 1, "right")];
    let columns = vec![
        (vec![(1, 0.6), (3, 0.4)], 0.0),
        (vec![(1, 0.4), (3, 0.6)], 0.0),
        // Of equals the first of the report.
        (vec![(3, 0.5), (1, 0.5)], 0.0),
        (vec![(0, 0.9), (2, 0.1)], 0.0),
    ];
    let report = report(threads, columns);
    assert_eq!(row(&report), "BCBA");
    assert_eq!(names(&report), ["A main 1", "B left 2", "C right 4"], "who is never in front needs no letter");
    let picture = Picture::of(&report, &Options::default()).unwrap();
    let of = |tid, tgid| picture.key(&ThreadReport { tid, tgid, ..ThreadReport::default() }).map(|key| key.mark(PLAIN));
    assert_eq!([of(4, 1), of(3, 1), of(4, 2), of(9, 1)], [Some("C".to_owned()), None, None, None]);
}

#[test]
fn a_process_is_named_after_its_main_thread_and_sums_its_threads() {
    // Thirty threads in two processes: more than there are letters.
    let threads =
        (0..30).map(|n| thread(if n == 7 { 100 } else { 200 + n }, if n < 15 { 100 } else { 215 }, &format!("t{n}"))).collect();
    let mut columns: Columns = (0..30).map(|n| (vec![(n, 1.0)], 0.0)).collect();
    // Two threads of the first process have more of it together than the one of the other.
    columns.push((vec![(20, 0.4), (1, 0.3), (2, 0.3)], 0.0));
    let report = report(threads, columns);
    assert_eq!(row(&report), format!("{}{}A", "A".repeat(15), "B".repeat(15)));
    assert_eq!(names(&report), ["A t7 100", "B t15 215"]);
}

#[test]
fn too_many_threads_are_marked_by_process_and_too_many_processes_share_one_mark() {
    // There are twelve colours and 26 letters.
    for (colour, limit) in [(ColourDepth::Ansi256, 12), (PLAIN, 26)] {
        let text = |threads: u32, tgid_of: fn(u32) -> u32| drawn(&alternating(60, threads, tgid_of), 100, colour).join("\n");
        let fits = text(limit, |i| 100 + i);
        assert!(fits.contains("by the thread") && !fits.contains("any other"), "{fits}");
        let by_process = text(limit + 1, |i| 100 + i / 10);
        assert!(by_process.contains("by the process") && by_process.contains("spin 101") && !by_process.contains("any other"));
        assert!(text(limit + 1, |i| 100 + i).contains("any other"));
        // One process: nothing is gained by colouring it.
        assert!(text(limit + 1, |_| 100).contains("by the thread"));
    }
    let one_each = report((0..27).map(|n| thread(100 + n, 1, "t")).collect(), (0..27).map(|n| (vec![(n, 1.0)], 0.0)).collect());
    assert!(row(&one_each).ends_with("Z*"), "{}", row(&one_each));
}

#[test]
fn the_legend_is_wrapped_at_the_width() {
    let threads = (0..12).map(|n| thread(100 + n, 1, "worker")).collect();
    let lines = drawn(&report(threads, (0..12).map(|n| (vec![(n, 1.0)], 0.0)).collect()), 60, PLAIN);
    let legend: Vec<&String> = lines.iter().skip_while(|line| !line.starts_with("  A worker")).collect();
    assert!(legend.iter().all(|line| line.chars().count() <= 60), "{legend:?}");
    // An item goes to the next line only if it does not fit: two blanks, letter, blank, name.
    assert_eq!(legend[0].matches("worker").count(), 60 / "  A worker 100".len());
}

#[test]
fn a_map_of_no_length_is_not_drawn() {
    let changed = |change: fn(&mut CoreMap)| {
        let mut report = shares(&[(1.0, 0.0)]);
        change(report.core_map.as_mut().unwrap());
        render(&report, &Options::default())
    };
    assert!(changed(|_| ()).is_some());
    assert_eq!(changed(|map| map.bin_seconds = 0.0), None);
    assert_eq!(changed(|map| map.rows.clear()), None);
    assert_eq!(changed(|map| map.rows = vec![CoreMapRow::default()]), None);
}

#[test]
fn each_bin_becomes_equal_columns() {
    assert_eq!(cells(&alternating(4, 2, |_| 100), 12 + MARGIN), ["AAABBBAAABBB", "++++++......"]);
    assert_eq!(cells(&alternating(4, 2, |_| 100), 4 + MARGIN), ["ABAB", "++.."]);
    // One cut short by the end is as busy as the others.
    let mut short = alternating(2, 1, |_| 100);
    short.wall_seconds = 0.11;
    short.core_map.as_mut().unwrap().rows[0].bins[1][0].1 = 0.01;
    assert_eq!(cells(&short, 11 + MARGIN)[0], "A".repeat(10));
}

#[test]
fn idle_cores_of_a_large_host_are_left_out() {
    let mut report = alternating(10, 1, |_| 100);
    let rows = &mut report.core_map.as_mut().unwrap().rows;
    rows.extend((2..64).map(|cpu| CoreMapRow { cpu, bins: vec![vec![]; 10], foreign: vec![0.1; 10] }));
    assert_eq!(cells(&report, 100).len(), 1);
    assert!(drawn(&report, 100, PLAIN).iter().any(|line| line.contains("63 other CPUs")));
}

/// A map whose rows differ in length and may name threads that are not there.
fn any_core_map() -> impl Strategy<Value = CoreMap> {
    let any_seconds = || prop_oneof![4 => 0.0..20.0, 1 => Just(0.0), 1 => any::<f64>()];
    let bin = prop::collection::vec((0..9_usize, any_seconds()), 0..4);
    let row = (any::<u32>(), prop::collection::vec(bin, 0..40), prop::collection::vec(any_seconds(), 0..40))
        .prop_map(|(cpu, bins, foreign)| CoreMapRow { cpu, bins, foreign });
    let thread = (any::<u32>(), 0..3_u32, any::<String>()).prop_map(|(tid, tgid, comm)| CoreMapThread { tid, tgid, comm });
    (any_seconds(), prop::collection::vec(row, 0..20), prop::collection::vec(thread, 0..8))
        .prop_map(|(bin_seconds, rows, threads)| CoreMap { bin_seconds, rows, threads })
}

proptest! {
    #[test]
    fn resampling_keeps_every_second(
        bins in prop::collection::vec((0.0..0.01_f64, 0.0..0.01_f64, 0.0..0.01_f64), 1..300), width in 1..200_usize, cut in 0.0..4.0_f64,
    ) {
        let columns = bins.iter().map(|&(first, second, foreign)| (vec![(0, first), (1, second)], foreign)).collect();
        let report = on_cores(0.03, vec![CoreMapThread::default(); 2], [columns]);
        let grid = Grid::of(report.core_map.as_ref().unwrap(), (bins.len() as f64 - cut) * 0.03, width).unwrap();
        let cells = &grid.rows[0].cells;
        prop_assert!(grid.columns <= width && cells.len() == grid.columns);
        let of_thread = |thread: usize| cells.iter().filter_map(|cell| cell.threads.get(&thread)).sum::<f64>();
        let foreign = cells.iter().map(|cell| cell.foreign).sum::<f64>();
        let before = bins.iter().fold([0.0; 3], |sums, bin| [sums[0] + bin.0, sums[1] + bin.1, sums[2] + bin.2]);
        for (before, after) in before.into_iter().zip([of_thread(0), of_thread(1), foreign]) {
            prop_assert!((before - after).abs() < 1e-6, "{before} {after}");
        }
    }

    #[test]
    fn any_map_fits_the_line(map in any_core_map(), wall in any::<f64>(), width in 60..200_usize) {
        let report = RunReport { wall_seconds: wall, core_map: Some(map), ..RunReport::default() };
        for line in render(&report, &Options { width, colour: PLAIN }).into_iter().flatten() {
            // A CPU number longer than its place pushes the row out by what it is longer.
            let Some(cpu) = line.strip_prefix("  CPU ").and_then(|rest| rest.split_whitespace().next()) else { continue };
            prop_assert!(columns(&line) <= width + cpu.len().saturating_sub(4), "{line}");
        }
    }
}
