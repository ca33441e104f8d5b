//! What panels show of a workload beside what `schedscope run --json` says of it.

use std::collections::BTreeMap;

use schedscope::metrics::catalog::SWITCH_KINDS;
use schedscope_ebpf::blocked::Reason;

use super::scene::{Scene, Trace};

const MODELS: &str = "schedscope: models compared";
const CORE_MAP: &str = "schedscope: core map";
const LATENCY: &str = "schedscope: scheduler latency";

/// A thread is running, runnable or blocked at every moment, so what the three panels lack together is the time of the threads
/// before the first and after the last scrape: by that much at most any of them may show less than the run had. No clock is
/// compared with another, so it holds whatever else the machine does.
pub(super) fn panels_show_what_run_reports(scene: &Scene, trace: &Trace) {
    let (report, threads) = (&trace.report, trace.report.tasks.peak_threads as f64);
    let time = &report.time_seconds;
    let shown = |dashboard: &str, panel: &str, only: Option<&(&str, String)>| {
        trace.sum(scene, dashboard, panel, only) * trace.seen_seconds()
    };
    let (runnable, blocked) = ("Runnable and waiting for a CPU", "Blocked, by what threads wait for");
    let whole = time.on_cpu + time.runnable + time.blocked;
    let seen: f64 = ["C: CPUs in use", runnable, blocked].iter().map(|panel| shown(MODELS, panel, None)).sum();
    let unseen = whole - seen;
    println!("{}: {unseen:.3} of {whole:.3} s of threads before the first or after the last scrape", trace.workload);
    assert!(unseen < 0.15 * whole, "{}: {unseen} of {whole} s unseen", trace.workload);

    let demand = time.on_cpu + time.runnable;
    let gil = report.blocked_seconds_by_reason.get(Reason::Gil.name()).copied().unwrap_or_default();
    let mut times = vec![
        (MODELS, "C: CPUs in use", None, time.on_cpu),
        (MODELS, "D: CPUs wanted", None, demand),
        (MODELS, runnable, None, time.runnable),
        (MODELS, blocked, None, time.blocked),
        (MODELS, "Waiting for Python's interpreter lock", None, gil),
        (CORE_MAP, "C: CPUs in use by workload", None, time.on_cpu),
        (CORE_MAP, "D: CPUs wanted by workload", None, demand),
    ];
    for reason in Reason::ALL {
        let total = report.blocked_seconds_by_reason.get(reason.name()).copied().unwrap_or_default();
        times.push((MODELS, blocked, Some(("reason", reason.name().to_owned())), total));
    }
    for (cpu, seconds) in &report.on_cpu_seconds_by_cpu {
        times.push((CORE_MAP, "Workload by core", Some(("cpu", format!("{} CPU {cpu:0>3}", scene.instance))), *seconds));
    }
    for (dashboard, panel, only, total) in times {
        let shown = shown(dashboard, panel, only.as_ref());
        // Both read the intervals still open a little later than they say.
        let slack = 0.02 * threads;
        println!("{}: {panel} {only:?}: {shown:.3} s of {total:.3} s", trace.workload);
        let (least, most) = (total - unseen - slack, total + slack);
        assert!((least..=most).contains(&shown), "{}: {panel} {only:?}: {shown} s, run says {total} s", trace.workload);
    }
    counts(scene, trace);
    over_time(scene, trace, unseen);
    let shown = trace.half_way(scene, MODELS, "Threads");
    assert!((shown - threads).abs() < 0.5, "{}: {shown} of {threads} threads", trace.workload);
    let (shown, expected) = (trace.sum(scene, MODELS, "Effective CPUs", None), report.parallelism.effective_cpus);
    println!("{}: {shown:.3} effective CPUs, run says {expected:.3}", trace.workload);
    // By as much as the unseen time of one CPU can change the spread.
    assert!((shown - expected).abs() < 0.1 * expected, "{}: {shown} of {expected} effective CPUs", trace.workload);
}

