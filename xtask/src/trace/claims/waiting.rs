//! Rules about waiting, and who waits for whom.

use super::{
    reading::{Reading, Unit, call},
    view::{Seen, View},
};

/// Part of the workers that must overlap for waiting to count as overlapping.
const OVERLAPPING: f64 = 0.8;
/// Up to this nothing overlaps.
const NO_OVERLAP: f64 = 1.15;
/// Quotient of switches from which on they are far fewer.
const FAR_FEWER: f64 = 5.0;
/// Quotient of delays from which on a loop stays responsive by comparison.
const MORE_RESPONSIVE: f64 = 5.0;
/// Delay up to which a loop is responsive.
const RESPONSIVE_SECONDS: f64 = 0.01;

pub(super) fn overlap_rule() -> String {
    format!(
        "Holds if N downloads at once are at least {OVERLAPPING} × N times as fast as one after the other, on threads, on processes and with asyncio. \
         Does not hold if any of the three is at most {NO_OVERLAP}x as fast."
    )
}

pub(super) fn overlap(view: &View) -> Option<Reading> {
    let serial = view.cell("download-serial")?;
    let ids = ["download-threads", "download-processes-fork", "download-asyncio"];
    let cells: Vec<Seen> = ids.iter().map(|id| view.cell(id)).collect::<Option<_>>()?;
    let gains: Vec<f64> = cells.iter().map(|cell| cell.figures.work_speed_up).collect::<Option<_>>()?;
    let workers = cells[0].workers();
    let least = gains.iter().copied().fold(f64::INFINITY, f64::min);
    let call = call(least >= OVERLAPPING * workers, least <= NO_OVERLAP && view.can_tell_speed(&cells), || {
        format!("the slowest is {least:.2}x as fast as serial")
    });
    Some(
        Reading::new(call)
            .with("downloads", Unit::Count, workers)
            .with("one after the other", Unit::Seconds, serial.figures.work_seconds)
            .with("on threads", Unit::Factor, gains[0])
            .with("on processes", Unit::Factor, gains[1])
            .with("with asyncio", Unit::Factor, gains[2])
            .with("CPUs that the threads use", Unit::Plain, cells[0].figures.running_mean),
    )
}

pub(super) fn switches_rule() -> String {
    format!(
        "Holds if asyncio does it in one thread and threads take at least {FAR_FEWER} times as many voluntary switches for the same sleeps. Does not \
         hold if asyncio takes as many or more."
    )
}

pub(super) fn switches(view: &View) -> Option<Reading> {
    let (threads, event_loop) = (view.cell("sleep-threads")?, view.cell("sleep-asyncio")?);
    let per_unit = |cell: Seen| cell.voluntary() / cell.figures.work.max(1.0);
    let (many, few) = (per_unit(threads), per_unit(event_loop));
    let quotient = many / few.max(1e-9);
    let tasks = event_loop.waiting_threads()?;
    let call = call(tasks <= 1.0 && quotient >= FAR_FEWER, quotient <= 1.0, || {
        format!("{tasks:.0} threads, and a {quotient:.1}th of the switches")
    });
    let fetch = |id: &str| view.cell(id).map(per_unit);
    Some(
        Reading::new(call)
            .with("switches per sleep on threads", Unit::Plain, many)
            .with("with asyncio", Unit::Plain, few)
            .with("threads over asyncio", Unit::Factor, quotient)
            .maybe("threads that wait", Unit::Count, threads.waiting_threads())
            .with("with asyncio, threads", Unit::Count, tasks)
            .maybe("switches per fetched page on threads", Unit::Plain, fetch("fetch-threads"))
            .maybe("per page with asyncio", Unit::Plain, fetch("fetch-asyncio")),
    )
}

pub(super) fn responsive_rule() -> String {
    format!(
        "Holds if the 99th percentile of the loop's delay, with the computing in another process, is at most {:.0} ms and a {MORE_RESPONSIVE:.0}th of \
         that with the computing in the loop. Does not hold if it is as long or longer.",
        1e3 * RESPONSIVE_SECONDS
    )
}

pub(super) fn responsive(view: &View) -> Option<Reading> {
    let (inside, process) = (view.cell("lag-in-loop")?, view.cell("lag-process-pool")?);
    let lag = |cell: Seen| cell.figures.latency_p99_seconds;
    let (blocked, free) = (lag(inside)?, lag(process)?);
    let call = call(
        free <= RESPONSIVE_SECONDS && blocked >= MORE_RESPONSIVE * free,
        free >= blocked && view.can_tell_speed(&[inside, process]),
        || format!("the delay is {:.1} ms, and {:.1} ms with the computing in the loop", 1e3 * free, 1e3 * blocked),
    );
    Some(
        Reading::new(call)
            .with("delay, computing in the loop", Unit::Seconds, blocked)
            .maybe("computing in a thread", Unit::Seconds, view.cell("lag-to-thread").and_then(lag))
            .with("computing in a process", Unit::Seconds, free),
    )
}
