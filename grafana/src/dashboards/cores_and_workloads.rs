//! How workloads map onto the cores, and what they wait for.

use schedscope_ebpf::catalog;

use crate::{
    dashboard::{Dashboard, Row},
    panel::{Panel, alarm, core_heatmap, latency_heatmap, lines, owners, shares_now, stacked, stat, table_matrix},
    promql::{Expr, bucket_increase, quantile, rate, rate_over, value},
};

const WORKLOAD: &[&str] = &["workload"];
/// Own cost is measured in one short window a minute; over this time several fall in.
const COST_INTERVAL: &str = "10m";

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-cores",
        title: "schedscope: cores and workloads",
        description: "How concurrency maps onto the hardware cores: who ran where, what the others waited for, and what that cost.",
        rows: vec![
            Row { title: "Parallelism", collapsed: false, panels: parallelism() },
            Row { title: "Core map", collapsed: false, panels: core_map() },
            Row { title: "Waiting", collapsed: false, panels: waiting() },
            Row { title: "Switches and migrations", collapsed: false, panels: switches() },
            Row { title: "Latency", collapsed: true, panels: latency() },
            Row { title: "Tasks", collapsed: true, panels: tasks() },
            Row { title: "Health: what was missed and what tracing costs", collapsed: false, panels: health() },
        ],
    }
}

/// D: running plus runnable.
fn demand(labels: &[&str]) -> Expr {
    rate(&catalog::WORKLOAD_ON_CPU).sum_by(labels).plus(&rate(&catalog::WORKLOAD_RUNNABLE).sum_by(labels))
}

fn parallelism() -> Vec<Panel> {
    let on_cpu = rate(&catalog::WORKLOAD_ON_CPU);
    let per_host: &[&str] = &["instance", "workload"];
    let effective = on_cpu.sum_by(per_host).squared().over(&on_cpu.sum_of_squares_by(per_host));
    vec![
        lines(
            "C: CPUs in use",
            "short",
            "Mean number of the workload's threads on a CPU. Threads that exclude each other, as under an interpreter lock, stay \
             at 1 however many there are. Compare with D beside it.",
        )
        .query(&on_cpu.sum_by(WORKLOAD), "{{workload}}")
        .sized(8, 8),
        lines(
            "D: CPUs wanted",
            "short",
            "Mean number of threads running or waiting for a CPU. D above C: the cores are too few or taken by others. D equal to \
             C and low: the threads wait for something else; see Waiting.",
        )
        .query(&demand(WORKLOAD), "{{workload}}")
        .sized(8, 8),
        lines(
            "Effective CPUs",
            "short",
            "Over how many cores the time is spread: (sum x)^2 / sum x^2. Much above C means that few threads wander over many \
             cores, which costs cache; see migrations.",
        )
        .query(&effective, "{{workload}} on {{instance}}")
        .sized(8, 8),
    ]
}

fn core_map() -> Vec<Panel> {
    let busy = rate(&catalog::CPU_IDLE).mean_by(&["cpu"]).complement().with_sortable_cpu();
    let by_cpu_and_workload = rate(&catalog::WORKLOAD_ON_CPU).sum_by(&["cpu", "workload"]);
    let owner = by_cpu_and_workload.above(0.05).largest_of_each("cpu").with_sortable_cpu();
    vec![
        core_heatmap(
            "How busy each core is",
            "One row per core, all tasks of the host. One bright row beside dark ones: work that does not spread. With \
             several instances a row is their mean.",
        )
        .query(&busy, "{{cpu}}")
        .sized(12, 9),
        owners(
            "Who had each core most",
            "One row per core; the workload with the most time on it in each step, if that is more than 5 %. Choose one instance.",
            "cpu",
            "workload",
        )
        .query(&owner, "")
        .sized(12, 9),
        table_matrix(
            "Workload by core",
            "percentunit",
            "Share of each core that each workload has now. A full row: it uses every core. One full cell: it is serial or pinned. \
             Choose one instance.",
            "workload",
            "cpu",
        )
        .query(&by_cpu_and_workload.with_sortable_cpu(), "")
        .sized(16, 8),
        shares_now("Cores now", "Share of each core in use now, all tasks of the host.").query(&busy, "CPU {{cpu}}").sized(8, 8),
    ]
}

