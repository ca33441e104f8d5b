//! Switches, migrations and latencies.

use super::{
    super::{
        Options, RunReport,
        schema::{Migrations, Quantiles},
        words::{clean, duration, grouped, rate},
    },
    Block,
    table::Table,
};

/// Distances in order, with what to call them.
const DISTANCES: [(&str, &str); 4] =
    [("smt", "to the SMT sibling"), ("llc", "within the cache"), ("node", "to another cache"), ("remote", "to another node")];

pub(super) fn switches(report: &RunReport, options: &Options) -> Block {
    let mut table = Table::new("<>><");
    let switches = &report.switches;
    for (name, count, meaning) in [
        ("voluntary", switches.voluntary, "the thread blocked".to_owned()),
        ("preempted", switches.preempted, "it could have gone on".to_owned()),
        ("yielded", switches.yielded, "it called sched_yield".to_owned()),
        ("migrations", report.migrations.total, migrations(&report.migrations)),
    ] {
        table.row([name.to_owned(), grouped(count), rate(count, report.wall_seconds), meaning]);
    }
    let mut lines = vec![options.colour.strong("Switches and migrations")];
    lines.extend(table.lines());
    lines
}

/// "60 at a wake-up, 19 while queued; 79 within the cache".
fn migrations(migrations: &Migrations) -> String {
    if migrations.total == 0 {
        return "no thread changed its CPU".to_owned();
    }
    let known = DISTANCES.iter().map(|(key, name)| (*key, (*name).to_owned()));
    let others = migrations.by_distance.keys().filter(|key| DISTANCES.iter().all(|(known, _)| known != key));
    let distances: Vec<String> = known
        .chain(others.map(|key| (key.as_str(), clean(key))))
        .filter_map(|(key, name)| {
            migrations.by_distance.get(key).filter(|count| **count > 0).map(|count| format!("{} {name}", grouped(*count)))
        })
        .collect();
    let causes = format!("{} at a wake-up, {} while queued", grouped(migrations.at_wakeup), grouped(migrations.while_queued));
    if distances.is_empty() { causes } else { format!("{causes}; {}", distances.join(", ")) }
}

pub(super) fn latency(report: &RunReport, options: &Options) -> Block {
    let mut table = Table::new("<>>>>>");
    table.row(["", "p50", "p90", "p99", "max", "count"].map(str::to_owned));
    for (name, quantiles) in [
        ("wake-up latency", &report.wakeup_latency_seconds),
        ("preemption wait", &report.preemption_wait_seconds),
        ("timeslice", &report.timeslice_seconds),
    ] {
        let Quantiles { count, p50, p90, p99, max } = *quantiles;
        let times = [p50, p90, p99, max].map(|seconds| if count == 0 { "-".to_owned() } else { duration(seconds) });
        table.row([vec![name.to_owned()], times.to_vec(), vec![grouped(count)]].concat());
    }
    let mut lines = vec![options.colour.strong("Latency")];
    lines.extend(table.lines());
    lines
}
