//! The dashboards on live data: a daemon, a workload of threads and one of processes, and a Prometheus that scrapes each second.
//!
//! [`scene`] sets this up once for all tests, [`expressions`] lists what is asked, the tests compare the answers with what
//! `schedscope run --json` measured of the same workloads.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod drawn;
mod expressions;
mod figures;
mod fleet;
mod lab;
mod scene;
mod store;

use std::collections::BTreeSet;

use schedscope::metrics::catalog;
use schedscope_grafana::variables::marks;
use serde_json::Value;

use expressions::Choice;
use scene::{Scene, Trace};

/// What gives nothing on a host without Python, and why.
const NEEDS_PYTHON: [(&str, &str); 1] =
    [("schedscope: models compared / Switch interval", "no Python thread has waited for the lock where there is no Python")];

#[test]
fn panels_rules_and_alerts_have_data_and_agree_with_run() {
    let Some(scene) = Scene::play() else { return };
    every_expression_gives_data(&scene);
    rules_and_alerts_are_evaluated(&scene);
    store::recorded_series_are_kept(&scene);
    variables_offer_what_there_is(&scene);
    other_jobs_stay_out(&scene);
    for trace in [&scene.threads, &scene.processes].into_iter().chain(&scene.gil) {
        figures::panels_show_what_run_reports(&scene, trace);
        model_and_phase_are_shown(&scene, trace);
    }
    drawn::panels_are_drawn(&scene);
}

/// Each at the end of the last run of threads.
fn every_expression_gives_data(scene: &Scene) {
    let choice = Choice::all("10s");
    let at_seconds = scene.gil.as_ref().unwrap_or(&scene.threads).last_seconds;
    let has_data = |expr: &str| scene.query(&choice.apply(expr), at_seconds).iter().any(|(_, value)| value.is_finite());
    let all = expressions::all();
    let silent: BTreeSet<&str> = all.iter().filter(|asked| !has_data(&asked.expr)).map(|asked| asked.what.as_str()).collect();
    println!("{} expressions asked, without data: {silent:?}", all.len());
    let excused = if scene.gil.is_some() { &[][..] } else { &NEEDS_PYTHON[..] };
    // Equal, so that a reason does not outlive what it excuses.
    assert_eq!(silent, excused.iter().map(|(what, _)| *what).collect());
}

/// Prometheus has evaluated each without an error, each recording has given series, and what each alert reads is there.
fn rules_and_alerts_are_evaluated(scene: &Scene) {
    let groups = scene.prometheus.api("rules", &[]).unwrap();
    let rules: Vec<&Value> =
        groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    let (recordings, alerts) = (schedscope_grafana::rules::recordings::all(), schedscope_grafana::rules::alerts::all());
    assert_eq!(rules.len(), recordings.len() + alerts.len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{}: {}", rule["name"], rule["lastError"]);
    }
    let now = scene.end_seconds;
    for recording in recordings {
        assert!(!scene.query(&recording.name, now).is_empty(), "{} has recorded nothing", recording.name);
    }
    for alert in alerts {
        for selector in expressions::selectors(&alert.expr.to_string()) {
            // A range is given by the rate around it; here only the presence counts.
            assert!(!scene.query(&selector, now).is_empty(), "{}: no {selector}", alert.name);
        }
    }
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

/// Prometheus scrapes itself and the lab here, and the reader has chosen all jobs.
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

/// Within its phase the workload has the model that run gives it, and the mark of the phase has its name.
fn model_and_phase_are_shown(scene: &Scene, trace: &Trace) {
    let Trace { workload, report, .. } = trace;
    // The first window and the last also show how the program starts and ends.
    let (info, steady) = (catalog::WORKLOAD_INFO.name, trace.seen_seconds() - 8.0);
    let expr = format!("count_over_time({info}{{workload={workload:?}}}[{steady:.0}s])");
    let shown = scene.query(&expr, trace.last_seconds - 4.0);
    let models: Vec<&str> = shown.iter().map(|(labels, _)| labels["model"].as_str().unwrap()).collect();
    assert_eq!(models, [report.model.name.as_str()], "{workload}");
    let [phases, ..] = marks();
    let marked = |at_seconds| scene.query(&Choice::all("4s").apply(&phases.expr.to_string()), at_seconds);
    let expected = serde_json::json!({ "instance": scene.instance, "workload": workload, "phase": scene::PHASE });
    assert_eq!(marked(trace.middle_seconds), [(expected, 1.0)]);
    let others = marked(trace.first_seconds - 4.0);
    assert!(others.iter().all(|(labels, _)| labels["workload"] != *workload), "{workload} is marked before it began");
    println!("{workload}: {models:?} within its phase");
}
