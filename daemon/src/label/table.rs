//! Names to workload numbers. There is a limited number of them: a name gets one when it has computed enough, and loses it when it has been
//! gone for a while, or when another computes much more than it does.
//!
//! A name that has lost its number is counted in `other` from then on. The number is given out again once nothing is counted under it any
//! more ([`LabelTable::free`]).

use std::collections::{HashMap, VecDeque};

use super::identity::{self, NameSource, Named, Origin};
use crate::capture::snapshot::WorkloadId;

/// The workload of everything without a number of its own.
pub(crate) const OTHER_ID: WorkloadId = WorkloadId(0);
/// Names without a number that are remembered; beyond that, those with the least CPU time are forgotten.
const MAX_CANDIDATES: usize = 1024;
/// CPU time that earns a number while at least half of them are free.
const EARNED_NS: u64 = 100_000_000;
/// A name that has had no process for so long loses its number. Prometheus takes a series for ended when it is absent for as long.
const GONE_NS: u64 = 300_000_000_000;
/// The same while another name waits for a number: by then the last of it has been scraped.
const GONE_IF_WANTED_NS: u64 = 60_000_000_000;
/// A name whose processes live keeps its number for at least so long: each change costs a hundred new series.
const HELD_NS: u64 = 300_000_000_000;
/// Then it loses the number to one that computes so many times as much.
const MUCH_MORE: f64 = 4.0;
/// What was computed so long ago counts half of what is computed now.
const HALF_LIFE_NS: f64 = 60e9;

#[derive(Debug)]
pub(crate) struct LabelTable {
    /// By number; `other` has number 0.
    slots: Vec<Slot>,
    numbers: HashMap<String, WorkloadId>,
    uses: HashMap<String, Use>,
    /// Names of rules that get the next numbers.
    waiting: VecDeque<String>,
    max_names: usize,
    last_key: u64,
    folded: u64,
    ended: u64,
}

#[derive(Debug)]
enum Slot {
    Free,
    Held(Holder),
    /// Its name has lost it, at a moment of the snapshots' clock.
    Ending(u64),
}

#[derive(Debug)]
struct Holder {
    name: String,
    source: NameSource,
    /// What all its processes have in common, or had when it had any last.
    origin: Origin,
    key: u64,
    /// When it got the number.
    since_ns: u64,
    /// When a process of it was there last.
    present_ns: u64,
    /// By a rule.
    is_kept: bool,
}

/// What a name has computed.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    /// CPU time of its threads that have ended.
    ended_ns: u64,
    /// CPU time at the last look, threads alive included.
    used_ns: u64,
    /// The same, the older the less, at [`Self::looked_ns`].
    recent_ns: f64,
    looked_ns: u64,
    /// Whether it was refused a number, which is counted once.
    folded: bool,
}

/// A name that has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) id: WorkloadId,
    /// Unlike the number, never given out again.
    pub(crate) key: u64,
    pub(crate) name: &'a str,
    pub(crate) source: NameSource,
    pub(crate) origin: &'a Origin,
    /// When it got the number, by the clock of the snapshots; 0 for those of the beginning.
    pub(crate) since_ns: u64,
}

impl LabelTable {
    /// A table for at most `max_names` names besides `other`. The names of rules get their numbers now; [`crate::config`]
    /// makes sure that there are enough.
    pub(crate) fn new(rule_names: &[&str], max_names: usize) -> LabelTable {
        let other = Holder {
            name: identity::OTHER.to_owned(),
            source: NameSource::Other,
            origin: Origin::default(),
            key: 0,
            since_ns: 0,
            present_ns: 0,
            is_kept: true,
        };
        let mut table = LabelTable {
            slots: vec![Slot::Held(other)],
            numbers: HashMap::from([(identity::OTHER.to_owned(), OTHER_ID)]),
            uses: HashMap::new(),
            waiting: VecDeque::new(),
            max_names,
            last_key: 0,
            folded: 0,
            ended: 0,
        };
        table.adopt(rule_names, 0);
        table
    }

