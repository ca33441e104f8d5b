//! Thread records to workloads. Pure, except for the function that reads a process, which the caller passes in.
//!
//! What a process execs is known from the kernel side ([`super::owners`]). It is read nevertheless when it is new and after an `exec`,
//! since it may have renamed itself, and once a minute, since its cgroup can change. A child that has not called `exec` has its
//! parent's name, so forks alone cost no reading. The number of readings per scan is bounded.

use std::collections::{HashMap, HashSet};

use super::containers::Containers;
use super::identity::{Identity, Named};
use super::owners::{OwnerOrders, Owners};
use super::rules::Rules;
use super::table::LabelTable;
use crate::capture::snapshot::{Snapshot, Tgid, Thread, Tid, WorkloadId};

/// Processes read in one scan at most, the busiest first; the others wait for the next.
pub(crate) const READS_PER_SCAN: usize = 64;
/// Scans after which every process has been read again.
const SCANS_PER_REFRESH: u32 = 240;
/// A number that a name has lost is given out again after this time at the earliest. Much longer than a hook takes that has looked up the
/// workload of a thread before the thread was moved, and than a window of [`crate::diagnose::live`]: what they count must not be the next
/// name's.
const ENDING_NS: u64 = 5_000_000_000;

/// The processes and their names.
#[derive(Debug)]
pub(crate) struct Scanner {
    rules: Rules,
    containers: Containers,
    table: LabelTable,
    owners: Owners,
    processes: HashMap<Tgid, Process>,
    scans: u32,
}

#[derive(Clone, Debug)]
struct Process {
    named: Named,
    incarnation: Incarnation,
    /// False while its name is that of the program that it was forked with or has called exec for.
    is_read: bool,
    /// It was given this name just now, and the kernel side could not know it at the exec and count it there.
    is_uncounted: bool,
    /// The rules have changed since it was named, or what is known of it.
    is_outdated: bool,
}

/// A thread that belongs to another workload than its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) tid: Tid,
    pub(crate) to: WorkloadId,
    /// The process that comes to the workload with it, if it is not counted there yet. Any thread that goes on will do: while one calls
    /// exec the others end, the main thread too.
    pub(crate) start_of: Option<Tgid>,
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
    /// Number of the program that it execed, 0 if unknown.
    program: u16,
}

impl Group {
    fn is(&self, known: &Process) -> bool {
        let same_start = self.incarnation.start_ns == 0 || self.incarnation.start_ns == known.incarnation.start_ns;
        same_start && self.incarnation.execs == known.incarnation.execs
    }
}

impl Scanner {
    pub(crate) fn new(rules: Rules, containers: Containers, max_names: usize) -> Scanner {
        let table = LabelTable::new(&rules.names(), max_names);
        Scanner { rules, containers, table, owners: Owners::default(), processes: HashMap::new(), scans: 0 }
    }

    pub(crate) fn table(&self) -> &LabelTable {
        &self.table
    }

