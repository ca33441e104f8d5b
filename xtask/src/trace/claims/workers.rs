//! Rules about what workers share, lose, cost and survive.

use super::{
    reading::{Reading, Unit, call},
    view::{Seen, View},
};

/// Quotient of two costs from which on they differ for good.
const CLEARLY_MORE: f64 = 2.0;

pub(super) fn sharing_rule() -> String {
    "Holds if the parent finds in its list what its threads put there and nothing of what its processes put there. Does not hold if it is the \
     other way round in either."
        .to_owned()
}

pub(super) fn sharing(view: &View) -> Option<Reading> {
    let (threads, processes) = (view.cell("shared-memory-threads")?, view.cell("shared-memory-processes")?);
    let seen = |cell: Seen| cell.detail("seen_by_parent");
    let count = |cell: Seen| cell.detail("seen_by_parent_count").or_else(|| seen(cell));
    let (by_threads, by_processes) = (seen(threads)? > 0.0, count(processes)? > 0.0);
    let call = call(by_threads && !by_processes, !by_threads || by_processes, String::new);
    Some(
        Reading::new(call)
            .with("workers", Unit::Count, threads.workers())
            .maybe("items that the parent sees of threads", Unit::Count, count(threads))
            .maybe("of processes", Unit::Count, count(processes))
            .maybe("items that the processes see themselves", Unit::Count, processes.detail("seen_by_writers")),
    )
}

pub(super) fn cost_rule() -> String {
    format!(
        "Holds if a process takes at least {CLEARLY_MORE}x as long to start as a thread and {CLEARLY_MORE}x as much memory. Does not hold if it takes less of either."
    )
}

pub(super) fn cost(view: &View) -> Option<Reading> {
    let (threads, processes) = (view.cell("startup-threads")?, view.cell("startup-processes-fork")?);
    let spawned = view.cell("startup-processes-spawn");
    let start = |cell: Seen| cell.figures.start_seconds;
    let memory = |cell: Seen| cell.detail("pss_bytes_per_worker");
    let (longer, larger) = (start(processes)? / start(threads)?, memory(processes)? / memory(threads)?.max(1.0));
    let call = call(
        longer >= CLEARLY_MORE && larger >= CLEARLY_MORE,
        (longer < 1.0 || larger < 1.0) && view.can_tell_speed(&[threads, processes]),
        || format!("a process takes {longer:.1}x as long to start and {larger:.1}x as much memory"),
    );
    Some(
        Reading::new(call)
            .maybe("a thread starts in", Unit::Seconds, start(threads))
            .maybe("a forked process", Unit::Seconds, start(processes))
            .maybe("a spawned one", Unit::Seconds, spawned.and_then(start))
            .maybe("memory of a thread", Unit::Bytes, memory(threads))
            .maybe("of a forked process", Unit::Bytes, memory(processes))
            .maybe("of a spawned one, memory", Unit::Bytes, spawned.and_then(memory)),
    )
}

pub(super) fn updates_rule() -> String {
    "Holds if of the increments of several threads without a lock some are lost, and of several processes each counts all of its own. Does not hold \
     if threads lose none or processes do."
        .to_owned()
}

pub(super) fn updates(view: &View) -> Option<Reading> {
    let (threads, processes) = (view.cell("lost-updates-threads")?, view.cell("lost-updates-processes")?);
    let lost_share = |cell: Seen| Some(cell.detail("lost")? / cell.detail("expected")?.max(1.0));
    let own_share = processes.detail("counted_in_own_copies")? / processes.detail("expected")?.max(1.0);
    let lost = threads.detail("lost")?;
    let call = call(lost > 0.0 && own_share >= 1.0, view.can_tell_speed(&[threads, processes]), || {
        "no update was lost this time, and other programs kept the threads from running beside each other".to_owned()
    });
    let also = |id: &str| view.cell(id).and_then(lost_share);
    Some(
        Reading::new(call)
            .maybe("lost by threads", Unit::Percent, lost_share(threads))
            .maybe("with a lock", Unit::Percent, also("lost-updates-threads-locked"))
            .maybe("with `counter += 1` on one line", Unit::Percent, also("lost-updates-threads-plain"))
            .with("counted by processes in their own copies", Unit::Percent, own_share)
            .maybe("lost by processes on memory they share", Unit::Percent, also("lost-updates-processes-value")),
    )
}

