//! Where processes belong from their exec on. Pure.
//!
//! The kernel side asks at each exec for the workload of an [`ExecKey`]. Where it has no answer it opens a provisional workload. Here
//! that gets a name, and what was counted in it is added to the workload that the name leads to, in the same reading that shows it
//! first: nothing was shown elsewhere before, so no total goes down. Once no thread is in a provisional workload any more, its
//! counters are kept here and it is handed back.

use std::collections::{HashMap, HashSet};

use schedscope_ebpf::abi::{Cell, ExecKey, Histogram, Owner, PATH_STEPS};

use super::identity::{HostContainer, Identity, Named};
use super::rules::Rules;
use super::table::{LabelTable, OTHER_ID};
use crate::capture::kernel::MAX_OWNERS;
use crate::capture::snapshot::{ProvisionalWorkload, Snapshot, Thread, Tid, WorkloadId};

/// After this time no program in the kernel has an answer in hand that was replaced.
const GRACE_NS: u64 = 50_000_000;
/// A forked process that has not called exec for so long counts with the one that forked it.
const STAYS_NS: u64 = 1_000_000_000;
/// Programs that are remembered; one more, and those are forgotten that were not met for longest. Less than the kernel side has room
/// for, which adds programs by itself.
const MAX_PROGRAMS: usize = MAX_OWNERS as usize / 4 * 3;

/// What the host knows of the container of a cgroup.
pub(super) type LookUp<'a> = dyn FnMut(&str) -> Option<HostContainer> + 'a;

/// What the kernel side has to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnerOrders {
    /// Where processes belong that exec into this.
    pub(crate) known: Vec<(ExecKey, Owner)>,
    /// Keys to forget.
    pub(crate) forgotten: Vec<ExecKey>,
    /// Threads in provisional workloads, and where they belong unless their process has got another name since its exec.
    pub(crate) moves: Vec<(Tid, WorkloadId)>,
    /// Workloads to hand back: provisional ones, and those whose names have lost them.
    pub(crate) retired: Vec<WorkloadId>,
}

/// Programs that were met at an exec.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// By the number that ends up in the records of their threads.
    programs: HashMap<u16, Program>,
    numbers: HashMap<ExecKey, u16>,
    last_number: u16,
    readings: u64,
    opened: HashMap<WorkloadId, Opened>,
    carried: HashMap<WorkloadId, Carried>,
}

#[derive(Debug)]
struct Program {
    key: ExecKey,
    identity: Identity,
    named: Named,
    /// What the kernel side was told.
    told: Option<WorkloadId>,
    /// The last reading with a thread of it.
    met: u64,
}

/// A provisional workload.
#[derive(Clone, Copy, Debug)]
struct Opened {
    number: u16,
    /// The workload that it is counted in, and since when no exec leads to it; `None` until both are settled.
    settled: Option<(WorkloadId, u64)>,
}

/// What was counted in provisional workloads that have been handed back.
#[derive(Clone, Debug, Default)]
struct Carried {
    cell: Cell,
    on_cpu_ns: Vec<u64>,
}

impl Owners {
    /// Names the programs of new provisional workloads.
    pub(super) fn meet(&mut self, snapshot: &Snapshot, rules: &Rules, look_up: &mut LookUp<'_>) {
        self.readings += 1;
        for provisional in &snapshot.provisional {
            if self.opened.contains_key(&provisional.number) {
                continue;
            }
            let number = self.number_of(provisional, rules, look_up);
            self.opened.insert(provisional.number, Opened { number, settled: None });
        }
        for thread in snapshot.threads.iter().chain(&snapshot.released) {
            let number = self.number(thread);
            if let Some(program) = self.programs.get_mut(&number) {
                program.met = self.readings;
            }
        }
    }

    fn number_of(&mut self, provisional: &ProvisionalWorkload, rules: &Rules, look_up: &mut LookUp<'_>) -> u16 {
        if let Some(number) = self.numbers.get(&provisional.key) {
            // The kernel side has no room for it, or two CPUs met it at once: it is told again.
            if let Some(program) = self.programs.get_mut(number) {
                program.told = None;
            }
            return *number;
        }
        let mut number = self.last_number.wrapping_add(1).max(1);
        while self.programs.contains_key(&number) {
            number = number.wrapping_add(1).max(1);
        }
        self.last_number = number;
        self.numbers.insert(provisional.key, number);
        let mut identity = identity_of(provisional);
        identity.container = look_up(&identity.cgroup);
        let named = rules.name_of(&identity);
        self.programs.insert(number, Program { key: provisional.key, identity, named, told: None, met: self.readings });
        number
    }

