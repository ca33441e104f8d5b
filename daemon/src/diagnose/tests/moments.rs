//! What is told from moments, where no sum over the whole window tells it.

use schedscope_ebpf::blocked::Reason;

use crate::capture::history::Moment;
use crate::capture::snapshot::Tid;
use crate::diagnose::samples::{on, thread};
use crate::diagnose::thresholds::{LEAST, MOST_DIVIDED};
use crate::diagnose::window::Ledger;
use crate::diagnose::{Evidence, Hung, Limit, Obstacle, Window, diagnose};

/// What each of the ledgers' threads did in a moment: seconds on a CPU and waiting for one, and what it was blocked for else.
type Parts<'a> = &'a [([f64; 2], Reason)];

/// Moments of so many milliseconds.
fn in_moments_of(length_ms: u64, mut window: Window, moments: &[Parts<'_>]) -> Window {
    let length = length_ms as f64 / 1e3;
    let part = |&(wanted, reason): &([f64; 2], Reason)| thread(wanted, &[(reason, length - wanted[0] - wanted[1])]).times;
    let moment = |parts: &Parts<'_>| Moment {
        length_ns: 1_000_000 * length_ms,
        idle_ns: 0,
        parts: parts.iter().map(part).enumerate().collect(),
    };
    window.moments = moments.iter().map(moment).collect();
    window.wall_ns = 1_000_000 * length_ms * moments.len() as u64;
    for (number, ledger) in window.ledgers.iter_mut().enumerate() {
        ledger.times = window.moments.iter().map(|moment| &moment.parts[number].1).sum();
    }
    window.times = window.ledgers.iter().map(|ledger| &ledger.times).sum();
    window
}

/// Moments of half a second in which nobody waits for a CPU.
fn in_moments(window: Window, moments: &[&[(f64, Reason)]]) -> Window {
    let parts = |parts: &&[(f64, Reason)]| parts.iter().map(|&(on_cpu, reason)| ([on_cpu, 0.0], reason)).collect();
    let moments: Vec<Vec<([f64; 2], Reason)>> = moments.iter().map(parts).collect();
    in_moments_of(500, window, &moments.iter().map(Vec::as_slice).collect::<Vec<_>>())
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
    let (least, most) = (divided.least_ns as f64 / LEAST, divided.most_ns as f64 / MOST_DIVIDED);
    assert!((1.49e9..=1.5e9).contains(&least) && (1.5e9..1.51e9).contains(&most), "{divided:?}");
    assert_eq!(diagnosis.what_if.len(), 1, "{:?}", diagnosis.what_if);
}

/// Two threads, of which the second waits for the end of the first and hardly for a CPU: others have not kept it from working beside that.
#[test]
fn stages_that_follow_each_other_would_do_so_without_others() {
    let one: Parts<'_> = &[([0.5, 0.0], Reason::Futex), ([0.0; 2], Reason::Futex)];
    let other: Parts<'_> = &[([0.0; 2], Reason::Futex), ([0.49, 0.01], Reason::Futex)];
    let mut window = in_moments_of(500, crew(2, 2), &[one, one, other, other]);
    window.ledgers[0].is_main = false;
    window.moments[2..].iter_mut().for_each(|moment| moment.parts.retain(|(number, _)| *number == 1));
    window.foreign_ns = window.wall_ns;
    let others = diagnose(&window).what_if.into_iter().find(|what_if| what_if.obstacle == Obstacle::Others);
    assert!(others.is_none_or(|others| others.least_ns > 85 * window.wall_ns / 100), "{others:?}");
}

