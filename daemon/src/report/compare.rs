//! Every thread that ended against what the kernel kept about it. Pure.

use std::collections::BTreeMap;

use schedscope_ebpf::{abi::Cause, task_clock::Phase};

use super::{
    bounds::{Bounds, ON_CPU_SHARE, Queueing, RunDelay},
    schema::{Check, Residual, UnseenByOthers},
};
use crate::{
    capture::{snapshot::Thread, totals::Totals},
    units::seconds,
};

/// Where these figures of the kernel's are from.
const SOURCE: &str = "task_struct";
/// Quantities whose unit is seconds end in this.
const SECONDS: &str = "_seconds";
const QUANTITIES: [&str; 5] = ["nvcsw", "nivcsw", "nr_migrations", "sum_exec_runtime_seconds", "run_delay_seconds"];
/// The first of these are counts.
const COUNTS: usize = 3;

/// Compares every thread whose end was seen with what the kernel kept about it while it was traced.
pub(super) fn check(threads: &[Thread], totals: &Totals, move_seconds: Option<f64>) -> Check {
    let mut sums = [(0_u64, 0_u64); QUANTITIES.len()];
    let mut check = Check { unseen_by_others: unseen_by_others(threads, totals), ..Check::default() };
    for thread in threads.iter().filter(|thread| thread.has_ended()) {
        let pairs = pairs(thread);
        check.threads += 1;
        check.threads_differing += u64::from(pairs[..COUNTS].iter().any(|(ours, kernel)| ours != kernel));
        for (sum, pair) in sums.iter_mut().zip(pairs) {
            *sum = (sum.0 + pair.0, sum.1 + pair.1);
        }
    }
    // Totals are over all threads, these sums over those that ended.
    let run_delay = if was_waiting(threads) {
        Err("no bound: a thread waited for a CPU when it was registered, and the kernel counts that wait from its begin")
    } else if totals.threads == 0 && check.threads == threads.len() as u64 {
        Ok(run_delay(threads, totals, move_seconds))
    } else {
        Err("no bound while threads of the workload are alive")
    };
    check.residuals = QUANTITIES.iter().zip(sums).map(|(quantity, sums)| residual(quantity, sums, run_delay)).collect();
    check
}

fn was_waiting(threads: &[Thread]) -> bool {
    threads.iter().any(|thread| thread.record.seeded_as == Phase::Runnable as u32)
}

/// Ours and the kernel's of one thread, in the order of [`QUANTITIES`].
fn pairs(thread: &Thread) -> [(u64, u64); QUANTITIES.len()] {
    let record = &thread.record;
    let (before, after) = (&record.kernel_before, &record.kernel_after);
    [
        (record.voluntary, after.voluntary.saturating_sub(before.voluntary)),
        (record.preempted + record.yielded, after.involuntary.saturating_sub(before.involuntary)),
        (record.migrations.iter().sum(), after.migrations.saturating_sub(before.migrations)),
        (record.on_cpu_ns, after.runtime_ns.saturating_sub(before.runtime_ns)),
        (record.wakeup_wait_ns + record.preempt_wait_ns, after.run_delay_ns.saturating_sub(before.run_delay_ns)),
    ]
}

fn residual(quantity: &str, (ours, kernel): (u64, u64), run_delay: Result<RunDelay, &str>) -> Residual {
    if !quantity.ends_with(SECONDS) {
        return Residual::new(SOURCE, quantity, ours as f64, kernel as f64, Bounds::EQUAL);
    }
    let (ours, kernel) = (seconds(ours), seconds(kernel));
    if quantity != "run_delay_seconds" {
        return Residual::new(SOURCE, quantity, ours, kernel, Bounds::share(ON_CPU_SHARE, kernel));
    }
    match run_delay {
        // A kernel without CONFIG_SCHED_INFO keeps none.
        Ok(_) if kernel == 0.0 => Residual::new(SOURCE, quantity, ours, kernel, Bounds::default())
            .because("this kernel does not keep it: CONFIG_SCHED_INFO is off"),
        Ok(run_delay) => Residual::new(SOURCE, quantity, ours, kernel, run_delay.bounds()).because(RUN_DELAY),
        Err(why) => Residual::new(SOURCE, quantity, ours, kernel, Bounds::default()).because(why),
    }
}

