//! Pages of `docs/` that follow from the catalog, the dashboards and the rules.

use schedscope::config::DEFAULT_MAX_WORKLOADS;
use schedscope::label::OTHER;
use schedscope::metrics::catalog::{self, Bound, Kind, Label, Metric, Unit};
use schedscope_ebpf::loss::{Harm, Loss};

use crate::dashboard::Row;
use crate::dashboards;
use crate::rules::{self, Alert};
use crate::variables::annotations;

/// Example hosts for the number of series: workloads (`other` included) and CPUs.
const EXAMPLES: [[usize; 2]; 2] = [[7, 16], [33, 64]];

fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<String> = rows.into_iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect();
    format!("| {} |\n|{}\n{}", headings.join(" | "), "---|".repeat(N), rows.concat())
}

fn code<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn metrics_markdown() -> String {
    let metrics = catalog::ALL.iter().map(|metric| {
        let labels = metric.labels.iter().map(|label| label.name);
        [code([metric.name]), kind(metric).to_owned(), code(labels), metric.help.to_owned()]
    });
    let sources = catalog::ALL.iter().map(|metric| [code([metric.name]), metric.source.to_owned()]);
    let series = EXAMPLES.map(|[workloads, cpus]| {
        let series = catalog::ALL.iter().map(|metric| metric.series_at_most(workloads, cpus)).sum();
        [workloads, cpus, series].map(|count: usize| count.to_string())
    });
    let bounds: Vec<f64> = catalog::le_bounds_ns().map(|ns| ns as f64 / 1e9).collect();
    format!(
        "# Metrics\n\n\
         <!-- Generated from daemon/src/metrics/catalog.rs by `cargo xtask generate`. -->\n\n\
         `schedscope daemon` serves these on `/metrics`, text format 0.0.4, besides the usual `process_*` of its own process. Times\n\
         are in seconds, to the nanosecond. Counters start at 0 with the daemon, include intervals that are still open at the\n\
         time of the scrape (but see [where the cores went](#where-the-cores-went)), and never go down.\n\n\
         {}\n{}\n{}\n## Label values\n\n{}\n## Histogram buckets\n\n\
         Every histogram has {} buckets: `le` doubles from {} to {} seconds, and `+Inf`. Counts are exact\n\
         and bounds inclusive: a value equal to a bound is in that bound's bucket.\n\n\
         ## Number of series\n\nAt most:\n\n{}\n## Sources\n\n{}",
        table(["metric", "kind", "labels", "meaning"], metrics),
        WHERE_CORES_WENT,
        WHAT_BELONGS_WHERE,
        table(["label", "on", "values"], label_values()),
        bounds.len() + 1,
        bounds.first().unwrap_or(&0.0),
        bounds.last().unwrap_or(&0.0),
        table(["workloads", "CPUs", "series"], series),
        table(["metric", "source"], sources),
    )
}

const WHERE_CORES_WENT: &str = "\
## Where the cores went

Each workload is given every CPU of the host, whatever its masks and quotas leave it of them. What it does not use is lost, each CPU-second
to one cause of `schedscope_workload_lost_cpu_seconds_total`, by the same rules as in the report of a run. So over any window
`schedscope_workload_on_cpu_seconds_total` and this, summed over their labels, grow by the CPUs times the time; and so do those of any other
workload, since each could have had them.

| cause | the core was not used because |
|---|---|
| `quota` | a thread wanted it, and the quota of its cgroup was used up |
| `mask` | a thread wanted it, and no mask of those that wanted one allowed it |
| `others` | a thread wanted it, and other workloads, the kernel or a hypervisor had it |
| `transit` | a thread was on its way to it |
| `wait_...` | the threads that do the work were blocked, for the reason that `schedscope_workload_blocked_seconds_total` names |
| `too_few_threads` | there was nobody to run on it |

These counters grow at the end of each window, which is two seconds long, and only by windows in which the workload had threads. Every
series is there from the start.

