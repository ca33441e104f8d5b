//! Each workload of the daemon's, window by window: what it is, why it does not use more of the cores, and what it has lost so far.

mod lost;
mod steady;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use lost::{Lost, LostCause};
use steady::Steady;

use super::window::{Ledger, Window};
use super::{Diagnosis, ModelName, diagnose};
use crate::capture::allowance::{Allowed, Wanting};
use crate::capture::distribution::Distribution;
use crate::capture::interpreters::Python;
use crate::capture::snapshot::{Snapshot, Tgid, Thread, Tid, Times, WorkloadId};
use crate::capture::totals::Totals;

/// Shortest window: below it a few switches decide. The daemon reads all counters once a second, now a little sooner and now a little
/// later; so a window is two seconds long.
const WINDOW_NS: u64 = 1_900_000_000;

/// What is known at a moment besides a snapshot.
pub(crate) struct Known<'a> {
    /// CPUs of the host.
    pub(crate) cpus: u32,
    /// Cores of the hardware that these are threads of.
    pub(crate) physical_cores: u32,
    /// Totals of each workload that has a name, by number.
    pub(crate) totals: &'a dyn Fn(WorkloadId) -> Option<&'a Totals>,
    pub(crate) python: &'a dyn Fn(Tgid) -> Option<Python>,
}

/// Diagnoses workloads, window by window.
#[derive(Debug, Default)]
pub(crate) struct Live {
    begin_ns: u64,
    /// Each thread at the beginning of the window, by its key.
    before: HashMap<(Tid, u64), Ledger>,
    /// The sums of each workload then, by number.
    sums: Vec<Sums>,
    /// Idle time of all CPUs then.
    idle_ns: u64,
    /// Threads that ended in the open window.
    ended: Vec<Thread>,
    /// By number.
    workloads: Vec<Account>,
}

/// What is kept of a workload.
#[derive(Debug, Default)]
struct Account {
    model: Steady,
    lost: Lost,
    last: Option<Last>,
}

/// A window in which a workload had threads, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub(crate) wall_ns: u64,
    pub(crate) diagnosis: Diagnosis,
    /// The wake-up latency that 99 of 100 wake-ups of the window stayed below; `None` if there was none.
    pub(crate) wakeup_p99_ns: Option<u64>,
}

/// Sums that are exact for every thread, those too that nobody has a ledger of.
#[derive(Clone, Debug, Default)]
struct Sums {
    times: Times,
    on_cpu_ns_by_cpu: Vec<u64>,
    voluntary: u64,
    wakeup_latency: Distribution,
}

impl Sums {
    fn of(totals: &Totals) -> Sums {
        Sums {
            times: totals.times,
            on_cpu_ns_by_cpu: totals.on_cpu_ns_by_cpu.clone(),
            voluntary: totals.voluntary,
            wakeup_latency: totals.wakeup_latency.clone(),
        }
    }

    /// What they grew by after `before`.
    fn since(&self, before: &Sums) -> Sums {
        let before_ns = |cpu: usize| before.on_cpu_ns_by_cpu.get(cpu).copied().unwrap_or(0);
        let by_cpu = self.on_cpu_ns_by_cpu.iter().enumerate().map(|(cpu, ns)| ns.saturating_sub(before_ns(cpu)));
        Sums {
            times: self.times.since(&before.times),
            on_cpu_ns_by_cpu: by_cpu.collect(),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            wakeup_latency: self.wakeup_latency.since(&before.wakeup_latency),
        }
    }
}

/// What all CPUs did in a window.
#[derive(Clone, Copy)]
struct Host {
    wall_ns: u64,
    cpus: u64,
    physical_cores: u64,
    idle_ns: u64,
}

/// What the threads of each workload did in the window; of those that are alive, which wanted a CPU.
type Seen = (HashMap<WorkloadId, Vec<Ledger>>, BTreeMap<WorkloadId, Vec<Wanting>>);

