//! The dashboards against Grafana's own published schema, every key.

use jsonschema::Validator;
use serde_json::Value;

use super::{dashboards, name, panels};

const SCHEMAS: &str = include_str!("../../schema/grafana-schema-13.2.3.json");

fn schemas() -> Value {
    serde_json::from_str(SCHEMAS).unwrap()
}

fn validator(schemas: &Value, key: &str) -> Option<Validator> {
    let schema = schemas.get(key)?;
    Some(jsonschema::draft7::new(schema).unwrap_or_else(|error| panic!("the schema {key} cannot be used: {error}")))
}

fn errors(validator: &Validator, value: &Value, what: &str) -> Vec<String> {
    let describe = |error: jsonschema::ValidationError<'_>| format!("{what}: at {}: {error}", error.instance_path());
    validator.iter_errors(value).map(describe).collect()
}

/// Keys of an annotation that are the Prometheus data source's: Grafana's own schema knows only those of its built-in one, and
/// [`annotations_are_what_the_data_source_reads`] looks at these.
const ANNOTATION_KEYS: [&str; 7] = ["target", "expr", "step", "titleFormat", "textFormat", "tagKeys", "useValueForTime"];

/// The dashboard without what belongs to the data source.
fn without_annotation_keys(dashboard: &Value) -> Value {
    let mut dashboard = dashboard.clone();
    for annotation in dashboard["annotations"]["list"].as_array_mut().unwrap() {
        annotation.as_object_mut().unwrap().retain(|key, _| !ANNOTATION_KEYS.contains(&key.as_str()));
    }
    dashboard
}

/// Faults of one dashboard and of the options and field settings of its panels.
fn faults(schemas: &Value, dashboard: &Value) -> Vec<String> {
    let mut faults = errors(
        &validator(schemas, "dashboard").unwrap(),
        &without_annotation_keys(dashboard),
        dashboard["title"].as_str().unwrap(),
    );
    for panel in panels(dashboard) {
        let kind = panel["type"].as_str().unwrap();
        let what = name(dashboard, panel);
        let options = validator(schemas, &format!("{kind} options")).unwrap_or_else(|| panic!("{what}: no schema of {kind}"));
        faults.extend(errors(&options, &panel["options"], &format!("{what}, options")));
        if let Some(field) = validator(schemas, &format!("{kind} field")) {
            let custom = panel["fieldConfig"]["defaults"].get("custom");
            faults.extend(custom.into_iter().flat_map(|custom| errors(&field, custom, &format!("{what}, field"))));
        }
    }
    faults
}

#[test]
fn every_dashboard_is_valid_to_the_last_key() {
    let schemas = schemas();
    let faults: Vec<String> = dashboards().iter().flat_map(|dashboard| faults(&schemas, dashboard)).collect();
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
    let schemas = schemas();
    let good = dashboards().remove(0);
    let first = |dashboard: &mut Value, change: fn(&mut Value)| {
        let panel = dashboard["panels"].as_array_mut().unwrap().iter_mut().find(|panel| panel["type"] == "stat").unwrap();
        change(panel);
    };
    let changes: [fn(&mut Value); 4] = [
        |panel| panel["gridPos"]["w"] = "wide".into(),
        |panel| panel["options"]["colourMode"] = "none".into(),
        |panel| panel["options"]["graphMode"] = "pie".into(),
        |panel| panel["decription"] = "".into(),
    ];
    for change in changes {
        let mut dashboard = good.clone();
        first(&mut dashboard, change);
        assert_eq!(faults(&schemas, &dashboard).len() - faults(&schemas, &good).len(), 1);
    }
}
