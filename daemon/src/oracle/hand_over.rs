//! What it costs one thread to hand over to another and to be handed back.

use std::{
    io::{self, Read, Write},
    thread::scope,
};

/// Hand-overs are measured in so many batches,
const BATCHES: u32 = 50;
/// of so many each.
const ROUNDS: u32 = 10;

/// CPU time of a thread per hand-over through a pipe, in nanoseconds: a write, a read, and the switch between them. Of the slowest
/// batch, which had to wait for caches and interrupts as other switches have. `beside` makes
/// something in the thread that lasts as long as the measurement, such as counters that make its switches dearer.
pub(super) fn cpu_ns<T>(beside: impl FnOnce() -> io::Result<T>) -> io::Result<u64> {
    let (mut there_reader, mut there) = io::pipe()?;
    let (mut back_reader, mut back) = io::pipe()?;
    scope(|threads| {
        threads.spawn(move || {
            let mut byte = [0];
            while there_reader.read_exact(&mut byte).and_then(|()| back.write_all(&byte)).is_ok() {}
        });
        let kept = beside()?;
        let mut slowest_ns = 0;
        for _ in 0..BATCHES {
            let before_ns = thread_cpu_ns();
            for _ in 0..ROUNDS {
                there.write_all(&[1])?;
                back_reader.read_exact(&mut [0])?;
            }
            slowest_ns = slowest_ns.max(thread_cpu_ns() - before_ns);
        }
        drop((kept, there));
        Ok(slowest_ns / u64::from(ROUNDS))
    })
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and the destination is a whole timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_takes_two_system_calls_and_less_than_a_millisecond() {
        let ns = cpu_ns(|| Ok(())).unwrap();
        assert!((100..1_000_000).contains(&ns), "{ns} ns");
    }

    #[test]
    fn what_cannot_be_made_beside_is_an_error_and_not_a_hang() {
        assert!(cpu_ns(|| Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied))).is_err());
    }
}
