//! Each kind of program once, and then any window at all.

use std::fmt::Write;

use proptest::prelude::*;

use super::super::words::duration;
use super::*;
use crate::capture::snapshot::Tid;
use crate::diagnose::diagnose;
use crate::diagnose::samples::{any_window, described};

/// Each window that the file describes, and what is said of it.
#[test]
fn programs_are_told_as_they_were() {
    let golden = include_str!("../golden/answers.txt");
    let mut text = String::new();
    for line in golden.lines().filter(|line| line.is_empty() || line.starts_with(['#', '>'])) {
        text += line;
        text.push('\n');
        let Some(window) = line.strip_prefix("> ") else { continue };
        let schema::Model { name, confidence, evidence, limit, sentence, advice, what_if, .. } =
            model(&diagnose(&described(window)));
        let _ = writeln!(text, "  {name}, {}, {limit}: {}", percent(confidence), evidence.join("; "));
        let _ = writeln!(text, "  {}", [sentence, advice].join(" ").trim());
        for schema::WhatIf { cause, wall_seconds, .. } in what_if {
            let [least, most] = wall_seconds.map(duration);
            let _ = writeln!(text, "  {least} to {most} without {cause}");
        }
    }
    assert_eq!(text, golden, "if the change is meant, put this into golden/answers.txt:\n{text}<end>");
}

#[test]
fn a_collector_gets_an_advice_of_its_own() {
    let advice = |stops_the_world| {
        let comm = "feeder".to_owned();
        let bottleneck =
            Bottleneck { comm, tid: Tid(7), alone: 0.5, waiting: 2, is_process: false, stops_the_world, is_loop: false };
        let diagnosis = diagnose(&described("2 cores | 2x run 5 futex 5"));
        let diagnosis = Diagnosis { limit: Limit::Bottleneck(bottleneck), ..diagnosis };
        advise(Advice::MoreOfTheBottleneck, &diagnosis)
    };
    assert!(advice(true).contains("garbage") && !advice(false).contains("garbage"));
    assert!(advice(false).contains("feeder"));
}

/// The words of a text, with the signs around them cut off.
fn words(text: &str) -> Vec<&str> {
    text.split([' ', '.', ':', ',', ';']).collect()
}

proptest! {
    #[test]
    fn any_window_gives_clean_sentences(window in any_window()) {
        let model = model(&diagnose(&window));
        prop_assert!(model.sentence.ends_with('.') && (model.advice.is_empty() || model.advice.ends_with('.')), "{model:?}");
        prop_assert!(model.evidence.len() >= 2);
        for text in model.evidence.iter().chain([&model.sentence, &model.advice]) {
            prop_assert!(!text.contains("..") && !text.contains("  ") && !text.contains("NaN") && !text.contains("inf"), "{text}");
            for pair in words(text).windows(2) {
                if pair[0] == "1" {
                    prop_assert!(!matches!(pair[1], "threads" | "processes" | "cores" | "busiest"), "{text}");
                }
                if pair[1] == "%" {
                    let percent = pair[0].trim_start_matches(['<', '>']).parse::<u32>();
                    prop_assert!(percent.is_ok_and(|percent| percent <= 100), "{text}");
                }
            }
        }
    }

    #[test]
    fn singular_subjects_take_singular_verbs(mut window in any_window()) {
        (window.threads, window.processes) = (1, 1);
        let text = sentence(&diagnose(&window));
        prop_assert!(text.starts_with("1 thread "), "{text}");
        prop_assert!(matches!(words(&text)[2], "keeps" | "wants" | "sleeps" | "waits" | "wakes" | "stands" | "is"), "{text}");
        prop_assert!(!text.contains(" they ") && !text.contains(" their ") && !text.contains(" get "), "{text}");
    }
}