A window looks at the masks of the 16 busiest threads of each workload, and at the cgroups of 64 processes: the busiest of each workload,
then the second busiest, and so on. A quota is that of the group among them, or above them, that was throttled longest;
`schedscope_workload_throttled_seconds_total` and `schedscope_workload_throttled_periods_total` are that group's, from the second window on
in which it was looked at. A group that holds several workloads counts for each.

The `model` label does not change with every window: a workload that has a model keeps it until another has held for three windows in a
row. The first is told at the end of the first window that has all of the workload's threads from its begin on; until then it is `idle`,
and what was shown in one window only gives way at once, since a program may begin with another phase.

The `pod_uid` and `image` labels say what a container comes from: a workload whose `source` is `container`. They are empty, which for
Prometheus is the same as absent, where that is unknown, and for any other workload.

- The UID is the one in the path of the cgroup. For a static pod that is the hash in its annotation `kubernetes.io/config.hash`; the API
  shows another UID.
- The image is what the container was started with, a tag, a digest or an id: `Config.Image` in Docker's `config.v2.json`, `image-name` in
  the lists of Podman and CRI-O. containerd keeps no file that says it. Images are cleaned as names are, and cut after 256
  characters.
- Several containers can have one name, where it was cut. Each label then has the value that all running ones share, and is empty if they
  differ. When another container takes over a name, as after an update, the labels are that container's.
- A container within a container is in the same pod, and has no image here.
";

const WHAT_BELONGS_WHERE: &str = "\
## What belongs to a workload

From its exec on a process belongs to what its executable, rule, unit or container says; what it did before belongs to its parent, and so
does a process that never calls exec. That is decided in the kernel at the exec, so a process of two milliseconds counts like any other,
and so does the first of its kind. The run that is open at the exec is split between the two workloads, and its two parts are in
`timeslice` as one, in the workload of the second.

A process is counted as started once in each workload that it comes to: forked and then executed where that leads, again by an exec into
another workload, and not by one that leads to the same workload. One that is forked and stays counts with its parent at its end, or
after a second.

The kernel sees the path of the executable, the cgroup and the name of the thread at the exec; a file that was removed has the path that it
had. What follows later is read from `/proc`:

- A Python, Node.js, Java, Ruby, Perl, PHP or shell is counted with others of its executable at first, and under the program that it runs
  once its arguments are read: `python3.11 worker.py`, `python3.11 celery` for `-m celery`, `java app.jar`. That takes up to half a second,
  longer where hundreds of processes start in a second. A script that ends before is its interpreter's, and so is what another ran until
  then. One that gets its program as text (`python3 -c`, `sh -c`), on standard input or from a file of arguments (`java @file`) stays its
  interpreter's, as does one whose program is behind the first 32 KiB of arguments, or that had replaced its arguments by a title before it
  was read, as before the daemon started. What it forks counts with it; workers that `multiprocessing` starts anew (`spawn`, `forkserver`)
  are `python3 -c`. A rule on `script` holds from then on too.
- A process that gives itself another name, or is moved to another cgroup, after its exec belongs there from the next scan on (a quarter
  of a second after the exec at most), or if it was looked at before, within a minute. What it did until then stays where it was counted,
  and it counts as started in both.
- A container is called `docker:web`, `podman:db` or `k8s:namespace/pod/container` where files of its runtime or of Kubernetes say so: under
  `host_root`, `var/lib/docker/containers`, `var/lib/containers/storage`, `run/containers/storage` and `var/log/containers`. Where they do
  not it is `runtime:id`, with twelve digits. Kubernetes writes a name down when the container has begun to run, so what runs in the first seconds may count under its id.
  A container that gets another name keeps the first, and names are cut after 96 characters.
- What a name used before it had series of its own stays in `other`; names of rules have theirs from the start. A wait that is open when
  its thread comes to another workload counts there as a whole.
- A forked process that calls exec more than a second later has been counted as started with its parent too, until the parent's workload
  has started that many others.
- A forked process in which a thread that is not the main one calls exec, before any other exec, has been counted as started with its
  parent too.
