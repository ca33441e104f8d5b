//! The dashboards as Grafana reads them: places, names and links; the rules of Grafana's dashboard linter, applied to every kind of
//! panel, since the linter leaves out heat maps, bar gauges and state timelines; and Grafana's own published schema, every key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{dashboards, name, panels};
use crate::dashboard::TAG;
use crate::dashboards::all;

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
fn the_frame_keeps_the_rules_of_the_linter() {
    for dashboard in dashboards() {
        let list = |key: &str| dashboard[key]["list"].as_array().unwrap();
        let texts = |variable: &Value| ["name", "type", "label"].map(|key| variable[key].as_str().unwrap().to_owned());
        let [source, choices @ ..] = &list("templating")[..] else { panic!("no variables") };
        assert_eq!(
            (texts(source), &source["query"]),
            (["datasource", "datasource", "Data source"].map(str::to_owned), &"prometheus".into())
        );
        let known = [("job", "Job"), ("instance", "Instance"), ("workload", "Workload")];
        assert!(choices.iter().map(texts).eq(known.map(|(name, label)| [name, "query", label].map(str::to_owned))));
        for variable in choices {
            assert_eq!(variable["refresh"], 2, "it must follow the time range");
            // A link carries the choice of all to the next dashboard, so each must be able to show all.
            let all = ["multi", "includeAll", "allValue"].map(|key| variable[key].clone());
            assert_eq!(json!(all), json!([true, true, ".+"]));
        }
        let panels = panels(&dashboard);
        let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
        for value in targets.chain(panels.iter().copied()).chain(choices).chain(list("annotations")) {
            assert_eq!(value["datasource"], json!({ "type": "prometheus", "uid": "${datasource}" }), "{value}");
        }
        // What is edited in Grafana would be lost, and provisioning does not resolve inputs.
        assert_eq!((&dashboard["editable"], &dashboard["id"], dashboard.get("__inputs")), (&false.into(), &Value::Null, None));
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

const SCHEMAS: &str = include_str!("../../schema/grafana-schema-13.2.3.json");

/// A validator for each schema, by its name: compiling one takes longer than using it.
static VALIDATORS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let schemas: BTreeMap<String, Value> = serde_json::from_str(SCHEMAS).unwrap();
    let compiled = |(key, schema): (String, Value)| match jsonschema::draft7::new(&schema) {
        Ok(validator) => (key, validator),
        Err(error) => panic!("the schema {key} cannot be used: {error}"),
    };
    schemas.into_iter().map(compiled).collect()
});

fn errors(validator: &Validator, value: &Value, what: &str) -> Vec<String> {
    let describe = |error: jsonschema::ValidationError<'_>| format!("{what}: at {}: {error}", error.instance_path());
    validator.iter_errors(value).map(describe).collect()
}

/// Keys of an annotation that are the Prometheus data source's: Grafana's own schema knows only those of its built-in one, and
/// [`annotations_are_what_the_data_source_reads`] looks at these.
const ANNOTATION_KEYS: [&str; 7] = ["target", "expr", "step", "titleFormat", "textFormat", "tagKeys", "useValueForTime"];

/// Faults of one dashboard and of the options and field settings of its panels.
fn faults(dashboard: &Value) -> Vec<String> {
    let mut frame = dashboard.clone();
    for annotation in frame["annotations"]["list"].as_array_mut().unwrap() {
        annotation.as_object_mut().unwrap().retain(|key, _| !ANNOTATION_KEYS.contains(&key.as_str()));
    }
    let mut faults = errors(&VALIDATORS["dashboard"], &frame, dashboard["title"].as_str().unwrap());
    for panel in panels(dashboard) {
        let kind = panel["type"].as_str().unwrap();
        let what = name(dashboard, panel);
        let options = VALIDATORS.get(&format!("{kind} options")).unwrap_or_else(|| panic!("{what}: no schema of {kind}"));
        faults.extend(errors(options, &panel["options"], &format!("{what}, options")));
        let custom = panel["fieldConfig"]["defaults"].get("custom");
        if let Some((field, custom)) = VALIDATORS.get(&format!("{kind} field")).zip(custom) {
            faults.extend(errors(field, custom, &format!("{what}, field")));
        }
    }
    faults
}

#[test]
fn every_dashboard_is_valid_to_the_last_key() {
    let faults: Vec<String> = dashboards().iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn annotations_are_what_the_data_source_reads() {
    for dashboard in dashboards() {
        for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
            assert!(ANNOTATION_KEYS.iter().all(|key| annotation.get(key).is_some()), "{annotation}");
            assert!(
                !annotation["target"]["expr"].as_str().unwrap().is_empty() && annotation["target"]["refId"] == "Anno",
                "{annotation}"
            );
            assert_eq!(annotation["target"]["expr"], annotation["expr"], "newer and older versions ask the same");
        }
    }
}

#[test]
fn a_wrong_key_or_value_is_a_fault() {
    let good = dashboards().remove(0);
    let changes: [fn(&mut Value); 4] = [
        |panel| panel["gridPos"]["w"] = "wide".into(),
        |panel| panel["options"]["colourMode"] = "none".into(),
        |panel| panel["options"]["graphMode"] = "pie".into(),
        |panel| panel["decription"] = "".into(),
    ];
    for change in changes {
        let mut dashboard = good.clone();
        change(dashboard["panels"].as_array_mut().unwrap().iter_mut().find(|panel| panel["type"] == "stat").unwrap());
        assert_eq!((faults(&dashboard).len(), faults(&good).len()), (1, 0));
    }
}
