//! Scheduler latency: how long threads wait for a CPU, for how long they keep it, and how far they are moved.

use schedscope::metrics::catalog::{self, Metric};

use super::measures::{WORKLOAD, demand, runnable, running, switches};
use crate::{
    dashboard::{Dashboard, Row},
    panel::{
        Panel, Text, Unit,
        kinds::{latency_heatmap, lines, numbers_now, stacked},
    },
    promql::{bucket_increase, observations, quantile, rate},
};

/// Lines of a panel, at most.
const SHOWN: u32 = 10;

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-latency",
        title: "schedscope: scheduler latency",
        description: "How long threads wait for a CPU, how long they keep it and how far they are moved.",
        rows: vec![
            Row::open("Who waits", who_waits()),
            Row::open("After a wake-up", wakeup()),
            Row::open("After a preemption", preemption()),
            Row::open("Migrations", migrations()),
            Row::folded("Timeslices", timeslices()),
        ],
    }
}

fn who_waits() -> Vec<Panel> {
    vec![
        lines(
            Unit::Share,
            Text {
                title: "Share of the demand that is not met",
                read: "Of the time in which a workload's threads could run, the part in which they had no CPU. 0 %: a CPU whenever \
                       they want one. 50 %: twice as many threads as CPUs for them.",
                next: "High: is it after wake-ups or after preemptions? The next two rows tell. Who has the CPUs is on the core map.",
            },
        )
        .query(&runnable(WORKLOAD).per(&demand(WORKLOAD).above(0.001)), "{{workload}}"),
        stacked(
            Unit::Short,
            Text {
                title: "Runnable threads without a CPU",
                read: "Mean number of threads that could run and wait, by what made them wait.",
                next: "wakeup: look at the wake-up latency below. preemption: the queues are long; look at the preemption wait.",
            },
        )
        .query(&rate(&catalog::WORKLOAD_RUNNABLE).sum_by(&["cause"]), "{{cause}}"),
    ]
}

/// Lines of the usual quantiles, all chosen workloads together: three for each of thirty could not be told apart.
fn quantiles(text: Text, metric: &'static Metric) -> Panel {
    let query = |panel: Panel, (q, legend)| panel.query(&quantile(q, metric, &[]), legend);
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99")].into_iter().fold(lines(Unit::Seconds, text), query).sized(12, 9)
}

/// The workloads with the worst quantile.
fn worst(title: &'static str, metric: &'static Metric) -> Panel {
    let text = Text {
        title,
        read: "99 of 100 were shorter than this, to within a factor of 2; the ten workloads with the longest at each point.",
        next: "Choose the worst one at the top: every other panel then shows it alone.",
    };
    lines(Unit::Seconds, text).query(&quantile(0.99, metric, WORKLOAD).largest(SHOWN, &[]), "{{workload}}").sized(12, 8)
}

fn wakeup() -> Vec<Panel> {
    let metric = &catalog::WORKLOAD_WAKEUP_LATENCY;
    vec![
        quantiles(
            Text {
                title: "Wake-up latency",
                read: "From the first waking of a blocked thread to its CPU, all chosen workloads together. The buckets double, so between \
                       1 µs and 17 s a figure is right to within a factor of 2; the heat map shows them all.",
                next: "Above a few milliseconds: the cores are busy with others; see who, on the core map.",
            },
            metric,
        ),
        latency_heatmap(Text {
            title: "Wake-up latency, all observations",
            read: "Time from left to right, latency upwards; the colour is the number of wake-ups of that latency around that time, \
                   over all chosen workloads.",
            next: "A second band is a second cause: choose one workload after the other to find whose it is.",
        })
        .query(&bucket_increase(metric), "{{le}}")
        .sized(12, 9),
        worst("Wake-up latency p99, by workload", metric),
        lines(
            Unit::PerSecond,
            Text {
                title: "Wake-ups that got a CPU",
                read: "Wake-ups per second of each workload. Few of them: a quantile above says little.",
                next: "Very many: the work comes in small pieces; see voluntary switches on the models dashboard.",
            },
        )
        .query(&observations(metric).sum_by(WORKLOAD), "{{workload}}")
        .sized(12, 8),
    ]
}