/// Threads of which one got the lock before the others, and so was done before they began to work.
#[test]
fn who_waits_for_a_lock_would_have_worked_beside_the_one_that_was_done_early() {
    use Reason::Futex;
    /// What each thread does in a moment: `None` outside of its life.
    type Lives<'a> = &'a [[Option<f64>; 4]];
    let least = |lives: Lives<'_>| {
        let moments: Vec<Vec<(f64, Reason)>> =
            lives.iter().map(|moment| moment.iter().map(|on_cpu| (on_cpu.unwrap_or(0.0), Futex)).collect()).collect();
        let mut window = in_moments(crew(2, 4), &moments.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (moment, lives) in window.moments.iter_mut().zip(lives) {
            moment.parts.retain(|(number, _)| lives[*number].is_some());
        }
        let what_ifs = diagnose(&window).what_if;
        let locks = what_ifs.iter().find(|what_if| what_if.obstacle == Obstacle::Locks).unwrap();
        format!("{:.0} %", 100.0 * locks.least_ns as f64 / LEAST / window.wall_ns as f64)
    };
    let (idle, working, waiting) = (Some(0.0), Some(0.5), Some(0.0));
    let one = [idle, working, waiting, None];
    // All of it takes half.
    assert_eq!(least(&[one, one, [idle, None, working, None], [idle, None, working, None]]), "50 %");
    // They end together: what each moment saves by itself.
    assert_eq!(least(&[one, one, [idle, waiting, working, None], [idle, waiting, working, None]]), "50 %");
    // The third one begins after the first has ended, so it could not have run beside it.
    let later = [idle, None, waiting, working];
    assert_eq!(least(&[one, one, later, later, [idle, None, working, None], [idle, None, working, None]]), "67 %");
    // The first thread of the process waits for the others to end.
    assert_eq!(
        least(&[
            [waiting, working, waiting, None],
            [waiting, working, None, None],
            [working, None, None, None],
            [working, None, None, None]
        ]),
        "75 %"
    );
}

#[test]
fn what_the_tracer_takes_in_a_moment_is_not_others() {
    let busy: &[_] = &[(0.5, Reason::Futex)];
    let mut window = in_moments(crew(2, 1), &[busy; 4]);
    // The other CPU was never idle, and others had three tenths of it.
    (window.idle_ns, window.foreign_ns) = (0, 3 * window.wall_ns / 10);
    let diagnosis = diagnose(&window);
    let divided = diagnosis.what_if.iter().find(|what_if| what_if.obstacle == Obstacle::TooFewThreads).unwrap();
    assert!((divided.most_ns as f64) < 0.6 * MOST_DIVIDED * window.wall_ns as f64, "{divided:?}");
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

/// A name as the kernel keeps it.
fn comm(name: &str) -> [u8; 16] {
    std::array::from_fn(|index| name.as_bytes().get(index).copied().unwrap_or(0))
}

#[test]
fn threads_that_a_collector_stops_wait_for_it_however_little_they_do() {
    let stopped: &[_] = &[(0.0, Reason::Futex), (0.01, Reason::Futex), (0.01, Reason::Futex), (0.48, Reason::Futex)];
    let limit = |collector: &str| {
        let mut window = crew(2, 4);
        for (ledger, name) in window.ledgers.iter_mut().zip(["java", "worker-0", "C2 CompilerThre", collector]) {
            ledger.comm = comm(name);
        }
        // Only the other two are stopped again and again.
        window.ledgers[0].voluntary = 9;
        diagnose(&in_moments(window, &[stopped; 4]))
    };
    let diagnosis = limit("VM Thread");
    assert!(diagnosis.evidence.contains(&Evidence::Collecting(0.96)), "{:?}", diagnosis.evidence);
    let Limit::Bottleneck(bottleneck) = diagnosis.limit else { panic!("not told") };
    assert_eq!((bottleneck.tid, bottleneck.waiting, bottleneck.stops_the_world), (Tid(3), 1, true));
    assert!(matches!(limit("worker-1").limit, Limit::TooFewThreads(_)));
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

/// So many times the one, and so many times the other.
fn mixed<'a>(moments: &[(usize, &'a [(f64, Reason)])]) -> Vec<&'a [(f64, Reason)]> {
    moments.iter().flat_map(|(count, moment)| std::iter::repeat_n(*moment, *count)).collect()
}

/// The same, each spread over the whole window.
fn in_turns<'a>(moments: &[(usize, &'a [(f64, Reason)])]) -> Vec<&'a [(f64, Reason)]> {
    let places = |(count, moment): &(usize, &'a [(f64, Reason)])| {
        let (count, moment) = (*count, *moment);
        (0..count).map(move |number| ((2 * number + 1) as f64 / (2 * count) as f64, moment))
    };
    let mut ordered: Vec<_> = moments.iter().flat_map(places).collect();
    ordered.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    ordered.into_iter().map(|(_, moment)| moment).collect()
}

