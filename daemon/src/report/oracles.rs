//! The traced tree against counters that other parts of the kernel keep. Pure: a report in, comparisons out.
//!
//! None of these counts quite what we do. Each bound is what the counter is known to leave out, as counted in the same run
//! ([`super::schema::UnseenByOthers`]); where nothing is left out, the figures are equal.

use super::{
    bounds::{Bounds, ON_CPU_SHARE},
    compare,
    schema::{Residual, RunReport},
};
use crate::{
    capture::{run::HostSwitches, snapshot::Thread, totals::Totals},
    oracle::{host::HostStat, tasks::TaskCounters},
    units::seconds,
};

/// Growth of a process tree's resource usage while it was traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `ru_nvcsw`.
    pub voluntary: u64,
    /// `ru_nivcsw`.
    pub involuntary: u64,
    /// Every process of the tree was waited for after its last switch, so that nothing of it is missing. Else the bounds are open
    /// above.
    pub is_complete: bool,
}

/// perf's software counters over a process tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerfCounts {
    /// `PERF_COUNT_SW_CONTEXT_SWITCHES`.
    pub context_switches: u64,
    /// `PERF_COUNT_SW_CPU_MIGRATIONS`.
    pub migrations: u64,
    /// `PERF_COUNT_SW_TASK_CLOCK`.
    pub task_clock_ns: u64,
    /// CPU time of a short sleep, which has one switch away and one back in it: measured beside the run.
    pub nap_ns: u64,
    /// Time of a move to another CPU, measured likewise; 0 on a single CPU.
    pub move_ns: u64,
}

/// `wait4` on the root of the tree.
///
/// A process is added up when it is waited for. A thread that nobody waits for is added up when it begins to be released, before its
/// last switch: that one is missing, and whatever else it did while ending may be. Processes that nobody waited for, because they
/// were orphaned or their parent ignores them, are missing as a whole.
pub fn wait4(report: &RunReport, usage: &Usage) -> Vec<Residual> {
    let unseen = &report.check.unseen_by_others;
    let open_above = |most: u64| if usage.is_complete { Some(most as f64) } else { None };
    let because = if usage.is_complete {
        "a thread's usage is added up before its last switch"
    } else {
        "a thread's usage is added up before its last switch, a process's when it is waited for"
    };
    let ours = &report.switches;
    let voluntary = Bounds { at_least: Some(unseen.ended_unwaited as f64), at_most: open_above(unseen.voluntary_unwaited) };
    let involuntary = Bounds { at_least: Some(0.0), at_most: open_above(unseen.involuntary_unwaited) };
    vec![
        Residual::new("wait4", "ru_nvcsw", ours.voluntary as f64, usage.voluntary as f64, voluntary).because(because),
        Residual::new("wait4", "ru_nivcsw", (ours.preempted + ours.yielded) as f64, usage.involuntary as f64, involuntary)
            .because(because),
    ]
}

