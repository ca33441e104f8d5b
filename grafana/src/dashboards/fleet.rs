//! Fleet: many hosts, and which of them deserve a closer look.

use schedscope::metrics::catalog;
use schedscope_ebpf::loss::Harm;

use super::core_map;
use super::measures::{
    HOST, HOST_WORKLOAD, WORKLOAD, busy, busy_cpus, cpus, daemon_cpus, demand, losses, runnable, running, tracing_cpus,
};
use crate::dashboard::{Dashboard, Row};
use crate::foreign;
use crate::panel::kinds::{alarm, bars, lines, share_heatmap, stacked, stat, table, whole_number};
use crate::panel::{Panel, Unit};
use crate::promql::{chosen, count, max, of_daemons, quantile, rate, rate_of, sum, top_ten};

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

/// Runnable threads per CPU, of the hosts with the most.
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
            .read("Daemons seen in the last day whose last scrape succeeded.")
            .look_next("Fewer than you run: see the next panel, and the targets page of Prometheus.")
            .query(sum("", of_daemons(&foreign::UP)), ""),
        alarm("Silent hosts", Unit::Short)
            .read("Daemons seen in the last day whose last scrape failed.")
            .look_next("Not 0: the targets page of Prometheus says which and why; on the host, try `systemctl status schedscope`.")
            .query(format!("{} - {}", count("", of_daemons(&foreign::UP)), sum("", of_daemons(&foreign::UP))), ""),
        whole_number("CPUs")
            .read("CPUs of all chosen hosts together.")
            .look_next("CPUs in use, next to this panel.")
            .query(cpus(""), ""),
        stat("CPUs in use", Unit::Share)
            .read("Share of all CPUs with something to run.")
            .look_next("The table below breaks it down by host.")
            .query(format!("({}) / {}", busy_cpus(), cpus("")), ""),
        bars("Longest queues", Unit::Short)
            .read("Hosts with the most waiting threads of the chosen workloads per CPU, over the last interval.")
            .look_next("Above 1: on average every CPU has another thread waiting. Open the host's core map from the table below.")
            .query(longest_queues(), "{{instance}}")
            .sized(8, 4),
        host_table(),
    ]
}

fn host_table() -> Panel {
    table("Host by host", &[("instance", "Host")])
        .read(
            "One row per host that answers, over the last interval. In use and Switches count every task; C, D, Wake-up p99 and \
             Migrations only the chosen workloads. Missing: observations lost per second. Tracing: share of one CPU.",
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
            .look_next("A host unlike its peers: its core map shows which workload makes the difference.")
            .query(busy(HOST), "{{instance}}"),
        lines("Runnable threads for each CPU", Unit::Short)
            .read("Threads of the chosen workloads waiting for a CPU, per CPU of the host; the ten highest at each point.")
            .look_next("Above 1 for long: the host is too small for its work. The row below shows which workload waits.")
            .query(longest_queues(), "{{instance}}"),
        lines("Wake-up latency, p99", Unit::Seconds)
            .read("99 % of wake-ups got a CPU within this time, to a factor of 2; the ten worst hosts at each point.")
            .look_next("One host far above its peers: see its scheduler latency dashboard.")
            .query(top_ten(wakeup_p99()), "{{instance}}"),
        lines("Missing observations", Unit::PerSecond)
            .read("Observations per second missing from each host's figures. Should be 0.")
            .look_next("Not 0: the reason is on that host's daemon health dashboard.")
            .query(missing(), "{{instance}}"),
    ]
}

fn workloads() -> Vec<Panel> {
    let alive = max(HOST_WORKLOAD, chosen(&catalog::WORKLOAD_PROCESSES));
    vec![
        stacked("C: CPUs in use, by workload", Unit::Short)
            .read("CPUs each workload uses on all chosen hosts together; the ten largest at each point.")
            .look_next("Choose one workload at the top: the host table then shows where it runs.")
            .query(top_ten(running(WORKLOAD)), "{{workload}}"),
        stacked("Waiting for a CPU, by workload", Unit::Short)
            .read("Threads of each workload waiting for a CPU on all chosen hosts; the ten largest at each point.")
            .look_next("Choose the workload at the top: the host table then shows where it waits.")
            .query(top_ten(runnable(WORKLOAD)), "{{workload}}"),
        bars("Hosts with each workload", Unit::Short)
            .read("Number of hosts where the workload has processes now; the ten with the most.")
            .look_next("Fewer than expected: did it end somewhere? The models dashboard shows its threads over time.")
            .query(top_ten(count(WORKLOAD, format_args!("{alive} > 0"))), "{{workload}}"),
    ]
}

fn versions() -> Vec<Panel> {
    vec![
        table("Version on each host", &[("instance", "Host"), ("version", "Version")])
            .read("Version of the daemon on each host.")
            .look_next("Different versions: figures whose meaning changed between them, see the changelog, cannot be compared.")
            .listing(max("instance, version", chosen(&catalog::BUILD_INFO)))
            .sized(12, 8),
    ]
}
