#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use proptest::prelude::*;

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
}

#[test]
fn an_offset_holds_for_a_millisecond() {
    let mut clock = SwitchClock::default();
    assert_eq!(clock.convert(7), None);
    assert_eq!(clock.measure(1_000, 5_000), 5_000);
    assert_eq!(clock.convert(2_000), Some(6_000));
    assert_eq!(clock.convert(1_000 + HOLDS_NS), Some(5_000 + HOLDS_NS));
    assert_eq!(clock.convert(1_000 + HOLDS_NS + 1), None);
}

#[test]
fn a_clock_that_was_set_is_believed_the_second_time() {
    let mut clock = SwitchClock::default();
    clock.measure(1_000, 5_000);
    assert_eq!(clock.measure(2_000_000, 3_000_000_000), 2_004_000);
    assert_eq!(clock.convert(2_000_001), None);
    assert_eq!(clock.measure(2_100_000, 3_000_100_000), 3_000_100_000);
}

#[test]
fn a_cpu_that_stood_still_between_the_readings_does_not_move_time() {
    let mut clock = SwitchClock::default();
    clock.measure(1_000, 5_000);
    // 30 ms passed after the scheduler read its clock.
    assert_eq!(clock.measure(2_000_000, 32_004_000), 2_004_000);
    assert_eq!(clock.measure(33_000_000, 33_004_200), 33_004_200);
}

/// A clock whose offset was 4,000 ns when the run queue's clock stood at 1,000.
fn measured_once() -> SwitchClock {
    let mut clock = SwitchClock::default();
    clock.measure(1_000, 5_000);
    clock
}

#[test]
fn a_smaller_offset_is_better_and_a_larger_one_is_approached() {
    // Each after one second: corrections may have moved the clocks by 488 us.
    let second = 1_000_000_000;
    for (offset, taken) in [(3_900, 3_900), (4_000, 4_000), (4_001, 4_001), (400_000, 400_000), (500_000, 4_000 + (second >> 11))] {
        let mut clock = measured_once();
        let rq_ns = 1_000 + second;
        assert_eq!(clock.measure(rq_ns, rq_ns + offset), rq_ns + taken, "{offset}");
        assert_eq!(clock.convert(rq_ns + 1), Some(rq_ns + 1 + taken), "an ordinary measurement holds");
    }
    // Over a short time it may still grow by what one correction can be.
    assert_eq!(measured_once().measure(2_000, 2_000 + 9_000), 2_000 + 4_000 + DRIFT_NS);
}

#[test]
fn a_jump_is_believed_if_the_next_measurement_says_the_same() {
    let jumped = 4_000 + 5 * JUMP_NS;
    let at = |rq_ns: u64, offset: u64| (rq_ns, rq_ns + offset);
    for (second, believed) in [
        (jumped, true),
        (jumped + JUMP_NS, true),
        (jumped - JUMP_NS, true),
        (jumped + JUMP_NS + 1, false),
        (jumped - JUMP_NS - 1, false),
    ] {
        let mut clock = measured_once();
        let (rq_ns, monotonic_ns) = at(10_000, jumped);
        assert_eq!(clock.measure(rq_ns, monotonic_ns), 10_000 + 4_000);
        let (rq_ns, monotonic_ns) = at(20_000, second);
        let expected = 20_000 + if believed { second } else { 4_000 };
        assert_eq!(clock.measure(rq_ns, monotonic_ns), expected, "first {jumped}, then {second}");
    }
    // The largest growth that is no jump is approached, not suspected.
    let mut clock = measured_once();
    clock.measure(10_000, 10_000 + 4_000 + JUMP_NS);
    assert_eq!(clock.suspect_ns, 0);
    // An ordinary measurement clears the suspicion.
    let mut clock = measured_once();
    clock.measure(10_000, 10_000 + jumped);
    clock.measure(20_000, 20_000 + 4_000);
    assert_eq!(clock.measure(30_000, 30_000 + jumped), 30_000 + 4_000);
}

#[test]
fn after_an_unbelieved_jump_the_next_switch_measures_again() {
    let mut clock = measured_once();
    let rq_ns = 1_000 + HOLDS_NS + 1;
    clock.measure(rq_ns, rq_ns + 4_000 + 5 * JUMP_NS);
    assert_eq!(clock.convert(rq_ns), None);
}
