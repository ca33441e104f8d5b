//! Recordings and alerts: what they read exists, each has a unit test, and alerts have a runbook.

use std::{collections::BTreeSet, fs};

use schedscope::metrics::catalog::PREFIX;
use schedscope_ebpf::loss::Loss;

use super::promql::{Checker, selectors};
use crate::{
    docs::alerts_markdown,
    generate,
    rules::{alerts, recordings},
};

/// Fires for what was counted before the first scrape as well, which no rate sees.
const SINCE_START: &str = "SchedscopeThreadsNotTraced";

/// A checker that knows every recorded series, each checked with those before it.
fn checker() -> Checker {
    let mut checker = Checker::default();
    for recording in recordings::all() {
        let shape = checker.check(&recording.expr).unwrap_or_else(|fault| panic!("{}: {fault}", recording.name));
        let labels: BTreeSet<&str> = shape.labels.keys().map(String::as_str).collect();
        assert_eq!(labels, recording.labels().collect(), "{}", recording.name);
        checker.recorded.insert(recording.name.to_owned(), shape);
    }
    checker
}

#[test]
fn names_of_recordings_say_what_remains_and_what_was_done() {
    for name in checker().recorded.keys() {
        let parts: Vec<&str> = name.split(':').collect();
        let [_, metric, operation] = parts[..] else { panic!("{name} has not three parts") };
        assert!(metric.starts_with(PREFIX) && !metric.ends_with("_total") && !operation.is_empty(), "{name}");
    }
}

#[test]
fn alerts_read_what_exists_and_keep_the_host() {
    let checker = checker();
    for alert in alerts::all() {
        let checker = Checker { allows_totals: alert.name == SINCE_START, recorded: checker.recorded.clone() };
        let shape = checker.check(&alert.expr).unwrap_or_else(|fault| panic!("{}: {fault}", alert.name));
        assert!(shape.labels.contains_key("instance"), "{} does not say on which host", alert.name);
        for part in alert.summary.split("$labels.").skip(1) {
            let label = part.split([' ', '}']).next().unwrap();
            assert!(shape.labels.contains_key(label), "{} has no label {label}", alert.name);
        }
    }
}

/// Prometheus does not know Grafana's variables.
#[test]
fn rules_have_no_variables_of_a_dashboard() {
    let recordings = recordings::all().into_iter().map(|recording| recording.expr);
    for expr in recordings.chain(alerts::all().into_iter().map(|alert| alert.expr)) {
        assert!(!expr.contains('$') && !selectors(&expr).is_empty(), "{expr}");
    }
}

#[test]
fn every_rule_has_a_unit_test() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/prometheus/tests");
    let tests: String = fs::read_dir(directory).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    let expected: BTreeSet<&str> = tests.lines().filter(|line| line.contains("expr:") || line.contains("lertname")).collect();
    let is_tested = |name: &str| expected.iter().any(|line| line.contains(name));
    for recording in recordings::all() {
        assert!(is_tested(recording.name), "{} has no test", recording.name);
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
        // Anchors keep letters and digits as they are.
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
    let exprs: Vec<String> = rules
        .flat_map(|(_, text)| {
            let file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
            let rules = file["groups"][0]["rules"].as_sequence().unwrap().clone();
            rules.into_iter().map(|rule| rule["expr"].as_str().unwrap().to_owned())
        })
        .collect();
    let recordings = recordings::all().into_iter().map(|recording| recording.expr);
    assert!(recordings.chain(alerts::all().into_iter().map(|alert| alert.expr)).eq(exprs));
}
