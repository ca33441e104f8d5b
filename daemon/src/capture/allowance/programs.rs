//! The same of many programs at once, window by window, for as long as the daemon runs.
//!
//! What a look costs is bounded, however many processes there are: a process takes twenty microseconds, a thread a fifth of one. So a
//! look takes a millisecond and a half, of each window of two seconds.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::CpuSet;
use super::hierarchy::Hierarchies;
use super::quota::{GROUPS_MAX, Quota, Usage, quota_since};
use crate::capture::snapshot::{Tgid, Tid, WorkloadId};

/// Processes whose groups are looked at, of all programs: the busiest of each, then the second busiest of each, and so on.
const PROCESSES_AT_ONCE: usize = 64;
/// Threads whose masks are looked at, of each program: the busiest.
const THREADS_OF_EACH: usize = 16;

/// A live thread, and how long it wanted a CPU in the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanting {
    pub(crate) tid: Tid,
    pub(crate) tgid: Tgid,
    pub(crate) wanted_ns: u64,
}

/// What the kernel let a program use in a window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    /// Number of CPUs in the masks of those threads that wanted one; `None` if none was seen.
    pub(crate) cpus: Option<u32>,
    /// The quota that let it wait longest, if any did, with what became of it since the last look at its group.
    pub(crate) quota: Option<Quota>,
}

#[derive(Debug)]
pub(crate) struct Allowances {
    hierarchies: Hierarchies,
    /// What the counters of each group were at the last look at it. A group that is not looked at in between is not forgotten: its
    /// processes may have been idle.
    before: HashMap<PathBuf, Usage>,
}

impl Allowances {
    pub(crate) fn new() -> Allowances {
        Allowances { hierarchies: Hierarchies::mounted(), before: HashMap::new() }
    }

    /// Looks at the busiest threads and processes of each program.
    pub(crate) fn look(&mut self, programs: &BTreeMap<WorkloadId, Vec<Wanting>>) -> HashMap<WorkloadId, Allowed> {
        let masks = programs.iter().map(|(program, threads)| (*program, Allowed { cpus: cpus_in_masks(threads), quota: None }));
        let mut allowed: HashMap<WorkloadId, Allowed> = masks.collect();
        let processes: Vec<(WorkloadId, Vec<Tgid>)> =
            programs.iter().map(|(program, threads)| (*program, busiest_processes(threads))).collect();
        let mut groups: HashMap<PathBuf, Option<(Quota, Usage)>> = HashMap::new();
        for (program, process) in in_turn(&processes, PROCESSES_AT_ONCE) {
            for (version, directory) in self.hierarchies.groups_of(process) {
                if groups.len() >= GROUPS_MAX && !groups.contains_key(&directory) {
                    continue;
                }
                let read = |directory: &PathBuf| quota_since(version, directory, self.before.get(directory));
                let Some((quota, _)) = groups.entry(directory).or_insert_with_key(read) else { continue };
                let binding = &mut allowed.entry(program).or_default().quota;
                let worst_ns = binding.as_ref().map_or(0, |worst| worst.usage.throttled_ns);
                if quota.usage.throttled_periods > 0 && (binding.is_none() || quota.usage.throttled_ns > worst_ns) {
                    *binding = Some(quota.clone());
                }
            }
        }
        if self.before.len() > GROUPS_MAX {
            self.before.retain(|directory, _| groups.contains_key(directory));
        }
        self.before.extend(groups.into_iter().filter_map(|(directory, group)| Some((directory, group?.1))));
        allowed
    }
}

fn cpus_in_masks(threads: &[Wanting]) -> Option<u32> {
    let mut wanting: Vec<&Wanting> = threads.iter().filter(|thread| thread.wanted_ns > 0).collect();
    wanting.sort_unstable_by_key(|thread| std::cmp::Reverse(thread.wanted_ns));
    let mut together = CpuSet::default();
    for mask in wanting.iter().take(THREADS_OF_EACH).filter_map(|thread| CpuSet::of_thread(thread.tid)) {
        together.add(&mask);
    }
    Some(together.count()).filter(|count| *count > 0)
}

/// Idle ones too, so that their groups' counters are known when they begin to work.
fn busiest_processes(threads: &[Wanting]) -> Vec<Tgid> {
    let mut wanted_ns: BTreeMap<Tgid, u64> = BTreeMap::new();
    for thread in threads {
        *wanted_ns.entry(thread.tgid).or_default() += thread.wanted_ns;
    }
    let mut processes: Vec<Tgid> = wanted_ns.keys().copied().collect();
    processes.sort_by_key(|process| std::cmp::Reverse(wanted_ns[process]));
    processes
}

/// The first of each list, then the second of each, and so on; so many at most.
fn in_turn<K: Copy, V: Copy>(lists: &[(K, Vec<V>)], at_most: usize) -> Vec<(K, V)> {
    let longest = lists.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    let turn = |place: usize| lists.iter().filter_map(move |(key, values)| Some((*key, *values.get(place)?)));
    (0..longest).flat_map(turn).take(at_most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(tid: u32, process: u32, wanted_ns: u64) -> Wanting {
        Wanting { tid: Tid(tid), tgid: Tgid(process), wanted_ns }
    }

    #[test]
    fn every_program_has_its_turn_before_any_has_its_second() {
        let lists = [('a', vec![1, 2, 3]), ('b', vec![]), ('c', vec![7, 8])];
        assert_eq!(in_turn(&lists, 4), [('a', 1), ('c', 7), ('a', 2), ('c', 8)]);
        assert_eq!(in_turn(&lists, 99).len(), 5);
    }

    #[test]
    fn the_busiest_process_comes_first_and_the_idle_ones_last() {
        let threads = [thread(1, 1, 0), thread(20, 20, 5), thread(21, 20, 5), thread(30, 30, 9), thread(4, 4, 0)];
        assert_eq!(busiest_processes(&threads), [20, 30, 1, 4].map(Tgid));
    }

    #[test]
    fn masks_are_those_of_threads_that_wanted_a_cpu() {
        let own = Tid(std::process::id());
        let expected = CpuSet::of_thread(own).unwrap().count();
        assert_eq!(cpus_in_masks(&[thread(own.0, 1, 1)]), Some(expected));
        assert_eq!(cpus_in_masks(&[thread(own.0, 1, 0)]), None);
    }

    #[test]
    fn a_program_that_is_gone_is_survived() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = thread(child.id(), child.id(), 1);
        child.wait().unwrap();
        let mut allowances = Allowances::new();
        let allowed = allowances.look(&BTreeMap::from([(WorkloadId(3), vec![gone])]));
        assert!(allowed[&WorkloadId(3)].cpus.is_none() && allowed[&WorkloadId(3)].quota.is_none());
        assert!(allowances.look(&BTreeMap::new()).is_empty());
    }
}
