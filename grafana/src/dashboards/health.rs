//! Daemon health: what was missed, and what tracing costs.

use schedscope::metrics::catalog;

use super::measures::{
    HOST, daemon_cpus, details, missing, missing_in_range, missing_since_start, repaired, seconds_per_run, tracing_cpus,
};
use crate::{
    dashboard::{Dashboard, Row},
    foreign,
    panel::{
        Panel, Text, Unit,
        kinds::{alarm, lines, stacked, stat},
    },
    promql::{increase, rate, value},
};

const PROGRAM: &[&str] = &["program"];

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-health",
        title: "schedscope: daemon health",
        description: "Whether the figures can be believed: what was missed and why, and what tracing itself costs.",
        rows: vec![
            Row::open("At a glance", glance()),
            Row::open("Losses", losses()),
            Row::open("Against the kernel's own figures", residuals()),
            Row::open("Cost", cost()),
            Row::open("Collecting and serving", serving()),
        ],
    }
}

fn glance() -> Vec<Panel> {
    vec![
        alarm(
            Unit::Short,
            Text {
                title: "Missing in this time",
                read: "Observations that are missing from the figures of the whole time that is shown, over all chosen hosts. Should be \
                       0: then every curve beside it can be believed.",
                next: "Not 0: when and why is in Losses, and what to do about it in docs/alerts.md.",
            },
        )
        .query(&missing_in_range(), "")
        .sized(6, 4),
        alarm(
            Unit::Short,
            Text {
                title: "Missing since start",
                read: "Observations missing since the daemons started, over all chosen hosts, those before the first scrape included.",
                next: "Not 0, with 0 beside it: it was before the time that is shown, or while the daemon listed the threads that ran \
                       when it started; `/status` of that daemon has the reasons.",
            },
        )
        .query(&missing_since_start(), "")
        .sized(6, 4),
        alarm(
            Unit::Short,
            Text {
                title: "Programs not attached",
                read: "BPF programs that do not run, over all chosen hosts. Should be 0.",
                next: "Not 0: BPF programs attached, below, says which; `/status` of that daemon says why.",
            },
        )
        .query(&value(&catalog::BPF_ATTACHED).max_by(&["instance", "program"]).complement().sum_by(&[]), "")
        .sized(6, 4),
        alarm(
            Unit::PerSecond,
            Text {
                title: "Failures",
                read: "Failures while reading, labelling and measuring the own cost, and refused requests, per second, over all chosen \
                       hosts. Should be 0.",
                next: "Not 0: the stage is in Collecting and serving; the daemon's log has the first error of each stage.",
            },
        )
        .query(&rate(&catalog::COLLECTION_ERRORS).sum_by(&[]).plus(&rate(&catalog::SCRAPES_REFUSED).sum_by(&[])), "")
        .sized(6, 4),
        stat(
            Unit::Share,
            Text {
                title: "CPU of programs",
                read: "Share of one CPU that the BPF programs take, over all chosen hosts, from the windows in which the kernel measures \
                       them; its meter itself, some 50 ns a run, is included.",
                next: "High: the context switches per second of the host, on the core map, times the time per run below.",
            },
        )
        .query(&tracing_cpus().sum_by(&[]), "")
        .sized(8, 4),
        stat(
            Unit::Share,
            Text {
                title: "CPU of the daemon",
                read: "Share of one CPU that labelling and serving take, over all chosen hosts.",
                next: "High: is it scraped more often than once a second? Collections per second are below.",
            },
        )
        .query(&daemon_cpus(&[]), "")
        .sized(8, 4),
        stat(
            Unit::Bytes,
            Text {
                title: "Memory",
                read: "Memory of the largest chosen daemon, the maps that it shares with the kernel included.",
                next: "Growing without end: report it. High from the start: lower max_threads in its configuration.",
            },
        )
        .query(&value(&foreign::PROCESS_MEMORY).max_by(&[]), "")
        .sized(8, 4),
    ]
}

