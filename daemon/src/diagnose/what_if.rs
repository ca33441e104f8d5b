//! What a run would take if one thing were not in its way.
//!
//! Each [`Moment`] of the window is judged by itself, so that a serial phase and a parallel one are not mixed up. In a moment of length
//! `W`, threads are on a CPU, or on their way to one, for `e` together, and could be for `D`. For `b = min(W, D)` the program was busy;
//! the rest of the moment all its threads waited for something else. Without an obstacle, `D` grows by the waits that go with it, and
//! what was done in `b` takes
//!
//! ```text
//! e / min(threads that want a CPU while it is busy, CPUs that they would get)
//! ```
//!
//! but never less than what any one worker needs for itself. The rest stays as it was, and no moment gets longer. Least and most differ
//! by what a sum over threads cannot tell: whether work that one worker did could be another's.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use schedscope_ebpf::abi::SAMPLE_PERIOD_NS;
use schedscope_ebpf::blocked::Reason;

use super::figures::Figures;
use super::runtimes;
use super::thresholds::{
    ALONE, ALONE_IN_THE_KERNEL, AT_LEAST_WORK, CACHED, COARSE_NS, CONVOY_NS, FAULTS_AT_LEAST, HALF_A_CORE, HAND_OVER_AT_LEAST_NS,
    HAND_OVER_NS, HOST_NOTABLE, IMPORTS_NOTABLY, LEAST, MOST, MOST_DIVIDED, MOSTLY, NOTABLE_WAIT, ONE_AT_A_TIME, SAVES_NOTHING,
    START_NS_PER_PROCESS,
};
use super::window::{Ledger, Window, ratio, share};
use super::workers::Workers;
use crate::capture::history::Moment;
use crate::capture::snapshot::{Tgid, Times};
use crate::values::values;

values! {
    /// Something that could be taken out of a program's way.
    pub enum Obstacle {
        /// The CPU time that a cgroup may use.
        Quota = "quota",
        /// The CPUs that its threads may use.
        Mask = "mask",
        /// Other programs on its CPUs.
        Others = "others",
        /// Python's global lock.
        Gil = "gil",
        /// Other locks, and waits of its threads for each other.
        Locks = "locks",
        /// Locks inside the kernel, such as that of the address space.
        KernelLocks = "kernel_locks",
        /// That it takes memory from the kernel again and again.
        PageFaults = "page_faults",
        /// That only one thread has work.
        TooFewThreads = "too_few_threads",
    }
}

/// A wall time between two bounds, for the same work without the obstacle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WhatIf {
    pub(crate) obstacle: Obstacle,
    pub(crate) least_ns: u64,
    pub(crate) most_ns: u64,
    /// In the middle of what the sums leave open: without what a prediction may be off by otherwise, and without what samples are and what
    /// starting processes costs, which count for little in a longer run.
    middle_ns: u64,
}

/// What the moments of a window come to.
pub(super) struct WhatIfs {
    /// What each obstacle's end would bring, the best first; none that brings nothing.
    pub(super) all: Vec<WhatIf>,
    /// What the end of both a quota and others would bring. Where both keep CPUs from it, the end of one leaves it the other.
    pub(super) gain_undisturbed: f64,
    /// Part of the window in which any thread ran or wanted to.
    pub(super) busy: f64,
    /// Part of it that threads could run, and no sum tells why they did not.
    pub(super) unexplained: f64,
}

