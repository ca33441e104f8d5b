//! Pages of `docs/` that follow from the catalog, the dashboards and the rules.

use std::fmt::Write as _;

use schedscope::metrics::catalog::{self, Bound, Kind, Label, Metric, Unit};
use schedscope_ebpf::loss::{Harm, Loss};

use crate::{
    dashboards,
    rules::{
        alerts::{self, Alert},
        recordings,
    },
    variables::marks,
};

/// Hosts for which the number of series is worked out: workloads (`other` included) and CPUs.
const EXAMPLES: [(usize, usize); 2] = [(7, 16), (33, 64)];

/// The text of `docs/metrics.md`.
pub fn metrics_markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         <!-- Generated from daemon/src/metrics/catalog.rs by `cargo xtask generate`. -->\n\n\
         `schedscope daemon` serves these on `/metrics`, text format 0.0.4, beside the usual `process_*` of its own process. Times\n\
         are in seconds, to the nanosecond. Counters begin at 0 when the daemon starts, include what is still going on at the\n\
         time of the scrape, and never go down.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in catalog::ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{}`", label.name)).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{}` | {} | {} | {} |", metric.name, kind(metric), labels.join(", "), metric.help);
    }
    text.push_str(&label_values());
    text.push_str(&buckets());
    text.push_str(&series());
    text.push_str(&sources());
    text
}

fn kind(metric: &Metric) -> &'static str {
    match (metric.kind, metric.unit) {
        (Kind::Counter, _) => "counter",
        (Kind::Histogram, _) => "histogram",
        (Kind::Gauge, Unit::Info) => "gauge, always 1",
        (Kind::Gauge, Unit::Bool) => "gauge, 0 or 1",
        (Kind::Gauge, _) => "gauge",
    }
}

fn label_values() -> String {
    let mut text = String::from("\n## Label values\n\n| label | on | values |\n|---|---|---|\n");
    let mut seen: Vec<(&Label, Vec<&str>)> = Vec::new();
    for metric in catalog::ALL {
        for label in metric.labels {
            match seen.iter_mut().find(|(known, _)| *known == label) {
                Some((_, metrics)) => metrics.push(metric.name),
                None => seen.push((label, vec![metric.name])),
            }
        }
    }
    for (label, metrics) in seen {
        let values = match (label.bound, label.name) {
            (Bound::Values(values), _) => values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
            (Bound::Workloads, _) => {
                let default = catalog::DEFAULT_MAX_WORKLOADS;
                format!("at most `max_workloads` names ({default} unless configured), and `{}` for the rest", catalog::OTHER)
            }
            (Bound::Cpus, _) => "number of the CPU, as the kernel counts".to_owned(),
            (Bound::Attribute, "source") => one_of(&catalog::NAME_SOURCES),
            (Bound::Attribute, "model") => one_of(&catalog::MODELS),
            (Bound::Attribute, "node") => "number of the NUMA node".to_owned(),
            (Bound::Attribute, "version") => "version of schedscope".to_owned(),
            (Bound::Attribute, _) => "lowest number of the CPUs that share it".to_owned(),
        };
        let on = if metrics.len() > 3 { format!("{} metrics", metrics.len()) } else { format!("`{}`", metrics.join("`, `")) };
        let _ = writeln!(text, "| `{}` | {on} | {values} |", label.name);
    }
    text
}

fn one_of(values: &[&str]) -> String {
    format!("one at a time of `{}`", values.join("`, `"))
}

fn buckets() -> String {
    let bounds: Vec<u64> = catalog::le_bounds_ns().collect();
    let seconds = |ns: Option<&u64>| ns.map_or(0.0, |ns| *ns as f64 / 1e9);
    format!(
        "\n## Histogram buckets\n\nEvery histogram has {} buckets: `le` doubles from {} to {} seconds, and `+Inf`. Counts are exact\n\
         and bounds inclusive: a value equal to a bound is in that bound's bucket.\n",
        bounds.len() + 1,
        seconds(bounds.first()),
        seconds(bounds.last()),
    )
}

fn series() -> String {
    let mut text = String::from("\n## Number of series\n\nAt most:\n\n| workloads | CPUs | series |\n|---|---|---|\n");
    for (workloads, cpus) in EXAMPLES {
        let series: usize = catalog::ALL.iter().map(|metric| metric.series_at_most(workloads, cpus)).sum();
        let _ = writeln!(text, "| {workloads} | {cpus} | {series} |");
    }
    text
}