    /// Gives names of rules that have none a number each, and takes some from others for that. Returns those for which there is none.
    pub(crate) fn adopt(&mut self, rule_names: &[&str], now_ns: u64) -> Vec<String> {
        self.waiting.clear();
        for (_, holder) in self.holders_mut() {
            holder.is_kept = holder.source == NameSource::Other || rule_names.contains(&holder.name.as_str());
        }
        let mut without = Vec::new();
        // Those that come free soon.
        let mut coming = self.slots.iter().filter(|slot| matches!(slot, Slot::Ending(_))).count();
        for name in rule_names {
            if self.numbers.contains_key(*name) || self.waiting.iter().any(|waiting| waiting == name) {
                continue;
            }
            if let Some(id) = self.room() {
                self.assign(id, Named::of_rule(name), now_ns);
                continue;
            }
            if coming > 0 {
                coming -= 1;
            } else if let Some(least) = self.least(now_ns, |_, _| true) {
                self.end(least, now_ns);
            } else {
                without.push((*name).to_owned());
                continue;
            }
            self.waiting.push_back((*name).to_owned());
        }
        without
    }

    pub(crate) fn id(&self, name: &str) -> WorkloadId {
        self.numbers.get(name).copied().unwrap_or(OTHER_ID)
    }

    /// Adds the CPU time of a thread that has ended to what its name has used.
    pub(crate) fn add_ended(&mut self, name: &str, on_cpu_ns: u64) {
        self.use_of(name).ended_ns += on_cpu_ns;
    }

