//! Fleet: many hosts, which of them is worth a closer look.

use schedscope::metrics::catalog;

use super::{
    core_map,
    measures::{HOST, WORKLOAD, busy, busy_cpus, cpus, daemon_cpus, demand, missing, runnable, running, tracing_cpus},
};
use crate::{
    dashboard::{Dashboard, Row},
    foreign,
    panel::{
        Panel, Text, Unit,
        kinds::{alarm, count, lines, numbers_now, share_heatmap, stacked, stat},
        table::table,
    },
    promql::{Expr, quantile, rate, value},
};

/// Lines or bars of a panel, at most.
const SHOWN: u32 = 10;

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-fleet",
        title: "schedscope: fleet",
        description: "Every host at once: which of them is short of CPUs, and which workloads make it so.",
        rows: vec![
            Row::open("Hosts", hosts()),
            Row::open("Over time", over_time()),
            Row::open("Workloads across hosts", workloads()),
            Row::folded("Versions", versions()),
        ],
    }
}

/// Runnable threads for each CPU of the host.
fn queue_per_cpu() -> Expr {
    runnable(HOST).per(&cpus(HOST))
}

fn wakeup_p99(labels: &[&'static str]) -> Expr {
    quantile(0.99, &catalog::WORKLOAD_WAKEUP_LATENCY, labels)
}

fn hosts() -> Vec<Panel> {
    vec![
        count(Text {
            title: "Hosts that answer",
            read: "Daemons that were known in the last day and whose last scrape worked.",
            next: "Fewer than you run: the one beside it, and the targets page of Prometheus.",
        })
        .query(&value(&foreign::UP).sum_by(&[]), ""),
        alarm(
            Unit::Short,
            Text {
                title: "Silent hosts",
                read: "Daemons that were known in the last day and whose last scrape failed.",
                next: "Not 0: the targets page of Prometheus says which and why; on that host, `systemctl status schedscope`.",
            },
        )
        .query(&value(&foreign::UP).count_by(&[]).minus(&value(&foreign::UP).sum_by(&[])), ""),
        count(Text { title: "CPUs", read: "CPUs of all chosen hosts together.", next: "How many of them are in use, beside it." })
            .query(&cpus(&[]), ""),
        stat(
            Unit::Share,
            Text {
                title: "CPUs in use",
                read: "Share of all CPUs that have something to run.",
                next: "How it is spread over the hosts is in the table below.",
            },
        )
        .query(&busy_cpus(&[]).per(&cpus(&[])), ""),
        numbers_now(
            Unit::Short,
            Text {
                title: "Longest queues",
                read: "The hosts on which the most threads of the chosen workloads wait for a CPU, for each CPU that they have, over \
                       the last interval.",
                next: "Above 1: on average every CPU has another thread waiting. Open the host's core map from the table below.",
            },
        )
        .query(&queue_per_cpu().largest(SHOWN, &[]), "{{instance}}")
        .sized(8, 4),
        host_table(),
    ]
}

fn host_table() -> Panel {
    table(
        Text {
            title: "Host by host",
            read: "One row per host that answers, over the last interval. In use and switches: of all its tasks. C, D, wake-up p99 and \
                   migrations: of the chosen workloads. Missing: observations lost per second. Tracing: share of one CPU.",
            next: "A host with D well above C: click its name for its core map.",
        },
        &[("instance", "Host")],
    )
    .column("CPUs", Unit::Short, &cpus(HOST))
    .share("In use", &busy(HOST))
    .mean("C", &running(HOST))
    .mean("D", &demand(HOST))
    .column("Wake-up p99", Unit::Seconds, &wakeup_p99(HOST))
    .column("Switches", Unit::PerSecond, &rate(&catalog::CPU_SWITCHES).sum_by(HOST))
    .column("Migrations", Unit::PerSecond, &rate(&catalog::WORKLOAD_MIGRATIONS).sum_by(HOST))
    .column("Missing", Unit::PerSecond, &missing().sum_by(HOST))
    .column("Tracing", Unit::Share, &tracing_cpus().plus(&daemon_cpus(HOST)))
    .column("Names", Unit::Short, &value(&catalog::WORKLOADS_NAMED).max_by(HOST))
    .linked("Host", "Core map of this host", core_map::UID, "instance")
    .sorted_by("D")
    .sized(24, 9)
}

fn over_time() -> Vec<Panel> {
    vec![
        share_heatmap(Text {
            title: "How busy each host is",
            read: "One row per host; the colour is the share of its CPUs with something to run.",
            next: "A host that differs from its peers: its core map shows which workload makes the difference.",
        })
        .query(&busy(HOST), "{{instance}}"),
        lines(
            Unit::Short,
            Text {
                title: "Runnable threads for each CPU",
                read: "Threads of the chosen workloads that wait for a CPU, for each CPU of the host; the ten highest at each point.",
                next: "Above 1 for long: the host is too small for what runs there. Which workload waits is in the row below.",
            },
        )
        .query(&queue_per_cpu().largest(SHOWN, &[]), "{{instance}}"),
        lines(
            Unit::Seconds,
            Text {
                title: "Wake-up latency, p99",
                read: "99 of 100 wake-ups of the chosen workloads got a CPU in less than this, to within a factor of 2; the ten worst \
                       hosts at each point.",
                next: "One host far above its peers: its scheduler latency dashboard.",
            },
        )
        .query(&wakeup_p99(HOST).largest(SHOWN, &[]), "{{instance}}"),
        lines(
            Unit::PerSecond,
            Text {
                title: "Missing observations",
                read: "Observations per second that are missing from the figures of each host. Should be 0.",
                next: "Not 0: the reason is on the daemon health dashboard of that host.",
            },
        )
        .query(&missing().sum_by(HOST), "{{instance}}"),
    ]
}

fn workloads() -> Vec<Panel> {
    vec![
        stacked(
            Unit::Short,
            Text {
                title: "C: CPUs in use, by workload",
                read: "CPUs that each workload uses over all chosen hosts together; the ten largest at each point.",
                next: "Choose one workload above: the host table then shows where it runs.",
            },
        )
        .query(&running(WORKLOAD).largest(SHOWN, &[]), "{{workload}}")
        .sized(8, 8),
        stacked(
            Unit::Short,
            Text {
                title: "Waiting for a CPU, by workload",
                read: "Threads of each workload that wait for a CPU, over all chosen hosts together; the ten largest at each point.",
                next: "On which host, says the host table when you choose the workload.",
            },
        )
        .query(&runnable(WORKLOAD).largest(SHOWN, &[]), "{{workload}}")
        .sized(8, 8),
        numbers_now(
            Unit::Short,
            Text {
                title: "Hosts with each workload",
                read: "Number of hosts on which the workload has threads now; the ten with the most.",
                next: "Fewer than it should have: did it end somewhere? Its threads over time are on the models dashboard.",
            },
        )
        .query(
            &value(&catalog::WORKLOAD_PROCESSES)
                .max_by(&["instance", "workload"])
                .above(0.0)
                .count_by(WORKLOAD)
                .largest(SHOWN, &[]),
            "{{workload}}",
        )
        .sized(8, 8),
    ]
}

fn versions() -> Vec<Panel> {
    vec![
        table(
            Text {
                title: "Version on each host",
                read: "Version of the daemon on each host.",
                next: "Different ones: figures whose meaning changed between them, see the changelog, cannot be compared.",
            },
            &[("instance", "Host"), ("version", "Version")],
        )
        .listing(&value(&catalog::BUILD_INFO).max_by(&["instance", "version"])),
    ]
}
