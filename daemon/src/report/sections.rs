//! The figures of the report, section by section.

pub(super) mod check;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement};
use schedscope_ebpf::blocked::Reason;
use schedscope_ebpf::distance::Distance;

use super::answer::title;
use super::core_map::Picture;
use super::schema::{CoresReport, Migrations, Quantiles, ThreadReport, WhatIf};
use super::terminal::{BLOCKED, Colour, RUNNABLE, RUNNING};
use super::words::{clean, columns, counted, duration, grouped, harmless, mean, percent, rate, sane, share};
use super::{Options, RunReport};
use crate::capture::python::GilKind;
use crate::units::rounded;

/// A block of lines; empty if there is nothing to say.
pub(super) type Block = Vec<String>;

/// Every section that stands above the core map, in reading order.
pub(super) fn all(report: &RunReport, picture: Option<&Picture>, options: &Options) -> Vec<Block> {
    vec![
        cores(report, options),
        parallelism(report, options),
        model(report, options),
        time(report, options),
        switches(report, options),
        latency(report, options),
        threads(report, picture, options),
    ]
}

/// A title with a table below it.
fn section(title: &str, alignments: &str, rows: impl IntoIterator<Item = Vec<String>>, options: &Options) -> Block {
    [vec![options.colour.strong(title)], table(alignments, rows)].concat()
}

/// Columns that line up, without frames and indented by two, of clean strings. One sign per column: `<` for text, `>` for figures.
fn table(alignments: &str, rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = comfy_table::Table::new();
    // A row stays one line whatever the width: callers put a key before it.
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled).add_rows(rows);
    for (column, sign) in table.column_iter_mut().zip(alignments.chars()) {
        column.set_padding((0, 2));
        column.set_cell_alignment(if sign == '>' { CellAlignment::Right } else { CellAlignment::Left });
    }
    table.lines().map(|line| format!("  {}", line.trim_end())).collect()
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
    let usable = cpus.usable();
    let wall = sane(report.wall_seconds);
    let host = |seconds: f64| if wall > 0.0 { sane(seconds) / wall } else { 0.0 };
    let rows = [
        ("C", "running", report.parallelism.running_mean, usable, "threads on a CPU"),
        ("D", "demand", report.parallelism.demand_mean, usable, "threads on a CPU or waiting for one"),
        ("", "effective CPUs", report.parallelism.effective_cpus, usable, "CPUs that the time is spread over"),
        ("", "other programs", host(report.host.foreign_on_cpu_seconds), cpus.online, "CPUs busy with anything else"),
        ("", "idle", host(report.host.idle_seconds), cpus.online, "CPUs with nothing to run"),
    ];
    let rows = rows.map(|(symbol, name, value, of, meaning)| {
        vec![symbol.to_owned(), name.to_owned(), mean(value), format!("of {of}"), meaning.to_owned()]
    });
    let quota = cpus.quota.map_or_else(String::new, |quota| format!(", with a quota of {}", mean(quota)));
    let cores =
        if cpus.share_cores(usable) { format!(", on {}", counted(cpus.physical_cores.into(), "core")) } else { String::new() };
    let title =
        format!("Parallelism, on average ({} allowed of {} online{cores}{quota})", counted(usable.into(), "CPU"), cpus.online);
    section(&title, "<<><<", rows, options)
}

/// What the limit costs, and what to do about it, a line each; empty if there is nothing to say.
pub(super) fn advice(report: &RunReport) -> Vec<String> {
    let model = &report.model;
    let cpus = &report.cpus;
    let cores = |cause: &str| {
        let count = if cause == "mask" { cpus.allowed } else { cpus.usable() };
        let shared = || format!(", on {count} CPUs that share {}", counted(cpus.physical_cores.into(), "core"));
        if cpus.share_cores(count) { shared() } else { String::new() }
    };
    // A range that ends where it began says what it would take at best.
    let is_open = |what_if: &WhatIf| what_if.wall_seconds[1] > NEARLY * report.wall_seconds;
    let is_worth_it = |what_if: &&WhatIf| what_if.is_limit && what_if.wall_seconds[0] < NEARLY * report.wall_seconds;
    let gain = model.what_if.iter().find(is_worth_it).map(|what_if| {
        let [least, most] = what_if.wall_seconds.map(duration);
        let range = match () {
            () if is_open(what_if) => format!("{least} at best"),
            () if least == most => format!("about {least}"),
            () => format!("{least} to {most}"),
        };
        format!(
            "By the threads' own time, it would take {range} instead of {} {}{}.",
            duration(report.wall_seconds),
            without(&what_if.cause),
            cores(&what_if.cause),
        )
    });
    let advice = (!model.advice.is_empty()).then(|| harmless(&model.advice));
    gain.into_iter().chain(advice).collect()
}

