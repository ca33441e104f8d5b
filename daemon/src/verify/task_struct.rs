//! Every thread that ended against what the kernel kept about it. Pure.

use std::collections::BTreeMap;

use schedscope_ebpf::abi::KernelCounts;
use schedscope_ebpf::residual::{Figures, Residuals, is_comparable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comparison::Residual;
use super::run_delay;
use super::verdict::{Check, identities};
use crate::capture::run::Run;
use crate::capture::snapshot::{Snapshot, Thread};
use crate::units::seconds;

const SOURCE: &str = "task_struct";

/// Compares every thread of a run whose end was seen with what the kernel kept about it while it was traced.
pub(crate) fn check(run: &Run) -> Check {
    let ended = || run.threads.iter().filter(|thread| thread.has_ended());
    let mut check = Check { unseen_by_others: unseen_by_others(run), ..Check::default() };
    let (mut ours, mut kernel) = (Figures::default(), Figures::default());
    for thread in ended() {
        let (mut counted, mut grown) = (Figures::of(&thread.record), Figures::grown(&thread.record, &thread.record.kernel_after));
        check.threads += 1;
        check.threads_differing += u64::from(!counted.has_same_counts(&grown));
        // If it ran when it was registered, the kernel's run time was only as recent as the last tick.
        if !is_comparable(&thread.record) {
            (counted.on_cpu_ns, grown.on_cpu_ns) = (0, 0);
        }
        ours.add(&counted);
        kernel.add(&grown);
    }
    let delays = ended()
        .map(|thread| (thread, thread.record.kernel_after.run_delay_ns.saturating_sub(thread.record.kernel_before.run_delay_ns)));
    let (run_delays, waits) = run_delay::compare(SOURCE, "run_delay_seconds", delays, &run.wait_accounts);
    check.waits = waits;
    check.residuals = vec![
        Residual::counts(SOURCE, "nvcsw", ours.voluntary, kernel.voluntary),
        Residual::counts(SOURCE, "nivcsw", ours.involuntary, kernel.involuntary),
        Residual::counts(SOURCE, "nr_migrations", ours.migrations, kernel.migrations),
        Residual::on_cpu(SOURCE, "sum_exec_runtime_seconds", ours.on_cpu_ns, kernel.on_cpu_ns),
    ];
    check.residuals.extend(run_delays);
    check.oracles = identities(run);
    check
}

/// The same for the threads that a snapshot hands out as ended, for a daemon that adds them up. Every snapshot must be passed once, since
/// each hands out others.
pub(crate) fn released(snapshot: &Snapshot) -> Residuals {
    let mut sum = Residuals::default();
    for thread in &snapshot.released {
        let kernel = &thread.record.kernel_after;
        // All zeros if its last switch was not seen, which is counted as a loss.
        if *kernel != KernelCounts::default() && is_comparable(&thread.record) {
            sum.add(&thread.record, kernel);
        }
    }
    sum
}

/// What we count but other counters of the kernel do not, which bounds the difference.
///
/// "While ending" is from when a thread began to end up to and including its last switch.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct UnseenByOthers {
    /// Threads that ended.
    pub ended: u64,
    /// Of these, threads that nobody waits for: all but the leader of each process. A leader that an exec replaced is not counted.
    pub ended_unwaited: u64,
    /// Voluntary switches while ending.
    pub voluntary: u64,
    /// Involuntary switches while ending.
    pub involuntary: u64,
    /// The part of `voluntary` of threads that nobody waits for, leaders that an exec replaced included.
    pub voluntary_unwaited: u64,
    /// The same part of `involuntary`.
    pub involuntary_unwaited: u64,
    /// Migrations while ending.
    pub migrations: u64,
    /// On-CPU time while ending.
    pub on_cpu_seconds: f64,
    /// Time that the kernel left out of runs because a hypervisor or an interrupt had the CPU.
    pub taken_seconds: f64,
    /// Migrations beyond the first between two runs of a thread.
    pub migrations_again: u64,
    /// Migrations whose events were not seen but which the kernel's count showed.
    pub migrations_repaired: u64,
}

/// Sums over the threads that ended.
fn unseen_by_others(run: &Run) -> UnseenByOthers {
    let Run { threads, totals, .. } = run;
    let measured_ns = totals.wakeup_latency.sum_ns + totals.preemption_wait.sum_ns + totals.unobserved_wait_ns;
    let taken_seconds = seconds(totals.wait_ns.saturating_sub(measured_ns));
    let mut unseen = UnseenByOthers { taken_seconds, ..UnseenByOthers::default() };
    let waited = waited_for(threads);
    let mut on_cpu_ns = 0;
    for (index, thread) in threads.iter().enumerate() {
        let record = &thread.record;
        unseen.migrations_again += u64::from(record.migrations_again);
        unseen.migrations_repaired += record.migrations_unseen;
        if !thread.has_ended() {
            continue;
        }
        // Where the kernel has no such hook, all of it may have been while ending.
        let (all, from) = (Figures::of(record), &record.at_exit);
        let voluntary = all.voluntary.saturating_sub(from.voluntary);
        let involuntary = all.involuntary.saturating_sub(from.involuntary);
        unseen.ended += 1;
        unseen.voluntary += voluntary;
        unseen.involuntary += involuntary;
        unseen.migrations += all.migrations.saturating_sub(from.migrations);
        on_cpu_ns += all.on_cpu_ns.saturating_sub(from.on_cpu_ns);
        if !waited.contains(&index) {
            unseen.ended_unwaited += u64::from(record.tid != record.tgid);
            unseen.voluntary_unwaited += voluntary;
            unseen.involuntary_unwaited += involuntary;
        }
    }
    unseen.on_cpu_seconds = seconds(on_cpu_ns);
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
