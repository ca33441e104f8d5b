//! What panels, annotations and variables ask: that it fits the catalog, the reader's choices, and how it is shown.

use std::collections::BTreeSet;

use promql_parser::label::MatchOp;
use schedscope::metrics::catalog::{self, Bound, PREFIX};

use super::promql::{Checker, Quantity, metric_of, selectors};
use crate::dashboards::{self, expressions};
use crate::foreign;
use crate::panel::kinds::{latency_heatmap, lines, share_heatmap, table};
use crate::panel::{Panel, Query, Unit};
use crate::promql::{RANGE, RATE_INTERVAL, STEP, bucket_increase, chosen, increase, rate, sum};
use crate::variables::{annotations, choices};

/// Shows what was counted before the first scrape as well, which no rate sees.
const SINCE_START: &str = "Missing since start";
/// Own cost is measured once a minute, so Grafana's interval can miss it.
const FIXED_WINDOWS: [&str; 2] = [catalog::BPF_RUN_SECONDS.name, catalog::BPF_MEASURED.name];

fn named(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next())
}

fn faults(panel: &Panel) -> Vec<String> {
    let checker = Checker { allows_totals: panel.title == SINCE_START, ..Checker::default() };
    let mut faults = Vec::new();
    let mut all_labels = Vec::new();
    for Query { expr, legend, unit, .. } in &panel.queries {
        let Ok(shape) = checker.check(expr).map_err(|fault| faults.push(fault)) else { continue };
        let expected = match unit {
            Unit::Short | Unit::Share => Quantity::Number,
            Unit::Seconds => Quantity::Seconds,
            Unit::PerSecond => Quantity::PerSecond,
            Unit::Bytes => Quantity::Bytes,
        };
        if shape.quantity != expected {
            faults.push(format!("{unit:?} is not {:?}: {expr}", shape.quantity));
        }
        faults.extend(
            named(legend).filter(|label| !shape.labels.contains_key(*label)).map(|label| format!("no label {label}: {expr}")),
        );
        if panel.format == "table" && !legend.is_empty() {
            faults.push("a table shows no legend".to_owned());
        }
        if panel.format != "table" && !shape.labels.is_empty() && !legend.contains("{{") {
            faults.push(format!("its series have no names: {expr}"));
        }
        if (panel.format == "heatmap") != shape.labels.contains_key("le") {
            faults.push(format!("a heat map of a histogram, and nothing else, has buckets: {expr}"));
        }
        all_labels.push(shape.labels.into_keys().collect::<BTreeSet<String>>());
    }
    // Rows are joined by the labels that every query has; any other label is an attribute, which one query gives.
    let columns: BTreeSet<&str> = panel.columns.iter().map(|(field, _)| field.as_str()).collect();
    for label in all_labels.iter().flatten().collect::<BTreeSet<_>>() {
        let count = all_labels.iter().filter(|labels| labels.contains(label)).count();
        if !columns.is_empty() && (!columns.contains(label.as_str()) || count > 1 && count < all_labels.len()) {
            faults.push(format!("the label {label} has no place in the rows"));
        }
    }
    let is_given = |field: &str| field.starts_with("Value #") || all_labels.iter().any(|labels| labels.contains(field));
    faults.extend(columns.into_iter().filter(|field| !is_given(field)).map(|field| format!("no query gives {field}")));
    faults
}

#[test]
fn every_query_fits_the_catalog_and_its_panel() {
    for dashboard in dashboards::all() {
        for panel in dashboard.panels() {
            assert_eq!(faults(panel), [""; 0], "{} / {}", dashboard.title, panel.title);
        }
    }
}

