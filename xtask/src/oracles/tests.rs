//! Made-up streams of events, in which everything that a thread did is known, and reports that are wrong in one figure.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schedscope::report::RunReport;
use schedscope::report::schema::{Quantiles, ThreadReport};

use super::clock::{self, Span};
use super::compare::compare;
use super::replay::{Thread, Waits, replay};
use super::ring::{Event, Kind, rename, with_hidden};
use super::timehist;

/// What a thread does with its turn on the one CPU.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Sleep,
    /// Woken before it has left the CPU.
    SleepWokenEarly,
    Preempted,
    Yield,
}

const LEADER: u32 = 100;
const CHILD: u32 = 101;
const STRANGER: u32 = 7;
/// One step of time.
const STEP_NS: u64 = 100_000;
/// Steps of a run before the scheduler reads its clock.
const RUN_STEPS: usize = 10;
const PREEMPTED_STATE: u64 = 0x100;

struct Stream {
    at_ns: u64,
    /// When the scheduler read its clock for the last switch.
    switched_ns: u64,
    events: Vec<Event>,
}

impl Stream {
    /// More of a stream that ends at that time.
    fn after(at_ns: u64, events: Vec<Event>) -> Stream {
        Stream { at_ns, switched_ns: at_ns, events }
    }

    fn event(&mut self, current: u32, kind: Kind) {
        self.at_ns += STEP_NS;
        self.events.push(Event { at_ns: self.at_ns, cpu: 0, current, kind });
    }

    fn switch(&mut self, prev: u32, state: u64, next: u32) {
        // So many that the run was certainly longer than nothing.
        for _ in 0..RUN_STEPS {
            self.event(prev, Kind::Entry);
        }
        let read_ns = self.at_ns + STEP_NS;
        let ns = read_ns - std::mem::replace(&mut self.switched_ns, read_ns);
        self.event(prev, Kind::Runtime { tid: prev, ns });
        self.event(prev, Kind::Switch { prev, state, next });
    }
}

/// A leader that wakes up, forks a child and ends; and the child, which takes these turns, each followed by a run of a stranger.
fn stream(turns: &[Turn]) -> Vec<Event> {
    let mut stream = Stream::after(1_000_000_000, Vec::new());
    stream.event(STRANGER, Kind::Entry);
    stream.event(STRANGER, Kind::Waking { tid: LEADER });
    stream.event(STRANGER, Kind::Wakeup { tid: LEADER, cpu: 0 });
    stream.switch(STRANGER, 1, LEADER);
    stream.event(LEADER, Kind::Fork { child: CHILD });
    stream.event(LEADER, Kind::WakeupNew { tid: CHILD, cpu: 0 });
    stream.switch(LEADER, 0x20, CHILD);
    for turn in turns {
        match turn {
            Turn::Sleep => {
                stream.switch(CHILD, 1, STRANGER);
                stream.event(STRANGER, Kind::Waking { tid: CHILD });
                stream.event(STRANGER, Kind::Wakeup { tid: CHILD, cpu: 0 });
            }
            Turn::SleepWokenEarly => {
                stream.event(CHILD, Kind::Waking { tid: CHILD });
                stream.switch(CHILD, 1, STRANGER);
                stream.event(STRANGER, Kind::Wakeup { tid: CHILD, cpu: 0 });
            }
            Turn::Preempted => stream.switch(CHILD, PREEMPTED_STATE, STRANGER),
            Turn::Yield => {
                stream.event(CHILD, Kind::SyscallEnter { number: libc::SYS_sched_yield });
                stream.switch(CHILD, 0, STRANGER);
            }
        }
        if matches!(turn, Turn::Preempted | Turn::Yield) {
            stream.event(STRANGER, Kind::Entry);
            // These waits are longer than all others together.
            stream.at_ns += 100 * STEP_NS;
            stream.event(STRANGER, Kind::Entry);
        }
        stream.event(STRANGER, Kind::Migrate { tid: CHILD, from: 1, to: 0 });
        stream.event(STRANGER, Kind::Migrate { tid: CHILD, from: 0, to: 0 });
        stream.switch(STRANGER, 1, CHILD);
        if matches!(turn, Turn::Yield) {
            stream.event(CHILD, Kind::SyscallExit { number: libc::SYS_sched_yield });
        }
    }
    stream.event(CHILD, Kind::Exit);
    stream.switch(CHILD, 0x10, STRANGER);
    stream.events
}

