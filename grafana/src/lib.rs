//! Dashboards and documents made from the catalog of metrics, and checks of the rules and alerts against it.
//!
//! Panels take rows of the catalog, so a panel on a metric that does not exist does not compile; the tests check every expression
//! against the catalog. Generated files are committed; `cargo xtask generate --check` fails when one is stale.
//!
//! - [`promql`]: selectors and functions that nearly every query needs; [`foreign`]: the few metrics from elsewhere.
//! - [`panel`]: kinds of panels, each with a unit and how to read it.
//! - [`dashboard`], [`variables`]: rows of panels and the frame around them.
//! - [`dashboards`]: what is shown.
//! - [`rules`]: recording rules and alerts, read from Prometheus's own files.
//! - [`docs`]: the texts of `docs/metrics.md`, `docs/dashboards.md` and `docs/alerts.md`.

pub mod foreign;
pub mod promql;

pub mod panel;

pub mod dashboard;
pub mod variables;

pub mod dashboards;

pub mod rules;

pub mod docs;

use std::collections::BTreeMap;

/// Every generated file: its text by its path from the root of the repository.
pub fn generate() -> Result<BTreeMap<String, String>, serde_yaml_ng::Error> {
    let dashboards = dashboards::all().into_iter();
    let dashboards = dashboards.map(|dashboard| (format!("grafana/dashboards/{}.json", dashboard.uid), dashboard.json_text()));
    let pages = [
        ("docs/metrics.md", docs::metrics_markdown()),
        ("docs/dashboards.md", docs::dashboards_markdown()),
        ("docs/alerts.md", docs::alerts_markdown()?),
    ];
    Ok(dashboards.chain(pages.map(|(path, text)| (path.to_owned(), text))).collect())
}

#[cfg(test)]
mod tests;
