//! Names to workload numbers. There is a limited number of them, and a name keeps its number.

use std::collections::HashMap;

use super::identity::{self, NameSource, Named};
use crate::capture::snapshot::WorkloadId;

/// The workload of everything without a number of its own.
pub(crate) const OTHER_ID: WorkloadId = WorkloadId(0);
/// Names without a number that are remembered; beyond that, those with the least CPU time are forgotten.
const MAX_CANDIDATES: usize = 1024;
/// CPU time that earns a number while at least half of them are free.
const EARNED_NS: u64 = 100_000_000;

#[derive(Debug)]
pub(crate) struct LabelTable {
    /// By number; `other` has number 0.
    names: Vec<(String, NameSource)>,
    numbers: HashMap<String, WorkloadId>,
    candidates: HashMap<String, Candidate>,
    max_names: usize,
    folded: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    /// CPU time of its threads that have ended.
    ended_ns: u64,
    /// CPU time at the last look, threads alive included.
    used_ns: u64,
    /// Whether it was refused a number, which is counted once.
    folded: bool,
}

impl LabelTable {
    /// A table for at most `max_names` names besides `other`. The names of rules get their numbers now; [`crate::config`]
    /// makes sure that there are enough.
    pub(crate) fn new(rule_names: &[&str], max_names: usize) -> LabelTable {
        let mut table = LabelTable {
            names: vec![(identity::OTHER.to_owned(), NameSource::Other)],
            numbers: HashMap::from([(identity::OTHER.to_owned(), OTHER_ID)]),
            candidates: HashMap::new(),
            max_names,
            folded: 0,
        };
        table.adopt(rule_names);
        table
    }

    /// Gives names of rules that have none a number each. Returns those for which there is none left.
    pub(crate) fn adopt(&mut self, rule_names: &[&str]) -> Vec<String> {
        let mut without = Vec::new();
        for name in rule_names {
            if self.numbers.contains_key(*name) {
                continue;
            }
            if self.has_room() {
                self.candidates.remove(*name);
                self.assign(name, NameSource::Rule);
            } else {
                without.push((*name).to_owned());
            }
        }
        without
    }

    pub(crate) fn id(&self, name: &str) -> WorkloadId {
        self.numbers.get(name).copied().unwrap_or(OTHER_ID)
    }

    /// Adds the CPU time of a thread that has ended to what its name has used.
    pub(crate) fn add_ended(&mut self, name: &str, on_cpu_ns: u64) {
        if !self.numbers.contains_key(name) {
            self.candidate(name).ended_ns += on_cpu_ns;
        }
    }

    /// Gives `named` a number if the CPU time of its live threads and of those that have ended has earned it one.
    pub(crate) fn consider(&mut self, named: &Named, live_ns: u64) -> WorkloadId {
        if let Some(id) = self.numbers.get(&named.name) {
            return *id;
        }
        let needed_ns = self.needed_ns();
        let has_room = self.has_room();
        let candidate = self.candidate(&named.name);
        candidate.used_ns = candidate.ended_ns.saturating_add(live_ns);
        if candidate.used_ns < needed_ns {
            return OTHER_ID;
        }
        if has_room {
            self.candidates.remove(&named.name);
            return self.assign(&named.name, named.source);
        }
        if !candidate.folded {
            candidate.folded = true;
            self.folded += 1;
        }
        OTHER_ID
    }