    /// Live processes with the workloads that count them.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (Tgid, WorkloadId)> + '_ {
        self.processes.iter().map(|(tgid, process)| (*tgid, self.table.id(&process.named.name)))
    }

    /// Takes a snapshot in, of any depth. Returns the live threads that belong to another workload than their record says.
    pub(crate) fn scan(&mut self, snapshot: &Snapshot, mut read: impl FnMut(Tgid) -> Option<Identity>) -> Vec<Move> {
        let threads = &snapshot.threads;
        self.scans = self.scans.wrapping_add(1);
        if self.containers.look_again(snapshot.taken_ns) {
            self.name_all_anew(snapshot.taken_ns);
        }
        let containers = &mut self.containers;
        self.owners.meet(snapshot, &self.rules, &mut |cgroup| containers.look_up(cgroup, snapshot.taken_ns));
        let groups = self.groups(threads);
        self.name_processes(&groups, &mut read, snapshot.taken_ns);
        let ended = self.count_ended(&snapshot.released);
        self.processes.retain(|tgid, _| groups.contains_key(tgid));
        self.table.turn_over(snapshot.taken_ns);
        self.hand_out_numbers(&groups, &ended, snapshot.taken_ns);
        self.moves(threads)
    }

    /// Makes a snapshot that was scanned one in which no workload is provisional. Returns what the kernel side has to be told, which the
    /// caller does at once.
    pub(crate) fn settle(&mut self, snapshot: &mut Snapshot, now_ns: u64) -> OwnerOrders {
        let occupied: HashSet<WorkloadId> = snapshot.live().map(Thread::workload).collect();
        let mut orders = self.owners.settle(snapshot, &self.table, now_ns);
        let is_over = |(id, since_ns): &(WorkloadId, u64)| {
            snapshot.taken_ns >= since_ns + ENDING_NS && !occupied.contains(id) && !self.owners.lead_to(*id)
        };
        let over: Vec<WorkloadId> = self.table.ending().filter(is_over).map(|(id, _)| id).collect();
        for id in over {
            self.table.free(id);
            self.owners.forget(id);
            orders.retired.push(id);
        }
        orders
    }

    /// Takes other rules. What was counted stays where it is; processes move to their new names as they are read, a bounded number in each
    /// scan. Returns the names for which there is no number left.
    pub(crate) fn adopt(&mut self, rules: Rules, now_ns: u64) -> Vec<String> {
        let without = self.table.adopt(&rules.names(), now_ns);
        self.rules = rules;
        self.name_all_anew(now_ns);
        without
    }

    fn name_all_anew(&mut self, now_ns: u64) {
        let containers = &mut self.containers;
        self.owners.name_anew(&self.rules, &mut |cgroup| containers.look_up(cgroup, now_ns));
        for process in self.processes.values_mut() {
            process.is_outdated = true;
        }
    }

    /// More is known of a process than when it was read: the next scan names it anew.
    pub(crate) fn name_anew(&mut self, tgid: Tgid) {
        if let Some(process) = self.processes.get_mut(&tgid) {
            process.is_outdated = true;
        }
    }

    /// A process has come to this workload without an exec that led there.
    pub(crate) fn count_start(&mut self, workload: WorkloadId) {
        self.owners.count_start(workload, 1);
    }

    /// Adds the CPU time of threads that have ended to what their names have used. Returns these names.
    fn count_ended(&mut self, released: &[Thread]) -> Vec<Named> {
        let mut ended = Vec::new();
        for thread in released {
            let process = self.processes.get(&thread.tgid()).map(|process| &process.named);
            let Some(named) = process.or_else(|| self.owners.named(self.owners.number(thread))) else { continue };
            self.table.add_ended(&named.name, thread.record.on_cpu_ns);
            if !ended.contains(named) {
                ended.push(named.clone());
            }
        }
        ended
    }

    fn groups(&self, threads: &[Thread]) -> HashMap<Tgid, Group> {
        let mut groups: HashMap<Tgid, Group> = HashMap::new();
        let live = || threads.iter().filter(|thread| !thread.has_ended());
        // Those that go on come last, since what they say is what holds: an exec ends the main thread, and another becomes it.
        for thread in live().filter(|thread| thread.is_ending()).chain(live().filter(|thread| !thread.is_ending())) {
            let record = &thread.record;
            let group = groups.entry(thread.tgid()).or_insert(Group { first_start_ns: u64::MAX, ..Group::default() });
            group.program = self.owners.number(thread);
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

    /// Names every process that is new, has changed or is due.
    fn name_processes(&mut self, groups: &HashMap<Tgid, Group>, read: &mut impl FnMut(Tgid) -> Option<Identity>, now_ns: u64) {
        for (tgid, group) in groups.iter().filter(|(_, group)| group.incarnation.execs > 0) {
            let Some(named) = self.owners.named(group.program) else { continue };
            if !self.processes.get(tgid).is_some_and(|known| group.is(known)) {
                let (named, incarnation) = (named.clone(), group.incarnation);
                let process = Process { named, incarnation, is_read: false, is_uncounted: false, is_outdated: false };
                self.processes.insert(*tgid, process);
            }
        }
        let mut due: Vec<(Tgid, Group)> = groups
            .iter()
            .filter(|(tgid, group)| {
                let refresh = tgid.0 % SCANS_PER_REFRESH == self.scans % SCANS_PER_REFRESH;
                let is_known =
                    |known: &Process| group.is(known) && !known.is_outdated && (known.is_read || group.incarnation.execs == 0);
                refresh || !self.processes.get(tgid).is_some_and(is_known)
            })
            .map(|(tgid, group)| (*tgid, *group))
            .collect();
        // Parents before their children, which may take their names from them.
        due.sort_unstable_by_key(|(tgid, group)| (group.first_start_ns, *tgid));
        due.retain(|(tgid, group)| !self.inherits(*tgid, group));
        due.sort_by_key(|(_, group)| std::cmp::Reverse(group.on_cpu_ns));
        for (tgid, group) in due.into_iter().take(READS_PER_SCAN) {
            if let Some(mut identity) = read(tgid) {
                identity.container = self.containers.look_up(&identity.cgroup, now_ns);
                let named = self.rules.name_of(&identity);
                let known = self.processes.get(&tgid).filter(|known| group.is(known));
                let is_counted = known.is_some_and(|known| known.named.name == named.name);
                let is_uncounted = !is_counted && group.forked_here && group.incarnation.execs > 0;
                let process = Process { named, incarnation: group.incarnation, is_read: true, is_uncounted, is_outdated: false };
                self.processes.insert(tgid, process);
            }
        }
    }

    /// Gives a new process the name of its parent, if it still runs the parent's program.
    fn inherits(&mut self, tgid: Tgid, group: &Group) -> bool {
        if self.processes.contains_key(&tgid) || !group.forked_here || group.incarnation.execs > 0 {
            return false;
        }
        let Some(parent) = self.processes.get(&Tgid(group.parent)) else { return false };
        let (named, is_outdated) = (parent.named.clone(), parent.is_outdated);
        let process = Process { named, incarnation: group.incarnation, is_read: false, is_uncounted: false, is_outdated };
        self.processes.insert(tgid, process);
        true
    }

    fn hand_out_numbers(&mut self, groups: &HashMap<Tgid, Group>, ended: &[Named], now_ns: u64) {
        let on_cpu_ns = |tgid: &Tgid| groups.get(tgid).map_or(0, |group| group.on_cpu_ns);
        let live = self.processes.iter().map(|(tgid, process)| (&process.named, on_cpu_ns(tgid)));
        self.table.look(live.chain(ended.iter().map(|named| (named, 0))), now_ns);
    }

    fn moves(&mut self, threads: &[Thread]) -> Vec<Move> {
        let mut moves = Vec::new();
        for thread in threads.iter().filter(|thread| !thread.has_ended()) {
            let Some(process) = self.processes.get(&thread.tgid()) else { continue };
            let to = self.table.id(&process.named.name);
            if to != thread.workload() {
                moves.push(Move { tid: thread.tid(), to, start_of: process.is_uncounted.then_some(thread.tgid()) });
            }
        }
        for process in self.processes.values_mut() {
            process.is_uncounted = false;
        }
        moves
    }
}

#[cfg(test)]
mod tests;
