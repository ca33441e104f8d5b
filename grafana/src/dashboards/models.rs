//! Models compared: threads, processes, asyncio and native code side by side.

use schedscope::metrics::catalog;

use super::{
    core_map,
    measures::{HOST_WORKLOAD, WORKLOAD, blocked_for, demand, effective_cpus, runnable, running, spread, switches},
};
use crate::{
    dashboard::{Dashboard, Row},
    panel::{
        Panel, Text, Unit,
        kinds::{lines, numbers_now, stacked},
        table::table,
    },
    promql::{Expr, RANGE, Series, increase, quantile, rate, value},
};

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-models",
        title: "schedscope: models compared",
        description: "Workloads side by side: how many CPUs each uses and wants, what its threads wait for and what that costs. \
                      Choose the workloads to compare.",
        rows: vec![
            Row::open("Side by side, now", side_by_side()),
            Row::open("Side by side, over the chosen time", over_time()),
            Row::open("C, D and effective CPUs", parallelism()),
            Row::open("What threads wait for", waiting()),
            Row::open("Switches and migrations", costs()),
            Row::folded("Python's interpreter lock", super::gil::panels()),
            Row::folded("Waits of each workload", each()),
            Row::folded("Threads and processes", tasks()),
        ],
    }
}

fn side_by_side() -> Vec<Panel> {
    let info = value(&catalog::WORKLOAD_INFO).max_by(&["instance", "workload", "model"]);
    vec![
        table(
            Text {
                title: "The comparison",
                read: "One row per workload and host, over the last interval. Model: what its tasks showed over the last seconds. C: \
                       threads on a CPU. D: threads on a CPU or waiting for one. Effective: cores that the running time is spread \
                       over. An empty cell: there was nothing to measure, such as the latency where nobody was woken.",
                next: "C near 1 with many threads: they take turns; see the waits below. D above C: they compete for CPUs. C near \
                       D and near the CPUs allowed: nothing is lost. A click on a name leads to its cores.",
            },
            &[("workload", "Workload"), ("instance", "Host")],
        )
        .attribute("model", "Model")
        .mean("C", &running(HOST_WORKLOAD).with_label_of(&info, "model"))
        .mean("D", &demand(HOST_WORKLOAD))
        .mean("Effective CPUs", &effective_cpus())
        .column("CPUs allowed", Unit::Short, &value(&catalog::WORKLOAD_ALLOWED_CPUS).max_by(HOST_WORKLOAD))
        .column("Threads", Unit::Short, &value(&catalog::WORKLOAD_THREADS).sum_by(HOST_WORKLOAD))
        .column("Processes", Unit::Short, &value(&catalog::WORKLOAD_PROCESSES).sum_by(HOST_WORKLOAD))
        .column("Voluntary switches", Unit::PerSecond, &switches(&["voluntary"], HOST_WORKLOAD))
        .column("Preemptions", Unit::PerSecond, &switches(&["preempted"], HOST_WORKLOAD))
        .column("Migrations", Unit::PerSecond, &rate(&catalog::WORKLOAD_MIGRATIONS).sum_by(HOST_WORKLOAD))
        .column("Wake-up p99", Unit::Seconds, &quantile(0.99, &catalog::WORKLOAD_WAKEUP_LATENCY, HOST_WORKLOAD))
        .linked("Workload", "Core map of this workload", core_map::UID, "workload")
        .sorted_by("C")
        .sized(24, 9),
    ]
}