fn child_of(events: &[Event]) -> Thread {
    replay(events, LEADER, 0).into_iter().find(|thread| thread.tid == CHILD).unwrap()
}

/// What was added to the child's time.
fn on_cpu_ns(events: &[Event]) -> u64 {
    let added = |event: &Event| if let Kind::Runtime { tid: CHILD, ns } = event.kind { ns } else { 0 };
    events.iter().map(added).sum()
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![Just(Turn::Sleep), Just(Turn::SleepWokenEarly), Just(Turn::Preempted), Just(Turn::Yield)];
    prop::collection::vec(turn, 0..40)
}

proptest! {
    #[test]
    fn every_turn_is_counted_in_its_class_and_every_wait_and_run_once(turns in turns()) {
        let events = stream(&turns);
        let child = child_of(&events);
        let count = |wanted: fn(&Turn) -> bool| turns.iter().filter(|turn| wanted(turn)).count() as u64;
        prop_assert_eq!(child.voluntary, 1 + count(|turn| matches!(turn, Turn::Sleep | Turn::SleepWokenEarly)));
        prop_assert_eq!(child.preempted, count(|turn| matches!(turn, Turn::Preempted)));
        prop_assert_eq!(child.yielded, count(|turn| matches!(turn, Turn::Yield)));
        prop_assert_eq!(child.migrations, turns.len() as u64);
        // A thread's last switch leads to no wait, and its fork to one.
        prop_assert_eq!(child.wakeup.seen.len() as u64, child.voluntary);
        prop_assert_eq!(child.preemption.seen.len() as u64, child.preempted + child.yielded);
        prop_assert_eq!(child.slices.seen.len() as u64, child.switches());
        prop_assert_eq!((child.on_cpu_ns, child.unseen_ns), (on_cpu_ns(&events), 0));
        prop_assert!(child.has_ended);
    }

    #[test]
    fn a_switch_without_event_changes_no_count_and_leaves_its_wait_open(turns in turns(), lost: prop::sample::Index) {
        let mut events = stream(&turns);
        let whole = child_of(&events);
        let arrivals: Vec<usize> = (0..events.len())
            .filter(|&index| matches!(events[index].kind, Kind::Switch { next: CHILD, .. }))
            .collect();
        // Only what an idle CPU leaves is lost.
        let lost = arrivals[lost.index(arrivals.len())];
        prop_assume!(lost != arrivals[0]);
        events.remove(lost);
        let child = child_of(&with_hidden(&events));
        prop_assert_eq!((child.voluntary, child.preempted, child.yielded), (whole.voluntary, whole.preempted, whole.yielded));
        let number = |of: &Waits| of.seen.len() + of.hidden.len();
        prop_assert_eq!(number(&child.wakeup), number(&whole.wakeup));
        prop_assert_eq!(number(&child.preemption), number(&whole.preemption));
        prop_assert_eq!(child.wakeup.hidden.len() + child.preemption.hidden.len(), 1);
        prop_assert_eq!(child.slices.hidden.len(), 1);
    }

    #[test]
    fn time_whose_event_is_lost_may_be_missing_and_no_more(mut turns in turns(), lost: prop::sample::Index) {
        turns.push(Turn::Preempted);
        let mut events = stream(&turns);
        // When the first run began is less clear than how long it was.
        let whole = replay(&events, LEADER, 0);
        let added: Vec<usize> = (0..events.len())
            .filter(|&index| matches!(events[index].kind, Kind::Runtime { tid: CHILD, .. }))
            .collect();
        events.remove(added[1 + lost.index(added.len() - 1)]);
        let seen = replay(&events, LEADER, 0);
        let mut report = report_of(&whole);
        let is_right = |report: &RunReport| {
            !compare(report, &seen, None).wrong.iter().any(|wrong| wrong.contains("on a CPU"))
        };
        prop_assert!(is_right(&report));
        let child = report.threads.iter_mut().find(|thread| thread.tid == CHILD).unwrap();
        child.on_cpu_seconds += seconds(3 * RUN_STEPS as u64 * STEP_NS);
        prop_assert!(!is_right(&report));
    }
}

