//! Snapshots made into totals per workload that include open intervals and never go down. Pure.

use std::collections::BTreeSet;

use schedscope_ebpf::distance::Distance;

use super::distribution::Distribution;
use crate::capture::snapshot::{Cpu, Snapshot, Tgid, Thread, Times, WorkloadId};
use crate::values::values;

values! {
    /// How a thread left its CPU.
    pub enum SwitchKind {
        /// It blocked: the kernel's `nvcsw`.
        Voluntary = "voluntary",
        /// It was still runnable: the kernel's `nivcsw`, minus yields.
        Preempted = "preempted",
        /// In `sched_yield`, which the kernel's `nivcsw` counts too.
        Yielded = "yielded",
    }
}

values! {
    /// What made a thread wait for a CPU.
    pub enum RunnableCause {
        /// It was woken.
        Wakeup = "wakeup",
        /// It lost its CPU.
        Preemption = "preemption",
    }
}

/// Everything counted for one workload since tracing began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Where its threads' time went, open intervals included.
    pub times: Times,
    /// On-CPU nanoseconds by CPU number, open intervals included.
    pub on_cpu_ns_by_cpu: Vec<u64>,
    /// Voluntary switches, by the kernel's rule for `nvcsw`.
    pub voluntary: u64,
    /// Involuntary switches (`nivcsw`) other than yields.
    pub preempted: u64,
    /// Involuntary switches (`nivcsw`) in `sched_yield`.
    pub yielded: u64,
    /// Migrations by cause (at wake-up, while queued) and distance.
    pub migrations: [[u64; Distance::ALL.len()]; 2],
    /// Threads that started under observation.
    pub threads_started: u64,
    /// Processes that did.
    pub processes_started: u64,
    /// Interpreter locks handed over because another thread asked.
    pub gil_handoffs: u64,
    /// The longest switch interval with which the last wait of a live thread for such a lock began; 0 if none waited.
    pub gil_interval_ns: u64,
    /// Threads alive now.
    pub threads: u64,
    /// Processes alive now.
    pub processes: u64,
    /// Switch-in to switch-out.
    pub timeslice: Distribution,
    /// First waking to switch-in.
    pub wakeup_latency: Distribution,
    /// Switch-out while runnable to switch-in.
    pub preemption_wait: Distribution,
    /// Closed waits of both distributions: those that were observed, those that were not, and what the kernel took out of runs.
    pub wait_ns: u64,
    /// Waits whose beginning no event showed: in the times, in no distribution.
    pub unobserved_wait_ns: u64,
}

impl Totals {
    pub(crate) fn switches(&self, kind: SwitchKind) -> u64 {
        match kind {
            SwitchKind::Voluntary => self.voluntary,
            SwitchKind::Preempted => self.preempted,
            SwitchKind::Yielded => self.yielded,
        }
    }

    pub(crate) fn runnable_ns(&self, cause: RunnableCause) -> u64 {
        match cause {
            RunnableCause::Wakeup => self.times.wakeup_wait_ns,
            RunnableCause::Preemption => self.times.preempt_wait_ns,
        }
    }

    pub(crate) fn migrations_total(&self) -> u64 {
        self.migrations.iter().flatten().sum()
    }

    /// Reads the closed part of one workload from its cells.
    fn closed(snapshot: &Snapshot, workload: WorkloadId) -> Totals {
        let index = workload.0 as usize;
        let mut totals = Totals { on_cpu_ns_by_cpu: vec![0; snapshot.cells.len()], ..Totals::default() };
        for (cpu, cells) in snapshot.cells.iter().enumerate() {
            let Some(cell) = cells.get(index) else { continue };
            totals.times = totals.times.zip(&Times::of_cell(cell), u64::saturating_add);
            totals.on_cpu_ns_by_cpu[cpu] = cell.on_cpu_ns;
            totals.voluntary += cell.voluntary;
            totals.preempted += cell.preempted;
            totals.yielded += cell.yielded;
            for (sum, part) in totals.migrations.iter_mut().flatten().zip(cell.migrations.iter().flatten()) {
                *sum += part;
            }
            totals.gil_handoffs += cell.gil_handoffs;
            totals.threads_started += cell.threads_started;
            totals.processes_started += cell.processes_started;
            totals.timeslice.add(&cell.timeslice);
            totals.wakeup_latency.add(&cell.wakeup_latency);
            totals.preemption_wait.add(&cell.preemption_wait);
            totals.wait_ns += cell.wakeup_wait_ns + cell.preempt_wait_ns;
            totals.unobserved_wait_ns += cell.unobserved_wait_ns;
        }
        totals
    }

