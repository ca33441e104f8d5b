//! `CLOCK_MONOTONIC` at a context switch without reading a clock.
//!
//! The scheduler has just read its own: the run queue's clock is the time at which it was entered, which is also where the kernel
//! ends one task's run time and begins the other's. It counts the same nanoseconds as `CLOCK_MONOTONIC` from another start and
//! without its corrections (at most 500 ppm), so an offset kept per CPU converts it, and a millisecond later is measured anew.
//! Reading a clock takes a third of the time of a switch's program, and more on a virtual machine.

/// Offset between the two clocks on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(clippy::struct_field_names, reason = "units are in the names")]
pub struct SwitchClock {
    /// `CLOCK_MONOTONIC` less the run queue's clock, wrapping.
    offset_ns: u64,
    /// The run queue's clock when the offset was measured; 0 before.
    measured_at_ns: u64,
    /// A growth that waits for another measurement to confirm it; 0 for none.
    suspect_ns: u64,
    /// The run queue's clock when it was seen, or at the very first measurement.
    suspect_at_ns: u64,
}

/// How long an offset holds: at 500 ppm it is wrong by 0.5 us then.
const HOLDS_NS: u64 = 1_000_000;
/// A growth that corrections cannot explain is believed if the next measurement is within this of it: then a clock was set.
const JUMP_NS: u64 = 1_000_000;
/// What corrections may move the offset by in any case between two measurements.
const DRIFT_NS: u64 = 500;

impl SwitchClock {
    /// The time of a switch, or `None` if the offset has to be measured first.
    #[inline(always)]
    pub fn convert(&self, rq_clock_ns: u64) -> Option<u64> {
        let age_ns = rq_clock_ns.wrapping_sub(self.measured_at_ns);
        if self.measured_at_ns == 0 || age_ns > HOLDS_NS { None } else { Some(rq_clock_ns.wrapping_add(self.offset_ns)) }
    }

