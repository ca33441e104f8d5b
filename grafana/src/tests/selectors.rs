//! Every expression parsed, and what it selects.

use std::collections::BTreeSet;

use promql_parser::{
    label::{Labels, MatchOp},
    parser::{Call, Expr, LabelModifier, MatrixSelector, VectorSelector, parse},
};
use schedscope::metrics::catalog::{self, Kind, Metric, PREFIX};

use super::{dashboards, name, panels};
use crate::{
    foreign,
    promql::{RANGE, RATE_INTERVAL, STEP},
    variables::marks,
};

/// Own cost is measured once a minute, so Grafana's interval can miss it.
const FIXED_WINDOWS: [&str; 2] = [catalog::BPF_RUN_SECONDS.name, catalog::BPF_MEASURED.name];

/// Shows what was counted before the first scrape too, of which no rate knows.
const SINCE_START: &str = "schedscope: daemon health / Missing since start";

/// One selector of an expression, and the function directly around it.
#[derive(Debug)]
pub(super) struct Selected {
    selector: VectorSelector,
    function: Option<String>,
    is_range: bool,
}

impl Selected {
    pub(super) fn name(&self) -> String {
        self.selector.name.clone().unwrap()
    }

    fn metric(&self) -> &'static Metric {
        let name = self.selector.name.as_deref().unwrap();
        let of_histogram = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let known = || catalog::ALL.iter().chain(foreign::ALL).copied();
        known()
            .find(|metric| metric.name == name)
            .or_else(|| known().find(|metric| Some(metric.name) == of_histogram && metric.kind == Kind::Histogram))
            .unwrap_or_else(|| panic!("there is no metric {name}"))
    }

    fn matches(&self, label: &str, wanted: &str) -> bool {
        let is_regex = |op: &MatchOp| matches!(op, MatchOp::Re(_));
        self.selector
            .matchers
            .matchers
            .iter()
            .any(|matcher| matcher.name == label && matcher.value == wanted && is_regex(&matcher.op))
    }
}

/// The selectors of an expression whose variables of Grafana's have been replaced.
pub(super) fn selected(expr: &Expr) -> Vec<Selected> {
    let mut found = Vec::new();
    collect(expr, None, &mut found);
    found
}

fn collect(expr: &Expr, function: Option<&str>, found: &mut Vec<Selected>) {
    let mut add = |selector: &VectorSelector, is_range| {
        found.push(Selected { selector: selector.clone(), function: function.map(str::to_owned), is_range });
    };
    match expr {
        Expr::VectorSelector(selector) => add(selector, false),
        Expr::MatrixSelector(MatrixSelector { vs, .. }) => add(vs, true),
        Expr::Call(Call { func, args }) => args.args.iter().for_each(|arg| collect(arg, Some(func.name), found)),
        Expr::Aggregate(aggregate) => collect(&aggregate.expr, None, found),
        Expr::Binary(binary) => [&binary.lhs, &binary.rhs].into_iter().for_each(|side| collect(side, None, found)),
        Expr::Paren(inner) => collect(&inner.expr, function, found),
        Expr::Unary(inner) => collect(&inner.expr, None, found),
        Expr::Subquery(inner) => collect(&inner.expr, None, found),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        other @ Expr::Extension(_) => panic!("we write no such expression: {other}"),
    }
}

/// Parses what a dashboard holds.
fn parsed(text: &str) -> Expr {
    let text = text.replace(RATE_INTERVAL, "1m").replace(STEP, "20s").replace(RANGE, "30m");
    parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Every expression of a panel or a mark, with a name for messages.
fn expressions() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = marks().map(|mark| (mark.name.to_owned(), mark.expr.to_string())).into();
    for dashboard in dashboards() {
        for panel in panels(&dashboard) {
            let targets = panel["targets"].as_array().unwrap().iter();
            all.extend(targets.map(|target| (name(&dashboard, panel), target["expr"].as_str().unwrap().to_owned())));
        }
    }
    all
}

#[test]
fn every_selector_names_a_metric_and_labels_that_it_has() {
    for (what, text) in expressions() {
        for selected in selected(&parsed(&text)) {
            let metric = selected.metric();
            for matcher in &selected.selector.matchers.matchers {
                let of_scrape = ["job", "instance"].contains(&matcher.name.as_str());
                assert!(
                    of_scrape || metric.labels.iter().any(|label| label.name == matcher.name),
                    "{what}: {} has no label {}",
                    metric.name,
                    matcher.name
                );
            }
        }
    }
}

