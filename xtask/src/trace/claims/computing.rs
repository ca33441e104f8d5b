//! Rules about who gets faster by what.

use super::{
    reading::{Call, Reading, Unit, call},
    view::{Seen, View},
};

/// Up to this a model is no faster than serial; the rest is noise and luck.
const NO_FASTER: f64 = 1.15;
/// Part of the ideal gain, which is the number of workers or of CPUs, whichever is less, from which on a model counts as parallel.
const PARALLEL: f64 = 0.7;
/// Part of its workers that a parallel model wants to run at any time.
const WANTS_ALL: f64 = 0.9;
/// Most of the time that workers of a parallel model may wait for a GIL.
const GIL_FREE: f64 = 0.1;
/// Of what threads that take turns must wait by arithmetic, (N - 1) / N, the part from which on the GIL is what they wait for.
pub(super) const GIL_BOUND: f64 = 0.5;
/// C of threads of which one runs at a time. Above 1 as a waiter that wakes up to ask for the lock does run for a moment.
pub(super) const ONE_AT_A_TIME: f64 = 1.05;
/// C from which on threads do run at the same time.
const SEVERAL: f64 = 1.3;
/// Growth of the wait for a CPU from which on it is worse for good.
const WAITS_MORE: f64 = 3.0;
/// Gain in throughput up to which more workers than CPUs are of no use.
const NO_GAIN: f64 = 1.1;

/// Part of their time that these must have waited for the lock to be bound by it.
pub(super) fn bound_share(workers: f64) -> f64 {
    GIL_BOUND * (workers - 1.0) / workers
}

fn is_bound(threads: Seen) -> bool {
    threads.figures.gil_share >= bound_share(threads.workers()) && threads.figures.running_mean <= ONE_AT_A_TIME
}

fn is_free(cell: Seen) -> bool {
    cell.figures.gil_share <= GIL_FREE && cell.figures.demand_mean >= WANTS_ALL * cell.workers()
}

fn unresolved() -> String {
    "the interpreter's lock was not found, so waits for it cannot be told from others".to_owned()
}

pub(super) fn one_at_a_time_rule() -> String {
    format!(
        "Holds if C of the threads, over the time in which all of them compute, is at most {ONE_AT_A_TIME} and of the time that they ran or \
         waited for the GIL they waited at least {GIL_BOUND} × (N − 1) / N. Does not hold if C is at least {SEVERAL}, or D at least \
         {WANTS_ALL} × N with at most {:.0} % spent waiting for the GIL.",
        100.0 * GIL_FREE
    )
}

pub(super) fn one_at_a_time(view: &View) -> Option<Reading> {
    let threads = view.cell("arithmetic-threads")?;
    let Seen { figures, .. } = threads;
    let holds = is_bound(threads);
    let fails = figures.running_mean >= SEVERAL || is_free(threads);
    let call = call(holds, fails && !threads.is_gil_unresolved(), || {
        if threads.is_gil_unresolved() {
            return unresolved();
        }
        format!("C is {:.2} and {:.0} % of the time went into waiting for the GIL", figures.running_mean, 100.0 * figures.gil_share)
    });
    let process_demand = view.cell("arithmetic-processes-fork").map(|cell| cell.figures.demand_mean);
    let native = view.native("native-spin-threads").map(|cell| cell.figures.running_mean);
    Some(
        Reading::new(call)
            .with("threads", Unit::Count, threads.workers())
            .with("C of the threads", Unit::Plain, figures.running_mean)
            .with("D of the threads", Unit::Plain, figures.demand_mean)
            .with("waiting for the GIL", Unit::Percent, figures.gil_share)
            .maybe("D of as many processes", Unit::Plain, process_demand)
            .maybe("C of native threads", Unit::Plain, native),
    )
}

pub(super) fn threads_rule() -> String {
    format!(
        "Holds if the threads are at most {NO_FASTER}x as fast as one; does not hold from {PARALLEL} × the lesser of threads and CPUs on. On a \
         machine that is not fit to measure speed it holds if C is at most {ONE_AT_A_TIME} and at least {GIL_BOUND} × (N − 1) / N of the time \
         went into waiting for the GIL: who cannot run at the same time cannot be faster."
    )
}

pub(super) fn threads(view: &View) -> Option<Reading> {
    let (serial, threads) = (view.cell("arithmetic-serial")?, view.cell("arithmetic-threads")?);
    let call = if view.can_tell_speed(&[serial, threads]) {
        judge_speed_up(threads.figures.work_speed_up?, view.ideal(threads.workers()), true)
    } else if is_bound(threads) {
        Call::Holds
    } else {
        Call::Unfit(why_no_speed(view, &[serial, threads]))
    };
    Some(speed_reading(view, call, serial, threads).with("waiting for the GIL", Unit::Percent, threads.figures.gil_share))
}

