//! Rules about the GIL's switching and who suffers from it.

use super::{
    computing::bound_share,
    reading::{Call, Reading, Unit, call},
    view::{Seen, View},
};

/// Cell with a tenth of the usual switch interval.
const SHORT: &str = "arithmetic-threads-interval-0.5ms";
/// Cell with ten times the usual one.
const LONG: &str = "arithmetic-threads-interval-50ms";
/// Forced hand-offs, per second of CPU time, that no program makes by accident.
const FORCED_PER_SECOND: f64 = 5.0;
/// Quotient of the hand-offs at 0.5 ms and at 50 ms from which on it is the interval that sets them; 100 were exact.
const FOLLOWS_INTERVAL: f64 = 15.0;
/// Of the time that the answering thread runs or waits for the GIL, the part spent waiting from which on the GIL matters to it.
const MATTERS: f64 = 0.5;
/// The same up to which it does not.
const DOES_NOT_MATTER: f64 = 0.05;
/// Quotient of answers a second from which on one is held up; where the machine is fit to tell.
const HELD_UP: f64 = 2.0;

pub(super) fn cooperative_rule() -> String {
    format!(
        "Does not hold if threads that only compute, and so never give the GIL up by themselves, give it up at least {FORCED_PER_SECOND} times per \
         second of CPU time because others asked for it, and do so at least {FOLLOWS_INTERVAL}x as often with a switch interval of 0.5 ms as with 50 ms (the \
         latter only where the machine is fit to measure speed). Holds if, on a machine fit to measure speed, they wait for the GIL and it is never \
         taken from them."
    )
}

pub(super) fn cooperative(view: &View) -> Option<Reading> {
    let threads = view.cell("arithmetic-threads")?;
    let (short, long) = (view.cell(SHORT), view.cell(LONG));
    // Per second of CPU time, as whoever does not run cannot be asked for the lock.
    let forced =
        |cell: Seen| cell.figures.handoffs_per_second * cell.figures.outside_wall_seconds / cell.figures.on_cpu_seconds.max(1e-3);
    let ratio = short.zip(long).map(|(short, long)| forced(short) / forced(long).max(0.1));
    let cells: Vec<Seen> = [Some(threads), short, long].into_iter().flatten().collect();
    let follows = !view.can_tell_speed(&cells) || ratio.is_none_or(|ratio| ratio >= FOLLOWS_INTERVAL);
    let waits = threads.figures.gil_share >= bound_share(threads.workers());
    let is_forced = forced(threads) >= FORCED_PER_SECOND;
    let call = if threads.is_gil_unresolved() {
        Call::Between("the interpreter's lock was not found".to_owned())
    } else {
        call(waits && forced(threads) < 0.1 && view.can_tell_speed(&cells), waits && is_forced && follows, || match ratio {
            _ if !waits => "the threads do not wait for a GIL".to_owned(),
            // Whoever wakes up on the same CPU goes first there, as it has waited longer.
            _ if !is_forced && !view.can_tell_speed(&cells) => {
                "on a busy machine the next thread has the lock before the one that gave it up is seen waiting for that".to_owned()
            }
            Some(ratio) if is_forced => format!("at 0.5 ms it changes hands {ratio:.1}x as often as at 50 ms"),
            _ => format!("it was taken away {:.1} times per second of CPU time", forced(threads)),
        })
    };
    Some(
        Reading::new(call)
            .with("taken away per second of CPU time, interval 5 ms", Unit::Rate, forced(threads))
            .maybe("interval 0.5 ms", Unit::Rate, short.map(forced))
            .maybe("interval 50 ms", Unit::Rate, long.map(forced))
            .maybe("0.5 ms over 50 ms", Unit::Factor, ratio)
            .maybe("interval as the waits show it", Unit::Seconds, threads.switch_interval_seconds())
            .with("voluntary switches a second", Unit::Rate, threads.figures.voluntary_per_second),
    )
}

pub(super) fn convoy_rule() -> String {
    format!(
        "Does not hold if the answering thread, of the time that it runs or waits for the GIL, waits at least {:.0} % when the computing thread shares \
         its process and its CPU, and, where the machine is fit to measure speed, answers at least {HELD_UP}x as often beside a computing process. Holds if it \
         waits at most {:.0} % and does not answer {HELD_UP}x as often.",
        100.0 * MATTERS,
        100.0 * DOES_NOT_MATTER
    )
}

pub(super) fn convoy(view: &View) -> Option<Reading> {
    let (near, process) = (view.cell("convoy-thread-near")?, view.cell("convoy-process")?);
    let (far, alone) = (view.cell("convoy-thread"), view.cell("convoy-alone"));
    let waiting = near.gil_share_of("echo")?;
    let quotient = process.work_per_second() / near.work_per_second().max(1e-9);
    let can_tell = view.can_tell_speed(&[near, process]);
    let held_up = quotient >= HELD_UP;
    let call = if near.is_gil_unresolved() {
        Call::Between("the interpreter's lock was not found".to_owned())
    } else {
        call(waiting <= DOES_NOT_MATTER && can_tell && !held_up, waiting >= MATTERS && (held_up || !can_tell), || {
            format!(
                "it waits for the GIL {:.0} % of the time that it runs or waits for it, and answers {quotient:.1}x as often beside a process",
                100.0 * waiting
            )
        })
    };
    let told = |cell: Option<Seen>| cell.filter(|_| can_tell).map(|cell| cell.work_per_second());
    Some(
        Reading::new(call)
            .with("waiting for the GIL beside a computing thread", Unit::Percent, waiting)
            .maybe("the same on another CPU", Unit::Percent, far.and_then(|cell| cell.gil_share_of("echo")))
            .maybe("beside a computing process", Unit::Percent, process.gil_share_of("echo"))
            .maybe("answers a second beside a thread, same CPU", Unit::Rate, told(Some(near)))
            .maybe("same process, other CPU", Unit::Rate, told(far))
            .maybe("beside a process", Unit::Rate, told(Some(process)))
            .maybe("alone", Unit::Rate, told(alone))
            .maybe("median answer beside a thread", Unit::Seconds, near.figures.latency_p50_seconds.filter(|_| can_tell)),
    )
}
