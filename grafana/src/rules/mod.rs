//! Recording rules and alerts for Prometheus, as files that it reads.

pub mod alerts;
pub mod recordings;

use serde_yaml_ng::Value;

use alerts::Alert;
use recordings::Recording;

/// First line of every file.
const GENERATED: &str = "# Generated from grafana/src/rules by `cargo xtask generate`.\n";

/// The file of recording rules.
///
/// # Errors
/// None that can happen: the rules are plain text.
pub fn recordings_yaml() -> Result<String, serde_yaml_ng::Error> {
    let rule = |recording: Recording| map([("record", recording.name.into()), ("expr", recording.expr.into())]);
    file("schedscope recordings", "15s", recordings::all().into_iter().map(rule).collect())
}

/// The file of alerts.
///
/// # Errors
/// None that can happen: the rules are plain text.
pub fn alerts_yaml() -> Result<String, serde_yaml_ng::Error> {
    let rule = |alert: Alert| {
        let annotations = map([
            ("summary", alert.summary.into()),
            ("description", format!("{} {}", alert.meaning, alert.steps.join(" ")).into()),
            ("runbook", format!("docs/alerts.md#{}", alert.anchor()).into()),
        ]);
        map([
            ("alert", alert.name.into()),
            ("expr", alert.expr.into()),
            ("for", alert.hold.into()),
            ("labels", map([("severity", alert.severity.name().into())])),
            ("annotations", annotations),
        ])
    };
    file("schedscope alerts", "30s", alerts::all().into_iter().map(rule).collect())
}

fn file(name: &str, interval: &str, rules: Vec<Value>) -> Result<String, serde_yaml_ng::Error> {
    let group = map([("name", name.into()), ("interval", interval.into()), ("rules", rules.into())]);
    Ok(format!("{GENERATED}{}", serde_yaml_ng::to_string(&map([("groups", vec![group].into())]))?))
}

/// A mapping whose keys keep their order.
fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Mapping(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}