/// Why run delay differs.
pub(super) const RUN_DELAY: &str = "ours begins at the waking, the kernel's when the thread is queued; time taken out of runs by a \
     hypervisor or by interrupts, and between two queues, is a wait in ours only; of a thread that is moved while it sleeps the \
     kernel counts the rest of the sleep";

/// What the run delay of a finished workload differs by.
pub(super) fn run_delay(threads: &[Thread], totals: &Totals, move_seconds: Option<f64>) -> RunDelay {
    let waits_ns = totals.times.runnable_ns();
    let measured_ns = totals.wakeup_latency.sum_ns + totals.preemption_wait.sum_ns + totals.unobserved_wait_ns;
    let queueing = Queueing {
        seconds: seconds(totals.queueing_ns),
        wakeups: totals.queueings,
        longest_seconds: seconds(totals.queueing_max_ns),
    };
    RunDelay {
        carried_seconds: seconds(waits_ns) - seconds(measured_ns),
        unobserved_seconds: seconds(totals.unobserved_wait_ns),
        wakeups: totals.wakeup_latency.count(),
        threads: threads.len() as u64,
        preemptions: totals.preemption_wait.count(),
        forks: totals.threads_started,
        moves: totals.migrations[Cause::WhileQueued as usize].iter().sum(),
        move_seconds,
        asleep_seconds: threads.iter().filter(|thread| thread.record.moves.asleep > 0).map(slept_seconds).sum(),
        drowsy: totals.preempted_drowsy,
        longest_preemption_seconds: seconds(totals.preemption_wait.max_ns),
        wakeup_wait_seconds: seconds(totals.wakeup_latency.sum_ns),
        queueing: (queueing.wakeups > 0).then_some(queueing),
    }
}

fn slept_seconds(thread: &Thread) -> f64 {
    seconds(thread.record.blocked_ns.iter().sum())
}

/// Sums over the threads that ended.
fn unseen_by_others(threads: &[Thread], totals: &Totals) -> UnseenByOthers {
    let taken_seconds = run_delay(threads, totals, None).carried_seconds.max(0.0);
    let mut unseen = UnseenByOthers { taken_seconds, ..UnseenByOthers::default() };
    let waited = waited_for(threads);
    for (index, thread) in threads.iter().enumerate() {
        let record = &thread.record;
        unseen.migrations_again += u64::from(record.moves.again);
        unseen.migrations_repaired += u64::from(record.moves.unseen);
        if !thread.has_ended() {
            continue;
        }
        // Where the kernel has no such hook, all of it may have been while ending.
        let from = &record.at_exit;
        let voluntary = record.voluntary.saturating_sub(from.voluntary);
        let involuntary = (record.preempted + record.yielded).saturating_sub(from.involuntary);
        unseen.ended += 1;
        unseen.voluntary += voluntary;
        unseen.involuntary += involuntary;
        unseen.migrations += record.migrations.iter().sum::<u64>().saturating_sub(from.migrations);
        unseen.on_cpu_seconds += seconds(record.on_cpu_ns.saturating_sub(from.on_cpu_ns));
        if !waited.contains(&index) {
            unseen.ended_unwaited += u64::from(record.tid != record.tgid);
            unseen.voluntary_unwaited += voluntary;
            unseen.involuntary_unwaited += involuntary;
        }
    }
    unseen
}