fn sources() -> String {
    let mut text = String::from("\n## Where each comes from\n\n| metric | source |\n|---|---|\n");
    for metric in catalog::ALL {
        let _ = writeln!(text, "| `{}` | {} |", metric.name, metric.source);
    }
    text
}

/// The text of `docs/dashboards.md`.
pub fn dashboards_markdown() -> String {
    let mut text = String::from(
        "# Dashboards\n\n\
         <!-- Generated from grafana/src/dashboards by `cargo xtask generate`. -->\n\n\
         How to get them into Grafana is in [grafana/README.md](../grafana/README.md). The same text is behind the (i) of each panel.\n\
         C is the mean number of a workload's threads on a CPU, D that of its threads on a CPU or waiting for one.\n",
    );
    for dashboard in dashboards::all() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {}\n\n{}\n", dashboard.title, dashboard.description);
        for row in &dashboard.rows {
            let folded = if row.collapsed { " (folded)" } else { "" };
            let _ =
                write!(text, "\n**{}**{folded}\n\n| panel | how to read it | what to look at next |\n|---|---|---|\n", row.title);
            for panel in &row.panels {
                let _ = writeln!(text, "| {} | {} | {} |", panel.title, panel.how_to_read, panel.next);
            }
        }
    }
    let _ = write!(text, "\n## Marks over time\n\nEach can be turned on and off at the top of a dashboard.\n\n");
    for mark in marks() {
        let _ = writeln!(text, "- {}: `{}`", mark.name, mark.expr);
    }
    text
}

/// The text of `docs/alerts.md`.
pub fn alerts_markdown() -> String {
    let mut text = String::from(
        "# Alerts and recorded series\n\n\
         <!-- Generated from grafana/src/rules by `cargo xtask generate`. -->\n\n\
         The rules are in [grafana/prometheus/rules](../grafana/prometheus/rules). An alert's `runbook` annotation leads to its\n\
         heading here.\n\n## Alerts\n\n",
    );
    for alert in alerts::all() {
        text.push_str(&section(&alert));
        if alert.name == "SchedscopeObservationsMissing" {
            text.push_str(&losses());
        }
    }
    text.push_str(&recorded());
    text
}

fn section(alert: &Alert) -> String {
    let mut text = format!("### {}\n\n", alert.name);
    let severity = alert.severity.name();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "*{severity}, after {}.* {}\n\n```promql\n{}\n```\n", alert.hold, alert.meaning, alert.expr);
    for (number, step) in (1..).zip(alert.steps) {
        let _ = writeln!(text, "{number}. {step}");
    }
    text.push('\n');
    text
}

fn losses() -> String {
    let mut text = String::from("| reason | the figures | what to do |\n|---|---|---|\n");
    for loss in Loss::ALL {
        let harm = match loss.harm() {
            Harm::Missing => "lack something",
            Harm::Repaired => "are right, by the kernel's own accounting",
            Harm::Details => "are right; details of single threads are missing",
        };
        let _ = writeln!(text, "| `{}` | {harm} | {} |", loss.name(), remedy(loss));
    }
    text.push('\n');
    text
}

/// What a reader of the runbook can do about a loss.
fn remedy(loss: Loss) -> &'static str {
    match loss {
        Loss::TaskTableFull => "Raise `max_threads` in the daemon's configuration above the threads of the host, and restart it.",
        Loss::PidBeyondTable => "`kernel.pid_max` was raised after the daemon started: restart it.",
        Loss::ThreadDetailEvicted => {
            "Threads end faster than they are read. Nothing that the dashboards show is affected; raise `max_threads` to have all of them."
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
        Loss::AfterEnd | Loss::ClockInversion | Loss::SlotLeaked => {
            "It should not happen: report it with the output of `schedscope doctor` and the kernel's version."
        }
    }
}

fn recorded() -> String {
    let mut text = String::from(
        "## Recorded series\n\n\
         To keep these and drop the raw ones in a central store, forward `{__name__=~\"instance.*:schedscope_.*\"}` only.\n\
         Rates are over five minutes, or ten for the cost of tracing, so that scrapes a minute apart are enough. A series has no\n\
         sample where there is no answer: no quantile of no observations, no effective CPUs of a workload that did not run.\n\n\
         | series | labels |\n|---|---|\n",
    );
    for recording in recordings::all() {
        let labels: Vec<String> = recording.labels().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(text, "| `{}` | {} |", recording.name, labels.join(", "));
    }
    text
}
