//! The dashboards as Grafana reads them: places, names and links, and the rules of Grafana's dashboard linter, applied to every kind of
//! panel: theirs leave out heat maps, bar gauges and state timelines.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{dashboards, name, panels};
use crate::{dashboard::TAG, dashboards::all};

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
fn panels_lie_side_by_side_in_lines_that_are_full() {
    for dashboard in dashboards() {
        let all = panels(&dashboard);
        let ids: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), all.len());
        let mut lines = BTreeMap::<u64, Vec<[u64; 3]>>::new();
        for panel in &all {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            lines.entry(y).or_default().push([x, w, h]);
        }
        let mut end = 0;
        for (y, line) in lines {
            assert!(y > end || end == 0, "{}: what begins at {y} lies on what ends at {end}", dashboard["title"]);
            end = y + line[0][2] - 1;
            let width = line.iter().fold(0, |left, [x, w, _]| if *x == left { left + w } else { u64::MAX });
            assert!(width == 24 || line.len() == 1 && width < 24, "{}: the line at {y} is {width} wide", dashboard["title"]);
            assert!(line.iter().all(|[_, _, height]| *height == line[0][2]), "{}: uneven line at {y}", dashboard["title"]);
        }
    }
}

#[test]
fn titles_and_identities_are_distinct() {
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for dashboard in dashboards() {
        let uid = dashboard["uid"].as_str().unwrap();
        // Grafana takes at most 40 characters.
        assert!(uid.len() <= 40 && uids.insert(uid.to_owned()), "{uid}");
        assert!(titles.insert(dashboard["title"].as_str().unwrap().to_owned()));
        assert!(!dashboard["description"].as_str().unwrap().is_empty());
        let mut panel_titles = BTreeSet::new();
        for panel in panels(&dashboard) {
            assert!(panel_titles.insert(panel["title"].as_str().unwrap()), "{} occurs twice", name(&dashboard, panel));
        }
    }
}

#[test]
fn links_lead_to_dashboards_that_exist() {
    let all = dashboards();
    let uids: BTreeSet<&str> = all.iter().map(|dashboard| dashboard["uid"].as_str().unwrap()).collect();
    let mut links = 0;
    for dashboard in &all {
        assert_eq!(dashboard["links"][0]["tags"][0], TAG);
        assert_eq!(dashboard["tags"][0], TAG);
        for part in dashboard.to_string().split("\"/d/").skip(1) {
            let uid = part.split(['?', '"']).next().unwrap();
            assert!(uids.contains(uid), "no dashboard {uid}");
            links += 1;
        }
    }
    assert!(links > 0);
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

#[test]
fn nothing_can_be_edited_and_lost() {
    for dashboard in dashboards() {
        assert_eq!(dashboard["editable"], false);
        assert_eq!(dashboard["id"], Value::Null);
        assert!(dashboard.get("__inputs").is_none(), "provisioning does not resolve inputs");
    }
}

#[test]
fn every_panel_has_queries_and_an_explanation() {
    for dashboard in all() {
        for panel in dashboard.panels() {
            // Each query has a letter.
            assert!((1..=26).contains(&panel.queries.len()), "{}", panel.title);
            for sentence in [panel.how_to_read, panel.next] {
                assert!(sentence.len() > 15 && sentence.ends_with('.') && !sentence.contains("  "), "{}: {sentence}", panel.title);
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
