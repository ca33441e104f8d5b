//! The whole report: two golden samples, and what must hold of any.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(super) mod samples;

use proptest::prelude::*;

use super::bounds::Bounds;
use super::{
    samples::{Sample, any_report},
    schema::{CoreMap, CoreMapRow, CoreMapThread, Quantiles, Residual},
    *,
};

/// Four Python threads that take turns, 50 ms each, on two cores, beside another program for a while.
fn gil() -> RunReport {
    let blocked = [("gil", 2.94), ("sleep", 0.02)];
    let sample =
        Sample::new(2, 4.0).thread("python3", [0.04, 0.0], &[("futex", 3.96)]).threads(4, "worker", [0.98, 0.06], &blocked);
    sample
        .change(|report| {
            report.model.sentence = "5 threads want 1.05 cores and get 0.99 of 2: the 4 busiest wait for the GIL.".to_owned();
            report.command = ["python3", "threads.py"].map(str::to_owned).to_vec();
            report.wakeup_latency_seconds = Quantiles { count: 4123, p50: 3.1e-6, p90: 12.4e-6, p99: 1.02e-3, max: 4.05e-3 };
            report.timeslice_seconds = Quantiles { count: 4158, p50: 1.1e-3, p90: 5.13e-3, p99: 5.2e-3, max: 9.6e-3 };
            report.migrations.at_wakeup = 11;
            report.migrations.by_distance = [("llc".to_owned(), 15)].into();
            report.check.threads = 5;
            report.check.residuals =
                vec![Residual::new("task_struct", "sum_exec_runtime_seconds", 3.959, 3.96, Bounds::share(0.001, 3.96))];
            let turn = |bin: usize| 1 + bin % 4;
            let on = |cpu: usize, bin: usize| if bin / 10 % 2 == cpu { vec![(turn(bin), 0.049), (0, 0.0005)] } else { vec![] };
            report.core_map = Some(CoreMap {
                bin_seconds: 0.05,
                rows: (0..2)
                    .map(|cpu: u32| CoreMapRow {
                        cpu,
                        bins: (0..80).map(|bin| on(cpu as usize, bin)).collect(),
                        foreign: (0..80).map(|bin| if cpu == 1 && (40..50).contains(&bin) { 0.045 } else { 0.0 }).collect(),
                    })
                    .collect(),
                threads: (0..5)
                    .map(|i| CoreMapThread { tid: 1000 + i, tgid: 1000, comm: report.threads[i as usize].comm.clone() })
                    .collect(),
            });
        })
        .report()
}

/// A process that ended at once, on a signal, with observations missing and counts that differ.
fn broken() -> RunReport {
    Sample::new(64, 0.000_8)
        .thread("cr\x1b[2Jash", [0.000_7, 0.000_1], &[])
        .change(|report| {
            report.model.sentence = "1 thread wants 1.00 cores and gets 0.88 of 64.".to_owned();
            (report.exit.code, report.exit.signal) = (None, Some(11));
            report.loss.total = 1203;
            report.loss.by_reason =
                [("task_table_full".to_owned(), 1200), ("after_end".to_owned(), 3), ("no_counters".to_owned(), 0)].into();
            report.check.threads = 1;
            report.check.threads_differing = 1;
            report.check.residuals = vec![Residual::new("task_struct", "nvcsw", 23.0, 25.0, Bounds::EQUAL)];
        })
        .report()
}

#[test]
fn samples_read_as_they_did() {
    for (name, report, golden) in
        [("gil", gil(), include_str!("golden/gil.txt")), ("broken", broken(), include_str!("golden/broken.txt"))]
    {
        let text = render(&report, &Options::default());
        assert_eq!(text, golden, "{name}: if the change is meant, put this into golden/{name}.txt:\n{text}<end>");
    }
}

#[test]
fn details_that_were_not_read_are_noted_without_a_warning_about_the_figures() {
    let noted = |by_reason: &[(&str, u64)], total| {
        let change = |report: &mut RunReport| {
            report.loss.total = total;
            report.loss.by_reason = by_reason.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        };
        render(&Sample::new(4, 1.0).thread("crowd", [0.5, 0.1], &[]).change(change).report(), &Options::default())
    };
    let text = noted(&[("thread_detail_evicted", 5_000), ("migration_unseen", 7)], 0);
    assert!(!text.contains("WARNING") && text.contains("5,000 threads ended before their details were read"), "{text}");
    let text = noted(&[("thread_detail_evicted", 5_000), ("after_end", 3), ("new_reason", 1)], 4);
    assert!(text.contains("WARNING: 4 observations are missing (after_end 3, new_reason 1): "), "{text}");
    assert!(!noted(&[("after_end", 3)], 3).contains("details"));
}

/// The text without colours; fails on any other control character.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = sequence.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap();
        assert_eq!(&sequence[end..=end], "m", "not a colour: {sequence:?}");
        rest = &sequence[end + 1..];
    }
    plain.push_str(rest);
    assert!(!plain.chars().any(|c| c.is_control() && c != '\n'), "{plain:?}");
    plain
}

#[test]
fn colours_do_not_change_the_figures() {
    let plain = render(&gil(), &Options::default());
    for colour in [ColourDepth::Ansi256, ColourDepth::TrueColour] {
        let coloured = render(&gil(), &Options { colour, ..Options::default() });
        assert_ne!(plain, coloured);
        let (above_threads, _) = plain.split_once("Threads\n").unwrap();
        assert!(without_colours(&coloured).starts_with(above_threads));
    }
}

proptest! {
    #[test]
    fn any_report_is_printed_without_harm(report in any_report(), width in 0..200_usize) {
        let plain = render(&report, &Options { width, colour: ColourDepth::None });
        prop_assert!(!plain.chars().any(|c| c.is_control() && c != '\n'), "{plain:?}");
        prop_assert!(!plain.contains("NaN"), "{plain}");
        prop_assert!(plain.starts_with(harmless(&report.model.sentence).trim_end()));
        prop_assert_eq!(plain.contains("WARNING"), report.loss.total > 0);
        for colour in [ColourDepth::Ansi256, ColourDepth::TrueColour] {
            without_colours(&render(&report, &Options { width, colour }));
        }
    }
}
