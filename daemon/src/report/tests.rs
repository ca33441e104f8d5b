//! The whole report: two golden samples, and what must hold of any.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Four Python threads that take turns, 50 ms each, on two cores, beside another program for a while.
const GIL: &str = include_str!("golden/gil.json");
/// A process that ended at once, on a signal, with observations missing and counts that differ.
const BROKEN: &str = include_str!("golden/broken.json");

fn sample(json: &str) -> RunReport {
    serde_json::from_str(json).unwrap()
}

#[test]
fn samples_read_as_they_did() {
    for (name, json, golden) in
        [("gil", GIL, include_str!("golden/gil.txt")), ("broken", BROKEN, include_str!("golden/broken.txt"))]
    {
        let text = render(&sample(json), &Options::default());
        assert_eq!(text, golden, "{name}: if the change is meant, put this into golden/{name}.txt:\n{text}<end>");
    }
}

/// What the committed schema has against a report.
fn faults(report: &Value) -> Vec<String> {
    let schema = serde_json::from_str(include_str!("../../../docs/schema/run-1.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.iter_errors(report).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn reports_keep_to_the_schema() {
    let written = |json| serde_json::to_value(sample(json)).unwrap();
    assert_eq!((faults(&written(GIL)), faults(&written(BROKEN))), (Vec::new(), Vec::new()));
    let broken = |pointer: &str, value: Value| {
        let mut report = written(GIL);
        *report.pointer_mut(pointer).unwrap() = value;
        faults(&report)
    };
    for (pointer, value) in [
        ("/schema", "schedscope.run/2".into()),
        ("/wall_seconds", "4 s".into()),
        ("/switches", serde_json::json!({ "voluntary": 1, "preempted": 1 })),
        ("/threads/0/voluntary", (-1).into()),
        ("/core_map/rows/0/bins/0/0", serde_json::json!([1])),
        ("/check/residuals/0/at_most", "much".into()),
        ("/blocked_seconds_by_reason/futex", Value::Null),
    ] {
        assert_eq!(broken(pointer, value).len(), 1, "{pointer}");
    }
}

#[test]
fn what_rounding_leaves_of_the_cores_is_no_row() {
    let text = |seconds| {
        let mut report = sample(GIL);
        report.cores.lost_seconds.insert("too_few_threads".to_owned(), seconds);
        render(&report, &Options::default())
    };
    assert!(!text(0.0007).contains("no further thread") && text(0.0008).contains("no further thread"));
}

/// One obstacle may stand for several limits.
#[test]
fn a_gain_is_told_by_what_would_be_gone() {
    for (limit, cause, wall_seconds, words) in [
        ("priority", "others", [1.0, 2.0], "1.00 s to 2.00 s instead of 4.00 s without the other programs."),
        ("bottleneck", "too_few_threads", [1.0, 2.0], "1.00 s to 2.00 s instead of 4.00 s if all of its work could be divided."),
        // A range that ends where it began promises nothing at its end.
        ("locks", "locks", [1.0, 3.9], "1.00 s at best instead of 4.00 s if no thread waited for another."),
    ] {
        let mut report = sample(GIL);
        report.model.limit = limit.to_owned();
        report.model.what_if = vec![schema::WhatIf { cause: cause.to_owned(), wall_seconds, is_limit: true }];
        let text = render(&report, &Options::default());
        assert!(text.contains(&format!("it would take {words}")), "{text}");
    }
}

/// CPUs that are threads of one core may be no faster than one.
#[test]
fn cpus_that_share_cores_are_told() {
    for (cores, gain, title) in [
        (1, "as processes that exchange nothing, on 2 CPUs that share 1 core.", "(2 CPUs allowed of 2 online, on 1 core)"),
        (2, "as processes that exchange nothing.", "(2 CPUs allowed of 2 online)"),
        (0, "as processes that exchange nothing.", "(2 CPUs allowed of 2 online)"),
    ] {
        let mut report = sample(GIL);
        report.cpus.physical_cores = cores;
        let text = render(&report, &Options::default());
        assert!(text.contains(gain) && text.contains(title), "{text}");
    }
    // One CPU shares its core with nobody, but for what a wider mask would bring.
    let text = |cause: &str| {
        let mut report = sample(GIL);
        (report.cpus.physical_cores, report.cpus.in_masks) = (1, Some(1.0));
        for what_if in &mut report.model.what_if {
            cause.clone_into(&mut what_if.cause);
        }
        render(&report, &Options::default())
    };
    assert!(!text("gil").contains("share"));
    assert!(text("mask").contains("on all CPUs given, on 2 CPUs that share 1 core."));
}

#[test]
fn details_that_were_not_read_are_noted_without_a_warning_about_the_figures() {
    let noted = |by_reason: &[(&str, u64)], total| {
        let mut report = sample(GIL);
        report.loss.total = total;
        report.loss.by_reason = by_reason.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        render(&report, &Options::default())
    };
    let text = noted(&[("thread_detail_evicted", 5_000), ("migration_unseen", 7)], 0);
    assert!(!text.contains("WARNING") && text.contains("5,000 threads ended before their details were read"), "{text}");
    let text = noted(&[("thread_detail_evicted", 5_000), ("after_end", 3), ("new_reason", 1)], 4);
    assert!(text.contains("WARNING: 4 observations are missing (after_end 3, new_reason 1): "), "{text}");
    assert!(!noted(&[("after_end", 3)], 3).contains("details"));
}

/// A column that is there where several processes are, and stands by the threads' own numbers.
#[test]
fn rows_of_threads_say_the_process_where_there_are_several() {
    let rows = |processes| {
        let mut report = sample(GIL);
        report.tasks.processes = processes;
        report.threads[3].tgid = 1003;
        report.threads[4].tgid = 1003;
        let text = render(&report, &Options::default());
        let (_, table) = text.split_once("\nThreads\n").unwrap();
        let words = |line: &str| line[2..].split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>().join(" ");
        table.lines().take(6).map(words).collect::<Vec<_>>()
    };
    let several =
        ["thread pid tid on", "worker 1000 1001 980", "worker 1000 1002 980", "worker 1003 1003 980", "worker 1003 1004 980"];
    assert_eq!(rows(2)[..5], several);
    assert_eq!(rows(2)[5], "python3 1000 1000 40.0");
    assert_eq!(rows(1)[..2], ["thread tid on CPU", "worker 1001 980 ms"]);
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
    let plain = render(&sample(GIL), &Options::default());
    for colour in [ColourDepth::Ansi256, ColourDepth::TrueColour] {
        let coloured = render(&sample(GIL), &Options { colour, ..Options::default() });
        assert_ne!(plain, coloured);
        let (above_threads, _) = plain.split_once("Threads\n").unwrap();
        assert!(without_colours(&coloured).starts_with(above_threads));
    }
}

/// What may stand in place of a figure or a name; `None` for what stands there.
type Leaf = Option<(f64, u32, String)>;

/// A report of any figures and names, consistent or not, with lists of any length.
fn any_report() -> impl Strategy<Value = RunReport> {
    let seconds = prop_oneof![4 => 0.0..20.0, 1 => Just(0.0), 1 => prop::num::f64::NORMAL];
    let leaf = prop::option::of((seconds, 0..5_u32, any::<String>()));
    (prop::sample::select(vec![GIL, BROKEN]), prop::collection::vec(leaf, 1..60)).prop_map(|(json, leaves)| {
        let mut report = serde_json::from_str(json).unwrap();
        replace(&mut report, &mut leaves.iter().cycle());
        serde_json::from_value(report).unwrap()
    })
}

fn replace<'a>(value: &mut Value, leaves: &mut impl Iterator<Item = &'a Leaf>) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(|member| replace(member, leaves));
        return;
    }
    let leaf = leaves.next().unwrap();
    match (value, leaf) {
        (Value::Array(items), leaf) => {
            // Shorter ones may be pairs.
            let length = leaf.as_ref().filter(|_| items.len() > 2).map_or(items.len(), |(_, count, _)| *count as usize);
            items.truncate(length);
            for item in items {
                replace(item, leaves);
            }
        }
        (Value::String(name), Some((.., text))) => name.clone_from(text),
        (Value::Number(figure), Some((seconds, ..))) if figure.is_f64() => {
            *figure = serde_json::Number::from_f64(*seconds).unwrap();
        }
        (Value::Number(figure), Some((_, count, _))) => *figure = (*count).into(),
        _ => {}
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