/// Share of the wall time that is no gain any more.
const NEARLY: f64 = 0.97;

/// What the prediction is for.
fn without(cause: &str) -> &'static str {
    match cause {
        "quota" => "without the quota",
        "mask" => "on all CPUs given",
        "others" => "without the other programs",
        "gil" => "as processes that exchange nothing",
        "locks" => "if no thread waited for another",
        "page_faults" => "with memory that is kept",
        "kernel_locks" => "if no thread waited for another in the kernel",
        _ => "if all of its work could be divided",
    }
}

/// The model with its evidence, and the lock's figures.
fn model(report: &RunReport, options: &Options) -> Block {
    let model = &report.model;
    if model.name.is_empty() {
        return Block::new();
    }
    let mut lines =
        vec![format!("{} {}, confidence {}", options.colour.strong("Model:"), clean(&model.name), percent(model.confidence))];
    lines.extend(model.evidence.iter().map(|sentence| format!("  {}", harmless(sentence))));
    lines.extend(gil(report));
    lines
}

fn gil(report: &RunReport) -> Vec<String> {
    let gil = &report.gil;
    let mut lines: Vec<String> = gil
        .interpreters
        .iter()
        .map(|interpreter| {
            let version = interpreter
                .version
                .as_deref()
                .map_or_else(|| "CPython".to_owned(), |version| format!("CPython {}", clean(version)));
            let sharing = match interpreter.gil.as_str() {
                gil if gil == GilKind::FreeThreaded.name() => "free-threaded".to_owned(),
                gil if gil == GilKind::FreeThreadedButEnabled.name() => "free-threaded, but with its GIL switched on".to_owned(),
                _ if interpreter.gils > 1 => format!("{} interpreters with a GIL each", interpreter.gils),
                _ => "one GIL".to_owned(),
            };
            format!("  {version}, {sharing}, in {} ({})", counted(interpreter.processes, "process"), clean(&interpreter.object))
        })
        .collect();
    if gil.wait_seconds > 0.0 {
        let interval =
            gil.switch_interval_seconds.map_or(String::new(), |interval| format!(", switch interval {}", duration(interval)));
        lines.push(format!(
            "  GIL: {} of waiting, {} forced hand-offs seen ({:.0}/s){interval}{}",
            duration(gil.wait_seconds),
            grouped(gil.handoffs),
            gil.handoffs_per_second,
            hold(report),
        ));
    }
    for (reason, processes) in gil.unresolved.iter().filter(|(_, processes)| **processes > 0) {
        let what = counted(*processes, "Python process");
        lines.push(format!("  The GIL of {what} was not found ({}): waits for it are among the locks.", clean(reason)));
    }
    lines
}

/// The longest that a thread held it on average.
fn hold(report: &RunReport) -> String {
    let holds = report.threads.iter().filter_map(|thread| thread.gil.as_ref()?.hold_seconds);
    holds.reduce(f64::max).map_or_else(String::new, |hold| format!(", held for up to {} at a time on average", duration(hold)))
}

const BAR: usize = 30;
/// What fills a column to 1/8, 2/8 and so on.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Where the threads' time went, as bars.
fn time(report: &RunReport, options: &Options) -> Block {
    let time = &report.time_seconds;
    let whole = sane(time.on_cpu) + sane(time.runnable) + sane(time.transit) + sane(time.blocked);
    let mut rows: Vec<(String, f64, Colour)> = vec![
        ("running".to_owned(), time.on_cpu, RUNNING),
        ("runnable after a wake-up".to_owned(), time.runnable_after_wakeup, RUNNABLE),
        ("runnable after preemption".to_owned(), time.runnable_after_preemption, RUNNABLE),
    ];
    if time.transit > 0.0 {
        rows.push(("woken, not yet in a run queue".to_owned(), time.transit, RUNNABLE));
    }
    let seconds = |reason: Reason| report.blocked_seconds_by_reason.get(reason.name()).map_or(0.0, |&seconds| sane(seconds));
    let mut blocked = Reason::ALL.map(|reason| (reason, seconds(reason))).to_vec();
    blocked.retain(|(_, seconds)| *seconds > 0.0);
    blocked.sort_by(|a, b| b.1.total_cmp(&a.1));
    rows.extend(blocked.into_iter().map(|(reason, seconds)| (format!("blocked: {}", title(reason)), seconds, BLOCKED)));
    bars(&format!("Where the time went, {} over all threads", duration(whole)), rows, whole, options)
}

