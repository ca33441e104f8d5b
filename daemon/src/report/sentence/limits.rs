//! Where one cause ends and the other begins.

use super::*;

/// A program of four threads on four cores, all of them online.
fn facts(running: f64, demand: f64, [alive, runnable, blocked]: [f64; 3]) -> Facts {
    Facts {
        threads: 4,
        processes: 1,
        cores: 4,
        online: 4,
        running,
        demand,
        foreign: 0.0,
        idle: 0.0,
        cores_with_nearly_all: 4,
        group: Group {
            size: None,
            mean_alive: alive,
            mean_runnable: runnable,
            mean_blocked: blocked,
            share_of_work: 1.0,
            reasons: vec![("futex".to_owned(), 0.5)],
        },
    }
}

#[test]
fn the_larger_cause_is_named() {
    for (running, demand, group, expected) in [
        (3.6, 4.0, [4.0, 0.4, 0.0], Limit::Cores),
        (3.59, 4.0, [4.0, 0.41, 0.0], Limit::CpuWait),
        (0.05, 0.099, [4.0, 0.049, 3.9], Limit::AtRest),
        (0.05, 0.1, [4.0, 0.05, 3.9], Limit::Blocked),
        // Of three cores left over, half or more are wanted by threads that wait.
        (1.0, 2.5, [4.0, 1.5, 1.5], Limit::CpuWait),
        (1.0, 2.49, [4.0, 1.49, 1.49], Limit::Blocked),
        // They wait longer for other things than for a CPU.
        (1.0, 2.5, [4.0, 1.5, 1.51], Limit::Blocked),
        // More of it waits than cores are left over.
        (3.0, 9.0, [9.0, 6.0, 0.0], Limit::CpuWait),
        // Of the cores that are not used, more lack a thread than have a blocked one.
        (1.0, 1.0, [2.4, 0.0, 1.4], Limit::TooFewThreads),
        (1.0, 1.0, [2.5, 0.0, 1.5], Limit::Blocked),
        (1.0, 1.0, [3.0, 0.0, 1.2], Limit::Blocked),
    ] {
        assert_eq!(facts(running, demand, group).limit(), expected, "C {running}, D {demand}, {group:?}");
    }
    let mut unexplained = facts(1.0, 1.0, [4.0, 0.0, 3.0]);
    unexplained.group.reasons.clear();
    assert_eq!(unexplained.limit(), Limit::TooFewThreads);
    assert_eq!(Facts { threads: 0, ..facts(4.0, 4.0, [4.0, 0.0, 0.0]) }.limit(), Limit::NothingSeen);
}

#[test]
fn a_wait_is_worth_saying_from_a_tenth_of_the_demand_on() {
    let facts = |demand| facts(9.0, demand, [12.0, 1.0, 2.0]);
    assert!(facts(10.0).notable_wait() && !facts(9.99).notable_wait());
    assert_eq!(facts(9.99).also_waits(), "");
    assert_eq!(facts(10.0).also_waits(), "; 10 % of the time they could run they wait for a CPU");
    assert!(facts(10.0).head().contains("want") && facts(9.99).head().contains("keep"));
}

#[test]
fn who_has_the_cores_is_told_if_it_is_known() {
    let told = |cores: u64, running: f64, with_nearly_all: u64, [foreign, idle]: [f64; 2]| {
        let cores_with_nearly_all = with_nearly_all;
        Facts { cores, running, foreign, idle, cores_with_nearly_all, ..facts(0.0, 4.0, [4.0, 2.0, 0.0]) }
            .who_has_the_cores("their")
    };
    let pinned = |count| format!(", and {count} had nearly all of their CPU time, as if pinned");
    // Few cores, and nearly all of them.
    assert_eq!(told(4, 0.8, 1, [0.0, 0.0]), pinned("1 core"));
    assert_eq!(told(4, 1.6, 2, [0.0, 0.0]), pinned("2 cores"));
    assert_eq!(told(4, 1.59, 2, [0.0, 0.0]), "");
    assert_eq!(told(2, 1.7, 2, [0.0, 0.0]), "", "it is not pinned to fewer than it may use");
    // Others, if they took more than was idle.
    assert_eq!(told(4, 1.0, 4, [0.1, 0.1]), ", and other programs took 0.10 cores");
    assert_eq!(told(4, 1.0, 4, [0.09, 0.0]), "");
    assert_eq!(told(4, 1.0, 4, [0.1, 0.11]), ", though 0.11 cores were idle, as under a CPU quota");
    assert_eq!(told(4, 1.0, 4, [0.0, 0.1]), ", though 0.10 cores were idle, as under a CPU quota");
    assert_eq!(told(4, 1.0, 4, [0.0, 0.09]), "");
    assert_eq!(told(3, 1.0, 3, [0.0, 2.0]), "", "the idle cores may be those that it may not use");
}

