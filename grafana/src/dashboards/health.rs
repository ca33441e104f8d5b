//! Daemon health: what was missed, and what tracing costs.

use schedscope::metrics::catalog;
use schedscope_ebpf::loss::Harm;

use super::measures::{HOST, daemon_cpus, losses, seconds_per_run, tracing_cpus};
use crate::{
    dashboard::{Dashboard, Row},
    foreign,
    panel::{
        Panel, Unit,
        kinds::{alarm, lines, stacked, stat},
    },
    promql::{RANGE, chosen, chosen_where, increase, max, of_daemons, rate, rate_of, sum},
};

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "schedscope-health",
        title: "schedscope: daemon health",
        description: "Whether the figures can be believed: what was missed and why, and what tracing itself costs.",
        rows: vec![
            Row::open("At a glance", glance()).in_lines(&[4, 3]),
            Row::open("Losses", lost()).in_lines(&[2, 3]),
            Row::open("Against the kernel's own figures", residuals()).in_lines(&[2, 2]),
            Row::open("Cost", cost()).in_lines(&[3]),
            Row::open("Collecting and serving", serving()).in_lines(&[3, 2]),
        ],
    }
}

fn glance() -> Vec<Panel> {
    vec![
        alarm("Missing in this time", Unit::Short)
            .read(
                "Observations that are missing from the figures of the whole time that is shown, over all chosen hosts. Should be \
                 0: then every curve beside it can be believed.",
            )
            .look_next("Not 0: when and why is in Losses, and what to do about it in docs/alerts.md.")
            .query(sum("", format_args!("increase({}[{RANGE}])", losses(Harm::Missing))), ""),
        alarm("Missing since start", Unit::Short)
            .read("Observations missing since the daemons started, over all chosen hosts, those before the first scrape included.")
            .look_next(
                "Not 0, with 0 beside it: it was before the time that is shown, or while the daemon listed the threads that ran \
                 when it started; `/status` of that daemon has the reasons.",
            )
            .query(sum("", losses(Harm::Missing)), ""),
        alarm("Programs not attached", Unit::Short)
            .read("BPF programs that do not run, over all chosen hosts. Should be 0.")
            .look_next("Not 0: BPF programs attached, below, says which; `/status` of that daemon says why.")
            .query(sum("", format_args!("1 - {}", max("instance, program", chosen(&catalog::BPF_ATTACHED)))), ""),
        alarm("Failures", Unit::PerSecond)
            .read(
                "Failures while reading, labelling and measuring the own cost, and refused requests, per second, over all chosen \
                 hosts. Should be 0.",
            )
            .look_next("Not 0: the stage is in Collecting and serving; the daemon's log has the first error of each stage.")
            .query(format!("{} + {}", sum("", rate(&catalog::COLLECTION_ERRORS)), sum("", rate(&catalog::SCRAPES_REFUSED))), ""),
        stat("CPU of programs", Unit::Share)
            .read(
                "Share of one CPU that the BPF programs take, over all chosen hosts, from the windows in which the kernel measures \
                 them; its meter itself, some 50 ns a run, is included.",
            )
            .look_next("High: the context switches per second of the host, on the core map, times the time per run below.")
            .query(sum("", tracing_cpus()), ""),
        stat("CPU of the daemon", Unit::Share)
            .read("Share of one CPU that labelling and serving take, over all chosen hosts.")
            .look_next("High: is it scraped more often than once a second? Collections per second are below.")
            .query(daemon_cpus(""), ""),
        stat("Memory", Unit::Bytes)
            .read("Memory of the largest chosen daemon, the maps that it shares with the kernel included.")
            .look_next("Growing without end: report it. High from the start: lower max_threads in its configuration.")
            .query(max("", of_daemons(&foreign::PROCESS_MEMORY)), ""),
    ]
}

