//! What keeps a program from using more of the cores, and what to do about it.
//!
//! Idle cores have two possible causes: threads that want a CPU and wait for it, or too little demand. Demand is low because threads
//! are blocked, or because there are too few. The larger cause is the limit; the sentence and the advice are both made from it.

use schedscope_ebpf::blocked::Reason;

use super::estimate::Relief;
use super::figures::Figures;
use super::model::ModelName;
use super::thresholds::{
    AT_REST, CROWDED, ENOUGH_OF_THE_WORK, GIL_BOUND, HALF_A_CORE, HARDLY_WAITS, HOST_NOTABLE, MOSTLY, NEARLY_ALL, NOTABLE_WAIT,
    ONE_AT_A_TIME, PINNED, SATURATED, SECOND_REASON, WORKER_SHARE,
};
use super::window::{Ledger, Window, share};
use super::workers::Workers;
use crate::capture::allowance::Quota;
use crate::capture::snapshot::Times;

/// What keeps the program from using more of the cores.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Limit {
    NothingSeen,
    /// It uses all it may.
    Cores,
    /// A cgroup's CPU time was used up, again and again.
    Quota(Quota, Option<Relief>),
    /// Its masks hold fewer cores than it was given, and it wants more.
    Mask(Option<Relief>),
    /// Its threads want a CPU, do not get one, and yet cores are left over; where those are, if that is known.
    CpuWait(Option<Holder>),
    /// It wants next to nothing.
    AtRest(Group),
    /// Its workers wait for Python's global lock.
    Gil(Group),
    /// Its workers wait for other locks, or for each other.
    Locks(Group),
    TooFewThreads(Group),
    Blocked(Group),
}

/// What became of cores that runnable threads did not get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Holder {
    /// So few cores had nearly all of its time that it looks pinned to them.
    FewCores(u64),
    /// Other programs had so many.
    OtherPrograms(f64),
    /// So many were idle.
    Nobody(f64),
}

/// Threads that stand for the program: those that do its work, or all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// How many; `None` for all.
    pub(crate) size: Option<u64>,
    pub(crate) mean_alive: f64,
    pub(crate) mean_runnable: f64,
    pub(crate) mean_blocked: f64,
    /// Their share of all on-CPU time.
    pub(crate) share_of_work: f64,
    /// Reasons for blocking with their share of the group's life, largest first, none of them 0.
    pub(crate) reasons: Vec<(Reason, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Processes have a GIL each.
    MoveToProcesses,
    /// They have, but there is one core only.
    GilOnOneCore,
    /// The same as the first, if it is Python code that they compute.
    ProcessesIfPython,
    /// One thread uses all that one thread can.
    DivideTheWork,
    /// Waits could be at the same time.
    OverlapWaits,
    /// Computing keeps an event loop from its events.
    FreeTheLoop,
    /// One thread has all there is to compute.
    OneThreadDoesItAll,
    /// It does not compute.
    NoMoreCores,
    /// Threads wait for each other.
    NoMoreThreads,
    /// More workers than cores.
    FewerWorkers,
    /// The kernel stops it when its time is used up.
    RaiseTheQuota,
    /// More CPUs than its mask has are there for it.
    WidenTheMask,
}

