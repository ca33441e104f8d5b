//! What kind of concurrency a run shows, as far as its task tree and its ledger tell. Pure.

use std::collections::BTreeSet;

use crate::report::schema::{Model, RunReport, ThreadReport};

/// A thread counts as a worker from this share of the run's on-CPU time on.
const WORKER_SHARE: f64 = 0.05;
/// Below this mean of running threads a run is idle.
const IDLE_BELOW: f64 = 0.05;

/// Names the model and the evidence for it.
pub fn classify(report: &RunReport) -> Model {
    let running = report.parallelism.running_mean;
    let demand = report.parallelism.demand_mean;
    let total: f64 = report.threads.iter().map(|thread| thread.on_cpu_seconds).sum();
    let workers: Vec<&ThreadReport> =
        report.threads.iter().filter(|thread| total > 0.0 && thread.on_cpu_seconds >= WORKER_SHARE * total).collect();
    let processes = workers.iter().map(|thread| thread.tgid).collect::<BTreeSet<_>>().len();
    let mut evidence = vec![
        format!("{} of {} threads did at least 5 % of the work, in {}", workers.len(), report.tasks.threads, plural(processes)),
        format!("C = {running:.2}, D = {demand:.2}"),
    ];
    let (name, confidence) = if report.wall_seconds <= 0.0 || running < IDLE_BELOW {
        ("idle", 0.9)
    } else if workers.len() <= 1 {
        ("serial", 0.9)
    } else if processes == workers.len() {
        ("processes", 0.9)
    } else if processes > 1 {
        ("mixed", 0.7)
    } else if demand < turns_below(workers.len()) && running < 1.1 {
        evidence.push("its threads take turns: no more than one runs at a time".to_owned());
        ("threads (taking turns)", 0.8)
    } else {
        ("threads (parallel)", 0.8)
    };
    Model { name: name.to_owned(), confidence, evidence }
}

/// Demand below which workers take turns. Woken waiters queue behind the one that holds the lock for moments, so it is above 1:
/// up to 1.5 for two of them, and measured at 0.3 of their number for more; parallel workers want nearly all of it.
fn turns_below(workers: usize) -> f64 {
    (0.6 * workers as f64).max(1.5)
}

fn plural(processes: usize) -> String {
    if processes == 1 { "1 process".to_owned() } else { format!("{processes} processes") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::schema::{Parallelism, Tasks};

    /// A run of one second with workers as (process, on-CPU seconds).
    fn run(workers: &[(u32, f64)], running_mean: f64, demand_mean: f64) -> RunReport {
        let threads: Vec<ThreadReport> = workers
            .iter()
            .map(|&(tgid, on_cpu_seconds)| ThreadReport { tgid, on_cpu_seconds, ..ThreadReport::default() })
            .collect();
        RunReport {
            wall_seconds: 1.0,
            tasks: Tasks { threads: threads.len() as u64, ..Tasks::default() },
            parallelism: Parallelism { running_mean, demand_mean, effective_cpus: 1.0 },
            threads,
            ..RunReport::default()
        }
    }

    #[test]
    fn names_follow_the_task_tree_and_the_demand() {
        let name = |report: RunReport| classify(&report).name;
        assert_eq!(name(run(&[(1, 0.99), (1, 0.001)], 0.99, 1.0)), "serial");
        assert_eq!(name(run(&[(1, 0.01), (2, 0.98), (3, 0.98)], 1.97, 2.0)), "processes");
        assert_eq!(name(run(&[(1, 0.5), (1, 0.49)], 0.99, 1.05)), "threads (taking turns)");
        assert_eq!(name(run(&[(1, 0.5), (1, 0.45)], 0.95, 1.4)), "threads (taking turns)");
        assert_eq!(name(run(&[(1, 0.99), (1, 0.99)], 1.98, 2.0)), "threads (parallel)");
        // Starved of CPU, but they want it all the time: not taking turns.
        assert_eq!(name(run(&[(1, 0.5), (1, 0.5)], 1.0, 2.0)), "threads (parallel)");
        assert_eq!(name(run(&[(1, 0.4), (1, 0.4), (2, 0.4), (2, 0.4)], 1.6, 4.0)), "mixed");
        assert_eq!(name(run(&[(1, 0.001)], 0.001, 0.001)), "idle");
        assert_eq!(name(run(&[], 0.0, 0.0)), "idle");
    }

    #[test]
    fn the_bounds_between_models_are_where_they_are_said_to_be() {
        let name = |report: RunReport| classify(&report).name;
        // A worker does at least a twentieth of the work.
        assert_eq!(name(run(&[(1, 0.951), (2, 0.049)], 1.0, 1.0)), "serial");
        assert_eq!(name(run(&[(1, 0.95), (2, 0.05)], 1.0, 1.0)), "processes");
        // At rest below a twentieth of a core.
        assert_eq!(name(run(&[(1, 0.049)], 0.049, 0.049)), "idle");
        assert_eq!(name(run(&[(1, 0.05)], 0.05, 0.05)), "serial");
        assert_eq!(name(RunReport { wall_seconds: 0.0, ..run(&[(1, 1.0), (2, 1.0)], 2.0, 2.0) }), "idle");
        // Two that take turns want less than 1.5 cores, more of them less than 0.6 of their number.
        assert_eq!(name(run(&[(1, 0.5), (1, 0.5)], 1.0, 1.49)), "threads (taking turns)");
        assert_eq!(name(run(&[(1, 0.5), (1, 0.5)], 1.0, 1.5)), "threads (parallel)");
        assert_eq!(name(run(&[(1, 0.1); 10], 1.0, 5.9)), "threads (taking turns)");
        assert_eq!(name(run(&[(1, 0.1); 10], 1.0, 6.1)), "threads (parallel)");
        assert_eq!(name(run(&[(1, 0.5), (1, 0.6)], 1.1, 1.2)), "threads (parallel)");
    }

    #[test]
    fn the_evidence_is_what_was_counted() {
        let model = classify(&run(&[(1, 0.5), (1, 0.48), (1, 0.01)], 0.99, 1.05));
        assert_eq!(
            model.evidence,
            [
                "2 of 3 threads did at least 5 % of the work, in 1 process",
                "C = 0.99, D = 1.05",
                "its threads take turns: no more than one runs at a time"
            ]
        );
        let model = classify(&run(&[(1, 0.4), (2, 0.4), (2, 0.4)], 1.2, 3.0));
        assert_eq!(model.evidence, ["3 of 3 threads did at least 5 % of the work, in 2 processes", "C = 1.20, D = 3.00"]);
        assert!((0.0..=1.0).contains(&model.confidence) && model.confidence < classify(&run(&[(1, 1.0)], 1.0, 1.0)).confidence);
    }
}
