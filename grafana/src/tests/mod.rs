//! What is generated, checked from outside: as JSON and PromQL, not as the types that made it.

mod layout;
mod promql;
mod queries;
mod rules;

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

fn name<'a>(dashboard: &'a Value, panel: &'a Value) -> String {
    format!("{} / {}", dashboard["title"].as_str().unwrap(), panel["title"].as_str().unwrap())
}

#[test]
fn no_file_is_left_of_a_dashboard_that_is_gone() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");
    let generated = generate().unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = format!("grafana/dashboards/{}", entry.unwrap().file_name().to_str().unwrap());
        assert!(generated.contains_key(&file), "{file} is generated from nothing");
    }
}
