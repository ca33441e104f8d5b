//! What is written by hand. Recordings and alerts: what they read exists, each has a unit test, and alerts have a runbook. What
//! Prometheus, Grafana and the containers are told fits the rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use schedscope::metrics::catalog::{PREFIX, le_bounds_ns};
use schedscope_ebpf::loss::{Harm, Loss};
use serde_yaml_ng::Value;

use super::promql::{Checker, selectors};
use crate::dashboards::measures::reasons;
use crate::docs::alerts_markdown;
use crate::rules::{alerts, recordings};

/// Fires for what was counted before the first scrape as well, which no rate sees.
const SINCE_START: &str = "SchedscopeThreadsNotTraced";

fn rules() -> Vec<(String, String)> {
    let recordings = recordings().unwrap().into_iter().map(|recording| (recording.name, recording.expr));
    recordings.chain(alerts().unwrap().into_iter().map(|alert| (alert.name, alert.expr))).collect()
}

/// A checker that knows every recorded series, each checked with those before it.
fn checker() -> Checker {
    let mut checker = Checker::default();
    for recording in recordings().unwrap() {
        let shape = checker.check(&recording.expr).unwrap_or_else(|fault| panic!("{}: {fault}", recording.name));
        let labels: BTreeSet<&str> = shape.labels.keys().map(String::as_str).collect();
        assert_eq!(labels, recording.labels().collect(), "{}", recording.name);
        checker.recorded.insert(recording.name, shape);
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
    for alert in alerts().unwrap() {
        let checker = Checker { allows_totals: alert.name == SINCE_START, recorded: checker.recorded.clone() };
        let shape = checker.check(&alert.expr).unwrap_or_else(|fault| panic!("{}: {fault}", alert.name));
        assert!(shape.labels.contains_key("instance"), "{} does not say on which host", alert.name);
        for part in alert.annotations.summary.split("$labels.").skip(1) {
            let label = part.split([' ', '}']).next().unwrap();
            assert!(shape.labels.contains_key(label), "{} has no label {label}", alert.name);
        }
    }
}

/// Prometheus does not know Grafana's variables.
#[test]
fn rules_have_no_variables_of_a_dashboard() {
    for (_, expr) in rules() {
        assert!(!expr.contains('$') && !selectors(&expr).is_empty(), "{expr}");
    }
}

#[test]
fn every_rule_has_a_unit_test() {
    let tests = fs::read_dir(directory().join("prometheus/tests")).unwrap();
    let tests: String = tests.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    let expected: BTreeSet<&str> = tests.lines().filter(|line| line.contains("expr:") || line.contains("lertname")).collect();
    for (name, _) in rules() {
        assert!(expected.iter().any(|line| line.contains(&name)), "{name} has no test");
    }
}

#[test]
fn every_alert_has_a_runbook_where_it_says() {
    let document = alerts_markdown().unwrap();
    for alert in alerts().unwrap() {
        assert!(document.contains(&format!("\n### {}\n", alert.name)), "{}", alert.name);
        // Anchors keep letters and digits as they are.
        assert!(alert.name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(alert.annotations.runbook, format!("docs/alerts.md#{}", alert.name.to_lowercase()));
        let (meaning, steps) = alert.annotations.description.split_once('\n').unwrap();
        assert!(meaning.ends_with('.') && !alert.annotations.summary.is_empty(), "{}", alert.name);
        for (number, step) in (1..).zip(steps.lines()) {
            assert!(step.starts_with(&format!("{number}. ")) && step.ends_with(['.', '?']), "{}: {step}", alert.name);
        }
        assert!(matches!(alert.labels.severity.as_str(), "warning" | "info"), "{}", alert.name);
    }
    for loss in Loss::ALL {
        assert!(document.contains(&format!("| `{}` |", loss.name())), "{}", loss.name());
    }
}

/// The files name the reasons; which ones they are is decided in `ebpf/src/loss.rs`.
#[test]
fn reasons_of_losses_are_those_of_their_harm() {
    let missing = reasons(|loss| loss.harm() == Harm::Missing);
    let lasting = reasons(|loss| matches!(loss, Loss::TaskTableFull | Loss::PidBeyondTable));
    for (name, expr) in rules().iter().filter(|(_, expr)| expr.contains("schedscope_events_lost_total")) {
        assert!(expr.contains(if name == SINCE_START { &lasting } else { &missing }), "{name}: {expr}");
    }
}

/// The first bound above 10 ms: only at a bound is a quantile exact.
#[test]
fn the_threshold_of_the_wakeup_latency_is_a_bound_of_its_buckets() {
    let bound_ns = le_bounds_ns().find(|bound_ns| *bound_ns > 10_000_000).unwrap();
    let alert = alerts().unwrap().into_iter().find(|alert| alert.name == "SchedscopeWakeupLatencyHigh").unwrap();
    assert!(alert.expr.contains(&format!("> {})", bound_ns as f64 / 1e9)), "{}", alert.expr);
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&fs::read_to_string(directory().join(path)).unwrap()).unwrap()
}

fn texts(values: &Value) -> Vec<&str> {
    values.as_sequence().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
}

#[test]
fn prometheus_reads_every_rule() {
    let config = yaml("prometheus/prometheus.yml");
    assert_eq!(texts(&config["rule_files"]), ["rules/schedscope-*.yml"]);
    for file in fs::read_dir(directory().join("prometheus/rules")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(name.strip_prefix("schedscope-").and_then(|rest| rest.strip_suffix(".yml")).is_some(), "{name}");
    }
    // An alert on targets that do not answer finds them by the job's name.
    assert!(config["scrape_configs"][0]["job_name"].as_str().unwrap().contains("schedscope"));
}

#[test]
fn the_data_source_knows_the_scrape_interval() {
    let source = yaml("provisioning/datasources/schedscope.yaml");
    let config = yaml("prometheus/prometheus.yml");
    assert_eq!(source["datasources"][0]["jsonData"]["timeInterval"], config["global"]["scrape_interval"]);
}

#[test]
fn containers_are_pinned_and_mount_what_exists_where_grafana_looks() {
    let provider = yaml("provisioning/dashboards/schedscope.yaml");
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let compose = yaml("compose.yaml");
    let mut mounts = Vec::new();
    for service in compose["services"].as_mapping().unwrap().values() {
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        assert!(tag.trim_start_matches('v').split('.').count() == 3, "{tag} is no version");
        mounts.extend(texts(&service["volumes"]));
    }
    for mount in mounts.iter().filter(|mount| mount.starts_with('.')) {
        assert!(directory().join(mount.split(':').next().unwrap()).exists(), "{mount}");
    }
    assert!(mounts.contains(&format!("./dashboards:{path}:ro").as_str()), "{path} is not mounted");
}
