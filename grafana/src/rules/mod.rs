//! Recording rules and alerts for Prometheus, as files that it reads.

pub mod alerts;
pub(crate) mod losses;
pub mod recordings;

use serde::Serialize;

use alerts::Alert;
use recordings::Recording;

/// First line of every file.
const GENERATED: &str = "# Generated from grafana/src/rules by `cargo xtask generate`.\n";

#[derive(Serialize)]
struct File {
    groups: [Group; 1],
}

#[derive(Serialize)]
struct Group {
    name: &'static str,
    interval: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rule {
    Recording {
        record: String,
        expr: String,
    },
    Alert {
        alert: &'static str,
        expr: String,
        #[serde(rename = "for")]
        hold: &'static str,
        labels: Labels,
        annotations: Annotations,
    },
}

#[derive(Serialize)]
struct Labels {
    severity: &'static str,
}

#[derive(Serialize)]
struct Annotations {
    summary: &'static str,
    description: String,
    runbook: String,
}

/// The file of recording rules.
///
/// # Errors
/// None that can happen: the rules are plain text.
pub fn recordings_yaml() -> Result<String, serde_yaml_ng::Error> {
    let rule = |recording: Recording| Rule::Recording { record: recording.name.clone(), expr: recording.expr.to_string() };
    file("schedscope recordings", "15s", recordings::all().into_iter().map(rule).collect())
}

/// The file of alerts.
///
/// # Errors
/// None that can happen: the rules are plain text.
pub fn alerts_yaml() -> Result<String, serde_yaml_ng::Error> {
    let rule = |alert: Alert| Rule::Alert {
        alert: alert.name,
        expr: alert.expr.to_string(),
        hold: alert.hold,
        labels: Labels { severity: alert.severity.name() },
        annotations: Annotations {
            summary: alert.summary,
            description: format!("{} {}", alert.meaning, alert.steps.join(" ")),
            runbook: format!("docs/alerts.md#{}", alert.anchor()),
        },
    };
    file("schedscope alerts", "30s", alerts::all().into_iter().map(rule).collect())
}

fn file(name: &'static str, interval: &'static str, rules: Vec<Rule>) -> Result<String, serde_yaml_ng::Error> {
    let yaml = serde_yaml_ng::to_string(&File { groups: [Group { name, interval, rules }] })?;
    Ok(format!("{GENERATED}{yaml}"))
}
