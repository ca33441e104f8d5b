//! The rules: one question each.

use std::fmt::Write;

use super::{
    super::table::{rate, seconds},
    FOREIGN_MAX_DEMAND, FOREIGN_MAX_WAITING, Finding, Seen, Verdict, View, obstacle,
};

/// Up to this a model is no faster than serial; the rest is noise and luck.
const NO_FASTER: f64 = 1.15;
/// Part of the ideal gain from which on a model counts as parallel.
const PARALLEL: f64 = 0.7;
/// Part of the workers that must overlap for waiting to count as overlapping.
const OVERLAPPING: f64 = 0.8;
/// Quotient of two costs from which on they differ for good.
const CLEARLY_MORE: f64 = 2.0;

/// Every question that this runtime's cells can answer.
pub(super) fn all(view: &View) -> Vec<Finding> {
    let rules: [fn(&View) -> Option<Finding>; 8] = [
        threads_compute,
        threads_hash,
        processes_compute,
        subinterpreters_compute,
        waiting_overlaps,
        event_loop_switches,
        convoy,
        cost_of_a_worker,
    ];
    rules.iter().filter_map(|rule| rule(view)).collect()
}

/// Whether a gain in speed is one.
pub(super) fn judge_speed_up(speed_up: f64, ideal: f64) -> Verdict {
    if speed_up >= (PARALLEL * ideal).max(NO_FASTER) {
        Verdict::Yes
    } else if speed_up <= NO_FASTER {
        Verdict::No
    } else {
        Verdict::Partly
    }
}

fn threads_compute(view: &View) -> Option<Finding> {
    let threads = view.cell("arithmetic", "threads")?;
    let contrast = view.cell("arithmetic", "processes-fork");
    speed(view, "threads-speed-up-computing", "Threads", "pure Python arithmetic", threads, contrast)
}

fn threads_hash(view: &View) -> Option<Finding> {
    let threads = view.cell("hash", "threads")?;
    speed(view, "threads-speed-up-hashing", "Threads", "hashing, which lets the GIL go", threads, None)
}

fn processes_compute(view: &View) -> Option<Finding> {
    let processes = view.cell("arithmetic", "processes-fork")?;
    speed(view, "processes-speed-up-computing", "Processes", "pure Python arithmetic", processes, None)
}

fn subinterpreters_compute(view: &View) -> Option<Finding> {
    let cell = view.cell("arithmetic", "subinterpreters")?;
    speed(view, "subinterpreters-speed-up-computing", "Threads with an interpreter each", "pure Python arithmetic", cell, None)
}

/// Whether a model makes a task faster, and how many cores it wants. Demand may be told where speed may not.
fn speed(view: &View, question: &'static str, who: &str, task: &str, cell: Seen, contrast: Option<Seen>) -> Option<Finding> {
    let speed_up = cell.figures.speed_up?;
    let serial = view.cell(&cell.row.cell.task, "serial")?;
    let mut cells = vec![serial, cell];
    let workers = cell.workers();
    let mut demand = format!("want {:.1} cores", cell.figures.demand_mean);
    if let Some(contrast) = contrast {
        cells.push(contrast);
        let _ = write!(demand, ", where {} processes want {:.1}", contrast.workers(), contrast.figures.demand_mean);
    }
    let (verdict, sentence) = if let Some(why) = view.obstacle_to_speed(&cells) {
        let told = if obstacle(&cells, FOREIGN_MAX_DEMAND).is_none() {
            format!(" Their demand is clear: {workers} of them {demand}.")
        } else {
            String::new()
        };
        (Verdict::Inconclusive, format!("Inconclusive whether {} speed up {task}: {why}.{told}", lower(who)))
    } else {
        let verdict = judge_speed_up(speed_up, view.ideal(workers));
        let claim = match verdict {
            Verdict::Yes => format!("{who} speed up {task}"),
            Verdict::No => format!("{who} do not speed up {task}"),
            _ => format!("{who} speed up {task} only in part"),
        };
        let got = format!("{workers} of them are {speed_up:.2}x as fast as serial on {} CPUs", view.cpus);
        (verdict, format!("{claim}: {got}; they {demand}."))
    };
    Some(finding(view, question, verdict, sentence, &cells))
}

/// Whether threads and an event loop wait for several things at once.
fn waiting_overlaps(view: &View) -> Option<Finding> {
    let (serial, threads) = (view.cell("download", "serial")?, view.cell("download", "threads")?);
    let event_loop = view.cell("download", "asyncio")?;
    let cells = [serial, threads, event_loop];
    let (verdict, sentence) = if let Some(why) = obstacle(&cells, FOREIGN_MAX_WAITING) {
        (Verdict::Inconclusive, format!("Inconclusive whether waiting overlaps: {why}."))
    } else {
        let ideal = threads.workers() as f64;
        let slower = threads.figures.speed_up?.min(event_loop.figures.speed_up?);
        let verdict = match slower {
            slower if slower >= OVERLAPPING * ideal => Verdict::Yes,
            slower if slower <= NO_FASTER => Verdict::No,
            _ => Verdict::Partly,
        };
        let claim = match verdict {
            Verdict::Yes => "Waiting overlaps, on threads as in an event loop",
            Verdict::No => "Waiting does not overlap on threads or in an event loop",
            _ => "Waiting overlaps only in part",
        };
        let [one, many, looped] = cells.map(|cell| seconds(cell.figures.wall_seconds));
        let count = threads.workers();
        let busy = threads.figures.running_mean;
        (
            verdict,
            format!(
                "{claim}: {count} downloads take {one} one by one, {many} on threads and {looped} with asyncio; the threads use {busy:.2} of a core."
            ),
        )
    };
    Some(finding(view, "waiting-overlaps", verdict, sentence, &cells))
}

