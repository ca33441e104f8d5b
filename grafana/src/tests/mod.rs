//! What is generated, checked from outside: as JSON and PromQL, not as the types that made it.

mod layout;
mod promql;
mod provisioning;
mod queries;
mod rules;
mod schema;

use serde_json::Value;

use super::*;

fn dashboards() -> Vec<Value> {
    dashboards::all().iter().map(dashboard::Dashboard::json).collect()
}

/// Panels of a dashboard, those of folded rows included, rows themselves left out.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top = dashboard["panels"].as_array().unwrap();
    let inside = top.iter().flat_map(|panel| panel["panels"].as_array().into_iter().flatten());
    top.iter().chain(inside).filter(|panel| panel["type"] != "row").collect()
}

/// A name for messages.
fn name<'a>(dashboard: &'a Value, panel: &'a Value) -> String {
    format!("{} / {}", dashboard["title"].as_str().unwrap(), panel["title"].as_str().unwrap())
}

#[test]
fn what_is_committed_is_what_is_generated() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for (path, text) in generate().unwrap() {
        let path = format!("{root}/{path}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == text, "{path} is stale: run cargo xtask generate");
    }
}

#[test]
fn no_file_is_left_of_a_dashboard_that_is_gone() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");
    let generated: Vec<String> = generate().unwrap().into_iter().map(|(path, _)| path).collect();
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = format!("grafana/dashboards/{}", entry.unwrap().file_name().to_str().unwrap());
        assert!(generated.contains(&file), "{file} is generated from nothing");
    }
}

#[test]
fn the_document_names_every_metric() {
    let text = docs::metrics_markdown();
    assert!(schedscope::metrics::catalog::ALL.iter().all(|metric| text.contains(metric.name)));
    assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| line.ends_with('|')));
}
