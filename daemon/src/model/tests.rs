use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    advice, estimate,
    facts::{Facts, Python, ThreadFacts},
    name::{self, Name},
};

const WALL: f64 = 10.0;

/// A thread that lived all the time: on-CPU, runnable, waiting for the GIL; the rest of its life it was blocked otherwise.
fn worker(tgid: u32, on_cpu: f64, runnable: f64, gil: f64) -> ThreadFacts {
    ThreadFacts {
        tgid,
        on_cpu,
        runnable,
        gil,
        blocked: WALL - on_cpu - runnable,
        life: WALL,
        voluntary: 1000,
        ..ThreadFacts::default()
    }
}

fn event_loop(tgid: u32, on_cpu: f64) -> ThreadFacts {
    ThreadFacts { is_main: true, epoll_waits: 950, ..worker(tgid, on_cpu, 0.0, 0.0) }
}

fn facts(threads: &[ThreadFacts], pythons: &[(u32, Python)]) -> Facts {
    Facts { cores: 4, ..Facts::new(WALL, threads, &pythons.iter().copied().collect::<BTreeMap<_, _>>()) }
}

fn name(threads: &[ThreadFacts], pythons: &[(u32, Python)]) -> Name {
    name::of(&facts(threads, pythons)).name
}

#[test]
fn threads_of_a_python_are_told_by_their_waits_for_the_lock() {
    let one = [(1, Python::OneGil)];
    let bound = vec![worker(1, 2.5, 0.1, 7.4); 4];
    assert_eq!(name(&bound, &one), Name::ThreadsGilBound);
    // The same under heavy load: less of everything, but the same share.
    let starved = vec![ThreadFacts { runnable: 3.0, ..worker(1, 0.8, 3.0, 6.0) }; 4];
    assert_eq!(name(&starved, &one), Name::ThreadsGilBound);
    assert_eq!(name(&vec![worker(1, 9.5, 0.3, 0.0); 4], &one), Name::ThreadsParallel);
    // Oversubscribed: they wait for CPUs, not for the lock.
    assert_eq!(name(&vec![worker(1, 2.4, 7.5, 0.0); 16], &one), Name::ThreadsParallel);
    assert_eq!(name(&vec![worker(1, 0.05, 0.0, 0.001); 64], &one), Name::ThreadsWaiting);
    assert_eq!(name(&vec![worker(1, 9.5, 0.3, 0.0); 4], &[(1, Python::ManyGils)]), Name::SubInterpreters);
    assert_eq!(name(&bound, &[(1, Python::ManyGils)]), Name::ThreadsGilBound);
    assert_eq!(name(&vec![worker(1, 9.5, 0.3, 0.0); 4], &[(1, Python::FreeThreaded)]), Name::ThreadsParallel);
}

#[test]
fn a_lock_that_was_not_found_makes_no_claim_about_the_gil() {
    let turns = vec![ThreadFacts { futex: 7.4, ..worker(1, 2.5, 0.1, 0.0) }; 4];
    let named = name::of(&facts(&turns, &[(1, Python::Unresolved)]));
    assert_eq!(named.name, Name::ThreadsTakingTurns);
    assert!(named.confidence < 0.7 && named.evidence.iter().any(|line| line.contains("unknown")), "{named:?}");
    assert_eq!(name(&turns, &[]), Name::NativeThreads);
}

