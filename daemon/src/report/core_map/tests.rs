//! No second is lost between the report and the picture, and the picture fits the line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::super::{
    samples::any_core_map,
    schema::{CoreMap, CoreMapRow, CoreMapThread},
    words::columns,
};
use super::*;

/// Two cores, `bins` columns of 0.1 s: thread `index % threads` has the first to itself, the second is foreign and then idle.
fn alternating(bins: usize, threads: u32, tgid_of: impl Fn(u32) -> u32) -> RunReport {
    let map = CoreMap {
        bin_seconds: 0.1,
        rows: vec![
            CoreMapRow {
                cpu: 0,
                bins: (0..bins).map(|index| vec![(index % threads as usize, 0.1)]).collect(),
                foreign: vec![0.0; bins],
            },
            CoreMapRow {
                cpu: 1,
                bins: vec![vec![]; bins],
                foreign: (0..bins).map(|i| if i < bins / 2 { 0.1 } else { 0.0 }).collect(),
            },
        ],
        threads: (0..threads).map(|i| CoreMapThread { tid: 100 + i, tgid: tgid_of(i), comm: "spin".to_owned() }).collect(),
    };
    RunReport { wall_seconds: bins as f64 * 0.1, core_map: Some(map), ..RunReport::default() }
}

fn cells(report: &RunReport, width: usize) -> Vec<String> {
    let lines = render(report, &Options { width, colour: ColourDepth::None }).unwrap();
    lines.iter().filter_map(|line| line.strip_prefix("  CPU ")?.split_whitespace().nth(1).map(str::to_owned)).collect()
}

#[test]
fn each_bin_becomes_equal_columns() {
    assert_eq!(cells(&alternating(4, 2, |_| 100), 12 + draw::MARGIN), ["AAABBBAAABBB", "++++++......"]);
    assert_eq!(cells(&alternating(4, 2, |_| 100), 4 + draw::MARGIN), ["ABAB", "++.."]);
}

#[test]
fn a_bin_cut_short_by_the_end_is_as_busy_as_the_others() {
    let mut report = alternating(2, 1, |_| 100);
    report.wall_seconds = 0.11;
    report.core_map.as_mut().unwrap().rows[0].bins[1][0].1 = 0.01;
    assert_eq!(cells(&report, 11 + draw::MARGIN)[0], "A".repeat(10));
}

#[test]
fn too_many_threads_are_coloured_by_process_and_too_many_processes_share_one_key() {
    let coloured = Options { width: 100, colour: ColourDepth::Ansi256 };
    let text = |report: &RunReport| render(report, &coloured).unwrap().concat();
    assert!(text(&alternating(60, 12, |i| 100 + i)).contains("by the thread"));
    let by_process = text(&alternating(60, 20, |i| 100 + i / 10));
    assert!(by_process.contains("by the process") && by_process.contains("spin 101") && !by_process.contains("any other"));
    assert!(text(&alternating(60, 20, |i| 100 + i)).contains("any other"));
    // One process: nothing is gained by colouring it.
    assert!(text(&alternating(60, 20, |_| 100)).contains("by the thread"));
}

#[test]
fn idle_cores_of_a_large_host_are_left_out() {
    let mut report = alternating(10, 1, |_| 100);
    let rows = &mut report.core_map.as_mut().unwrap().rows;
    rows.extend((2..64).map(|cpu| CoreMapRow { cpu, bins: vec![vec![]; 10], foreign: vec![0.1; 10] }));
    assert_eq!(cells(&report, 100).len(), 1);
    assert!(render(&report, &Options::default()).unwrap().iter().any(|line| line.contains("63 other CPUs")));
}

proptest! {
    #[test]
    fn resampling_keeps_every_second(
        bins in prop::collection::vec(prop::collection::vec(0.0..0.01_f64, 3), 1..300), width in 1..200_usize, cut in 0.0..4.0_f64,
    ) {
        let count = bins.len();
        let map = CoreMap {
            bin_seconds: 0.03,
            rows: vec![CoreMapRow {
                cpu: 0,
                bins: bins.iter().map(|bin| vec![(0, bin[0]), (1, bin[1])]).collect(),
                foreign: bins.iter().map(|bin| bin[2]).collect(),
            }],
            threads: vec![CoreMapThread::default(); 2],
        };
        let grid = Grid::of(&map, (count as f64 - cut) * 0.03, width).unwrap();
        prop_assert!(grid.columns <= width && grid.rows[0].cells.len() == grid.columns);
        for thread in 0..2 {
            let before: f64 = bins.iter().map(|bin| bin[thread]).sum();
            let after: f64 =
                grid.rows[0].cells.iter().flat_map(|cell| &cell.threads).filter(|(index, _)| *index == thread).map(|(_, s)| s).sum();
            prop_assert!((before - after).abs() < 1e-6, "{before} {after}");
        }
        let foreign: f64 = grid.rows[0].cells.iter().map(|cell| cell.foreign).sum();
        prop_assert!((foreign - bins.iter().map(|bin| bin[2]).sum::<f64>()).abs() < 1e-6);
    }

    #[test]
    fn any_map_fits_the_line(map in any_core_map(), wall in any::<f64>(), width in 60..200_usize) {
        let report = RunReport { wall_seconds: wall, core_map: Some(map), ..RunReport::default() };
        for line in render(&report, &Options { width, colour: ColourDepth::None }).into_iter().flatten() {
            // A CPU number longer than its place pushes the row out by what it is longer.
            let Some(cpu) = line.strip_prefix("  CPU ").and_then(|rest| rest.split_whitespace().next()) else { continue };
            prop_assert!(columns(&line) <= width + cpu.len().saturating_sub(4), "{line}");
        }
    }
}
