//! Examples, each the smallest one of its kind.

use super::*;

#[test]
fn the_first_event_tells_what_a_seeded_thread_did() {
    let seeded = TaskClock::starting(Phase::Unseen, 100);

    let mut running = seeded;
    assert_eq!(
        running.switch_out(150, Departure::Blocked, KernelGrowth { runtime_ns: 50, run_delay_ns: None }),
        Closed { on_cpu_ns: 50, ..Closed::default() }
    );

    let mut runnable = seeded;
    assert_eq!(runnable.switch_in(150, 0), Closed { preempt_wait_ns: 50, ..Closed::default() });

    let mut blocked = seeded;
    blocked.waking(130);
    assert_eq!(blocked.switch_in(150, 0), Closed { blocked_ns: 30, wakeup_wait_ns: 20, ..Closed::default() });
}

#[test]
fn an_open_wait_is_blocked_until_it_is_woken() {
    let mut clock = TaskClock::starting(Phase::New, 0);
    clock.switch_in(10, 0);
    clock.switch_out(20, Departure::Blocked, NO_GROWTH);
    assert_eq!(clock.open(50, Phase::Running).blocked_ns, 30);
    clock.waking(40);
    let open = clock.open(50, Phase::Running);
    assert_eq!((open.blocked_ns, open.wakeup_wait_ns), (20, 10));
}

#[test]
fn a_pinned_thread_that_never_switches_is_seen_running() {
    let clock = TaskClock::starting(Phase::Unseen, 0);
    assert_eq!(clock.open(1_000, Phase::Running).on_cpu_ns, 1_000);
    assert_eq!(clock.open(1_000, Phase::Blocked).blocked_ns, 1_000);
}

#[test]
fn an_unseen_switch_in_is_settled_by_the_kernels_accounting() {
    let mut clock = TaskClock::starting(Phase::New, 0);
    clock.switch_in(0, 0);
    clock.switch_out(100_000, Departure::Preempted, KernelGrowth { runtime_ns: 100_000, run_delay_ns: Some(0) });
    // It resumed at some moment; the kernel ran it for 880 us until it is preempted again.
    let growth = KernelGrowth { runtime_ns: 880_000, run_delay_ns: None };
    let closed = clock.switch_out(1_000_000, Departure::Preempted, growth);
    assert_eq!((closed.on_cpu_ns, closed.preempt_wait_ns), (880_000, 20_000), "{closed:?}");
    assert_eq!(closed.loss, Some(Loss::SwitchInUnseen));

    // The same after a sleep whose waking was seen, and after one whose waking was not.
    clock.switch_in(1_000_000, 0);
    clock.switch_out(1_000_000, Departure::Blocked, NO_GROWTH);
    clock.waking(1_600_000);
    let growth = KernelGrowth { runtime_ns: 300_000, run_delay_ns: None };
    let closed = clock.switch_out(2_000_000, Departure::Blocked, growth);
    assert_eq!((closed.on_cpu_ns, closed.wakeup_wait_ns, closed.blocked_ns), (300_000, 100_000, 600_000));
    let closed = clock.switch_out(3_000_000, Departure::Blocked, growth);
    assert_eq!((closed.on_cpu_ns, closed.wakeup_wait_ns, closed.blocked_ns), (300_000, 0, 700_000));
}

#[test]
fn what_the_kernel_does_not_count_as_run_time_was_waiting() {
    let mut clock = TaskClock::starting(Phase::New, 0);
    clock.switch_in(0, 0);
    // Of 1,000 us the hypervisor or interrupts took 100.
    let closed = clock.switch_out(1_000_000, Departure::Preempted, KernelGrowth { runtime_ns: 900_000, run_delay_ns: Some(0) });
    assert_eq!(closed.on_cpu_ns, 900_000);
    let closed = clock.switch_in(1_050_000, 0);
    assert_eq!((closed.preempt_wait_ns, closed.correction_ns), (50_000, 100_000));
    // The kernel's clock had the thread arrive 7 us before ours did: the wait before was shorter.
    let closed = clock.switch_out(1_150_000, Departure::Preempted, KernelGrowth { runtime_ns: 107_000, run_delay_ns: Some(0) });
    assert_eq!(closed.on_cpu_ns, 107_000);
    let closed = clock.switch_in(1_153_000, 0);
    assert_eq!((closed.preempt_wait_ns, closed.correction_ns), (3_000, -3_000));
    assert_eq!(clock.carry_ns, -4_000);
}

