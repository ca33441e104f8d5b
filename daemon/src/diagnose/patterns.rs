//! What threads do to each other that no sum over a whole run tells. Each pattern has its own evidence.

use schedscope_ebpf::blocked::Reason;

use super::figures::Figures;
use super::runtimes::{self, Service};
use super::thresholds::{
    ALONE, BLOCKED_LOOP, BOTTLENECK, FEW_WAITS, HALF_A_CORE, HUB, IT_ALONE, LONG_WAIT, LOOP_WAITS, MANY_WAKEUPS, MANY_YIELDS,
    MOSTLY, NOTABLE_WAIT, OFTEN, ONE_AT_A_TIME, POLLS_NOTABLY, SATURATED, SPINS_NOTABLY, STANDS_STILL, STANDSTILL, STANDSTILL_NS,
    TINY_LOOK, TINY_TASKS, WORKER_SHARE,
};
use super::window::{Ledger, Window, ratio, share};
use super::workers::{Process, Workers};
use crate::capture::history::Moment;
use crate::capture::snapshot::{Tid, Times, harmless_comm};

/// Threads that give their CPU up again and again instead of blocking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spinning {
    pub(crate) threads: u64,
    /// A second, all threads together.
    pub(crate) yields: f64,
    /// Their part of all on-CPU time.
    pub(crate) share_of_work: f64,
}

impl Spinning {
    pub(super) fn of(window: &Window) -> Option<Spinning> {
        let spins = |ledger: &&Ledger| ledger.yielded > ledger.voluntary;
        let spinners: Vec<&Ledger> = window.ledgers.iter().filter(spins).collect();
        let yields = window.per_second(spinners.iter().map(|ledger| ledger.yielded).sum());
        let on_cpu_ns = spinners.iter().map(|ledger| ledger.times.on_cpu_ns).sum();
        let spinning = Spinning { threads: spinners.len() as u64, yields, share_of_work: share(on_cpu_ns, window.times.on_cpu_ns) };
        (spinning.threads > 1 && yields >= MANY_YIELDS && spinning.share_of_work >= SPINS_NOTABLY).then_some(spinning)
    }
}

/// Threads that pass each other tasks so small that passing them is the work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Messages {
    /// Waits a second, all workers together.
    pub(crate) waits: f64,
    /// On a CPU from one wait to the next, on average.
    pub(crate) on_cpu_ns_each: u64,
}

impl Messages {
    pub(super) fn of(window: &Window, workers: &Workers, figures: &Figures) -> Option<Messages> {
        let waits = workers.iter().map(|worker| worker.voluntary).sum::<u64>();
        let messages =
            Messages { waits: window.per_second(waits), on_cpu_ns_each: workers.times.on_cpu_ns.checked_div(waits).unwrap_or(0) };
        let times = &workers.times;
        // That one Python thread waits for the GIL when another has passed it something, is a part of the passing.
        let blocked_ns = times.blocked_total_ns() - times.blocked(Reason::Gil);
        let polls_ns = if is_in_step(workers, figures) { times.blocked(Reason::Poll) } else { 0 };
        let for_each_other_ns = times.blocked(Reason::Futex) + times.blocked(Reason::PipeSocket) + polls_ns;
        let for_each_other = share(for_each_other_ns, blocked_ns) >= MOSTLY
            && share(times.blocked(Reason::Sleep), blocked_ns) < NOTABLE_WAIT
            && !keep_locks_at_the_disk(workers);
        // Some wait at the locks of queues. Where none does, one is always at work, as no peer outside has to be waited for.
        let has_queues = share(times.blocked(Reason::Futex), blocked_ns) >= NOTABLE_WAIT;
        let is_closed = figures.with_transit >= SATURATED;
        // Who waits for the GIL, and next to never for anything else, passes nothing.
        let is_notable = share(for_each_other_ns, times.blocked_total_ns()) >= NOTABLE_WAIT;
        let passes = workers.iter().map(|worker| worker.voluntary.saturating_sub(worker.gil_waits)).sum();
        let are_tiny = figures.workers > 1
            && window.per_second(passes) >= MANY_WAKEUPS
            && messages.on_cpu_ns_each <= TINY_TASKS
            && for_each_other
            && is_notable
            && (has_queues || is_closed)
            && !workers.gil_binds();
        let is_hub = messages.waits >= OFTEN && has_hub(workers);
        let is_it = (are_tiny || is_hub)
            && figures.threads > 1
            && figures.with_transit >= HALF_A_CORE
            && figures.running < SATURATED * figures.cores as f64;
        is_it.then_some(messages)
    }
}

