//! The dashboards on live data: a daemon, workloads of threads and of processes, and a Prometheus that scrapes every second.
//!
//! [`scene`] sets this up once, and what Prometheus answers is compared with what `schedscope run --json` measured of the same
//! workloads.
mod fleet;
mod lab;
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use scene::{Choice, Scene, Trace, of_panel, wait_until};
use schedscope::lab::serve::prometheus::Prometheus;
use schedscope::metrics::catalog;
use schedscope_ebpf::blocked::Reason;
use schedscope_grafana::dashboards;
use schedscope_grafana::rules::{alerts, recordings};
use schedscope_grafana::variables::{annotations, choices};
use serde_json::{Value, json};

use super::panels::{self, Page};
use crate::workspace::{find_program, run, target_dir};

/// Names under which the browser is packaged.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const MODELS: &str = "schedscope: models compared";
const CORE_MAP: &str = "schedscope: core map";
const LATENCY: &str = "schedscope: scheduler latency";
const RUNNABLE: &str = "Runnable and waiting for a CPU";
const BLOCKED: &str = "Blocked, by what threads wait for";

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
        panels_show_what_run_reports(&scene, trace);
        model_and_phase_are_shown(&scene, trace);
    }
    panels_are_drawn(&scene);
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
        let choice = choices().into_iter().find(|choice| choice.name == name).unwrap();
        let series = Choice::all("").apply(&choice.series);
        let values = scene.prometheus.api(&format!("label/{name}/values"), &[("match[]", &series)]).unwrap();
        assert!(values.as_array().unwrap().iter().any(|value| value == expected), "{name} offers {values}");
    }
}

