//! Snapshots made into what a scrape shows. Pure: it keeps what must not go down and reads nothing itself.

use schedscope_ebpf::{
    abi::{CpuRecord, KernelCounts},
    distance::CpuPlace,
    residual::{Residuals, is_comparable},
};

use super::{CpuTotals, Workload};
use crate::{
    capture::{
        snapshot::{Cpu, Snapshot, WorkloadId},
        totals::{Aggregate, Totals},
    },
    label::LabelTable,
};

/// What lasts from one collection to the next.
#[derive(Debug, Default)]
pub struct Ledger {
    aggregate: Aggregate,
    idle_ns: Vec<u64>,
    torn_records: u64,
    ended: Residuals,
}

impl Ledger {
    /// Takes a snapshot in.
    pub fn update(&mut self, snapshot: &Snapshot) {
        self.aggregate.update(snapshot);
        self.torn_records += snapshot.torn_records;
        self.idle_ns.resize(snapshot.cpus.len().max(self.idle_ns.len()), 0);
        for (kept, record) in self.idle_ns.iter_mut().zip(&snapshot.cpus) {
            // The open interval was read a moment before the record, so the sum may lag behind the one before it.
            *kept = (*kept).max(idle_ns(record, snapshot.taken_ns));
        }
    }

    /// Compares the threads that a snapshot hands out as ended with what the kernel kept about them. Every snapshot must come by
    /// here once: each hands out others.
    pub fn compare_ended(&mut self, snapshot: &Snapshot) {
        for thread in &snapshot.released {
            let kernel = &thread.record.kernel_after;
            // All zeros if its last switch was not seen, which is counted as a loss.
            if *kernel != KernelCounts::default() && is_comparable(&thread.record) {
                self.ended.add(&thread.record, kernel);
            }
        }
    }

    /// Sum of these comparisons.
    pub fn ended(&self) -> Residuals {
        self.ended
    }

    /// Records that could not be read whole, over all snapshots.
    pub fn torn_records(&self) -> u64 {
        self.torn_records
    }

    /// Totals of a workload at the last snapshot.
    pub fn totals(&self, workload: WorkloadId) -> Option<&Totals> {
        self.aggregate.totals(workload)
    }

    /// The workloads that have a name, with their totals; `other` comes first. `allowed_cpus` says on how many CPUs each may run,
    /// `model` what it shows.
    pub fn workloads(
        &self,
        names: &LabelTable,
        allowed_cpus: impl Fn(WorkloadId) -> Option<u32>,
        model: impl Fn(WorkloadId) -> &'static str,
    ) -> Vec<Workload> {
        names
            .iter()
            .map(|(id, name, source)| Workload {
                name: name.to_owned(),
                source,
                allowed_cpus: allowed_cpus(id),
                model: model(id),
                totals: self.aggregate.totals(id).cloned().unwrap_or_default(),
            })
            .collect()
    }

    /// The CPUs that have switched at least once; the others are offline or do not exist.
    pub fn cpus(&self, records: &[CpuRecord], places: &[CpuPlace]) -> Vec<CpuTotals> {
        (0_u32..)
            .zip(records)
            .filter(|(_, record)| record.switches > 0)
            .map(|(cpu, record)| CpuTotals {
                cpu: Cpu(cpu),
                place: places.get(cpu as usize).copied(),
                switches_from_task: record.switches.saturating_sub(record.switches_from_idle),
                switches_from_idle: record.switches_from_idle,
                idle_ns: self.idle_ns.get(cpu as usize).copied().unwrap_or(0),
            })
            .collect()
    }
}

fn idle_ns(record: &CpuRecord, now_ns: u64) -> u64 {
    let open_ns = if record.idle == 1 { now_ns.saturating_sub(record.since_ns) } else { 0 };
    record.idle_ns + open_ns
}

#[cfg(test)]
mod tests {
    use schedscope_ebpf::{abi::Cell, task_clock::Phase};