/// The time of a switch of a thread that has woken another one, by which events come between.
fn time_of_switch(between: &[Kind]) -> (Span, Vec<u64>) {
    let mut stream = Stream::after(1_000_000_000, Vec::new());
    stream.event(STRANGER, Kind::Entry);
    stream.event(STRANGER, Kind::Waking { tid: CHILD });
    for kind in between {
        stream.event(STRANGER, *kind);
    }
    stream.event(STRANGER, Kind::Switch { prev: STRANGER, state: 0, next: CHILD });
    stream.event(CHILD, Kind::Entry);
    let times = clock::times(&stream.events, &clock::until_next(&stream.events));
    (times[between.len() + 2], stream.events.iter().map(|event| event.at_ns).collect())
}

#[test]
fn a_switch_has_the_time_of_the_wake_up_that_asked_for_it_unless_the_thread_went_on() {
    let wakeup = Kind::Wakeup { tid: CHILD, cpu: 0 };
    let slack_ns = 500;
    let (time, at_ns) = time_of_switch(&[wakeup, Kind::Entry]);
    assert_eq!((time.least_ns, time.most_ns >= at_ns[4]), (at_ns[1] - slack_ns, true));
    let (time, at_ns) = time_of_switch(&[wakeup, Kind::SyscallEnter { number: 0 }]);
    assert_eq!(time.least_ns, at_ns[3] - slack_ns);
    // So has the switch to a thread that was moved here.
    let (time, at_ns) = time_of_switch(&[Kind::Migrate { tid: CHILD, from: 1, to: 0 }, Kind::Entry]);
    assert_eq!(time.least_ns, at_ns[0] - slack_ns);
    // A thread on another CPU asks nothing of this one.
    for elsewhere in [Kind::Wakeup { tid: CHILD, cpu: 1 }, Kind::Migrate { tid: CHILD, from: 0, to: 1 }] {
        let (time, at_ns) = time_of_switch(&[elsewhere, Kind::Entry]);
        assert_eq!(time.least_ns, at_ns[3] - slack_ns);
    }
}

#[test]
fn a_run_was_at_least_as_long_as_the_kernel_says() {
    let mut stream = Stream::after(1_000_000_000, Vec::new());
    stream.event(STRANGER, Kind::Entry);
    stream.event(STRANGER, Kind::Switch { prev: STRANGER, state: 1, next: CHILD });
    stream.at_ns += 10 * STEP_NS;
    stream.event(CHILD, Kind::Runtime { tid: CHILD, ns: 11 * STEP_NS });
    stream.event(CHILD, Kind::Switch { prev: CHILD, state: 1, next: STRANGER });
    stream.event(STRANGER, Kind::Entry);
    let times = clock::times(&stream.events, &clock::until_next(&stream.events));
    let [first, second] = [times[1], times[3]];
    assert_eq!(second.least_ns, first.least_ns + 11 * STEP_NS);
}

#[test]
fn a_run_that_was_longer_than_events_explain_began_earlier() {
    let mut stream = Stream::after(1_000_000_000, Vec::new());
    stream.event(STRANGER, Kind::Entry);
    stream.event(STRANGER, Kind::Switch { prev: STRANGER, state: 1, next: CHILD });
    stream.event(CHILD, Kind::Runtime { tid: CHILD, ns: 11 * STEP_NS });
    stream.event(CHILD, Kind::Switch { prev: CHILD, state: 1, next: STRANGER });
    stream.event(STRANGER, Kind::Entry);
    let times = clock::times(&stream.events, &clock::until_next(&stream.events));
    let latest_ns = stream.events[3].at_ns - 11 * STEP_NS;
    assert!(times[1].least_ns <= latest_ns && latest_ns < stream.events[0].at_ns);
}

#[test]
fn a_thread_that_takes_over_its_process_is_one_thread() {
    // The child of the leader is a thread of the same process. When the leader has ended it gets the leader's id, blocks, and runs again
    // before its exec is told.
    let mut events = stream(&[Turn::Sleep]);
    events.truncate(events.len() - (RUN_STEPS + 3));
    let mut stream = Stream::after(events[events.len() - 1].at_ns, events);
    stream.switch(LEADER, 2, STRANGER);
    stream.event(STRANGER, Kind::Waking { tid: LEADER });
    stream.switch(STRANGER, 1, LEADER);
    stream.event(LEADER, Kind::Exec { tid: LEADER, old: CHILD });
    stream.switch(LEADER, 0x20, STRANGER);
    rename(&mut stream.events);
    let threads = replay(&with_hidden(&stream.events), LEADER, 0);
    let switches: Vec<(u32, Option<u32>, u64)> =
        threads.iter().map(|thread| (thread.tid, thread.old_tid, thread.switches())).collect();
    assert_eq!(switches, [(LEADER, None, 1), (LEADER, Some(CHILD), 3)]);
}