#[test]
fn each_fault_of_a_panel_is_found() {
    let on_cpu = || rate(&catalog::WORKLOAD_ON_CPU);
    let hosts = || table("a panel", &[("instance", "Host")]);
    let threads = |by| sum(by, chosen(&catalog::WORKLOAD_THREADS));
    for (panel, fault) in [
        (lines("a panel", Unit::Short).query(on_cpu().replace("on_cpu", "no_cpu"), ""), "there is no series"),
        (lines("a panel", Unit::Short).query(sum("", on_cpu()), "{{workload}}"), "no label workload"),
        (lines("a panel", Unit::Short).query(sum("workload", on_cpu()), "threads"), "have no names"),
        // Seconds per second are no seconds.
        (lines("a panel", Unit::Seconds).query(sum("", on_cpu()), ""), "Seconds is not Number"),
        (lines("a panel", Unit::Short).query(sum("", increase(&catalog::WORKLOAD_ON_CPU)), ""), "Short is not Seconds"),
        (latency_heatmap("a panel").query(sum("workload", on_cpu()), "{{workload}}"), "has buckets"),
        (share_heatmap("a panel").query(bucket_increase(&catalog::WORKLOAD_TIMESLICE), "{{le}}"), "has buckets"),
        (hosts().column("Threads", Unit::PerSecond, threads("instance")), "PerSecond is not Number"),
        (hosts().query(threads("instance"), "{{instance}}"), "no legend"),
        (hosts().column("Threads", Unit::Short, threads("workload")), "workload has no place"),
        (hosts().column("Threads", Unit::Short, threads("")), "no query gives instance"),
        (
            table("a panel", &[("instance", "Host"), ("workload", "Workload")])
                .column("Threads", Unit::Short, threads("instance, workload"))
                .column("The same", Unit::Short, threads("instance, workload"))
                .column("Of the host", Unit::Short, threads("instance")),
            "workload has no place",
        ),
    ] {
        let found = faults(&panel);
        assert!(found.iter().any(|found| found.contains(fault)), "{fault}: {found:?}");
    }
}

#[test]
fn annotations_and_variables_fit_the_catalog() {
    let checker = Checker::default();
    for annotation in annotations() {
        let shape = checker.check(&annotation.expr).unwrap();
        assert!(named(annotation.title).all(|label| shape.labels.contains_key(label)), "{}", annotation.name);
    }
    for choice in choices() {
        assert!(checker.check(&choice.series).unwrap().labels.contains_key(choice.name), "{}", choice.series);
    }
}

#[test]
fn every_selector_is_limited_by_the_variables() {
    for (what, text) in expressions() {
        for selector in selectors(&text) {
            let is_limited = |label: &str| {
                let chosen = format!("${label}");
                let mut matchers = selector.matchers.matchers.iter();
                matchers.any(|known| known.name == label && known.value == chosen && matches!(known.op, MatchOp::Re(_)))
            };
            let has_workload = metric_of(&selector).labels.iter().any(|label| label.bound == Bound::Workloads);
            assert!(is_limited("job") && is_limited("instance"), "{what}: {text}");
            assert_eq!(is_limited("workload"), has_workload, "{what}: {text}");
        }
    }
}

#[test]
fn what_every_job_has_is_asked_of_our_daemons_only() {
    // The lab's own metric has our prefix, so no other job has it.
    for metric in foreign::ALL.iter().filter(|metric| !metric.name.starts_with(PREFIX)) {
        let ours = format!("{} and on (job, instance) last_over_time({}", chosen(metric), catalog::BUILD_INFO.name);
        let mut found = 0;
        for (what, text) in expressions() {
            let asked = selectors(&text).iter().filter(|selector| metric_of(selector).name == metric.name).count();
            assert_eq!(asked, text.matches(&ours).count(), "{what}: {text}");
            found += asked;
        }
        assert!(found > 0, "{} is asked nowhere", metric.name);
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
            // Over the points of a chart.
            let is_chart = range == format!("{RANGE}:{STEP}") && text.contains("max_over_time(");
            let is_known = range == RATE_INTERVAL || is_fixed || looks_back || is_step || is_whole || is_chart;
            assert!(is_known, "{what}: {range} in {text}");
        }
    }
}

#[test]
fn every_metric_is_shown_somewhere() {
    let shown: BTreeSet<&str> =
        expressions().iter().flat_map(|(_, text)| selectors(text)).map(|selector| metric_of(&selector).name).collect();
    for metric in catalog::ALL.iter().chain(foreign::ALL) {
        assert!(shown.contains(metric.name), "{} is shown nowhere", metric.name);
    }
}
