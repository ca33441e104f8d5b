//! Models compared: threads, processes, asyncio and native code side by side.

use schedscope::metrics::catalog;

use super::core_map;
use super::measures::{HOST_WORKLOAD, WORKLOAD, demand, effective_cpus, runnable, running, spread, switches, waiting_for_gil};
use crate::dashboard::{Dashboard, Row};
use crate::panel::kinds::{bars, lines, stacked, table};
use crate::panel::{Panel, Unit};
use crate::promql::{RANGE, STEP, chosen, chosen_where, max, quantile, rate, rate_of, sum};

/// Rows of a table of workloads.
const ROWS: &[(&str, &str)] = &[("workload", "Workload"), ("instance", "Host")];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-models",
        title: "schedscope: models compared",
        description: "Workloads side by side: how many CPUs each uses and wants, what its threads wait for and what that costs. \
                      Choose the workloads to compare.",
        rows: vec![
            Row::open("Side by side, now", side_by_side()),
            Row::open("Side by side, over the chosen time", over_time()),
            Row::open("C, D and effective CPUs", parallelism()).in_lines(&[3]),
            Row::open("What threads wait for", waiting()).in_lines(&[3]),
            Row::open("Switches and migrations", costs()).in_lines(&[3]),
            Row::folded("Python's interpreter lock", interpreter_lock()).in_lines(&[2, 3]),
            Row::folded("Waits of each workload", each()),
            Row::folded("Lost cores of each workload", lost()),
            Row::folded("CPU quotas", quotas()).in_lines(&[3]),
            Row::folded("Threads and processes", tasks()).in_lines(&[3, 2]),
        ],
    }
}

fn side_by_side() -> Vec<Panel> {
    // One model per workload: two jobs that scrape the same daemon at different moments may see two.
    let model = format!("topk by ({HOST_WORKLOAD}) (1, {})", max("instance, workload, model", chosen(&catalog::WORKLOAD_INFO)));
    let running = format!("{} * on ({HOST_WORKLOAD}) group_left (model) {model}", running(HOST_WORKLOAD));
    vec![
        table("The comparison", ROWS)
            .read(
                "One row per workload and host, over the last interval. Model: what its tasks showed in the last seconds. C: \
                 threads on a CPU. D: threads on a CPU or waiting for one. Effective: cores the running time is spread over. An \
                 empty cell: nothing to measure, such as latency where nobody was woken.",
            )
            .look_next(
                "C near 1 with many threads: they take turns; see the waits below. D above C: they compete for CPUs. C near D and \
                 near the CPUs allowed: nothing is lost. Click a name for its cores.",
            )
            .attribute("model", "Model")
            .mean("C", running)
            .mean("D", demand(HOST_WORKLOAD))
            .mean("Effective CPUs", effective_cpus())
            .column("CPUs allowed", Unit::Short, max(HOST_WORKLOAD, chosen(&catalog::WORKLOAD_ALLOWED_CPUS)))
            .column("Threads", Unit::Short, sum(HOST_WORKLOAD, chosen(&catalog::WORKLOAD_THREADS)))
            .column("Processes", Unit::Short, sum(HOST_WORKLOAD, chosen(&catalog::WORKLOAD_PROCESSES)))
            .column("Voluntary switches", Unit::PerSecond, switches("voluntary", HOST_WORKLOAD))
            .column("Preemptions", Unit::PerSecond, switches("preempted", HOST_WORKLOAD))
            .column("Migrations", Unit::PerSecond, sum(HOST_WORKLOAD, rate(&catalog::WORKLOAD_MIGRATIONS)))
            .column("Wake-up p99", Unit::Seconds, quantile(0.99, &catalog::WORKLOAD_WAKEUP_LATENCY, HOST_WORKLOAD))
            .linked("Workload", "Core map of this workload", core_map::UID, "workload")
            .sorted_by("C"),
    ]
}