/// Those that wait for locks are at the disk for a good part of the time in which they are at anything: it is what they have the locks for.
fn keep_locks_at_the_disk(workers: &Workers) -> bool {
    let at_locks = workers.iter().filter(|worker| worker.times.blocked(Reason::Futex) > 0);
    let times: Times = at_locks.map(|worker| &worker.times).sum();
    let disk_ns = times.blocked(Reason::Disk);
    share(disk_ns, disk_ns + times.on_cpu_ns) >= NOTABLE_WAIT
}

/// Two threads of which one is at work at a time, or on its way to it, and each waits as often as the other: one asks and the other
/// answers. Who is woken is on its way while the other still comes to wait.
fn is_in_step(workers: &Workers, figures: &Figures) -> bool {
    let waits: Vec<u64> = workers.iter().map(|worker| worker.voluntary).collect();
    let [one, other] = waits[..] else { return false };
    let one_at_a_time = figures.with_transit >= SATURATED && figures.running <= ONE_AT_A_TIME;
    one_at_a_time && share(one.abs_diff(other), one.max(other)) < NOTABLE_WAIT
}

/// One process hands out what several others do, and that takes it as much time as a good part of their work, while they wait for it. What
/// it hands out goes through pipes, to processes of one kind; those of a pipeline are of several. Processes that wait for locks alone take
/// turns. Who hands out all the time hardly waits, but for the GIL that another thread has which hands out too.
fn has_hub(workers: &Workers) -> bool {
    let hardly_waits = |times: &Times| {
        let waits_ns = times.blocked_total_ns() - times.blocked(Reason::Gil);
        share(times.on_cpu_ns, times.on_cpu_ns + waits_ns) >= ALONE
    };
    let of = |process: &Process| {
        let times = || process.workers.iter().map(|worker| &worker.times);
        (times().sum::<Times>(), times().any(hardly_waits))
    };
    let processes: Vec<(Times, bool)> = workers.processes.iter().map(of).collect();
    let are_of_one_kind = |hub: usize| {
        let others = workers.processes.iter().enumerate().filter(|(number, _)| *number != hub);
        let mut names = others.filter_map(|(_, process)| process.workers.first()).map(|worker| worker.comm);
        let first = names.next();
        names.all(|name| Some(name) == first)
    };
    let waits = |times: &Times, reasons: &[Reason], least: f64| {
        share(reasons.iter().map(|reason| times.blocked(*reason)).sum(), times.blocked_total_ns()) >= least
    };
    let wait_for_it = |times: &Times| {
        let waits_ns = times.blocked_total_ns() + times.runnable_ns();
        waits(times, &[Reason::Futex, Reason::PipeSocket], MOSTLY) && 2 * waits_ns > times.on_cpu_ns
    };
    let is_hub = |(number, (hub, hands_out_all_the_time)): (usize, &(Times, bool))| {
        let others = || processes.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, (times, _))| times);
        *hands_out_all_the_time
            && are_of_one_kind(number)
            && share(hub.on_cpu_ns, workers.times.on_cpu_ns) >= HUB
            && others().all(wait_for_it)
            && waits(&others().sum(), &[Reason::PipeSocket], NOTABLE_WAIT)
    };
    processes.len() > 2 && processes.iter().enumerate().any(is_hub)
}

/// Threads that wake all the time to find nothing to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Polling {
    pub(crate) threads: u64,
    /// Wake-ups a second, all of them together.
    pub(crate) wakeups: f64,
    /// CPUs that this takes.
    pub(crate) running: f64,
}