impl WhatIfs {
    pub(super) fn of(window: &Window, workers: &Workers, figures: &Figures) -> WhatIfs {
        let whole = window.whole();
        let moments = if window.moments.is_empty() { std::slice::from_ref(&whole) } else { &window.moments };
        let sums = |moments: &[Moment]| moments.iter().map(|moment| Sums::of(moment, window, workers)).collect::<Vec<Sums>>();
        let fine = sums(moments);
        let seen = Seen {
            coarse: sums(&coarse(moments)),
            beside_each_other: [waits_for_locks, waits_for_cpus]
                .map(|waits| beside_each_other(&fine, ended_in_turn(moments, window, workers, waits))),
            whole: Sums::of(&whole, window, workers),
            fine,
        };
        let supply = Supply::of(window);
        let mut all: Vec<WhatIf> = Obstacle::ALL
            .into_iter()
            .filter(|obstacle| supply.has(*obstacle))
            .filter(|obstacle| *obstacle != Obstacle::PageFaults || figures.pages_anew > 0.0)
            .filter_map(|obstacle| predict(obstacle, window, workers, figures.in_kernel, &seen, &supply))
            .collect();
        // What differs by less than the sums are exact to comes in the order of the obstacles, not in that of roundings.
        all.sort_by_key(|what_if| 1000 * u128::from(what_if.middle_ns) / u128::from(window.wall_ns.max(1)));
        let undisturbed = Supply { quota: None, ..supply };
        let undisturbed = predict(Obstacle::Others, window, workers, figures.in_kernel, &seen, &undisturbed);
        let part = |of: &dyn Fn(&Sums) -> f64| over(&seen.fine, of) / window.wall_ns.max(1) as f64;
        let gain_undisturbed = undisturbed.filter(|_| supply.has_others).map_or(0.0, |what_if| what_if.gain(window));
        WhatIfs {
            all,
            gain_undisturbed,
            busy: part(&Sums::busy),
            unexplained: part(&|moment| moment.wall - moment.explained(None, &supply, true)),
        }
    }

    /// The gain if this obstacle were gone.
    pub(super) fn gain(&self, obstacle: Obstacle, window: &Window) -> f64 {
        self.all.iter().find(|what_if| what_if.obstacle == obstacle).map_or(0.0, |what_if| what_if.gain(window))
    }
}

impl WhatIf {
    /// The part of the wall time that would be saved.
    pub(super) fn gain(&self, window: &Window) -> f64 {
        1.0 - share(self.middle_ns, window.wall_ns)
    }
}

/// A window's sums, as far as they can be told apart.
struct Seen {
    /// Moment by moment.
    fine: Vec<Sums>,
    /// Moments of several timeslices and periods.
    coarse: Vec<Sums>,
    /// One moment for all in which workers may have done one after the other what they would do beside each other without a lock, and
    /// with a CPU for each.
    beside_each_other: [Vec<Sums>; 2],
    whole: Sums,
}

/// The same over all moments.
fn over(sums: &[Sums], of: &dyn Fn(&Sums) -> f64) -> f64 {
    sums.iter().map(of).sum()
}