/// For workloads that ran one after another, as in the lab: no moment shows two of them.
fn over_time() -> Vec<Panel> {
    let sum_of = |selector| sum(HOST_WORKLOAD, format_args!("increase({selector}[{RANGE}])"));
    let on_cpu = sum_of(chosen(&catalog::WORKLOAD_ON_CPU));
    let runnable = sum_of(chosen(&catalog::WORKLOAD_RUNNABLE));
    let transit = sum_of(chosen(&catalog::WORKLOAD_TRANSIT));
    let life = format!("(({on_cpu} + {runnable}) + {transit}) + {}", sum_of(chosen(&catalog::WORKLOAD_BLOCKED)));
    let share = |part| format!("{part} / (({life}) > 0)");
    let blocked = |reasons| share(sum_of(chosen_where(&catalog::WORKLOAD_BLOCKED, &format!("reason=~\"{reasons}\""))));
    let for_each_second = |selector| format!("{} / ({on_cpu} > 0.01)", sum_of(selector));
    let switches = |kind| for_each_second(chosen_where(&catalog::WORKLOAD_SWITCHES, &format!("kind=~\"{kind}\"")));
    let highest = |chart| format!("max_over_time(({chart})[{RANGE}:{STEP}])");
    vec![
        table("What each did in the chosen time", ROWS)
            .read(
                "One row per workload and host, over all the time shown, whether they ran at once or in turn. At most: peaks of C \
                 and D over an interval as in the charts below, which add hosts up; zooming out lengthens the interval and lowers \
                 the peak. Effective: cores the CPU time is spread over. Switches and migrations: per second on a CPU. What came \
                 before a workload's first scrape is missing.",
            )
            .look_next(
                "The same work with less CPU time was cheaper; with a higher C it was done sooner. C at most near 1 with D near 1: \
                 one core would do. D at most above C: some waited for a CPU. Many voluntary switches: threads hand something to \
                 each other; see below what they wait for.",
            )
            .column("CPU time", Unit::Seconds, on_cpu.clone())
            .mean("C at most", highest(running(HOST_WORKLOAD)))
            .mean("D at most", highest(demand(HOST_WORKLOAD)))
            .mean("Effective CPUs", spread("increase", RANGE))
            .column("Voluntary switches", Unit::PerSecond, switches("voluntary"))
            .column("Preemptions", Unit::PerSecond, switches("preempted"))
            .column("Migrations", Unit::PerSecond, for_each_second(chosen(&catalog::WORKLOAD_MIGRATIONS)))
            .linked("Workload", "Core map of this workload", core_map::UID, "workload")
            .sorted_by("C at most"),
        table("Where the time of the threads went", ROWS)
            .read(
                "Shares of the time of all the workload's threads; a row adds up to 100 %, but for rounding. GIL: Python's \
                 interpreter lock. Lock: another lock, a join or a condition. Event loop: poll and its like.",
            )
            .look_next(
                "GIL or lock: more threads will not help, processes may. Waiting for a CPU: fewer threads or more cores. The world \
                 (sleep, files, network): more threads or asyncio overlap it.",
            )
            .share("Running", share(on_cpu.clone()))
            .share("Waiting for a CPU", share(runnable.clone()))
            .share("Woken, not yet queued", share(transit.clone()))
            .share("GIL", blocked("gil"))
            .share("Lock", blocked("futex"))
            .share("Lock in the kernel", blocked("mmap_lock|kernel_lock"))
            .share("Event loop", blocked("poll"))
            .share("Sleep", blocked("sleep"))
            .share("Pipe or socket", blocked("pipe_socket"))
            .share("Disk", blocked("disk|page_fault"))
            .share("Child", blocked("child_wait"))
            .share("Other", blocked("unknown|stopped|other"))
            .sorted_by("Running"),
    ]
}

fn parallelism() -> Vec<Panel> {
    vec![
        lines("C: CPUs in use", Unit::Short)
            .read(
                "Mean number of the workload's threads on a CPU. Threads that compute under one GIL stay near 1; processes and \
                 native threads rise to the CPUs they may use.",
            )
            .look_next("D beside it tells whether C is low for want of CPUs or of work.")
            .query(running(WORKLOAD), "{{workload}}"),
        lines("D: CPUs wanted", Unit::Short)
            .read("Mean number of threads running or waiting for a CPU. A thread with work counts as 1 however busy the host is.")
            .look_next("D far above C: see Runnable and waiting for a CPU, below. D equal to C: see what blocks the rest.")
            .query(demand(WORKLOAD), "{{workload}}"),
        lines("Effective CPUs", Unit::Short)
            .read(
                "How many cores the running time is spread over: C for processes that fill their cores, more for threads that take \
                 turns on several. Zooming out lengthens the interval, and so widens the spread.",
            )
            .look_next("Well above C: compare the migrations below.")
            .query(effective_cpus(), "{{workload}} on {{instance}}"),
    ]
}

