use proptest::prelude::*;

use super::*;

proptest! {
    /// Switches at any times, the monotonic clock read up to 20 us after the scheduler's and running up to 500 ppm off.
    #[test]
    fn converted_times_stay_within_the_reading_error(
        steps in prop::collection::vec((1_u64..3_000_000, 300_u64..20_000), 1..200),
        ppm in -500_i64..500,
    ) {
        let mut clock = SwitchClock::default();
        let mut rq_ns = 1_000_000_000_u64;
        for (step, late) in steps {
            rq_ns += step;
            let drift_ns = i64::try_from(rq_ns / 1_000_000).unwrap() * ppm;
            let true_ns = (rq_ns + 5_000_000_000).wrapping_add_signed(drift_ns);
            let now_ns = clock.convert(rq_ns).unwrap_or_else(|| clock.measure(rq_ns, true_ns + late));
            // Never later than the latest reading could be, never earlier than corrections can explain.
            prop_assert!(now_ns <= true_ns + 20_000 + 1_000, "{} ns late", now_ns - true_ns);
            prop_assert!(now_ns + 5_000 >= true_ns, "{} ns early", true_ns - now_ns);
        }
    }

    /// Stalls between the two readings, never two in a row: no time lies in the future, however long they are.
    #[test]
    fn a_cpu_that_stands_still_does_not_move_later_switches(
        steps in prop::collection::vec((1_u64..3_000_000, 300_u64..2_000, prop::option::weighted(0.3, 2_000_u64..80_000_000)), 1..200),
    ) {
        let mut clock = SwitchClock::default();
        let (mut rq_ns, mut has_stalled) = (1_000_000_000_u64, false);
        for (step, late, stall) in steps {
            rq_ns += step;
            let true_ns = rq_ns + 5_000_000_000;
            let stall = stall.filter(|_| !has_stalled).unwrap_or(0);
            if let Some(now_ns) = clock.convert(rq_ns) {
                prop_assert!((true_ns..=true_ns + 2_000).contains(&now_ns), "{} ns late", now_ns - true_ns);
            } else {
                let read_ns = true_ns + late + stall;
                prop_assert!((true_ns..=read_ns).contains(&clock.measure(rq_ns, read_ns)));
                has_stalled = stall != 0;
            }
            // The CPU goes on after the stall.
            rq_ns += stall;
        }
    }
}

#[test]
fn an_offset_holds_for_a_millisecond() {
    let mut clock = SwitchClock::default();
    assert_eq!(clock.convert(7), None);
    assert_eq!(clock.measure(1_000, 5_000), 5_000);
    assert_eq!(clock.convert(1_001), None, "it takes two measurements");
    assert_eq!(clock.measure(1_100, 5_200), 5_200);
    // The smaller of the two.
    assert_eq!(clock.convert(2_000), Some(6_000));
    assert_eq!(clock.convert(1_100 + HOLDS_NS), Some(5_100 + HOLDS_NS));
    assert_eq!(clock.convert(1_100 + HOLDS_NS + 1), None);
}

#[test]
fn the_same_reading_of_the_scheduler_confirms_nothing() {
    let mut clock = SwitchClock::default();
    assert_eq!(clock.measure(1_000, 9_000), 9_000);
    assert_eq!(clock.measure(1_000, 9_100), 9_100);
    assert_eq!(clock.convert(1_000), None);
    let mut clock = measured();
    // 3 ms late, where corrections could explain 5 ms: the CPU was idle for 10 s.
    assert_eq!(clock.measure(10_000_000_000, 10_003_004_000), 10_003_004_000);
    assert_eq!(clock.measure(10_000_000_000, 10_003_104_000), 10_003_104_000);
    assert_eq!(clock.measure(10_004_000_000, 10_004_004_000), 10_004_004_000);
}

/// A clock whose offset was 4,000 ns when the run queue's clock stood at 1,000.
fn measured() -> SwitchClock {
    let mut clock = SwitchClock::default();
    clock.measure(900, 4_900);
    clock.measure(1_000, 5_000);
    clock
}