- 64 programs can be met for the first time at once, less on hosts with more than 16 CPUs (1,024 divided by the CPUs) and never less than
  16; until they are read, at the next scan, others count with their parents, as does a program with a path of more than 463 bytes or 40
  names. Each is counted as `owner_unknown`.
- Processes that were alive before the daemon started are read at the first scans, 64 at a time.

## Which names have series

A name that no rule gives has series of its own once it has used 0.1 s of CPU time, ten times as much while more than half of the places are
taken, and a hundred times for the last quarter. Its series end, and it is counted in `other` from then on, when

- it has had no process for five minutes, or for one if another name waits for its place;
- it has had its place for five minutes, there is no other, and a name without one has computed four times as much of late, where what was
  computed a minute ago counts half. One place changes hands at a time, which takes some five seconds;
- a rule that the daemon has read since takes its place.

Series that have ended do not come back with their old values: when the name has series again, its counters begin at 0, at
`schedscope_workload_start_time_seconds`.
";

fn kind(metric: &Metric) -> &'static str {
    match (metric.kind, metric.unit) {
        (Kind::Counter, _) => "counter",
        (Kind::Histogram, _) => "histogram",
        (Kind::Gauge, Unit::Info) => "gauge, always 1",
        (Kind::Gauge, Unit::Bool) => "gauge, 0 or 1",
        (Kind::Gauge, _) => "gauge",
    }
}

fn label_values() -> Vec<[String; 3]> {
    let mut seen: Vec<(&Label, Vec<&str>)> = Vec::new();
    for metric in catalog::ALL {
        for label in metric.labels {
            match seen.iter_mut().find(|(known, _)| *known == label) {
                Some((_, metrics)) => metrics.push(metric.name),
                None => seen.push((label, vec![metric.name])),
            }
        }
    }
    let row = |(label, metrics): (&Label, Vec<&str>)| {
        let values = match (label.bound, label.name) {
            (Bound::Values(values), _) => code(values.iter().copied()),
            (Bound::Workloads, _) => {
                format!("at most `max_workloads` names ({DEFAULT_MAX_WORKLOADS} unless configured), and `{OTHER}` for the rest")
            }
            (Bound::Cpus, _) => "number of the CPU, as the kernel counts them".to_owned(),
            (Bound::OneOf(values), _) => format!("one at a time of {}", code(values.iter().copied())),
            (Bound::Attribute, "node") => "number of the NUMA node".to_owned(),
            (Bound::Attribute, "version") => "version of schedscope".to_owned(),
            (Bound::Attribute, "pod_uid") => "one at a time: UID of the container's pod, or empty".to_owned(),
            (Bound::Attribute, "image") => "one at a time: the container's image, at most 256 characters, or empty".to_owned(),
            (Bound::Attribute, _) => "lowest number of the CPUs that share it".to_owned(),
        };
        let on = if metrics.len() > 3 { format!("{} metrics", metrics.len()) } else { code(metrics) };
        [code([label.name]), on, values]
    };
    seen.into_iter().map(row).collect()
}

pub(crate) fn dashboards_markdown() -> String {
    let row = |row: &Row| {
        let folded = if row.collapsed { " (folded)" } else { "" };
        let panels = row.panels.iter().map(|panel| [panel.title, panel.how_to_read, panel.next].map(str::to_owned));
        format!("\n**{}**{folded}\n\n{}", row.title, table(["panel", "how to read it", "what to look at next"], panels))
    };
    let dashboards = dashboards::all().into_iter().map(|dashboard| {
        let rows: Vec<String> = dashboard.rows.iter().map(row).collect();
        format!("\n## {}\n\n{}\n{}", dashboard.title, dashboard.description, rows.concat())
    });
    format!(
        "# Dashboards\n\n\
         <!-- Generated from grafana/src/dashboards by `cargo xtask generate`. -->\n\n\
         [grafana/README.md](../grafana/README.md) says how to get them into Grafana. The (i) of each panel shows the same text.\n\
         C is the mean number of a workload's threads on a CPU, D that of its threads on a CPU or waiting for one.\n\
         {}\n## Annotations\n\nEach can be turned on and off at the top of a dashboard.\n\n{}",
        dashboards.collect::<Vec<_>>().concat(),
        annotations().map(|annotation| format!("- {}: `{}`\n", annotation.name, annotation.expr)).concat(),
    )
}