#[test]
fn what_every_job_has_is_asked_of_our_daemons_only() {
    let mut found = 0;
    for (what, text) in expressions() {
        for name in selected(&parsed(&text)).iter().map(Selected::name) {
            // What the lab says of itself bears our prefix, so that no other job has it.
            if !name.starts_with(PREFIX) && foreign::ALL.iter().any(|metric| metric.name == name) {
                let limited =
                    format!("{name}{{job=~\"$job\", instance=~\"$instance\"}} and on (job, instance) last_over_time(schedscope_");
                assert!(text.contains(&limited), "{what}: {text}");
                found += 1;
            }
        }
    }
    assert!(found >= foreign::ALL.iter().filter(|metric| !metric.name.starts_with(PREFIX)).count());
}

#[test]
fn every_selector_is_limited_by_the_variables() {
    for (what, text) in expressions() {
        for selected in selected(&parsed(&text)) {
            assert!(selected.matches("job", "$job") && selected.matches("instance", "$instance"), "{what}: {text}");
            let by_workload = selected.metric().labels.iter().any(|label| label.name == "workload");
            assert_eq!(selected.matches("workload", "$workload"), by_workload, "{what}: {text}");
        }
    }
}

#[test]
fn counters_are_read_through_a_rate_and_nothing_else_is() {
    for (what, text) in expressions() {
        for selected in selected(&parsed(&text)) {
            let through_rate = matches!(selected.function.as_deref(), Some("rate" | "increase"));
            let metric = selected.metric();
            if metric.kind == Kind::Gauge {
                // What tells our daemons from other jobs looks back on purpose, and so does what may be shorter than a step.
                let looks_back = match selected.function.as_deref() {
                    Some("last_over_time") => metric.name == catalog::BUILD_INFO.name,
                    Some("max_over_time") => metric.name == foreign::LAB_PHASE.name,
                    _ => false,
                };
                assert!(!through_rate && (!selected.is_range || looks_back), "{what}: {text}");
            } else if what == SINCE_START {
                assert!(selected.function.is_none() && !selected.is_range, "{what}: {text}");
            } else {
                assert!(through_rate && selected.is_range, "{what}: {text}");
            }
        }
    }
}

#[test]
fn series_that_are_told_apart_have_names() {
    for dashboard in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let is_table = target["format"] == "table";
                let legend = target["legendFormat"].as_str().unwrap();
                let needs_name = !is_table && !is_one_series(&parsed(target["expr"].as_str().unwrap()));
                assert!(legend.contains("{{") || !needs_name, "{}", name(&dashboard, panel));
                assert!(legend.is_empty() || !is_table, "{}: a table shows no legend", name(&dashboard, panel));
            }
        }
    }
}

/// Whether the result has no labels.
fn is_one_series(expr: &Expr) -> bool {
    match expr {
        Expr::Aggregate(aggregate) => aggregate.modifier.is_none() && aggregate.param.is_none(),
        Expr::Binary(binary) => is_one_series(&binary.lhs) && is_one_series(&binary.rhs),
        Expr::Paren(inner) => is_one_series(&inner.expr),
        Expr::NumberLiteral(_) => true,
        // It takes the bound of the buckets away.
        Expr::Call(call) if call.func.name == "histogram_quantile" => call.args.args.iter().all(|arg| match arg.as_ref() {
            Expr::Aggregate(aggregate) => aggregate.modifier == Some(LabelModifier::Include(Labels::new(vec!["le"]))),
            other => is_one_series(other),
        }),
        _ => false,
    }
}

#[test]
fn ranges_follow_the_scrape_interval() {
    for (what, text) in expressions() {
        for range in text.split('[').skip(1).filter_map(|rest| rest.split(']').next()) {
            let is_fixed = FIXED_WINDOWS.iter().any(|name| text.contains(name));
            let looks_back = range == "1d" && text.contains(&format!("last_over_time({}", catalog::BUILD_INFO.name));
            let is_step = range == STEP && text.contains(&format!("max_over_time({}", foreign::LAB_PHASE.name));
            let is_whole = range == RANGE && text.contains("increase(");
            // The points of a chart.
            let is_chart = range == format!("{RANGE}:{STEP}") && text.contains("max_over_time(");
            assert!(
                range == RATE_INTERVAL || is_fixed || looks_back || is_step || is_whole || is_chart,
                "{what}: {range} in {text}"
            );
        }
    }
}

#[test]
fn every_metric_is_shown_somewhere() {
    let shown: BTreeSet<&str> =
        expressions().iter().flat_map(|(_, text)| selected(&parsed(text))).map(|selected| selected.metric().name).collect();
    for metric in catalog::ALL.iter().chain(foreign::ALL) {
        assert!(shown.contains(metric.name), "{} is shown nowhere", metric.name);
    }
}
