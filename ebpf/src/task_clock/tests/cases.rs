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
    assert_eq!(runnable.switch_in(150, 0, None), Closed { preempt_wait_ns: 50, after_preemption: true, ..Closed::default() });

    let mut blocked = seeded;
    blocked.waking(130);
    assert_eq!(blocked.switch_in(150, 0, None), Closed { blocked_ns: 30, wakeup_wait_ns: 20, ..Closed::default() });
}

#[test]
fn an_unseen_switch_in_is_settled_by_the_kernels_accounting() {
    // The first wait of a life follows a wake-up.
    let mut clock = TaskClock::starting(Phase::New, 0);
    let growth = KernelGrowth { runtime_ns: 70_000, run_delay_ns: None };
    let closed = clock.switch_out(100_000, Departure::Preempted, growth);
    assert_eq!((closed.on_cpu_ns, closed.wakeup_wait_ns, closed.after_preemption), (70_000, 30_000, false), "{closed:?}");

    let mut clock = TaskClock::starting(Phase::New, 0);
    clock.switch_in(0, 0, None);
    clock.switch_out(100_000, Departure::Preempted, KernelGrowth { runtime_ns: 100_000, run_delay_ns: Some(0) });
    // It resumed at some moment; the kernel ran it for 880 us until it is preempted again.
    let growth = KernelGrowth { runtime_ns: 880_000, run_delay_ns: None };
    let closed = clock.switch_out(1_000_000, Departure::Preempted, growth);
    assert_eq!((closed.on_cpu_ns, closed.preempt_wait_ns), (880_000, 20_000), "{closed:?}");
    assert_eq!(closed.loss, Some(Loss::SwitchInUnseen));

    // The same after a sleep whose waking was seen, and after one whose waking was not.
    clock.switch_in(1_000_000, 0, None);
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
    clock.switch_in(0, 0, None);
    // Of 1,000 us the hypervisor or interrupts took 100.
    let closed = clock.switch_out(1_000_000, Departure::Preempted, KernelGrowth { runtime_ns: 900_000, run_delay_ns: Some(0) });
    assert_eq!(closed.on_cpu_ns, 900_000);
    let closed = clock.switch_in(1_050_000, 0, None);
    assert_eq!((closed.preempt_wait_ns, closed.correction_ns), (50_000, 100_000));
    // The kernel's clock had the thread arrive 7 us before ours did: the wait before was shorter.
    let closed = clock.switch_out(1_150_000, Departure::Preempted, KernelGrowth { runtime_ns: 107_000, run_delay_ns: Some(0) });
    assert_eq!(closed.on_cpu_ns, 107_000);
    let closed = clock.switch_in(1_153_000, 0, None);
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
fn a_thread_that_is_woken_on_its_way_to_sleep_waits_for_its_wakeup_as_long_as_the_kernel_has_it_queued() {
    let mut asleep = TaskClock::starting(Phase::New, 0);
    asleep.switch_in(0, 0, None);
    asleep.switch_out(100, Departure::Blocked, KernelGrowth { runtime_ns: 100, run_delay_ns: None });

    let mut clock = asleep;
    let closed = clock.switch_in(200, 0, Some(90));
    assert_eq!(closed, Closed { blocked_ns: 10, wakeup_wait_ns: 90, observed: true, ..Closed::default() });
    // A signal was pending: it never left the queue. The two clocks differ by 3 ns, which the wait is not charged with.
    let mut clock = asleep;
    let closed = clock.switch_in(200, 0, Some(103));
    assert_eq!((closed.blocked_ns, closed.wakeup_wait_ns, closed.correction_ns), (0, 103, -3));
    // A kernel without stamps.
    let mut clock = asleep;
    assert_eq!(clock.switch_in(200, 0, None).wakeup_wait_ns, 100);
    // The stamp is that of the second queue.
    let mut clock = asleep;
    clock.moved_in_queue();
    let closed = clock.switch_in(200, 0, Some(40));
    assert_eq!((closed.blocked_ns, closed.wakeup_wait_ns), (0, 100));
}

#[test]
fn an_open_interval_counts_as_what_was_last_seen() {
    // A pinned thread that never switches.
    let seeded = TaskClock::starting(Phase::Unseen, 0);
    assert_eq!(seeded.open(1_000, Phase::Running).on_cpu_ns, 1_000);
    assert_eq!(seeded.open(1_000, Phase::Blocked).blocked_ns, 1_000);

    let mut clock = TaskClock::starting(Phase::New, 0);
    clock.switch_in(10, 0, None);
    clock.switch_out(20, Departure::Blocked, KernelGrowth { runtime_ns: 10, run_delay_ns: Some(0) });
    assert_eq!(clock.open(50, Phase::Running).blocked_ns, 30);
    clock.waking(40);
    let open = clock.open(50, Phase::Running);
    assert_eq!((open.blocked_ns, open.wakeup_wait_ns), (20, 10));
}

#[test]
fn a_life_begins_once() {
    let mut clock = TaskClock::starting(Phase::New, 100);
    assert!(clock.wakeup_new(150), "the fork began it, the first wake-up makes it runnable");
    assert_eq!(clock.switch_in(170, 0, None), Closed { wakeup_wait_ns: 20, observed: true, ..Closed::default() });
    assert!(!clock.wakeup_new(180));
    assert_eq!(clock.since_ns, 170);
    assert!(!TaskClock::starting(Phase::Unseen, 100).wakeup_new(150));
}

#[test]
fn a_seeded_thread_ran_all_the_time_but_for_what_clocks_may_differ_by() {
    for (off_ns, loss) in [(0, None), (SLACK_NS, None), (SLACK_NS + 1, Some(Loss::SwitchInUnseen))] {
        let mut clock = TaskClock::starting(Phase::Unseen, 1_000);
        let growth = KernelGrowth { runtime_ns: 5_000_000, run_delay_ns: None };
        let closed = clock.switch_out(1_000 + 5_000_000 + off_ns, Departure::Preempted, growth);
        assert_eq!(closed, Closed { on_cpu_ns: 5_000_000, blocked_ns: off_ns, loss, ..Closed::default() });
    }
}

#[test]
fn a_raw_phase_is_known_or_none() {
    let phases = [Phase::Unseen, Phase::New, Phase::Running, Phase::Runnable, Phase::Blocked, Phase::Dead];
    for phase in phases {
        assert_eq!(Phase::from_raw(phase as u32), Some(phase));
    }
    assert_eq!(Phase::from_raw(Phase::Dead as u32 + 1), None);
    assert_eq!(Phase::from_raw(u32::MAX), None);
}

#[test]
fn what_began_before_a_thread_was_seeded_is_no_contradiction() {
    let (before_ns, since_ns) = (2_000_000, 2_000_001 + INVERSION_NS);
    for (phase, loss) in [(Phase::Unseen, None), (Phase::Runnable, Some(Loss::ClockInversion))] {
        let mut clock = TaskClock::starting(phase, since_ns);
        let closed = clock.switch_in(before_ns, 3, None);
        assert_eq!((closed.loss, closed.total_ns(), clock.since_ns), (loss, 0, since_ns), "{phase:?}");
    }
}