#[test]
fn a_single_thread_is_excused_by_what_it_waits_for_if_that_is_worth_saying() {
    let told = |alive: f64, blocked: f64, part: f64| {
        let mut facts = Facts { threads: 1, ..facts(0.8, 0.8, [alive, 0.0, blocked]) };
        facts.group.reasons[0].1 = part;
        facts.too_few()
    };
    let alone = "a single thread cannot use more than one";
    let waits = |percent| format!("{percent} % of its time it waits for locks or other threads, and {alone}");
    // It was there all the time and hardly ever blocked.
    assert_eq!(told(0.91, 0.09, 0.09), alone);
    assert_eq!(told(0.9, 0.09, 0.09), waits(9));
    assert_eq!(told(0.91, 0.1, 0.1), waits(10));
    assert_eq!(told(0.5, 0.1, 0.05), waits(5));
    assert_eq!(told(0.5, 0.1, 0.049), alone);
}

#[test]
fn several_threads_are_too_few_in_one_of_three_ways() {
    let told = |size: Option<u64>| {
        let mut facts = facts(0.8, 1.0, [0.996, 0.2, 0.0]);
        (facts.group.size, facts.group.share_of_work) = (size, 0.85);
        facts.too_few()
    };
    let also = "; 20 % of the time they could run they wait for a CPU";
    assert_eq!(told(Some(1)), format!("one thread does 85 % of the work{also}"));
    assert_eq!(told(Some(2)), format!("of the 2 busiest threads 1.00 is alive at a time{also}"));
    assert_eq!(told(None), format!("on average 1.00 is alive at a time{also}"));
}

#[test]
fn at_rest_means_that_more_cores_would_not_help() {
    let told = |runnable: f64, reasons: &[(&str, f64)]| {
        let mut everyone = facts(0.0, 0.0, [1.0, runnable, 0.9]).group;
        everyone.reasons = reasons.iter().map(|(name, part)| ((*name).to_owned(), *part)).collect();
        facts(0.06, 0.08, [1.0, runnable, 0.9]).at_rest(&everyone)
    };
    let sleeps = [("sleep", 0.6)];
    assert!(told(0.02, &sleeps).ends_with("want 0.08 of 4 cores: more cores would not make them faster."));
    assert!(told(0.021, &sleeps).ends_with("want 0.08 of 4 cores: 25 % of the time they could run they wait for a CPU."));
    // A second reason is named if it is at least half of the first.
    assert!(
        told(0.0, &[("sleep", 0.6), ("poll", 0.3)])
            .starts_with("4 threads sleep 60 % of their time, wait for events 30 %, and want")
    );
    assert!(told(0.0, &[("sleep", 0.6), ("poll", 0.29)]).starts_with("4 threads sleep 60 % of their time and want"));
    assert!(told(0.0, &[]).ends_with("of 4 cores: on average 1.00 is alive at a time."));
}

#[test]
fn a_second_reason_to_block_is_named_if_it_is_half_of_the_first() {
    let told = |size: Option<u64>, threads: u64, second: f64| {
        let mut facts = Facts { threads, ..facts(1.0, 1.0, [4.0, 0.0, 3.0]) };
        facts.group.size = size;
        facts.group.reasons.push(("sleep".to_owned(), second));
        facts.blocked(if threads == 1 { "it" } else { "they" })
    };
    assert_eq!(told(None, 4, 0.25), "50 % of their time they wait for locks or other threads, 25 % they sleep");
    assert_eq!(told(None, 4, 0.24), "50 % of their time they wait for locks or other threads");
    assert_eq!(told(Some(1), 4, 0.25), "50 % of its time the busiest waits for locks or other threads, 25 % it sleeps");
    assert_eq!(told(Some(3), 4, 0.0), "50 % of their time the 3 busiest wait for locks or other threads");
    assert_eq!(told(None, 1, 0.3), "50 % of its time it waits for locks or other threads, 30 % it sleeps");
    let mut unexplained = facts(1.0, 1.0, [4.0, 0.0, 3.0]);
    unexplained.group.reasons.clear();
    assert_eq!(unexplained.blocked("they"), "they are blocked");
    unexplained.group.size = Some(1);
    assert_eq!(unexplained.blocked("they"), "the busiest is blocked");
}

#[test]
fn the_subject_is_threads_processes_or_both() {
    let subject = |threads: u64, processes: u64| Facts { threads, processes, ..facts(1.0, 1.0, [1.0, 0.0, 0.0]) }.subject();
    assert_eq!([subject(1, 0), subject(1, 1), subject(8, 1)], ["1 thread", "1 thread", "8 threads"]);
    assert_eq!([subject(2, 2), subject(3, 2)], ["2 processes", "3 threads in 2 processes"]);
}
