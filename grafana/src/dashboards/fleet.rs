//! Fleet: many hosts, which of them is worth a closer look.

use schedscope::metrics::catalog;
use schedscope_ebpf::loss::Harm;

use super::{
    core_map,
    measures::{
        HOST, HOST_WORKLOAD, WORKLOAD, busy, busy_cpus, cpus, daemon_cpus, demand, losses, runnable, running, tracing_cpus,
    },
};
use crate::{
    dashboard::{Dashboard, Row},
    foreign,
    panel::{
        Panel, Unit,
        kinds::{alarm, lines, numbers_now, share_heatmap, stacked, stat, whole_number},
        table::table,
    },
    promql::{chosen, count, max, of_daemons, quantile, rate, rate_of, sum, top_ten},
};

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-fleet",
        title: "schedscope: fleet",
        description: "Every host at once: which of them is short of CPUs, and which workloads make it so.",
        rows: vec![
            Row::open("Hosts", hosts()),
            Row::open("Over time", over_time()).in_lines(&[2, 2]),
            Row::open("Workloads across hosts", workloads()).in_lines(&[3]),
            Row::folded("Versions", versions()),
        ],
    }
}

/// Runnable threads for each CPU of the hosts with the most of them.
fn longest_queues() -> String {
    top_ten(format_args!("{} / {}", runnable(HOST), cpus(HOST)))
}

fn wakeup_p99() -> String {
    quantile(0.99, &catalog::WORKLOAD_WAKEUP_LATENCY, HOST)
}

fn missing() -> String {
    sum(HOST, rate_of(losses(Harm::Missing)))
}

fn hosts() -> Vec<Panel> {
    vec![
        whole_number("Hosts that answer")
            .read("Daemons that were known in the last day and whose last scrape worked.")
            .look_next("Fewer than you run: the one beside it, and the targets page of Prometheus.")
            .query(sum("", of_daemons(&foreign::UP)), ""),
        alarm("Silent hosts", Unit::Short)
            .read("Daemons that were known in the last day and whose last scrape failed.")
            .look_next("Not 0: the targets page of Prometheus says which and why; on that host, `systemctl status schedscope`.")
            .query(format!("{} - {}", count("", of_daemons(&foreign::UP)), sum("", of_daemons(&foreign::UP))), ""),
        whole_number("CPUs")
            .read("CPUs of all chosen hosts together.")
            .look_next("How many of them are in use, beside it.")
            .query(cpus(""), ""),
        stat("CPUs in use", Unit::Share)
            .read("Share of all CPUs that have something to run.")
            .look_next("How it is spread over the hosts is in the table below.")
            .query(format!("({}) / {}", busy_cpus(), cpus("")), ""),
        numbers_now("Longest queues", Unit::Short)
            .read(
                "The hosts on which the most threads of the chosen workloads wait for a CPU, for each CPU that they have, over the \
                 last interval.",
            )
            .look_next("Above 1: on average every CPU has another thread waiting. Open the host's core map from the table below.")
            .query(longest_queues(), "{{instance}}")
            .sized(8, 4),
        host_table(),
    ]
}

fn host_table() -> Panel {
    table("Host by host", &[("instance", "Host")])
        .read(
            "One row per host that answers, over the last interval. In use and switches: of all its tasks. C, D, wake-up p99 \
                 and migrations: of the chosen workloads. Missing: observations lost per second. Tracing: share of one CPU.",
        )
        .look_next("A host with D well above C: click its name for its core map.")
        .column("CPUs", Unit::Short, cpus(HOST))
        .share("In use", busy(HOST))
        .mean("C", running(HOST))
        .mean("D", demand(HOST))
        .column("Wake-up p99", Unit::Seconds, wakeup_p99())
        .column("Switches", Unit::PerSecond, sum(HOST, rate(&catalog::CPU_SWITCHES)))
        .column("Migrations", Unit::PerSecond, sum(HOST, rate(&catalog::WORKLOAD_MIGRATIONS)))
        .column("Missing", Unit::PerSecond, missing())
        .column("Tracing", Unit::Share, format!("({}) + {}", tracing_cpus(), daemon_cpus(HOST)))
        .column("Names", Unit::Short, max(HOST, chosen(&catalog::WORKLOADS_NAMED)))
        .linked("Host", "Core map of this host", core_map::UID, "instance")
        .sorted_by("D")
}

fn over_time() -> Vec<Panel> {
    vec![
        share_heatmap("How busy each host is")
            .read("One row per host; the colour is the share of its CPUs with something to run.")
            .look_next("A host that differs from its peers: its core map shows which workload makes the difference.")
            .query(busy(HOST), "{{instance}}"),
        lines("Runnable threads for each CPU", Unit::Short)
            .read("Threads of the chosen workloads that wait for a CPU, for each CPU of the host; the ten highest at each point.")
            .look_next("Above 1 for long: the host is too small for what runs there. Which workload waits is in the row below.")
            .query(longest_queues(), "{{instance}}"),
        lines("Wake-up latency, p99", Unit::Seconds)
            .read(
                "99 of 100 wake-ups of the chosen workloads got a CPU in less than this, to within a factor of 2; the ten worst \
                 hosts at each point.",
            )
            .look_next("One host far above its peers: its scheduler latency dashboard.")
            .query(top_ten(wakeup_p99()), "{{instance}}"),
        lines("Missing observations", Unit::PerSecond)
            .read("Observations per second that are missing from the figures of each host. Should be 0.")
            .look_next("Not 0: the reason is on the daemon health dashboard of that host.")
            .query(missing(), "{{instance}}"),
    ]
}

fn workloads() -> Vec<Panel> {
    let alive = max(HOST_WORKLOAD, chosen(&catalog::WORKLOAD_PROCESSES));
    vec![
        stacked("C: CPUs in use, by workload", Unit::Short)
            .read("CPUs that each workload uses over all chosen hosts together; the ten largest at each point.")
            .look_next("Choose one workload above: the host table then shows where it runs.")
            .query(top_ten(running(WORKLOAD)), "{{workload}}"),
        stacked("Waiting for a CPU, by workload", Unit::Short)
            .read("Threads of each workload that wait for a CPU, over all chosen hosts together; the ten largest at each point.")
            .look_next("On which host, says the host table when you choose the workload.")
            .query(top_ten(runnable(WORKLOAD)), "{{workload}}"),
        numbers_now("Hosts with each workload", Unit::Short)
            .read("Number of hosts on which the workload has threads now; the ten with the most.")
            .look_next("Fewer than it should have: did it end somewhere? Its threads over time are on the models dashboard.")
            .query(top_ten(count(WORKLOAD, format_args!("{alive} > 0"))), "{{workload}}"),
    ]
}

fn versions() -> Vec<Panel> {
    vec![
        table("Version on each host", &[("instance", "Host"), ("version", "Version")])
            .read("Version of the daemon on each host.")
            .look_next("Different ones: figures whose meaning changed between them, see the changelog, cannot be compared.")
            .listing(max("instance, version", chosen(&catalog::BUILD_INFO)))
            .sized(12, 8),
    ]
}