fn waiting() -> Vec<Panel> {
    vec![
        stacked(
            "Runnable and waiting for a CPU",
            "short",
            "Mean number of threads that could run and have no CPU. After a wake-up: others were in the way. After preemption: more \
             threads want the cores than there are.",
        )
        .query(&rate(&catalog::WORKLOAD_RUNNABLE).sum_by(&["workload", "cause"]), "{{workload}}: {{cause}}"),
        stacked(
            "Blocked, by what threads wait for",
            "short",
            "Mean number of threads blocked. futex and gil: threads wait for each other. poll: an event loop at rest. sleep, \
             pipe_socket, disk: they wait for the world, and more threads do no harm. Choose one workload.",
        )
        .query(&rate(&catalog::WORKLOAD_BLOCKED).sum_by(&["reason"]), "{{reason}}"),
    ]
}

fn switches() -> Vec<Panel> {
    vec![
        stacked(
            "Context switches of workloads",
            "ops",
            "Voluntary: the thread had to wait. Preempted: another task took the CPU. Yielded: it gave way by itself.",
        )
        .query(&rate(&catalog::WORKLOAD_SWITCHES).sum_by(&["workload", "kind"]), "{{workload}}: {{kind}}")
        .sized(8, 8),
        stacked(
            "Migrations",
            "ops",
            "Moves to another core by what both cores share. smt and llc are cheap; node and remote lose the cache. Many at wake-up \
             are the price of short sleeps.",
        )
        .query(&rate(&catalog::WORKLOAD_MIGRATIONS).sum_by(&["cause", "distance"]), "{{cause}}, {{distance}}")
        .sized(8, 8),
        lines(
            "Context switches of each core",
            "ops",
            "All tasks of the host, idle included. Compare with workloads: the rest belongs to tasks outside the chosen ones.",
        )
        .query(&rate(&catalog::CPU_SWITCHES).sum_by(&["cpu"]).with_sortable_cpu(), "CPU {{cpu}}")
        .sized(8, 8),
    ]
}

fn latency() -> Vec<Panel> {
    let quantiles = |panel: Panel, metric| {
        panel
            .query(&quantile(0.5, metric, WORKLOAD), "{{workload}} p50")
            .query(&quantile(0.99, metric, WORKLOAD), "{{workload}} p99")
    };
    vec![
        quantiles(
            lines(
                "Wake-up latency",
                "s",
                "From the first waking of a blocked thread to its CPU. Above a few milliseconds: the cores are busy with others.",
            ),
            &catalog::WORKLOAD_WAKEUP_LATENCY,
        ),
        latency_heatmap(
            "Wake-up latency, all observations",
            "Each cell counts wake-ups of that latency. A second band is a second cause.",
        )
        .query(&bucket_increase(&catalog::WORKLOAD_WAKEUP_LATENCY), "{{le}}"),
        quantiles(
            lines(
                "Preemption wait",
                "s",
                "From losing the CPU while runnable to getting one again: the length of the queue times the timeslice.",
            ),
            &catalog::WORKLOAD_PREEMPTION_WAIT,
        ),
        latency_heatmap("Preemption wait, all observations", "Each cell counts waits of that length after a preemption.")
            .query(&bucket_increase(&catalog::WORKLOAD_PREEMPTION_WAIT), "{{le}}"),
        quantiles(
            lines(
                "Timeslice",
                "s",
                "From getting a CPU to leaving it. Short slices with many switches: threads hand work to each other.",
            ),
            &catalog::WORKLOAD_TIMESLICE,
        ),
        latency_heatmap(
            "Timeslices, all observations",
            "A band at 5 ms under Python threads is the interpreter's switch interval; at 3 to 4 ms it is the scheduler's.",
        )
        .query(&bucket_increase(&catalog::WORKLOAD_TIMESLICE), "{{le}}"),
    ]
}

