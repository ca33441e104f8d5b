//! The dashboards against Grafana's own published schema, every key.

use std::{collections::BTreeMap, sync::LazyLock};

use jsonschema::Validator;
use serde_json::Value;

use super::{dashboards, name, panels};

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

/// The dashboard without what belongs to the data source.
fn without_annotation_keys(dashboard: &Value) -> Value {
    let mut dashboard = dashboard.clone();
    for annotation in dashboard["annotations"]["list"].as_array_mut().unwrap() {
        annotation.as_object_mut().unwrap().retain(|key, _| !ANNOTATION_KEYS.contains(&key.as_str()));
    }
    dashboard
}

/// Faults of one dashboard and of the options and field settings of its panels.
fn faults(dashboard: &Value) -> Vec<String> {
    let title = dashboard["title"].as_str().unwrap();
    let mut faults = errors(&VALIDATORS["dashboard"], &without_annotation_keys(dashboard), title);
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
