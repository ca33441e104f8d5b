//! Recordings and alerts: what they read exists, what they write is tested, what they point at is there.

use std::{collections::BTreeSet, fs};

use promql_parser::parser::parse;
use schedscope::metrics::catalog::{self, Kind};
use schedscope_ebpf::loss::Loss;

use super::selectors::selected;
use crate::{
    alerts_doc::alerts_markdown,
    foreign, generate,
    rules::{alerts, recordings},
};

fn recorded_names() -> Vec<String> {
    recordings::all().into_iter().map(|recording| recording.name).collect()
}

/// Series names that an expression reads.
fn names(text: &str) -> Vec<String> {
    let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    selected(&expr).into_iter().map(|selected| selected.name()).collect()
}

fn is_exported(name: &str) -> bool {
    let ours = || catalog::ALL.iter().chain(foreign::ALL);
    let of_histogram = ["_bucket", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    ours().any(|metric| metric.name == name)
        || ours().any(|metric| metric.kind == Kind::Histogram && Some(metric.name) == of_histogram)
}

#[test]
fn recordings_read_what_is_exported_or_recorded_before_them() {
    let all = recordings::all();
    for (place, recording) in all.iter().enumerate() {
        for name in names(&recording.expr.to_string()) {
            let earlier = all[..place].iter().any(|other| other.name == name);
            assert!(earlier || is_exported(&name), "{} reads {name}", recording.name);
        }
    }
}

#[test]
fn names_of_recordings_say_what_remains_and_what_was_done() {
    for recording in recordings::all() {
        let parts: Vec<&str> = recording.name.split(':').collect();
        let [level, metric, operation] = parts[..] else { panic!("{} has not three parts", recording.name) };
        let labels: Vec<&str> = level.split('_').collect();
        let remaining: Vec<&str> = recording.expr.labels().iter().copied().filter(|label| *label != "job").collect();
        assert_eq!(labels, remaining, "{}", recording.name);
        assert!(metric.starts_with(catalog::PREFIX) && !metric.ends_with("_total") && !operation.is_empty(), "{}", recording.name);
    }
}

#[test]
fn alerts_read_what_exists_and_keep_the_host() {
    let recorded = recorded_names();
    for alert in alerts::all() {
        for name in names(&alert.expr.to_string()) {
            assert!(recorded.contains(&name) || is_exported(&name), "{} reads {name}", alert.name);
        }
        assert!(alert.expr.labels().contains(&"instance"), "{} does not say on which host", alert.name);
        for part in alert.summary.split("$labels.").skip(1) {
            let label = part.split([' ', '}']).next().unwrap();
            assert!(alert.expr.labels().contains(&label), "{} has no label {label}", alert.name);
        }
    }
}

#[test]
fn every_rule_has_a_unit_test() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/prometheus/tests");
    let tests: String = fs::read_dir(directory).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    let expected: BTreeSet<&str> = tests.lines().filter(|line| line.contains("expr:") || line.contains("lertname")).collect();
    let is_tested = |name: &str| expected.iter().any(|line| line.contains(name));
    for name in recorded_names() {
        assert!(is_tested(&name), "{name} has no test");
    }
    for alert in alerts::all() {
        assert!(is_tested(alert.name), "{} has no test", alert.name);
    }
}

#[test]
fn every_alert_has_a_runbook_where_it_says() {
    let document = alerts_markdown();
    for alert in alerts::all() {
        assert!(document.contains(&format!("\n### {}\n", alert.name)), "{}", alert.name);
        // What makes an anchor of a heading leaves letters alone.
        assert!(alert.name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(!alert.steps.is_empty() && alert.steps.iter().all(|step| step.ends_with(['.', '?'])), "{}", alert.name);
        assert!(alert.meaning.ends_with('.') && !alert.summary.is_empty(), "{}", alert.name);
    }
    for loss in Loss::ALL {
        assert!(document.contains(&format!("| `{}` |", loss.name())), "{}", loss.name());
    }
}

#[test]
fn rule_files_are_what_prometheus_reads() {
    let rules = generate().unwrap().into_iter().filter(|(path, _)| path.contains("/rules/"));
    let mut found = 0;
    for (path, text) in rules {
        let file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
        for rule in file["groups"][0]["rules"].as_sequence().unwrap() {
            assert!(parse(rule["expr"].as_str().unwrap()).is_ok(), "{path}");
            found += 1;
        }
    }
    assert_eq!(found, recordings::all().len() + alerts::all().len());
}