/// The tables over the chosen time. A share is off by as much as the part of the threads' time that no scrape saw.
fn over_time(scene: &Scene, trace: &Trace, unseen: f64) {
    let report = &trace.report;
    let time = &report.time_seconds;
    let whole = time.on_cpu + time.runnable + time.blocked;
    let blocked = |reasons: &[Reason]| -> f64 {
        reasons.iter().filter_map(|reason| report.blocked_seconds_by_reason.get(reason.name())).sum()
    };
    let slack = (unseen + 0.02 * report.tasks.peak_threads as f64) / whole;
    for (heading, seconds) in [
        ("Running", time.on_cpu),
        ("Waiting for a CPU", time.runnable),
        ("GIL", blocked(&[Reason::Gil])),
        ("Lock", blocked(&[Reason::Futex])),
        ("Child", blocked(&[Reason::ChildWait])),
    ] {
        let (shown, expected) = (trace.cell(scene, MODELS, "Where the time of the threads went", heading), seconds / whole);
        println!("{}: {heading} {shown:.4} of the threads' time, run says {expected:.4}", trace.workload);
        assert!((shown - expected).abs() <= slack, "{}: {heading} {shown}, run says {expected}", trace.workload);
    }
    let cell = |heading| trace.cell(scene, MODELS, "What each did in the chosen time", heading);
    let shown = cell("CPU time");
    let (least, most) = (time.on_cpu - unseen - slack * whole, time.on_cpu + slack * whole);
    assert!((least..=most).contains(&shown), "{}: {shown} s of CPU time, run says {}", trace.workload, time.on_cpu);
    // The highest point is no less than the mean of the whole time, but for what the last windows reach beyond it.
    let (running, demand) = (cell("C at most"), cell("D at most"));
    let mean = trace.sum(scene, MODELS, "C: CPUs in use", None);
    println!("{}: C at most {running:.3}, mean {mean:.3}, D at most {demand:.3}", trace.workload);
    assert!(running > 0.95 * mean && demand >= running - 1e-6, "{}: C at most {running}, D {demand}", trace.workload);
    let switches = (report.switches.voluntary + report.switches.preempted) as f64 / time.on_cpu;
    let shown = cell("Voluntary switches") + cell("Preemptions");
    println!("{}: {shown:.1} switches a second on a CPU, run says {switches:.1}", trace.workload);
    assert!(shown > 0.5 * switches && shown < 2.0 * switches, "{}: {shown}, run says {switches}", trace.workload);
}

/// Counts are never more than the run's. How many are missing depends on how fast they came while no scrape saw the workload, which
/// on a shared host can be several times the mean: at least half of all switches must be there.
fn counts(scene: &Scene, trace: &Trace) {
    let (switches, migrations) = (&trace.report.switches, &trace.report.migrations);
    let by_kind =
        BTreeMap::from([("voluntary", switches.voluntary), ("preempted", switches.preempted), ("yielded", switches.yielded)]);
    assert_eq!(by_kind.len(), SWITCH_KINDS.len());
    let all = by_kind.values().sum::<u64>();
    let mut counts: Vec<_> =
        by_kind.into_iter().map(|(kind, total)| (MODELS, "Context switches", Some(("kind", kind.to_owned())), total)).collect();
    counts.push((MODELS, "Migrations", None, migrations.total));
    counts.push((LATENCY, "Migrations by distance", None, migrations.total));
    for (dashboard, panel, only, total) in counts {
        let shown = trace.sum(scene, dashboard, panel, only.as_ref()) * trace.seen_seconds();
        println!("{}: {panel} {only:?}: {shown:.0} of {total}", trace.workload);
        assert!(shown <= total as f64 + 0.5, "{}: {panel} {only:?}: {shown}, run says {total}", trace.workload);
    }
    let shown = trace.sum(scene, MODELS, "Context switches", None) * trace.seen_seconds();
    assert!(shown > 0.5 * all as f64, "{}: {shown} of {all} switches", trace.workload);
}
