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
        Facts { cores, running, cores_with_nearly_all, foreign, idle, ..facts(0.0, 4.0, [4.0, 2.0, 0.0]) }
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
