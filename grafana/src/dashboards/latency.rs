//! Scheduler latency: how long threads wait for a CPU, how long they keep it, and how far they are moved.

use schedscope::metrics::catalog::{self, Metric};

use super::measures::{WORKLOAD, demand, runnable, running, switches};
use crate::dashboard::{Dashboard, Row};
use crate::panel::kinds::{bars, latency_heatmap, lines, stacked};
use crate::panel::{Panel, Unit};
use crate::promql::{bucket_increase, observations, quantile, rate, sum, top_ten};

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-latency",
        title: "schedscope: scheduler latency",
        description: "How long threads wait for a CPU, how long they keep it and how far they are moved.",
        rows: vec![
            Row::open("Who waits", who_waits()).in_lines(&[3]),
            Row::open("After a wake-up", wakeup()).in_lines(&[2, 2]),
            Row::open("After a preemption", preemption()).in_lines(&[2, 2]),
            Row::open("Migrations", migrations()).in_lines(&[3]),
            Row::folded("Timeslices", timeslices()).in_lines(&[2]),
        ],
    }
}

fn who_waits() -> Vec<Panel> {
    vec![
        lines("Share of the demand that is not met", Unit::Share)
            .read("Share of the time threads could run but had no CPU. 0 %: always a CPU. 50 %: twice as many threads as CPUs.")
            .look_next("High: the next two rows tell wake-ups from preemptions; the core map shows who has the CPUs.")
            .query(format!("{} / (({}) > 0.001)", runnable(WORKLOAD), demand(WORKLOAD)), "{{workload}}"),
        stacked("Runnable threads without a CPU", Unit::Short)
            .read("Mean number of threads that could run but wait, by what made them wait.")
            .look_next("wakeup: see the wake-up latency below. preemption: queues are long; see the preemption wait.")
            .query(sum("cause", rate(&catalog::WORKLOAD_RUNNABLE)), "{{cause}}"),
        stacked("Woken threads on the way to a run queue", Unit::Short)
            .read(
                "Mean number of threads that were woken and that no CPU had in its run queue yet: an interrupt is on its way, \
                 perhaps to an idle core that has to wake up first.",
            )
            .look_next("High beside idle cores: many short waits. Fewer, larger pieces of work help; more cores do not.")
            .query(top_ten(sum(WORKLOAD, rate(&catalog::WORKLOAD_TRANSIT))), "{{workload}}"),
    ]
}

/// The usual quantiles over all chosen workloads: nobody could tell three lines for each of thirty apart.
fn quantiles(title: &'static str, metric: &'static Metric) -> Panel {
    let query = |panel: Panel, (q, legend)| panel.query(quantile(q, metric, ""), legend);
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99")].into_iter().fold(lines(title, Unit::Seconds), query)
}

/// The workloads with the worst quantile.
fn worst(title: &'static str, metric: &'static Metric) -> Panel {
    lines(title, Unit::Seconds)
        .read("99 % were shorter than this, to a factor of 2; the ten worst workloads at each point.")
        .look_next("Choose the worst one at the top: every other panel then shows it alone.")
        .query(top_ten(quantile(0.99, metric, WORKLOAD)), "{{workload}}")
}

fn wakeup() -> Vec<Panel> {
    let metric = &catalog::WORKLOAD_WAKEUP_LATENCY;
    vec![
        quantiles("Wake-up latency", metric)
            .read(
                "From a blocked thread's first waking to its CPU, all chosen workloads together. Buckets double, so between 1 µs \
                 and 17 s a figure is right to a factor of 2; the heat map shows every bucket.",
            )
            .look_next("Above a few milliseconds: the cores are busy with others; the core map shows whom."),
        latency_heatmap("Wake-up latency, all observations")
            .read("The colour is the number of wake-ups with that latency around that time, over all chosen workloads.")
            .look_next("A second band has a second cause: choose workloads one by one to find whose it is.")
            .query(bucket_increase(metric), "{{le}}"),
        worst("Wake-up latency p99, by workload", metric),
        lines("Wake-ups that got a CPU", Unit::PerSecond)
            .read("Wake-ups per second of each workload. With few of them a quantile says little.")
            .look_next("Very many: the work comes in small pieces; see voluntary switches on the models dashboard.")
            .query(sum(WORKLOAD, observations(metric)), "{{workload}}"),
    ]
}

fn preemption() -> Vec<Panel> {
    let metric = &catalog::WORKLOAD_PREEMPTION_WAIT;
    vec![
        quantiles("Preemption wait", metric)
            .read("From losing the CPU while runnable to getting one again: about the queue's length times the timeslice.")
            .look_next("Long: fewer threads, or more CPUs. Spread wide: groups or priorities compete."),
        latency_heatmap("Preemption wait, all observations")
            .read("The colour is the number of waits of that length around that time.")
            .look_next("A rising band: the queue grows; compare D with the number of CPUs, on the core map.")
            .query(bucket_increase(metric), "{{le}}"),
        worst("Preemption wait p99, by workload", metric),
        lines("Preemptions and yields", Unit::PerSecond)
            .read("How often per second threads of the chosen workloads lost or gave up the CPU while they could go on.")
            .look_next("Near 0: the figures above rest on few waits. High with D near the number of CPUs: other programs compete.")
            .query(switches("preempted", ""), "preempted")
            .query(switches("yielded", ""), "yielded"),
    ]
}

fn migrations() -> Vec<Panel> {
    let metric = &catalog::WORKLOAD_MIGRATIONS;
    vec![
        stacked("Migrations by distance", Unit::PerSecond)
            .read("Moves to another core by what both share: smt (the core), llc (the cache), node (memory) or nothing (remote).")
            .look_next("smt and llc are cheap; node and remote lose the cache: pin, or bind to a node, and compare.")
            .query(sum("distance", rate(metric)), "{{distance}}"),
        stacked("Migrations by cause", Unit::PerSecond)
            .read("at_wakeup: a woken thread was put on another core. while_queued: a waiting thread was pulled to a freer core.")
            .look_next("at_wakeup: fewer, longer pieces of work help. while_queued: there are more runnable threads than cores.")
            .query(sum("cause", rate(metric)), "{{cause}}"),
        bars("Migrations per second of running", Unit::PerSecond)
            .read("How often threads change core per second of running, over the last interval.")
            .look_next("Above a few hundred caches hardly warm up: see the distance beside it.")
            .query(format!("{} / ({} > 0.001)", sum(WORKLOAD, rate(metric)), running(WORKLOAD)), "{{workload}}"),
    ]
}

fn timeslices() -> Vec<Panel> {
    let metric = &catalog::WORKLOAD_TIMESLICE;
    vec![
        quantiles("Timeslice", metric)
            .read("From getting a CPU to leaving it, for any reason, all chosen workloads together.")
            .look_next("Short slices with many voluntary switches: threads hand work to each other; see what they wait for."),
        latency_heatmap("Timeslices, all observations")
            .read("The colour is the number of slices of that length. A band at 5 ms under Python threads is the switch interval.")
            .look_next("A band at a few milliseconds with preemptions is the scheduler's slice: more threads than cores.")
            .query(bucket_increase(metric), "{{le}}"),
    ]
}