fn waiting() -> Vec<Panel> {
    vec![
        stacked("Waiting for Python's interpreter lock", Unit::Short)
            .read("Mean number of threads waiting for the GIL. With n busy threads in a process, and a CPU for each, near n - 1.")
            .look_next("Not 0: processes, subinterpreters or a free-threaded build would use more cores; compare C of the twins.")
            .query(waiting_for_gil(WORKLOAD), "{{workload}}"),
        stacked("Runnable and waiting for a CPU", Unit::Short)
            .read("Mean number of threads that could run but have no CPU.")
            .look_next("Not 0 for long: the scheduler latency dashboard shows what made them wait, and how long.")
            .query(runnable(WORKLOAD), "{{workload}}"),
        stacked("Blocked, by what threads wait for", Unit::Short)
            .read(
                "Mean number of blocked threads over all chosen workloads. gil and futex: they wait for each other. poll: an event \
                 loop at rest. sleep, pipe_socket, disk: they wait for the world, and more threads do no harm.",
            )
            .look_next("Each workload by itself is in the folded row Waits of each workload.")
            .query(sum("reason", rate(&catalog::WORKLOAD_BLOCKED)), "{{reason}}"),
    ]
}

fn costs() -> Vec<Panel> {
    let migrations = sum(WORKLOAD, rate(&catalog::WORKLOAD_MIGRATIONS));
    vec![
        stacked("Context switches", Unit::PerSecond)
            .read("All chosen workloads. Voluntary: it had to wait. Preempted: another task took the CPU. Yielded: it gave way.")
            .look_next(
                "Voluntary far above what the work needs: threads hand over a lock or small messages; see what they wait for. \
                 Preempted: more threads than cores. The comparison has each workload by itself.",
            )
            .query(sum("kind", rate(&catalog::WORKLOAD_SWITCHES)), "{{kind}}"),
        stacked("Migrations", Unit::PerSecond)
            .read("Moves of the workload's threads to another core, per second.")
            .look_next("The scheduler latency dashboard shows how far they go, and why.")
            .query(migrations.clone(), "{{workload}}"),
        bars("Migrations per second of running", Unit::PerSecond)
            .read("How often threads change core per second of running, over the last interval.")
            .look_next("Above a few hundred caches hardly warm up: pin the threads, or use fewer of them, and compare C.")
            .query(format!("{migrations} / ({} > 0.001)", running(WORKLOAD)), "{{workload}}"),
    ]
}

fn interpreter_lock() -> Vec<Panel> {
    let waiting = waiting_for_gil(WORKLOAD);
    vec![
        lines("Share of time lost to the lock", Unit::Share)
            .read(
                "Of the time running or waiting for the lock, the part spent waiting. n busy threads under one lock: (n - 1) / n.",
            )
            .look_next("High: processes, or code that releases the lock; compare C of the twin that uses them.")
            .query(format!("{waiting} / (({waiting} + {}) > 0.001)", running(WORKLOAD)), "{{workload}}"),
        lines("Hand-offs of the lock", Unit::PerSecond)
            .read(
                "How often per second a thread gave the lock up on request and waited until the other had it. At the default \
                 interval of 5 ms it cannot pass 200 for each lock. A thread that takes the lock before the giver waits is not \
                 seen: about one in five where measured.",
            )
            .look_next(
                "Above 100 with several busy threads: they take turns by the interval; see timeslices. Far below with long waits: \
                 a thread holds the lock in native code.",
            )
            .query(sum(WORKLOAD, rate(&catalog::WORKLOAD_GIL_HANDOFFS)), "{{workload}}"),
        lines("Switch interval", Unit::Seconds)
            .read("How long a waiting thread waits before it asks for the lock: 5 ms by default. Empty until one has waited.")
            .look_next("Not 5 ms: the program calls `sys.setswitchinterval`; shorter ones give more hand-offs and switches.")
            .query(max(HOST_WORKLOAD, chosen(&catalog::WORKLOAD_GIL_SWITCH_INTERVAL)), "{{workload}} on {{instance}}"),
        stacked("Python processes by their lock", Unit::Short)
            .read("Processes with a CPython on all chosen hosts, by who shares a lock: the process, each interpreter, or nobody.")
            .look_next("Free-threaded builds should show no waits for the lock.")
            .query(sum("gil", chosen(&catalog::PYTHON_PROCESSES)), "{{gil}}"),
        stacked("Python processes whose lock was not found", Unit::Short)
            .read("Processes since the daemon started, by reason; their waits for the lock are counted as futex.")
            .look_next("not_readable: the daemon lacks CAP_SYS_PTRACE. no_symbols, unsupported_version: a build it does not know.")
            .query(sum("reason", chosen(&catalog::PYTHON_PROCESSES_UNRESOLVED)), "{{reason}}"),
    ]
}