/// Of workloads that ran one after another, as in the lab, no moment shows two.
fn over_time() -> Vec<Panel> {
    let grown = |metric| increase(metric).over(RANGE);
    let on_cpu = grown(&catalog::WORKLOAD_ON_CPU);
    let (running, runnable) = (on_cpu.sum_by(HOST_WORKLOAD), grown(&catalog::WORKLOAD_RUNNABLE).sum_by(HOST_WORKLOAD));
    let life = running.plus(&runnable).plus(&grown(&catalog::WORKLOAD_BLOCKED).sum_by(HOST_WORKLOAD));
    let share = |part: &Expr| part.per(&life.above(0.0));
    let blocked = |reasons: &[&str]| share(&grown(&catalog::WORKLOAD_BLOCKED).only("reason", reasons).sum_by(HOST_WORKLOAD));
    let for_each_second = |count: Series| count.sum_by(HOST_WORKLOAD).per(&running.above(0.01));
    let switches = |kind| for_each_second(grown(&catalog::WORKLOAD_SWITCHES).only("kind", &[kind]));
    vec![
        table(
            Text {
                title: "What each did in the chosen time",
                read: "One row per workload and host, over all of the time that the dashboard shows, whether the workloads ran at once or \
                       one after another. At most: the highest that C and D were, each over an interval as in the charts below, which add \
                       hosts up; the further out you zoom, the longer the interval and the lower the peak. Effective: cores that the \
                       CPU time is spread over. Switches and migrations: for each second on a CPU. What came before the first scrape \
                       that saw a workload is missing.",
                next: "The same work with less CPU time was cheaper; with a higher C it was done sooner. C at most near 1 with D near 1: \
                       one core would do. D at most above C: some waited for a CPU. Many voluntary switches: threads hand something to \
                       each other; below is what they wait for.",
            },
            &[("workload", "Workload"), ("instance", "Host")],
        )
        .column("CPU time", Unit::Seconds, &running)
        .mean("C at most", &super::measures::running(HOST_WORKLOAD).largest_in_range())
        .mean("D at most", &demand(HOST_WORKLOAD).largest_in_range())
        .mean("Effective CPUs", &spread(&on_cpu))
        .column("Voluntary switches", Unit::PerSecond, &switches("voluntary"))
        .column("Preemptions", Unit::PerSecond, &switches("preempted"))
        .column("Migrations", Unit::PerSecond, &for_each_second(grown(&catalog::WORKLOAD_MIGRATIONS)))
        .linked("Workload", "Core map of this workload", core_map::UID, "workload")
        .sorted_by("C at most")
        .sized(24, 9),
        table(
            Text {
                title: "Where the time of the threads went",
                read: "Shares of the time of all of a workload's threads in the chosen time; a row adds up to 100 %, but for what is \
                       rounded. GIL: \
                       Python's interpreter lock. Lock: another lock, a join or a condition. Event loop: poll and its like.",
                next: "GIL or lock: more threads will not help, processes may. Waiting for a CPU: fewer threads or more cores. The \
                       world (sleep, files, network): more threads or asyncio overlap it.",
            },
            &[("workload", "Workload"), ("instance", "Host")],
        )
        .share("Running", &share(&running))
        .share("Waiting for a CPU", &share(&runnable))
        .share("GIL", &blocked(&["gil"]))
        .share("Lock", &blocked(&["futex"]))
        .share("Event loop", &blocked(&["poll"]))
        .share("Sleep", &blocked(&["sleep"]))
        .share("Pipe or socket", &blocked(&["pipe_socket"]))
        .share("Disk", &blocked(&["disk", "page_fault"]))
        .share("Child", &blocked(&["child_wait"]))
        .share("Other", &blocked(&["unknown", "stopped", "other"]))
        .sorted_by("Running")
        .sized(24, 9),
    ]
}

fn parallelism() -> Vec<Panel> {
    vec![
        lines(
            Unit::Short,
            Text {
                title: "C: CPUs in use",
                read: "Mean number of the workload's threads on a CPU. Threads that compute under one interpreter's lock stay near 1; \
                       processes and native threads rise to the CPUs they may use.",
                next: "D beside it, which says whether a low C is for want of CPUs or of work.",
            },
        )
        .query(&running(WORKLOAD), "{{workload}}")
        .sized(8, 8),
        lines(
            Unit::Short,
            Text {
                title: "D: CPUs wanted",
                read: "Mean number of threads on a CPU or waiting for one. A thread that always has work counts as 1, however busy the \
                       machine is with others.",
                next: "D far above C: see Runnable and waiting for a CPU, below. D equal to C: see what blocks the rest.",
            },
        )
        .query(&demand(WORKLOAD), "{{workload}}")
        .sized(8, 8),
        lines(
            Unit::Short,
            Text {
                title: "Effective CPUs",
                read: "Over how many cores the running time in the interval before each point is spread. For processes that each fill a \
                       core it equals C; for threads that take turns it is above C, since each may run elsewhere. The further out you \
                       zoom, the longer the interval, and the more cores it is spread over.",
                next: "Well above C: compare the migrations below.",
            },
        )
        .query(&effective_cpus(), "{{workload}} on {{instance}}")
        .sized(8, 8),
    ]
}

