//! Daemon health: what was missed, and what tracing costs.

use schedscope::metrics::catalog;
use schedscope_ebpf::loss::Harm;

use super::measures::{HOST, daemon_cpus, losses, seconds_per_run, tracing_cpus};
use crate::dashboard::{Dashboard, Row};
use crate::foreign;
use crate::panel::kinds::{alarm, lines, stacked, stat};
use crate::panel::{Panel, Unit};
use crate::promql::{RANGE, chosen, chosen_where, increase, max, of_daemons, rate, rate_of, sum};

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
            Row::open("Collecting and serving", serving()).in_lines(&[3, 3]),
        ],
    }
}

fn glance() -> Vec<Panel> {
    vec![
        alarm("Missing in this time", Unit::Short)
            .read("Observations missing over the time shown, on all chosen hosts. At 0, every curve here can be trusted.")
            .look_next("Not 0: Losses shows when and why, docs/alerts.md says what to do.")
            .query(sum("", format_args!("increase({}[{RANGE}])", losses(Harm::Missing))), ""),
        alarm("Missing since start", Unit::Short)
            .read("Observations missing since the daemons started, including those before the first scrape.")
            .look_next("More than beside it: lost before the time shown, or as the daemon started; `/status` has the reasons.")
            .query(sum("", losses(Harm::Missing)), ""),
        alarm("Programs not attached", Unit::Short)
            .read("BPF programs that are not running, on all chosen hosts. Should be 0.")
            .look_next("Not 0: BPF programs attached, below, says which; `/status` of that daemon says why.")
            .query(sum("", format_args!("1 - {}", max("instance, program", chosen(&catalog::BPF_ATTACHED)))), ""),
        alarm("Failures", Unit::PerSecond)
            .read("Failed reads, labels and cost measurements, and refused requests, per second, on all chosen hosts. Should be 0.")
            .look_next("Not 0: Collecting and serving shows the stage; the daemon's log has the first error of each.")
            .query(format!("{} + {}", sum("", rate(&catalog::COLLECTION_ERRORS)), sum("", rate(&catalog::SCRAPES_REFUSED))), ""),
        stat("CPU of programs", Unit::Share)
            .read("Share of one CPU taken by the BPF programs of all chosen hosts, the kernel's meter (some 50 ns a run) included.")
            .look_next("High: multiply the host's context switches, on the core map, by the time per run below.")
            .query(sum("", tracing_cpus()), ""),
        stat("CPU of the daemon", Unit::Share)
            .read("Share of one CPU used for labelling and serving, on all chosen hosts.")
            .look_next("High: is it scraped more than once a second? Collections per second are below.")
            .query(daemon_cpus(""), ""),
        stat("Memory", Unit::Bytes)
            .read("Memory of the largest chosen daemon, including the maps it shares with the kernel.")
            .look_next("Growing without end: report it. High from the start: lower max_threads in its configuration.")
            .query(max("", of_daemons(&foreign::PROCESS_MEMORY)), ""),
    ]
}

