//! Thread records to workloads. Pure, except for the function that reads a process, which the caller passes in.
//!
//! A process is read when it is new, after an `exec`, and once a minute, since its cgroup can change without either. A child
//! that has not called `exec` has its parent's name, so forks alone cost no reading. The number of readings per scan is bounded.

use std::collections::HashMap;

use super::{
    identity::{Identity, Named},
    rules::Rules,
    table::LabelTable,
};
use crate::capture::snapshot::{Snapshot, Tgid, Thread, Tid, WorkloadId};

/// Processes read in one scan at most, the busiest first; the others wait for the next.
pub(crate) const READS_PER_SCAN: usize = 64;
/// Scans after which every process has been read again.
const SCANS_PER_REFRESH: u32 = 240;

/// The processes and their names.
#[derive(Debug)]
pub(crate) struct Scanner {
    rules: Rules,
    table: LabelTable,
    processes: HashMap<Tgid, Process>,
    scans: u32,
}

#[derive(Clone, Debug)]
struct Process {
    named: Named,
    incarnation: Incarnation,
}

/// Changes when a process becomes another program, or another process takes its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Incarnation {
    /// Start of the main thread; 0 while its record is gone and other threads live on.
    start_ns: u64,
    execs: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    incarnation: Incarnation,
    on_cpu_ns: u64,
    first_start_ns: u64,
    parent: u32,
    forked_here: bool,
}

impl Group {
    fn is(&self, known: &Process) -> bool {
        let same_start = self.incarnation.start_ns == 0 || self.incarnation.start_ns == known.incarnation.start_ns;
        same_start && self.incarnation.execs == known.incarnation.execs
    }
}

impl Scanner {
    pub(crate) fn new(rules: Rules, max_names: usize) -> Scanner {
        let table = LabelTable::new(&rules.names(), max_names);
        Scanner { rules, table, processes: HashMap::new(), scans: 0 }
    }

    pub(crate) fn table(&self) -> &LabelTable {
        &self.table
    }

    /// Live processes with the workloads that count them.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (Tgid, WorkloadId)> + '_ {
        self.processes.iter().map(|(tgid, process)| (*tgid, self.table.id(&process.named.name)))
    }

    /// Takes a snapshot in, of any depth. Returns the live threads that belong to another workload than their record says.
    pub(crate) fn scan(&mut self, snapshot: &Snapshot, mut read: impl FnMut(Tgid) -> Option<Identity>) -> Vec<(Tid, WorkloadId)> {
        let threads = &snapshot.threads;
        self.scans = self.scans.wrapping_add(1);
        let groups = groups(threads);
        self.name_processes(&groups, &mut read);
        for thread in &snapshot.released {
            if let Some(process) = self.processes.get(&thread.tgid()) {
                self.table.add_ended(&process.named.name, thread.record.on_cpu_ns);
            }
        }
        self.processes.retain(|tgid, _| groups.contains_key(tgid));
        self.hand_out_numbers(&groups);
        self.moves(threads)
    }

    /// Names every process that is new, has changed or is due.
    fn name_processes(&mut self, groups: &HashMap<Tgid, Group>, read: &mut impl FnMut(Tgid) -> Option<Identity>) {
        let mut due: Vec<(Tgid, Group)> = groups
            .iter()
            .filter(|(tgid, group)| {
                let refresh = tgid.0 % SCANS_PER_REFRESH == self.scans % SCANS_PER_REFRESH;
                refresh || !self.processes.get(tgid).is_some_and(|known| group.is(known))
            })
            .map(|(tgid, group)| (*tgid, *group))
            .collect();
        // Parents before their children, which may take their names from them.
        due.sort_unstable_by_key(|(tgid, group)| (group.first_start_ns, *tgid));
        due.retain(|(tgid, group)| !self.inherits(*tgid, group));
        due.sort_by_key(|(_, group)| std::cmp::Reverse(group.on_cpu_ns));
        for (tgid, group) in due.into_iter().take(READS_PER_SCAN) {
            if let Some(identity) = read(tgid) {
                let named = self.rules.name_of(&identity);
                self.processes.insert(tgid, Process { named, incarnation: group.incarnation });
            }
        }
    }

    /// Gives a new process the name of its parent, if it still runs the parent's program.
    fn inherits(&mut self, tgid: Tgid, group: &Group) -> bool {
        if self.processes.contains_key(&tgid) || !group.forked_here || group.incarnation.execs > 0 {
            return false;
        }
        let Some(parent) = self.processes.get(&Tgid(group.parent)) else { return false };
        let named = parent.named.clone();
        self.processes.insert(tgid, Process { named, incarnation: group.incarnation });
        true
    }

    fn hand_out_numbers(&mut self, groups: &HashMap<Tgid, Group>) {
        let mut live: HashMap<&str, (&Named, u64)> = HashMap::new();
        for (tgid, process) in &self.processes {
            let on_cpu_ns = groups.get(tgid).map_or(0, |group| group.on_cpu_ns);
            live.entry(&process.named.name).or_insert((&process.named, 0)).1 += on_cpu_ns;
        }
        // The busiest first, so the last free number goes to it.
        let mut live: Vec<(&Named, u64)> = live.into_values().collect();
        live.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.name.cmp(&b.0.name)));
        for (named, live_ns) in live {
            self.table.consider(named, live_ns);
        }
    }

    fn moves(&self, threads: &[Thread]) -> Vec<(Tid, WorkloadId)> {
        let live = threads.iter().filter(|thread| !thread.has_ended());
        live.filter_map(|thread| {
            let process = self.processes.get(&thread.tgid())?;
            let id = self.table.id(&process.named.name);
            (id != thread.workload()).then_some((thread.tid(), id))
        })
        .collect()
    }
}

fn groups(threads: &[Thread]) -> HashMap<Tgid, Group> {
    let mut groups: HashMap<Tgid, Group> = HashMap::new();
    for thread in threads.iter().filter(|thread| !thread.has_ended()) {
        let record = &thread.record;
        let group = groups.entry(thread.tgid()).or_insert(Group { first_start_ns: u64::MAX, ..Group::default() });
        group.on_cpu_ns += record.on_cpu_ns;
        group.first_start_ns = group.first_start_ns.min(record.start_ns);
        group.incarnation.execs = group.incarnation.execs.max(record.execs);
        if record.tid == record.tgid {
            group.incarnation.start_ns = record.start_ns;
            group.parent = record.ppid;
            group.forked_here = !thread.was_seeded();
        }
    }
    groups
}

#[cfg(test)]
mod tests;