/// Prometheus also scrapes itself and the lab here, and the reader has chosen all jobs.
fn other_jobs_stay_out(scene: &Scene) {
    assert_eq!(scene.query("count(up)", scene.end_seconds)[0].1.to_string(), "3");
    let choice = Choice::all("10s");
    let figures = |dashboard, panel| {
        let exprs = of_panel(dashboard, panel);
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
    let expected = json!({ "instance": scene.instance, "workload": workload, "phase": scene::PHASE });
    assert_eq!(marked(trace.middle_seconds), [(expected, 1.0)]);
    let others = marked(trace.first_seconds - 4.0);
    assert!(others.iter().all(|(labels, _)| labels["workload"] != *workload), "{workload} is marked before it began");
    println!("{workload}: {models:?} within its phase");
}

/// A thread is running, runnable or blocked at every moment, so what the three panels lack together is the threads' time before the
/// first and after the last scrape. No panel may show less than the run by more than that. No two clocks are compared, so this
/// holds whatever else the machine does.
fn panels_show_what_run_reports(scene: &Scene, trace: &Trace) {
    let (report, threads) = (&trace.report, trace.report.tasks.peak_threads as f64);
    let time = &report.time_seconds;
    let whole = time.on_cpu + time.runnable + time.blocked;
    let seen: f64 = ["C: CPUs in use", RUNNABLE, BLOCKED].iter().map(|panel| total(scene, trace, MODELS, panel, None)).sum();
    let unseen = whole - seen;
    check(trace, "time of threads before the first or after the last scrape", unseen, 0.0, f64::NEG_INFINITY..=0.15 * whole);

    let (demand, blocked) = (time.on_cpu + time.runnable, |reason| blocked_for(trace, reason));
    let mut times = vec![
        (MODELS, "C: CPUs in use", None, time.on_cpu),
        (MODELS, "D: CPUs wanted", None, demand),
        (MODELS, RUNNABLE, None, time.runnable),
        (MODELS, BLOCKED, None, time.blocked),
        (MODELS, "Waiting for Python's interpreter lock", None, blocked(Reason::Gil)),
        (CORE_MAP, "C: CPUs in use by workload", None, time.on_cpu),
        (CORE_MAP, "D: CPUs wanted by workload", None, demand),
    ];
    times.extend(Reason::ALL.map(|reason| (MODELS, BLOCKED, Some(("reason", reason.name().to_owned())), blocked(reason))));
    times.extend(report.on_cpu_seconds_by_cpu.iter().map(|(cpu, seconds)| {
        (CORE_MAP, "Workload by core", Some(("cpu", format!("{} CPU {cpu:0>3}", scene.instance))), *seconds)
    }));
    // Both read open intervals a little later than they say.
    let slack = 0.02 * threads;
    for (dashboard, panel, only, expected) in times {
        let shown = total(scene, trace, dashboard, panel, only.as_ref());
        check(trace, &format!("seconds of {panel} {only:?}"), shown, expected, expected - unseen - slack..=expected + slack);
    }
    counts(scene, trace);
    over_time(scene, trace, whole, unseen + slack);
    let half_way = trace.choice().apply(&of_panel(MODELS, "Threads")[0]);
    check(trace, "threads", scene.query(&half_way, trace.middle_seconds)[0].1, threads, threads - 0.5..=threads + 0.5);
    let (shown, expected) = (trace.sum(scene, MODELS, "Effective CPUs", None), report.parallelism.effective_cpus);
    // The unseen time of one CPU can change the spread by as much.
    check(trace, "effective CPUs", shown, expected, 0.9 * expected..=1.1 * expected);
}

/// The tables over the chosen time. They are off by as much as the threads' time that no scrape saw.
fn over_time(scene: &Scene, trace: &Trace, whole: f64, slack: f64) {
    let time = &trace.report.time_seconds;
    for (heading, seconds) in [
        ("Running", time.on_cpu),
        ("Waiting for a CPU", time.runnable),
        ("GIL", blocked_for(trace, Reason::Gil)),
        ("Lock", blocked_for(trace, Reason::Futex)),
        ("Child", blocked_for(trace, Reason::ChildWait)),
    ] {
        let shown = trace.cell(scene, MODELS, "Where the time of the threads went", heading);
        check(trace, heading, shown, seconds / whole, (seconds - slack) / whole..=(seconds + slack) / whole);
    }
    let cell = |heading| trace.cell(scene, MODELS, "What each did in the chosen time", heading);
    check(trace, "CPU time", cell("CPU time"), time.on_cpu, time.on_cpu - slack..=time.on_cpu + slack);
    // The peak is at least the mean, except for what the last windows reach beyond the workload's end.
    let (running, mean) = (cell("C at most"), trace.sum(scene, MODELS, "C: CPUs in use", None));
    check(trace, "C at most", running, mean, 0.95 * mean..=f64::INFINITY);
    check(trace, "D at most", cell("D at most"), running, running - 1e-6..=f64::INFINITY);
    let switches = (trace.report.switches.voluntary + trace.report.switches.preempted) as f64 / time.on_cpu;
    let shown = cell("Voluntary switches") + cell("Preemptions");
    check(trace, "switches a second on a CPU", shown, switches, 0.5 * switches..=2.0 * switches);
}

/// Counts never exceed the run's. How many are missing depends on how fast they came while no scrape saw the workload, which on a
/// shared host can be several times the mean: at least half of all switches must be there.
fn counts(scene: &Scene, trace: &Trace) {
    let (switches, migrations) = (&trace.report.switches, &trace.report.migrations);
    let kind = |name: &str| Some(("kind", name.to_owned()));
    for (dashboard, panel, only, count) in [
        (MODELS, "Context switches", kind("voluntary"), switches.voluntary),
        (MODELS, "Context switches", kind("preempted"), switches.preempted),
        (MODELS, "Context switches", kind("yielded"), switches.yielded),
        (MODELS, "Migrations", None, migrations.total),
        (LATENCY, "Migrations by distance", None, migrations.total),
    ] {
        let shown = total(scene, trace, dashboard, panel, only.as_ref());
        check(trace, &format!("{panel} {only:?}"), shown, count as f64, 0.0..=count as f64 + 0.5);
    }
    let all = (switches.voluntary + switches.preempted + switches.yielded) as f64;
    check(trace, "all switches", total(scene, trace, MODELS, "Context switches", None), all, 0.5 * all..=all + 0.5);
}

/// What a panel of rates adds up to over the time that was seen.
fn total(scene: &Scene, trace: &Trace, dashboard: &str, panel: &str, only: Option<&(&str, String)>) -> f64 {
    trace.sum(scene, dashboard, panel, only) * trace.seen_seconds()
}

fn blocked_for(trace: &Trace, reason: Reason) -> f64 {
    trace.report.blocked_seconds_by_reason.get(reason.name()).copied().unwrap_or_default()
}

fn check(trace: &Trace, what: &str, shown: f64, expected: f64, allowed: RangeInclusive<f64>) {
    println!("{}: {what} {shown:.3}, to be compared with {expected:.3}", trace.workload);
    assert!(allowed.contains(&shown), "{}: {what} {shown}, to be compared with {expected}: allowed is {allowed:?}", trace.workload);
}

/// By Grafana's own libraries: opened, clicked and read in a browser by `grafana/panels/tests`.
fn panels_are_drawn(scene: &Scene) {
    let Some(browser) = BROWSERS.into_iter().find_map(find_program) else {
        println!("skipped: no browser; the package chromium has one");
        return;
    };
    if let Err(error) = panels::check_node() {
        println!("skipped: {error:#}");
        return;
    }
    let page = Page::build().unwrap();
    let server = page.serve(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let traces = [&scene.threads, &scene.processes].into_iter().chain(&scene.gil);
    let described = json!(traces.map(description).collect::<Vec<_>>()).to_string();
    let mut node = page.node();
    node.args(["--test", "--test-reporter=spec"]).arg(page.served().join("tests/panels.test.mjs")).envs([
        ("PAGE", format!("http://{}/", server.address)),
        ("PROMETHEUS", scene.prometheus.url()),
        ("PICTURES", target_dir().join("grafana/pictures").display().to_string()),
        ("CHROMIUM", browser.display().to_string()),
        ("SCENE", described),
    ]);
    run(&mut node).unwrap();
}

fn description(trace: &Trace) -> Value {
    let Trace { workload, report, first_seconds, middle_seconds, last_seconds } = trace;
    json!({
        "name": workload,
        "model": report.model.name,
        "threads": report.tasks.peak_threads,
        "c": report.parallelism.running_mean,
        "d": report.parallelism.demand_mean,
        "from": first_seconds,
        "middle": middle_seconds,
        "to": last_seconds,
    })
}