fn preemption() -> Vec<Panel> {
    let metric = &catalog::WORKLOAD_PREEMPTION_WAIT;
    vec![
        quantiles(
            Text {
                title: "Preemption wait",
                read: "From losing the CPU while runnable to getting one again, all chosen workloads together: about the length of the \
                       queue times the timeslice.",
                next: "Long: fewer threads, or more CPUs. Spread wide: groups or priorities compete.",
            },
            metric,
        ),
        latency_heatmap(Text {
            title: "Preemption wait, all observations",
            read: "Time from left to right, wait upwards; the colour is the number of waits of that length around that time.",
            next: "A band that climbs: the queue grows; compare D with the CPUs of the host, on the core map.",
        })
        .query(&bucket_increase(metric), "{{le}}")
        .sized(12, 9),
        worst("Preemption wait p99, by workload", metric),
        lines(
            Unit::PerSecond,
            Text {
                title: "Preemptions and yields",
                read: "How often per second threads of all chosen workloads lost or gave up the CPU while they could go on.",
                next: "Near 0: the figures above rest on few waits. High with D near the CPUs of the host: other programs compete.",
            },
        )
        .query(&switches(&["preempted"], &[]), "preempted")
        .query(&switches(&["yielded"], &[]), "yielded")
        .sized(12, 8),
    ]
}

fn migrations() -> Vec<Panel> {
    let metric = &catalog::WORKLOAD_MIGRATIONS;
    vec![
        stacked(
            Unit::PerSecond,
            Text {
                title: "Migrations by distance",
                read: "Moves to another core by what both share: smt (the core itself), llc (the last-level cache), node (memory), \
                       or nothing (remote).",
                next: "smt and llc are cheap; node and remote lose the cache: pin, or bind to a node, and compare.",
            },
        )
        .query(&rate(metric).sum_by(&["distance"]), "{{distance}}")
        .sized(8, 8),
        stacked(
            Unit::PerSecond,
            Text {
                title: "Migrations by cause",
                read: "at_wakeup: a woken thread was put on another core than its last. while_queued: a waiting thread was pulled to \
                       a core with less to do.",
                next: "at_wakeup: the price of short sleeps; fewer, longer pieces of work help. while_queued: there are more \
                       runnable threads than cores.",
            },
        )
        .query(&rate(metric).sum_by(&["cause"]), "{{cause}}")
        .sized(8, 8),
        numbers_now(
            Unit::PerSecond,
            Text {
                title: "Migrations per second of running",
                read: "How often a workload's threads change core for each second that they run, over the last interval.",
                next: "Above some hundred the caches hardly warm up: see the distance beside it.",
            },
        )
        .query(&rate(metric).sum_by(WORKLOAD).per(&running(WORKLOAD).above(0.001)), "{{workload}}")
        .sized(8, 8),
    ]
}

fn timeslices() -> Vec<Panel> {
    let metric = &catalog::WORKLOAD_TIMESLICE;
    vec![
        quantiles(
            Text {
                title: "Timeslice",
                read: "From getting a CPU to leaving it, for whatever reason, all chosen workloads together.",
                next: "Short slices with many voluntary switches: threads hand work to each other; see what they wait for.",
            },
            metric,
        ),
        latency_heatmap(Text {
            title: "Timeslices, all observations",
            read: "Time from left to right, length upwards; the colour is the number of slices around that time. A band near 5 ms under Python \
                   threads is the interpreter's switch interval.",
            next: "A band at a few milliseconds with preemptions above 0 is the scheduler's slice: more threads than cores.",
        })
        .query(&bucket_increase(metric), "{{le}}")
        .sized(12, 9),
    ]
}