fn waiting() -> Vec<Panel> {
    vec![
        stacked(
            Unit::Short,
            Text {
                title: "Waiting for Python's interpreter lock",
                read: "Mean number of threads that wait for the GIL. With n busy threads of one process, and a CPU for each, it \
                       is near n - 1: they have one core between them.",
                next: "Not 0: processes, subinterpreters or a build without the lock would use more cores; compare C of the twins.",
            },
        )
        .query(&blocked_for(&["gil"], WORKLOAD), "{{workload}}")
        .sized(8, 8),
        stacked(
            Unit::Short,
            Text {
                title: "Runnable and waiting for a CPU",
                read: "Mean number of threads that could run and have no CPU.",
                next: "Not 0 for long: what made them wait, and how long, is on the scheduler latency dashboard.",
            },
        )
        .query(&runnable(WORKLOAD), "{{workload}}")
        .sized(8, 8),
        stacked(
            Unit::Short,
            Text {
                title: "Blocked, by what threads wait for",
                read: "Mean number of blocked threads over all chosen workloads. gil and futex: threads wait for each other. poll: \
                       an event loop at rest. sleep, pipe_socket, disk: they wait for the world, and more threads do no harm.",
                next: "Each workload by itself is in the folded row Waits of each workload.",
            },
        )
        .query(&rate(&catalog::WORKLOAD_BLOCKED).sum_by(&["reason"]), "{{reason}}")
        .sized(8, 8),
    ]
}

fn costs() -> Vec<Panel> {
    let migrations = rate(&catalog::WORKLOAD_MIGRATIONS).sum_by(WORKLOAD);
    vec![
        stacked(
            Unit::PerSecond,
            Text {
                title: "Context switches",
                read: "Of all chosen workloads together. Voluntary: the thread had to wait. Preempted: another task took the CPU. \
                       Yielded: it gave way by itself.",
                next: "Each workload by itself is in the comparison. Voluntary far above what the work needs: threads hand a lock or small messages to each other; see what they \
                       wait for. Preempted: more threads than cores.",
            },
        )
        .query(&rate(&catalog::WORKLOAD_SWITCHES).sum_by(&["kind"]), "{{kind}}")
        .sized(8, 8),
        stacked(
            Unit::PerSecond,
            Text {
                title: "Migrations",
                read: "Moves of the workload's threads to another core, per second.",
                next: "How far they go, and why, is on the scheduler latency dashboard.",
            },
        )
        .query(&migrations, "{{workload}}")
        .sized(8, 8),
        numbers_now(
            Unit::PerSecond,
            Text {
                title: "Migrations per second of running",
                read: "How often a workload's threads change core for each second that they run, over the last interval.",
                next: "Above some hundred the caches hardly warm up: pin the threads, or use fewer of them, and compare C.",
            },
        )
        .query(&migrations.per(&running(WORKLOAD).above(0.001)), "{{workload}}")
        .sized(8, 8),
    ]
}

fn each() -> Vec<Panel> {
    vec![
        stacked(
            Unit::Short,
            Text {
                title: "Blocked threads of $workload",
                read: "Mean number of this workload's threads that are blocked, by what they wait for.",
                next: "Compare with the twin that does the same work in another model.",
            },
        )
        .query(&rate(&catalog::WORKLOAD_BLOCKED).sum_by(&["reason"]), "{{reason}}")
        .sized(8, 8)
        .repeated_by("workload"),
    ]
}

fn tasks() -> Vec<Panel> {
    vec![
        lines(
            Unit::Short,
            Text {
                title: "Threads",
                read: "Threads alive, the first of each process included.",
                next: "Far more than D: most of them wait; see what for.",
            },
        )
        .query(&value(&catalog::WORKLOAD_THREADS).sum_by(WORKLOAD), "{{workload}}")
        .sized(6, 8),
        lines(
            Unit::Short,
            Text {
                title: "Processes",
                read: "Processes alive. Equal to the threads: each process is single-threaded.",
                next: "Processes started, beside it, tells whether they are the same ones.",
            },
        )
        .query(&value(&catalog::WORKLOAD_PROCESSES).sum_by(WORKLOAD), "{{workload}}")
        .sized(6, 8),
        lines(
            Unit::PerSecond,
            Text {
                title: "Threads started",
                read: "Threads that began their life, per second.",
                next: "Many short ones cost more in starting than they do in work: compare C with what a pool reaches.",
            },
        )
        .query(&rate(&catalog::WORKLOAD_THREADS_STARTED).sum_by(WORKLOAD), "{{workload}}")
        .sized(6, 8),
        lines(
            Unit::PerSecond,
            Text {
                title: "Processes started",
                read: "Processes that began their life, per second; each costs a millisecond or so before it works.",
                next: "Many: a pool of processes, or threads, would save their start.",
            },
        )
        .query(&rate(&catalog::WORKLOAD_PROCESSES_STARTED).sum_by(WORKLOAD), "{{workload}}")
        .sized(6, 8),
    ]
}
