//! The model of each workload of the daemon's now: what its threads did in the last seconds.

use std::collections::{HashMap, HashSet};

use super::window::{Ledger, Window};
use super::{ModelName, diagnose};
use crate::capture::interpreters::Python;
use crate::capture::snapshot::{Snapshot, Tgid, Thread, Tid, WorkloadId};

/// Shortest window: below it a few switches decide.
const WINDOW_NS: u64 = 2_000_000_000;

/// Names the models of workloads, window by window.
#[derive(Debug, Default)]
pub(crate) struct Live {
    begin_ns: u64,
    /// Each thread at the beginning of the window, by its key.
    before: HashMap<(Tid, u64), Ledger>,
    /// Threads that ended in the open window.
    ended: Vec<Thread>,
    models: HashMap<WorkloadId, ModelName>,
}

impl Live {
    /// Takes a snapshot in; ends the window if it is long enough.
    pub(crate) fn update(&mut self, snapshot: &Snapshot, cores: u32, python: impl Fn(Tgid) -> Option<Python>) {
        self.ended.extend(snapshot.released.iter().cloned());
        let wall_ns = snapshot.taken_ns.saturating_sub(self.begin_ns);
        if wall_ns < WINDOW_NS {
            return;
        }
        if self.begin_ns != 0 {
            let windows = self.ledgers(snapshot, python).into_iter();
            let model = |ledgers| diagnose(&Window::of_ledgers(wall_ns, cores.into(), ledgers)).model;
            self.models = windows.map(|(workload, ledgers)| (workload, model(ledgers))).collect();
        }
        self.begin_ns = snapshot.taken_ns;
        let ledger = |thread| Ledger::of(thread, snapshot.taken_ns, None);
        self.before = snapshot.threads.iter().map(|thread| (thread.key(), ledger(thread))).collect();
        self.ended.clear();
    }

    /// The model of a workload over the last window; idle before the first has ended, and for one without threads.
    pub(crate) fn of(&self, workload: WorkloadId) -> ModelName {
        self.models.get(&workload).copied().unwrap_or(ModelName::Idle)
    }

    /// What the threads of each workload did since the window began.
    fn ledgers(&self, snapshot: &Snapshot, python: impl Fn(Tgid) -> Option<Python>) -> HashMap<WorkloadId, Vec<Ledger>> {
        let mut workloads: HashMap<WorkloadId, Vec<Ledger>> = HashMap::new();
        let mut seen = HashSet::new();
        // A slot freed by this very snapshot is in both lists.
        for thread in snapshot.threads.iter().chain(&self.ended).filter(|thread| seen.insert(thread.key())) {
            let now = Ledger::of(thread, snapshot.taken_ns, python(thread.tgid()));
            let ledger = self.before.get(&thread.key()).map_or_else(|| now.clone(), |before| now.since(before));
            workloads.entry(thread.workload()).or_default().push(ledger);
        }
        workloads
    }
}