    /// Names every program anew. The kernel side is told of those that belong elsewhere now.
    pub(super) fn name_anew(&mut self, rules: &Rules, look_up: &mut LookUp<'_>) {
        for program in self.programs.values_mut() {
            program.identity.container = look_up(&program.identity.cgroup);
            program.named = rules.name_of(&program.identity);
        }
    }

    /// The name of a program.
    pub(super) fn named(&self, number: u16) -> Option<&Named> {
        self.programs.get(&number).map(|program| &program.named)
    }

    /// The number of the program that a thread's process was found to run at its last exec; 0 if that is unknown.
    pub(super) fn number(&self, thread: &Thread) -> u16 {
        self.opened.get(&thread.workload()).map_or(thread.record.identity, |opened| opened.number)
    }

    /// Makes the snapshot one in which nothing is provisional.
    pub(super) fn settle(&mut self, snapshot: &mut Snapshot, table: &LabelTable, now_ns: u64) -> OwnerOrders {
        let mut orders = self.tell(table);
        for opened in self.opened.values_mut().filter(|opened| opened.settled.is_none()) {
            let workload = self.programs.get(&opened.number).map_or(OTHER_ID, |program| table.id(&program.named.name));
            opened.settled = Some((workload, now_ns));
        }
        let occupied: HashSet<WorkloadId> = snapshot.live().map(Thread::workload).collect();
        for provisional in &snapshot.provisional {
            let Some(Opened { settled: Some((workload, since_ns)), .. }) = self.opened.get(&provisional.number).copied() else {
                continue;
            };
            if !occupied.contains(&provisional.number) && snapshot.taken_ns >= since_ns + GRACE_NS {
                self.carried.entry(workload).or_default().add(&provisional.cells);
                orders.retired.push(provisional.number);
            } else if !snapshot.cells.is_empty() {
                for (cells, cell) in snapshot.cells.iter_mut().zip(&provisional.cells) {
                    if let Some(sum) = cells.get_mut(workload.0 as usize) {
                        add(sum, cell);
                    }
                }
            }
        }
        for arrivals in &snapshot.arrivals {
            let (from, to) = (self.final_of(arrivals.from), self.final_of(arrivals.to));
            if from != to {
                self.count_start(to, arrivals.count);
            }
        }
        for thread in &mut snapshot.threads {
            let workload = self.final_of(thread.workload());
            // One that has ended too: it may wait for its parent longer than the provisional workload is kept.
            if workload != thread.workload() {
                orders.moves.push((thread.tid(), workload));
            }
            thread.record.workload = workload.0;
        }
        for thread in &mut snapshot.released {
            thread.record.workload = self.final_of(thread.workload()).0;
        }
        for workload in &orders.retired {
            self.opened.remove(workload);
        }
        if snapshot.are_starts_deferred {
            count_who_stays(snapshot);
        }
        for (workload, carried) in &self.carried {
            carried.add_to(&mut snapshot.cells, *workload);
        }
        orders
    }

    /// Counts processes that came to a workload, with their main threads.
    pub(super) fn count_start(&mut self, workload: WorkloadId, count: u64) {
        let carried = self.carried.entry(workload).or_default();
        carried.cell.processes_started += count;
        carried.cell.threads_started += count;
    }

    /// Whether something provisional is still counted in this workload.
    pub(super) fn lead_to(&self, workload: WorkloadId) -> bool {
        self.opened.values().any(|opened| opened.settled.is_none_or(|(to, _)| to == workload))
    }

    /// Another name will have this workload: it begins with nothing.
    pub(super) fn forget(&mut self, workload: WorkloadId) {
        self.carried.remove(&workload);
    }

    /// The workload that a settled provisional one is counted in; any other one is its own.
    fn final_of(&self, workload: WorkloadId) -> WorkloadId {
        self.opened.get(&workload).and_then(|opened| opened.settled).map_or(workload, |(workload, _)| workload)
    }

    /// What the kernel side has to know about programs: where they belong, if that is new, and which to forget.
    fn tell(&mut self, table: &LabelTable) -> OwnerOrders {
        let mut orders = OwnerOrders::default();
        if self.programs.len() > MAX_PROGRAMS {
            let mut by_age: Vec<(u64, u16)> = self.programs.iter().map(|(number, program)| (program.met, *number)).collect();
            by_age.sort_unstable();
            for (_, number) in by_age.drain(..MAX_PROGRAMS / 4) {
                let Some(program) = self.programs.remove(&number) else { continue };
                self.numbers.remove(&program.key);
                orders.forgotten.push(program.key);
            }
        }
        for (number, program) in &mut self.programs {
            let workload = table.id(&program.named.name);
            if program.told != Some(workload) {
                program.told = Some(workload);
                orders.known.push((program.key, Owner { workload: workload.0, identity: (*number).into() }));
            }
        }
        orders
    }
}

