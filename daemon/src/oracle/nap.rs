//! What a short sleep costs: the dearest kind of switch, away to idle and back.

use std::{
    io,
    thread::{sleep, spawn},
    time::Duration,
};

/// Sleeps that are measured.
const NAPS: u32 = 200;

/// CPU time of a sleep of 50 us in nanoseconds, on average: a system call, a timer, and the switches away and back. `beside` makes
/// something in the sleeping thread that lasts as long as the measurement, such as counters that make its switches dearer.
pub(super) fn mean_cpu_ns<T>(beside: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<u64> {
    let measuring = spawn(move || {
        let kept = beside()?;
        let before_ns = thread_cpu_ns();
        for _ in 0..NAPS {
            sleep(Duration::from_micros(50));
        }
        let spent_ns = thread_cpu_ns() - before_ns;
        drop(kept);
        Ok(spent_ns / u64::from(NAPS))
    });
    measuring.join().map_err(|_| io::Error::other("the thread that naps has failed"))?
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and the destination is a whole timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nap_costs_microseconds() {
        let ns = mean_cpu_ns(|| Ok(())).unwrap();
        assert!((100..1_000_000).contains(&ns), "{ns} ns");
    }

    #[test]
    fn what_cannot_be_made_beside_is_an_error() {
        assert!(mean_cpu_ns(|| Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied))).is_err());
    }
}