/// What an event loop saves of context switches.
fn event_loop_switches(view: &View) -> Option<Finding> {
    let (threads, event_loop) = (view.cell("fetch", "threads")?, view.cell("fetch", "asyncio")?);
    let cells = [threads, event_loop];
    let per_unit = |cell: Seen| cell.figures.voluntary_per_second * cell.figures.outside_wall_seconds / cell.figures.work.max(1.0);
    let (verdict, sentence) = if let Some(why) = obstacle(&cells, FOREIGN_MAX_WAITING) {
        (Verdict::Inconclusive, format!("Inconclusive what asyncio saves of switches: {why}."))
    } else {
        let (on_threads, looped) = (per_unit(threads), per_unit(event_loop));
        let (verdict, claim) = match on_threads / looped.max(1e-9) {
            quotient if quotient >= CLEARLY_MORE => (Verdict::Yes, "An event loop saves context switches"),
            quotient if quotient > 1.0 / CLEARLY_MORE => (Verdict::Partly, "An event loop switches about as often as threads"),
            _ => (Verdict::No, "An event loop switches more often than threads"),
        };
        let [threads, looped] = [on_threads, looped].map(rate);
        (verdict, format!("{claim}: {threads} voluntary switches per fetch on threads, {looped} with asyncio."))
    };
    Some(finding(view, "event-loop-saves-switches", verdict, sentence, &cells))
}

/// Whether a thread that computes holds up one that answers requests, more than a process does.
fn convoy(view: &View) -> Option<Finding> {
    let (thread, process) = (view.cell("convoy", "thread")?, view.cell("convoy", "process")?);
    let cells = [thread, process];
    let (verdict, sentence) = if let Some(why) = view.obstacle_to_speed(&cells) {
        (Verdict::Inconclusive, format!("Inconclusive whether a computing thread holds up the others: {why}."))
    } else {
        let per_second = |cell: Seen| cell.figures.work / cell.figures.work_seconds.max(1e-9);
        let (beside_thread, beside_process) = (per_second(thread), per_second(process));
        let (verdict, claim) = if beside_process >= CLEARLY_MORE * beside_thread {
            (Verdict::Yes, "A computing thread holds up an answering one in its process")
        } else {
            (Verdict::No, "A computing thread hardly holds up an answering one in its process")
        };
        let [beside_thread, beside_process] = [beside_thread, beside_process].map(rate);
        (verdict, format!("{claim}: {beside_thread} echoes a second beside it, {beside_process} beside a computing process."))
    };
    Some(finding(view, "computing-thread-holds-up-others", verdict, sentence, &cells))
}

/// What a process costs more than a thread.
fn cost_of_a_worker(view: &View) -> Option<Finding> {
    let (threads, processes) = (view.cell("arithmetic", "threads")?, view.cell("arithmetic", "processes-fork")?);
    let mut cells = vec![threads, processes];
    cells.extend(view.cell("arithmetic", "processes-spawn"));
    let (verdict, sentence) = if let Some(why) = obstacle(&cells, FOREIGN_MAX_WAITING) {
        (Verdict::Inconclusive, format!("Inconclusive what a process costs: {why}."))
    } else {
        let start = |cell: Seen| cell.figures.start_seconds;
        let (of_thread, of_process) = (start(threads)?, start(processes)?);
        let verdict = if of_process >= CLEARLY_MORE * of_thread { Verdict::Yes } else { Verdict::No };
        let claim = if verdict == Verdict::Yes {
            "A process costs more than a thread"
        } else {
            "A process starts about as fast as a thread"
        };
        let spawned = cells
            .get(2)
            .and_then(|cell| start(*cell))
            .map_or(String::new(), |cost| format!(", {} if spawned afresh", seconds(cost)));
        let memory = |cell: Seen| cell.figures.pss_bytes.map(|bytes| bytes / f64::from(1 << 20));
        let memory = match (memory(threads), memory(processes)) {
            (Some(threads), Some(processes)) => {
                format!("; the {} of them take {processes:.0} MiB together, as threads {threads:.0}", cells[1].workers())
            }
            _ => String::new(),
        };
        (
            verdict,
            format!("{claim}: it starts in {} by fork{spawned}, a thread in {}{memory}.", seconds(of_process), seconds(of_thread)),
        )
    };
    Some(finding(view, "process-costs-more", verdict, sentence, &cells))
}

fn finding(view: &View, question: &'static str, verdict: Verdict, sentence: String, cells: &[Seen]) -> Finding {
    let cells = cells.iter().map(|cell| cell.row.cell.id.clone()).collect();
    Finding { question, runtime: view.runtime.to_owned(), verdict, sentence, cells }
}

/// A noun phrase as it stands within a sentence.
fn lower(phrase: &str) -> String {
    let mut letters = phrase.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