    /// Every name that has a number, `other` first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkloadId, &str, NameSource)> {
        (0_u32..).zip(&self.names).map(|(id, (name, source))| (WorkloadId(id), name.as_str(), *source))
    }

    /// Names that had earned a number when none was free. A name that was forgotten meanwhile counts again.
    pub(crate) fn folded(&self) -> u64 {
        self.folded
    }

    /// CPU time that earns a number now: ten times as much for the third quarter of the table and a hundred times for the last, so
    /// early small names leave room for those that are busy later.
    fn needed_ns(&self) -> u64 {
        let taken = self.names.len() - 1;
        match taken * 4 / self.max_names.max(1) {
            0 | 1 => EARNED_NS,
            2 => EARNED_NS * 10,
            _ => EARNED_NS * 100,
        }
    }

    fn has_room(&self) -> bool {
        self.names.len() <= self.max_names
    }

    fn assign(&mut self, name: &str, source: NameSource) -> WorkloadId {
        let id = WorkloadId(u32::try_from(self.names.len()).unwrap_or(OTHER_ID.0));
        self.names.push((name.to_owned(), source));
        self.numbers.insert(name.to_owned(), id);
        id
    }

    fn candidate(&mut self, name: &str) -> &mut Candidate {
        if self.candidates.len() >= MAX_CANDIDATES && !self.candidates.contains_key(name) {
            let mut by_use: Vec<(u64, String)> = self.candidates.iter().map(|(name, it)| (it.used_ns, name.clone())).collect();
            by_use.sort_unstable();
            for (_, idle) in by_use.drain(..MAX_CANDIDATES / 2) {
                self.candidates.remove(&idle);
            }
        }
        self.candidates.entry(name.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(name: &str) -> Named {
        Named { name: name.to_owned(), source: NameSource::Executable }
    }

    #[test]
    fn a_name_earns_its_number_with_cpu_time_and_keeps_it() {
        let mut table = LabelTable::new(&["web"], 8);
        assert_eq!(table.id("web"), WorkloadId(1));
        table.add_ended("web", EARNED_NS);
        assert!(table.candidates.is_empty(), "it has its number");
        assert_eq!(table.consider(&named("make"), EARNED_NS - 2), OTHER_ID);
        table.add_ended("make", 1);
        table.add_ended("make", 1);
        assert_eq!(table.consider(&named("make"), EARNED_NS - 2), WorkloadId(2));
        assert!(table.candidates.is_empty(), "it is no candidate any more");
        assert_eq!(table.consider(&named("make"), 0), WorkloadId(2));
        assert_eq!(table.folded(), 0);
    }

    #[test]
    fn names_of_rules_that_come_later_get_numbers_while_there_are_any() {
        let mut table = LabelTable::new(&["web"], 3);
        table.consider(&named("make"), EARNED_NS);
        assert_eq!(table.adopt(&["db", "web", "mail"]), ["mail"]);
        assert_eq!(["web", "make", "db", "mail"].map(|name| table.id(name).0), [1, 2, 3, 0]);
        assert_eq!(table.iter().nth(3).unwrap().2, NameSource::Rule);
    }

    #[test]
    fn a_stream_of_names_does_not_grow_the_table() {
        let mut table = LabelTable::new(&[], 2);
        table.consider(&named("busy"), EARNED_NS / 2);
        for index in 0..10 * MAX_CANDIDATES {
            table.consider(&named(&format!("job-{index}")), 1);
            assert!(table.candidates.len() <= MAX_CANDIDATES);
        }
        assert!(table.candidates.contains_key("busy"), "the busiest candidate is not forgotten");
    }

    #[test]
    fn names_of_rules_have_the_first_numbers_once_each_while_there_are_any() {
        let table = LabelTable::new(&["web", "web", "other", "db", "late"], 2);
        let all: Vec<(u32, &str, NameSource)> = table.iter().map(|(id, name, source)| (id.0, name, source)).collect();
        assert_eq!(all, [(0, "other", NameSource::Other), (1, "web", NameSource::Rule), (2, "db", NameSource::Rule)]);
        assert_eq!([table.id("db"), table.id("late"), table.id("other")], [WorkloadId(2), OTHER_ID, OTHER_ID]);
        let mut none = LabelTable::new(&[], 0);
        assert_eq!((none.consider(&named("a"), u64::MAX), none.folded()), (OTHER_ID, 1));
    }

    #[test]
    fn the_price_of_a_number_rises_with_each_quarter_and_then_names_are_folded_once() {
        let mut table = LabelTable::new(&[], 8);
        for (taken, factor) in [1, 1, 1, 1, 10, 10, 100, 100].into_iter().enumerate() {
            let name = named(&format!("n{taken}"));
            assert_eq!(table.consider(&name, EARNED_NS * factor - 1), OTHER_ID, "{taken} taken");
            assert_ne!(table.consider(&name, EARNED_NS * factor), OTHER_ID, "{taken} taken");
        }
        for _ in 0..3 {
            assert_eq!(table.consider(&named("late"), EARNED_NS * 1000), OTHER_ID);
        }
        assert_eq!(table.folded(), 1);
    }

    proptest! {
        #[test]
        fn numbers_are_distinct_bounded_and_stable(steps in prop::collection::vec((0_u8..40, 0_u64..20 * EARNED_NS), 0..200)) {
            let mut table = LabelTable::new(&["rule"], 8);
            let mut given: HashMap<String, WorkloadId> = HashMap::new();
            for (name, used_ns) in steps {
                let name = format!("n{name}");
                let id = table.consider(&named(&name), used_ns);
                prop_assert_eq!(id, table.id(&name));
                prop_assert!(id.0 <= 8);
                if let Some(before) = given.get(&name) {
                    prop_assert_eq!(*before, id);
                }
                if id != OTHER_ID {
                    prop_assert!(given.iter().all(|(other, theirs)| *theirs != id || *other == name));
                    given.insert(name, id);
                }
            }
            prop_assert_eq!(table.iter().count(), table.names.len());
        }
    }
}