#[test]
fn departures_follow_the_kernels_rule() {
    // (preempt, prev_state, in sched_yield) as `sched_switch` reports them.
    assert_eq!(Departure::classify(false, 1, false), Departure::Blocked);
    assert_eq!(Departure::classify(false, 0x80, false), Departure::Dead);
    assert_eq!(Departure::classify(false, 0, false), Departure::Preempted);
    assert_eq!(Departure::classify(false, 0, true), Departure::Yielded);
    // Preempted in the kernel on the way to sleep, or to the grave: still on the queue.
    assert_eq!(Departure::classify(true, 1, false), Departure::Preempted);
    assert_eq!(Departure::classify(true, 0x80, false), Departure::Preempted);
    // Preempted inside sched_yield before it gave way.
    assert_eq!(Departure::classify(true, 0, true), Departure::Preempted);
}

#[test]
fn placement_is_told_from_a_move_in_the_queue() {
    let mut clock = TaskClock::starting(Phase::New, 0);
    assert!(clock.is_placement());
    clock.switch_in(10, 0);
    clock.switch_out(20, Departure::Preempted, NO_GROWTH);
    assert!(!clock.is_placement());
    clock.switch_in(30, 0);
    clock.switch_out(40, Departure::Blocked, NO_GROWTH);
    assert!(clock.is_placement());
}

#[test]
fn a_seeded_thread_was_placed_only_if_it_was_woken() {
    let mut clock = TaskClock::starting(Phase::Unseen, 0);
    assert!(!clock.is_placement());
    clock.waking(10);
    assert!(clock.is_placement());
    // Running, and woken before its switch-out is seen: still where it was.
    clock.switch_in(20, 0);
    clock.waking(30);
    assert!(!clock.is_placement());
}

#[test]
fn a_life_begins_once() {
    let mut clock = TaskClock::starting(Phase::New, 100);
    assert!(clock.wakeup_new(150), "the fork began it, the first wake-up makes it runnable");
    assert_eq!(clock.switch_in(170, 0), Closed { wakeup_wait_ns: 20, observed: true, ..Closed::default() });
    assert!(!clock.wakeup_new(180));
    assert_eq!(clock.since_ns, 170);
    assert!(!TaskClock::starting(Phase::Unseen, 100).wakeup_new(150));
}

#[test]
fn what_is_carried_is_given_away_once() {
    for (runtime_ns, carry_ns) in [(900, 100), (1_000, 0), (1_007, -7)] {
        let mut clock = TaskClock::starting(Phase::New, 0);
        clock.switch_in(0, 0);
        clock.switch_out(1_000, Departure::Dead, KernelGrowth { runtime_ns, run_delay_ns: None });
        assert_eq!((clock.take_carry(), clock.take_carry()), (carry_ns, 0));
    }
}

#[test]
fn a_seeded_thread_ran_but_for_what_the_clocks_may_be_apart() {
    for (off_ns, loss) in [(0, None), (SLACK_NS, None), (SLACK_NS + 1, Some(Loss::SwitchInUnseen))] {
        let mut clock = TaskClock::starting(Phase::Unseen, 1_000);
        let growth = KernelGrowth { runtime_ns: 5_000_000, run_delay_ns: None };
        let closed = clock.switch_out(1_000 + 5_000_000 + off_ns, Departure::Preempted, growth);
        assert_eq!(closed, Closed { on_cpu_ns: 5_000_000, blocked_ns: off_ns, loss, ..Closed::default() });
    }
}

#[test]
fn a_run_whose_end_was_not_seen_is_counted_once() {
    let mut clock = TaskClock::starting(Phase::New, 0);
    clock.switch_in(0, 0);
    // It ran 100, was away for 50, came back on another CPU and runs 200 more.
    assert_eq!(clock.switch_in(150, 1), Closed { loss: Some(Loss::SwitchOutUnseen), ..Closed::default() });
    assert_eq!(clock.cpu, 1);
    let closed = clock.switch_out(350, Departure::Preempted, KernelGrowth { runtime_ns: 300, run_delay_ns: None });
    assert_eq!((closed.on_cpu_ns, closed.loss), (300, None));
    // That it was away shows in the wait after it.
    let closed = clock.switch_in(360, 1);
    assert_eq!((closed.preempt_wait_ns, closed.correction_ns), (10, 50));
}

#[test]
fn a_raw_phase_is_one_of_ours_or_none() {
    let phases = [Phase::Unseen, Phase::New, Phase::Running, Phase::Runnable, Phase::Blocked, Phase::Dead];
    for phase in phases {
        assert_eq!(Phase::from_raw(phase as u32), Some(phase));
    }
    assert_eq!(Phase::from_raw(Phase::Dead as u32 + 1), None);
    assert_eq!(Phase::from_raw(u32::MAX), None);
}

#[test]
fn a_wait_that_is_not_settled_yet_counts_as_blocked() {
    let mut clock = TaskClock::starting(Phase::New, 0);
    clock.switch_in(0, 0);
    clock.switch_out(100, Departure::Blocked, KernelGrowth { runtime_ns: 100, run_delay_ns: Some(0) });
    clock.switch_in(400, 0);
    let open = clock.open(450, Phase::Blocked);
    assert_eq!((open.on_cpu_ns, open.blocked_ns), (50, 300));
}