pub(super) fn crash_rule() -> String {
    "Holds if of four threads none survives the segmentation fault of one, and of four processes three do. Does not hold otherwise."
        .to_owned()
}

pub(super) fn crash(view: &View) -> Option<Reading> {
    let (threads, processes) = (view.cell("crash-threads")?, view.cell("crash-processes")?);
    let survivors = |cell: Seen| cell.detail("survivors");
    let (of_threads, of_processes) = (survivors(threads)?, survivors(processes)?);
    let workers = processes.detail("workers").unwrap_or(processes.workers());
    let holds = of_threads <= 0.0 && of_processes >= workers - 1.0;
    let fails = !holds && view.can_tell_speed(&[threads, processes]);
    let call = call(holds, fails, || "on a busy machine, a worker may be there without having run since".to_owned());
    Some(
        Reading::new(call)
            .with("workers, one of which crashes", Unit::Count, workers)
            .with("threads that survive", Unit::Count, of_threads)
            .with("processes that survive", Unit::Count, of_processes)
            .maybe("threads that survive an exception", Unit::Count, view.cell("exception-threads").and_then(survivors))
            .maybe("processes of a pool that go on", Unit::Count, view.cell("crash-process-pool").and_then(survivors)),
    )
}

pub(super) fn messages_rule() -> String {
    format!(
        "Holds if the parent sees nothing of what processes write to their memory, and a queue between threads passes at least {CLEARLY_MORE}x as many \
         messages a second as multiprocessing.Queue, which does for processes what queue.Queue does for threads. Does not hold if it sees it, or the \
         queue between threads is slower."
    )
}

pub(super) fn messages(view: &View) -> Option<Reading> {
    let shared = view.cell("shared-memory-processes")?;
    let (queue, pipe, control) = (view.cell("ipc-queue")?, view.cell("ipc-pipe")?, view.cell("queue-threads")?);
    let memory = view.cell("ipc-shared-memory");
    let rate = |cell: Seen| cell.detail("messages_per_second");
    let switches = |cell: Seen| cell.voluntary() / cell.figures.work.max(1.0);
    let quotient = rate(control)? / rate(queue)?.max(1e-9);
    let is_shared = shared.detail("seen_by_parent_count").or_else(|| shared.detail("seen_by_parent"))? > 0.0;
    let call =
        call(!is_shared && quotient >= CLEARLY_MORE, is_shared || quotient < 1.0 && view.can_tell_speed(&[queue, control]), || {
            format!("threads pass {quotient:.1}x as many messages")
        });
    let bytes = |cell: Option<Seen>| cell.and_then(|cell| cell.detail("bytes_per_second"));
    Some(
        Reading::new(call)
            .maybe("messages a second between threads", Unit::Rate, rate(control))
            .maybe("by multiprocessing.Queue", Unit::Rate, rate(queue))
            .maybe("by a pipe", Unit::Rate, rate(pipe))
            .maybe("by shared memory", Unit::Rate, memory.and_then(rate))
            .with("switches per message, threads", Unit::Plain, switches(control))
            .with("multiprocessing.Queue", Unit::Plain, switches(queue))
            .with("pipe", Unit::Plain, switches(pipe))
            .maybe("shared memory", Unit::Plain, memory.map(switches))
            .maybe("bytes a second by a pipe", Unit::Bytes, bytes(Some(pipe)))
            .maybe("by shared memory, bytes", Unit::Bytes, bytes(memory)),
    )
}