/// Of pairs of programs, each with a bottleneck that reaches a threshold and one that just does not: whether it is told.
#[test]
fn a_bottleneck_is_told_from_each_threshold_on() {
    use Reason::{Futex, Sleep};
    let is_told = |window| matches!(diagnose(&window).limit, Limit::Bottleneck(_));
    let of = |threads, moments: &[(usize, &[(f64, Reason)])]| is_told(in_moments(crew(4, threads), &in_turns(moments)));
    let pair = |reached, missed, what| assert_eq!((reached, missed), (true, false), "{what}");

    let working: &[_] = &[(0.5, Futex), (0.5, Futex), (0.0, Futex)];
    let stopped: &[_] = &[(0.0, Futex), (0.0, Futex), (0.5, Futex)];
    let reached = of(3, &[(8, working), (2, stopped)]);
    pair(reached, of(3, &[(13, working), (3, stopped)]), "a fifth of the window");
    let another: &[_] = &[(0.5, Futex), (0.0, Futex), (0.0, Futex)];
    let reached = of(3, &[(2, working), (2, stopped), (1, another)]);
    pair(reached, of(3, &[(2, working), (3, stopped), (2, another)]), "two thirds of the time in which one ran alone");
    let beside = |on_cpu| of(3, &[(2, working), (2, &[(0.0, Futex), (on_cpu, Sleep), (0.5, Futex)])]);
    pair(beside(0.33), beside(0.34), "0.6 of what is wanted in a moment");
    let busy = |on_cpu| of(3, &[(2, working), (2, &[(0.0, Futex), (0.0, Futex), (on_cpu, Futex)])]);
    pair(busy(0.25), busy(0.249), "half of the moment");
    let waits = |on_cpu| of(2, &[(2, &[(0.5, Futex), (0.5, Futex)]), (2, &[(on_cpu, Futex), (0.5, Futex)])]);
    pair(waits(0.25), waits(0.251), "another waits for half of the moment");
    // The first thread, which counts in any case, sleeps.
    let slight =
        |on_cpu| of(3, &[(2, &[(0.5, Sleep), (on_cpu, Futex), (0.0, Sleep)]), (8, &[(0.0, Sleep), (0.0, Futex), (0.5, Futex)])]);
    pair(slight(0.2), slight(0.199), "who waits wants a tenth of what the busiest does");

    // Who starts a thread and waits for its end waits once.
    assert!(!is_told(in_moments(crew(4, 3), &mixed(&[(2, working), (2, stopped)]))), "one wait, however long");
    let partly: &[_] = &[(0.1, Futex), (0.1, Futex), (0.4, Futex)];
    assert!(
        !is_told(in_moments(crew(4, 3), &mixed(&[(1, working), (1, partly), (1, stopped), (1, partly)]))),
        "from amid a moment to amid another"
    );

    let waiting = |moments: usize, voluntary| {
        let mut window = in_moments(crew(4, 3), &in_turns(&[(moments / 2, working), (moments / 2, stopped)]));
        window.ledgers[..2].iter_mut().for_each(|ledger| ledger.voluntary = voluntary);
        is_told(window)
    };
    pair(waiting(4, 10), waiting(4, 9), "ten waits");
    pair(waiting(20, 30), waiting(20, 29), "three waits a second");

    // On two cores the one alone could be two for a quarter of the time, and to divide what it does is worth a word.
    let gain = |on_cpu| {
        let moments: &[(usize, &[(f64, Reason)])] =
            &[(4, &[(0.5, Futex), (0.5, Futex)]), (3, &[(0.0, Futex), (on_cpu, Futex)]), (4, &[(0.0, Sleep), (0.0, Sleep)])];
        is_told(in_moments(crew(2, 2), &in_turns(moments)))
    };
    pair(gain(0.37), gain(0.36), "a tenth is saved");
}

#[test]
fn who_waits_for_a_bottleneck_half_of_the_time_is_counted() {
    use Reason::{Futex, Sleep};
    let both: &[_] = &[(0.0, Futex), (0.0, Futex), (0.5, Futex)];
    let one: &[_] = &[(0.0, Futex), (0.0, Sleep), (0.5, Futex)];
    let working: &[_] = &[(0.5, Futex), (0.5, Futex), (0.0, Futex)];
    let waiting = |counts: [usize; 2]| match diagnose(&in_moments(
        crew(4, 3),
        &in_turns(&[(2, working), (counts[0], both), (counts[1], one)]),
    ))
    .limit
    {
        Limit::Bottleneck(bottleneck) => bottleneck.waiting,
        limit => panic!("{limit:?}"),
    };
    assert_eq!((waiting([2, 2]), waiting([2, 3])), (2, 1));
}

