//! The figures that the sentence rests on, finite and consistent whatever the report holds.

use super::super::{
    RunReport,
    schema::ThreadReport,
    words::{sane, share},
};

/// A thread belongs to the busiest if it wants the CPU at least this much of what the one that wants it most does.
const BUSY_SHARE: f64 = 0.1;
/// Demand, in cores, from which on it is the busiest threads that matter; below, idle time is the story of all of them.
const REAL_DEMAND: f64 = 0.5;
/// Part of the on-CPU time that the busiest must have done to stand for the program.
const ENOUGH_OF_THE_WORK: f64 = 0.8;
/// Part of the on-CPU time that counts as nearly all.
const NEARLY_ALL: f64 = 0.98;

/// Figures of the whole program, averages over the run where nothing else is said.
pub(super) struct Facts {
    /// Threads over the run.
    pub(super) threads: u64,
    /// Processes over the run.
    pub(super) processes: u64,
    /// Cores it may use; never 0, never fewer than it used.
    pub(super) cores: u64,
    /// Cores of the host, never fewer than `cores`.
    pub(super) online: u64,
    /// C.
    pub(super) running: f64,
    /// D, never below C.
    pub(super) demand: f64,
    /// Cores busy with other programs.
    pub(super) foreign: f64,
    /// Cores idle, of all online.
    pub(super) idle: f64,
    /// Fewest cores that together hold nearly all of its on-CPU time.
    pub(super) cores_with_nearly_all: u64,
    /// The threads whose time explains the demand.
    pub(super) group: Group,
}

/// Threads that stand for the program: those that do its work, or all.
pub(super) struct Group {
    /// How many; `None` for all.
    pub(super) size: Option<u64>,
    /// Mean number alive.
    pub(super) mean_alive: f64,
    /// Mean number runnable and not running.
    pub(super) mean_runnable: f64,
    /// Mean number blocked.
    pub(super) mean_blocked: f64,
    /// Their part of all on-CPU time.
    pub(super) share_of_work: f64,
    /// Reasons for blocking with their part of the group's life, largest first, none of them 0.
    pub(super) reasons: Vec<(String, f64)>,
}

impl Facts {
    pub(super) fn of(report: &RunReport) -> Facts {
        let wall = sane(report.wall_seconds);
        let running = sane(report.parallelism.running_mean);
        let demand = sane(report.parallelism.demand_mean).max(running);
        let mut by_cpu: Vec<f64> = report.on_cpu_seconds_by_cpu.values().map(|&s| sane(s)).filter(|&s| s > 0.0).collect();
        by_cpu.sort_by(|a, b| b.total_cmp(a));
        let cores = u64::from(report.cpus.allowed).max(if report.cpus.allowed == 0 { u64::from(report.cpus.online) } else { 0 });
        // A program may widen its mask after the start.
        let cores = cores.max(used(&by_cpu, 1.0)).max(1);
        Facts {
            threads: report.tasks.threads,
            processes: report.tasks.processes,
            cores,
            online: u64::from(report.cpus.online).max(cores),
            running,
            demand,
            foreign: per(sane(report.host.foreign_on_cpu_seconds), wall),
            idle: per(sane(report.host.idle_seconds), wall),
            cores_with_nearly_all: used(&by_cpu, NEARLY_ALL),
            group: Group::of(report, demand),
        }
    }
}

/// Fewest of these CPUs, the busiest first, that together hold this part of the time.
fn used(by_cpu: &[f64], part: f64) -> u64 {
    let enough = by_cpu.iter().sum::<f64>() * part;
    let mut sum = 0.0;
    by_cpu
        .iter()
        .take_while(|&&seconds| {
            let missing = sum < enough;
            sum += seconds;
            missing
        })
        .count() as u64
}

fn per(seconds: f64, wall: f64) -> f64 {
    if wall > 0.0 { sane(seconds / wall) } else { 0.0 }
}

impl Group {
    /// The busiest threads if there is work and they do most of it, else all.
    fn of(report: &RunReport, demand: f64) -> Group {
        let busiest = || {
            let wants = |thread: &ThreadReport| sane(thread.on_cpu_seconds) + sane(thread.runnable_seconds);
            let most = report.threads.iter().map(wants).fold(0.0, f64::max);
            let busy: Vec<&ThreadReport> = report.threads.iter().filter(|thread| wants(thread) >= BUSY_SHARE * most).collect();
            let work = busy.iter().map(|thread| sane(thread.on_cpu_seconds)).sum();
            let share_of_work = share(work, report.time_seconds.on_cpu);
            let chosen = (busy.len() as u64) < report.tasks.threads && share_of_work >= ENOUGH_OF_THE_WORK;
            chosen.then(|| Group::busiest(report, &busy, share_of_work))
        };
        // The list is cut at its end only, yet what follows may be many threads that matter together.
        let complete = report.threads_omitted == 0 && !report.threads.is_empty();
        (complete && demand >= REAL_DEMAND).then(busiest).flatten().unwrap_or_else(|| Group::everyone(report))
    }

    fn busiest(report: &RunReport, busy: &[&ThreadReport], share_of_work: f64) -> Group {
        let sum = |of: fn(&ThreadReport) -> f64| busy.iter().map(|thread| sane(of(thread))).sum::<f64>();
        let (on_cpu, runnable, blocked) = (sum(|t| t.on_cpu_seconds), sum(|t| t.runnable_seconds), sum(|t| t.blocked_seconds));
        let mut reasons = std::collections::BTreeMap::<&str, f64>::new();
        for (name, seconds) in busy.iter().flat_map(|thread| &thread.blocked_seconds_by_reason) {
            *reasons.entry(name).or_default() += sane(*seconds);
        }
        Group {
            size: Some(busy.len() as u64),
            share_of_work,
            ..Group::new(report, [on_cpu, runnable, blocked], reasons.into_iter())
        }
    }

    /// All threads.
    pub(super) fn everyone(report: &RunReport) -> Group {
        let time = &report.time_seconds;
        let reasons = report.blocked_seconds_by_reason.iter().map(|(name, seconds)| (name.as_str(), *seconds));
        Group::new(report, [time.on_cpu, time.runnable, time.blocked].map(sane), reasons)
    }

    fn new<'a>(report: &RunReport, [on_cpu, runnable, blocked]: [f64; 3], reasons: impl Iterator<Item = (&'a str, f64)>) -> Group {
        let wall = sane(report.wall_seconds);
        let life = on_cpu + runnable + blocked;
        let mut reasons: Vec<(String, f64)> =
            reasons.map(|(name, seconds)| (name.to_owned(), share(seconds, life))).filter(|(_, part)| *part > 0.0).collect();
        reasons.sort_by(|a, b| b.1.total_cmp(&a.1));
        Group {
            size: None,
            mean_alive: per(life, wall),
            mean_runnable: per(runnable, wall),
            mean_blocked: per(blocked, wall),
            share_of_work: 1.0,
            reasons,
        }
    }
}

#[cfg(test)]
mod tests;
