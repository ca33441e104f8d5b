//! The figures of the report, section by section.

pub(super) mod check;
mod events;
pub(super) mod model;
mod table;
mod threads;
mod time;

use super::{
    Options, RunReport,
    core_map::Picture,
    words::{clean, counted, duration, mean, sane},
};

/// A block of lines; empty if there is nothing to say.
pub(super) type Block = Vec<String>;

/// Every section that stands above the core map, in reading order.
pub(super) fn all(report: &RunReport, picture: Option<&Picture>, options: &Options) -> Vec<Block> {
    vec![
        parallelism(report, options),
        model::lines(report, options),
        time::lines(report, options),
        events::switches(report, options),
        events::latency(report, options),
        threads::lines(report, picture, options),
    ]
}

/// One line: what was traced, for how long, how it ended.
pub(super) fn subject(report: &RunReport) -> String {
    let command: Vec<&str> = report.command.iter().map(String::as_str).collect();
    let what = if command.is_empty() { clean(&report.name) } else { clean(&command.join(" ")) };
    let end = match (report.exit.code, report.exit.signal) {
        (_, Some(signal)) => format!(", killed by signal {signal}"),
        (Some(code), None) => format!(", exit code {code}"),
        (None, None) => String::new(),
    };
    let tasks = &report.tasks;
    let peak = if tasks.threads > 1 && tasks.peak_threads > 0 {
        format!(", at most {} at once", tasks.peak_threads)
    } else {
        String::new()
    };
    let alive = if tasks.still_alive > 0 { format!(", {} still alive", tasks.still_alive) } else { String::new() };
    let kernel = if report.host.kernel.is_empty() { String::new() } else { format!(" · Linux {}", clean(&report.host.kernel)) };
    format!(
        "{what} · {}{end} · {}, {}{peak}{alive}{kernel}",
        duration(report.wall_seconds),
        counted(tasks.processes, "process"),
        counted(tasks.threads, "thread"),
    )
}

/// C, D, effective CPUs and what else the host did.
fn parallelism(report: &RunReport, options: &Options) -> Block {
    let cpus = &report.cpus;
    let wall = sane(report.wall_seconds);
    let host = |seconds: f64| if wall > 0.0 { sane(seconds) / wall } else { 0.0 };
    let mut table = table::Table::new("<<><<");
    for (symbol, name, value, of, meaning) in [
        ("C", "running", report.parallelism.running_mean, cpus.allowed, "threads on a CPU"),
        ("D", "demand", report.parallelism.demand_mean, cpus.allowed, "threads on a CPU or waiting for one"),
        ("", "effective CPUs", report.parallelism.effective_cpus, cpus.allowed, "CPUs that the time is spread over"),
        ("", "other programs", host(report.host.foreign_on_cpu_seconds), cpus.online, "CPUs busy with anything else"),
        ("", "idle", host(report.host.idle_seconds), cpus.online, "CPUs with nothing to run"),
    ] {
        table.row([symbol.to_owned(), name.to_owned(), mean(value), format!("of {of}"), meaning.to_owned()]);
    }
    let title = format!("Parallelism, on average ({} allowed of {} online)", counted(cpus.allowed.into(), "CPU"), cpus.online);
    let mut lines = vec![options.colour.strong(&title)];
    lines.extend(table.lines());
    lines
}
