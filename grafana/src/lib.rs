//! Dashboards and metric documentation, made from the catalog of metrics.
//!
//! A panel takes rows of the catalog, not names, so a panel on a metric that does not exist does not compile. What is generated
//! is committed; `cargo xtask generate --check` fails when it is stale.
//!
//! - [`promql`]: queries over catalog rows, with the selectors that every query needs.
//! - [`panel`]: one kind of panel each, with a unit and a sentence on how to read it.
//! - [`dashboard`]: rows of panels, variables and the frame around them.
//! - [`dashboards`]: what is shown.
//! - [`metrics_doc`]: the text of `docs/metrics.md`.

pub mod promql;

pub mod panel;

pub mod dashboard;

pub mod dashboards;

pub mod metrics_doc;

pub use metrics_doc::metrics_markdown;

/// Every generated dashboard: its path from the root of the repository, and its text.
pub fn generate() -> Vec<(String, String)> {
    dashboards::all()
        .into_iter()
        .map(|dashboard| (format!("grafana/dashboards/{}.json", dashboard.uid), dashboard.text()))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
