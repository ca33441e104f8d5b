//! Core map: which workload had which core when.

use schedscope::metrics::catalog;

use super::measures::{WORKLOAD, busy, busy_cpus, cpus, demand, effective_cpus, running};
use crate::{
    dashboard::{Dashboard, Row},
    panel::{
        NOBODY, Panel, Text, Unit,
        kinds::{count, lines, owners, share_heatmap, share_matrix, shares_now, stacked, stat},
        table::table,
    },
    promql::{rate, value},
};

/// Identity of the dashboard, for links.
pub(super) const UID: &str = "schedscope-core-map";
/// Below this share of a core a workload is not called its owner.
const OWNER_FROM: f64 = 0.05;
/// One core of one host.
const CORE: &[&str] = &["instance", "cpu"];
/// Bars of a panel, at most.
const SHOWN: u32 = 10;

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: UID,
        title: "schedscope: core map",
        description: "Which workload had which core when: how its concurrency maps onto the hardware.",
        rows: vec![
            Row::open("At a glance", glance()),
            Row::open("Core map", core_map()),
            Row::open("Parallelism", parallelism()),
            Row::folded("Cores in detail", detail()),
        ],
    }
}

fn glance() -> Vec<Panel> {
    vec![
        count(Text {
            title: "CPUs of the hosts",
            read: "CPUs of the chosen hosts that have run something since the daemon started. No workload can get more.",
            next: "CPUs in use, beside it.",
        })
        .query(&cpus(&[]), ""),
        stat(
            Unit::Short,
            Text {
                title: "CPUs in use",
                read: "CPUs with something to run, all tasks of the hosts, chosen or not. At the CPUs of the hosts, but for 1 % or so: \
                       they are all taken.",
                next: "Compare with C: the rest belongs to tasks outside the chosen workloads.",
            },
        )
        .query(&busy_cpus(&[]), ""),
        stat(
            Unit::Short,
            Text {
                title: "C, all chosen",
                read: "Mean number of threads of the chosen workloads on a CPU.",
                next: "Far below the CPUs of the hosts while there is work to do: is D higher? Then CPUs are short. Is it not? Then \
                       threads wait for something else; see the scheduler latency and models dashboards.",
            },
        )
        .query(&running(&[]), ""),
        stat(
            Unit::Short,
            Text {
                title: "D, all chosen",
                read: "Mean number of threads of the chosen workloads on a CPU or waiting for one: how many CPUs they would use if they \
                       had them.",
                next: "D above C by half or more: see who has the cores, in the core map.",
            },
        )
        .query(&demand(&[]), ""),
        shares_now(Text {
            title: "Busiest cores now",
            read: "Share of the last interval in which a core had something to run, all tasks of the host; the ten busiest.",
            next: "A full core beside idle ones is work that does not spread: find its owner in the core map.",
        })
        .query(&busy(CORE).largest(SHOWN, &[]).with_host_in_cpu(), "{{cpu}}")
        .sized(8, 4),
    ]
}

fn core_map() -> Vec<Panel> {
    let by_cpu_and_workload = rate(&catalog::WORKLOAD_ON_CPU).sum_by(&["instance", "cpu", "workload"]);
    // A core that nobody had is a state too: older versions of Grafana draw a state until the next one, whatever is between.
    let every_core = rate(&catalog::CPU_IDLE).mean_by(CORE);
    let owner = by_cpu_and_workload.above(OWNER_FROM).largest(1, CORE).or_named(&every_core, "workload", NOBODY).with_host_in_cpu();
    vec![
        owners(
            Text {
                title: "Who had each core most",
                read: "One row per core of each host, time from left to right. The colour is that of the chosen workload that had \
                       most of the core in the interval before each point, if it had more than 5 % of it; where nothing is drawn \
                       none of them had that much. It goes by the name, which is written where it fits; two names can share one.",
                next: "One colour that jumps between rows: a single runner that the scheduler moves; see migrations on the \
                       scheduler latency dashboard. One colour on all rows: work that spreads.",
            },
            "cpu",
            "workload",
        )
        .query(&owner, "")
        .sized(24, 9),
        share_heatmap(Text {
            title: "How busy each core is",
            read: "One row per core of each host, all its tasks; the colour is the share of the interval before each point in which it \
                   had something to run.",
            next: "One bright row beside dark ones: work that does not spread. All bright: see who waits, under scheduler latency.",
        })
        .query(&busy(CORE).with_host_in_cpu(), "{{cpu}}")
        .sized(12, 9),
        share_matrix(
            Text {
                title: "Workload by core",
                read: "Share of each core (column) that each workload (row) had in the last interval; who had none is left out. A row of \
                       equal cells: it uses every core alike. One full cell: it is serial, or pinned there.",
                next: "A row of many small cells that add up to 1: a single runner that wanders; compare with effective CPUs.",
            },
            "workload",
            "Workload",
            "cpu",
        )
        .query(&by_cpu_and_workload.above(0.0).with_host_in_cpu(), "")
        .sized(12, 9),
    ]
}

