//! CPUs that a thread may run on.

use crate::capture::snapshot::{Tgid, Tid};

/// A set of CPU numbers below 1,024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuSet([u64; size_of::<libc::cpu_set_t>() / 8]);

impl CpuSet {
    /// The online CPUs in a thread's mask; `None` if it has ended or the host has more than 1,024 CPUs.
    pub(crate) fn of_thread(tid: Tid) -> Option<CpuSet> {
        let mut set = CpuSet::default();
        let tid = i32::try_from(tid.0).ok()?;
        // SAFETY: the words are valid for writing `cpu_set_t`'s size, which is given, and aligned as it is.
        let status = unsafe { libc::sched_getaffinity(tid, size_of::<CpuSet>(), set.0.as_mut_ptr().cast()) };
        (status == 0).then_some(set)
    }

    /// The same of the main thread of a process.
    pub(crate) fn of_process(tgid: Tgid) -> Option<CpuSet> {
        CpuSet::of_thread(Tid(tgid.0))
    }

    pub(crate) fn add(&mut self, other: &CpuSet) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Their numbers, in order.
    pub(crate) fn cpus(&self) -> impl Iterator<Item = u32> {
        (0..).take(64 * self.0.len()).filter(|cpu| self.has(*cpu as usize))
    }

    fn has(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }
}

/// As the kernel writes it: `0-3,8`.
impl std::fmt::Display for CpuSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut cpu, mut separator) = (0, "");
        while cpu < 64 * self.0.len() {
            let length = (cpu..64 * self.0.len()).take_while(|cpu| self.has(*cpu)).count();
            match length {
                0 => {}
                1 => write!(f, "{separator}{cpu}")?,
                _ => write!(f, "{separator}{cpu}-{}", cpu + length - 1)?,
            }
            if length > 0 {
                separator = ",";
            }
            cpu += length + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
impl FromIterator<usize> for CpuSet {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> CpuSet {
        let mut set = CpuSet::default();
        for cpu in cpus {
            set.0[cpu / 64] |= 1 << (cpu % 64);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_is_known_and_one_of_a_process_that_ended_is_not() {
        let set = CpuSet::of_process(Tgid(std::process::id())).unwrap();
        // The standard library may see fewer, because of a cgroup quota, but never more.
        assert!(set.count() as usize >= std::thread::available_parallelism().unwrap().get());
        let mut union = CpuSet::default();
        union.add(&set);
        union.add(&set);
        assert_eq!(union, set);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(CpuSet::of_process(Tgid(child.id())).is_none());
    }

    proptest! {
        #[test]
        fn a_list_names_each_cpu_once(cpus in prop::collection::btree_set(0_usize..1024, 0..200)) {
            let set: CpuSet = cpus.iter().copied().collect();
            let text = set.to_string();
            let number = |text: &str| text.parse::<usize>().unwrap();
            let ranges = text.split(',').filter(|range| !range.is_empty());
            let named: BTreeSet<usize> = ranges
                .map(|range| range.split_once('-').unwrap_or((range, range)))
                .flat_map(|(from, to)| number(from)..=number(to))
                .collect();
            prop_assert_eq!(&named, &cpus);
            prop_assert_eq!(set.count() as usize, cpus.len());
            prop_assert!(set.cpus().map(|cpu| cpu as usize).eq(cpus));
        }
    }
}