#[test]
fn a_clock_that_was_set_is_believed_the_second_time() {
    let mut clock = measured();
    // 488 ppm of 2 ms.
    assert_eq!(clock.measure(2_000_000, 3_000_000_000), 2_004_000 + (1_999_000 >> 11));
    assert_eq!(clock.convert(2_000_001), None);
    assert_eq!(clock.measure(2_100_000, 3_000_100_000), 3_000_100_000);
}

#[test]
fn a_smaller_offset_is_better_and_a_larger_one_is_approached() {
    // Each after one second: corrections may have moved the clocks by 488 us.
    let second = 1_000_000_000;
    for (offset, taken, is_believed) in [
        (3_900, 3_900, true),
        (4_000, 4_000, true),
        (4_000 + DRIFT_NS, 4_000 + DRIFT_NS, true),
        (4_001 + DRIFT_NS, 4_001 + DRIFT_NS, false),
        (400_000, 400_000, false),
        (500_000, 4_000 + (second >> 11), false),
    ] {
        let mut clock = measured();
        let rq_ns = 1_000 + second;
        assert_eq!(clock.measure(rq_ns, rq_ns + offset), rq_ns + taken, "{offset}");
        assert_eq!(clock.convert(rq_ns + 1), is_believed.then_some(rq_ns + 1 + taken), "{offset}");
        clock.measure(rq_ns + 2, rq_ns + 2 + offset);
        assert_eq!(clock.convert(rq_ns + 3), Some(rq_ns + 3 + taken), "{offset}");
    }
    // Over a short time it may still grow by what one correction can be.
    assert_eq!(measured().measure(2_000, 2_000 + 9_000), 2_000 + 4_000 + DRIFT_NS);
}

#[test]
fn an_offset_grows_by_the_smaller_of_two_measurements() {
    for (first, second) in [(3_000, 2_000), (2_000, 3_000)] {
        let mut clock = measured();
        clock.measure(10_000_000, 10_004_000 + first);
        assert_eq!(clock.measure(10_010_000, 10_014_000 + second), 10_016_000);
    }
}

#[test]
fn a_jump_is_believed_if_the_next_measurement_says_the_same() {
    let jumped = 4_000 + 5 * JUMP_NS;
    let at = |rq_ns: u64, offset: u64| (rq_ns, rq_ns + offset);
    for (second, believed) in [
        (jumped, Some(jumped)),
        (jumped + JUMP_NS, Some(jumped)),
        (jumped - JUMP_NS, Some(jumped - JUMP_NS)),
        (jumped + JUMP_NS + 1, None),
        (jumped - JUMP_NS - 1, None),
    ] {
        let mut clock = measured();
        let (rq_ns, monotonic_ns) = at(10_000, jumped);
        assert_eq!(clock.measure(rq_ns, monotonic_ns), 10_000 + 4_000 + DRIFT_NS);
        let (rq_ns, monotonic_ns) = at(20_000, second);
        let expected = 20_000 + believed.unwrap_or(4_000 + DRIFT_NS);
        assert_eq!(clock.measure(rq_ns, monotonic_ns), expected, "first {jumped}, then {second}");
    }
    // The largest growth that is no jump is approached, however often it is measured.
    let mut clock = measured();
    clock.measure(10_000, 10_000 + 4_000 + JUMP_NS);
    assert_eq!(clock.measure(20_000, 20_000 + 4_000 + JUMP_NS), 20_000 + 4_000 + DRIFT_NS);
    // An ordinary measurement clears the suspicion.
    let mut clock = measured();
    clock.measure(10_000, 10_000 + jumped);
    clock.measure(20_000, 20_000 + 4_000);
    assert_eq!(clock.measure(30_000, 30_000 + jumped), 30_000 + 4_000 + DRIFT_NS);
}

#[test]
fn after_an_unbelieved_growth_the_next_switch_measures_again() {
    for growth in [DRIFT_NS + 1, 5 * JUMP_NS] {
        let mut clock = measured();
        let rq_ns = 1_000 + HOLDS_NS + 1;
        clock.measure(rq_ns, rq_ns + 4_000 + growth);
        assert_eq!(clock.convert(rq_ns), None);
    }
}
