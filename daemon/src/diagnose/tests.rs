//! What holds of any window. What each kind of program is told is in `report/golden/answers.txt`.

use proptest::prelude::*;
use schedscope_ebpf::blocked::Reason;

use super::cores::Cause;
use super::samples::{WALL, any_window, on, thread};
use super::window::Ledger;
use super::*;
use crate::capture::history::Moment;
use crate::capture::interpreters::Python::OneGil;
use crate::capture::snapshot::{Tid, Times};

/// The same window, so many times as long.
fn scaled(window: &Window, factor: u64) -> Window {
    let times = |times: &Times| std::iter::repeat_n(times, usize::try_from(factor).unwrap_or(0)).sum();
    let ledger = |ledger: &Ledger| Ledger {
        begin_ns: ledger.begin_ns * factor,
        times: times(&ledger.times),
        voluntary: ledger.voluntary * factor,
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
        let waits = lost.iter().filter(|(cause, _)| matches!(cause, Cause::Wait(_))).map(|(_, ns)| ns).sum::<u64>();
        prop_assert!(waits <= window.times.blocked_total_ns());
        if waits + of(Cause::TooFewThreads) > 0 {
            prop_assert!(window.times.runnable_ns() <= given_ns - used_ns - waits - of(Cause::TooFewThreads));
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
            (Some(Advice::ProcessesIfPython | Advice::HoldLocksForLess), limit) => matches!(limit, Limit::Locks(_)),
            (Some(Advice::RaiseTheQuota), limit) => matches!(limit, Limit::Quota(_)),
            (Some(Advice::WidenTheMask), limit) => *limit == Limit::Mask && figures.cores < figures.given,
            (Some(Advice::DivideTheWork), limit) => matches!(limit, Limit::TooFewThreads(_)) && figures.cores > 1,
            (Some(Advice::FreeTheLoop), limit) => !matches!(limit, Limit::AtRest(_) | Limit::CpuWait(_)),
            (Some(Advice::OneThreadDoesItAll), limit) => matches!(limit, Limit::TooFewThreads(_) | Limit::Blocked(_)),
            (Some(Advice::OverlapWaits), limit) => match limit {
                Limit::AtRest(group) | Limit::TooFewThreads(group) | Limit::Blocked(group) => !group.lacks_cores(&figures),
                _ => false,
            },
            (Some(Advice::RaiseThePriority), limit) => matches!(limit, Limit::Priority(_)),
            (Some(Advice::ShareLessInTheKernel), limit) => matches!(limit, Limit::KernelLocks(_)),
            (Some(Advice::FindTheCycle), limit) => matches!(limit, Limit::Hung(_)),
            (Some(Advice::BlockInsteadOfYielding), limit) => matches!(limit, Limit::Spinning(_)),
            (Some(Advice::LargerTasks), limit) => matches!(limit, Limit::Messages(_)),
            (Some(Advice::WaitForEvents), limit) => matches!(limit, Limit::Polling(_)),
            (Some(Advice::MoveOutOfTheLoop), limit) => matches!(limit, Limit::BlockedLoop(_)),
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

/// Moments of half a second, in which the ledgers' threads did so many seconds on a CPU each and were blocked for the reason else.
fn in_moments(mut window: Window, moments: &[&[(f64, Reason)]]) -> Window {
    let part = |&(on_cpu, reason): &(f64, Reason)| thread([on_cpu, 0.0], &[(reason, 0.5 - on_cpu)]).times;
    let moment = |parts: &&[(f64, Reason)]| Moment {
        length_ns: 500_000_000,
        idle_ns: 0,
        parts: parts.iter().map(part).enumerate().collect(),
    };
    window.moments = moments.iter().map(moment).collect();
    window.wall_ns = 500_000_000 * moments.len() as u64;
    for (number, ledger) in window.ledgers.iter_mut().enumerate() {
        ledger.times = window.moments.iter().map(|moment| &moment.parts[number].1).sum();
    }
    window.times = window.ledgers.iter().map(|ledger| &ledger.times).sum();
    window
}

/// So many threads of one process, the first one its main thread.
fn crew(cores: u64, count: u32) -> Window {
    let member = |tid| Ledger { tid: Tid(tid), is_main: tid == 0, voluntary: 100, ..thread([0.0; 2], &[]) };
    on(cores, (0..count).map(member).collect())
}

#[test]
fn a_serial_phase_and_a_parallel_one_are_not_mixed_up() {
    let (serial, parallel): (&[_], &[_]) =
        (&[(0.5, Reason::Futex), (0.0, Reason::Futex)], &[(0.5, Reason::Gil), (0.5, Reason::Gil)]);
    let diagnosis = diagnose(&in_moments(crew(2, 2), &[serial, serial, parallel, parallel]));
    // Two seconds, of which the first could take half.
    let divided = diagnosis.what_if.iter().find(|what_if| what_if.obstacle == Obstacle::TooFewThreads).unwrap();
    assert!((1_350_000_000..1_500_000_000).contains(&divided.least_ns) && divided.most_ns < 1_700_000_000, "{divided:?}");
    assert_eq!(diagnosis.what_if.len(), 1, "{:?}", diagnosis.what_if);
}

#[test]
fn what_the_tracer_takes_in_a_moment_is_not_others() {
    let busy: &[_] = &[(0.5, Reason::Futex)];
    let mut window = in_moments(crew(2, 1), &[busy; 4]);
    // The other CPU was never idle, and others had three tenths of it.
    (window.idle_ns, window.foreign_ns) = (0, 3 * window.wall_ns / 10);
    let diagnosis = diagnose(&window);
    let divided = diagnosis.what_if.iter().find(|what_if| what_if.obstacle == Obstacle::TooFewThreads).unwrap();
    assert!(divided.most_ns < 7 * window.wall_ns / 10, "{divided:?}");
}

#[test]
fn a_thread_that_the_others_wait_for_is_named() {
    // The last one collects what the others leave behind.
    let working: &[_] = &[(0.5, Reason::Futex), (0.5, Reason::Futex), (0.0, Reason::Futex)];
    let stopped: &[_] = &[(0.0, Reason::Futex), (0.0, Reason::Futex), (0.5, Reason::Futex)];
    let of = |moments: &[&[(f64, Reason)]]| diagnose(&in_moments(crew(2, 3), moments)).limit;
    let Limit::Bottleneck(bottleneck) = of(&[working, stopped, working, stopped]) else { panic!("not told") };
    assert_eq!((bottleneck.tid, bottleneck.waiting, bottleneck.is_process), (Tid(2), 2, false));
    assert!((bottleneck.alone - 0.5).abs() < 1e-9);
    // Who takes turns is alone in turn.
    let (one, other): (&[_], &[_]) = (&[(0.5, Reason::Futex), (0.0, Reason::Futex)], &[(0.0, Reason::Futex), (0.5, Reason::Futex)]);
    assert!(!matches!(diagnose(&in_moments(crew(2, 2), &[one, other, one, other])).limit, Limit::Bottleneck(_)));
    // Who sleeps waits for nobody.
    let beside: &[_] = &[(0.5, Reason::Futex), (0.0, Reason::Sleep)];
    assert!(!matches!(diagnose(&in_moments(crew(2, 2), &[beside; 4])).limit, Limit::Bottleneck(_)));
}

#[test]
fn a_standstill_is_told_unless_somebody_waits_for_a_clock() {
    let (busy, still): (&[_], &[_]) =
        (&[(0.5, Reason::Futex), (0.1, Reason::Futex)], &[(0.0, Reason::Futex), (0.0, Reason::Futex)]);
    let clock: &[_] = &[(0.0, Reason::Sleep), (0.0, Reason::Futex)];
    let of = |moments: &[&[(f64, Reason)]]| diagnose(&in_moments(crew(2, 2), moments)).limit;
    assert_eq!(of(&[busy, still, still, busy]), Limit::Hung(Hung { threads: 2, for_pipes: false, for_ns: 1_000_000_000 }));
    assert_eq!(of(&[busy, busy, busy, still]).name(), "hung", "a quarter of the window");
    assert_ne!(of(&[busy, busy, busy, busy, still]).name(), "hung", "a fifth of it");
    assert_ne!(of(&[busy, clock, clock, busy]).name(), "hung");
}

#[test]
fn who_waits_for_a_pipe_that_nobody_else_has_hangs_too() {
    let (busy, still): (&[_], &[_]) =
        (&[(0.5, Reason::PipeSocket), (0.1, Reason::ChildWait)], &[(0.0, Reason::PipeSocket), (0.0, Reason::ChildWait)]);
    let mut window = in_moments(crew(2, 2), &[busy, still, still, busy]);
    assert_ne!(diagnose(&window).limit.name(), "hung", "somebody else may write to it");
    window.waiting_for_own_pipes.insert(0);
    assert_eq!(diagnose(&window).limit, Limit::Hung(Hung { threads: 2, for_pipes: true, for_ns: 1_000_000_000 }));
}

fn bystander(has_ended: bool) -> Ledger {
    Ledger { has_ended, voluntary: 0, ..thread([0.0, 0.0], &[(Reason::Futex, WALL)]) }
}
