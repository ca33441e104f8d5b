//! Which futex waits are waits for a Python interpreter's lock, and what each of them means.
//!
//! CPython keeps its global interpreter lock, a flag under a mutex with two condition variables, inside `_PyRuntime` (or inside the
//! interpreter it belongs to, since 3.12). User space finds the addresses; a futex wait on a word between them is a wait for
//! the lock. `Python/ceval_gil.c`: <https://github.com/python/cpython/blob/v3.13.0/Python/ceval_gil.c>.

/// Ranges per process: the main interpreter's lock and those of sub-interpreters that have their own.
pub const RANGES: usize = 8;

/// User addresses from `start` up to, not including, `end`. Empty if `end` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct AddressRange {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

impl AddressRange {
    /// Contains nothing.
    pub const EMPTY: AddressRange = AddressRange { start: 0, end: 0 };

    /// `bytes` from `start` on; cut at the end of the address space.
    pub const fn new(start: u64, bytes: u64) -> AddressRange {
        AddressRange { start, end: start.saturating_add(bytes) }
    }

    /// Whether `address` lies in it.
    #[inline(always)]
    pub const fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }
}

impl core::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// What a thread that blocks at the lock waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GilWait {
    /// `take_gil`: until the lock is free, or until a switch interval is over; then it asks for the lock and waits again.
    ForLock,
    /// `drop_gil` after another thread asked for it: until that thread has it (`FORCE_SWITCHING`). One such wait is one forced
    /// hand-off.
    HandOff,
    /// For the mutex around the flag, which is only held briefly.
    ForMutex,
}

/// Bits of the operation that are not the command: `FUTEX_PRIVATE_FLAG` and `FUTEX_CLOCK_REALTIME` (`include/uapi/linux/futex.h`).
const FLAGS: u32 = 128 | CLOCK_REALTIME;
const CLOCK_REALTIME: u32 = 256;
/// `FUTEX_WAIT`, which glibc's mutexes use.
const WAIT: u32 = 0;

impl GilWait {
    /// From the arguments of `futex(2)`: the operation and the address of the timeout.
    ///
    /// glibc waits on a condition variable with `FUTEX_WAIT_BITSET`; only the one in `take_gil` has a timeout.
    #[inline(always)]
    pub const fn of(operation: u32, timeout: u64) -> GilWait {
        if timeout != 0 {
            GilWait::ForLock
        } else if operation & !FLAGS == WAIT {
            GilWait::ForMutex
        } else {
            GilWait::HandOff
        }
    }
}

/// A thread that asks for the lock again after a switch interval runs for some microseconds in between; one that ran for longer
/// had the lock.
pub const TURN_NS: u64 = 100_000;

/// The switch interval is read at one wait in this many, the first included. Odd, because waits for the lock and for hand-offs may
/// alternate.
pub const WAITS_PER_LOOK: u64 = 15;

/// Longest switch interval believed: a longer one means that the deadline is on another clock.
const MAX_INTERVAL_NS: u64 = 100_000_000_000;

/// The switch interval that a wait for the lock began with, from its deadline on `CLOCK_MONOTONIC`; short by the microseconds that
/// the thread took to get into the system call. `None` if the deadline is on another clock or has passed.
#[inline(always)]
pub const fn interval_ns(operation: u32, seconds: u64, nanoseconds: u64, now_ns: u64) -> Option<u64> {
    if operation & CLOCK_REALTIME != 0 || operation & !FLAGS == WAIT {
        return None;
    }
    let deadline_ns = seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds);
    let left_ns = deadline_ns.wrapping_sub(now_ns);
    if left_ns == 0 || left_ns > MAX_INTERVAL_NS { None } else { Some(left_ns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_before_its_end() {
        let range = AddressRange { start: 0x1000, end: 0x1010 };
        assert!(range.contains(0x1000) && range.contains(0x100f));
        assert!(!range.contains(0xfff) && !range.contains(0x1010));
        assert!(!AddressRange::EMPTY.contains(0) && !AddressRange::EMPTY.contains(u64::MAX));
        // While user space writes a range, its end is cleared first and written last.
        assert!(!AddressRange { start: 0x1000, end: 0 }.contains(0x1000));
    }

    #[test]
    fn the_arguments_tell_the_wait() {
        // As traced from CPython 3.8, 3.11 and 3.13 on glibc.
        assert_eq!(GilWait::of(137, 0x7ffe_0000), GilWait::ForLock);
        assert_eq!(GilWait::of(393, 0), GilWait::HandOff);
        assert_eq!(GilWait::of(128, 0), GilWait::ForMutex);
    }

    #[test]
    fn the_interval_is_what_is_left_of_the_deadline() {
        assert_eq!(interval_ns(137, 7, 5_000_000, 7_000_010_000), Some(4_990_000));
        assert_eq!(interval_ns(137, 7, 5_000_000, 7_005_000_000), None, "it has passed");
        assert_eq!(interval_ns(393, 1_700_000_000, 0, 7_000_000_000), None, "the time of day");
        assert_eq!(interval_ns(128, 0, 5_000_000, 7_000_000_000), None, "relative");
        assert_eq!(interval_ns(137, u64::MAX, u64::MAX, 0), None);
    }
}