/// The leader has another CPU when the child takes its id, and leaves it with the child's.
#[test]
fn a_first_thread_that_leaves_its_cpu_with_the_other_ones_id_is_still_the_first() {
    for is_noticed_first_by_the_leader in [false, true] {
        let mut events = stream(&[]);
        events.truncate(events.len() - (RUN_STEPS + 3));
        let forked = events.iter().position(|event| matches!(event.kind, Kind::WakeupNew { .. })).unwrap();
        // The leader goes on instead of ending there; the child begins on the second CPU.
        events.truncate(forked + 1);
        let mut stream = Stream::after(events[forked].at_ns, events);
        let mut on = |cpu: u32, current: u32, kind: Kind| {
            stream.event(current, kind);
            stream.events.last_mut().unwrap().cpu = cpu;
        };
        on(1, STRANGER, Kind::Switch { prev: STRANGER, state: 1, next: CHILD });
        on(0, LEADER, Kind::Exit);
        if is_noticed_first_by_the_leader {
            on(0, CHILD, Kind::Switch { prev: CHILD, state: 0x20, next: STRANGER });
        }
        if is_noticed_first_by_the_leader {
            // A wake-up on another CPU adds up what the thread there has used.
            on(0, STRANGER, Kind::Runtime { tid: LEADER, ns: STEP_NS });
        }
        on(1, LEADER, Kind::Runtime { tid: LEADER, ns: STEP_NS });
        on(1, LEADER, Kind::Switch { prev: LEADER, state: PREEMPTED_STATE, next: STRANGER });
        on(1, STRANGER, Kind::Switch { prev: STRANGER, state: 1, next: LEADER });
        if !is_noticed_first_by_the_leader {
            on(0, CHILD, Kind::Switch { prev: CHILD, state: 0x20, next: STRANGER });
        }
        on(1, LEADER, Kind::Exec { tid: LEADER, old: CHILD });
        on(1, LEADER, Kind::Switch { prev: LEADER, state: 0x20, next: STRANGER });
        rename(&mut stream.events);
        let mut threads = replay(&with_hidden(&stream.events), LEADER, 0);
        threads.sort_by_key(|thread| thread.old_tid);
        let switches: Vec<_> =
            threads.iter().map(|thread| (thread.tid, thread.old_tid, thread.voluntary, thread.preempted)).collect();
        assert_eq!(switches, [(LEADER, None, 1, 0), (LEADER, Some(CHILD), 1, 1)]);
        assert!(threads.iter().all(|thread| thread.has_ended));
        let runs = if is_noticed_first_by_the_leader { 2 } else { 1 };
        assert_eq!(threads.iter().map(|thread| thread.on_cpu_ns).collect::<Vec<_>>(), [0, runs * STEP_NS]);
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn middle(span: Span) -> f64 {
    seconds(span.least_ns.midpoint(span.most_ns))
}

fn quantiles<'a>(waits: impl Iterator<Item = &'a Waits>) -> Quantiles {
    let mut lengths: Vec<f64> = waits.flat_map(|waits| &waits.seen).map(|&wait| middle(wait)).collect();
    lengths.sort_by(f64::total_cmp);
    let at = |percent: usize| lengths[(lengths.len() * percent).div_ceil(100) - 1];
    Quantiles { count: lengths.len() as u64, p50: at(50), p90: at(90), p99: at(99), max: at(100) }
}

/// The report of someone who counts right.
fn report_of(threads: &[Thread]) -> RunReport {
    let thread = |thread: &Thread| ThreadReport {
        tid: thread.tid,
        on_cpu_seconds: seconds(thread.on_cpu_ns),
        wakeup_latency_seconds: middle(thread.wakeup.sum),
        runnable_after_preemption_seconds: middle(thread.preemption.sum),
        voluntary: thread.voluntary,
        preempted: thread.preempted,
        yielded: thread.yielded,
        migrations: thread.migrations,
        ended: true,
        ..ThreadReport::default()
    };
    RunReport {
        threads: threads.iter().map(thread).collect(),
        wakeup_latency_seconds: quantiles(threads.iter().map(|thread| &thread.wakeup)),
        preemption_wait_seconds: quantiles(threads.iter().map(|thread| &thread.preemption)),
        timeslice_seconds: quantiles(threads.iter().map(|thread| &thread.slices)),
        ..RunReport::default()
    }
}

#[test]
fn every_figure_that_is_taken_for_its_neighbour_is_found() {
    use Turn::{Preempted, Sleep, Yield};
    let threads = replay(&stream(&[Sleep, Sleep, Sleep, Preempted, Preempted, Yield]), LEADER, 0);
    let right = report_of(&threads);
    assert_eq!(compare(&right, &threads, None).wrong, Vec::<String>::new());
    let index = right.threads.iter().position(|thread| thread.tid == CHILD).unwrap();
    let wrong_thread: [fn(&mut ThreadReport); 8] = [
        |thread| std::mem::swap(&mut thread.voluntary, &mut thread.preempted),
        |thread| std::mem::swap(&mut thread.preempted, &mut thread.yielded),
        |thread| std::mem::swap(&mut thread.yielded, &mut thread.voluntary),
        |thread| thread.migrations += 1,
        |thread| thread.on_cpu_seconds += 1e-9,
        |thread| std::mem::swap(&mut thread.wakeup_latency_seconds, &mut thread.runnable_after_preemption_seconds),
        |thread| thread.ended = false,
        |thread| thread.tid += 1,
    ];
    let wrong_run: [fn(&mut RunReport); 6] = [
        |run| std::mem::swap(&mut run.wakeup_latency_seconds, &mut run.preemption_wait_seconds),
        |run| std::mem::swap(&mut run.preemption_wait_seconds, &mut run.timeslice_seconds),
        // One wake-up for a preemption, as a thread that is woken on its way to sleep might be taken.
        |run| {
            run.wakeup_latency_seconds.count -= 1;
            run.preemption_wait_seconds.count += 1;
        },
        |run| run.timeslice_seconds.count -= 1,
        |run| run.preemption_wait_seconds.p50 *= 2.0,
        |run| run.loss.total = 1,
    ];
    let reports = wrong_thread.iter().map(|change| {
        let mut report = right.clone();
        change(&mut report.threads[index]);
        report
    });
    let reports = reports.chain(wrong_run.iter().map(|change| {
        let mut report = right.clone();
        change(&mut report);
        report
    }));
    for (number, report) in reports.enumerate() {
        assert!(!compare(&report, &threads, None).wrong.is_empty(), "change {number} is not found");
    }
}

#[test]
fn timehist_lacks_what_a_thread_does_after_it_began_to_end_and_nothing_else() {
    let threads = replay(&stream(&[Turn::Sleep, Turn::Preempted]), LEADER, 0);
    let child = threads.iter().find(|thread| thread.tid == CHILD).unwrap();
    let leader = threads.iter().find(|thread| thread.tid == LEADER).unwrap();
    let shown = |of: &Thread, lacking: u64| timehist::Shown {
        switches: of.switches() - lacking,
        run_ns: of.run_events.least_ns,
        delay_ns: of.delay_events.least_ns,
        wakings: of.wakings,
    };
    for (lacking, is_right) in [(0, true), (1, true), (2, false)] {
        let all = BTreeMap::from([(CHILD, shown(child, lacking)), (LEADER, shown(leader, 0))]);
        assert_eq!(compare(&report_of(&threads), &threads, Some(&all)).otherwise.is_empty(), is_right, "{lacking} are lacking");
    }
}

#[test]
fn lines_of_timehist_are_added_up_by_thread() {
    let text = "           time    cpu  task name                       wait time  sch delay   run time
   26676.756173 [0000]  migration/0[18]                     0.000      0.003      0.010 
   26676.764042 [0000]  lto cgu.13[11322/9869]              0.000      1.002      3.965 
   26676.764050 [0001]  cat[77]                                              awakened: a [b][11322/9869]
   26676.764052 [0001]  a [b][11322/-1]                     0.000      0.000      1.000 
   26677.764042 [0000]  :-1[-1/21916]                       0.000      0.000      0.137 \n";
    let shown = timehist::parse(text, 26_676_760_000_000).unwrap();
    assert_eq!(
        shown,
        BTreeMap::from([(11322, timehist::Shown { switches: 2, run_ns: 4_965_000, delay_ns: 1_002_000, wakings: 1 })])
    );
}