impl Live {
    /// Takes a snapshot in; ends the window if it is long enough and the snapshot says how the workloads stand. Then `look` is called to see
    /// what the kernel lets the threads of each workload use.
    pub(crate) fn update<L>(&mut self, snapshot: &Snapshot, known: &Known<'_>, look: L)
    where
        L: FnOnce(&BTreeMap<WorkloadId, Vec<Wanting>>) -> HashMap<WorkloadId, Allowed>,
    {
        self.ended.extend(snapshot.released.iter().cloned());
        let wall_ns = snapshot.taken_ns.saturating_sub(self.begin_ns);
        if wall_ns < WINDOW_NS || snapshot.cells.is_empty() {
            return;
        }
        let numbers = (0..).map(WorkloadId);
        let sums: Vec<Sums> = numbers.map_while(|number| (known.totals)(number).map(Sums::of)).collect();
        // Of a CPU that is offline the idle task was the last.
        let idle_ns: u64 = snapshot.cpus.iter().filter(|cpu| cpu.switches > 0).map(|cpu| cpu.idle_ns(snapshot.taken_ns)).sum();
        // The first window begins with the first snapshot. Quotas are looked at then too, to see how they grow.
        let (ledgers, wanting) = self.seen(snapshot, known);
        let allowed = look(&wanting);
        if self.begin_ns != 0 {
            let host = Host {
                wall_ns,
                cpus: known.cpus.into(),
                physical_cores: known.physical_cores.into(),
                idle_ns: idle_ns.saturating_sub(self.idle_ns),
            };
            self.judge(host, &sums, ledgers, allowed);
        }
        self.begin_ns = snapshot.taken_ns;
        let ledger = |thread| Ledger::of(thread, snapshot.taken_ns, None);
        self.before = snapshot.threads.iter().map(|thread| (thread.key(), ledger(thread))).collect();
        self.sums = sums;
        self.idle_ns = idle_ns;
        // Not cleared: what a crowd took would be kept.
        self.ended = Vec::new();
    }

    /// The workload is another one from now on, of which nothing is known.
    pub(crate) fn forget(&mut self, workload: WorkloadId) {
        let index = workload.0 as usize;
        if let Some(account) = self.workloads.get_mut(index) {
            *account = Account::default();
        }
        if let Some(sums) = self.sums.get_mut(index) {
            *sums = Sums::default();
        }
    }

    /// The model of a workload; idle if none was ever told.
    pub(crate) fn of(&self, workload: WorkloadId) -> ModelName {
        self.account(workload).map_or(ModelName::Idle, |account| account.model.told())
    }

    /// What a workload has lost in all windows that have ended.
    pub(crate) fn lost(&self, workload: WorkloadId) -> Lost {
        self.account(workload).map_or_else(Lost::default, |account| account.lost)
    }

    /// The last window of a workload; `None` if it had no threads in it.
    pub(crate) fn last(&self, workload: WorkloadId) -> Option<&Last> {
        self.account(workload)?.last.as_ref()
    }

    fn account(&self, workload: WorkloadId) -> Option<&Account> {
        self.workloads.get(workload.0 as usize)
    }

    /// Diagnoses the window that has ended.
    fn judge(
        &mut self,
        host: Host,
        sums: &[Sums],
        mut ledgers: HashMap<WorkloadId, Vec<Ledger>>,
        mut allowed: HashMap<WorkloadId, Allowed>,
    ) {
        self.workloads.resize_with(sums.len().max(self.workloads.len()), Account::default);
        for (index, (account, sums)) in self.workloads.iter_mut().zip(sums).enumerate() {
            let number = WorkloadId(u32::try_from(index).unwrap_or(u32::MAX));
            let grown = self.sums.get(index).map_or_else(|| sums.clone(), |before| sums.since(before));
            let ledgers = ledgers.remove(&number).unwrap_or_default();
            if ledgers.is_empty() && grown.times == Times::default() {
                account.model.rest();
                account.last = None;
                continue;
            }
            let wakeup_p99_ns = grown.wakeup_latency.quantile_ns(0.99);
            let window = window(host, grown, ledgers, allowed.remove(&number).unwrap_or_default());
            let diagnosis = diagnose(&window);
            account.model.show(diagnosis.model);
            account.lost.add(&diagnosis.cores, window.quota.as_ref());
            account.last = Some(Last { wall_ns: host.wall_ns, diagnosis, wakeup_p99_ns });
        }
    }

    fn seen(&self, snapshot: &Snapshot, known: &Known<'_>) -> Seen {
        let (mut ledgers, mut wanting) = Seen::default();
        let mut seen = HashSet::new();
        // A slot freed by this very snapshot is in both lists.
        for thread in snapshot.threads.iter().chain(&self.ended).filter(|thread| seen.insert(thread.key())) {
            let now = Ledger::of(thread, snapshot.taken_ns, (known.python)(thread.tgid()));
            let ledger = self.before.get(&thread.key()).map_or_else(|| now.clone(), |before| now.since(before));
            if !thread.has_ended() {
                let wanted = Wanting { tid: thread.tid(), tgid: thread.tgid(), wanted_ns: ledger.wanted_ns() };
                wanting.entry(thread.workload()).or_default().push(wanted);
            }
            ledgers.entry(thread.workload()).or_default().push(ledger);
        }
        (ledgers, wanting)
    }
}

/// The window of one workload. It was given every CPU of the host, whatever its masks and quotas leave it of them.
fn window(host: Host, grown: Sums, ledgers: Vec<Ledger>, Allowed { cpus, quota }: Allowed) -> Window {
    let capacity_ns = host.wall_ns * host.cpus;
    Window {
        times: grown.times,
        on_cpu_ns_by_cpu: grown.on_cpu_ns_by_cpu,
        voluntary: grown.voluntary,
        // A mask can have a CPU on which nothing has run yet.
        cores_in_masks: cpus.map(|cpus| u64::from(cpus).min(host.cpus) as f64),
        physical_cores: host.physical_cores,
        quota,
        idle_ns: host.idle_ns,
        foreign_ns: capacity_ns.saturating_sub(grown.times.on_cpu_ns + host.idle_ns),
        ..Window::of_ledgers(host.wall_ns, host.cpus, ledgers)
    }
}

#[cfg(test)]
mod tests;
