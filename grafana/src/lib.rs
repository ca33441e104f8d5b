//! Dashboards, rules, alerts and documents, made from the catalog of metrics.
//!
//! A panel takes rows of the catalog, not names, so a panel on a metric that does not exist does not compile. What is generated
//! is committed; `cargo xtask generate --check` fails when it is stale.
//!
//! - [`promql`]: queries over catalog rows, with the selectors that every query needs; [`foreign`]: the few rows that are not ours.
//! - [`panel`]: one kind of panel each, with a unit and a sentence on how to read it.
//! - [`dashboard`], [`variables`]: rows of panels and the frame around them.
//! - [`dashboards`]: what is shown.
//! - [`metrics_doc`]: the text of `docs/metrics.md`.

pub mod foreign;
pub mod promql;

pub mod panel;

pub mod dashboard;
pub mod variables;

pub mod dashboards;

pub mod metrics_doc;

pub use metrics_doc::metrics_markdown;

/// Every generated file: its path from the root of the repository, and its text.
pub fn generate() -> Vec<(String, String)> {
    let dashboards = dashboards::all().into_iter();
    let mut files: Vec<(String, String)> =
        dashboards.map(|dashboard| (format!("grafana/dashboards/{}.json", dashboard.uid), dashboard.json_text())).collect();
    files.push(("docs/metrics.md".to_owned(), metrics_markdown()));
    files
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