    /// Adds the open interval of a live thread.
    fn fold_open(&mut self, thread: &Thread, now_ns: u64) {
        self.times.add_open(thread, now_ns);
        if let Some(cpu) = self.on_cpu_ns_by_cpu.get_mut(thread.record.clock.cpu as usize) {
            *cpu += thread.open(now_ns).on_cpu_ns;
        }
    }

    /// Raises to what it was before whatever has an open part: times, and processes that have started but are in no cell yet. Each is a
    /// lower bound of the truth, and the truth does not go down. Only an open wait may turn out to have been transit in part; the next
    /// waits make that good.
    fn keep_up_with(&mut self, before: &Totals) {
        self.threads_started = self.threads_started.max(before.threads_started);
        self.processes_started = self.processes_started.max(before.processes_started);
        self.times = self.times.zip(&before.times, u64::max);
        for (now, before) in self.on_cpu_ns_by_cpu.iter_mut().zip(&before.on_cpu_ns_by_cpu) {
            *now = (*now).max(*before);
        }
    }
}

/// Totals per workload over the life of a trace.
#[derive(Debug, Default)]
pub(crate) struct Aggregate {
    workloads: Vec<Totals>,
}

impl Aggregate {
    /// Takes a snapshot and returns the totals of every workload, indexed by its number.
    pub(crate) fn update(&mut self, snapshot: &Snapshot) -> &[Totals] {
        let count = snapshot.cells.first().map_or(0, Vec::len);
        let mut now: Vec<Totals> =
            (0..count).map(|index| Totals::closed(snapshot, WorkloadId(u32::try_from(index).unwrap_or(u32::MAX)))).collect();
        let mut processes: BTreeSet<(u32, Tgid)> = BTreeSet::new();
        for thread in snapshot.live() {
            let Some(totals) = now.get_mut(thread.workload().0 as usize) else { continue };
            totals.fold_open(thread, snapshot.taken_ns);
            totals.gil_interval_ns = totals.gil_interval_ns.max(thread.gil_interval_ns());
            totals.threads += 1;
            if processes.insert((thread.workload().0, thread.tgid())) {
                totals.processes += 1;
            }
        }
        for (now, before) in now.iter_mut().zip(&self.workloads) {
            now.keep_up_with(before);
        }
        self.workloads = now;
        &self.workloads
    }

    /// The workload is another one from now on, and begins with nothing.
    pub(crate) fn forget(&mut self, workload: WorkloadId) {
        if let Some(totals) = self.workloads.get_mut(workload.0 as usize) {
            *totals = Totals::default();
        }
    }

    /// Totals at the last update.
    pub(crate) fn totals(&self, workload: WorkloadId) -> Option<&Totals> {
        self.workloads.get(workload.0 as usize)
    }
}

/// CPUs on which a workload spent time, with the time.
pub(crate) fn busy_cpus(on_cpu_ns_by_cpu: &[u64]) -> impl Iterator<Item = (Cpu, u64)> + '_ {
    on_cpu_ns_by_cpu
        .iter()
        .enumerate()
        .filter(|(_, ns)| **ns > 0)
        .filter_map(|(cpu, ns)| Some((Cpu(u32::try_from(cpu).ok()?), *ns)))
}

/// Effective CPUs: the participation ratio `(sum x)^2 / sum x^2` of the time per CPU. One CPU's worth of work spread evenly
/// over four CPUs gives 4; the same pinned gives 1; none gives 0.
pub(crate) fn effective_cpus(on_cpu_ns_by_cpu: &[u64]) -> f64 {
    let sum: f64 = on_cpu_ns_by_cpu.iter().map(|&ns| ns as f64).sum();
    let squares: f64 = on_cpu_ns_by_cpu.iter().map(|&ns| (ns as f64).powi(2)).sum();
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests;
