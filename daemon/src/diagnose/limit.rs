//! What keeps a program from being done sooner, and what to do about it.
//!
//! It is the obstacle whose end saves most, by the what-ifs, if that is worth saying. Where nothing saves a tenth, it is what the time is
//! bound by instead. The sentence and the advice are both made from it.

use schedscope_ebpf::blocked::Reason;

use super::figures::Figures;
use super::model::ModelName;
use super::patterns::{BlockedLoop, Bottleneck, Hung, Messages, Polling, Spinning};
use super::thresholds::{
    ENOUGH_OF_THE_WORK, FEW_WAITS, HALF_A_CORE, HARDLY_WAITS, IDLE_CORES, MOSTLY, NOTABLE_WAIT, ONE_AFTER_ANOTHER, ONE_AT_A_TIME,
    OTHERS_FIRST, SATURATED, SECOND_REASON, WAITS_AGAIN, WORKER_SHARE, WORTH_DIVIDING, WORTH_SAYING,
};
use super::what_if::{Obstacle, WhatIf, WhatIfs};
use super::window::{Ledger, Window, share};
use super::workers::Workers;
use crate::capture::allowance::Quota;
use crate::capture::snapshot::{Tid, Times, harmless_comm};

/// What keeps the program from being done sooner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Limit {
    NothingSeen,
    /// Nothing ran for a while, and nothing outside was waited for.
    Hung(Hung),
    /// Its threads yield instead of waiting.
    Spinning(Spinning),
    /// It passes tiny tasks around.
    Messages(Messages),
    /// It uses all it may.
    Cores,
    /// A cgroup's CPU time was used up, again and again.
    Quota(Quota),
    /// Its masks hold fewer cores than it was given, and it wants more.
    Mask,
    /// Other programs had so many of its cores.
    Others(f64),
    /// They had them because its own priority is lower.
    Priority(f64),
    /// Its threads want a CPU, do not get one, and yet cores are left over; how many were idle, if that is known.
    CpuWait(Option<f64>),
    /// It wakes all the time for next to nothing.
    Polling(Polling),
    /// It wants next to nothing.
    AtRest(Group),
    /// Its workers wait for Python's global lock.
    Gil(Group),
    /// Its workers wait for other locks, or for each other.
    Locks(Group),
    /// Its workers wait for locks inside the kernel.
    KernelLocks(Group),
    /// The kernel finds and clears memory for it that it had given back.
    PageFaults,
    /// An event loop waits outside of its poll.
    BlockedLoop(BlockedLoop),
    /// Others wait for one thread.
    Bottleneck(Bottleneck),
    TooFewThreads(Group),
    Blocked(Group),
}