    use super::*;
    use crate::capture::snapshot::tests::thread;

    fn snapshot(taken_ns: u64, record: CpuRecord) -> Snapshot {
        Snapshot { taken_ns, cpus: vec![record], ..Snapshot::default() }
    }

    #[test]
    fn idle_time_includes_the_open_interval_and_does_not_go_down() {
        let mut ledger = Ledger::default();
        let idle = CpuRecord { idle: 1, since_ns: 100, idle_ns: 50, switches: 3, switches_from_idle: 1, ..CpuRecord::default() };
        ledger.update(&snapshot(300, idle));
        assert_eq!(ledger.cpus(&[idle], &[])[0].idle_ns, 250);
        // The interval was closed at 290, before the clock of the next reading; 10 ns too many were shown and are kept.
        let busy = CpuRecord { idle: 0, since_ns: 290, idle_ns: 240, switches: 4, switches_from_idle: 2, ..CpuRecord::default() };
        ledger.update(&snapshot(310, busy));
        let cpus = ledger.cpus(&[busy], &[]);
        assert_eq!(cpus[0].idle_ns, 250);
        assert_eq!((cpus[0].switches_from_task, cpus[0].switches_from_idle), (2, 2));
    }

    #[test]
    fn threads_that_ended_are_compared_once_unless_their_end_was_not_seen() {
        let ended = |voluntary, kernel| {
            let mut thread = thread(1, Phase::Dead);
            thread.record.voluntary = voluntary;
            thread.record.kernel_after = KernelCounts { voluntary: kernel, ..KernelCounts::default() };
            thread
        };
        let mut ledger = Ledger::default();
        let released = vec![ended(5, 5), ended(5, 7), ended(9, 0)];
        ledger.compare_ended(&Snapshot { released, ..Snapshot::default() });
        ledger.compare_ended(&Snapshot { threads: vec![ended(5, 5)], ..Snapshot::default() });
        let expected = Residuals { compared: 2, differing: 1, voluntary: 2, ..Residuals::default() };
        assert_eq!(ledger.ended(), expected);
    }

    #[test]
    fn every_name_has_its_own_totals_and_other_comes_first() {
        let mut running = thread(1, Phase::Running);
        running.record.clock.since_ns = 100;
        // SAFETY: a cell is made of integers, for which zero is a value.
        let blank: Cell = unsafe { std::mem::zeroed() };
        let cells = vec![vec![Cell { voluntary: 3, ..blank }, Cell { voluntary: 4, ..blank }]];
        let mut ledger = Ledger::default();
        for torn_records in [2, 3] {
            ledger.update(&Snapshot {
                taken_ns: 150,
                cells: cells.clone(),
                threads: vec![running.clone()],
                torn_records,
                ..Snapshot::default()
            });
        }
        assert_eq!(ledger.torn_records(), 5);
        let table = LabelTable::new(&["web", "later"], 8);
        let allowed = |id: WorkloadId| (id.0 == 1).then_some(6);
        let workloads = ledger.workloads(&table, allowed, |id| if id.0 == 1 { "threads" } else { "none" });
        let seen: Vec<_> =
            workloads.iter().map(|w| (w.name.as_str(), w.totals.voluntary, w.totals.threads, w.allowed_cpus, w.model)).collect();
        // A name whose cells were not read yet has nothing so far.
        assert_eq!(seen, [("other", 3, 0, None, "none"), ("web", 4, 1, Some(6), "threads"), ("later", 0, 0, None, "none")]);
        assert_eq!(workloads[1].totals.times.on_cpu_ns, 50);
    }

    #[test]
    fn a_cpu_that_never_switched_is_left_out() {
        let mut ledger = Ledger::default();
        ledger.update(&snapshot(300, CpuRecord::default()));
        assert!(ledger.cpus(&[CpuRecord::default()], &[]).is_empty());
    }
}