fn residuals() -> Vec<Panel> {
    vec![
        alarm(
            Unit::Short,
            Text {
                title: "Waiting threads that differ",
                read: "Threads at rest, of those alive now, of which any count differs from the one that the kernel has at this moment. \
                       Should be 0. Where events are hidden from tracing, a thread whose last switch was hidden differs until it runs \
                       again, which makes it good.",
                next: "Not 0, with nothing under Repaired, by reason: run `schedscope check` on that host, and report it with the output \
                       of `schedscope doctor`.",
            },
        )
        .query(&value(&catalog::CHECK_WAITING_THREADS).only("verdict", &["differing"]).sum_by(&[]), "")
        .sized(12, 8),
        stacked(
            Unit::PerSecond,
            Text {
                title: "Threads compared at their end",
                read: "Threads that ended, per second, by whether all their counts were those that the kernel kept about them.",
                next: "Any that differ: by how much is beside it.",
            },
        )
        .query(&rate(&catalog::CHECK_THREADS).sum_by(&["verdict"]), "{{verdict}}"),
        lines(
            Unit::PerSecond,
            Text {
                title: "Residual of counts",
                read: "By how much our counts of ended threads differ from the kernel's, per second, by the kernel's name for them. \
                       Should be 0.",
                next: "Not 0: the losses above, of the same time, say what was not seen.",
            },
        )
        .query(&rate(&catalog::CHECK_RESIDUAL).sum_by(&["quantity"]), "{{quantity}}"),
        lines(
            Unit::Short,
            Text {
                title: "Residual of on-CPU time",
                read: "By how much our on-CPU time of ended threads differs from the kernel's, in seconds per second.",
                next: "More than a thousandth of the CPUs in use: run `schedscope check` on that host.",
            },
        )
        .query(&rate(&catalog::CHECK_RESIDUAL_SECONDS).sum_by(&[]), "on-CPU time"),
    ]
}

fn losses() -> Vec<Panel> {
    vec![
        stacked(
            Unit::PerSecond,
            Text {
                title: "Missing, by reason",
                read: "Observations that leave a gap in the figures, per second, by reason.",
                next: "What each reason means and what to do is in docs/alerts.md, under SchedscopeObservationsMissing.",
            },
        )
        .query(&missing().sum_by(&["reason"]), "{{reason}}"),
        stacked(
            Unit::PerSecond,
            Text {
                title: "Repaired, by reason",
                read: "Events that were not seen, and whose effect the kernel's own accounting of the thread supplied: the figures \
                       are right all the same.",
                next: "Many: something hides events from tracing, such as a hypervisor's agent; `schedscope check` compares the \
                       figures with the kernel's.",
            },
        )
        .query(&repaired().sum_by(&["reason"]), "{{reason}}"),
        stacked(
            Unit::PerSecond,
            Text {
                title: "Threads without details",
                read: "Threads per second that are in every total, and of which no details were kept for the reports.",
                next: "Not 0: threads end faster than they are read; raise max_threads if their details matter.",
            },
        )
        .query(&details().sum_by(&["reason"]), "{{reason}}")
        .sized(8, 8),
        lines(
            Unit::PerSecond,
            Text {
                title: "Records read while they changed",
                read: "Thread records that changed under every attempt to read them; their open intervals were missing from one \
                       reading and are in the next.",
                next: "More than a few: the daemon is starved of CPU; see its own CPU below.",
            },
        )
        .query(&rate(&catalog::TORN_RECORDS).sum_by(HOST), "{{instance}}")
        .sized(8, 8),
        stacked(
            Unit::Short,
            Text {
                title: "Runs skipped for recursion",
                read: "Runs of a BPF program that the kernel skipped in the interval before each point, because the program was already running on that \
                       CPU. What such a run would have seen is repaired or counted as missing.",
                next: "Not 0: compare with the losses above, at the same time.",
            },
        )
        .query(&increase(&catalog::BPF_RECURSION_MISSES).sum_by(PROGRAM), "{{program}}")
        .sized(8, 8),
    ]
}