#[test]
fn processes_and_loops_are_told_by_the_tree_and_by_epoll() {
    assert_eq!(name(&[worker(1, 9.9, 0.0, 0.0)], &[]), Name::Serial);
    assert_eq!(name(&[worker(1, 9.9, 0.0, 0.0), worker(2, 9.8, 0.1, 0.0)], &[]), Name::Processes);
    assert_eq!(name(&[event_loop(1, 0.5)], &[(1, Python::OneGil)]), Name::Asyncio);
    assert_eq!(name(&[event_loop(1, 0.5)], &[]), Name::EventLoop);
    // One that computes for most of the time, and waited for the disk when it started.
    let busy = ThreadFacts { is_main: true, voluntary: 300, epoll_waits: 31, polling: 4.0, ..worker(1, 5.5, 0.0, 0.0) };
    assert_eq!(name(std::slice::from_ref(&busy), &[(1, Python::OneGil)]), Name::Asyncio);
    assert_eq!(name(&[ThreadFacts { polling: 1.0, ..busy }], &[(1, Python::OneGil)]), Name::Serial);
    // One that had a single wait to make, and ended.
    let short = ThreadFacts { is_main: true, voluntary: 2, epoll_waits: 1, outside: 9.8, polling: 9.8, ..worker(1, 0.1, 0.0, 0.0) };
    assert_eq!(name(std::slice::from_ref(&short), &[(1, Python::OneGil)]), Name::Idle);
    assert_eq!(name(&[ThreadFacts { has_ended: true, ..short }], &[(1, Python::OneGil)]), Name::Asyncio);
    // A loop that keeps its workers busy and is itself next to idle.
    let pool = [event_loop(1, 0.05), worker(2, 9.9, 0.0, 0.0), worker(3, 9.9, 0.0, 0.0)];
    let pythons = [(1, Python::OneGil), (2, Python::OneGil), (3, Python::OneGil)];
    assert_eq!(name(&pool, &pythons), Name::Hybrid);
    assert_eq!(name(&[event_loop(1, 3.0), event_loop(2, 3.0)], &[]), Name::Hybrid);
    assert_eq!(name(&[event_loop(1, 1.0), worker(1, 5.0, 0.0, 0.1)], &[(1, Python::OneGil)]), Name::Hybrid);
    let threaded = [worker(1, 5.0, 0.0, 4.0), worker(1, 5.0, 0.0, 4.0), worker(2, 5.0, 0.0, 4.0), worker(2, 5.0, 0.0, 4.0)];
    assert_eq!(name(&threaded, &pythons), Name::Hybrid);
    assert_eq!(name(&[event_loop(1, 1.0), worker(2, 9.0, 0.0, 0.0)], &[(2, Python::OneGil)]), Name::Mixed);
}

#[test]
fn waiting_is_the_work_where_nothing_is_computed() {
    let one = [(1, Python::OneGil)];
    // The first thread has computed most, to start the others, and then joins them.
    let main = ThreadFacts { is_main: true, futex: 9.9, ..worker(1, 0.05, 0.0, 0.0) };
    let sleeper = ThreadFacts { outside: 9.9, ..worker(1, 0.001, 0.0, 0.0) };
    let mut threads = vec![main];
    threads.extend(vec![sleeper.clone(); 4]);
    assert_eq!(name(&threads, &one), Name::ThreadsWaiting);
    let processes: Vec<ThreadFacts> = (2..6).map(|tgid| ThreadFacts { tgid, is_main: true, ..sleeper.clone() }).collect();
    assert_eq!(name(&processes, &[]), Name::Processes);
    // The same with one long wait each: nothing goes on, unless that was all there was to do.
    let one_wait = vec![ThreadFacts { voluntary: 1, ..sleeper.clone() }; 4];
    assert_eq!(name(&one_wait, &one), Name::Idle);
    let met_at_the_lock = vec![ThreadFacts { gil: 0.002, ..sleeper.clone() }; 4];
    assert_eq!(name(&met_at_the_lock, &one), Name::ThreadsWaiting);
    assert_eq!(name::of(&Facts { is_over: true, ..facts(&one_wait, &one) }).name, Name::ThreadsWaiting);
    // A thread that sleeps beside one that computes is no worker.
    assert_eq!(name(&[worker(1, 9.9, 0.0, 0.0), sleeper], &one), Name::Serial);
}

#[test]
fn one_after_another_is_serial_and_nothing_is_idle() {
    let short = |tgid| ThreadFacts { life: 2.0, blocked: 0.0, ..worker(tgid, 2.0, 0.0, 0.0) };
    assert_eq!(name(&[short(1), short(2), short(3), short(4), short(5)], &[]), Name::Serial);
    assert_eq!(name(&[], &[]), Name::Idle);
    // It gets next to nothing of a crowded host, and wants it all the time.
    assert_eq!(name(&[ThreadFacts { voluntary: 3, ..worker(1, 0.2, 9.0, 0.0) }], &[]), Name::Serial);
    assert_eq!(name(&[ThreadFacts { voluntary: 3, ..worker(1, 0.01, 0.0, 0.0) }], &[]), Name::Idle);
}