impl Polling {
    pub(super) fn of(window: &Window) -> Option<Polling> {
        let looks = |ledger: &Ledger| {
            let times = &ledger.times;
            ledger.voluntary as f64 >= OFTEN * times.total_ns() as f64 / 1e9 && times.on_cpu_ns <= TINY_LOOK * ledger.voluntary
        };
        // What several sleep for at the same time, they do not have the same lock for.
        let asleep_ns =
            window.ledgers.iter().filter(|ledger| looks(ledger)).map(|ledger| ledger.times.blocked(Reason::Sleep)).sum();
        let sleep_at_once = window.mean(asleep_ns) > ONE_AT_A_TIME;
        let polls = |ledger: &&Ledger| {
            let times = &ledger.times;
            // Who waits for a lock without a time limit is woken by who had it.
            let has_limits = share(ledger.timed_waits, ledger.voluntary.saturating_sub(ledger.gil_waits)) >= MOSTLY;
            let locks_ns = times.blocked(Reason::Futex);
            let clocks_ns = times.blocked(Reason::Sleep) + if has_limits { locks_ns } else { 0 };
            // Where many look, they wait for each other at the lock of what they look at.
            let looking_ns = clocks_ns + if has_limits { 0 } else { locks_ns };
            looks(ledger)
                && share(clocks_ns, times.blocked_total_ns()) >= if sleep_at_once { LONG_WAIT } else { MOSTLY }
                && share(looking_ns, times.blocked_total_ns()) >= ALONE
        };
        let pollers: Vec<&Ledger> = window.ledgers.iter().filter(polls).collect();
        let times: Times = pollers.iter().map(|ledger| &ledger.times).sum();
        // Who never sleeps may be woken by one that is always busy: then it has something to do.
        let sleeps = share(times.blocked(Reason::Sleep), times.blocked_total_ns()) >= NOTABLE_WAIT;
        let is_fed = window.ledgers.iter().any(|ledger| share(ledger.wanted_ns(), window.wall_ns) >= ALONE);
        if is_fed && !sleeps {
            return None;
        }
        let polling = Polling {
            threads: pollers.len() as u64,
            wakeups: window.per_second(pollers.iter().map(|ledger| ledger.voluntary).sum()),
            running: window.mean(times.on_cpu_ns),
        };
        let is_much = share(times.on_cpu_ns, window.times.on_cpu_ns) >= NOTABLE_WAIT;
        let is_notable = polling.running >= POLLS_NOTABLY;
        (polling.wakeups >= MANY_WAKEUPS && is_notable && is_much).then_some(polling)
    }
}

/// An event loop that waits outside of its poll, while everything in it waits too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BlockedLoop {
    /// Part of its life, and what for most of it.
    pub(crate) share: f64,
    pub(crate) reason: Reason,
    pub(crate) is_python: bool,
}

impl BlockedLoop {
    pub(super) fn of(window: &Window) -> Option<BlockedLoop> {
        // The first thread does the work of its process, however little that is.
        let most_ns = |tgid| window.ledgers.iter().filter(|other| other.tgid == tgid).map(Ledger::wanted_ns).max().unwrap_or(0);
        let mains = window.ledgers.iter().enumerate();
        let mains = mains.filter(|(_, ledger)| ledger.is_main && ledger.wanted_ns() == most_ns(ledger.tgid));
        let again_and_again = mains.filter(|(number, _)| runs_in(*number, window) >= MOSTLY);
        again_and_again
            .filter_map(|(_, main)| BlockedLoop::of_thread(main, window))
            .max_by(|one, other| one.share.total_cmp(&other.share))
    }

    fn of_thread(worker: &Ledger, window: &Window) -> Option<BlockedLoop> {
        let polls = |other: &Ledger| share(other.times.blocked(Reason::Poll), window.wall_ns) >= MOSTLY;
        let elsewhere = worker.times.blocked_by_reason().filter(|(reason, _)| !matches!(reason, Reason::Poll | Reason::Gil));
        let (mut outside_ns, mut most) = (0, (Reason::Unknown, 0));
        for (reason, ns) in elsewhere {
            outside_ns += ns;
            most = if ns > most.1 { (reason, ns) } else { most };
        }
        let share = share(outside_ns, window.wall_ns);
        // Where another thread waits in a poll, the process's loop is that one's, unless this one has waited so as well.
        let has_loop_elsewhere =
            window.ledgers.iter().filter(|other| other.tgid == worker.tgid && other.tid != worker.tid).any(polls);
        let has_loop = worker.has_loop && (!has_loop_elsewhere || worker.epoll_waits > 0) || worker.epoll_waits >= LOOP_WAITS;
        let is_often = window.per_second(worker.voluntary) >= LOOP_WAITS as f64;
        (has_loop && is_often && share >= BLOCKED_LOOP).then_some(BlockedLoop {
            share,
            reason: most.0,
            is_python: worker.python.is_some(),
        })
    }
}