impl Limit {
    /// As it is written in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Limit::NothingSeen => "nothing_seen",
            Limit::Cores => "cores",
            Limit::Quota(..) => "quota",
            Limit::Mask(_) => "mask",
            Limit::CpuWait(_) => "cpu_wait",
            Limit::AtRest(_) => "at_rest",
            Limit::Gil(_) => "gil",
            Limit::Locks(_) => "locks",
            Limit::TooFewThreads(_) => "too_few_threads",
            Limit::Blocked(_) => "blocked",
        }
    }

    pub(super) fn of(window: &Window, workers: &Workers, model: ModelName, figures: &Figures) -> Limit {
        let cores = figures.cores as f64;
        let left_over = (cores - figures.running).max(0.0);
        let busiest = Group::busiest(window, workers);
        let group = busiest.clone().if_it_stands_for(window, figures);
        if figures.threads == 0 {
            Limit::NothingSeen
        } else if figures.cores < figures.given && figures.demand > CROWDED * cores {
            Limit::Mask(Relief::of(window, workers, figures.given))
        } else if figures.running >= SATURATED * cores {
            Limit::Cores
        } else if figures.demand < AT_REST {
            Limit::AtRest(Group::everyone(window))
        } else if let Some(quota) = window.quota.clone().filter(binds) {
            Limit::Quota(quota, Relief::of(window, workers, figures.cores))
        } else if window.mean(window.times.runnable_ns()).min(left_over) >= left_over / 2.0
            && group.mean_runnable >= group.mean_blocked
        {
            Limit::CpuWait(Holder::of(window, figures))
        } else {
            let too_few = group.reasons.is_empty() || cores - group.mean_alive > group.mean_blocked;
            let waits_for_gil = figures.gil_share >= GIL_BOUND && (model == ModelName::ThreadsGilBound || !too_few);
            let waits_for_locks = match model {
                ModelName::NativeThreads => busiest.is_mostly(Reason::Futex),
                model => model == ModelName::ThreadsTakingTurns,
            };
            match busiest.reasons.first() {
                // One more thread would wait for the same lock.
                Some((Reason::Gil, _)) if waits_for_gil => Limit::Gil(busiest),
                Some((Reason::Futex, _)) if waits_for_locks => Limit::Locks(busiest),
                _ if too_few => Limit::TooFewThreads(group),
                _ => Limit::Blocked(group),
            }
        }
    }

    pub(super) fn advice(&self, model: ModelName, figures: &Figures) -> Option<Advice> {
        let is_loop = matches!(model, ModelName::Asyncio | ModelName::EventLoop);
        match self {
            Limit::NothingSeen | Limit::CpuWait(_) => None,
            Limit::Quota(..) => Some(Advice::RaiseTheQuota),
            Limit::Mask(_) => Some(Advice::WidenTheMask),
            Limit::Cores if model == ModelName::ThreadsGilBound && figures.cores == 1 => Some(Advice::GilOnOneCore),
            Limit::Cores if is_loop => Some(Advice::FreeTheLoop),
            Limit::Cores => (figures.demand > CROWDED * figures.cores as f64).then_some(Advice::FewerWorkers),
            Limit::Gil(_) if figures.cores == 1 => Some(Advice::GilOnOneCore),
            Limit::Gil(_) => Some(Advice::MoveToProcesses),
            Limit::Locks(_) if model == ModelName::ThreadsTakingTurns => Some(Advice::ProcessesIfPython),
            Limit::Locks(_) => Some(Advice::NoMoreThreads),
            Limit::TooFewThreads(_) | Limit::Blocked(_) if is_loop && figures.running >= SATURATED => Some(Advice::FreeTheLoop),
            // What waits for a CPU would gain by one.
            Limit::AtRest(group) | Limit::TooFewThreads(group) | Limit::Blocked(group) if group.lacks_cores(figures) => None,
            Limit::TooFewThreads(_) | Limit::Blocked(_) if is_loop && figures.demand >= HALF_A_CORE => {
                Some(Advice::OneThreadDoesItAll)
            }
            Limit::TooFewThreads(_) if model == ModelName::Serial && figures.running >= SATURATED => {
                (figures.running < ONE_AT_A_TIME).then_some(Advice::DivideTheWork)
            }
            Limit::AtRest(group) if model == ModelName::NativeThreads && group.is_mostly(Reason::Futex) => {
                Some(Advice::NoMoreThreads)
            }
            Limit::AtRest(_) | Limit::TooFewThreads(_) | Limit::Blocked(_) => match model {
                ModelName::Serial if figures.demand < HALF_A_CORE => Some(Advice::OverlapWaits),
                ModelName::ThreadsWaiting | ModelName::Asyncio | ModelName::EventLoop => Some(Advice::NoMoreCores),
                _ => None,
            },
        }
    }
}