/// perf's counters, inherited by every descendant.
///
/// perf lets go of a thread while it ends, before its last switch. It counts a migration when the thread next gets a CPU, so that
/// several between two runs are one. Its clock of a thread starts when a switch is over and stops
/// when the next one has chosen; the kernel's run time starts and ends where the scheduler was entered. So either may be longer, by the
/// scheduler's own time. And perf's goes on while a hypervisor has the CPU.
///
/// On machines with 8 CPUs, Linux 5.10 to 6.12, perf's inherited counters were seen to have 1 to 4 of 1,600 switches too few beyond
/// that, and as many migrations, where `task_struct` and `wait4` agree with each other. What `task_struct` has more than perf in the
/// same run is therefore perf's own lack, and not held against us.
pub fn perf(report: &RunReport, perf: &PerfCounts) -> Vec<Residual> {
    let unseen = &report.check.unseen_by_others;
    let switches = report.switches.voluntary + report.switches.preempted + report.switches.yielded;
    let not_counted = (unseen.voluntary + unseen.involuntary) as f64;
    let again = unseen.migrations_again as f64;
    // A thread that was moved in its sleep just before it was registered has that move still to come.
    let pending = report.threads.iter().filter(|thread| thread.seeded).count() as f64;
    let uncertain = (unseen.migrations + unseen.migrations_repaired) as f64;
    let (on_cpu, clock) = (report.time_seconds.on_cpu, seconds(perf.task_clock_ns));
    let share = ON_CPU_SHARE * clock;
    let switching = seconds(perf.nap_ns) * switches as f64 + seconds(perf.move_ns) * report.migrations.total as f64;
    let clock_bounds = Bounds::between(-share - unseen.taken_seconds - switching, share + unseen.on_cpu_seconds + switching);
    let above = |quantities: &[&str], perf: u64, bounds: Bounds| {
        let lack = kept_by_kernel(report, quantities).map(|kernel| kernel - perf as f64);
        Bounds { at_most: bounds.at_most.map(|most| lack.map_or(most, |lack| lack.max(most))), ..bounds }
    };
    vec![
        Residual::new(
            "perf",
            "context-switches",
            switches as f64,
            perf.context_switches as f64,
            above(&["nvcsw", "nivcsw"], perf.context_switches, Bounds::between(unseen.ended as f64, not_counted)),
        )
        .because("perf lets go of a thread before its last switch; at most what it has less than nvcsw and nivcsw"),
        Residual::new(
            "perf",
            "cpu-migrations",
            report.migrations.total as f64,
            perf.migrations as f64,
            above(&["nr_migrations"], perf.migrations, Bounds::between(again - pending, again + uncertain)),
        )
        .because("perf counts several migrations between two runs of a thread as one; at most what it has less than nr_migrations"),
        Residual::new("perf", "task-clock_seconds", on_cpu, clock, clock_bounds).because(
            "perf lets go of a thread while it ends, and its clock starts and stops later in the scheduler: by at most what a short sleep or a move takes",
        ),
    ]
}

/// Sum of what the kernel kept in each thread, if all threads ended under our eyes.
fn kept_by_kernel(report: &RunReport, quantities: &[&str]) -> Option<f64> {
    let is_whole = report.check.threads > 0 && report.check.threads == report.check.unseen_by_others.ended;
    let kept =
        |quantity: &&str| report.check.residuals.iter().find(|residual| residual.quantity == **quantity).map(|row| row.kernel);
    if is_whole { quantities.iter().map(kept).sum() } else { None }
}

/// Our figures of a tree at rest.
#[derive(Clone, Copy, Debug)]
pub struct AtRest<'a> {
    /// Its threads.
    pub threads: &'a [Thread],
    /// Their totals.
    pub totals: &'a Totals,
    /// How long it takes to move a thread to another CPU, if that was measured.
    pub move_seconds: Option<f64>,
}

/// Every thread of a tree at rest, none of which has ended, against `/proc`. The second value is the number of threads of which a
/// count differs, threads that only one side knows included.
///
/// Threads forked under observation began with all counts at zero; `before` is what the first one had done until it was traced.
pub fn proc(tree: &AtRest<'_>, now: &[TaskCounters], before: &TaskCounters) -> (Vec<Residual>, u64) {
    let AtRest { threads, totals, move_seconds } = *tree;
    let (mut ours, mut kernel) = (TaskCounters::default(), TaskCounters::default());
    let mut differing = threads.iter().filter(|thread| now.iter().all(|task| task.tid != thread.tid().0)).count() as u64;
    for task in now {
        let Some(thread) = threads.iter().find(|thread| thread.tid().0 == task.tid) else {
            differing += 1;
            continue;
        };
        let grown = if task.tid == before.tid { grown(task, before) } else { task.clone() };
        let counted = counted(thread, &grown);
        let counts = |task: &TaskCounters| (task.voluntary, task.involuntary, task.timeslices, task.migrations);
        differing += u64::from(counts(&counted) != counts(&grown));
        add(&mut ours, &counted);
        add(&mut kernel, &grown);
    }
    let count = |quantity, ours: u64, kernel: u64| Residual::new("proc", quantity, ours as f64, kernel as f64, Bounds::EQUAL);
    let mut residuals = vec![
        count("voluntary_ctxt_switches", ours.voluntary, kernel.voluntary),
        count("nonvoluntary_ctxt_switches", ours.involuntary, kernel.involuntary),
    ];
    if let (Some(ours), Some(kernel)) = (ours.migrations, kernel.migrations) {
        residuals.push(count("se.nr_migrations", ours, kernel));
    }
    let on_cpu = seconds(kernel.on_cpu_ns);
    residuals.push(Residual::new(
        "proc",
        "schedstat_on_cpu_seconds",
        seconds(ours.on_cpu_ns),
        on_cpu,
        Bounds::share(ON_CPU_SHARE, on_cpu),
    ));
    // Both are zero on a kernel without CONFIG_SCHED_INFO.
    if kernel.timeslices > 0 {
        let bounds = compare::run_delay(threads, totals, move_seconds).bounds();
        let (ours_delay, delay) = (seconds(ours.run_delay_ns), seconds(kernel.run_delay_ns));
        residuals.push(Residual::new("proc", "schedstat_run_delay_seconds", ours_delay, delay, bounds).because(compare::RUN_DELAY));
        let uncounted: u64 = threads.iter().map(|thread| thread.record.drowsy.uncounted_runs).sum();
        let timeslices = count("schedstat_timeslices", ours.timeslices, kernel.timeslices);
        residuals.push(if uncounted == 0 {
            timeslices
        } else {
            timeslices.because(&format!(
                "without {uncounted} runs after a preemption of a thread that was about to sleep, which the kernel does not count"
            ))
        });
    }
    (residuals, differing)
}

