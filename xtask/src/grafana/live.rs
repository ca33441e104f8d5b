//! The dashboards on live data: a daemon, workloads of threads and of processes, and a Prometheus that scrapes every second.
//!
//! [`scene`] sets this up once, [`expressions`] lists what dashboards ask, and the answers are compared with what
//! `schedscope run --json` measured of the same workloads.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod drawn;
mod expressions;
mod figures;
mod fleet;
mod lab;
mod scene;

use std::collections::{BTreeMap, BTreeSet};

use schedscope::{lab::serve::prometheus::Prometheus, metrics::catalog};
use schedscope_grafana::{
    dashboards,
    rules::{alerts, recordings},
    variables::annotations,
};
use serde_json::Value;

use expressions::Choice;
use scene::{Scene, Trace, wait_until};

/// What has no data on a host without Python, and why.
const NEEDS_PYTHON: [(&str, &str); 1] =
    [("schedscope: models compared / Switch interval", "no Python thread has waited for the lock where there is no Python")];

#[test]
fn panels_rules_and_alerts_have_data_and_agree_with_run() {
    let Some(scene) = Scene::play() else { return };
    every_expression_gives_data(&scene);
    rules_and_alerts_are_evaluated(&scene);
    recorded_series_are_kept(&scene);
    variables_offer_what_there_is(&scene);
    other_jobs_stay_out(&scene);
    for trace in [&scene.threads, &scene.processes].into_iter().chain(&scene.gil) {
        figures::panels_show_what_run_reports(&scene, trace);
        model_and_phase_are_shown(&scene, trace);
    }
    drawn::panels_are_drawn(&scene);
}

/// Asked at the end of the last run of threads.
fn every_expression_gives_data(scene: &Scene) {
    let choice = Choice::all("10s");
    let at_seconds = scene.gil.as_ref().unwrap_or(&scene.threads).last_seconds;
    let has_data = |expr: &str| scene.query(&choice.apply(expr), at_seconds).iter().any(|(_, value)| value.is_finite());
    let all = dashboards::expressions();
    let silent: BTreeSet<&str> = all.iter().filter(|(_, expr)| !has_data(expr)).map(|(what, _)| what.as_str()).collect();
    println!("{} expressions asked, without data: {silent:?}", all.len());
    let excused = if scene.gil.is_some() { &[][..] } else { &NEEDS_PYTHON[..] };
    // Equal, so that no excuse outlives its reason.
    assert_eq!(silent, excused.iter().map(|(what, _)| *what).collect());
}

/// Prometheus has evaluated each without an error. They read what panels ask and what is recorded, which is looked at elsewhere.
fn rules_and_alerts_are_evaluated(scene: &Scene) {
    let groups = scene.prometheus.api("rules", &[]).unwrap();
    let rules: Vec<&Value> =
        groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), recordings().unwrap().len() + alerts().unwrap().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{}: {}", rule["name"], rule["lastError"]);
    }
}

/// Every recording has given series. The second store, which the `remote_write` example of the shipped configuration feeds, has all
/// of them with the same samples, and nothing else.
fn recorded_series_are_kept(scene: &Scene) {
    let (until, query) = (format!("{:.3}", scene.end_seconds), r#"{__name__=~".+:schedscope_.+"}[1h]"#);
    let samples = |prometheus: &Prometheus| -> BTreeMap<String, Value> {
        let answer = prometheus.api("query", &[("query", query), ("time", &until)]).unwrap();
        let series = answer["result"].as_array().unwrap().iter();
        series.map(|series| (series["metric"].to_string(), series["values"].clone())).collect()
    };
    let expected = samples(&scene.prometheus);
    wait_until("the second store has what was recorded", || samples(&scene.store) == expected);
    let recordings = recordings().unwrap();
    let names: BTreeSet<&str> = recordings.iter().map(|recording| recording.name.as_str()).collect();
    let kept = scene.store.api("label/__name__/values", &[]).unwrap();
    assert_eq!(kept.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<BTreeSet<_>>(), names);
    println!("{} recorded series are in the second store", expected.len());
}

fn variables_offer_what_there_is(scene: &Scene) {
    for (name, expected) in [("job", "schedscope"), ("instance", scene.instance.as_str()), ("workload", "lab-threads")] {
        let (metric, label) = expressions::variable(name);
        let choice = Choice::all("");
        let path = format!("label/{label}/values");
        let values = scene.prometheus.api(&path, &[("match[]", &choice.apply(&metric))]).unwrap();
        assert!(values.as_array().unwrap().iter().any(|value| value == expected), "{name} offers {values}");
    }
}

/// Prometheus also scrapes itself and the lab here, and the reader has chosen all jobs.
fn other_jobs_stay_out(scene: &Scene) {
    assert_eq!(scene.query("count(up)", scene.end_seconds)[0].1.to_string(), "3");
    let choice = Choice::all("10s");
    let figures = |dashboard, panel| {
        let exprs = expressions::of_panel(dashboard, panel);
        exprs.iter().flat_map(|expr| scene.query(&choice.apply(expr), scene.end_seconds)).collect::<Vec<_>>()
    };
    assert_eq!(figures("schedscope: fleet", "Hosts that answer")[0].1.to_string(), "1");
    assert_eq!(figures("schedscope: fleet", "Silent hosts")[0].1.to_string(), "0");
    for (labels, _) in figures("schedscope: daemon health", "Open files") {
        assert_eq!(labels["instance"], scene.instance.as_str());
    }
}

/// Within its phase the workload has the model that `run` gives it, and the annotation of the phase has its name.
fn model_and_phase_are_shown(scene: &Scene, trace: &Trace) {
    let Trace { workload, report, .. } = trace;
    // The first and the last window also cover the program's start and end.
    let (info, steady) = (catalog::WORKLOAD_INFO.name, trace.seen_seconds() - 8.0);
    let expr = format!("count_over_time({info}{{workload={workload:?}}}[{steady:.0}s])");
    let shown = scene.query(&expr, trace.last_seconds - 4.0);
    let models: Vec<&str> = shown.iter().map(|(labels, _)| labels["model"].as_str().unwrap()).collect();
    assert_eq!(models, [report.model.name.as_str()], "{workload}");
    let [phases, ..] = annotations();
    let marked = |at_seconds| scene.query(&Choice::all("4s").apply(&phases.expr), at_seconds);
    let expected = serde_json::json!({ "instance": scene.instance, "workload": workload, "phase": scene::PHASE });
    assert_eq!(marked(trace.middle_seconds), [(expected, 1.0)]);
    let others = marked(trace.first_seconds - 4.0);
    assert!(others.iter().all(|(labels, _)| labels["workload"] != *workload), "{workload} is marked before it began");
    println!("{workload}: {models:?} within its phase");
}
