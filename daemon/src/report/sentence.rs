//! The one sentence that says how a program maps onto the cores and why it does not use more of them.
//!
//! Idle cores have two possible causes: threads that want a CPU and wait for it, or too little demand. Demand is low because threads
//! are blocked, or because there are too few. `Facts::limit` picks the larger cause; the wording states figures of the report and
//! infers no more than they show.

mod facts;

use super::{
    RunReport, reason,
    words::{clean, counted, grouped, mean, percent, share},
};
use facts::{Facts, Group};

/// Part of the demand that has to wait before it is worth saying.
const NOTABLE_WAIT: f64 = 0.1;
/// Part of the cores that counts as all of them: short gaps are the price of any switch.
const SATURATED: f64 = 0.9;
/// Demand, in cores, below which a program is at rest.
const AT_REST: f64 = 0.1;
/// Part of its life that a program at rest may wait for a CPU before more cores could make a difference.
const HARDLY_WAITS: f64 = 0.02;

/// What keeps the program from using more of the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// No thread was seen.
    NothingSeen,
    /// It uses all it may.
    Cores,
    /// Its threads want a CPU, do not get one, and yet cores are left over.
    CpuWait,
    /// It wants next to nothing.
    AtRest,
    /// There are too few threads at a time.
    TooFewThreads,
    /// Its threads are blocked.
    Blocked,
}

/// The sentence, ended by a full stop.
pub fn sentence(report: &RunReport) -> String {
    let facts = Facts::of(report);
    let many = facts.threads != 1;
    let (they, their) = if many { ("they", "their") } else { ("it", "its") };
    match facts.limit() {
        Limit::NothingSeen => "No thread of this program was seen, so nothing can be said about its use of the cores.".to_owned(),
        Limit::Cores => {
            let mask = if facts.cores < facts.online {
                format!("; {they} may use {} of the {} online", facts.cores, facts.online)
            } else {
                String::new()
            };
            if facts.notable_wait() {
                format!("{}: {}{mask}.", facts.wants(), facts.waits_for_cpu())
            } else {
                format!("{}{mask}.", facts.keeps_busy())
            }
        }
        Limit::CpuWait => format!("{}: {}{}.", facts.wants(), facts.waits_for_cpu(), facts.who_has_the_cores(their)),
        Limit::AtRest => facts.at_rest(&Group::everyone(report)),
        Limit::TooFewThreads => format!("{}: {}.", facts.head(), facts.too_few()),
        Limit::Blocked => format!("{}: {}{}.", facts.wants(), facts.blocked(they), facts.also_waits()),
    }
}

impl Facts {
    fn limit(&self) -> Limit {
        let cores = self.cores as f64;
        let waiting = self.demand - self.running;
        let left_over = (cores - self.running).max(0.0);
        if self.threads == 0 {
            Limit::NothingSeen
        } else if self.running >= SATURATED * cores {
            Limit::Cores
        } else if self.demand < AT_REST {
            Limit::AtRest
        } else if waiting.min(left_over) >= left_over / 2.0 && self.group.mean_runnable >= self.group.mean_blocked {
            Limit::CpuWait
        } else if self.group.reasons.is_empty() || cores - self.group.mean_alive > self.group.mean_blocked {
            Limit::TooFewThreads
        } else {
            Limit::Blocked
        }
    }

    /// "8 threads", "2 processes", "9 threads in 2 processes".
    fn subject(&self) -> String {
        let (threads, processes) = (self.threads, self.processes);
        if processes <= 1 {
            counted(threads, "thread")
        } else if processes >= threads {
            counted(processes, "process")
        } else {
            format!("{} in {}", counted(threads, "thread"), counted(processes, "process"))
        }
    }

    /// "keeps 0.99 of 2 cores busy" if the demand is met, else "wants 1.02 cores and gets 0.80 of 2".
    fn head(&self) -> String {
        if self.notable_wait() { self.wants() } else { self.keeps_busy() }
    }

    fn keeps_busy(&self) -> String {
        let s = third_person(self.threads != 1);
        format!("{} keep{s} {} of {} busy", self.subject(), mean(self.running), counted(self.cores, "core"))
    }

    fn wants(&self) -> String {
        let s = third_person(self.threads != 1);
        format!(
            "{} want{s} {} cores and get{s} {} of {}",
            self.subject(),
            mean(self.demand),
            mean(self.running),
            grouped(self.cores)
        )
    }

    /// Part of the time in which the threads could run that they spend waiting for a CPU.
    fn wait_share(&self) -> f64 {
        share(self.demand - self.running, self.demand)
    }

    fn notable_wait(&self) -> bool {
        self.wait_share() >= NOTABLE_WAIT
    }

