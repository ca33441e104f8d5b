//! What dashboards ask Prometheus, and what a reader may have chosen.

use schedscope_grafana::{
    dashboards,
    panel::Panel,
    promql::{RANGE, RATE_INTERVAL, STEP},
};

/// What a reader has chosen.
pub(super) struct Choice {
    /// The rate interval that Grafana would fit to zoom and scrape interval.
    pub(super) window: String,
    /// Distance between points.
    pub(super) step: String,
    /// The whole time shown.
    pub(super) range: String,
    /// A pattern for hosts.
    pub(super) instance: String,
    /// A pattern for workloads.
    pub(super) workload: String,
}

impl Choice {
    /// Every workload of every host.
    pub(super) fn all(window: &str) -> Choice {
        let [window, step, range] = [window; 3].map(str::to_owned);
        Choice { window, step, range, instance: ".+".to_owned(), workload: ".+".to_owned() }
    }

    /// The expression as Grafana would send it.
    pub(super) fn apply(&self, expr: &str) -> String {
        expr.replace(RATE_INTERVAL, &self.window)
            .replace(STEP, &self.step)
            .replace(RANGE, &self.range)
            .replace("$job", ".+")
            .replace("$instance", &self.instance)
            .replace("$workload", &self.workload)
    }
}

fn panel(dashboard: &str, title: &str) -> Panel {
    let dashboard = dashboards::all().into_iter().find(|known| known.title == dashboard).expect("no such dashboard");
    dashboard.panels().find(|known| known.title == title).expect("no such panel").clone()
}

/// The expressions of one panel.
pub(super) fn of_panel(dashboard: &str, title: &str) -> Vec<String> {
    panel(dashboard, title).queries.into_iter().map(|query| query.expr).collect()
}

/// The expression of one column of a table.
pub(super) fn of_column(dashboard: &str, table: &str, heading: &str) -> String {
    let mut queries = panel(dashboard, table).queries.into_iter();
    queries.find(|query| query.heading == Some(heading)).expect("no such column").expr
}

/// Metric with selector and label of a variable's query.
pub(super) fn variable(name: &str) -> (String, String) {
    let json = dashboards::all().remove(0).json();
    let variables = json["templating"]["list"].as_array().unwrap();
    let query = variables.iter().find(|variable| variable["name"] == name).unwrap()["query"]["query"].as_str().unwrap().to_owned();
    let inside = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
    let (metric, label) = inside.rsplit_once(", ").unwrap();
    (metric.to_owned(), label.to_owned())
}