fn residuals() -> Vec<Panel> {
    vec![
        alarm("Waiting threads that differ", Unit::Short)
            .read(
                "Threads at rest, of those alive now, of which any count differs from the one that the kernel has at this moment. \
                 Should be 0. Where events are hidden from tracing, a thread whose last switch was hidden differs until it runs \
                 again, which makes it good.",
            )
            .look_next(
                "Not 0, with nothing under Repaired, by reason: run `schedscope check` on that host, and report it with the output \
                 of `schedscope doctor`.",
            )
            .query(sum("", chosen_where(&catalog::CHECK_WAITING_THREADS, r#"verdict=~"differing""#)), ""),
        stacked("Threads compared at their end", Unit::PerSecond)
            .read("Threads that ended, per second, by whether all their counts were those that the kernel kept about them.")
            .look_next("Any that differ: by how much is beside it.")
            .query(sum("verdict", rate(&catalog::CHECK_THREADS)), "{{verdict}}"),
        lines("Residual of counts", Unit::PerSecond)
            .read(
                "By how much our counts of ended threads differ from the kernel's, per second, by the kernel's name for them. \
                 Should be 0.",
            )
            .look_next("Not 0: the losses above, of the same time, say what was not seen.")
            .query(sum("quantity", rate(&catalog::CHECK_RESIDUAL)), "{{quantity}}"),
        lines("Residual of on-CPU time", Unit::Short)
            .read("By how much our on-CPU time of ended threads differs from the kernel's, in seconds per second.")
            .look_next("More than a thousandth of the CPUs in use: run `schedscope check` on that host.")
            .query(sum("", rate(&catalog::CHECK_RESIDUAL_SECONDS)), "on-CPU time"),
    ]
}

fn lost() -> Vec<Panel> {
    vec![
        stacked("Missing, by reason", Unit::PerSecond)
            .read("Observations that leave a gap in the figures, per second, by reason.")
            .look_next("What each reason means and what to do is in docs/alerts.md, under SchedscopeObservationsMissing.")
            .query(sum("reason", rate_of(losses(Harm::Missing))), "{{reason}}"),
        stacked("Repaired, by reason", Unit::PerSecond)
            .read(
                "Events that were not seen, and whose effect the kernel's own accounting of the thread supplied: the figures are \
                 right all the same.",
            )
            .look_next(
                "Many: something hides events from tracing, such as a hypervisor's agent; `schedscope check` compares the figures \
                 with the kernel's.",
            )
            .query(sum("reason", rate_of(losses(Harm::Repaired))), "{{reason}}"),
        stacked("Threads without details", Unit::PerSecond)
            .read("Threads per second that are in every total, and of which no details were kept for the reports.")
            .look_next("Not 0: threads end faster than they are read; raise max_threads if their details matter.")
            .query(sum("reason", rate_of(losses(Harm::Details))), "{{reason}}"),
        lines("Records read while they changed", Unit::PerSecond)
            .read(
                "Thread records that changed under every attempt to read them; their open intervals were missing from one reading \
                 and are in the next.",
            )
            .look_next("More than a few: the daemon is starved of CPU; see its own CPU below.")
            .query(sum(HOST, rate(&catalog::TORN_RECORDS)), "{{instance}}"),
        stacked("Runs skipped for recursion", Unit::Short)
            .read(
                "Runs of a BPF program that the kernel skipped in the interval before each point, because the program was already \
                 running on that CPU. What such a run would have seen is repaired or counted as missing.",
            )
            .look_next("Not 0: compare with the losses above, at the same time.")
            .query(sum("program", increase(&catalog::BPF_RECURSION_MISSES)), "{{program}}"),
    ]
}

fn cost() -> Vec<Panel> {
    vec![
        lines("CPU spent in tracing", Unit::Share)
            .read("Share of one CPU that the BPF programs and the daemon take on each host.")
            .look_next("Which program it is, beside it; an alert fires at 2 % of the host's CPUs.")
            .query(tracing_cpus(), "{{instance}} BPF programs")
            .query(daemon_cpus(HOST), "{{instance}} daemon"),
        lines("Time per run of each BPF program", Unit::Seconds)
            .read("Mean run time over the last ten minutes, the kernel's own meter included, which is some 50 ns.")
            .look_next("Well above docs/overhead.md: the host is short of cache or of CPU.")
            .query(seconds_per_run(), "{{program}}"),
        lines("BPF programs attached", Unit::Short)
            .read(
                "Number of chosen hosts on which each program runs. Lower than the others: a kernel lacks the hook or refused the \
                 program.",
            )
            .look_next("`/status` of the daemon says why, `schedscope doctor` what to do.")
            .query(sum("program", chosen(&catalog::BPF_ATTACHED)), "{{program}}"),
    ]
}

fn serving() -> Vec<Panel> {
    vec![
        lines("Reading the counters and scraping", Unit::Seconds)
            .read("Duration of the last collection in the daemon, and of the whole scrape as Prometheus saw it.")
            .look_next("A scrape much longer than the collection: the network or a starved daemon.")
            .query(max(HOST, chosen(&catalog::COLLECTION_DURATION)), "{{instance}} collection")
            .query(max(HOST, of_daemons(&foreign::SCRAPE_DURATION)), "{{instance}} scrape"),
        lines("Collections, refusals and failures", Unit::PerSecond)
            .read(
                "Collections per second, and what went wrong: requests refused because too many were being served or because they \
                 asked for another host, and errors by stage.",
            )
            .look_next(
                "too_many: too many scrapers, or one that reads slowly. foreign_host: a page of another site asks, or a proxy \
                 passes its own name on; see docs/web.md. An error: the daemon's log.",
            )
            .query(sum("", rate(&catalog::COLLECTIONS)), "collections")
            .query(sum("reason", rate(&catalog::SCRAPES_REFUSED)), "refused: {{reason}}")
            .query(sum("stage", rate(&catalog::COLLECTION_ERRORS)), "failed: {{stage}}"),
        lines("Series", Unit::Short)
            .read("Samples in a scrape of each host. It grows with the workloads named and the CPUs they use.")
            .look_next("Near the sample_limit of prometheus.yml: lower max_workloads.")
            .query(max(HOST, chosen(&catalog::EXPOSITION_SERIES)), "{{instance}}"),
        lines("Names", Unit::Short)
            .read(
                "Workloads with series of their own, and names that earned some in the interval before each point when none was \
                 free; those are counted in other.",
            )
            .look_next("Folded not 0: raise max_workloads, or name what matters with rules.")
            .query(max(HOST, chosen(&catalog::WORKLOADS_NAMED)), "{{instance}} named")
            .query(sum(HOST, increase(&catalog::WORKLOADS_FOLDED)), "{{instance}} folded"),
        lines("Open files", Unit::Short)
            .read("Files and sockets that each daemon has open: a few dozen, and one per connection.")
            .look_next("Growing without end: clients that never close; the refusals above then rise too.")
            .query(max(HOST, of_daemons(&foreign::PROCESS_FILES)), "{{instance}}"),
    ]
}
