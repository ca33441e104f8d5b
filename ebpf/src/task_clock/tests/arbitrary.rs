//! What holds whatever happens: any event at any time, in any phase.

use proptest::prelude::*;

use super::*;

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
    let step = prop_oneof![
        16 => -50_i64..5_000,
        2 => 0_i64..400_000,
        2 => -200_000_i64..0,
        1 => Just(-INVERSION_NS.cast_signed()),
        1 => Just(-INVERSION_NS.cast_signed() - 1),
    ];
    (kind, step, growth())
}

fn events() -> impl Strategy<Value = Vec<(Event, i64, KernelGrowth)>> {
    prop::collection::vec(event(), 0..64)
}

fn start_phase() -> impl Strategy<Value = Phase> {
    prop_oneof![Just(Phase::Unseen), Just(Phase::New)]
}

/// The kernel's accounting, independent of what we saw.
fn growth() -> impl Strategy<Value = KernelGrowth> {
    (0_u64..5_000, prop::option::of(0_u64..5_000)).prop_map(|(runtime_ns, run_delay_ns)| KernelGrowth { runtime_ns, run_delay_ns })
}

fn apply(clock: &mut TaskClock, event: Event, now_ns: u64, growth: KernelGrowth) -> Closed {
    match event {
        Event::In => clock.switch_in(now_ns, 3, growth.run_delay_ns),
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
    fn every_nanosecond_is_charged_exactly_once(phase in start_phase(), events in events()) {
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
            prop_assert_eq!(charged_ns.wrapping_add_signed(clock.carry_ns), clock.since_ns - start_ns, "{:?} on {:?}", event, before);
            // A correction takes away from a wait at most what the wait was.
            prop_assert!(closed.correction_ns >= -(closed.wakeup_wait_ns + closed.preempt_wait_ns).cast_signed(), "{:?}", closed);
            prop_assert!(clock.since_ns >= before.since_ns || matches!(event, Event::New), "time went back: {:?} on {:?}", event, before);
            if before.phase == Phase::Dead as u32 {
                prop_assert_eq!(closed.total_ns(), 0);
                prop_assert_eq!(clock.phase, before.phase);
            }
            // What is still open belongs to the life as well, and looking at it changes nothing.
            let open = clock.open(now_ns, Phase::Running);
            let open_ns = if clock.phase == Phase::Dead as u32 { 0 } else { now_ns.saturating_sub(clock.since_ns) };
            // So does what the kernel left out of runs, at once and not only from the next wait on.
            prop_assert_eq!(open.total_ns(), open_ns + clock.carry_ns.max(0).cast_unsigned());
            prop_assert_eq!(open, clock.open(now_ns, Phase::Running));
            prop_assert_eq!(open.loss, None);
        }
    }

    #[test]
    fn every_contradiction_is_counted(phase in start_phase(), events in events()) {
        let mut now_ns = 1_000_000_u64;
        let mut clock = TaskClock::starting(phase, now_ns);
        for (event, step, growth) in events {
            now_ns = now_ns.saturating_add_signed(step);
            // Not the CPU of the next switch-in.
            clock.cpu = 0;
            let before = clock;
            let closed = apply(&mut clock, event, now_ns, growth);
            let was = |phase: Phase| before.phase == phase as u32;
            // A seeded thread may have waited while it did not run, for as long as two clocks can differ by.
            let off_ns = now_ns.saturating_sub(before.since_ns).saturating_sub(growth.runtime_ns);
            let expected = match event {
                Event::Waking | Event::New => None,
                _ if was(Phase::Dead) => Some(Loss::AfterEnd),
                Event::In if was(Phase::Running) => Some(Loss::SwitchOutUnseen),
                Event::Out(_) if !was(Phase::Running) && (!was(Phase::Unseen) || off_ns > SLACK_NS) => Some(Loss::SwitchInUnseen),
                // What comes first after seeding may have begun before it.
                _ if now_ns + INVERSION_NS < before.since_ns && !was(Phase::Unseen) => Some(Loss::ClockInversion),
                _ => None,
            };
            prop_assert_eq!(closed.loss, expected, "{:?} on {:?}", event, before);
            prop_assert_eq!(clock.cpu, if matches!(event, Event::In) && !was(Phase::Dead) { 3 } else { 0 });
        }
    }

    /// The hooks ask for the ordinary case first, because it is cheaper. It must take every ordinary switch, and decide as the general
    /// case does.
    #[test]
    fn the_ordinary_case_takes_every_ordinary_switch_and_decides_as_the_general_one(phase in start_phase(), events in events()) {
        let mut now_ns = 1_000_000_u64;
        let mut clock = TaskClock::starting(phase, now_ns);
        for (event, step, growth) in events {
            now_ns = now_ns.saturating_add_signed(step);
            let was = |phase: Phase| clock.phase == phase as u32;
            let in_time = now_ns + INVERSION_NS >= clock.since_ns;
            let (mut quick, mut general) = (clock, clock);
            let (closed, expected, ordinary) = match event {
                Event::In => {
                    let ordinary = in_time && (was(Phase::Runnable) || (was(Phase::Blocked) && clock.waking_ns != 0));
                    (quick.end_wait(now_ns, 3), general.irregular_switch_in(now_ns, 3, growth.run_delay_ns), ordinary)
                }
                Event::Out(departure) => {
                    let closed = quick.end_run(now_ns, departure, growth.runtime_ns);
                    let closed = closed.map(|on_cpu_ns| Closed { on_cpu_ns, observed: true, ..Closed::default() });
                    let ordinary = in_time && was(Phase::Running);
                    (closed, general.irregular_switch_out(now_ns, departure, growth), ordinary)
                }
                _ => (None, Closed::default(), false),
            };
            prop_assert_eq!(closed.is_some(), ordinary, "{:?} on {:?}", event, clock);
            if let Some(closed) = closed {
                prop_assert_eq!((closed, quick), (expected, general), "{:?} on {:?}", event, clock);
            } else {
                prop_assert_eq!(quick, clock, "it was not the ordinary case, so nothing may have changed");
            }
            apply(&mut clock, event, now_ns, growth);
        }
    }
}