/// Indices of the threads that are reaped by a wait: of each process the leader, and the last one if an exec replaced it.
fn waited_for(threads: &[Thread]) -> std::collections::BTreeSet<usize> {
    let mut last: BTreeMap<u32, (u64, usize)> = BTreeMap::new();
    for (index, thread) in threads.iter().enumerate().filter(|(_, thread)| thread.has_ended()) {
        let (record, end_ns) = (&thread.record, thread.record.clock.since_ns);
        if record.tid == record.tgid {
            let entry = last.entry(record.tgid).or_insert((end_ns, index));
            *entry = (*entry).max((end_ns, index));
        }
    }
    last.into_values().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use schedscope_ebpf::{
        abi::{Ending, KernelCounts, Moves},
        task_clock::Phase,
    };

    use super::*;
    use crate::capture::snapshot::tests::thread;

    /// A thread that ended at `end_ns`, as the kernel has it too.
    fn ended(tid: u32, process: u32, end_ns: u64) -> Thread {
        let mut thread = thread(tid, Phase::Dead);
        thread.record.tgid = process;
        thread.record.clock.since_ns = end_ns;
        thread.record.voluntary = 10;
        thread.record.preempted = 4;
        thread.record.yielded = 1;
        thread.record.on_cpu_ns = 1_000;
        thread.record.kernel_after =
            KernelCounts { voluntary: 10, involuntary: 5, migrations: 0, runtime_ns: 1_000, run_delay_ns: 0 };
        thread.record.at_exit = Ending { on_cpu_ns: 900, voluntary: 9, involuntary: 3, migrations: 0 };
        thread
    }

    #[test]
    fn a_count_that_differs_in_one_thread_is_found_even_if_the_sums_agree() {
        let mut threads = vec![ended(1, 1, 50), ended(2, 2, 60)];
        let agreeing = check(&threads, &Totals::default(), None);
        assert_eq!((agreeing.threads, agreeing.threads_differing), (2, 0));
        assert!(agreeing.residuals[..COUNTS].iter().all(Residual::is_within), "{agreeing:?}");
        threads[0].record.voluntary += 1;
        threads[1].record.voluntary -= 1;
        let differing = check(&threads, &Totals::default(), None);
        assert_eq!(differing.threads_differing, 2);
        threads[1].record.voluntary += 1;
        assert!(!check(&threads, &Totals::default(), None).residuals[0].is_within());
    }

    #[test]
    fn on_cpu_time_may_be_off_by_a_thousandth() {
        let mut threads = vec![ended(1, 1, 50)];
        threads[0].record.kernel_after.runtime_ns = 1_000_000;
        threads[0].record.on_cpu_ns = 1_000_990;
        assert!(check(&threads, &Totals::default(), None).residuals[3].is_within());
        threads[0].record.on_cpu_ns = 1_001_010;
        assert!(!check(&threads, &Totals::default(), None).residuals[3].is_within());
    }

    #[test]
    fn run_delay_has_no_bound_where_waits_are_cut_off() {
        let mut threads = [ended(1, 1, 50)];
        let alive = Totals { threads: 1, ..Totals::default() };
        assert_eq!(check(&threads, &alive, None).residuals[4].at_most, None);
        threads[0].record.kernel_after.run_delay_ns = 1;
        assert!(check(&threads, &Totals::default(), None).residuals[4].at_most.is_some());
        // The kernel counts what it had waited before.
        threads[0].record.seeded_as = Phase::Runnable as u32;
        assert_eq!(check(&threads, &Totals::default(), None).residuals[4].at_least, None);
    }

    #[test]
    fn what_a_thread_did_while_ending_is_summed_and_leaders_are_told_apart() {
        // Thread 7 has taken over the pid of its leader by an exec: two have the process's own pid.
        let mut threads = [ended(7, 7, 50), ended(7, 7, 90), ended(8, 7, 95)];
        threads[2].record.moves = Moves { at_switch: 3, again: 2, unseen: 1, asleep: 0 };
        let unseen = check(&threads, &Totals::default(), None).unseen_by_others;
        assert_eq!((unseen.ended, unseen.ended_unwaited), (3, 1));
        assert_eq!((unseen.voluntary, unseen.involuntary), (3, 6));
        assert_eq!((unseen.voluntary_unwaited, unseen.involuntary_unwaited), (2, 4));
        assert_eq!((unseen.migrations_again, unseen.migrations_repaired), (2, 1));
        assert!((unseen.on_cpu_seconds - 300e-9).abs() < 1e-15);
    }

    #[test]
    fn carried_time_is_what_no_wait_was_measured_as() {
        let mut totals = Totals { unobserved_wait_ns: 100, queueing_ns: 40, queueings: 2, threads_started: 3, ..Totals::default() };
        totals.times.wakeup_wait_ns = 5_000;
        totals.times.preempt_wait_ns = 3_000;
        totals.wakeup_latency.sum_ns = 4_900;
        totals.preemption_wait.sum_ns = 3_500;
        let mut moved = thread(1, Phase::Dead);
        moved.record.blocked_ns[2] = 3_000_000_000;
        let still = moved.clone();
        moved.record.moves.asleep = 1;
        let delay = run_delay(&[moved, still], &totals, None);
        assert!((delay.asleep_seconds - 3.0).abs() < 1e-9, "{delay:?}");
        assert!((delay.carried_seconds + 500e-9).abs() < 1e-15, "{delay:?}");
        assert_eq!(delay.queueing.map(|queueing| queueing.wakeups), Some(2));
        assert_eq!(delay.forks, 3);
    }
}