fn parallelism() -> Vec<Panel> {
    vec![
        stacked(
            Unit::Short,
            Text {
                title: "C: CPUs in use by workload",
                read: "Mean number of each workload's threads on a CPU; the top of the stack is all of them. It cannot pass the CPUs \
                       of the hosts, but for 1 % or so by which readings are apart.",
                next: "Threads that exclude each other stay at 1 however many they are: look for them on the models dashboard.",
            },
        )
        .query(&running(WORKLOAD), "{{workload}}")
        .sized(8, 8),
        stacked(
            Unit::Short,
            Text {
                title: "D: CPUs wanted by workload",
                read: "Mean number of threads on a CPU or waiting for one. Above C: the cores are too few or taken by others.",
                next: "Equal to C, and low: the threads wait for something else; see what for on the models dashboard.",
            },
        )
        .query(&demand(WORKLOAD), "{{workload}}")
        .sized(8, 8),
        lines(
            Unit::Short,
            Text {
                title: "Effective CPUs",
                read: "Over how many cores a workload's running time in the interval before each point is spread, from 1 (all on one \
                       core) to the CPUs of the host (the same on each). The further out you zoom, the longer that interval.",
                next: "Well above C: few threads wander over many cores, which costs cache; see migrations on the scheduler latency \
                       dashboard.",
            },
        )
        .query(&effective_cpus(), "{{workload}} on {{instance}}")
        .sized(8, 8),
    ]
}

fn detail() -> Vec<Panel> {
    let by_kind = rate(&catalog::CPU_SWITCHES).sum_by(&["kind"]);
    let topology = value(&catalog::CPU_TOPOLOGY).max_by(&["instance", "cpu", "core", "llc", "node"]);
    let switches = rate(&catalog::CPU_SWITCHES).sum_by(CORE);
    vec![
        lines(
            Unit::PerSecond,
            Text {
                title: "Context switches of each core",
                read: "Switches per second, all tasks of the host, the idle task included.",
                next: "One core far above the others: an interrupt or a timer wakes its tasks; compare with who had it most.",
            },
        )
        .query(&switches.with_host_in_cpu(), "{{cpu}}"),
        stacked(
            Unit::PerSecond,
            Text {
                title: "Context switches by what ran before",
                read: "from_idle: a core woke up for work. from_task: one task took over from another or the core went idle.",
                next: "Mostly from_idle: cores sleep between short bursts; waking them adds to the latency on the scheduler latency \
                       dashboard.",
            },
        )
        .query(&by_kind, "{{kind}}"),
        table(
            Text {
                title: "Where each CPU sits",
                read: "Physical core and last-level cache of each CPU, named by the lowest CPU in them, and the number of its NUMA node. \
                       CPUs with the same core are hardware threads of one core and share its units.",
                next: "Two busy CPUs of one core do less than two of different cores: compare with how busy each core is.",
            },
            &[("instance", "Host"), ("cpu", "CPU"), ("core", "Core"), ("llc", "Cache"), ("node", "Node")],
        )
        .listing(&topology.with_sortable_cpu()),
    ]
}
