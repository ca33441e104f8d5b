//! The figures of a workload that the page shows.

use std::collections::BTreeMap;

use schedscope_ebpf::blocked::{REASON_SLOTS, Reason};
use serde::{Serialize, Serializer};

use crate::capture::totals::{Totals, busy_cpus};
use crate::diagnose::ModelName;

/// The key of a count in the JSON, and where it is taken from.
type Count = (&'static str, fn(&Totals) -> u64);

const COUNTS: [Count; 11] = [
    ("wakeup_wait_ns", |totals| totals.times.wakeup_wait_ns),
    ("preempt_wait_ns", |totals| totals.times.preempt_wait_ns),
    ("transit_ns", |totals| totals.times.transit_ns),
    ("voluntary", |totals| totals.voluntary),
    ("preempted", |totals| totals.preempted),
    ("yielded", |totals| totals.yielded),
    ("migrations", Totals::migrations_total),
    // Waits that have ended, and their total time.
    ("wakeup_waits", |totals| totals.wakeup_latency.count()),
    ("wakeup_waits_ns", |totals| totals.wakeup_latency.sum_ns),
    ("preempt_waits", |totals| totals.preemption_wait.count()),
    ("preempt_waits_ns", |totals| totals.preemption_wait.sum_ns),
];

/// Running totals of a workload, or what they grew by. Zeros are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Figures {
    /// The model at the reading; left out if idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelName>,
    /// On-CPU time by CPU, where there is any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) on_cpu_ns: BTreeMap<u32, u64>,
    /// Blocked, by [`Reason`].
    #[serde(skip_serializing_if = "is_nothing", serialize_with = "by_reason")]
    pub(crate) blocked_ns: [u64; REASON_SLOTS],
    /// By their place in the list of counts.
    #[serde(flatten, serialize_with = "by_key")]
    pub(crate) counts: [u64; COUNTS.len()],
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) threads: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) processes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_nothing(numbers: &[u64; REASON_SLOTS]) -> bool {
    numbers.iter().all(is_zero)
}

fn by_reason<S: Serializer>(numbers: &[u64; REASON_SLOTS], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Reason::ALL.map(Reason::name).into_iter().zip(numbers).filter(|(_, number)| **number > 0))
}

fn by_key<S: Serializer>(numbers: &[u64; COUNTS.len()], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(COUNTS.iter().map(|(key, _)| key).zip(numbers).filter(|(_, number)| **number > 0))
}

impl Figures {
    /// The figures of a workload with these totals and this model.
    pub(crate) fn of(totals: &Totals, model: ModelName) -> Figures {
        Figures {
            model: Some(model).filter(|model| *model != ModelName::Idle),
            on_cpu_ns: busy_cpus(&totals.on_cpu_ns_by_cpu).map(|(cpu, ns)| (cpu.0, ns)).collect(),
            blocked_ns: totals.times.blocked_ns,
            counts: COUNTS.map(|(_, count)| count(totals)),
            threads: totals.threads,
            processes: totals.processes,
        }
    }

    /// What they grew by since; model, threads and processes are as they are now.
    #[must_use]
    pub(crate) fn since(&self, before: &Figures) -> Figures {
        let grown =
            self.on_cpu_ns.iter().map(|(cpu, ns)| (*cpu, ns.saturating_sub(before.on_cpu_ns.get(cpu).copied().unwrap_or(0))));
        Figures {
            on_cpu_ns: grown.filter(|(_, ns)| *ns > 0).collect(),
            blocked_ns: std::array::from_fn(|reason| self.blocked_ns[reason].saturating_sub(before.blocked_ns[reason])),
            counts: std::array::from_fn(|row| self.counts[row].saturating_sub(before.counts[row])),
            ..*self
        }
    }

    pub(crate) fn on_cpu_total_ns(&self) -> u64 {
        self.on_cpu_ns.values().sum()
    }
}