fn cost() -> Vec<Panel> {
    vec![
        lines(
            Unit::Share,
            Text {
                title: "CPU spent in tracing",
                read: "Share of one CPU that the BPF programs and the daemon take on each host.",
                next: "Which program it is, beside it; an alert fires at 2 % of the host's CPUs.",
            },
        )
        .query(&tracing_cpus(), "{{instance}} BPF programs")
        .query(&daemon_cpus(HOST), "{{instance}} daemon")
        .sized(8, 8),
        lines(
            Unit::Seconds,
            Text {
                title: "Time per run of each BPF program",
                read: "Mean run time over the last ten minutes, the kernel's own meter included, which is some 50 ns.",
                next: "Well above docs/overhead.md: the host is short of cache or of CPU.",
            },
        )
        .query(&seconds_per_run(PROGRAM), "{{program}}")
        .sized(8, 8),
        lines(
            Unit::Short,
            Text {
                title: "BPF programs attached",
                read: "Number of chosen hosts on which each program runs. Lower than the others: a kernel lacks the hook or refused \
                       the program.",
                next: "`/status` of the daemon says why, `schedscope doctor` what to do.",
            },
        )
        .query(&value(&catalog::BPF_ATTACHED).sum_by(PROGRAM), "{{program}}")
        .sized(8, 8),
    ]
}

fn serving() -> Vec<Panel> {
    vec![
        lines(
            Unit::Seconds,
            Text {
                title: "Reading the counters and scraping",
                read: "Duration of the last collection in the daemon, and of the whole scrape as Prometheus saw it.",
                next: "A scrape much longer than the collection: the network or a starved daemon.",
            },
        )
        .query(&value(&catalog::COLLECTION_DURATION).max_by(HOST), "{{instance}} collection")
        .query(&value(&foreign::SCRAPE_DURATION).max_by(HOST), "{{instance}} scrape")
        .sized(8, 8),
        lines(
            Unit::PerSecond,
            Text {
                title: "Collections, refusals and failures",
                read: "Collections per second, and what went wrong: requests refused because too many were being served or because \
                       they asked for another host, and errors by stage.",
                next: "too_many: too many scrapers, or one that reads slowly. foreign_host: a page of another site asks, or a proxy \
                       passes its own name on; see docs/web.md. An error: the daemon's log.",
            },
        )
        .query(&rate(&catalog::COLLECTIONS).sum_by(&[]), "collections")
        .query(&rate(&catalog::SCRAPES_REFUSED).sum_by(&["reason"]), "refused: {{reason}}")
        .query(&rate(&catalog::COLLECTION_ERRORS).sum_by(&["stage"]), "failed: {{stage}}")
        .sized(8, 8),
        lines(
            Unit::Short,
            Text {
                title: "Series",
                read: "Samples in a scrape of each host. It grows with the workloads named and the CPUs they use.",
                next: "Near the sample_limit of prometheus.yml: lower max_workloads.",
            },
        )
        .query(&value(&catalog::EXPOSITION_SERIES).max_by(HOST), "{{instance}}")
        .sized(8, 8),
        lines(
            Unit::Short,
            Text {
                title: "Names",
                read: "Workloads with series of their own, and names that earned some in the interval before each point when none was \
                       free; those are counted in other.",
                next: "Folded not 0: raise max_workloads, or name what matters with rules.",
            },
        )
        .query(&value(&catalog::WORKLOADS_NAMED).max_by(HOST), "{{instance}} named")
        .query(&increase(&catalog::WORKLOADS_FOLDED).sum_by(HOST), "{{instance}} folded")
        .sized(12, 8),
        lines(
            Unit::Short,
            Text {
                title: "Open files",
                read: "Files and sockets that each daemon has open: a few dozen, and one per connection.",
                next: "Growing without end: clients that never close; the refusals above then rise too.",
            },
        )
        .query(&value(&foreign::PROCESS_FILES).max_by(HOST), "{{instance}}")
        .sized(12, 8),
    ]
}
