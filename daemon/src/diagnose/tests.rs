//! What holds of any window, and below `moments` what only moments tell. What each kind of program is told is in
//! `report/golden/answers.txt`.

use proptest::prelude::*;
use schedscope_ebpf::blocked::Reason;

use super::cores::Cause;
use super::samples::{WALL, any_window, on, thread};
use super::window::Ledger;
use super::*;
use crate::capture::history::Moment;
use crate::capture::interpreters::Python::OneGil;
use crate::capture::snapshot::Times;

/// The same window, so many times as long.
fn scaled(window: &Window, factor: u64) -> Window {
    let times = |times: &Times| std::iter::repeat_n(times, usize::try_from(factor).unwrap_or(0)).sum();
    let ledger = |ledger: &Ledger| Ledger {
        begin_ns: ledger.begin_ns * factor,
        times: times(&ledger.times),
        spinning_ns: ledger.spinning_ns * factor,
        pausing_ns: ledger.pausing_ns * factor,
        voluntary: ledger.voluntary * factor,
        gil_waits: ledger.gil_waits * factor,
        timed_waits: ledger.timed_waits * factor,
        yielded: ledger.yielded * factor,
        epoll_waits: ledger.epoll_waits * factor,
        ..ledger.clone()
    };
    Window {
        wall_ns: window.wall_ns * factor,
        times: times(&window.times),
        on_cpu_ns_by_cpu: window.on_cpu_ns_by_cpu.iter().map(|ns| ns * factor).collect(),
        idle_ns: window.idle_ns * factor,
        foreign_ns: window.foreign_ns * factor,
        meek_ns: window.meek_ns * factor,
        voluntary: window.voluntary * factor,
        ledgers: window.ledgers.iter().map(ledger).collect(),
        ..window.clone()
    }
}