fn grown(now: &TaskCounters, before: &TaskCounters) -> TaskCounters {
    TaskCounters {
        tid: now.tid,
        voluntary: now.voluntary.saturating_sub(before.voluntary),
        involuntary: now.involuntary.saturating_sub(before.involuntary),
        on_cpu_ns: now.on_cpu_ns.saturating_sub(before.on_cpu_ns),
        run_delay_ns: now.run_delay_ns.saturating_sub(before.run_delay_ns),
        timeslices: now.timeslices.saturating_sub(before.timeslices),
        migrations: now.migrations.zip(before.migrations).map(|(now, before)| now.saturating_sub(before)),
    }
}

/// Ours, with those left out that the kernel does not keep. A thread at rest has been switched out as often as in.
fn counted(thread: &Thread, kernel: &TaskCounters) -> TaskCounters {
    let record = &thread.record;
    let involuntary = record.preempted + record.yielded;
    TaskCounters {
        tid: record.tid,
        voluntary: record.voluntary,
        involuntary,
        on_cpu_ns: record.on_cpu_ns,
        // As in the totals: what the kernel left out of its last run is already a wait.
        run_delay_ns: record.wakeup_wait_ns + record.preempt_wait_ns + record.clock.carry_ns.max(0).cast_unsigned(),
        timeslices: if kernel.timeslices > 0 { record.voluntary + involuntary - record.drowsy.uncounted_runs } else { 0 },
        migrations: kernel.migrations.map(|_| record.migrations.iter().sum()),
    }
}

fn add(sum: &mut TaskCounters, part: &TaskCounters) {
    sum.voluntary += part.voluntary;
    sum.involuntary += part.involuntary;
    sum.on_cpu_ns += part.on_cpu_ns;
    sum.run_delay_ns += part.run_delay_ns;
    sum.timeslices += part.timeslices;
    sum.migrations = part.migrations.map(|count| sum.migrations.unwrap_or(0) + count);
}

/// Our count of the host's switches, and `/proc/stat` just before and just after it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostReading {
    /// Before.
    pub earlier: HostStat,
    /// Ours.
    pub ours: HostSwitches,
    /// After.
    pub later: HostStat,
    /// Ours again, after a switch that was seen on every CPU: what had been hidden at the first reading has come to light.
    pub settled: HostSwitches,
}

/// All switches of the host between two readings against `ctxt` of `/proc/stat`. They are equal but for what happened while the two
/// were being read, and hidden ones that came to light only after that.
pub fn proc_stat(begin: &HostReading, end: &HostReading) -> Residual {
    let seen = end.ours.seen - begin.ours.seen;
    let unseen = end.ours.unseen - begin.ours.unseen;
    let kernel = end.later.switches - begin.later.switches;
    let reading = |reading: &HostReading| {
        (reading.later.switches - reading.earlier.switches + reading.settled.unseen - reading.ours.unseen) as f64
    };
    Residual::new("proc_stat", "ctxt", (seen + unseen) as f64, kernel as f64, Bounds::between(-reading(end), reading(begin)))
        .because(&format!(
            "switches while the two are read; {unseen} of ours were hidden from tracing and found at the switch after them"
        ))
}

#[cfg(test)]
mod tests;
