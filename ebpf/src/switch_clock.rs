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
    /// A growth too large to be believed the first time; 0 if the last measurement was an ordinary one.
    suspect_ns: u64,
}

/// How long an offset holds: at 500 ppm it is wrong by 0.5 us then.
const HOLDS_NS: u64 = 1_000_000;
/// An offset that has grown by this much is either wrong, because the (virtual) CPU stood still between the two readings, or a clock
/// was set: then the next measurement says the same.
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

    /// Takes both clocks, read one after the other, and returns the time of the switch.
    ///
    /// The reading of `CLOCK_MONOTONIC` comes some time after the scheduler's, so every measured offset is too large; the smallest is
    /// the best. It may grow only as fast as corrections can make it.
    #[inline(always)]
    pub fn measure(&mut self, rq_clock_ns: u64, monotonic_ns: u64) -> u64 {
        let measured_ns = monotonic_ns.wrapping_sub(rq_clock_ns);
        let change_ns = measured_ns.wrapping_sub(self.offset_ns).cast_signed();
        let grown_ns = change_ns.cast_unsigned();
        let age_ns = rq_clock_ns.wrapping_sub(self.measured_at_ns);
        if self.measured_at_ns == 0 || change_ns < 0 {
            self.offset_ns = measured_ns;
        } else if grown_ns <= JUMP_NS {
            // 1/2048 is 488 ppm.
            self.offset_ns = self.offset_ns.wrapping_add(grown_ns.min(DRIFT_NS.max(age_ns >> 11)));
        } else if self.suspect_ns == 0 || grown_ns.abs_diff(self.suspect_ns) > JUMP_NS {
            // Not believed yet. The offset keeps its age, so the next switch measures again.
            self.suspect_ns = grown_ns;
            return rq_clock_ns.wrapping_add(self.offset_ns);
        } else {
            self.offset_ns = measured_ns;
        }
        self.suspect_ns = 0;
        self.measured_at_ns = rq_clock_ns;
        rq_clock_ns.wrapping_add(self.offset_ns)
    }
}

#[cfg(test)]
mod tests;