/// Whether a program would notice it.
fn binds(Quota { usage, .. }: &Quota) -> bool {
    share(usage.throttled_periods, usage.periods) >= NOTABLE_WAIT
}

impl Holder {
    fn of(window: &Window, figures: &Figures) -> Option<Holder> {
        let few = window.cores_with(NEARLY_ALL);
        let (foreign, idle) = (window.mean(window.foreign_ns), window.mean(window.idle_ns));
        if (1..figures.cores).contains(&few) && figures.running >= PINNED * few as f64 {
            Some(Holder::FewCores(few))
        } else if foreign >= HOST_NOTABLE && foreign >= idle {
            Some(Holder::OtherPrograms(foreign))
        } else {
            // Where it may not use all cores, the idle ones may be the others.
            (idle >= HOST_NOTABLE && figures.cores == figures.online).then_some(Holder::Nobody(idle))
        }
    }
}

impl Group {
    /// The workers, but for event loops that hand all work to others.
    fn busiest(window: &Window, workers: &Workers) -> Group {
        let most_ns = workers.iter().map(Ledger::wanted_ns).max().unwrap_or(0);
        let busiest: Vec<&Ledger> = workers.iter().filter(|worker| share(worker.wanted_ns(), most_ns) >= WORKER_SHARE).collect();
        let times: Times = busiest.iter().map(|worker| &worker.times).sum();
        let size = busiest.len() as u64;
        Group {
            size: (size < window.threads).then_some(size),
            share_of_work: share(times.on_cpu_ns, window.times.on_cpu_ns),
            ..Group::new(window, &times)
        }
    }

    /// Itself if there is work and it does most of it, else all threads: where little is wanted, idle time is the story of everyone.
    fn if_it_stands_for(self, window: &Window, figures: &Figures) -> Group {
        // Many threads that no list has may matter together.
        let stands = figures.demand >= HALF_A_CORE && window.forgotten == 0 && self.share_of_work >= ENOUGH_OF_THE_WORK;
        if stands && self.size.is_some() { self } else { Group::everyone(window) }
    }

    fn everyone(window: &Window) -> Group {
        Group::new(window, &window.times)
    }

    fn new(window: &Window, times: &Times) -> Group {
        let reasons = times.blocked_by_reason().filter(|(_, ns)| *ns > 0);
        let mut reasons: Vec<(Reason, f64)> = reasons.map(|(reason, ns)| (reason, share(ns, times.total_ns()))).collect();
        reasons.sort_by(|a, b| b.1.total_cmp(&a.1));
        Group {
            size: None,
            mean_alive: window.mean(times.total_ns()),
            mean_runnable: window.mean(times.runnable_ns()),
            mean_blocked: window.mean(times.blocked_total_ns()),
            share_of_work: 1.0,
            reasons,
        }
    }

    /// The reason for blocking that tells most, and the second one if it tells nearly as much.
    pub(crate) fn main_reasons(&self) -> &[(Reason, f64)] {
        match self.reasons.as_slice() {
            [first, second, ..] if second.1 < SECOND_REASON * first.1 => &self.reasons[..1],
            reasons => &reasons[..reasons.len().min(2)],
        }
    }

    /// The reason for blocking that tells most, if it tells anything.
    pub(crate) fn notable_reason(&self) -> Option<(Reason, f64)> {
        self.reasons.first().copied().filter(|(_, part)| *part >= NOTABLE_WAIT)
    }

    /// Whether this is what they do most of their lives.
    fn is_mostly(&self, reason: Reason) -> bool {
        self.reasons.iter().any(|(other, part)| *other == reason && *part >= MOSTLY)
    }

    /// Whether they wait for a CPU so much that more cores could make a difference.
    pub(crate) fn lacks_cores(&self, figures: &Figures) -> bool {
        figures.has_notable_wait() && self.mean_runnable > HARDLY_WAITS * self.mean_alive
    }
}
