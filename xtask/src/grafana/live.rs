//! The dashboards on live data: a daemon, a workload of threads and one of processes, and a Prometheus that scrapes each second.
//!
//! [`scene`] sets this up once for all tests, [`expressions`] lists what is asked, the tests compare the answers with what
//! `schedscope run --json` measured of the same workloads.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod expressions;
mod scene;

use serde_json::Value;

use expressions::{Asked, Choice};
use scene::{Scene, Trace};

/// What gives nothing on a host without Python, and why.
const EMPTY: [(&str, &str); 1] =
    [("schedscope: models compared / Switch interval", "no Python thread has waited for the lock where there is no Python")];

#[test]
fn panels_rules_and_alerts_have_data_and_agree_with_run() {
    let Some(scene) = Scene::play() else { return };
    every_expression_gives_data(&scene);
    rules_and_alerts_are_evaluated(&scene);
    variables_offer_what_there_is(&scene);
    other_jobs_stay_out(&scene);
    for trace in [&scene.threads, &scene.processes].into_iter().chain(&scene.gil) {
        panels_show_what_run_reports(&scene, trace);
    }
}

/// Each at the end of the last run of threads.
fn every_expression_gives_data(scene: &Scene) {
    let choice = Choice { window: "10s".to_owned(), workload: ".+".to_owned() };
    let mut silent = Vec::new();
    let all = expressions::all();
    for Asked { what, expr } in &all {
        let at_seconds = scene.gil.as_ref().unwrap_or(&scene.threads).last_seconds;
        let series = scene.query(&choice.apply(expr), at_seconds);
        let has_data = series.iter().any(|(_, value)| value.is_finite());
        let may_be_empty = scene.gil.is_none() && EMPTY.iter().any(|(name, _)| what == name);
        if !has_data && !may_be_empty {
            silent.push(format!("{what}: {expr}"));
        }
    }
    println!("{} expressions asked, {} without data", all.len(), silent.len());
    assert!(silent.is_empty(), "{}", silent.join("\n"));
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
        let choice = Choice { window: String::new(), workload: ".+".to_owned() };
        let path = format!("label/{label}/values");
        let values = scene.prometheus.api(&path, &[("match[]", &choice.apply(&metric))]).unwrap();
        assert!(values.as_array().unwrap().iter().any(|value| value == expected), "{name} offers {values}");
    }
}

/// Prometheus scrapes itself here and the reader has chosen all jobs.
fn other_jobs_stay_out(scene: &Scene) {
    assert_eq!(scene.query("count(up)", scene.end_seconds)[0].1.to_string(), "2");
    let choice = Choice { window: "10s".to_owned(), workload: ".+".to_owned() };
    let figures = |dashboard, panel| {
        let exprs = expressions::of_panel(dashboard, panel);
        exprs.iter().flat_map(|expr| scene.query(&choice.apply(expr), scene.end_seconds)).collect::<Vec<_>>()
    };
    assert_eq!(figures("schedscope: fleet", "Hosts that answer")[0].1.to_string(), "1");
    assert_eq!(figures("schedscope: fleet", "Hosts that do not answer")[0].1.to_string(), "0");
    for (labels, _) in figures("schedscope: daemon health", "Open files") {
        assert_eq!(labels["instance"], scene.instance.as_str());
    }
}

/// A thread is running, runnable or blocked at every moment, so what the three panels lack together is the time of the threads
/// before the first and after the last scrape: by that much at most any of them may show less than the run had. No clock is
/// compared with another, so it holds whatever else the machine does.
fn panels_show_what_run_reports(scene: &Scene, trace: &Trace) {
    let (report, models) = (&trace.report, "schedscope: models compared");
    let threads = report.tasks.peak_threads as f64;
    let time = &report.time_seconds;
    let shown = |panel, reason| trace.sum(scene, models, panel, reason) * trace.seen_seconds();
    let (running, demand) = ("C: CPUs in use", "D: CPUs wanted");
    let (runnable, blocked) = ("Runnable and waiting for a CPU", "Blocked, by what threads wait for");
    let whole = time.on_cpu + time.runnable + time.blocked;
    let unseen = whole - shown(running, None) - shown(runnable, None) - shown(blocked, None);
    println!("{}: {unseen:.3} of {whole:.3} s of threads before the first or after the last scrape", trace.workload);
    assert!(unseen < 0.15 * whole, "{}: {unseen} of {whole} s unseen", trace.workload);
    let waits_for = |reason| report.blocked_seconds_by_reason.get(reason).copied().unwrap_or_default();
    for (panel, reason, total) in [
        (running, None, time.on_cpu),
        (demand, None, time.on_cpu + time.runnable),
        (runnable, None, time.runnable),
        (blocked, None, time.blocked),
        (blocked, Some("futex"), waits_for("futex")),
        (blocked, Some("gil"), waits_for("gil")),
        ("Waiting for Python's interpreter lock", None, waits_for("gil")),
    ] {
        let shown = shown(panel, reason);
        // Both read the intervals still open a little later than they say.
        let slack = 0.02 * threads;
        println!("{}: {panel} {reason:?}: {shown:.3} s of {total:.3} s", trace.workload);
        let (least, most) = (total - unseen - slack, total + slack);
        assert!((least..=most).contains(&shown), "{}: {panel}: {shown} s, run says {total} s", trace.workload);
    }
    let switches = report.switches.voluntary + report.switches.preempted + report.switches.yielded;
    let shown = shown("Context switches", None);
    println!("{}: {shown:.0} of {switches} context switches", trace.workload);
    assert!(shown <= switches as f64 && shown > 0.5 * switches as f64, "{}: {shown} of {switches}", trace.workload);
    let shown = trace.half_way(scene, models, "Threads");
    assert!((shown - threads).abs() < 0.5, "{}: {shown} of {threads} threads", trace.workload);
}