pub(super) fn parallel_rule() -> String {
    format!(
        "Holds if the workers are at least {PARALLEL} × the lesser of workers and CPUs as fast as one; does not hold up to {NO_FASTER}x. On a \
         machine that is not fit to measure speed it holds if D is at least {WANTS_ALL} × N and at most {:.0} % of the time went into waiting \
         for a GIL: they want a core each, and nothing but the lack of cores keeps them.",
        100.0 * GIL_FREE
    )
}

pub(super) fn processes(view: &View) -> Option<Reading> {
    parallel(view, "arithmetic-serial", "arithmetic-processes-fork")
}

pub(super) fn subinterpreters(view: &View) -> Option<Reading> {
    parallel(view, "arithmetic-serial", "arithmetic-subinterpreters")
}

pub(super) fn free_threaded(view: &View) -> Option<Reading> {
    if view.cell("arithmetic-threads")?.says_gil() != Some(false) {
        let why = "this interpreter has a GIL; name a free-threaded one, such as python3.14t, with --python".to_owned();
        return Some(Reading::new(Call::NotAbout(why)));
    }
    parallel(view, "arithmetic-serial", "arithmetic-threads")
}

pub(super) fn released(view: &View) -> Option<Reading> {
    parallel(view, "hash-serial", "hash-threads")
}

fn parallel(view: &View, serial: &str, parallel: &str) -> Option<Reading> {
    let (serial, workers) = (view.cell(serial)?, view.cell(parallel)?);
    let call = if view.can_tell_speed(&[serial, workers]) {
        judge_speed_up(workers.figures.work_speed_up?, view.ideal(workers.workers()), false)
    } else if workers.is_gil_unresolved() {
        Call::Unfit(unresolved())
    } else if is_free(workers) {
        Call::Holds
    } else {
        Call::Unfit(why_no_speed(view, &[serial, workers]))
    };
    Some(speed_reading(view, call, serial, workers).with("waiting for a GIL", Unit::Percent, workers.figures.gil_share))
}

fn why_no_speed(view: &View, cells: &[Seen]) -> String {
    view.obstacle(super::Gate::Speed, cells).unwrap_or_default()
}

/// The speed-ups are shown only where they mean something.
fn speed_reading(view: &View, call: Call, serial: Seen, workers: Seen) -> Reading {
    let is_told = view.can_tell_speed(&[serial, workers]);
    Reading::new(call)
        .with("workers", Unit::Count, workers.workers())
        .with("CPUs", Unit::Count, view.cpus as f64)
        .maybe("speed-up of the work", Unit::Factor, workers.figures.work_speed_up.filter(|_| is_told))
        .maybe("with starting the workers", Unit::Factor, workers.figures.speed_up.filter(|_| is_told))
        .with("C", Unit::Plain, workers.figures.running_mean)
        .with("D", Unit::Plain, workers.figures.demand_mean)
}

/// Whether a gain in speed is one.
pub(super) fn judge_speed_up(speed_up: f64, ideal: f64, claims_none: bool) -> Call {
    let (is_faster, is_no_faster) = (speed_up >= (PARALLEL * ideal).max(NO_FASTER), speed_up <= NO_FASTER);
    let (holds, fails) = if claims_none { (is_no_faster && !is_faster, is_faster) } else { (is_faster, is_no_faster) };
    call(holds, fails, || format!("{speed_up:.2}x is neither as fast as one nor {PARALLEL} of the {ideal:.0}x that are possible"))
}

pub(super) fn too_many_rule() -> String {
    format!(
        "Holds if with four workers per CPU the part of their time that workers wait for a CPU is at least {WAITS_MORE}x that with one, or at least \
         half, while the throughput is at most {NO_GAIN}x. Does not hold if the throughput is higher than that."
    )
}

pub(super) fn too_many(view: &View) -> Option<Reading> {
    let (one, four) = (view.cell("oversubscribed-processes-1x")?, view.cell("oversubscribed-processes-4x")?);
    let two = view.cell("oversubscribed-processes-2x");
    let throughput = |cell: Seen| cell.detail("units_per_second").unwrap_or_else(|| cell.work_per_second());
    let gain = throughput(four) / throughput(one).max(1e-9);
    let (before, after) = (one.figures.queued_share, four.figures.queued_share);
    let waits = after >= (WAITS_MORE * before).clamp(0.1, 0.5);
    let call = call(waits && gain <= NO_GAIN, gain > NO_GAIN, || {
        format!("they wait {:.0} % of their time for a CPU, and {:.0} % with one worker per CPU", 100.0 * after, 100.0 * before)
    });
    Some(
        Reading::new(call)
            .with("waiting for a CPU, 1 per CPU", Unit::Percent, before)
            .maybe("with 2", Unit::Percent, two.map(|cell| cell.figures.queued_share))
            .with("with 4", Unit::Percent, after)
            .with("median wait for the next turn, 1 per CPU", Unit::Seconds, one.figures.preemption_wait_p50_seconds)
            .with("with 4 per CPU", Unit::Seconds, four.figures.preemption_wait_p50_seconds)
            .with("throughput of 4 per CPU over 1", Unit::Factor, gain),
    )
}