/// Of ten parts of the window, the share in which a thread ran: what waits often at the begin, while it loads, may do nothing after that.
/// All of them where no moments tell.
fn runs_in(number: usize, window: &Window) -> f64 {
    if window.moments.is_empty() {
        return 1.0;
    }
    let mut ran = [false; 10];
    let part = |at_ns: u64| usize::try_from(10 * at_ns / window.wall_ns.max(1)).unwrap_or(9).min(9);
    let mut begin_ns = 0;
    for moment in &window.moments {
        let end_ns = begin_ns + moment.length_ns;
        if moment.parts.iter().any(|(index, times)| *index == number && times.on_cpu_ns > 0) {
            ran[part(begin_ns)..=part(end_ns.saturating_sub(1))].fill(true);
        }
        begin_ns = end_ns;
    }
    ran.iter().filter(|ran| **ran).count() as f64 / 10.0
}

/// One thread that the others wait for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bottleneck {
    pub(crate) comm: String,
    pub(crate) tid: Tid,
    /// Part of the window in which it alone ran.
    pub(crate) alone: f64,
    /// Threads that waited meanwhile, and wait for it again and again.
    pub(crate) waiting: u64,
    /// It is in another process than they.
    pub(crate) is_process: bool,
    /// It is what a runtime stops them for.
    pub(crate) stops_the_world: bool,
    /// It is the first of a process that has an event loop.
    pub(crate) is_loop: bool,
}

impl Bottleneck {
    pub(super) fn of(window: &Window) -> Option<Bottleneck> {
        let most_ns = window.ledgers.iter().map(Ledger::wanted_ns).max().unwrap_or(0);
        // Who does little because it is stopped all the time is waiting, too; but for what a runtime has threads for besides.
        let stops_all = |top: &Ledger| runtimes::service(&top.comm) == Some(Service::StopsTheWorld);
        let waits_often = |ledger: &Ledger, top: &Ledger| {
            let counts = ledger.is_main
                || share(ledger.wanted_ns(), most_ns) >= WORKER_SHARE
                || stops_all(top) && runtimes::service(&ledger.comm).is_none();
            counts && ledger.voluntary >= LOOP_WAITS && ledger.voluntary as f64 >= FEW_WAITS * ledger.times.total_ns() as f64 / 1e9
        };
        let mut alone_ns = vec![0_u64; window.ledgers.len()];
        let mut waiting_ns = vec![0_u64; window.ledgers.len()];
        // How often each came to wait so, and whether it has run since.
        let mut waits = vec![0_u64; window.ledgers.len()];
        let mut has_run = vec![true; window.ledgers.len()];
        for moment in &window.moments {
            let wanted = |times: &Times| times.on_cpu_ns + times.runnable_ns();
            let before = has_run.clone();
            for (number, _) in moment.parts.iter().filter(|(_, times)| wanted(times) > 0) {
                has_run[*number] = true;
            }
            let all_ns: u64 = moment.parts.iter().map(|(_, times)| wanted(times)).sum();
            let Some((top, times)) = moment.parts.iter().max_by_key(|(_, times)| wanted(times)) else { continue };
            if share(wanted(times), all_ns) < ALONE || ratio(wanted(times), moment.length_ns) < MOSTLY {
                continue;
            }
            let waits_for_it = |(number, times): &&(usize, Times)| {
                let for_others = [Reason::Futex, Reason::PipeSocket, Reason::Poll].into_iter().map(|reason| times.blocked(reason));
                number != top
                    && share(for_others.sum(), moment.length_ns) >= MOSTLY
                    && waits_often(&window.ledgers[*number], &window.ledgers[*top])
            };
            let mut is_waited_for = false;
            for (number, times) in moment.parts.iter().filter(waits_for_it) {
                is_waited_for = true;
                waiting_ns[*number] += moment.length_ns;
                waits[*number] += u64::from(before[*number]);
                // Who both ran and waited in this moment was woken if it had come to wait before, and came to wait otherwise.
                has_run[*number] = !before[*number] && wanted(times) > 0;
            }
            if is_waited_for {
                alone_ns[*top] += moment.length_ns;
            }
        }
        let (top, most_ns) = alone_ns.iter().copied().enumerate().max_by_key(|(_, ns)| *ns)?;
        // Who waits for its end waits once.
        let waiting = |number: &usize| share(waiting_ns[*number], most_ns) >= MOSTLY && waits[*number] > 1 && *number != top;
        let waiting: Vec<usize> = (0..window.ledgers.len()).filter(waiting).collect();
        let alone = share(most_ns, window.wall_ns);
        let ledger = &window.ledgers[top];
        // Threads that take turns are alone in turn.
        let is_always_it = share(most_ns, alone_ns.iter().sum()) >= IT_ALONE;
        (alone >= BOTTLENECK && is_always_it && !waiting.is_empty()).then(|| Bottleneck {
            comm: harmless_comm(&ledger.comm),
            tid: ledger.tid,
            alone,
            waiting: waiting.len() as u64,
            is_process: waiting.iter().all(|number| window.ledgers[*number].tgid != ledger.tgid),
            stops_the_world: stops_all(ledger),
            is_loop: ledger.is_main && ledger.has_loop,
        })
    }
}