/// A process that was forked a while ago and still runs the same program will hardly call exec: it counts where it is. One that does
/// after all is counted by the kernel side where that leads to.
fn count_who_stays(snapshot: &mut Snapshot) {
    let Snapshot { taken_ns, threads, cells, .. } = snapshot;
    let Some(cells) = cells.first_mut() else { return };
    for thread in threads.iter().filter(|thread| !thread.has_ended() && !thread.was_seeded()) {
        let stays = thread.record.execs == 0 && taken_ns.saturating_sub(thread.record.start_ns) >= STAYS_NS;
        if let Some(cell) = cells.get_mut(thread.workload().0 as usize).filter(|_| stays && thread.record.tid == thread.record.tgid)
        {
            cell.processes_started += 1;
            cell.threads_started += 1;
        }
    }
}

impl Carried {
    fn add(&mut self, cells: &[Cell]) {
        self.on_cpu_ns.resize(cells.len().max(self.on_cpu_ns.len()), 0);
        for (cell, on_cpu_ns) in cells.iter().zip(&mut self.on_cpu_ns) {
            *on_cpu_ns += cell.on_cpu_ns;
            add(&mut self.cell, &Cell { on_cpu_ns: 0, ..*cell });
        }
    }

    /// Of all counters, only time on a CPU is shown by CPU.
    fn add_to(&self, cells: &mut [Vec<Cell>], workload: WorkloadId) {
        let mut of_workload: Vec<&mut Cell> = cells.iter_mut().filter_map(|cells| cells.get_mut(workload.0 as usize)).collect();
        for (cell, on_cpu_ns) in of_workload.iter_mut().zip(&self.on_cpu_ns) {
            cell.on_cpu_ns += on_cpu_ns;
        }
        if let Some(cell) = of_workload.first_mut() {
            add(cell, &self.cell);
        }
    }
}

/// Adds what was counted in another cell.
fn add(sum: &mut Cell, part: &Cell) {
    let Cell {
        on_cpu_ns,
        wakeup_wait_ns,
        preempt_wait_ns,
        transit_ns,
        gil_transit_ns,
        voluntary,
        preempted,
        yielded,
        blocked_ns,
        migrations,
        threads_started,
        processes_started,
        gil_handoffs,
        timeslice,
        wakeup_latency,
        preemption_wait,
        unobserved_wait_ns,
    } = part;
    sum.on_cpu_ns += on_cpu_ns;
    sum.wakeup_wait_ns += wakeup_wait_ns;
    sum.preempt_wait_ns += preempt_wait_ns;
    sum.transit_ns += transit_ns;
    sum.gil_transit_ns += gil_transit_ns;
    sum.voluntary += voluntary;
    sum.preempted += preempted;
    sum.yielded += yielded;
    add_each(&mut sum.blocked_ns, blocked_ns);
    for (sum, part) in sum.migrations.iter_mut().zip(migrations) {
        add_each(sum, part);
    }
    sum.threads_started += threads_started;
    sum.processes_started += processes_started;
    sum.gil_handoffs += gil_handoffs;
    let histograms = [&mut sum.timeslice, &mut sum.wakeup_latency, &mut sum.preemption_wait];
    for (sum, part) in histograms.into_iter().zip([timeslice, wakeup_latency, preemption_wait]) {
        let Histogram { sum_ns, max_ns, counts } = part;
        sum.sum_ns += sum_ns;
        sum.max_ns = sum.max_ns.max(*max_ns);
        add_each(&mut sum.counts, counts);
    }
    sum.unobserved_wait_ns += unobserved_wait_ns;
}

fn add_each(sums: &mut [u64], parts: &[u64]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part;
    }
}

fn identity_of(provisional: &ProvisionalWorkload) -> Identity {
    let comm = &provisional.key.comm;
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    Identity {
        comm: String::from_utf8_lossy(&comm[..end]).into_owned(),
        exe: Some(path_of(&names_of(&provisional.key.exe))),
        cgroup: cgroup_of(&*provisional.cgroup),
        ..Identity::default()
    }
}

/// The path of a cgroup; empty if the kernel side has not come to its beginning, since that says who has named the rest. The next scan reads
/// it from `/proc`.
fn cgroup_of(bytes: &[u8]) -> String {
    let names = names_of(bytes);
    let length: usize = names.iter().map(|name| name.len() + 1).sum();
    if length < bytes.len() && names.len() < PATH_STEPS as usize { path_of(&names) } else { String::new() }
}

/// The names of a path from its end on, see [`ExecKey`].
fn names_of(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|byte| *byte == 0).take_while(|name| !name.is_empty()).collect()
}

fn path_of(names: &[&[u8]]) -> String {
    let mut path = String::new();
    for name in names.iter().rev() {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(name));
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests;
