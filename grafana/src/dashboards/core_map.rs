//! Core map: which workload had which core when.

use schedscope::metrics::catalog;

use super::measures::{WORKLOAD, busy, busy_cpus, cpus, demand, effective_cpus, running};
use crate::dashboard::{Dashboard, Row};
use crate::panel::kinds::{bars, lines, owners, share_heatmap, share_matrix, stacked, stat, table, whole_number};
use crate::panel::{NOBODY, Panel, Unit};
use crate::promql::{chosen, max, mean, rate, sum, top_ten};

pub(super) const UID: &str = "schedscope-core-map";
/// One core of one host.
const CORE: &str = "instance, cpu";
/// Of more cores, each a row and a series, a browser draws nothing that anyone could read.
const MOST_CORES: u32 = 512;

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

/// A panel with a row for each core of the chosen hosts, unless these have too many.
fn by_core(panel: Panel, query: &str, legend: &'static str) -> Panel {
    let few = format!("({query}) and on () ({} <= {MOST_CORES})", cpus(""));
    panel
        .query(host_in_cpu(&few), legend)
        .where_empty(format!("No data, or more than {MOST_CORES} CPUs: choose fewer hosts above (Instance)."))
}

fn glance() -> Vec<Panel> {
    vec![
        whole_number("CPUs of the hosts")
            .read("CPUs of the chosen hosts that have run anything since the daemon started: the most any workload can get.")
            .look_next("CPUs in use, next to this panel.")
            .query(cpus(""), ""),
        stat("CPUs in use", Unit::Short)
            .read("CPUs with something to run, counting every task of the hosts. Within 1 % or so of all CPUs: all are taken.")
            .look_next("Compare with C: the difference is tasks outside the chosen workloads.")
            .query(busy_cpus(), ""),
        stat("C, all chosen", Unit::Short)
            .read("Mean number of threads of the chosen workloads on a CPU.")
            .look_next("Low: if D is higher, CPUs are short; otherwise the models dashboard shows what threads wait for.")
            .query(running(""), ""),
        stat("D, all chosen", Unit::Short)
            .read("Mean number of their threads running or waiting for a CPU: the CPUs they would use if they had them.")
            .look_next("D 50 % above C, or more: the core map shows who has the cores.")
            .query(demand(""), ""),
        bars("Busiest cores now", Unit::Share)
            .read("Share of the last interval in which a core had something to run, counting every task; the ten busiest.")
            .look_next("A full core next to idle ones: work that does not spread. The core map shows whose.")
            .query(host_in_cpu(&top_ten(busy(CORE))), "{{cpu}}")
            .sized(8, 4),
    ]
}

fn core_map() -> Vec<Panel> {
    let used = sum("instance, cpu, workload", rate(&catalog::WORKLOAD_ON_CPU));
    // Below 5 % of a core a workload does not own it. A core that nobody had needs a state too: older versions of Grafana draw a
    // state until the next one begins.
    let nobody = format!(r#"label_replace(0 * {}, "workload", "{NOBODY}", "", "")"#, mean(CORE, rate(&catalog::CPU_IDLE)));
    let owner = format!("topk by ({CORE}) (1, {used} > 0.05) or on ({CORE}) {nobody}");
    vec![
        by_core(owners("Who had each core most", "cpu", "workload"), &owner, "")
            .read(
                "One row per core. The colour is the chosen workload that used the core most in the interval before each point, if \
                 it used more than 5 % of it; where nothing is drawn, none did. Colours follow names, and two names can share one. Too \
                 many CPUs are no map: choose fewer hosts then.",
            )
            .look_next(
                "One colour jumping between rows: a single runner that is migrated. One colour on all rows: work that spreads.",
            ),
        by_core(share_heatmap("How busy each core is"), &busy(CORE), "{{cpu}}")
            .read("One row per core; the colour is the share of the interval in which the core had something to run.")
            .look_next("One bright row: work that does not spread. All bright: see who waits, on the scheduler latency dashboard."),
        by_core(share_matrix("Workload by core", "workload", "Workload", "cpu"), &format!("{used} > 0"), "")
            .read(
                "Share of each core that each workload used in the last interval. Equal cells: it uses every core alike. One full \
                 cell: it is serial, or pinned there.",
            )
            .look_next("Many small cells that add up to 1: a single runner that wanders; compare with effective CPUs."),
    ]
}

fn parallelism() -> Vec<Panel> {
    vec![
        stacked("C: CPUs in use by workload", Unit::Short)
            .read("Mean number of each workload's threads on a CPU. The stack ends at the number of CPUs, within about 1 %.")
            .look_next("Threads that exclude each other stay at 1 however many there are: find them on the models dashboard.")
            .query(running(WORKLOAD), "{{workload}}"),
        stacked("D: CPUs wanted by workload", Unit::Short)
            .read("Mean number of threads running or waiting for a CPU. Above C: too few cores, or others have them.")
            .look_next("Low and equal to C: threads wait for something else; the models dashboard shows what.")
            .query(demand(WORKLOAD), "{{workload}}"),
        lines("Effective CPUs", Unit::Short)
            .read("How many cores the running time is spread over, from 1 to all. Zooming out lengthens the interval it covers.")
            .look_next("Well above C: few threads wander over many cores, which costs cache; see migrations on scheduler latency.")
            .query(effective_cpus(), "{{workload}} on {{instance}}"),
    ]
}

fn detail() -> Vec<Panel> {
    let topology = max("instance, cpu, core, llc, node", chosen(&catalog::CPU_TOPOLOGY));
    vec![
        by_core(lines("Context switches of each core", Unit::PerSecond), &sum(CORE, rate(&catalog::CPU_SWITCHES)), "{{cpu}}")
            .read("Switches per second, counting every task and the idle task.")
            .look_next("One core far above the rest: an interrupt or timer wakes its tasks; see who had the core most."),
        stacked("Context switches by what ran before", Unit::PerSecond)
            .read("from_idle: the core woke up for work. from_task: another task took over, or the core went idle.")
            .look_next("Mostly from_idle: cores sleep between short bursts, and waking them adds to wake-up latency.")
            .query(sum("kind", rate(&catalog::CPU_SWITCHES)), "{{kind}}"),
        table("Where each CPU sits", &[("instance", "Host"), ("cpu", "CPU"), ("core", "Core"), ("llc", "Cache"), ("node", "Node")])
            .read("Core and cache (named by their lowest CPU) and NUMA node. CPUs with the same core are its hardware threads.")
            .look_next("Two busy CPUs of one core do less than two of different cores: compare with how busy each core is.")
            .listing(sortable_cpu(&topology))
            .sized(12, 8),
    ]
}