    /// There are processes of these names, or were until now; with the CPU time of the threads that live. Gives numbers to names that have
    /// earned one, whoever computes most first.
    pub(crate) fn look<'a>(&mut self, processes: impl Iterator<Item = (&'a Named, u64)>, now_ns: u64) {
        let mut seen: HashMap<&str, (Named, u64)> = HashMap::new();
        for (named, live_ns) in processes {
            let (all, all_ns) = seen.entry(&named.name).or_insert_with(|| (named.clone(), 0));
            all.origin.keep_common(&named.origin);
            *all_ns += live_ns;
        }
        let mut candidates: Vec<(f64, Named)> = Vec::new();
        for (named, live_ns) in seen.into_values() {
            let use_of = self.use_of(&named.name);
            use_of.grow_to(use_of.ended_ns.saturating_add(live_ns), now_ns);
            let Use { used_ns, recent_ns, .. } = *use_of;
            let id = self.id(&named.name);
            match self.slots.get_mut(id.0 as usize) {
                Some(Slot::Held(holder)) if holder.name == named.name => {
                    (holder.present_ns, holder.origin) = (now_ns, named.origin);
                }
                _ if used_ns >= EARNED_NS => candidates.push((recent_ns, named)),
                _ => {}
            }
        }
        candidates.sort_unstable_by(|(one_ns, one), (other_ns, other)| {
            other_ns.total_cmp(one_ns).then_with(|| one.name.cmp(&other.name))
        });
        for (recent_ns, named) in candidates {
            self.consider(named, recent_ns, now_ns);
        }
    }

    /// Gives a number to a name that has earned one. Where there is none, another name may lose its own for that.
    fn consider(&mut self, named: Named, recent_ns: f64, now_ns: u64) {
        let needed_ns = self.needed_ns(now_ns);
        let room = self.room();
        let use_of = self.use_of(&named.name);
        if use_of.used_ns < needed_ns {
            return;
        }
        let was_folded = std::mem::replace(&mut use_of.folded, room.is_none());
        if let Some(id) = room {
            self.assign(id, named, now_ns);
            return;
        }
        self.folded += u64::from(!was_folded);
        // One at a time: the number that comes free may be for this name.
        if !self.slots.iter().any(|slot| matches!(slot, Slot::Ending(_))) {
            let is_small = |holder: &Holder, its_recent_ns: f64| {
                now_ns.saturating_sub(holder.since_ns) >= HELD_NS && its_recent_ns * MUCH_MORE <= recent_ns
            };
            let gone = self.gone_longest(now_ns, GONE_IF_WANTED_NS);
            if let Some(id) = gone.or_else(|| self.least(now_ns, is_small)) {
                self.end(id, now_ns);
            }
        }
    }

    /// Takes numbers from names that have been gone for long, and gives free ones to names of rules that wait.
    pub(crate) fn turn_over(&mut self, now_ns: u64) {
        while let Some(id) = self.gone_longest(now_ns, GONE_NS) {
            self.end(id, now_ns);
        }
        while let Some((id, name)) = self.room().and_then(|id| Some((id, self.waiting.pop_front()?))) {
            if !self.numbers.contains_key(&name) {
                self.assign(id, Named::of_rule(&name), now_ns);
            }
        }
    }

    /// Numbers that names have lost, and when. They are kept back until they are free.
    pub(crate) fn ending(&self) -> impl Iterator<Item = (WorkloadId, u64)> {
        ids().zip(&self.slots).filter_map(|(id, slot)| match slot {
            Slot::Ending(since_ns) => Some((id, *since_ns)),
            Slot::Free | Slot::Held(_) => None,
        })
    }

    /// Nothing is counted under this number any more: another name can have it.
    pub(crate) fn free(&mut self, id: WorkloadId) {
        if let Some(slot @ Slot::Ending(_)) = self.slots.get_mut(id.0 as usize) {
            *slot = Slot::Free;
        }
    }

    /// Every name that has a number, `other` first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.holders().map(|(id, Holder { name, source, origin, key, since_ns, .. })| Entry {
            id,
            key: *key,
            name,
            source: *source,
            origin,
            since_ns: *since_ns,
        })
    }

    /// Names that had earned a number when none was free. A name that was forgotten meanwhile counts again.
    pub(crate) fn folded(&self) -> u64 {
        self.folded
    }

    /// Names that have lost their numbers.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// CPU time that earns a number now: ten times as much for the third quarter of the table and a hundred times for the last, so
    /// early small names leave room for those that are busy later. A name that is gone does not count.
    fn needed_ns(&self, now_ns: u64) -> u64 {
        let is_there = |holder: &Holder| holder.is_kept || now_ns.saturating_sub(holder.present_ns) < GONE_IF_WANTED_NS;
        let taken = self.holders().filter(|(_, holder)| is_there(holder)).count() - 1;
        match taken * 4 / self.max_names.max(1) {
            0 | 1 => EARNED_NS,
            2 => EARNED_NS * 10,
            _ => EARNED_NS * 100,
        }
    }

    /// The lowest free number.
    fn room(&self) -> Option<WorkloadId> {
        let free = ids().zip(&self.slots).find(|(_, slot)| matches!(slot, Slot::Free)).map(|(id, _)| id);
        free.or_else(|| ids().nth(self.slots.len()).filter(|_| self.slots.len() <= self.max_names))
    }

    fn assign(&mut self, id: WorkloadId, Named { name, source, origin }: Named, now_ns: u64) {
        self.last_key += 1;
        self.numbers.insert(name.clone(), id);
        let held = Slot::Held(Holder {
            name,
            source,
            origin,
            key: self.last_key,
            since_ns: now_ns,
            present_ns: now_ns,
            is_kept: source == NameSource::Rule,
        });
        match self.slots.get_mut(id.0 as usize) {
            Some(slot) => *slot = held,
            None => self.slots.push(held),
        }
    }

    fn end(&mut self, id: WorkloadId, now_ns: u64) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        if let Slot::Held(holder) = std::mem::replace(slot, Slot::Ending(now_ns)) {
            self.numbers.remove(&holder.name);
            self.ended += 1;
        }
    }

    fn holders(&self) -> impl Iterator<Item = (WorkloadId, &Holder)> {
        ids().zip(&self.slots).filter_map(|(id, slot)| match slot {
            Slot::Held(holder) => Some((id, holder)),
            Slot::Free | Slot::Ending(_) => None,
        })
    }

    fn holders_mut(&mut self) -> impl Iterator<Item = (WorkloadId, &mut Holder)> {
        ids().zip(&mut self.slots).filter_map(|(id, slot)| match slot {
            Slot::Held(holder) => Some((id, holder)),
            Slot::Free | Slot::Ending(_) => None,
        })
    }

    /// Of the names without a process for at least so long, the one that has been gone for longest.
    fn gone_longest(&self, now_ns: u64, gone_ns: u64) -> Option<WorkloadId> {
        let is_gone = |holder: &Holder| !holder.is_kept && now_ns.saturating_sub(holder.present_ns) >= gone_ns;
        let gone = self.holders().filter(|(_, holder)| is_gone(holder));
        gone.min_by_key(|(_, holder)| holder.present_ns).map(|(id, _)| id)
    }

    /// Of the names that no rule keeps and that fit, the one that has computed least of late.
    fn least(&self, now_ns: u64, fits: impl Fn(&Holder, f64) -> bool) -> Option<WorkloadId> {
        let recent_ns = |holder: &Holder| self.uses.get(&holder.name).map_or(0.0, |use_of| use_of.recent_ns(now_ns));
        let others = self.holders().filter(|(_, holder)| !holder.is_kept);
        let all = others.map(|(id, holder)| (id, holder, recent_ns(holder)));
        let fitting = all.filter(|(_, holder, recent_ns)| fits(holder, *recent_ns));
        let least = fitting.min_by(|(.., one), (.., other)| one.total_cmp(other));
        least.map(|(id, ..)| id)
    }

    fn use_of(&mut self, name: &str) -> &mut Use {
        if self.uses.len() >= MAX_CANDIDATES + self.numbers.len() && !self.uses.contains_key(name) {
            let candidates = self.uses.iter().filter(|(name, _)| !self.numbers.contains_key(*name));
            let mut by_use: Vec<(u64, String)> = candidates.map(|(name, it)| (it.used_ns, name.clone())).collect();
            by_use.sort_unstable();
            for (_, idle) in by_use.drain(..by_use.len() / 2) {
                self.uses.remove(&idle);
            }
        }
        self.uses.entry(name.to_owned()).or_default()
    }
}

