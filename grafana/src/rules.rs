//! Recording rules and alerts, read from the files that Prometheus reads: `grafana/prometheus/rules/`. The tests rule out that this
//! fails.

use serde::Deserialize;

const RECORDINGS: &str = include_str!("../prometheus/rules/schedscope-recordings.yml");
const ALERTS: &str = include_str!("../prometheus/rules/schedscope-alerts.yml");

#[derive(Deserialize)]
struct File<Rule> {
    groups: Vec<Group<Rule>>,
}

#[derive(Deserialize)]
struct Group<Rule> {
    rules: Vec<Rule>,
}

/// A recording rule.
#[derive(Clone, Debug, Deserialize)]
pub struct Recording {
    /// Name of the series that it records.
    #[serde(rename = "record")]
    pub name: String,
    /// What it records, as PromQL.
    pub expr: String,
}

impl Recording {
    /// Labels of the series, as its name says.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let level = self.name.split(':').next().unwrap_or_default();
        ["job"].into_iter().chain(level.split('_'))
    }
}

/// An alert and its runbook.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    #[serde(rename = "alert")]
    pub(crate) name: String,
    pub(crate) expr: String,
    /// How long it must hold first.
    #[serde(rename = "for")]
    pub(crate) hold: String,
    pub(crate) labels: AlertLabels,
    /// What it says.
    pub annotations: Annotations,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AlertLabels {
    /// `warning`: figures are missing or users suffer. `info`: worth knowing when tuning.
    pub(crate) severity: String,
}

/// Texts of an alert.
#[derive(Clone, Debug, Deserialize)]
pub struct Annotations {
    /// One line, with Prometheus's templates.
    pub summary: String,
    /// What it means on the first line, then what to do, step by step.
    pub(crate) description: String,
    /// Its heading in `docs/alerts.md`.
    pub runbook: String,
}

/// Every recording; one that reads another comes after it.
pub fn recordings() -> Result<Vec<Recording>, serde_yaml_ng::Error> {
    rules(RECORDINGS)
}

/// Every alert.
pub fn alerts() -> Result<Vec<Alert>, serde_yaml_ng::Error> {
    rules(ALERTS)
}

fn rules<Rule: for<'a> Deserialize<'a>>(text: &str) -> Result<Vec<Rule>, serde_yaml_ng::Error> {
    let file: File<Rule> = serde_yaml_ng::from_str(text)?;
    Ok(file.groups.into_iter().flat_map(|group| group.rules).collect())
}