    fn waits_for_cpu(&self) -> String {
        let (they, s) = if self.threads == 1 { ("it", "s") } else { ("they", "") };
        format!("{} of the time {they} could run {they} wait{s} for a CPU", percent(self.wait_share()))
    }

    /// The same as an addition to another reason.
    fn also_waits(&self) -> String {
        if self.notable_wait() { format!("; {}", self.waits_for_cpu()) } else { String::new() }
    }

    /// What became of the cores that runnable threads did not get.
    fn who_has_the_cores(&self, their: &str) -> String {
        if self.cores_with_nearly_all < self.cores && self.running >= 0.8 * self.cores_with_nearly_all as f64 {
            format!(", and {} had nearly all of {their} CPU time, as if pinned", counted(self.cores_with_nearly_all, "core"))
        } else if self.foreign >= 0.1 && self.foreign >= self.idle {
            format!(", and other programs took {} cores", mean(self.foreign))
        } else if self.idle >= 0.1 && self.cores == self.online {
            format!(", though {} cores were idle, as under a CPU quota", mean(self.idle))
        } else {
            String::new()
        }
    }

    /// "1 thread sleeps 97 % of its time and wants 0.03 of 2 cores: more cores would not make it faster."
    fn at_rest(&self, everyone: &Group) -> String {
        let many = self.threads != 1;
        let (their, them) = if many { ("their", "them") } else { ("its", "it") };
        let wants = format!("want{} {} of {}", third_person(many), mean(self.demand), counted(self.cores, "core"));
        let outlook = if everyone.mean_runnable <= HARDLY_WAITS * everyone.mean_alive {
            format!("more cores would not make {them} faster")
        } else {
            self.waits_for_cpu()
        };
        let [(name, part), rest @ ..] = everyone.reasons.as_slice() else {
            return format!("{} {wants}: on average {}.", self.subject(), alive(everyone.mean_alive));
        };
        let also = match rest.first().filter(|(_, second)| *second >= part / 2.0) {
            Some((name, second)) => format!(", {} {},", reason::verb(&clean(name), many), percent(*second)),
            None => String::new(),
        };
        let does = reason::verb(&clean(name), many);
        format!("{} {does} {} of {their} time{also} and {wants}: {outlook}.", self.subject(), percent(*part))
    }

    fn too_few(&self) -> String {
        let also = self.also_waits();
        match self.group.size {
            _ if self.threads == 1 && self.group.mean_alive > 0.9 && self.group.mean_blocked < 0.1 => {
                format!("a single thread cannot use more than one{also}")
            }
            _ if self.threads == 1 => match self.group.reasons.first() {
                Some((name, part)) if *part >= 0.05 => {
                    format!(
                        "{} of its time it {}, and a single thread cannot use more than one{also}",
                        percent(*part),
                        reason::verb(&clean(name), false)
                    )
                }
                _ => format!("a single thread cannot use more than one{also}"),
            },
            Some(1) => format!("one thread does {} of the work{also}", percent(self.group.share_of_work)),
            Some(size) => format!("of the {} busiest threads {}{also}", grouped(size), alive(self.group.mean_alive)),
            None => format!("on average {}{also}", alive(self.group.mean_alive)),
        }
    }

    /// "71 % of their time the 8 busiest wait for the GIL, 12 % they sleep".
    fn blocked(&self, they: &str) -> String {
        let (who, plural) = match self.group.size {
            None => (they.to_owned(), self.threads != 1),
            Some(1) => ("the busiest".to_owned(), false),
            Some(size) => (format!("the {} busiest", grouped(size)), true),
        };
        let their = if plural { "their" } else { "its" };
        let mut reasons = self.group.reasons.iter();
        let Some((first, first_part)) = reasons.next() else {
            return format!("{who} {} blocked", if plural { "are" } else { "is" });
        };
        let main = format!("{} of {their} time {who} {}", percent(*first_part), reason::verb(&clean(first), plural));
        match reasons.next().filter(|(_, part)| *part >= first_part / 2.0) {
            Some((second, part)) => {
                let pronoun = if plural { "they" } else { "it" };
                format!("{main}, {} {pronoun} {}", percent(*part), reason::verb(&clean(second), plural))
            }
            None => main,
        }
    }
}

/// "0.95 are alive at a time".
fn alive(mean_alive: f64) -> String {
    format!("{} {} alive at a time", mean(mean_alive), if mean(mean_alive) == "1.00" { "is" } else { "are" })
}

/// Ending of a verb.
fn third_person(plural: bool) -> &'static str {
    if plural { "" } else { "s" }
}

#[cfg(test)]
mod limits;
#[cfg(test)]
mod tests;
