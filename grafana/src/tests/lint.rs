//! The rules of Grafana's dashboard linter, applied to every kind of panel: theirs leave out heat maps, bar gauges and state
//! timelines.

use serde_json::Value;

use super::{dashboards, name, panels};

/// Units that we write, by Grafana's ids.
const UNITS: [&str; 5] = ["short", "percentunit", "s", "cps", "bytes"];

fn variables(dashboard: &Value) -> &Vec<Value> {
    dashboard["templating"]["list"].as_array().unwrap()
}

fn variable<'a>(dashboard: &'a Value, wanted: &str) -> &'a Value {
    variables(dashboard).iter().find(|variable| variable["name"] == wanted).unwrap_or_else(|| panic!("no variable {wanted}"))
}

fn is_our_datasource(value: &Value) -> bool {
    value["type"] == "prometheus" && value["uid"] == "${datasource}"
}

#[test]
fn the_data_source_is_chosen_by_a_variable_everywhere() {
    for dashboard in dashboards() {
        let source = variable(&dashboard, "datasource");
        assert_eq!(
            (&source["type"], &source["query"], &source["label"]),
            (&"datasource".into(), &"prometheus".into(), &"Data source".into())
        );
        for panel in panels(&dashboard) {
            assert!(is_our_datasource(&panel["datasource"]), "{}", name(&dashboard, panel));
            assert!(panel["targets"].as_array().unwrap().iter().all(|target| is_our_datasource(&target["datasource"])));
        }
        let others = variables(&dashboard).iter().filter(|variable| variable["type"] == "query");
        let marks = dashboard["annotations"]["list"].as_array().unwrap();
        assert!(others.chain(marks).all(|value| is_our_datasource(&value["datasource"])), "{}", dashboard["title"]);
    }
}

#[test]
fn job_instance_and_workload_are_chosen_from_what_there_is() {
    for dashboard in dashboards() {
        for (wanted, label) in [("job", "Job"), ("instance", "Instance"), ("workload", "Workload")] {
            let variable = variable(&dashboard, wanted);
            assert_eq!((&variable["type"], &variable["label"]), (&"query".into(), &label.into()));
            assert_eq!(variable["refresh"], 2, "{wanted} must follow the time range");
            // A link carries the choice of all to the next dashboard, so each must be able to show all.
            assert_eq!(
                (&variable["multi"], &variable["includeAll"], &variable["allValue"]),
                (&true.into(), &true.into(), &".+".into())
            );
        }
    }
}

/// Cores of two hosts have the same numbers.
#[test]
fn cores_are_told_apart_by_host() {
    let mut found = 0;
    for dashboard in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let expr = target["expr"].as_str().unwrap();
                let by_core = expr.split(" by (").skip(1).filter_map(|rest| rest.split(')').next());
                for labels in by_core.filter(|labels| labels.split(", ").any(|label| label == "cpu")) {
                    assert!(labels.starts_with("instance, cpu"), "{}: by {labels}", name(&dashboard, panel));
                    found += 1;
                }
            }
        }
    }
    assert!(found > 4);
}

#[test]
fn nothing_can_be_edited_and_lost() {
    for dashboard in dashboards() {
        assert_eq!(dashboard["editable"], false);
        assert_eq!(dashboard["id"], Value::Null);
        assert!(dashboard.get("__inputs").is_none(), "provisioning does not resolve inputs");
    }
}

#[test]
fn every_panel_has_queries_a_unit_and_an_explanation() {
    for dashboard in dashboards() {
        for panel in panels(&dashboard) {
            let what = name(&dashboard, panel);
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{what} has no query");
            let ids: std::collections::BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), targets.len(), "{what}");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
            assert!(UNITS.contains(&unit), "{what}: {unit}");
            let (read, next) = panel["description"].as_str().unwrap().split_once("\n\nNext: ").unwrap();
            for sentence in [read, next] {
                assert!(sentence.len() > 15 && sentence.ends_with('.') && !sentence.contains("  "), "{what}: {sentence}");
            }
        }
    }
}

#[test]
fn heat_maps_of_histograms_are_asked_for_as_such() {
    let mut found = 0;
    for dashboard in dashboards() {
        for panel in panels(&dashboard).into_iter().filter(|panel| panel["type"] == "heatmap") {
            let target = &panel["targets"][0];
            let is_histogram = target["expr"].as_str().unwrap().contains("_bucket");
            assert_eq!(target["format"], if is_histogram { "heatmap" } else { "time_series" }, "{}", name(&dashboard, panel));
            assert_eq!(panel["options"]["yAxis"]["unit"], if is_histogram { "s" } else { "short" });
            // Already in buckets or rows: Grafana must not make others of them.
            assert_eq!(panel["options"]["calculate"], false);
            found += usize::from(is_histogram);
        }
    }
    assert_eq!(found, 3);
}
