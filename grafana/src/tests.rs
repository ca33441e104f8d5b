use std::collections::BTreeSet;

use schedscope_ebpf::catalog::{ALL, PREFIX};
use serde_json::Value;

use super::*;

fn dashboards() -> Vec<Value> {
    generate().into_iter().map(|(_, text)| serde_json::from_str(&text).unwrap()).collect()
}

/// Panels of a dashboard, those of folded rows included, rows themselves left out.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top = dashboard["panels"].as_array().unwrap();
    let inside = top.iter().flat_map(|panel| panel["panels"].as_array().into_iter().flatten());
    top.iter().chain(inside).filter(|panel| panel["type"] != "row").collect()
}

fn expressions(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_committed_is_what_is_generated() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut files = generate();
    files.push(("docs/metrics.md".to_owned(), metrics_markdown()));
    for (path, text) in files {
        let path = format!("{root}/{path}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == text, "{path} is stale: run cargo xtask generate");
    }
}

#[test]
fn every_panel_says_what_it_shows_and_how_to_read_it() {
    for dashboard in dashboards() {
        let mut titles = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            assert!(titles.insert(title.to_owned()), "{title} occurs twice");
            assert!(panel["description"].as_str().unwrap().ends_with('.'), "{title}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title} has no query");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            if matches!(panel["type"].as_str().unwrap(), "timeseries" | "stat" | "table" | "bargauge") {
                assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
            }
        }
    }
}

#[test]
fn panels_have_numbers_of_their_own_and_do_not_overlap() {
    for dashboard in dashboards() {
        let all = panels(&dashboard);
        let ids: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), all.len());
        let mut cells = BTreeSet::new();
        for panel in all {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
            for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{} lies on another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn every_query_selects_job_and_instance_and_known_metrics() {
    let known: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    for expr in dashboards().iter().flat_map(expressions) {
        let mut names = 0;
        for (at, _) in expr.match_indices(PREFIX) {
            let name: String = expr[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let stem = name.strip_suffix("_bucket").unwrap_or(&name);
            assert!(known.contains(stem), "{name}");
            let rest = &expr[at + name.len()..];
            assert!(rest.starts_with("{job=~\"$job\", instance=~\"$instance\""), "{expr}");
            names += 1;
        }
        assert!(names > 0, "{expr}");
    }
}

#[test]
fn every_signal_of_a_workload_is_on_a_dashboard() {
    let text: String = generate().into_iter().map(|(_, text)| text).collect();
    for metric in ALL {
        assert!(text.contains(metric.name) || PANELLESS.contains(&metric.name), "{} is shown nowhere", metric.name);
    }
}

/// Context for other metrics, not signals.
const PANELLESS: [&str; 3] =
    ["schedscope_cpu_topology_info", "schedscope_collections_total", "schedscope_bpf_program_recursion_misses_total"];

#[test]
fn the_document_names_every_metric() {
    let text = metrics_markdown();
    assert!(ALL.iter().all(|metric| text.contains(metric.name)));
    assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| line.ends_with('|')));
}