fn each() -> Vec<Panel> {
    vec![
        stacked("Blocked threads of $workload", Unit::Short)
            .read("Mean number of this workload's threads that are blocked, by what they wait for.")
            .look_next("Compare with the twin that does the same work in another model.")
            .query(sum("reason", rate(&catalog::WORKLOAD_BLOCKED)), "{{reason}}")
            .sized(8, 8)
            .repeated_by("workload"),
    ]
}

fn lost() -> Vec<Panel> {
    vec![
        stacked("Lost cores of $workload by cause", Unit::Short)
            .read(
                "CPUs of the host that this workload did not use, on average, by why. The height is what C is short of all CPUs. \
                 quota, mask, others: its threads wanted them and were kept off. wait_…: those that do the work were blocked. \
                 too_few_threads: nobody was there to run. It grows every two seconds; with a scrape a second the height jumps.",
            )
            .look_next(
                "quota or mask: give it more. others: the core map shows who has the cores. wait_gil: processes would use them. \
                 too_few_threads: one more thread would, if there is work for it. The daemon's own page says it in a sentence.",
            )
            .query(sum("cause", rate(&catalog::WORKLOAD_LOST)), "{{cause}}")
            .sized(8, 8)
            .repeated_by("workload"),
    ]
}

fn quotas() -> Vec<Panel> {
    let lost = sum(WORKLOAD, rate_of(chosen_where(&catalog::WORKLOAD_LOST, r#"cause=~"quota""#)));
    vec![
        lines("Share of time lost to a quota", Unit::Share)
            .read("Of the time running or kept from it by a CPU quota, the part that was lost to the quota.")
            .look_next("Not 0: raise the quota of its cgroup, `cpu.max`, or use fewer threads. An alert fires at 10 %.")
            .query(format!("{lost} / (({lost} + {}) > 0.001)", running(WORKLOAD)), "{{workload}}"),
        lines("Time throttled", Unit::Short)
            .read(
                "CPUs on which a cgroup of the workload had something to run and no time left, on average: the kernel's own count, \
                 of the cgroup that waited longest.",
            )
            .look_next("Compare with D: threads that are throttled wait for a CPU.")
            .query(sum(WORKLOAD, rate(&catalog::WORKLOAD_THROTTLED)), "{{workload}}"),
        lines("Periods throttled", Unit::PerSecond)
            .read("Periods per second in which the quota was used up; most have ten periods a second.")
            .look_next("Near ten with little time throttled: bursts that end just after the quota does.")
            .query(sum(WORKLOAD, rate(&catalog::WORKLOAD_THROTTLED_PERIODS)), "{{workload}}"),
    ]
}

fn tasks() -> Vec<Panel> {
    vec![
        lines("Threads", Unit::Short)
            .read("Threads alive, including the first of each process.")
            .look_next("Far more than D: most of them wait; see what for.")
            .query(sum(WORKLOAD, chosen(&catalog::WORKLOAD_THREADS)), "{{workload}}"),
        lines("Processes", Unit::Short)
            .read("Processes alive. As many as threads: each is single-threaded.")
            .look_next("Processes started, beside it, tells whether they are the same ones.")
            .query(sum(WORKLOAD, chosen(&catalog::WORKLOAD_PROCESSES)), "{{workload}}"),
        lines("Threads started", Unit::PerSecond)
            .read("Threads started per second.")
            .look_next("Many short ones cost more to start than they work: compare C with what a pool reaches.")
            .query(sum(WORKLOAD, rate(&catalog::WORKLOAD_THREADS_STARTED)), "{{workload}}"),
        lines("Processes started", Unit::PerSecond)
            .read("Processes started per second; each takes a millisecond or so before it works.")
            .look_next("Many: a pool of processes, or threads, would save their start.")
            .query(sum(WORKLOAD, rate(&catalog::WORKLOAD_PROCESSES_STARTED)), "{{workload}}"),
        lines("Counted for", Unit::Seconds)
            .read("Time since the workload's counters began at 0.")
            .look_next("Short again and again: names take turns in having series; give those that matter a rule.")
            .query(format!("time() - {}", max(WORKLOAD, chosen(&catalog::WORKLOAD_START_TIME))), "{{workload}}"),
    ]
}