impl Use {
    fn grow_to(&mut self, used_ns: u64, now_ns: u64) {
        // A process that is called something else now takes along what it has used.
        let grown_ns = used_ns.saturating_sub(self.used_ns);
        self.used_ns = self.used_ns.max(used_ns);
        self.recent_ns = self.recent_ns(now_ns) + grown_ns as f64;
        self.looked_ns = now_ns;
    }

    fn recent_ns(&self, now_ns: u64) -> f64 {
        self.recent_ns * (-(now_ns.saturating_sub(self.looked_ns) as f64) / HALF_LIFE_NS).exp2()
    }
}

fn ids() -> impl Iterator<Item = WorkloadId> {
    (0..).map(WorkloadId)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn named(name: &str) -> Named {
        Named { name: name.to_owned(), source: NameSource::Executable, origin: Origin::default() }
    }

    /// Of a container.
    fn of(pod_uid: &str, image: &str) -> Named {
        let origin = Origin { pod_uid: Some(pod_uid.to_owned()), image: Some(image.to_owned()) };
        Named { name: "k8s:shop/web-0/app".to_owned(), source: NameSource::Container, origin }
    }

    fn names(table: &LabelTable) -> Vec<&str> {
        table.iter().map(|entry| entry.name).collect()
    }

    fn consider(table: &mut LabelTable, named: &Named, live_ns: u64, now_ns: u64) -> WorkloadId {
        table.look([(named, live_ns)].into_iter(), now_ns);
        table.id(&named.name)
    }

    /// Frees what is being given back.
    fn free_all(table: &mut LabelTable) {
        let ending: Vec<_> = table.ending().map(|(id, _)| id).collect();
        for id in ending {
            table.free(id);
        }
    }

    #[test]
    fn a_name_earns_its_number_with_cpu_time_and_keeps_it_while_it_is_there() {
        let mut table = LabelTable::new(&["web"], 8);
        assert_eq!(table.id("web"), WorkloadId(1));
        assert_eq!(consider(&mut table, &named("make"), EARNED_NS - 2, 0), OTHER_ID);
        table.add_ended("make", 1);
        table.add_ended("make", 1);
        assert_eq!(consider(&mut table, &named("make"), EARNED_NS - 2, 0), WorkloadId(2));
        for second in 0..1000 {
            table.turn_over(second * SECOND_NS);
            assert_eq!(consider(&mut table, &named("make"), 0, second * SECOND_NS), WorkloadId(2));
        }
        assert_eq!((table.folded(), table.ended()), (0, 0));
    }

    #[test]
    fn a_name_shows_what_all_its_processes_come_from_and_what_the_last_did() {
        let mut table = LabelTable::new(&[], 8);
        let mut shown = |processes: &[Named]| {
            table.look(processes.iter().map(|named| (named, EARNED_NS)), 0);
            let Origin { pod_uid, image } = table.iter().last().unwrap().origin.clone();
            (pod_uid, image)
        };
        let both = |pod_uid: &str, image: &str| (Some(pod_uid.to_owned()), Some(image.to_owned()));
        assert_eq!(shown(&[of("1", "web:1"), of("1", "web:1")]), both("1", "web:1"));
        // Two pods whose names were cut, whoever comes first.
        for order in [["1", "2", "1"], ["2", "1", "1"], ["1", "1", "2"]] {
            assert_eq!(shown(&order.map(|uid| of(uid, "web:1"))), (None, Some("web:1".to_owned())));
        }
        // One pod after another.
        assert_eq!(shown(&[of("2", "web:2")]), both("2", "web:2"));
        assert_eq!(shown(&[]), both("2", "web:2"));
        let mut unknown = of("2", "web:2");
        unknown.origin.image = None;
        for order in [[unknown.clone(), of("2", "web:2")], [of("2", "web:2"), unknown]] {
            assert_eq!(shown(&order), (Some("2".to_owned()), None));
        }
    }

    #[test]
    fn a_name_that_is_gone_loses_its_number_and_those_of_rules_do_not() {
        let mut table = LabelTable::new(&["web"], 8);
        consider(&mut table, &named("make"), EARNED_NS, SECOND_NS);
        table.turn_over(GONE_NS);
        assert_eq!(names(&table), ["other", "web", "make"]);
        table.turn_over(GONE_NS + SECOND_NS);
        assert_eq!((names(&table), table.id("make"), table.ended()), (vec!["other", "web"], OTHER_ID, 1));
        assert_eq!(table.ending().collect::<Vec<_>>(), [(WorkloadId(2), GONE_NS + SECOND_NS)]);
        // Not before nothing is counted there any more.
        assert_eq!(consider(&mut table, &named("cc"), EARNED_NS, GONE_NS + SECOND_NS), WorkloadId(3));
        free_all(&mut table);
        assert_eq!(consider(&mut table, &named("make"), 0, GONE_NS + SECOND_NS), WorkloadId(2));
        let keys: Vec<(u64, &str)> = table.iter().map(|entry| (entry.key, entry.name)).collect();
        assert_eq!(keys, [(0, "other"), (1, "web"), (4, "make"), (3, "cc")], "its series are new ones");
    }

    #[test]
    fn where_there_is_none_a_number_comes_from_the_name_that_has_been_gone_for_longest() {
        let mut table = LabelTable::new(&[], 2);
        consider(&mut table, &named("first"), EARNED_NS, 0);
        consider(&mut table, &named("second"), EARNED_NS * 100, SECOND_NS);
        let late = named("late");
        assert_eq!(consider(&mut table, &late, EARNED_NS * 100, GONE_IF_WANTED_NS - 1), OTHER_ID);
        assert_eq!(names(&table), ["other", "first", "second"]);
        for _ in 0..3 {
            assert_eq!(consider(&mut table, &late, EARNED_NS * 100, GONE_IF_WANTED_NS + SECOND_NS), OTHER_ID);
        }
        assert_eq!((names(&table), table.folded()), (vec!["other", "second"], 1), "one is enough");
        free_all(&mut table);
        assert_eq!(consider(&mut table, &late, EARNED_NS * 100, GONE_IF_WANTED_NS + SECOND_NS), WorkloadId(1));
    }

    /// Of two that compute all the time, and one that does not, until another comes.
    #[test]
    fn who_computes_much_more_takes_the_number_of_who_computes_least_once_that_has_had_it_for_long() {
        let mut table = LabelTable::new(&["rule"], 3);
        let names_of = ["busy", "lazy", "newer"].map(named);
        let live = |table: &mut LabelTable, second: u64, percent: [u64; 3]| {
            let used_ns = percent.map(|percent| 10 * SECOND_NS + second * SECOND_NS / 100 * percent);
            table.look(names_of.iter().zip(used_ns), second * SECOND_NS);
        };
        let lasts = HELD_NS / SECOND_NS;
        (0..lasts).for_each(|second| live(&mut table, second, [100, 10, 99]));
        assert_eq!(names(&table), ["other", "rule", "busy", "lazy"]);
        // Not much more than the other does.
        let mut similar = LabelTable::new(&["rule"], 3);
        (0..lasts * 3).for_each(|second| live(&mut similar, second, [100, 30, 99]));
        assert_eq!(names(&similar), ["other", "rule", "busy", "lazy"]);
        (lasts..lasts + 2).for_each(|second| live(&mut table, second, [100, 10, 99]));
        assert_eq!((names(&table), table.ended()), (vec!["other", "rule", "busy"], 1));
        free_all(&mut table);
        // It has computed long ago what the other one computes now.
        (lasts + 2..lasts * 3).for_each(|second| live(&mut table, second, [100, 10, 99]));
        assert_eq!((names(&table), table.ended()), (vec!["other", "rule", "busy", "newer"], 1));
    }

    #[test]
    fn what_was_computed_a_while_ago_counts_less_than_what_is_computed_now() {
        let mut before = Use::default();
        before.grow_to(100 * SECOND_NS, 0);
        // The threads of a process that is called otherwise now are missing, and do not count twice when they are back.
        before.grow_to(40 * SECOND_NS, 0);
        before.grow_to(100 * SECOND_NS, 0);
        assert!((before.recent_ns(0) - 100e9).abs() < 1.0);
        assert!((before.recent_ns(120 * SECOND_NS) - 25e9).abs() < 1.0);
    }

    #[test]
    fn names_of_rules_that_come_later_get_the_numbers_of_those_that_compute_least() {
        let mut table = LabelTable::new(&["web"], 3);
        consider(&mut table, &named("make"), EARNED_NS * 2, 0);
        consider(&mut table, &named("cc"), EARNED_NS * 100, 0);
        assert_eq!(table.adopt(&["db", "web", "mail", "dns"], 0), ["dns"], "web has the third");
        assert_eq!(names(&table), ["other", "web"]);
        assert_eq!(table.adopt(&["db", "web"], 0), [""; 0], "there are two to come");
        table.turn_over(SECOND_NS);
        assert_eq!(table.id("db"), OTHER_ID, "not yet");
        free_all(&mut table);
        table.turn_over(SECOND_NS);
        assert_eq!(table.iter().map(|it| (it.id.0, it.name)).collect::<Vec<_>>(), [(0, "other"), (1, "web"), (2, "db")]);
        assert_eq!(table.iter().nth(2).unwrap().source, NameSource::Rule);
        // With the rule, its name loses the right to stay.
        table.adopt(&["web"], SECOND_NS);
        table.turn_over(SECOND_NS + GONE_NS);
        assert_eq!(names(&table), ["other", "web"]);
    }

    #[test]
    fn a_stream_of_names_does_not_grow_the_table() {
        let mut table = LabelTable::new(&[], 2);
        consider(&mut table, &named("busy"), EARNED_NS / 2, 0);
        for index in 0..10 * MAX_CANDIDATES {
            consider(&mut table, &named(&format!("job-{index}")), 1, 0);
            assert!(table.uses.len() <= MAX_CANDIDATES + 1);
        }
        assert!(table.uses.contains_key("busy"), "the busiest candidate is not forgotten");
    }

    #[test]
    fn names_of_rules_have_the_first_numbers_once_each_while_there_are_any() {
        let table = LabelTable::new(&["web", "web", "other", "db", "late"], 2);
        let all: Vec<(u32, &str, NameSource)> = table.iter().map(|entry| (entry.id.0, entry.name, entry.source)).collect();
        assert_eq!(all, [(0, "other", NameSource::Other), (1, "web", NameSource::Rule), (2, "db", NameSource::Rule)]);
        assert_eq!([table.id("db"), table.id("late"), table.id("other")], [WorkloadId(2), OTHER_ID, OTHER_ID]);
        let mut none = LabelTable::new(&[], 0);
        assert_eq!((consider(&mut none, &named("a"), u64::MAX, 0), none.folded()), (OTHER_ID, 1));
    }

    #[test]
    fn the_price_of_a_number_rises_with_each_quarter_and_then_names_are_folded_once() {
        let mut table = LabelTable::new(&[], 8);
        for (taken, factor) in [1, 1, 1, 1, 10, 10, 100, 100].into_iter().enumerate() {
            let name = named(&format!("n{taken}"));
            assert_eq!(consider(&mut table, &name, EARNED_NS * factor - 1, 0), OTHER_ID, "{taken} taken");
            assert_ne!(consider(&mut table, &name, EARNED_NS * factor, 0), OTHER_ID, "{taken} taken");
        }
        for _ in 0..3 {
            assert_eq!(consider(&mut table, &named("late"), EARNED_NS * 1000, 0), OTHER_ID);
        }
        assert_eq!(table.folded(), 1);
    }

    proptest! {
        /// Names come, compute, go and come again.
        #[test]
        fn numbers_are_distinct_and_bounded_and_change_hands_only_when_they_are_free(
            steps in prop::collection::vec((0_u8..40, 0_u64..20 * EARNED_NS, 0_u64..200, any::<bool>()), 0..200)
        ) {
            let mut table = LabelTable::new(&["rule"], 8);
            let mut owner: HashMap<WorkloadId, String> = HashMap::new();
            let mut now_ns = 0;
            for (name, used_ns, seconds, is_freed) in steps {
                now_ns += seconds * SECOND_NS;
                table.turn_over(now_ns);
                let name = format!("n{name}");
                let id = consider(&mut table, &named(&name), used_ns, now_ns);
                prop_assert_eq!(id, table.id(&name));
                for entry in table.iter() {
                    prop_assert!(entry.id.0 <= 8);
                    prop_assert_eq!(table.id(entry.name), entry.id);
                    let before = owner.entry(entry.id).or_insert_with(|| entry.name.to_owned());
                    prop_assert_eq!(before.as_str(), entry.name);
                }
                prop_assert_eq!(table.iter().count(), table.numbers.len());
                prop_assert_eq!(table.id("rule"), WorkloadId(1));
                if is_freed {
                    for (id, _) in table.ending().collect::<Vec<_>>() {
                        table.free(id);
                        owner.remove(&id);
                    }
                }
            }
        }
    }
}
