//! What the same work would take without waits for the interpreter's lock.
//!
//! The ledger of a thread says what it needs: time on a CPU, and time blocked for something outside the program, such as a disk, a
//! peer or a clock. Waits for the interpreter's lock fall away, and so do those at other locks: what a thread waits for there is
//! another thread of the program, which has needs of its own and meets them sooner. The workers are done when the one that needs most
//! is, or when the cores have got through all of it, whichever is later. What the program does before its workers start and after they
//! have ended stays as it was.

use super::{
    facts::{Facts, ThreadFacts},
    name::Name,
};
use crate::report::schema::Estimate;

/// What the start and the end of a process cost where nobody measured it: a fork of a small interpreter.
pub const START_SECONDS: f64 = 0.005;

/// Time spent waiting for a CPU, as a part of that spent running or waiting for the lock, above which the ledger tells more of the
/// host's other load than of the program.
const CROWDED: f64 = 0.25;

/// A first thread that waits at locks for at least this part of the workers' lives has started them and waits for their end.
const WAITS_FOR_WORKERS: f64 = 0.5;

/// The estimate for a program bound by the lock; `None` for any other, which has nothing to gain by it, and on a crowded host.
pub fn of(name: Name, facts: &Facts, start_seconds_per_process: f64) -> Option<Estimate> {
    let sum = |of: fn(&ThreadFacts) -> f64| facts.workers().map(of).sum::<f64>();
    let crowded = sum(|worker| worker.runnable) > CROWDED * sum(|worker| worker.on_cpu + worker.gil);
    (name == Name::ThreadsGilBound && facts.wall > 0.0 && !crowded).then(|| {
        let workers = workers(facts);
        let without_gil = unbound_seconds(facts.wall, &workers, f64::from(facts.cores));
        Estimate {
            processes_wall_seconds: without_gil + start_seconds_per_process * workers.len() as f64,
            without_gil_wall_seconds: without_gil,
            start_seconds_per_process,
            workers: workers.len() as u64,
        }
    })
}

/// The workers, without a first thread that only waits for them: what it does before and after is no part of what is divided.
fn workers(facts: &Facts) -> Vec<&ThreadFacts> {
    let others = facts.workers().filter(|worker| !worker.is_main).map(|worker| worker.life).fold(0.0, f64::max);
    let waits = |worker: &ThreadFacts| worker.is_main && others > 0.0 && worker.futex >= WAITS_FOR_WORKERS * others;
    facts.workers().filter(|worker| !waits(worker)).collect()
}

fn unbound_seconds(wall: f64, workers: &[&ThreadFacts], cores: f64) -> f64 {
    let longest = |of: fn(&ThreadFacts) -> f64| workers.iter().map(|worker| of(worker)).fold(0.0, f64::max);
    let with_workers = longest(|worker| worker.life).min(wall);
    let on_cpu: f64 = workers.iter().map(|worker| worker.on_cpu).sum();
    let needed = longest(|worker| worker.on_cpu + waits_outside(worker)).max(on_cpu / cores.max(1.0));
    wall - with_workers + needed.min(with_workers)
}

/// Time blocked for something outside the program.
fn waits_outside(worker: &ThreadFacts) -> f64 {
    (worker.blocked_otherwise() - worker.futex).max(0.0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::report::schema::Estimate;

    fn estimate(wall: f64, cores: u32, workers: &[(f64, f64, f64)]) -> Estimate {
        let threads: Vec<ThreadFacts> = workers
            .iter()
            .map(|&(on_cpu, gil, blocked)| ThreadFacts {
                tgid: 1,
                on_cpu,
                gil,
                blocked,
                life: on_cpu + blocked,
                ..ThreadFacts::default()
            })
            .collect();
        let facts = Facts { cores, ..Facts::new(wall, &threads, &std::collections::BTreeMap::new()) };
        of(Name::ThreadsGilBound, &facts, 0.01).unwrap()
    }

    fn is_near(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn computing_is_divided_by_the_cores() {
        // Four threads, a second each, one at a time; half a second before they start.
        let four = [(1.0, 3.0, 3.0); 4];
        assert!(is_near(estimate(4.5, 4, &four).without_gil_wall_seconds, 1.5));
        assert!(is_near(estimate(4.5, 2, &four).without_gil_wall_seconds, 2.5));
        assert!(is_near(estimate(4.5, 1, &four).without_gil_wall_seconds, 4.5));
        assert!(is_near(estimate(4.5, 2, &four).processes_wall_seconds, 2.54));
    }

    #[test]
    fn other_waits_remain() {
        // One thread computes a second, the other sleeps two seconds and waits one for the lock.
        assert!(is_near(estimate(3.0, 2, &[(1.0, 0.0, 2.0), (0.5, 0.5, 2.5)]).without_gil_wall_seconds, 3.0));
    }

    #[test]
    fn waits_for_other_threads_fall_away() {
        // Four threads compute a second each; at first all wait for the word to begin, and each for its turn at a lock.
        let worker = ThreadFacts { tgid: 1, on_cpu: 1.0, gil: 1.5, futex: 1.5, blocked: 3.0, life: 4.0, ..ThreadFacts::default() };
        // The first thread gets ready for half a second and waits for their end. It wants as much as they do, and is no worker.
        let main = ThreadFacts { is_main: true, on_cpu: 0.5, gil: 2.0, futex: 2.0, blocked: 4.0, life: 4.5, ..worker.clone() };
        let threads: Vec<_> = std::iter::once(main).chain(vec![worker; 4]).collect();
        let facts = Facts { cores: 2, ..Facts::new(4.5, &threads, &std::collections::BTreeMap::new()) };
        assert_eq!(facts.workers().count(), 5);
        let estimate = of(Name::ThreadsGilBound, &facts, 0.01).unwrap();
        assert!(is_near(estimate.without_gil_wall_seconds, 2.5), "{estimate:?}");
        assert_eq!(estimate.workers, 4);
    }

    #[test]
    fn a_crowded_host_gives_none() {
        let threads =
            vec![
                ThreadFacts { tgid: 1, on_cpu: 1.0, runnable: 4.0, gil: 3.0, blocked: 3.0, life: 8.0, ..ThreadFacts::default() };
                2
            ];
        let facts = Facts::new(8.0, &threads, &std::collections::BTreeMap::new());
        assert_eq!(of(Name::ThreadsGilBound, &facts, 0.0), None);
    }

    #[test]
    fn it_never_takes_longer() {
        assert!(is_near(estimate(1.0, 1, &[(0.9, 0.1, 0.1), (0.9, 0.1, 0.1)]).without_gil_wall_seconds, 1.0));
    }
}