    /// Takes both clocks, read one after the other, and returns the time of the switch, never later than `monotonic_ns`.
    ///
    /// The reading of `CLOCK_MONOTONIC` comes some time after the scheduler's, much later if the (virtual) CPU stood still in between.
    /// So every measured offset is too large, and the smallest is the best. One that is too large puts the switches of the next
    /// millisecond into the future, where what other CPUs see of the same thread contradicts them. Therefore it takes two
    /// measurements in a row to begin with an offset or to enlarge it, of which the smaller counts, and an offset may grow only as
    /// fast as corrections can make it. The scheduler does not read its clock at every switch, and the same reading twice tells
    /// nothing new; another one was taken after the earlier measurement, since both are made under the run queue's lock.
    #[inline(always)]
    pub fn measure(&mut self, rq_clock_ns: u64, monotonic_ns: u64) -> u64 {
        let measured_ns = monotonic_ns.wrapping_sub(rq_clock_ns);
        let change_ns = measured_ns.wrapping_sub(self.offset_ns).cast_signed();
        if self.measured_at_ns == 0 {
            let is_first = self.suspect_at_ns == 0;
            if is_first || change_ns < 0 {
                self.offset_ns = measured_ns;
            }
            if is_first {
                self.suspect_at_ns = rq_clock_ns;
            } else if rq_clock_ns != self.suspect_at_ns {
                self.measured_at_ns = rq_clock_ns;
            }
            return monotonic_ns;
        }
        if change_ns < 0 {
            self.offset_ns = measured_ns;
        } else {
            let grown_ns = change_ns.cast_unsigned();
            let is_repeated = rq_clock_ns == self.suspect_at_ns;
            let smaller_ns = if is_repeated { 0 } else { grown_ns.min(self.suspect_ns) };
            // 1/2048 is 488 ppm.
            let most_ns = DRIFT_NS.max(rq_clock_ns.wrapping_sub(self.measured_at_ns) >> 11);
            if grown_ns <= DRIFT_NS {
                self.offset_ns = measured_ns;
            } else if smaller_ns != 0 && smaller_ns <= JUMP_NS {
                self.offset_ns = self.offset_ns.wrapping_add(smaller_ns.min(most_ns));
            } else if smaller_ns != 0 && grown_ns.abs_diff(self.suspect_ns) <= JUMP_NS {
                self.offset_ns = self.offset_ns.wrapping_add(smaller_ns);
            } else {
                // Not believed yet. The offset keeps its age, so the next switch measures again.
                if !is_repeated {
                    self.suspect_ns = grown_ns;
                    self.suspect_at_ns = rq_clock_ns;
                }
                return rq_clock_ns.wrapping_add(self.offset_ns).wrapping_add(grown_ns.min(most_ns));
            }
        }
        self.suspect_ns = 0;
        self.measured_at_ns = rq_clock_ns;
        rq_clock_ns.wrapping_add(self.offset_ns)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
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

    proptest! {
        /// Stalls between the two readings, never two in a row: no time lies in the future, whatever their length.
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
                match clock.convert(rq_ns) {
                    Some(now_ns) => prop_assert!(now_ns <= true_ns + 2_000 && now_ns >= true_ns, "{} ns late", now_ns - true_ns),
                    None => {
                        let read_ns = true_ns + late + stall;
                        let now_ns = clock.measure(rq_ns, read_ns);
                        prop_assert!((true_ns..=read_ns).contains(&now_ns));
                        has_stalled = stall != 0;
                    }
                }
                // The CPU goes on when it is over.
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
        assert_eq!(clock.convert(2_000), Some(6_000));
        assert_eq!(clock.convert(1_100 + HOLDS_NS + 1), None);
    }

    /// A clock whose offset is 4,000 ns, measured at 1,000 ns.
    fn measured() -> SwitchClock {
        let mut clock = SwitchClock::default();
        clock.measure(900, 4_900);
        clock.measure(1_000, 5_000);
        clock
    }

    #[test]
    fn a_clock_that_was_set_is_believed_the_second_time() {
        let mut clock = measured();
        // At most 488 ppm of 2 ms later.
        assert_eq!(clock.measure(2_000_000, 3_000_000_000), 2_004_976);
        assert_eq!(clock.convert(2_000_001), None);
        assert_eq!(clock.measure(2_100_000, 3_000_100_000), 3_000_100_000);
    }

    #[test]
    fn the_same_reading_of_the_scheduler_confirms_nothing() {
        let mut clock = SwitchClock::default();
        assert_eq!(clock.measure(1_000, 9_000), 9_000);
        assert_eq!(clock.measure(1_000, 9_100), 9_100);
        assert_eq!(clock.convert(1_000), None);
        let mut clock = measured();
        // 3 ms late, of which a CPU that was idle for 10 s could have been corrected by 5.
        assert_eq!(clock.measure(10_000_000_000, 10_003_004_000), 10_003_004_000);
        assert_eq!(clock.measure(10_000_000_000, 10_003_104_000), 10_003_104_000);
        assert_eq!(clock.measure(10_004_000_000, 10_004_004_000), 10_004_004_000);
    }

    #[test]
    fn a_clock_that_was_set_back_is_believed_at_once() {
        assert_eq!(measured().measure(2_000_000, 2_001_000), 2_001_000);
    }

    #[test]
    fn a_cpu_that_stood_still_between_the_readings_does_not_move_time() {
        for stall_ns in [20_000, 900_000, 30_000_000] {
            let mut clock = measured();
            assert_eq!(clock.measure(2_000_000, 2_004_000 + stall_ns), 2_004_976);
            // The offset is what it was.
            assert_eq!(clock.measure(2_100_000 + stall_ns, 2_104_000 + stall_ns), 2_104_000 + stall_ns);
            assert_eq!(clock.convert(2_200_000 + stall_ns), Some(2_204_000 + stall_ns));
        }
    }

    #[test]
    fn an_offset_grows_by_the_smaller_of_two_measurements_and_no_faster_than_corrections() {
        let mut clock = measured();
        clock.measure(10_000_000, 10_004_000 + 3_000);
        assert_eq!(clock.measure(10_010_000, 10_014_000 + 2_000), 10_016_000);
        let mut clock = measured();
        clock.measure(10_000_000, 10_004_000 + 30_000);
        // 10 ms after the last measurement.
        assert_eq!(clock.measure(10_010_000, 10_014_000 + 20_000), 10_014_000 + (10_009_000 >> 11));
    }
}