proptest! {
    /// Whatever comes in: a name with a confidence, an estimate between nothing and what it took, and no verdict on a lock that no
    /// thread waited for.
    #[test]
    fn nothing_is_claimed_without_evidence(window in any_window()) {
        let diagnosis = diagnose(&window);
        prop_assert!((0.0..=1.0).contains(&diagnosis.confidence));
        prop_assert!(diagnosis.figures.demand >= diagnosis.figures.running && diagnosis.figures.cores > 0);
        if diagnosis.model == ModelName::ThreadsGilBound {
            prop_assert!(diagnosis.figures.gil_share >= 0.25);
        }
        for what_if in &diagnosis.what_if {
            prop_assert!(what_if.least_ns <= what_if.most_ns && what_if.most_ns <= window.wall_ns, "{what_if:?}");
        }
        let is_certain = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Quota | Obstacle::Mask | Obstacle::Others | Obstacle::Locks);
        if let Some(obstacle) = diagnosis.limit.obstacle().filter(is_certain) {
            prop_assert!(diagnosis.what_if.iter().any(|what_if| what_if.obstacle == obstacle && what_if.gain(&window) >= 0.1));
        }
    }

    /// Every core is used or lost to one cause, and a thread that could run has lost none to a wait.
    #[test]
    fn the_parts_of_the_cores_are_all_there_is(window in any_window()) {
        let Cores { given_ns, used_ns, lost } = diagnose(&window).cores;
        prop_assert_eq!(used_ns + lost.iter().map(|(_, ns)| ns).sum::<u64>(), given_ns);
        prop_assert!(given_ns >= window.wall_ns * window.allowed_cores);
        prop_assert!(lost.iter().all(|(_, ns)| *ns > 0));
        let of = |wanted: Cause| lost.iter().filter(|(cause, _)| *cause == wanted).map(|(_, ns)| ns).sum::<u64>();
        prop_assert!(of(Cause::Quota) + of(Cause::Mask) + of(Cause::Others) <= window.times.runnable_ns());
        prop_assert!(of(Cause::Others) <= window.foreign_ns);
        prop_assert!(of(Cause::Spinning) <= window.times.on_cpu_ns);
        let waits = lost.iter().filter(|(cause, _)| matches!(cause, Cause::Wait(_))).map(|(_, ns)| ns).sum::<u64>();
        prop_assert!(waits <= window.times.blocked_total_ns());
        if waits + of(Cause::TooFewThreads) > 0 {
            let rest_ns = given_ns - used_ns - of(Cause::Spinning) - waits - of(Cause::TooFewThreads);
            prop_assert!(window.times.runnable_ns() <= rest_ns);
        }
    }

    /// Threads on cores of the hardware that they share may be slower, and those that shared one before faster: no range gets narrower.
    #[test]
    fn shared_cores_only_widen_the_ranges(window in any_window()) {
        let unshared = diagnose(&Window { physical_cores: 0, ..window.clone() }).what_if;
        for shared in diagnose(&window).what_if {
            let alone = unshared.iter().find(|what_if| what_if.obstacle == shared.obstacle);
            prop_assert!(alone.is_some_and(|alone| shared.least_ns <= alone.least_ns && alone.most_ns <= shared.most_ns), "{alone:?} {shared:?}");
        }
    }

    /// Where every moment is as the others are, they say what the whole says.
    #[test]
    fn equal_moments_change_nothing(mut window in any_window()) {
        // How many CPUs others had is seen moment by moment, and here does not go with what the program had.
        window.foreign_ns = 0;
        let whole = diagnose(&window);
        let part = |times: &Times| Times {
            on_cpu_ns: times.on_cpu_ns / 4,
            wakeup_wait_ns: times.wakeup_wait_ns / 4,
            preempt_wait_ns: times.preempt_wait_ns / 4,
            transit_ns: times.transit_ns / 4,
            blocked_ns: times.blocked_ns.map(|ns| ns / 4),
        };
        let parts: Vec<(usize, Times)> = window.ledgers.iter().map(|ledger| part(&ledger.times)).enumerate().collect();
        window.moments = vec![Moment { length_ns: window.wall_ns / 4, idle_ns: window.idle_ns / 4, parts }; 4];
        let split = diagnose(&window);
        let seconds = |diagnosis: &Diagnosis, obstacle: Obstacle| {
            let found = diagnosis.what_if.iter().find(|what_if| what_if.obstacle == obstacle);
            found.map_or([window.wall_ns; 2], |what_if| [what_if.least_ns, what_if.most_ns]).map(|ns| ns as f64 / window.wall_ns.max(1) as f64)
        };
        for obstacle in [Obstacle::Gil, Obstacle::TooFewThreads, Obstacle::KernelLocks] {
            let (one, other) = (seconds(&whole, obstacle), seconds(&split, obstacle));
            prop_assert!((one[0] - other[0]).abs() < 0.02 && (one[1] - other[1]).abs() < 0.02, "{obstacle:?} {one:?} {other:?}");
        }
    }

    #[test]
    fn the_limit_and_the_advice_never_contradict_each_other(window in any_window()) {
        let Diagnosis { limit, advice, figures, .. } = diagnose(&window);
        let agrees = match (advice, &limit) {
            (None, _) => true,
            (Some(Advice::MoveToProcesses), limit) => matches!(limit, Limit::Gil(_)) && figures.cores > 1,
            (Some(Advice::GilOnOneCore), limit) => *limit == Limit::Cores && figures.cores == 1,
            (Some(Advice::WaitInLoopsForLess), limit) => matches!(limit, Limit::Locks(_) | Limit::TooFewThreads(_)),
            (Some(Advice::ProcessesIfPython | Advice::HoldLocksForLess), limit) => matches!(limit, Limit::Locks(_)),
            (Some(Advice::RaiseTheQuota), limit) => matches!(limit, Limit::Quota(_)),
            (Some(Advice::WidenTheMask), limit) => *limit == Limit::Mask && figures.cores < figures.given,
            (Some(Advice::DoMoreInEachProcess), limit) => matches!(limit, Limit::TooFewThreads(_)),
            (Some(Advice::StartTheNextSooner), limit) => matches!(limit, Limit::TooFewThreads(_)) && figures.workers > 1,
            (Some(Advice::DivideTheWork), limit) => matches!(limit, Limit::TooFewThreads(_)) && figures.cores > 1,
            (Some(Advice::FreeTheLoop), limit) => !matches!(limit, Limit::AtRest(_) | Limit::CpuWait(_)),
            (Some(Advice::OneThreadDoesItAll), limit) => matches!(limit, Limit::TooFewThreads(_) | Limit::Blocked(_)),
            (Some(Advice::OverlapWaits), limit) => match limit {
                Limit::AtRest(group) | Limit::TooFewThreads(group) | Limit::Blocked(group) => !group.lacks_cores(&figures),
                _ => false,
            },
            (Some(Advice::RaiseThePriority), limit) => matches!(limit, Limit::Priority(_)),
            (Some(Advice::ShareLessInTheKernel), limit) => matches!(limit, Limit::KernelLocks(_)),
            (Some(Advice::KeepMemory), limit) => *limit == Limit::PageFaults,
            (Some(Advice::FindTheCycle), limit) => matches!(limit, Limit::Hung(_)),
            (Some(Advice::BlockInsteadOfYielding), limit) => matches!(limit, Limit::Spinning(_)),
            (Some(Advice::LargerTasks), limit) => matches!(limit, Limit::Messages(_)),
            (Some(Advice::WaitForEvents), limit) => matches!(limit, Limit::Polling(_)),
            (Some(Advice::MoveOutOfTheLoop), limit) => matches!(limit, Limit::BlockedLoop(_)),
            (Some(Advice::StartMore), Limit::TooFewThreads(group)) => group.workers(&figures) < figures.cores,
            (Some(Advice::StartMore), _) => false,
            (Some(Advice::DivideEvenly), Limit::TooFewThreads(group)) => group.workers(&figures) >= figures.cores,
            (Some(Advice::DivideEvenly), limit) => matches!(limit, Limit::Blocked(_)),
            (Some(Advice::MoreOfTheBottleneck), limit) => matches!(limit, Limit::Bottleneck(_)),
        };
        prop_assert!(agrees, "{limit:?}, {advice:?}");
    }

    /// Ten epoll waits are enough at any rate, so windows with fewer may change.
    #[test]
    fn a_window_ten_times_as_long_is_judged_alike(mut window in any_window()) {
        for ledger in &mut window.ledgers {
            ledger.epoll_waits = if ledger.epoll_waits < 10 { 0 } else { ledger.epoll_waits };
        }
        let (once, ten_times) = (diagnose(&window), diagnose(&scaled(&window, 10)));
        let verdict = |diagnosis: &Diagnosis| (diagnosis.model, diagnosis.limit.name(), diagnosis.advice);
        prop_assert_eq!(verdict(&once), verdict(&ten_times));
    }

    /// A thread that waits for another throughout changes no model.
    #[test]
    fn a_thread_that_does_nothing_changes_no_model(mut window in any_window()) {
        let before = diagnose(&window);
        window.ledgers.push(bystander(window.ledgers.iter().all(|ledger| ledger.has_ended)));
        let after = diagnose(&window);
        prop_assert_eq!((before.model, before.figures.gil_share), (after.model, after.figures.gil_share));
    }

    /// Nor a limit, where there is work and the workers do it. Where little is wanted it does: then the idle time of all threads is told.
    #[test]
    fn a_thread_that_does_nothing_changes_no_limit(
        count in 1_usize..6, [on_cpu, runnable] in prop::array::uniform2(0.1..4.0_f64),
        waits in prop::collection::vec((prop::sample::select(Reason::ALL.to_vec()), 0.0..4.0_f64), 0..3), cores in 1_u64..9,
    ) {
        let workers = vec![Ledger { python: Some(OneGil), ..thread([on_cpu, runnable], &waits) }; count];
        let (before, after) = (diagnose(&on(cores, workers.clone())), diagnose(&on(cores, [workers, vec![bystander(false)]].concat())));
        if before.figures.demand >= 0.5 {
            prop_assert_eq!((before.limit.name(), before.advice), (after.limit.name(), after.advice));
        }
    }
}

#[test]
fn a_short_run_starts_few_processes_however_many_a_second() {
    let starts = |processes| Figures { processes, processes_per_second: 500.0, ..Figures::default() }.starts_many_processes();
    assert_eq!((starts(99), starts(100)), (false, true));
}

fn bystander(has_ended: bool) -> Ledger {
    Ledger { has_ended, voluntary: 0, ..thread([0.0, 0.0], &[(Reason::Futex, WALL)]) }
}

/// In less than a second, what is waited for as a process begins is much by its rate.
#[test]
fn who_waits_once_is_at_rest_however_short_it_is() {
    let limit = |voluntary| {
        let mut sleeper = thread([0.0; 2], &[(Reason::Sleep, 0.7)]);
        sleeper.voluntary = voluntary;
        diagnose(&Window::of_ledgers(700_000_000, 2, vec![sleeper])).limit
    };
    assert!(matches!(limit(3), Limit::AtRest(_)) && matches!(limit(4), Limit::Blocked(_)));
}

mod moments;