fn tasks() -> Vec<Panel> {
    vec![
        lines("Threads", "short", "Threads alive.")
            .query(&value(&catalog::WORKLOAD_THREADS).sum_by(WORKLOAD), "{{workload}}")
            .sized(8, 8),
        lines("Processes", "short", "Processes alive.")
            .query(&value(&catalog::WORKLOAD_PROCESSES).sum_by(WORKLOAD), "{{workload}}")
            .sized(8, 8),
        lines(
            "CPUs allowed",
            "short",
            "Cores that at least one process of the workload may use. C cannot go above it, whatever the host has.",
        )
        .query(&value(&catalog::WORKLOAD_ALLOWED_CPUS).max_by(WORKLOAD), "{{workload}}")
        .sized(8, 8),
        lines("Threads started", "ops", "Threads per second. Many short ones cost more in starting than they do in work.")
            .query(&rate(&catalog::WORKLOAD_THREADS_STARTED).sum_by(WORKLOAD), "{{workload}}"),
        lines("Processes started", "ops", "Processes per second; each costs a millisecond or so before it works.")
            .query(&rate(&catalog::WORKLOAD_PROCESSES_STARTED).sum_by(WORKLOAD), "{{workload}}"),
    ]
}

fn health() -> Vec<Panel> {
    let program: &[&str] = &["program"];
    let run_seconds = rate_over(&catalog::BPF_RUN_SECONDS, COST_INTERVAL);
    let measured = rate_over(&catalog::BPF_MEASURED, COST_INTERVAL).sum_by(&[]);
    let runs = rate_over(&catalog::BPF_RUNS, COST_INTERVAL).sum_by(program);
    vec![
        alarm("Lost observations", "ops", "Missing or contradictory observations per second. Not 0: see the reason beside it.")
            .query(&rate(&catalog::EVENTS_LOST).sum_by(&[]), ""),
        stat("CPUs spent in BPF programs", "short", "Cost of tracing in CPUs, from the windows in which it is measured.")
            .query(&run_seconds.sum_by(&[]).over(&measured), ""),
        stat("CPUs spent in the daemon", "percentunit", "Cost of labelling and serving.")
            .query(&rate(&catalog::DAEMON_CPU).sum_by(&[]), ""),
        stat("Reading the counters", "s", "Duration of the last collection.")
            .query(&value(&catalog::COLLECTION_DURATION).max_by(&[]), ""),
        stat("Series", "short", "Samples per scrape of the largest instance.")
            .query(&value(&catalog::EXPOSITION_SERIES).max_by(&[]), ""),
        alarm("Failures", "ops", "Failed readings and requests refused, per second.")
            .query(&rate(&catalog::COLLECTION_ERRORS).sum_by(&[]).plus(&rate(&catalog::SCRAPES_REFUSED).sum_by(&[])), ""),
        lines("Lost observations by reason", "ops", "What each reason means is in docs/metrics.md.")
            .query(&rate(&catalog::EVENTS_LOST).sum_by(&["reason"]), "{{reason}}")
            .query(&rate(&catalog::TORN_RECORDS).sum_by(&[]), "torn record"),
        lines("Time per run of each BPF program", "s", "Mean run time, the kernel's own meter included, which is some 50 ns.")
            .query(&run_seconds.sum_by(program).over(&runs), "{{program}}"),
        lines("BPF programs attached", "short", "0: the kernel lacks the hook or refused the program; /status says why.")
            .query(&value(&catalog::BPF_ATTACHED).sum_by(program), "{{program}}"),
        lines(
            "Names with series of their own",
            "short",
            "Folded: names that had earned one when none was free; they are counted in other. Raise max_workloads or write rules.",
        )
        .query(&value(&catalog::WORKLOADS_NAMED).sum_by(&["instance"]), "{{instance}}")
        .query(&rate(&catalog::WORKLOADS_FOLDED).sum_by(&["instance"]), "{{instance}} folded per second"),
    ]
}
