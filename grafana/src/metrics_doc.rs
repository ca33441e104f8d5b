//! `docs/metrics.md`, from the catalog.

use std::fmt::Write as _;

use schedscope::metrics::catalog::{self, Bound, Kind, Label, Metric, Unit};

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
