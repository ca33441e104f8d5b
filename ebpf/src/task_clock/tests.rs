//! The ledger under orderly and arbitrary event orders.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    In,
    Out(Departure),
    Waking,
    New,
}

/// Any event at any time, later or earlier than the one before: losses, other CPUs' clocks, wakes that come too early.
fn event() -> impl Strategy<Value = (Event, i64, KernelGrowth)> {
    let kind = prop_oneof![
        Just(Event::In),
        Just(Event::Waking),
        Just(Event::New),
        Just(Event::Out(Departure::Blocked)),
        Just(Event::Out(Departure::Preempted)),
        Just(Event::Out(Departure::Yielded)),
        Just(Event::Out(Departure::Dead)),
    ];
    (kind, prop_oneof![9 => -50_i64..5_000, 1 => -200_000_i64..0], growth())
}

fn start_phase() -> impl Strategy<Value = Phase> {
    prop_oneof![Just(Phase::Unseen), Just(Phase::New)]
}

/// The kernel's accounting, independent of what we saw.
fn growth() -> impl Strategy<Value = KernelGrowth> {
    (0_u64..5_000, prop::option::of(0_u64..5_000)).prop_map(|(runtime_ns, run_delay_ns)| KernelGrowth { runtime_ns, run_delay_ns })
}

const NO_GROWTH: KernelGrowth = KernelGrowth { runtime_ns: 0, run_delay_ns: None };

fn apply(clock: &mut TaskClock, event: Event, now_ns: u64, growth: KernelGrowth) -> Closed {
    match event {
        Event::In => clock.switch_in(now_ns, 0),
        Event::Out(departure) => clock.switch_out(now_ns, departure, growth),
        Event::Waking => {
            clock.waking(now_ns);
            Closed::default()
        }
        Event::New => {
            clock.wakeup_new(now_ns);
            Closed::default()
        }
    }
}

