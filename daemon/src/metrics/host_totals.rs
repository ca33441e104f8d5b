//! Snapshots added up to what the host has done since tracing began. Pure; it keeps what must not go down.

use schedscope_ebpf::abi::CpuRecord;
use schedscope_ebpf::distance::CpuPlace;
use schedscope_ebpf::residual::Residuals;

use super::exposition::CpuTotals;
use crate::capture::snapshot::{Cpu, Losses, Snapshot, WorkloadId};
use crate::capture::totals::{Aggregate, Totals};
use crate::verify::task_struct;

#[derive(Debug, Default)]
pub(crate) struct HostTotals {
    aggregate: Aggregate,
    records: Vec<CpuRecord>,
    idle_ns: Vec<u64>,
    pub(crate) losses: Losses,
    /// Records that could not be read whole, over all snapshots.
    pub(crate) torn_records: u64,
    /// All comparisons of ended threads with the kernel.
    pub(crate) ended: Residuals,
}

impl HostTotals {
    /// Adds a snapshot. Each must be added once, since each hands out other ended threads.
    pub(crate) fn update(&mut self, snapshot: &Snapshot) {
        // A snapshot of threads alone says nothing about the workloads.
        if !snapshot.cells.is_empty() {
            self.aggregate.update(snapshot);
        }
        self.torn_records += snapshot.torn_records;
        self.losses = snapshot.losses();
        self.idle_ns.resize(snapshot.cpus.len().max(self.idle_ns.len()), 0);
        for (kept, record) in self.idle_ns.iter_mut().zip(&snapshot.cpus) {
            // The clock was read a moment before the record, so the sum may fall behind the one before.
            *kept = (*kept).max(record.idle_ns(snapshot.taken_ns));
        }
        self.records.clone_from(&snapshot.cpus);
        self.ended.merge(&task_struct::released(snapshot));
    }

    /// The workload is another one from now on, and begins with nothing.
    pub(crate) fn forget(&mut self, workload: WorkloadId) {
        self.aggregate.forget(workload);
    }

    /// Totals of a workload at the last snapshot that had them.
    pub(crate) fn workload(&self, workload: WorkloadId) -> Option<&Totals> {
        self.aggregate.totals(workload)
    }

    /// CPUs that have switched at least once; the others are offline or do not exist.
    pub(crate) fn cpus(&self, place: impl Fn(u32) -> CpuPlace) -> Vec<CpuTotals> {
        let seen = (0_u32..).zip(self.records.iter().zip(&self.idle_ns)).filter(|(_, (record, _))| record.switches > 0);
        seen.map(|(cpu, (record, idle_ns))| CpuTotals {
            cpu: Cpu(cpu),
            place: Some(place(cpu)),
            switches_from_task: record.switches.saturating_sub(record.switches_from_idle),
            switches_from_idle: record.switches_from_idle,
            idle_ns: *idle_ns,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use schedscope_ebpf::abi::{Cell, KernelCounts};
    use schedscope_ebpf::task_clock::Phase;

    use super::*;
    use crate::capture::snapshot::tests::thread;

    fn snapshot(taken_ns: u64, record: CpuRecord) -> Snapshot {
        Snapshot { taken_ns, cpus: vec![record], ..Snapshot::default() }
    }

    fn cpus(totals: &HostTotals) -> Vec<CpuTotals> {
        totals.cpus(|_| CpuPlace::default())
    }

    #[test]
    fn idle_time_includes_the_open_interval_and_does_not_go_down() {
        let mut totals = HostTotals::default();
        let idle = CpuRecord { idle: 1, since_ns: 100, idle_ns: 50, switches: 3, switches_from_idle: 1, ..CpuRecord::default() };
        totals.update(&snapshot(300, idle));
        assert_eq!(cpus(&totals)[0].idle_ns, 250);
        // The interval was closed at 290, before the clock of the next reading; 10 ns too many were shown and are kept.
        let busy = CpuRecord { idle: 0, since_ns: 290, idle_ns: 240, switches: 4, switches_from_idle: 2, ..CpuRecord::default() };
        totals.update(&snapshot(310, busy));
        let cpus = cpus(&totals);
        assert_eq!(cpus[0].idle_ns, 250);
        assert_eq!((cpus[0].switches_from_task, cpus[0].switches_from_idle), (2, 2));
    }

    #[test]
    fn a_cpu_that_never_switched_is_left_out() {
        let mut totals = HostTotals::default();
        totals.update(&snapshot(300, CpuRecord::default()));
        assert!(cpus(&totals).is_empty());
    }

    #[test]
    fn threads_that_ended_are_compared_once_unless_their_end_was_not_seen() {
        let ended = |voluntary, kernel| {
            let mut thread = thread(1, Phase::Dead);
            thread.record.voluntary = voluntary;
            thread.record.kernel_after = KernelCounts { voluntary: kernel, ..KernelCounts::default() };
            thread
        };
        let mut totals = HostTotals::default();
        let released = vec![ended(5, 5), ended(5, 7), ended(9, 0)];
        totals.update(&Snapshot { released, ..Snapshot::default() });
        totals.update(&Snapshot { threads: vec![ended(5, 5)], ..Snapshot::default() });
        let expected = Residuals { compared: 2, differing: 1, voluntary: 2, ..Residuals::default() };
        assert_eq!(totals.ended, expected);
    }

    #[test]
    fn a_snapshot_of_threads_alone_leaves_the_workloads_as_they_are() {
        let mut running = thread(1, Phase::Running);
        running.record.clock.since_ns = 100;
        let threads = Snapshot { taken_ns: 150, threads: vec![running], torn_records: 2, ..Snapshot::default() };
        let full = Snapshot { cells: vec![vec![Cell::default(), Cell { voluntary: 4, ..Cell::default() }]], ..threads.clone() };
        let mut totals = HostTotals::default();
        for snapshot in [&full, &threads] {
            totals.update(snapshot);
            let workload = totals.workload(WorkloadId(1)).cloned().unwrap_or_default();
            assert_eq!((workload.voluntary, workload.threads, workload.times.on_cpu_ns), (4, 1, 50));
        }
        assert_eq!(totals.torn_records, 4);
        assert!(totals.workload(WorkloadId(2)).is_none());
    }
}
