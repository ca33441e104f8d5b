//! What dashboards, marks, rules and alerts ask Prometheus.

use promql_parser::parser::{Expr, parse};
use schedscope_grafana::{
    dashboards,
    promql::{RANGE, RATE_INTERVAL, STEP},
    variables::marks,
};
use serde_json::Value;

/// An expression of a panel or a mark.
pub(super) struct Asked {
    /// Where it stands.
    pub(super) what: String,
    /// As it stands there.
    pub(super) expr: String,
}

/// What a reader has chosen.
pub(super) struct Choice {
    /// What Grafana would fit to zoom and scrape interval.
    pub(super) window: String,
    /// From point to point.
    pub(super) step: String,
    /// All of the time that is shown.
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

/// Everything on every dashboard.
pub(super) fn all() -> Vec<Asked> {
    let mut all: Vec<Asked> =
        marks().into_iter().map(|mark| Asked { what: mark.name.to_owned(), expr: mark.expr.to_string() }).collect();
    for dashboard in dashboards::all() {
        let json = dashboard.json();
        for panel in panels(&json) {
            let what = format!("{} / {}", dashboard.title, panel["title"].as_str().unwrap());
            all.extend(exprs(panel).map(|expr| Asked { what: what.clone(), expr }));
        }
    }
    all
}

/// The expressions of one panel.
pub(super) fn of_panel(dashboard: &str, panel: &str) -> Vec<String> {
    let dashboard = dashboards::all().into_iter().find(|known| known.title == dashboard).expect("no such dashboard");
    let json = dashboard.json();
    let found: Vec<String> = panels(&json).filter(|known| known["title"] == panel).flat_map(exprs).collect();
    assert!(!found.is_empty(), "no panel {panel}");
    found
}

/// The expression of one column of a table.
pub(super) fn of_column(dashboard: &str, table: &str, heading: &str) -> String {
    let dashboard = dashboards::all().into_iter().find(|known| known.title == dashboard).expect("no such dashboard");
    let json = dashboard.json();
    let panel = panels(&json).find(|known| known["title"] == table).expect("no such table");
    let organize = panel["transformations"].as_array().unwrap().iter().find(|step| step["id"] == "organize").unwrap();
    let names = organize["options"]["renameByName"].as_object().unwrap();
    let field = names.iter().find(|(_, name)| *name == heading).expect("no such column").0;
    let target = panel["targets"]
        .as_array()
        .unwrap()
        .iter()
        .find(|target| *field == format!("Value #{}", target["refId"].as_str().unwrap()));
    target.unwrap()["expr"].as_str().unwrap().to_owned()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let top = dashboard["panels"].as_array().unwrap();
    top.iter().flat_map(|panel| [panel].into_iter().chain(panel["panels"].as_array().into_iter().flatten()))
}

fn exprs(panel: &Value) -> impl Iterator<Item = String> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned())
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

/// The selectors of an expression, without ranges.
pub(super) fn selectors(expr: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&parse(expr).unwrap(), &mut found);
    assert!(!found.is_empty(), "{expr} selects nothing");
    found
}

fn collect(expr: &Expr, found: &mut Vec<String>) {
    match expr {
        Expr::VectorSelector(selector) => found.push(selector.to_string()),
        Expr::MatrixSelector(matrix) => found.push(matrix.vs.to_string()),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| collect(argument, found)),
        Expr::Aggregate(aggregate) => collect(&aggregate.expr, found),
        Expr::Binary(binary) => [&binary.lhs, &binary.rhs].into_iter().for_each(|side| collect(side, found)),
        Expr::Paren(inner) => collect(&inner.expr, found),
        Expr::Subquery(inner) => collect(&inner.expr, found),
        Expr::NumberLiteral(_) => {}
        other => panic!("we write no such expression: {other}"),
    }
}