fn residuals() -> Vec<Panel> {
    vec![
        alarm("Waiting threads that differ", Unit::Short)
            .read(
                "Waiting threads with a count that differs from the kernel's at this moment. Should be 0. A thread whose last \
                 switch was hidden from tracing differs until it runs again.",
            )
            .look_next(
                "Not 0 with nothing under Repaired, by reason: run `schedscope check` on that host, and report it with the output \
                 of `schedscope doctor`.",
            )
            .query(sum("", chosen_where(&catalog::CHECK_WAITING_THREADS, r#"verdict=~"differing""#)), ""),
        stacked("Threads compared at their end", Unit::PerSecond)
            .read("Threads that ended, per second, by whether all their counts match the kernel's.")
            .look_next("Any that differ: the panel beside this one says by how much.")
            .query(sum("verdict", rate(&catalog::CHECK_THREADS)), "{{verdict}}"),
        lines("Residual of counts", Unit::PerSecond)
            .read("Difference between our counts and the kernel's for threads that ended, per second. Should be 0.")
            .look_next("Not 0: the losses above, at the same time, say what was not seen.")
            .query(sum("quantity", rate(&catalog::CHECK_RESIDUAL)), "{{quantity}}"),
        lines("Residual of on-CPU time", Unit::Short)
            .read("Difference between our on-CPU time and the kernel's for threads that ended, in seconds per second.")
            .look_next("More than a thousandth of the CPUs in use: run `schedscope check` on that host.")
            .query(sum("", rate(&catalog::CHECK_RESIDUAL_SECONDS)), "on-CPU time"),
    ]
}

fn lost() -> Vec<Panel> {
    vec![
        stacked("Missing, by reason", Unit::PerSecond)
            .read("Observations per second that leave a gap in the figures.")
            .look_next("docs/alerts.md says what each reason means and what to do, under SchedscopeObservationsMissing.")
            .query(sum("reason", rate_of(losses(Harm::Missing))), "{{reason}}"),
        stacked("Repaired, by reason", Unit::PerSecond)
            .read("Events not seen whose effect the kernel's own accounting supplied: the figures are still right.")
            .look_next("Many: something hides events from tracing, such as a hypervisor's agent; compare with `schedscope check`.")
            .query(sum("reason", rate_of(losses(Harm::Repaired))), "{{reason}}"),
        stacked("Threads without details", Unit::PerSecond)
            .read("Threads per second that count in every total but of which no details were kept for reports.")
            .look_next("Not 0: threads end faster than they are read; raise max_threads if their details matter.")
            .query(sum("reason", rate_of(losses(Harm::Details))), "{{reason}}"),
        lines("Records read while they changed", Unit::PerSecond)
            .read("Thread records that changed during every attempt to read them; their open intervals come one reading late.")
            .look_next("More than a few: the daemon is starved of CPU; see its own CPU below.")
            .query(sum(HOST, rate(&catalog::TORN_RECORDS)), "{{instance}}"),
        stacked("Runs skipped for recursion", Unit::Short)
            .read("Runs the kernel skipped because the program already ran on that CPU; repaired, or counted as missing.")
            .look_next("Not 0: compare with the losses above, at the same time.")
            .query(sum("program", increase(&catalog::BPF_RECURSION_MISSES)), "{{program}}"),
    ]
}

fn cost() -> Vec<Panel> {
    vec![
        lines("CPU spent in tracing", Unit::Share)
            .read("Share of one CPU that the BPF programs and the daemon take on each host.")
            .look_next("The panel beside it shows which program; an alert fires at 2 % of the host's CPUs.")
            .query(tracing_cpus(), "{{instance}} BPF programs")
            .query(daemon_cpus(HOST), "{{instance}} daemon"),
        lines("Time per run of each BPF program", Unit::Seconds)
            .read("Mean over the last ten minutes, including the kernel's own meter of some 50 ns.")
            .look_next("Well above docs/overhead.md: the host is short of cache or CPU.")
            .query(seconds_per_run(), "{{program}}"),
        lines("BPF programs attached", Unit::Short)
            .read("Number of chosen hosts running each program. Lower than the others: a kernel lacks the hook, or refused.")
            .look_next("`/status` of the daemon says why, `schedscope doctor` what to do.")
            .query(sum("program", chosen(&catalog::BPF_ATTACHED)), "{{program}}"),
    ]
}

fn serving() -> Vec<Panel> {
    vec![
        lines("Reading the counters and scraping", Unit::Seconds)
            .read("Duration of the last collection in the daemon, and of the whole scrape as Prometheus saw it.")
            .look_next("A scrape much longer than the collection: a slow network or a starved daemon.")
            .query(max(HOST, chosen(&catalog::COLLECTION_DURATION)), "{{instance}} collection")
            .query(max(HOST, of_daemons(&foreign::SCRAPE_DURATION)), "{{instance}} scrape"),
        lines("Collections, refusals and failures", Unit::PerSecond)
            .read("Collections per second, refused requests by reason, and errors by stage.")
            .look_next(
                "too_many: too many scrapers, or a slow one. foreign_host: another site's page asks, or a proxy passes its own \
                 name on; see docs/web.md. An error: see the daemon's log.",
            )
            .query(sum("", rate(&catalog::COLLECTIONS)), "collections")
            .query(sum("reason", rate(&catalog::SCRAPES_REFUSED)), "refused: {{reason}}")
            .query(sum("stage", rate(&catalog::COLLECTION_ERRORS)), "failed: {{stage}}"),
        lines("Series", Unit::Short)
            .read("Samples per scrape of each host; they grow with the workloads named and the CPUs they use.")
            .look_next("Near the sample_limit of prometheus.yml: lower max_workloads.")
            .query(max(HOST, chosen(&catalog::EXPOSITION_SERIES)), "{{instance}}"),
        lines("Names", Unit::Short)
            .read("Workloads with series of their own, names that earned some when none was free, counted in other, and names whose series ended.")
            .look_next("Folded not 0: raise max_workloads, or name what matters with rules.")
            .query(max(HOST, chosen(&catalog::WORKLOADS_NAMED)), "{{instance}} named")
            .query(sum(HOST, increase(&catalog::WORKLOADS_FOLDED)), "{{instance}} folded")
            .query(sum(HOST, increase(&catalog::WORKLOADS_ENDED)), "{{instance}} ended"),
        lines("Open files", Unit::Short)
            .read("Files and sockets each daemon has open: a few dozen, and one per connection.")
            .look_next("Growing without end: clients never close; the refusals above then rise too.")
            .query(max(HOST, of_daemons(&foreign::PROCESS_FILES)), "{{instance}}"),
        lines("Reading processes", Unit::Short)
            .read(
                "Replacements of the process that reads others for the daemon, by how it failed, and such processes that cannot be \
                 killed. Should be 0.",
            )
            .look_next(
                "Not 0: the daemon's log names the process that it was looking at. Stopped: new Pythons are not found, and their \
                 waits for the GIL count as futex waits.",
            )
            .query(sum("reason", increase(&catalog::READER_RESTARTS)), "replaced: {{reason}}")
            .query(sum("", chosen(&catalog::READERS_LEFT_BEHIND)), "left behind")
            .query(sum("", chosen(&catalog::READER_STOPPED)), "stopped"),
    ]
}