/// Where the cores went, as bars.
fn cores(report: &RunReport, options: &Options) -> Block {
    let CoresReport { given_seconds, used_seconds, lost_seconds } = &report.cores;
    if *given_seconds <= 0.0 {
        return Block::new();
    }
    let mut lost: Vec<(&str, f64)> = lost_seconds.iter().map(|(cause, &seconds)| (cause.as_str(), sane(seconds))).collect();
    lost.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut rows = vec![("used".to_owned(), *used_seconds, RUNNING)];
    // What rounding leaves is in the JSON.
    let shown = lost.into_iter().filter(|(_, seconds)| *seconds >= given_seconds / 1e4);
    rows.extend(shown.map(|(cause, seconds)| (lost_to(cause), seconds, BLOCKED)));
    let title = format!("Where the cores went, {} in all", duration(*given_seconds));
    bars(&title, rows, *given_seconds, options)
}

/// A cause by its name in JSON.
fn lost_to(cause: &str) -> String {
    match cause {
        "quota" => "lost to the quota of its cgroup".to_owned(),
        "mask" => "free, but not in its threads' masks".to_owned(),
        "others" => "taken by others".to_owned(),
        "transit" => "free, and a woken thread on its way to it".to_owned(),
        "spinning" => "spent on waiting without sleeping".to_owned(),
        "too_few_threads" => "free, with no further thread".to_owned(),
        wait => {
            let reason = wait.strip_prefix("wait_").and_then(|name| Reason::ALL.into_iter().find(|reason| reason.name() == name));
            format!("free, as it waits for {}", reason.map_or(clean(wait), |reason| title(reason).to_owned()))
        }
    }
}

/// A title, and for each row its part of the whole.
fn bars(title: &str, rows: Vec<(String, f64, Colour)>, whole: f64, options: &Options) -> Block {
    let label = rows.iter().map(|(name, ..)| columns(name)).max().unwrap_or(0);
    let mut lines = vec![options.colour.strong(title)];
    for (name, seconds, colour) in rows {
        let part = share(seconds, whole);
        let bar = bar(part);
        let rest = " ".repeat(BAR - columns(&bar));
        let padding = " ".repeat(label - columns(&name));
        let bar = options.colour.paint(&bar, colour, None);
        lines.push(format!("  {name}{padding}  {bar}{rest}  {:>5}  {:>10}", percent(part), duration(seconds)));
    }
    lines
}

/// A bar for a share between 0 and 1; anything above 0 is visible.
fn bar(share: f64) -> String {
    let eighths = rounded((share * (8 * BAR) as f64).ceil());
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8 - 1]);
    }
    bar
}

fn switches(report: &RunReport, options: &Options) -> Block {
    let switches = &report.switches;
    let rows = [
        ("voluntary", switches.voluntary, "the thread blocked".to_owned()),
        ("preempted", switches.preempted, "it could have run on".to_owned()),
        ("yielded", switches.yielded, "it called sched_yield".to_owned()),
        ("migrations", report.migrations.total, migrations(&report.migrations)),
    ];
    let rows = rows.map(|(name, count, meaning)| vec![name.to_owned(), grouped(count), rate(count, report.wall_seconds), meaning]);
    section("Switches and migrations", "<>><", rows, options)
}

/// "60 at a wake-up, 19 while queued; 79 within the cache".
fn migrations(migrations: &Migrations) -> String {
    if migrations.total == 0 {
        return "no thread changed its CPU".to_owned();
    }
    let count = |distance: Distance| migrations.by_distance.get(distance.name()).copied().unwrap_or(0);
    let seen = Distance::ALL.into_iter().filter(|distance| count(*distance) > 0);
    let distances: Vec<String> = seen.map(|distance| format!("{} {}", grouped(count(distance)), reach(distance))).collect();
    let causes = format!("{} at a wake-up, {} while queued", grouped(migrations.at_wakeup), grouped(migrations.while_queued));
    if distances.is_empty() { causes } else { format!("{causes}; {}", distances.join(", ")) }
}

