//! What follows from the model: one sentence, or none.

use super::{
    facts::{Facts, ThreadFacts},
    name::Name,
};

/// Part of the cores from which on a program has no more to gain from them.
const SATURATED: f64 = 0.9;
/// Demand from which on an event loop does not mostly wait.
const BUSY: f64 = 0.5;
/// Runnable workers per core from which on fewer would do.
const CROWDED: f64 = 1.5;

/// The advice; empty if there is none to give.
pub fn of(name: Name, facts: &Facts) -> String {
    let cores = f64::from(facts.cores);
    match name {
        Name::ThreadsGilBound => gil_bound(facts),
        Name::ThreadsTakingTurns => {
            "If they compute in Python, processes would run at the same time; threads of one interpreter do not.".to_owned()
        }
        Name::Serial if facts.running >= SATURATED && facts.cores > 1 => {
            format!("One thread cannot use more than one of the {} cores: divide the work among processes or threads.", facts.cores)
        }
        Name::Serial if facts.running < 0.5 => {
            "It mostly waits: let its waits overlap, with an event loop or with threads, rather than give it more cores.".to_owned()
        }
        Name::Asyncio | Name::EventLoop if facts.running >= SATURATED => {
            "The loop never rests, and everything in it waits for its turn: move the computing to processes.".to_owned()
        }
        Name::Asyncio | Name::EventLoop if facts.demand >= BUSY => {
            format!(
                "One thread does it all, and wants a core {:.0} % of the time: no other core can help it.",
                100.0 * facts.demand
            )
        }
        Name::ThreadsWaiting | Name::Asyncio | Name::EventLoop => {
            "It waits rather than computes: more cores would not make it faster.".to_owned()
        }
        Name::NativeThreads if locks(facts) >= 0.5 && facts.running < 0.6 * cores => {
            format!(
                "Its threads spend {:.0} % of their time waiting for locks or for each other: more threads would not help.",
                locks(facts) * 100.0
            )
        }
        _ if facts.demand > CROWDED * cores && facts.running >= SATURATED * cores => {
            format!(
                "{:.1} threads want {} cores: fewer workers would do the same work with less waiting.",
                facts.demand, facts.cores
            )
        }
        _ => String::new(),
    }
}

fn gil_bound(facts: &Facts) -> String {
    let workers = facts.workers().count();
    let longest = facts.workers().map(|worker| worker.life).fold(0.0, f64::max);
    let waiting = if longest > 0.0 { facts.workers().map(|worker| worker.gil).sum::<f64>() / longest } else { 0.0 };
    let who = format!("{waiting:.1} of {workers} workers are waiting for the GIL");
    if facts.cores > 1 {
        format!("Move the CPU work to processes: {who}.")
    } else {
        format!("{who}, and with one core there is nothing to gain from running at the same time.")
    }
}

/// Part of the workers' lives spent at futexes.
fn locks(facts: &Facts) -> f64 {
    let life: f64 = facts.workers().map(|worker| worker.life).sum();
    if life > 0.0 { facts.workers().map(|worker: &ThreadFacts| worker.futex).sum::<f64>() / life } else { 0.0 }
}