/// `None` if it would bring next to nothing.
fn predict(obstacle: Obstacle, window: &Window, workers: &Workers, in_kernel: f64, seen: &Seen, supply: &Supply) -> Option<WhatIf> {
    let whole = &seen.whole;
    let wall = window.wall_ns as f64;
    let (least, most) = bounds(obstacle, workers, in_kernel, seen, supply);
    let (off_by, start_ns) = match obstacle {
        Obstacle::Gil | Obstacle::TooFewThreads => {
            (MOST_DIVIDED, START_NS_PER_PROCESS * workers.iter().count() as u64 + imports_ns(obstacle, window, workers))
        }
        _ => (MOST, 0),
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between nothing and the wall time")]
    let ns = |value: f64| value.clamp(0.0, wall) as u64;
    let handed_over = handed_over(obstacle, workers) / supply.given;
    let unsure = whole.unsure_of_pauses(obstacle) / supply.given;
    let least_work = (least - handed_over * HAND_OVER_NS).max(least * AT_LEAST_WORK);
    let most = (most - handed_over * HAND_OVER_AT_LEAST_NS).max(least_work);
    // What threads did beside each other inside the kernel, on what the lock is for, was slowed as well. Nothing tells how much.
    let waits = |spinning| if obstacle == Obstacle::KernelLocks { whole.kernel_waits(spinning) } else { 0.0 };
    let unslowed = |spinning| (least_work * (1.0 - waits(spinning))).max(least * AT_LEAST_WORK);
    // What they are in the kernel for on behalf of all, such as telling every CPU that memory has gone, is no work at all then.
    let for_all = if obstacle == Obstacle::KernelLocks { in_kernel * (1.0 - ALONE_IN_THE_KERNEL) } else { 0.0 };
    let for_itself = (unslowed(whole.spinning) - unsure).max(least * AT_LEAST_WORK) * (1.0 - for_all);
    let least_ns = ns(for_itself * LEAST * supply.alone(obstacle, whole.others));
    let what_if = WhatIf {
        obstacle,
        least_ns,
        most_ns: (ns((most + unsure) * off_by).max(least_ns) + start_ns).min(window.wall_ns),
        middle_ns: match obstacle {
            // What caches save by memory that is kept is a guess.
            Obstacle::PageFaults => ns(most),
            _ => ns(unslowed(0.0)).midpoint(ns(most)),
        },
    };
    let brings_something = least < wall * (1.0 - SAVES_NOTHING) && is_waited_for(obstacle, whole);
    brings_something.then_some(what_if)
}

/// What the sums leave open of that, in nanoseconds, before what a prediction may be off by otherwise.
fn bounds(obstacle: Obstacle, workers: &Workers, in_kernel: f64, seen: &Seen, supply: &Supply) -> (f64, f64) {
    let Seen { fine, coarse, beside_each_other: [without_locks, with_cpus], whole } = seen;
    let at_best = supply.at_best();
    // What a thread does over the whole window has to be done one after the other, unless dividing it is the point.
    let spinning_ns = |worker: &Ledger| match obstacle {
        Obstacle::KernelLocks => worker.spinning_ns,
        Obstacle::Locks => worker.pausing_ns,
        _ => 0,
    };
    let work_ns = |worker: &Ledger| worker.times.on_cpu_ns.saturating_sub(spinning_ns(worker));
    let need = |of: &dyn Fn(&Ledger) -> u64| workers.iter().map(of).max().unwrap_or(0) as f64;
    let (on_cpu, at_work) = (need(&work_ns), need(&|worker| work_ns(worker) + worker.times.transit_ns));
    // What threads of one Python compute may need its GIL, which they seldom meet at while another lock keeps them apart. One at a time gets
    // no more of a CPU than others leave it.
    let under_gil = if whole.has_one_gil { workers.times.on_cpu_ns as f64 } else { 0.0 };
    let in_turn = under_gil / supply.cores(1.0, whole.others, Some(obstacle)).min(1.0);
    match obstacle {
        Obstacle::TooFewThreads => (
            over(fine, &|moment| moment.without(obstacle, &at_best, false)),
            over(fine, &|moment| moment.without(obstacle, supply, false)),
        ),
        // Who sleeps with the lock while the others wait for it changes from moment to moment.
        Obstacle::Locks if whole.is_one_at_a_time() => {
            let apart = whole.without_and_without_waking(obstacle, supply, false);
            // While one waits outside, others may compute.
            let unshared = Supply { unshared: f64::INFINITY, ..*supply };
            let apart_at_best = whole.without_and_without_waking(obstacle, &unshared, false);
            let least = (apart_at_best - whole.longest_outside).max(whole.need);
            (least, whole.without(obstacle, supply, false).max(apart).max(least).max(in_turn))
        }
        // Who is woken for a lock is woken where the one that let go of it runs, and waits there. That wait goes with the lock.
        Obstacle::Gil | Obstacle::Locks => {
            let unlocked = |moments: &[Sums], supply: &Supply, with_needs| {
                over(moments, &|moment| moment.without_and_without_waking(obstacle, supply, with_needs))
            };
            let least = match obstacle {
                Obstacle::Locks => unlocked(fine, &at_best, false).min(unlocked(without_locks, &at_best, false)),
                _ => unlocked(fine, &at_best, false),
            };
            let most = unlocked(coarse, supply, true).max(unlocked(fine, supply, false));
            (least.max(on_cpu), most.max(at_work).max(if obstacle == Obstacle::Locks { in_turn } else { 0.0 }))
        }
        // Threads inside the kernel wait for more than the lock.
        Obstacle::KernelLocks => (
            over(fine, &|moment| moment.without_and_without_waking(obstacle, &at_best, false)).max(on_cpu),
            over(coarse, &|moment| moment.without(obstacle, supply, true))
                .max(over(fine, &|moment| moment.without(obstacle, supply, false)))
                .max(at_work),
        ),
        // All that it does is done sooner by what the kernel does for it. Threads that wait for each other wait for the address space whose
        // pages come and go.
        Obstacle::PageFaults => {
            let unlocked = |moment: &Sums| moment.without_and_without_waking(Obstacle::KernelLocks, &at_best, false);
            let without = |moment: &Sums, busy: f64, part: f64| moment.wall - moment.busy() + busy * (1.0 - in_kernel * part);
            (
                over(fine, &|moment| without(moment, (unlocked(moment) - moment.wall + moment.busy()).max(0.0), 1.0))
                    * (1.0 - CACHED),
                over(fine, &|moment| without(moment, moment.busy(), FAULTS_AT_LEAST)),
            )
        }
        // Who has to wait for its turn, or for the next period, does nothing at all for a while. What is not explained may have to do with
        // the obstacle or not.
        Obstacle::Quota | Obstacle::Mask | Obstacle::Others => {
            // With more of the CPUs, threads that wait for one GIL would wait for it all the more; on CPUs of their own, more often as well.
            let waits: u64 = workers.iter().map(|worker| worker.gil_waits).sum();
            let (in_turn, with_convoy) = match obstacle {
                Obstacle::Others if whole.gil_binds && under_gil > 0.0 => (under_gil, in_turn + waits as f64 * CONVOY_NS),
                Obstacle::Quota if whole.gil_binds => (under_gil, in_turn),
                _ => (0.0, 0.0),
            };
            let explained = |moments: &[Sums]| over(moments, &|moment| moment.explained(Some(obstacle), &at_best, false));
            (
                // Nobody is done sooner by more than all have waited for a CPU.
                explained(coarse).min(explained(with_cpus).max(whole.wall - whole.runnable)).max(on_cpu).max(in_turn),
                over(coarse, &|moment| moment.without(obstacle, supply, true)).max(at_work).max(with_convoy),
            )
        }
    }
}

/// What a Python does before it has other threads: a process that is spawned, and not forked, imports everything again. Where that is
/// little, it is part of what a prediction may be off by.
fn imports_ns(obstacle: Obstacle, window: &Window, workers: &Workers) -> u64 {
    if obstacle != Obstacle::Gil {
        return 0;
    }
    let mains = window.ledgers.iter().filter(|ledger| ledger.is_main);
    let begun: HashMap<Tgid, u64> = mains.map(|main| (main.tgid, main.begin_ns)).collect();
    let others = workers.iter().filter(|worker| !worker.is_main);
    let before_ns = others.filter_map(|worker| Some(worker.begin_ns.saturating_sub(*begun.get(&worker.tgid)?)));
    let first_ns = before_ns.min().unwrap_or(0);
    if share(first_ns, window.wall_ns) >= IMPORTS_NOTABLY { first_ns } else { 0 }
}

/// Waits that go with a lock, each of which takes time on CPUs: going to sleep, waking the next one, and finding the caches cold.
fn handed_over(obstacle: Obstacle, workers: &Workers) -> f64 {
    let at_locks = |worker: &Ledger| {
        let but_gil_ns = worker.times.blocked_total_ns() - worker.times.blocked(Reason::Gil);
        worker.voluntary.saturating_sub(worker.gil_waits) as f64 * share(worker.times.blocked(Reason::Futex), but_gil_ns)
    };
    let binds = workers.gil_binds();
    let waits = |worker: &Ledger| match obstacle {
        Obstacle::Gil => worker.gil_waits as f64 + if binds { at_locks(worker) } else { 0.0 },
        Obstacle::Locks => at_locks(worker),
        _ => 0.0,
    };
    workers.iter().map(waits).sum()
}

/// Whether anyone waited for it at all.
fn is_waited_for(obstacle: Obstacle, whole: &Sums) -> bool {
    match obstacle {
        Obstacle::Gil => whole.gil > 0.0,
        Obstacle::Locks => whole.futex + whole.pausing > 0.0,
        Obstacle::KernelLocks => whole.kernel_locks + whole.spinning > 0.0,
        _ => true,
    }
}

/// CPUs that a program gets.
#[derive(Clone, Copy)]
struct Supply {
    given: f64,
    /// Threads that can run at a time without two of them sharing a core of the hardware, which may be no faster than one of them.
    unshared: f64,
    mask: Option<f64>,
    quota: Option<f64>,
    has_others: bool,
    /// There is more than one, so that threads could run beside each other.
    has_several: bool,
    /// Other programs that have fewer CPUs than this come and go.
    least_others: f64,
}

impl Supply {
    fn of(window: &Window) -> Supply {
        let given = window.given_cores().max(1) as f64;
        let quota = window.quota.as_ref().filter(|quota| share(quota.usage.throttled_periods, quota.usage.periods) >= NOTABLE_WAIT);
        Supply {
            given,
            unshared: window.unshared_cores() as f64,
            mask: window.cores_in_masks.filter(|_| window.cores() < window.given_cores()).map(|cores| cores.max(1.0)),
            quota: quota.map(|quota| quota.limit.cpus()),
            has_others: window.mean(window.foreign_ns) >= HOST_NOTABLE,
            has_several: window.cores() > 1,
            least_others: HOST_NOTABLE,
        }
    }

    /// The same, were those gone that take less than half a CPU, and were threads that share a core as fast as others.
    fn at_best(self) -> Supply {
        Supply { least_others: HALF_A_CORE, unshared: f64::INFINITY, ..self }
    }

    /// What a thread takes at least that has a core to itself, of what it took beside another there: two are not slower than one. Whether the
    /// CPUs of a mask, or those of other programs, share cores is not known.
    fn alone(&self, obstacle: Obstacle, others: f64) -> f64 {
        let shared = match obstacle {
            _ if self.unshared >= self.given => 0.0,
            Obstacle::Mask => 1.0,
            Obstacle::Others => (others / self.unshared).min(1.0),
            _ => 0.0,
        };
        1.0 - shared / 2.0
    }

    fn has(&self, obstacle: Obstacle) -> bool {
        match obstacle {
            Obstacle::Quota => self.quota.is_some(),
            Obstacle::Mask => self.mask.is_some(),
            Obstacle::Others => self.has_others,
            // On one core, more threads that can run would gain only what they take from other programs.
            Obstacle::Gil | Obstacle::TooFewThreads => self.has_several,
            Obstacle::Locks | Obstacle::KernelLocks | Obstacle::PageFaults => true,
        }
    }

    /// For so many threads that want one, while others have so many.
    fn cores(&self, threads: f64, others: f64, gone: Option<Obstacle>) -> f64 {
        let limit = |limit: Option<f64>, obstacle| limit.filter(|_| gone != Some(obstacle)).unwrap_or(f64::INFINITY);
        let cores = self.given.min(limit(self.mask, Obstacle::Mask));
        let shared = if gone == Some(Obstacle::Others) || others < self.least_others {
            cores
        } else {
            // On each CPU the kernel gives each thread the same, and others none more than they want. Threads that take turns find others on
            // every CPU.
            let in_all = threads.max(cores) + others.ceil();
            let fair = if threads.is_finite() { cores * threads / in_all } else { 0.0 };
            fair.max(cores - others).max(0.0)
        };
        shared.min(limit(self.quota, Obstacle::Quota))
    }
}

/// A moment in sums over threads, in nanoseconds.
#[derive(Clone, Debug, Default)]
struct Sums {
    wall: f64,
    /// On a CPU, or on the way to one.
    at_work: f64,
    runnable: f64,
    /// The part of it that goes with being woken, by what the thread waits for before: a GIL, other locks, locks inside the kernel.
    woken_for_gil: f64,
    woken_for_futex: f64,
    woken_for_kernel_locks: f64,
    /// Waits of workers.
    gil: f64,
    futex: f64,
    kernel_locks: f64,
    /// Of what is at work, what waits for locks inside the kernel without sleeping, and what waits for other threads so in loops of its own.
    spinning: f64,
    pausing: f64,
    /// What threads wait for outside the program, the longest and all together, but for those that do next to nothing else.
    longest_outside: f64,
    outside: f64,
    /// What these wait for locks.
    waits_for_locks: f64,
    /// The most that one worker needs for itself, its waits outside included; and that without what it spins or pauses for.
    need: f64,
    need_without_spinning: f64,
    need_without_pausing: f64,
    /// Mean number of CPUs that others had.
    others: f64,
    /// Threads that would run beside each other throughout with nothing in their way.
    crew: f64,
    /// All workers share one GIL.
    has_one_gil: bool,
    /// It is what they wait for, so what they wait for at other locks goes with it.
    gil_binds: bool,
}

impl Sums {
    fn of(moment: &Moment, window: &Window, workers: &Workers) -> Sums {
        let mut sums = Sums {
            wall: moment.length_ns as f64,
            has_one_gil: workers.have_one_gil(),
            gil_binds: workers.gil_binds(),
            ..Sums::default()
        };
        let mut on_cpu_ns = 0;
        // Processes of one program talk to each other through pipes and sockets.
        let is_alone = workers.processes.len() <= 1;
        for (number, times) in &moment.parts {
            on_cpu_ns += times.on_cpu_ns;
            sums.at_work += (times.on_cpu_ns + times.transit_ns) as f64;
            let part = |of: fn(&Ledger) -> f64| times.on_cpu_ns as f64 * window.ledgers.get(*number).map_or(0.0, of);
            let (spinning, pausing) = (part(Ledger::spinning), part(Ledger::pausing));
            sums.spinning += spinning;
            sums.pausing += pausing;
            sums.runnable += times.runnable_ns() as f64;
            if let Some(ledger) = window.ledgers.get(*number) {
                // Who is woken where another runs waits for that one, or that one for it.
                let woken_ns = times.runnable_ns().min(2 * times.wakeup_wait_ns) as f64;
                // As often as over the whole window: the wait before may have been in another moment.
                let woken_for = |reasons: &[Reason]| {
                    let blocked_ns = reasons.iter().map(|reason| ledger.times.blocked(*reason)).sum();
                    woken_ns * share(blocked_ns, ledger.times.blocked_total_ns())
                };
                sums.woken_for_gil += woken_for(&[Reason::Gil]);
                sums.woken_for_futex += woken_for(&[Reason::Futex]);
                sums.woken_for_kernel_locks += woken_for(&[Reason::MmapLock, Reason::KernelLock]);
            }
            let is_worker = workers.numbers.contains(number);
            let outside = outside_ns(times, is_alone) as f64;
            if outside > 0.0 && outside < ALONE * sums.wall {
                sums.outside += outside;
                sums.longest_outside = sums.longest_outside.max(outside);
                sums.waits_for_locks += times.blocked(Reason::Futex) as f64;
            }
            if is_worker {
                sums.gil += times.blocked(Reason::Gil) as f64;
                // What a runtime has for itself waits for something to do, and who works beside it alone has nobody to share a lock with.
                if !workers.is_one_with_services && runtimes::service(&window.ledgers[*number].comm).is_none() {
                    sums.futex += times.blocked(Reason::Futex) as f64;
                }
                sums.kernel_locks += (times.blocked(Reason::MmapLock) + times.blocked(Reason::KernelLock)) as f64;
                let need = (times.on_cpu_ns + times.transit_ns) as f64 + outside;
                sums.need = sums.need.max(need);
                sums.need_without_spinning = sums.need_without_spinning.max(need - spinning);
                sums.need_without_pausing = sums.need_without_pausing.max(need - pausing);
            }
        }
        if window.foreign_ns > 0 {
            let others_ns =
                |length_ns: u64, idle_ns: u64, own_ns: u64| (length_ns * window.online_cores).saturating_sub(idle_ns + own_ns);
            // All but the tracer's own, which is known for the whole window only.
            let but_own = share(window.foreign_ns, others_ns(window.wall_ns, window.idle_ns, window.times.on_cpu_ns));
            sums.others = if window.moments.is_empty() {
                window.mean(window.foreign_ns)
            } else {
                ratio(others_ns(moment.length_ns, moment.idle_ns, on_cpu_ns), moment.length_ns) * but_own
            };
        }
        sums
    }

    /// All the time in these moments that it was busy as one, and the rest as another.
    fn busy_and_idle(moments: &[Sums]) -> [Sums; 2] {
        let mut busy = Sums::default();
        let mut idle = Sums::default();
        for moment in moments {
            busy.wall += moment.busy();
            idle.wall += moment.wall - moment.busy();
            busy.at_work += moment.at_work;
            busy.runnable += moment.runnable;
            busy.woken_for_gil += moment.woken_for_gil;
            busy.woken_for_futex += moment.woken_for_futex;
            busy.woken_for_kernel_locks += moment.woken_for_kernel_locks;
            busy.gil += moment.gil;
            busy.futex += moment.futex;
            busy.kernel_locks += moment.kernel_locks;
            busy.spinning += moment.spinning;
            busy.pausing += moment.pausing;
            busy.others += moment.others * moment.busy();
            (busy.has_one_gil, busy.gil_binds) = (moment.has_one_gil, moment.gil_binds);
        }
        busy.others /= busy.wall.max(1.0);
        [busy, idle]
    }

    /// Of the time at work or in wait for a lock inside the kernel, the share of the latter, of which so much is at work.
    fn kernel_waits(&self, spinning: f64) -> f64 {
        (self.kernel_locks + spinning) / (self.at_work + self.kernel_locks).max(1.0)
    }

    /// What samples may be off by, twice their standard deviation: as the root of their number.
    fn unsure_of_pauses(&self, obstacle: Obstacle) -> f64 {
        let counts = matches!(obstacle, Obstacle::Locks | Obstacle::TooFewThreads);
        if counts { 2.0 * (self.pausing * SAMPLE_PERIOD_NS as f64).sqrt() } else { 0.0 }
    }

    /// For how long it was busy.
    fn busy(&self) -> f64 {
        (self.at_work + self.runnable).min(self.wall)
    }

    /// While one has a lock and waits outside, the others wait for it: without the lock they would wait at the same time.
    fn is_one_at_a_time(&self) -> bool {
        let idle = self.wall - self.busy();
        (MOSTLY * idle..=ONE_AT_A_TIME * self.wall).contains(&self.outside) && self.waits_for_locks >= self.wall
    }

    /// How long it would have taken. What the sums do not explain of the moment as it was, they do not explain of it as it would be.
    fn without(&self, obstacle: Obstacle, supply: &Supply, with_needs: bool) -> f64 {
        let as_it_was = self.explained(None, supply, with_needs);
        if as_it_was > 0.0 {
            self.wall * (self.explained(Some(obstacle), supply, with_needs) / as_it_was).min(1.0)
        } else {
            self.wall
        }
    }

    /// The same, where what is not explained came of being woken goes as well.
    fn without_and_without_waking(&self, obstacle: Obstacle, supply: &Supply, with_needs: bool) -> f64 {
        let as_it_was = self.explained(None, supply, with_needs);
        let woken = self.going_with(obstacle, self.woken_for_gil, self.woken_for_futex, self.woken_for_kernel_locks);
        let waking = if self.runnable > 0.0 { woken / self.runnable } else { 0.0 };
        let rest = self.wall - waking * (self.wall - as_it_was).max(0.0);
        if as_it_was > 0.0 { rest * (self.explained(Some(obstacle), supply, with_needs) / as_it_was).min(1.0) } else { self.wall }
    }

    /// What goes with a lock, of what is a GIL's, other locks' and of locks inside the kernel.
    fn going_with(&self, obstacle: Obstacle, gil: f64, futex: f64, kernel_locks: f64) -> f64 {
        match obstacle {
            Obstacle::Gil if self.has_one_gil && self.gil_binds => gil + futex,
            Obstacle::Gil => gil,
            Obstacle::Locks if self.has_one_gil && self.gil_binds => 0.0,
            Obstacle::Locks if self.has_one_gil => gil + futex,
            Obstacle::Locks => futex,
            Obstacle::KernelLocks => kernel_locks,
            Obstacle::TooFewThreads | Obstacle::Quota | Obstacle::Mask | Obstacle::Others | Obstacle::PageFaults => 0.0,
        }
    }

    /// How long the sums say that it takes, with one obstacle gone or none.
    fn explained(&self, gone: Option<Obstacle>, supply: &Supply, with_needs: bool) -> f64 {
        let demand = self.at_work + self.runnable;
        let busy = self.busy();
        let idle = self.wall - busy;
        let waits = match gone {
            Some(Obstacle::TooFewThreads) => f64::INFINITY,
            Some(obstacle) => self.going_with(obstacle, self.gil, self.futex, self.kernel_locks),
            None => 0.0,
        };
        let crew = if gone.is_some() { self.crew } else { 0.0 };
        let threads = if busy > 0.0 { ((demand + waits) / busy).max(crew) } else { 0.0 };
        let cores = supply.cores(threads, self.others, gone).max(self.at_work / self.wall);
        // As it was, its threads shared cores with each other or with those of others.
        let unshared = match gone {
            None | Some(Obstacle::Others) => f64::INFINITY,
            Some(_) => supply.unshared.max(self.at_work / busy),
        };
        let slowed = (threads.min(cores) / unshared).max(1.0);
        let (spinning, need) = match gone {
            Some(Obstacle::KernelLocks) => (self.spinning, self.need_without_spinning),
            Some(Obstacle::Locks) => (self.pausing, self.need_without_pausing),
            // To wait is no work that could be divided.
            Some(Obstacle::TooFewThreads) => (self.pausing, self.need),
            _ => (0.0, self.need),
        };
        let at_work = if busy > 0.0 { (self.at_work - spinning) * slowed / threads.min(cores) } else { 0.0 };
        let at_rest = match gone {
            Some(Obstacle::Locks) if self.is_one_at_a_time() => idle * self.longest_outside / self.outside,
            _ => idle,
        };
        let needed = match gone {
            Some(Obstacle::TooFewThreads) => 0.0,
            _ if !with_needs => 0.0,
            _ => need * slowed,
        };
        (at_rest + at_work).max(needed).min(self.wall)
    }
}

/// The moments, put together until each is long enough.
fn coarse(moments: &[Moment]) -> Vec<Moment> {
    let mut coarse: Vec<Moment> = Vec::new();
    for moment in moments {
        match coarse.last_mut() {
            Some(last) if last.length_ns < COARSE_NS => last.join(moment.clone()),
            _ => coarse.push(moment.clone()),
        }
    }
    coarse
}

/// The sums, with one for all the time in these moments that the program was busy: who waited less is done early, and what the others do from
/// then on they would have done beside it.
fn beside_each_other(fine: &[Sums], (moments, crew): (Range<usize>, usize)) -> Vec<Sums> {
    let (before, rest) = fine.split_at(moments.start);
    let (joined, after) = rest.split_at(moments.len());
    let [busy, idle] = Sums::busy_and_idle(joined);
    [before, &[Sums { crew: crew as f64, ..busy }, idle], after].concat()
}

/// The moments from the first in which a worker waits so to the last in which one of them lives, and how many these are, if all of them lived
/// at one time but did not end at one. The first thread of a process waits for its others to end.
fn ended_in_turn(
    moments: &[Moment],
    window: &Window,
    workers: &Workers,
    waits: fn(&Ledger, &Times) -> u64,
) -> (Range<usize>, usize) {
    let is_first = |ledger: &Ledger| ledger.is_main && workers.iter().any(|worker| worker.tgid == ledger.tgid && !worker.is_main);
    let takes_turns = |number: &usize| window.ledgers.get(*number).is_some_and(|ledger| !is_first(ledger));
    let takers: HashSet<usize> = workers.numbers.iter().copied().filter(takes_turns).collect();
    // The first and the last moment of each.
    let mut lives = HashMap::new();
    for (place, moment) in moments.iter().enumerate() {
        for (number, _) in moment.parts.iter().filter(|(number, _)| takers.contains(number)) {
            lives.entry(number).or_insert((place, place)).1 = place;
        }
    }
    let is_waiting = |(number, times): &(usize, Times)| takers.contains(number) && waits(&window.ledgers[*number], times) > 0;
    let first_wait = moments.iter().position(|moment| moment.parts.iter().any(is_waiting));
    let last_begin = lives.values().map(|(begin, _)| *begin).max();
    let ends = || lives.values().map(|(_, end)| *end);
    match (first_wait, last_begin, ends().min(), ends().max()) {
        (Some(first_wait), Some(last_begin), Some(first_end), Some(last_end))
            if last_begin <= first_end && first_end < last_end =>
        {
            (first_wait..last_end + 1, lives.len())
        }
        _ => (0..0, 0),
    }
}

/// In a loop as well: when is known of the whole window only.
fn waits_for_locks(ledger: &Ledger, times: &Times) -> u64 {
    times.blocked(Reason::Futex) + if ledger.pausing_ns > 0 { times.on_cpu_ns } else { 0 }
}

fn waits_for_cpus(_: &Ledger, times: &Times) -> u64 {
    times.runnable_ns()
}

/// What a thread waits for that no other thread of its program ends, as a rule.
fn outside_ns(times: &Times, is_alone: bool) -> u64 {
    let inside = [Reason::Gil, Reason::Futex, Reason::ChildWait, Reason::MmapLock, Reason::KernelLock]
        .into_iter()
        .map(|reason| times.blocked(reason))
        .sum::<u64>();
    let between = if is_alone { 0 } else { times.blocked(Reason::PipeSocket) + times.blocked(Reason::Poll) };
    times.blocked_total_ns() - inside - between
}

impl Window {
    /// The window as one moment.
    fn whole(&self) -> Moment {
        let parts = self.ledgers.iter().map(|ledger: &Ledger| ledger.times).enumerate().collect();
        Moment { length_ns: self.wall_ns, idle_ns: self.idle_ns, parts }
    }
}