/// For a while nothing ran, and threads waited for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hung {
    /// Those that waited.
    pub(crate) threads: u64,
    /// They waited for pipes, and not for locks only.
    pub(crate) for_pipes: bool,
    /// How long.
    pub(crate) for_ns: u64,
}

impl Hung {
    /// The longest standstill of the window, if it is much of it. What is stopped from outside runs once more to end.
    pub(super) fn of(window: &Window) -> Option<Hung> {
        let is_still = |moment: &Moment| {
            let busy_ns: u64 = moment.parts.iter().map(|(_, times)| times.total_ns() - times.blocked_total_ns()).sum();
            busy_ns * STANDSTILL <= moment.length_ns
        };
        let length = |moments: &[Moment]| moments.iter().map(|moment| moment.length_ns).sum::<u64>();
        let standstill = window.moments.chunk_by(|one, next| is_still(one) == is_still(next)).filter(|run| is_still(&run[0]));
        let longest = standstill.max_by_key(|run| length(run))?;
        let for_ns = length(longest);
        let mut blocked = vec![Times::default(); window.ledgers.len()];
        for (number, times) in longest.iter().flat_map(|moment| &moment.parts) {
            blocked[*number] = [blocked[*number], *times].iter().sum();
        }
        let is_mostly = |times: &Times, reason| times.blocked(reason) > 0 && share(times.blocked(reason), for_ns) >= MOSTLY;
        let is_own = |number: usize| window.waiting_for_own_pipes.contains(&number);
        let waits = |(number, times): (usize, &Times), reason| {
            is_mostly(times, reason) && !(reason == Reason::PipeSocket && is_own(number))
        };
        let has_own_pipe = |(number, times): (usize, &Times)| is_own(number) && is_mostly(times, Reason::PipeSocket);
        let each = || blocked.iter().enumerate();
        let for_pipes = each().any(has_own_pipe);
        // A parent that waits for the end of a child waits with it.
        let inside = |one| waits(one, Reason::Futex) || has_own_pipe(one) || for_pipes && waits(one, Reason::ChildWait);
        let threads = each().filter(|one| inside(*one)).count() as u64;
        let outside = [Reason::Sleep, Reason::Poll, Reason::PipeSocket, Reason::Disk];
        let has_clock = each().any(|one| outside.into_iter().any(|reason| waits(one, reason)));
        (for_ns >= STANDSTILL_NS && share(for_ns, window.wall_ns) >= STANDS_STILL && threads > 1 && !has_clock).then_some(Hung {
            threads,
            for_pipes,
            for_ns,
        })
    }
}
