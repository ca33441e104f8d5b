//! The figures of a workload that the page shows.

use std::collections::BTreeMap;

use crate::metrics::catalog::BLOCKED_REASONS;
use serde::Serialize;

use crate::{
    capture::totals::{Totals, busy_cpus},
    diagnose::ModelName,
};

/// Running totals of a workload, or what they grew by. Zeros are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// The model that it showed at the reading; left out where it was idle.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub model: &'static str,
    /// On-CPU time by CPU, where there is any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub on_cpu_ns: BTreeMap<u32, u64>,
    /// Runnable after a wake-up.
    #[serde(skip_serializing_if = "is_zero")]
    pub wakeup_wait_ns: u64,
    /// Runnable after losing the CPU.
    #[serde(skip_serializing_if = "is_zero")]
    pub preempt_wait_ns: u64,
    /// Blocked, by reason, where there is any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub blocked_ns: BTreeMap<&'static str, u64>,
    /// Voluntary switches.
    #[serde(skip_serializing_if = "is_zero")]
    pub voluntary: u64,
    /// Switches by preemption.
    #[serde(skip_serializing_if = "is_zero")]
    pub preempted: u64,
    /// Switches by `sched_yield`.
    #[serde(skip_serializing_if = "is_zero")]
    pub yielded: u64,
    /// Migrations of every kind.
    #[serde(skip_serializing_if = "is_zero")]
    pub migrations: u64,
    /// Waits after a wake-up that have ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub wakeup_waits: u64,
    /// What they took together.
    #[serde(skip_serializing_if = "is_zero")]
    pub wakeup_waits_ns: u64,
    /// Waits after losing the CPU that have ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub preempt_waits: u64,
    /// What they took together.
    #[serde(skip_serializing_if = "is_zero")]
    pub preempt_waits_ns: u64,
    /// Threads alive at the reading.
    #[serde(skip_serializing_if = "is_zero")]
    pub threads: u64,
    /// Processes alive at the reading.
    #[serde(skip_serializing_if = "is_zero")]
    pub processes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Figures {
    /// Those of the totals of a workload that shows a model.
    pub fn of(totals: &Totals, model: ModelName) -> Figures {
        let blocked = BLOCKED_REASONS.into_iter().zip(totals.times.blocked_ns).filter(|(_, ns)| *ns > 0);
        Figures {
            model: if model == ModelName::Idle { "" } else { model.name() },
            on_cpu_ns: busy_cpus(&totals.on_cpu_ns_by_cpu).map(|(cpu, ns)| (cpu.0, ns)).collect(),
            wakeup_wait_ns: totals.times.wakeup_wait_ns,
            preempt_wait_ns: totals.times.preempt_wait_ns,
            blocked_ns: blocked.collect(),
            voluntary: totals.voluntary,
            preempted: totals.preempted,
            yielded: totals.yielded,
            migrations: totals.migrations_total(),
            wakeup_waits: totals.wakeup_latency.count(),
            wakeup_waits_ns: totals.wakeup_latency.sum_ns,
            preempt_waits: totals.preemption_wait.count(),
            preempt_waits_ns: totals.preemption_wait.sum_ns,
            threads: totals.threads,
            processes: totals.processes,
        }
    }

    /// What grew since; model, threads and processes are those of now.
    #[must_use]
    pub fn since(&self, before: &Figures) -> Figures {
        Figures {
            model: self.model,
            on_cpu_ns: grown(&self.on_cpu_ns, &before.on_cpu_ns),
            wakeup_wait_ns: self.wakeup_wait_ns.saturating_sub(before.wakeup_wait_ns),
            preempt_wait_ns: self.preempt_wait_ns.saturating_sub(before.preempt_wait_ns),
            blocked_ns: grown(&self.blocked_ns, &before.blocked_ns),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            preempted: self.preempted.saturating_sub(before.preempted),
            yielded: self.yielded.saturating_sub(before.yielded),
            migrations: self.migrations.saturating_sub(before.migrations),
            wakeup_waits: self.wakeup_waits.saturating_sub(before.wakeup_waits),
            wakeup_waits_ns: self.wakeup_waits_ns.saturating_sub(before.wakeup_waits_ns),
            preempt_waits: self.preempt_waits.saturating_sub(before.preempt_waits),
            preempt_waits_ns: self.preempt_waits_ns.saturating_sub(before.preempt_waits_ns),
            threads: self.threads,
            processes: self.processes,
        }
    }

    /// On-CPU time on all CPUs.
    pub fn on_cpu_total_ns(&self) -> u64 {
        self.on_cpu_ns.values().sum()
    }
}

fn grown<K: Ord + Copy>(now: &BTreeMap<K, u64>, before: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let growth = now.iter().map(|(key, ns)| (*key, ns.saturating_sub(before.get(key).copied().unwrap_or(0))));
    growth.filter(|(_, ns)| *ns > 0).collect()
}