pub(crate) fn alerts_markdown() -> Result<String, serde_yaml_ng::Error> {
    let recordings = rules::recordings()?;
    let recorded = recordings.iter().map(|recording| [code([recording.name.as_str()]), code(recording.labels())]);
    Ok(format!(
        "# Alerts and recorded series\n\n\
         <!-- Generated from grafana/prometheus/rules by `cargo xtask generate`. -->\n\n\
         The rules are in [grafana/prometheus/rules](../grafana/prometheus/rules). The `runbook` annotation of an alert leads to its\n\
         heading here.\n\n## Alerts\n\n\
         {}## Recorded series\n\n\
         To keep these and drop the raw ones in a central store, forward `{{__name__=~\"instance.*:schedscope_.*\"}}` only.\n\
         Rates are over five minutes, or ten for the cost of tracing, so that scrapes a minute apart are enough. A series has no\n\
         sample where there is nothing to say: no quantile without observations, no effective CPUs of a workload that did not run.\n\n{}",
        rules::alerts()?.iter().map(section).collect::<Vec<_>>().concat(),
        table(["series", "labels"], recorded),
    ))
}

fn section(alert: &Alert) -> String {
    let Alert { name, hold, expr, .. } = alert;
    let (meaning, steps) = alert.annotations.description.split_once('\n').unwrap_or_default();
    let losses = if name == "SchedscopeObservationsMissing" { losses() + "\n" } else { String::new() };
    let severity = &alert.labels.severity;
    format!("### {name}\n\n*{severity}, after {hold}.* {meaning}\n\n```promql\n{expr}\n```\n\n{steps}\n\n{losses}")
}

fn losses() -> String {
    let row = |loss: Loss| {
        let harm = match loss.harm() {
            Harm::Missing => "have a gap",
            Harm::Repaired => "are right: the kernel's own accounting fills the gap",
            Harm::Details => "are right, but details of single threads are missing",
        };
        [code([loss.name()]), harm.to_owned(), remedy(loss).to_owned()]
    };
    table(["reason", "the figures", "what to do"], Loss::ALL.map(row))
}

/// What a reader of the runbook can do about a loss.
fn remedy(loss: Loss) -> &'static str {
    match loss {
        Loss::TaskTableFull => {
            "Raise `max_threads` in the daemon's configuration above the number of threads on the host, and restart it."
        }
        Loss::PidBeyondTable => "`kernel.pid_max` was raised after the daemon started: restart it.",
        Loss::ThreadDetailEvicted => {
            "Threads end faster than they are read. The dashboards are not affected; raise `max_threads` to keep the details of all."
        }
        Loss::NoCounters => "Restart the daemon; if it comes back, report it with the output of `schedscope doctor`.",
        Loss::SwitchOutUnseen
        | Loss::SwitchInUnseen
        | Loss::EndUnseen
        | Loss::SwitchChainBroken
        | Loss::MigrationUnseen
        | Loss::FreeUnseen => {
            "Something hides events from tracing: look for skipped runs on the daemon health dashboard, and for a hypervisor's \
             agent. `schedscope check` says how far the figures are off."
        }
        Loss::ForkUnseen => {
            "With `task_table_full`: raise `max_threads`. Without it, something hides events from tracing, as for `end_unseen`."
        }
        Loss::OwnerUnknown => {
            "More programs than usual ran for the first time at once, or one with a very long path. What they did at first counts with \
             whoever started them; a rule by `cgroup` or `unit` on the whole service makes no difference between the two."
        }
        Loss::AfterEnd | Loss::ClockInversion | Loss::SlotLeaked => {
            "This should not happen: report it with the output of `schedscope doctor` and the kernel's version."
        }
    }
}
