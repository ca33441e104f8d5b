//! What panels show of a workload, compared with what `schedscope run --json` says of it.

use std::ops::RangeInclusive;

use schedscope_ebpf::blocked::Reason;

use super::{
    expressions::of_panel,
    scene::{Scene, Trace},
};

const MODELS: &str = "schedscope: models compared";
const CORE_MAP: &str = "schedscope: core map";
const LATENCY: &str = "schedscope: scheduler latency";
const RUNNABLE: &str = "Runnable and waiting for a CPU";
const BLOCKED: &str = "Blocked, by what threads wait for";

/// A thread is running, runnable or blocked at every moment, so what the three panels lack together is the threads' time before the
/// first and after the last scrape. No panel may show less than the run by more than that. No two clocks are compared, so this
/// holds whatever else the machine does.
pub(super) fn panels_show_what_run_reports(scene: &Scene, trace: &Trace) {
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
