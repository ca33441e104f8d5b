//! `CLOCK_MONOTONIC` at a context switch without reading a clock.
//!
//! The scheduler has just read its own: the run queue's clock is the time at which it was entered, which is also where the kernel
//! ends one task's run time and begins the other's. It counts the same nanoseconds as `CLOCK_MONOTONIC` from another start and
//! without its corrections (at most 500 ppm), so an offset kept per CPU converts it, and is measured again a millisecond later.
//! Reading a clock takes a third of the time of a switch's program, and more on a virtual machine.

/// Offset between the two clocks on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(clippy::struct_field_names, reason = "units are in the names")]
pub struct SwitchClock {
    /// `CLOCK_MONOTONIC` minus the run queue's clock, wrapping.
    offset_ns: u64,
    /// The run queue's clock when the offset was measured; 0 before.
    measured_at_ns: u64,
    /// A growth that waits for another measurement to confirm it; 0 for none.
    suspect_ns: u64,
    /// The run queue's clock when that growth was seen, or at the very first measurement.
    suspect_at_ns: u64,
}

/// How long an offset holds: at 500 ppm it is then wrong by 0.5 us.
const HOLDS_NS: u64 = 1_000_000;
/// A growth that corrections cannot explain is believed if the next measurement is within this of it: then a clock was set.
const JUMP_NS: u64 = 1_000_000;
/// By how much the first offset of a CPU may be wrong until it is measured again: a longer stall shows as a jump.
pub const OFFSET_ERROR_NS: u64 = JUMP_NS;
/// By how much corrections may move the offset between any two measurements, however close.
const DRIFT_NS: u64 = 500;

impl SwitchClock {
    /// The time of a switch, or `None` if the offset has to be measured first.
    #[inline(always)]
    pub fn convert(&self, rq_clock_ns: u64) -> Option<u64> {
        let age_ns = rq_clock_ns.wrapping_sub(self.measured_at_ns);
        if self.measured_at_ns == 0 || age_ns > HOLDS_NS { None } else { Some(rq_clock_ns.wrapping_add(self.offset_ns)) }
    }

    /// The time at which the run queue's clock had this value, by whatever offset there is; `None` before the first.
    #[inline(always)]
    pub fn estimate(&self, rq_clock_ns: u64) -> Option<u64> {
        if self.measured_at_ns == 0 { None } else { Some(rq_clock_ns.wrapping_add(self.offset_ns)) }
    }

    /// Takes both clocks, read one after the other, and returns the time of the switch, never later than `monotonic_ns`.
    ///
    /// `CLOCK_MONOTONIC` is read some time after the scheduler's clock, much later if the (virtual) CPU stood still in between. So every
    /// measured offset is too large, and the smallest is the best. One that is too large puts the switches of the next
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
mod tests;