#[test]
fn a_standstill_is_told_from_each_threshold_on() {
    use Reason::{ChildWait, Futex};
    let is_told = |window| matches!(diagnose(&window).limit, Limit::Hung(_));
    let busy: &[_] = &[(0.5, Futex), (0.1, Futex)];
    // A thousandth of the moment.
    let moving = |on_cpu| is_told(in_moments(crew(2, 2), &[busy, &[(on_cpu, Futex), (0.0, Futex)]]));
    assert_eq!((moving(0.0005), moving(0.000_51)), (true, false));
    let of = |length_ms: u64| {
        let on_cpu = length_ms as f64 / 1e3;
        let moments: [Parts<'_>; 2] = [&[([on_cpu, 0.0], Futex), ([0.0; 2], Futex)], &[([0.0; 2], Futex); 2]];
        is_told(in_moments_of(length_ms, crew(2, 2), &moments))
    };
    assert_eq!((of(300), of(299)), (true, false));
    // One thread waits for the other throughout, and that one for half of the time.
    let (waits, for_child): (&[_], &[_]) = (&[(0.0, Futex), (0.0, Futex)], &[(0.0, Futex), (0.0, ChildWait)]);
    let waiting =
        |counts: [usize; 2]| is_told(in_moments(crew(2, 2), &mixed(&[(3, busy), (counts[0], waits), (counts[1], for_child)])));
    assert_eq!((waiting([2, 2]), waiting([4, 5])), (true, false));
}

/// Serial phases, of which each saves half, beside others in which more than all cores are wanted.
#[test]
fn where_all_cores_are_wanted_dividing_the_work_must_save_a_fifth() {
    let limit = |serial: usize, parallel: usize| {
        let one: Parts<'_> = &[([0.5, 0.0], Reason::Sleep), ([0.0; 2], Reason::Sleep), ([0.0; 2], Reason::Sleep)];
        let all: Parts<'_> = &[([0.333, 0.167], Reason::Sleep); 3];
        let moments = [vec![one; serial], vec![all; parallel]].concat();
        diagnose(&in_moments_of(500, crew(2, 3), &moments)).limit.name()
    };
    assert_eq!((limit(7, 10), limit(5, 8)), ("blocked", "cores"));
}

/// Two threads want the one core of their mask in every other moment. On another core they would be done in half of it, or, where the
/// moments are short and they might have gone on in the next, in half of the time of both.
#[test]
fn waits_for_a_turn_are_judged_in_moments_of_a_fifth_of_a_second() {
    let least = |length_ms: u64| {
        let half = length_ms as f64 / 2e3;
        let (want, rest): (Parts<'_>, Parts<'_>) = (&[([half, half], Reason::Sleep); 2], &[([0.0; 2], Reason::Sleep); 2]);
        let mut window = in_moments_of(length_ms, crew(2, 2), &[want, rest].repeat(10));
        window.cores_in_masks = Some(1.0);
        let what_if = diagnose(&window).what_if.into_iter().find(|what_if| what_if.obstacle == Obstacle::Mask).unwrap();
        (100.0 * what_if.least_ns as f64 / LEAST / window.wall_ns as f64).round()
    };
    assert_eq!((least(200), least(199)), (75.0, 50.0));
}

#[test]
fn a_loop_is_blocked_only_if_it_runs_again_and_again() {
    let is_told = |busy: usize| {
        let (runs, sleeps): (&[_], &[_]) = (&[(0.01, Reason::Sleep)], &[(0.0, Reason::Sleep)]);
        let mut window = in_moments(crew(2, 1), &mixed(&[(busy, runs), (10 - busy, sleeps)]));
        window.ledgers[0].has_loop = true;
        matches!(diagnose(&window).limit, Limit::BlockedLoop(_))
    };
    assert_eq!((is_told(5), is_told(4)), (true, false));
}

#[test]
fn a_loop_is_the_thread_s_that_waits_in_its_poll() {
    let is_told = |other: Reason| {
        let moment: &[_] = &[(0.01, Reason::Sleep), (0.0, other)];
        let mut window = in_moments(crew(2, 2), &[moment; 10]);
        window.ledgers[0].has_loop = true;
        matches!(diagnose(&window).limit, Limit::BlockedLoop(_))
    };
    assert_eq!((is_told(Reason::Futex), is_told(Reason::Poll)), (true, false));
}
