//! Core map: which workload had which core when.

use schedscope::metrics::catalog;

use super::measures::{WORKLOAD, busy, busy_cpus, cpus, demand, effective_cpus, running};
use crate::{
    dashboard::{Dashboard, Row},
    panel::{
        NOBODY, Panel, Unit,
        kinds::{lines, owners, share_heatmap, share_matrix, shares_now, stacked, stat, whole_number},
        table::table,
    },
    promql::{chosen, max, mean, rate, sum, top_ten},
};

/// Identity of the dashboard, for links.
pub(super) const UID: &str = "schedscope-core-map";
/// One core of one host.
const CORE: &str = "instance, cpu";

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: UID,
        title: "schedscope: core map",
        description: "Which workload had which core when: how its concurrency maps onto the hardware.",
        rows: vec![
            Row::open("At a glance", glance()),
            Row::open("Core map", core_map()).in_lines(&[1, 2]),
            Row::open("Parallelism", parallelism()).in_lines(&[3]),
            Row::folded("Cores in detail", detail()),
        ],
    }
}

/// The label `cpu` in three digits, so that 10 does not come before 2.
fn sortable_cpu(series: &str) -> String {
    let one_digit = format!(r#"label_replace({series}, "cpu", "00$1", "cpu", "(\\d)")"#);
    format!(r#"label_replace({one_digit}, "cpu", "0$1", "cpu", "(\\d\\d)")"#)
}

/// The label `cpu` with the host before it, since core 0 of two hosts is not the same core.
fn host_in_cpu(series: &str) -> String {
    format!(r#"label_join({}, "cpu", " CPU ", "instance", "cpu")"#, sortable_cpu(series))
}

fn glance() -> Vec<Panel> {
    vec![
        whole_number("CPUs of the hosts")
            .read("CPUs of the chosen hosts that have run something since the daemon started. No workload can get more.")
            .look_next("CPUs in use, beside it.")
            .query(cpus(""), ""),
        stat("CPUs in use", Unit::Short)
            .read(
                "CPUs with something to run, all tasks of the hosts, chosen or not. At the CPUs of the hosts, but for 1 % or so: \
                 they are all taken.",
            )
            .look_next("Compare with C: the rest belongs to tasks outside the chosen workloads.")
            .query(busy_cpus(), ""),
        stat("C, all chosen", Unit::Short)
            .read("Mean number of threads of the chosen workloads on a CPU.")
            .look_next(
                "Far below the CPUs of the hosts while there is work to do: is D higher? Then CPUs are short. Is it not? Then \
                 threads wait for something else; see the scheduler latency and models dashboards.",
            )
            .query(running(""), ""),
        stat("D, all chosen", Unit::Short)
            .read(
                "Mean number of threads of the chosen workloads on a CPU or waiting for one: how many CPUs they would use if they \
                 had them.",
            )
            .look_next("D above C by half or more: see who has the cores, in the core map.")
            .query(demand(""), ""),
        shares_now("Busiest cores now")
            .read("Share of the last interval in which a core had something to run, all tasks of the host; the ten busiest.")
            .look_next("A full core beside idle ones is work that does not spread: find its owner in the core map.")
            .query(host_in_cpu(&top_ten(busy(CORE))), "{{cpu}}")
            .sized(8, 4),
    ]
}

fn core_map() -> Vec<Panel> {
    let used = sum("instance, cpu, workload", rate(&catalog::WORKLOAD_ON_CPU));
    // Below 5 % of a core a workload is not called its owner. A core that nobody had is a state too: older versions of Grafana draw
    // a state until the next one, whatever is between.
    let nobody = format!(r#"label_replace(0 * {}, "workload", "{NOBODY}", "", "")"#, mean(CORE, rate(&catalog::CPU_IDLE)));
    let owner = format!("topk by ({CORE}) (1, {used} > 0.05) or on ({CORE}) {nobody}");
    vec![
        owners("Who had each core most", "cpu", "workload")
            .read(
                "One row per core of each host, time from left to right. The colour is that of the chosen workload that had most \
                 of the core in the interval before each point, if it had more than 5 % of it; where nothing is drawn none of them \
                 had that much. It goes by the name, which is written where it fits; two names can share one.",
            )
            .look_next(
                "One colour that jumps between rows: a single runner that the scheduler moves; see migrations on the scheduler \
                 latency dashboard. One colour on all rows: work that spreads.",
            )
            .query(host_in_cpu(&owner), ""),
        share_heatmap("How busy each core is")
            .read(
                "One row per core of each host, all its tasks; the colour is the share of the interval before each point in which \
                 it had something to run.",
            )
            .look_next(
                "One bright row beside dark ones: work that does not spread. All bright: see who waits, under scheduler latency.",
            )
            .query(host_in_cpu(&busy(CORE)), "{{cpu}}"),
        share_matrix("Workload by core", "workload", "Workload", "cpu")
            .read(
                "Share of each core (column) that each workload (row) had in the last interval; who had none is left out. A row of \
                 equal cells: it uses every core alike. One full cell: it is serial, or pinned there.",
            )
            .look_next("A row of many small cells that add up to 1: a single runner that wanders; compare with effective CPUs.")
            .query(host_in_cpu(&format!("{used} > 0")), ""),
    ]
}

fn parallelism() -> Vec<Panel> {
    vec![
        stacked("C: CPUs in use by workload", Unit::Short)
            .read(
                "Mean number of each workload's threads on a CPU; the top of the stack is all of them. It cannot pass the CPUs of \
                 the hosts, but for 1 % or so by which readings are apart.",
            )
            .look_next("Threads that exclude each other stay at 1 however many they are: look for them on the models dashboard.")
            .query(running(WORKLOAD), "{{workload}}"),
        stacked("D: CPUs wanted by workload", Unit::Short)
            .read("Mean number of threads on a CPU or waiting for one. Above C: the cores are too few or taken by others.")
            .look_next("Equal to C, and low: the threads wait for something else; see what for on the models dashboard.")
            .query(demand(WORKLOAD), "{{workload}}"),
        lines("Effective CPUs", Unit::Short)
            .read(
                "Over how many cores a workload's running time in the interval before each point is spread, from 1 (all on one \
                 core) to the CPUs of the host (the same on each). The further out you zoom, the longer that interval.",
            )
            .look_next(
                "Well above C: few threads wander over many cores, which costs cache; see migrations on the scheduler latency \
                 dashboard.",
            )
            .query(effective_cpus(), "{{workload}} on {{instance}}"),
    ]
}

fn detail() -> Vec<Panel> {
    let topology = max("instance, cpu, core, llc, node", chosen(&catalog::CPU_TOPOLOGY));
    vec![
        lines("Context switches of each core", Unit::PerSecond)
            .read("Switches per second, all tasks of the host, the idle task included.")
            .look_next("One core far above the others: an interrupt or a timer wakes its tasks; compare with who had it most.")
            .query(host_in_cpu(&sum(CORE, rate(&catalog::CPU_SWITCHES))), "{{cpu}}"),
        stacked("Context switches by what ran before", Unit::PerSecond)
            .read("from_idle: a core woke up for work. from_task: one task took over from another or the core went idle.")
            .look_next(
                "Mostly from_idle: cores sleep between short bursts; waking them adds to the latency on the scheduler latency \
                 dashboard.",
            )
            .query(sum("kind", rate(&catalog::CPU_SWITCHES)), "{{kind}}"),
        table("Where each CPU sits", &[("instance", "Host"), ("cpu", "CPU"), ("core", "Core"), ("llc", "Cache"), ("node", "Node")])
            .read(
                "Physical core and last-level cache of each CPU, named by the lowest CPU in them, and the number of its NUMA node. \
                 CPUs with the same core are hardware threads of one core and share its units.",
            )
            .look_next("Two busy CPUs of one core do less than two of different cores: compare with how busy each core is.")
            .listing(sortable_cpu(&topology))
            .sized(12, 8),
    ]
}