fn reach(distance: Distance) -> &'static str {
    match distance {
        Distance::Smt => "to the SMT sibling",
        Distance::Llc => "within the cache",
        Distance::Node => "to another cache",
        Distance::Remote => "to another node",
    }
}

fn latency(report: &RunReport, options: &Options) -> Block {
    let head = ["", "p50", "p90", "p99", "max", "count"].map(str::to_owned).to_vec();
    let rows = [
        ("wake-up latency", &report.wakeup_latency_seconds),
        ("preemption wait", &report.preemption_wait_seconds),
        ("timeslice", &report.timeslice_seconds),
    ];
    let rows = rows.map(|(name, &Quantiles { count, p50, p90, p99, max })| {
        let times = [p50, p90, p99, max].map(|seconds| if count == 0 { "-".to_owned() } else { duration(seconds) });
        [vec![name.to_owned()], times.to_vec(), vec![grouped(count)]].concat()
    });
    section("Latency", "<>>>>>", std::iter::once(head).chain(rows), options)
}

const SHOWN: usize = 10;
const CPUS_SHOWN: usize = 3;

fn threads(report: &RunReport, picture: Option<&Picture>, options: &Options) -> Block {
    let mut threads: Vec<&ThreadReport> = report.threads.iter().collect();
    threads.sort_by(|a, b| sane(b.on_cpu_seconds).total_cmp(&sane(a.on_cpu_seconds)));
    threads.truncate(SHOWN);
    if threads.is_empty() {
        return Block::new();
    }
    // Of one process all rows would say the same.
    let has_several = report.tasks.processes > 1;
    let row = |name: String, pid: String, figures: [String; 8]| {
        std::iter::once(name).chain(has_several.then_some(pid)).chain(figures).collect::<Vec<String>>()
    };
    let head = row(
        "thread".to_owned(),
        "pid".to_owned(),
        ["tid", "on CPU", "runnable", "blocked", "voluntary", "preempted", "migrations", "CPUs"].map(str::to_owned),
    );
    let rows = threads.iter().map(|thread| {
        let figures = [
            thread.tid.to_string(),
            duration(thread.on_cpu_seconds),
            duration(thread.runnable_seconds),
            duration(thread.blocked_seconds),
            grouped(thread.voluntary),
            grouped(thread.preempted),
            grouped(thread.migrations),
            cpus_of(thread),
        ];
        row(clean(&thread.comm), thread.tgid.to_string(), figures)
    });
    let all = report.tasks.threads.max(report.threads.len() as u64);
    let title = if all > threads.len() as u64 {
        format!("The {} busiest of {} threads", threads.len(), grouped(all))
    } else {
        "Threads".to_owned()
    };
    let mut lines = vec![options.colour.strong(&title)];
    let keys = std::iter::once(None).chain(threads.iter().map(|thread| picture?.key(thread)));
    let alignments = if has_several { "<>>>>>>>><" } else { "<>>>>>>><" };
    for (line, key) in table(alignments, std::iter::once(head).chain(rows)).into_iter().zip(keys) {
        // Over the indentation, so that the columns stay in line.
        lines.push(match key {
            Some(key) => format!("{} {}", key.mark(options.colour), &line[2..]),
            None => line,
        });
    }
    lines
}

/// The thread's CPUs with the share of its time on each, most first: "1:98 % 0:2 %".
fn cpus_of(thread: &ThreadReport) -> String {
    let total: f64 = thread.on_cpu_seconds_by_cpu.values().map(|&seconds| sane(seconds)).sum();
    let mut cpus: Vec<(&String, f64)> =
        thread.on_cpu_seconds_by_cpu.iter().map(|(cpu, &seconds)| (cpu, share(seconds, total))).collect();
    cpus.retain(|(_, share)| *share > 0.0);
    cpus.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut text: Vec<String> =
        cpus.iter().take(CPUS_SHOWN).map(|(cpu, share)| format!("{}:{}", clean(cpu), percent(*share).replace(' ', ""))).collect();
    if cpus.len() > CPUS_SHOWN {
        text.push(format!("+{}", cpus.len() - CPUS_SHOWN));
    }
    text.join(" ")
}