proptest! {
    #[test]
    fn every_nanosecond_is_charged_exactly_once(phase in start_phase(), events in prop::collection::vec(event(), 0..64)) {
        let mut now_ns = 1_000_000_u64;
        let mut clock = TaskClock::starting(phase, now_ns);
        let mut start_ns = now_ns;
        let mut charged_ns = 0;
        for (event, step, growth) in events {
            now_ns = now_ns.saturating_add_signed(step);
            let before = clock;
            let closed = apply(&mut clock, event, now_ns, growth);
            if matches!(event, Event::New) && before.phase == Phase::New as u32 {
                start_ns = clock.since_ns;
            }
            charged_ns += closed.total_ns();
            prop_assert_eq!((charged_ns + clock.pending_ns).wrapping_add_signed(clock.carry_ns), clock.since_ns - start_ns, "{:?} on {:?}", event, before);
            if before.phase == Phase::Dead as u32 {
                prop_assert_eq!(closed.total_ns(), 0);
            }
        }
        // What is still open belongs to the life as well, and looking at it changes nothing.
        let open = clock.open(now_ns, Phase::Running);
        let open_ns = if clock.phase == Phase::Dead as u32 { 0 } else { now_ns.saturating_sub(clock.since_ns) };
        prop_assert_eq!(open.total_ns(), open_ns + clock.pending_ns);
        prop_assert_eq!(open, clock.open(now_ns, Phase::Running));
    }

    #[test]
    fn every_contradiction_is_counted(phase in start_phase(), events in prop::collection::vec(event(), 0..64)) {
        let mut now_ns = 1_000_000_u64;
        let mut clock = TaskClock::starting(phase, now_ns);
        for (event, step, growth) in events {
            now_ns = now_ns.saturating_add_signed(step);
            let before = clock;
            let closed = apply(&mut clock, event, now_ns, growth);
            let dead = before.phase == Phase::Dead as u32;
            let running = before.phase == Phase::Running as u32;
            let expected = match event {
                Event::In | Event::Out(_) if dead => Some(Loss::AfterEnd),
                Event::In if running => Some(Loss::SwitchOutUnseen),
                Event::Out(_) if !running && before.phase != Phase::Unseen as u32 => Some(Loss::SwitchInUnseen),
                Event::In | Event::Out(_) if now_ns + CLOCK_ERROR_NS < before.since_ns => Some(Loss::ClockInversion),
                _ => None,
            };
            // An unseen switch-in is the graver finding, but the clock is looked at as well.
            let inverted = now_ns + CLOCK_ERROR_NS < before.since_ns && closed.loss == Some(Loss::ClockInversion);
            prop_assert!(closed.loss == expected || inverted, "{:?} on {:?}: {:?}", event, before, closed.loss);
        }
    }

    /// An orderly life, as the kernel lives it: in, out, perhaps woken, in again. Each wait gets its own kind.
    #[test]
    fn an_orderly_life_has_no_loss(steps in prop::collection::vec((0_u8..5, 1_u64..1_000, 1_u64..1_000, 1_u64..1_000), 1..40)) {
        let mut now_ns = 5_000_u64;
        let mut clock = TaskClock::starting(Phase::New, now_ns);
        let (mut on_cpu, mut wakeup, mut preempt, mut blocked) = (0, 10, 0, 0);
        let mut sum = Closed::default();
        let mut add = |closed: Closed| {
            prop_assert_eq!(closed.loss, None);
            sum.on_cpu_ns += closed.on_cpu_ns;
            sum.wakeup_wait_ns += closed.wakeup_wait_ns;
            sum.preempt_wait_ns += closed.preempt_wait_ns;
            sum.blocked_ns += closed.blocked_ns;
            Ok(())
        };
        now_ns += 10;
        add(clock.switch_in(now_ns, 0))?;
        let mut queued = 0; // What the kernel adds to run_delay between two switch-outs.
        for (kind, run, off, wait) in steps {
            now_ns += run;
            on_cpu += run;
            let growth = KernelGrowth { runtime_ns: run, run_delay_ns: Some(queued) };
            match kind {
                0 => {
                    add(clock.switch_out(now_ns, Departure::Preempted, growth))?;
                    now_ns += wait;
                    (preempt, queued) = (preempt + wait, wait);
                }
                1 => {
                    add(clock.switch_out(now_ns, Departure::Blocked, growth))?;
                    now_ns += off;
                    blocked += off;
                    clock.waking(now_ns);
                    now_ns += wait;
                    (wakeup, queued) = (wakeup + wait, wait);
                    clock.waking(now_ns); // A second waking does not shorten the latency.
                }
                2 => {
                    // The waker stamps its time before the switch-out does.
                    clock.waking(now_ns - 1);
                    add(clock.switch_out(now_ns, Departure::Blocked, growth))?;
                    now_ns += wait;
                    (wakeup, queued) = (wakeup + wait, wait);
                }
                3 => {
                    // A signal was pending: never dequeued, never woken.
                    add(clock.switch_out(now_ns, Departure::Blocked, growth))?;
                    now_ns += wait;
                    (preempt, queued) = (preempt + wait, wait);
                }
                _ => {
                    // The waking was not seen; longer than what the clocks may differ by.
                    let off = off + 200_000;
                    add(clock.switch_out(now_ns, Departure::Blocked, growth))?;
                    now_ns += off + wait;
                    (wakeup, queued) = (wakeup + wait, wait);
                    blocked += off;
                }
            }
            add(clock.switch_in(now_ns, 1))?;
        }
        let last = KernelGrowth { runtime_ns: 0, run_delay_ns: Some(queued) };
        add(clock.switch_out(now_ns, Departure::Dead, last))?;
        prop_assert_eq!(sum, Closed { on_cpu_ns: on_cpu, wakeup_wait_ns: wakeup, preempt_wait_ns: preempt, blocked_ns: blocked, ..sum });
    }
}

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
