//! The busiest threads.

use super::{
    super::{
        Options, RunReport,
        core_map::Picture,
        schema::ThreadReport,
        words::{clean, duration, grouped, percent, sane, share},
    },
    Block,
    table::Table,
};

/// Most threads listed.
const SHOWN: usize = 10;
/// Most CPUs listed per thread.
const CPUS_SHOWN: usize = 3;

pub(super) fn lines(report: &RunReport, picture: Option<&Picture>, options: &Options) -> Block {
    let mut threads: Vec<&ThreadReport> = report.threads.iter().collect();
    threads.sort_by(|a, b| sane(b.on_cpu_seconds).total_cmp(&sane(a.on_cpu_seconds)));
    threads.truncate(SHOWN);
    if threads.is_empty() {
        return Block::new();
    }
    let mut table = Table::new("<>>>>>>><");
    table
        .row(["thread", "tid", "on CPU", "runnable", "blocked", "voluntary", "preempted", "migrations", "CPUs"].map(str::to_owned));
    for thread in &threads {
        table.row([
            clean(&thread.comm),
            thread.tid.to_string(),
            duration(thread.on_cpu_seconds),
            duration(thread.runnable_seconds),
            duration(thread.blocked_seconds),
            grouped(thread.voluntary),
            grouped(thread.preempted),
            grouped(thread.migrations),
            cpus(thread),
        ]);
    }
    let all = report.tasks.threads.max(report.threads.len() as u64);
    let title = if all > threads.len() as u64 {
        format!("The {} busiest of {} threads", threads.len(), grouped(all))
    } else {
        "Threads".to_owned()
    };
    let mut lines = vec![options.colour.strong(&title)];
    let keys = std::iter::once(None).chain(threads.iter().map(|thread| picture?.key(thread)));
    for (line, key) in table.lines().zip(keys) {
        // Over the indentation, so that the columns stay in line.
        lines.push(match key {
            Some(key) => format!("{} {}", key.mark(options.colour), &line[2..]),
            None => line,
        });
    }
    lines
}

/// The thread's CPUs with the share of its time on each, most first: "1:98 % 0:2 %".
fn cpus(thread: &ThreadReport) -> String {
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