#[test]
fn the_advice_says_what_waits() {
    let bound = facts(&vec![worker(1, 2.5, 0.0, 7.5); 4], &[(1, Python::OneGil)]);
    assert_eq!(
        advice::of(Name::ThreadsGilBound, &bound),
        "Move the CPU work to processes: 3.0 of 4 workers are waiting for the GIL."
    );
    let alone = Facts { cores: 1, ..bound };
    assert!(!advice::of(Name::ThreadsGilBound, &alone).contains("Move"));
    let contended = facts(&vec![ThreadFacts { futex: 7.5, ..worker(1, 2.5, 0.0, 0.0) }; 4], &[]);
    assert!(advice::of(Name::NativeThreads, &contended).contains("75 %"));
}

prop_compose! {
    fn thread()(
        tgid in 1_u32..4, is_main: bool, parts in prop::array::uniform4(0.0..1.0_f64), voluntary in 0_u64..10_000, epoll in 0_u64..=100,
    ) -> ThreadFacts {
        let sum: f64 = parts.iter().sum::<f64>() + 1e-9;
        let [on_cpu, runnable, gil, other] = parts.map(|part| part / sum * WALL);
        ThreadFacts {
            tgid, is_main, on_cpu, runnable, gil, polling: 0.0, has_ended: false, futex: other / 2.0, outside: other / 2.0, blocked: gil + other, life: WALL, voluntary,
            epoll_waits: voluntary * epoll / 100,
        }
    }
}

proptest! {
    /// Whatever comes in: a name with a confidence, an estimate between nothing and what it took, and no verdict on a lock that no
    /// thread waited for.
    #[test]
    fn nothing_is_claimed_without_evidence(threads in prop::collection::vec(thread(), 0..12), kinds in prop::array::uniform3(0_usize..5)) {
        let all = [Python::OneGil, Python::ManyGils, Python::FreeThreaded, Python::Unresolved];
        let pythons: Vec<_> = (1..).zip(kinds).filter_map(|(tgid, kind)| all.get(kind).map(|kind| (tgid, *kind))).collect();
        let facts = facts(&threads, &pythons);
        let named = name::of(&facts);
        prop_assert!((0.0..=1.0).contains(&named.confidence) && named.evidence.len() >= 2);
        if named.name == Name::ThreadsGilBound {
            prop_assert!(facts.gil_share() >= 0.25);
        }
        let advice = advice::of(named.name, &facts);
        prop_assert!(advice.is_empty() || advice.ends_with('.'));
        if let Some(estimate) = estimate::of(named.name, &facts, 0.0) {
            prop_assert!((0.0..=WALL + 1e-9).contains(&estimate.without_gil_wall_seconds));
            prop_assert!(estimate.processes_wall_seconds >= estimate.without_gil_wall_seconds);
        }
    }
}

#[test]
fn who_looks_on_is_no_worker() {
    let pythons = [(1, Python::OneGil), (2, Python::OneGil)];
    // A supervisor that wakes up once a second, as those of servers do, and the workers of another process.
    let supervisor = ThreadFacts { is_main: true, outside: 9.9, voluntary: 12, ..worker(1, 0.02, 0.0, 0.0) };
    let waiting = ThreadFacts { outside: 9.0, ..worker(2, 0.3, 0.0, 0.01) };
    let mut threads = vec![supervisor.clone()];
    threads.extend(vec![waiting; 4]);
    assert_eq!(name(&threads, &pythons), Name::ThreadsWaiting);
    // On a crowded host its workers get little of the CPUs, and wait for the lock all the more.
    let mut threads = vec![supervisor];
    threads.extend(vec![worker(2, 0.9, 4.0, 5.0); 4]);
    assert_eq!(name(&threads, &pythons), Name::ThreadsGilBound);
}