/// Threads that stand for the program: those that do its work, or all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// How many; `None` for all.
    pub(crate) size: Option<u64>,
    /// Name and id, if it is one of several.
    pub(crate) one: Option<(String, Tid)>,
    pub(crate) mean_alive: f64,
    pub(crate) mean_runnable: f64,
    pub(crate) mean_blocked: f64,
    /// Their share of all on-CPU time.
    pub(crate) share_of_work: f64,
    /// Share of its life that it is on a CPU and waits for locks inside the kernel, and for other threads in loops of its own.
    pub(crate) spinning: f64,
    pub(crate) pausing: f64,
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
    /// Several could work, and one does.
    StartTheNextSooner,
    /// All that work do so all the time, and are fewer than the cores.
    StartMore,
    /// There are enough, and some are done long before others.
    DivideEvenly,
    /// What processes cost before they do anything.
    DoMoreInEachProcess,
    /// Waits could be at the same time.
    OverlapWaits,
    /// Computing keeps an event loop from its events.
    FreeTheLoop,
    /// One thread has all there is to compute.
    OneThreadDoesItAll,
    /// They wait for one lock, or a few.
    HoldLocksForLess,
    /// They wait for each other in loops.
    WaitInLoopsForLess,
    /// Wait where the kernel can wake them.
    BlockInsteadOfYielding,
    /// More work in each message.
    LargerTasks,
    /// Wait until there is something to do.
    WaitForEvents,
    /// What blocks a loop belongs in a thread.
    MoveOutOfTheLoop,
    /// More of what the others wait for.
    MoreOfTheBottleneck,
    /// Everyone waits for a lock that is not given back.
    FindTheCycle,
    /// Others go before it by its own priority.
    RaiseThePriority,
    /// Calls that change the same thing in the kernel go one after the other.
    ShareLessInTheKernel,
    /// Memory that is kept has to be found once.
    KeepMemory,
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
            Limit::Quota(_) => "quota",
            Limit::Mask => "mask",
            Limit::Others(_) => "others",
            Limit::Priority(_) => "priority",
            Limit::KernelLocks(_) => "kernel_locks",
            Limit::PageFaults => "page_faults",
            Limit::Hung(_) => "hung",
            Limit::Spinning(_) => "spinning",
            Limit::Messages(_) => "messages",
            Limit::Polling(_) => "polling",
            Limit::BlockedLoop(_) => "blocked_loop",
            Limit::Bottleneck(_) => "bottleneck",
            Limit::CpuWait(_) => "cpu_wait",
            Limit::AtRest(_) => "at_rest",
            Limit::Gil(_) => "gil",
            Limit::Locks(_) => "locks",
            Limit::TooFewThreads(_) => "too_few_threads",
            Limit::Blocked(_) => "blocked",
        }
    }

    /// The obstacle that it is, if its end would bring a number.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Limit::Quota(_) => Some(Obstacle::Quota),
            Limit::Mask => Some(Obstacle::Mask),
            Limit::Others(_) | Limit::Priority(_) => Some(Obstacle::Others),
            Limit::KernelLocks(_) => Some(Obstacle::KernelLocks),
            Limit::PageFaults => Some(Obstacle::PageFaults),
            Limit::Gil(_) => Some(Obstacle::Gil),
            Limit::Locks(_) => Some(Obstacle::Locks),
            Limit::TooFewThreads(_) | Limit::Bottleneck(_) => Some(Obstacle::TooFewThreads),
            _ => None,
        }
    }

    /// Whether this is what those who wait mostly wait for.
    pub(crate) fn waits_first_for(&self, reason: Reason) -> bool {
        match self {
            Limit::AtRest(group) | Limit::TooFewThreads(group) | Limit::Blocked(group) => {
                group.reasons.first().is_some_and(|(first, _)| *first == reason)
            }
            _ => false,
        }
    }

    pub(super) fn of(window: &Window, workers: &Workers, figures: &Figures, what_ifs: &WhatIfs) -> Limit {
        if figures.threads == 0 {
            return Limit::NothingSeen;
        }
        let messages = Messages::of(window, workers, figures);
        Limit::of_pattern(window, messages.as_ref())
            .or_else(|| Limit::of_obstacle(window, workers, figures, what_ifs, messages))
            .unwrap_or_else(|| Limit::bound_by(window, workers, figures, what_ifs))
    }

    /// What goes before all sums, since the sums mean something else then.
    fn of_pattern(window: &Window, messages: Option<&Messages>) -> Option<Limit> {
        Hung::of(window)
            .map(Limit::Hung)
            .or_else(|| Spinning::of(window).map(Limit::Spinning))
            .or_else(|| Polling::of(window).filter(|_| messages.is_none()).map(Limit::Polling))
    }

    /// The obstacle that costs most; to divide what one thread does is no end of an obstacle, but another program.
    fn of_obstacle(
        window: &Window,
        workers: &Workers,
        figures: &Figures,
        what_ifs: &WhatIfs,
        messages: Option<Messages>,
    ) -> Option<Limit> {
        let gain = |obstacle| what_ifs.gain(obstacle, window);
        let is_one = |what_if: &&WhatIf| what_if.obstacle != Obstacle::TooFewThreads && what_if.gain(window) >= WORTH_SAYING;
        let busiest = || Group::busiest(window, workers);
        let mut candidates = what_ifs.all.iter().filter(is_one);
        let best = candidates.next();
        let is_others = best.is_some_and(|what_if| what_if.obstacle == Obstacle::Others);
        let own = candidates.next().filter(|own| is_others && gain(Obstacle::Others) < OTHERS_FIRST * own.gain(window));
        // What it waits for itself comes before what others take from the little that it computes.
        let best = own.or(best.filter(|_| !is_others || gain(Obstacle::Others) >= 1.0 - what_ifs.busy));
        // Who waits for one thread waits for it at a lock, too, and what is handed out takes memory.
        let is_general = best.is_none_or(|what_if| matches!(what_if.obstacle, Obstacle::Locks | Obstacle::PageFaults));
        let has_room = figures.running < SATURATED * figures.cores as f64;
        if is_general
            && has_room
            && gain(Obstacle::TooFewThreads) >= WORTH_SAYING
            && let Some(bottleneck) = Bottleneck::of(window)
        {
            return Some(Limit::Bottleneck(bottleneck));
        }
        let goes_with_messages = |what_if: &WhatIf| {
            matches!(what_if.obstacle, Obstacle::Locks | Obstacle::Gil | Obstacle::Others | Obstacle::PageFaults)
        };
        if let Some(messages) = messages.filter(|_| best.is_none_or(goes_with_messages)) {
            return Some(Limit::Messages(messages));
        }
        match best.map(|what_if| what_if.obstacle) {
            Some(Obstacle::Quota) => window.quota.clone().map(Limit::Quota),
            Some(Obstacle::Mask) => Some(Limit::Mask),
            Some(Obstacle::Others) => Some(Limit::of_others(window)),
            Some(Obstacle::KernelLocks) => Some(Limit::KernelLocks(busiest())),
            Some(Obstacle::PageFaults) => Some(Limit::PageFaults),
            Some(Obstacle::Gil) => Some(Limit::Gil(busiest())),
            Some(Obstacle::Locks) => Some(Limit::Locks(busiest())),
            // Handing the lock to each other is a large part of what such threads compute, and that no sum over threads takes off.
            _ if workers.gil_binds() && figures.cores > 1 => {
                (figures.running >= HALF_A_CORE && has_room && figures.workers > 1).then(|| Limit::Gil(busiest()))
            }
            _ => None,
        }
    }

    fn of_others(window: &Window) -> Limit {
        let others = window.mean(window.foreign_ns);
        let is_meek = share(window.meek_ns, window.times.runnable_ns()) >= MOSTLY;
        if is_meek { Limit::Priority(others) } else { Limit::Others(others) }
    }

    /// What keeps CPUs from it, if that is worth saying.
    fn of_lack(window: &Window, what_ifs: &WhatIfs) -> Option<Limit> {
        let mut takers = what_ifs.all.iter().filter(|what_if| matches!(what_if.obstacle, Obstacle::Quota | Obstacle::Others));
        let worst = takers.next()?;
        if worst.gain(window).max(what_ifs.gain_undisturbed) < WORTH_SAYING {
            return None;
        }
        match worst.obstacle {
            Obstacle::Quota => window.quota.clone().map(Limit::Quota),
            _ => Some(Limit::of_others(window)),
        }
    }

    /// What the time is bound by where no obstacle's end would save much.
    fn bound_by(window: &Window, workers: &Workers, figures: &Figures, what_ifs: &WhatIfs) -> Limit {
        let cores = figures.cores as f64;
        let busiest = Group::busiest(window, workers);
        let divided = what_ifs.gain(Obstacle::TooFewThreads, window);
        if divided >= WORTH_SAYING && busiest.pauses() {
            return Limit::TooFewThreads(busiest);
        }
        if figures.running >= SATURATED * cores {
            return Limit::Cores;
        }
        let group = busiest.if_it_stands_for(window, figures);
        if let Some(blocked) = BlockedLoop::of(window) {
            return Limit::BlockedLoop(blocked);
        }
        let at_rest = || {
            // Many waits, one after the other, are what takes the time; one is all there is to do.
            let waits_again =
                figures.waits >= FEW_WAITS && window.voluntary >= WAITS_AGAIN && !Group::everyone(window).is_mostly(Reason::Futex);
            if waits_again { Limit::Blocked(Group::everyone(window)) } else { Limit::AtRest(Group::everyone(window)) }
        };
        // Where it may not use all cores, the idle ones may be the others.
        let idle = window.mean(window.idle_ns);
        if what_ifs.unexplained >= divided.max(WORTH_SAYING) && (idle >= IDLE_CORES * cores || window.idle_ns == 0) {
            return Limit::CpuWait((window.idle_ns > 0 && figures.cores == figures.online).then_some(idle));
        }
        let wants_all = figures.demand >= SATURATED * cores && divided < WORTH_DIVIDING;
        if divided < WORTH_SAYING || wants_all {
            // Who mostly waits, but for what others keep it from, has little to gain by more of the CPUs.
            if 1.0 - what_ifs.busy > MOSTLY * (1.0 - what_ifs.gain_undisturbed) {
                return at_rest();
            }
            return Limit::of_lack(window, what_ifs).unwrap_or(Limit::Cores);
        }
        // A child is a part of the program.
        let waits_for_child = matches!(group.reasons.first(), Some((Reason::ChildWait, _)));
        let too_few = group.reasons.is_empty()
            || waits_for_child
            || group.takes_turns(figures)
            || cores - group.mean_alive > group.mean_blocked;
        if too_few { Limit::TooFewThreads(group) } else { Limit::Blocked(group) }
    }

    pub(super) fn advice(&self, model: ModelName, figures: &Figures) -> Option<Advice> {
        let is_loop = matches!(model, ModelName::Asyncio | ModelName::EventLoop);
        match self {
            Limit::Priority(_) => Some(Advice::RaiseThePriority),
            Limit::KernelLocks(_) => Some(Advice::ShareLessInTheKernel),
            Limit::PageFaults => Some(Advice::KeepMemory),
            Limit::Hung(_) => Some(Advice::FindTheCycle),
            Limit::Spinning(_) => Some(Advice::BlockInsteadOfYielding),
            Limit::Messages(_) => Some(Advice::LargerTasks),
            Limit::Polling(_) => Some(Advice::WaitForEvents),
            Limit::BlockedLoop(_) => Some(Advice::MoveOutOfTheLoop),
            Limit::Bottleneck(bottleneck) if bottleneck.is_loop => Some(Advice::FreeTheLoop),
            Limit::Bottleneck(_) => Some(Advice::MoreOfTheBottleneck),
            Limit::Quota(_) => Some(Advice::RaiseTheQuota),
            Limit::Mask => Some(Advice::WidenTheMask),
            Limit::Cores if model == ModelName::ThreadsGilBound && figures.cores == 1 => Some(Advice::GilOnOneCore),
            Limit::Cores if is_loop => Some(Advice::FreeTheLoop),
            // Who is at rest waits once, or for other threads that wait: no waits overlap there.
            Limit::NothingSeen | Limit::CpuWait(_) | Limit::Others(_) | Limit::Cores | Limit::AtRest(_) => None,
            Limit::Gil(_) => Some(Advice::MoveToProcesses),
            Limit::Locks(_) if model == ModelName::ThreadsTakingTurns => Some(Advice::ProcessesIfPython),
            Limit::TooFewThreads(group) if group.pauses() => Some(Advice::WaitInLoopsForLess),
            Limit::Locks(group) if group.mostly_pauses() => Some(Advice::WaitInLoopsForLess),
            Limit::Locks(_) => Some(Advice::HoldLocksForLess),
            Limit::TooFewThreads(_) | Limit::Blocked(_) if is_loop && figures.running >= SATURATED => Some(Advice::FreeTheLoop),
            // What waits for a CPU would gain by one.
            Limit::TooFewThreads(group) | Limit::Blocked(group) if group.lacks_cores(figures) => None,
            Limit::TooFewThreads(_) | Limit::Blocked(_) if is_loop && figures.demand >= HALF_A_CORE => {
                Some(Advice::OneThreadDoesItAll)
            }
            Limit::TooFewThreads(_) if figures.starts_many_processes() => Some(Advice::DoMoreInEachProcess),
            Limit::TooFewThreads(group) if group.takes_turns(figures) => Some(Advice::StartTheNextSooner),
            Limit::TooFewThreads(_) if model == ModelName::Serial && (SATURATED..ONE_AT_A_TIME).contains(&figures.running) => {
                Some(Advice::DivideTheWork)
            }
            Limit::TooFewThreads(group) if figures.workers > 1 && group.computes() => {
                Some(if group.workers(figures) < figures.cores { Advice::StartMore } else { Advice::DivideEvenly })
            }
            Limit::Blocked(group) if group.computes() && self.waits_first_for(Reason::Futex) => Some(Advice::DivideEvenly),
            Limit::TooFewThreads(_) | Limit::Blocked(_) => match model {
                // Who sleeps does so on purpose.
                ModelName::Serial if figures.demand < HALF_A_CORE && !self.waits_first_for(Reason::Sleep) => {
                    (figures.waits >= FEW_WAITS).then_some(Advice::OverlapWaits)
                }
                _ => None,
            },
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
            one: match busiest[..] {
                [one] if window.threads > 1 => Some((harmless_comm(&one.comm), one.tid)),
                _ => None,
            },
            share_of_work: share(times.on_cpu_ns, window.times.on_cpu_ns),
            ..Group::new(window, &times, busiest.into_iter())
        }
    }

    /// Itself if there is work and it does most of it, else all threads: where little is wanted, idle time is the story of everyone.
    fn if_it_stands_for(self, window: &Window, figures: &Figures) -> Group {
        // Many threads that no list has may matter together.
        let stands = figures.demand >= HALF_A_CORE && window.forgotten == 0 && self.share_of_work >= ENOUGH_OF_THE_WORK;
        if stands && self.size.is_some() { self } else { Group::everyone(window) }
    }

    fn everyone(window: &Window) -> Group {
        Group::new(window, &window.times, window.ledgers.iter())
    }

    fn new<'a>(window: &Window, times: &Times, ledgers: impl Iterator<Item = &'a Ledger>) -> Group {
        let (spinning_ns, pausing_ns) =
            ledgers.fold((0, 0), |sums, ledger| (sums.0 + ledger.spinning_ns, sums.1 + ledger.pausing_ns));
        let reasons = times.blocked_by_reason().filter(|(_, ns)| *ns > 0);
        let mut reasons: Vec<(Reason, f64)> = reasons.map(|(reason, ns)| (reason, share(ns, times.total_ns()))).collect();
        reasons.sort_by(|a, b| b.1.total_cmp(&a.1));
        Group {
            size: None,
            one: None,
            mean_alive: window.mean(times.total_ns()),
            mean_runnable: window.mean(times.runnable_ns()),
            mean_blocked: window.mean(times.blocked_total_ns()),
            share_of_work: 1.0,
            spinning: share(spinning_ns, times.total_ns()).min(1.0),
            pausing: share(pausing_ns, times.total_ns()).min(1.0),
            reasons,
        }
    }

    /// How many of it work.
    pub(crate) fn workers(&self, figures: &Figures) -> u64 {
        self.size.unwrap_or(figures.workers)
    }

    /// Most of its life it is on a CPU, and at least one of it is.
    fn computes(&self) -> bool {
        let running = self.mean_alive - self.mean_runnable - self.mean_blocked;
        running >= SATURATED && running >= MOSTLY * self.mean_alive
    }

    /// It waits for other threads on CPUs, and that is worth saying.
    pub(crate) fn pauses(&self) -> bool {
        self.pausing >= NOTABLE_WAIT
    }

    /// It waits for other threads on CPUs more than it sleeps for them.
    fn mostly_pauses(&self) -> bool {
        self.pausing > self.reasons.iter().find(|(reason, _)| *reason == Reason::Futex).map_or(0.0, |(_, part)| *part)
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

    /// Whether one of several is at work nearly all the time, and never two: the others are not there, or wait for it.
    pub(crate) fn takes_turns(&self, figures: &Figures) -> bool {
        let is_one = figures.workers > 1 && (SATURATED..=ONE_AT_A_TIME).contains(&figures.demand);
        is_one
            && match self.notable_reason() {
                None => self.mean_alive < ONE_AFTER_ANOTHER,
                Some((reason, _)) => matches!(reason, Reason::ChildWait | Reason::Futex | Reason::PipeSocket),
            }
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
