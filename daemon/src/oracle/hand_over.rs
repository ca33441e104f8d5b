//! How long it takes one thread to hand over to another on the same CPU.

use std::{
    io::{self, Read, Write},
    thread::{scope, spawn},
    time::Instant,
};

use super::affinity;

/// Round trips that are measured; each is two hand-overs.
const ROUND_TRIPS: u32 = 500;

/// Nanoseconds of a hand-over through a pipe, on average: a write, a read, and the switch between them. `beside` makes something in one
/// of the threads that lasts as long as the measurement, such as counters that make its switches dearer.
pub(super) fn mean_ns<T>(beside: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<u64> {
    let measuring = spawn(move || {
        // Both threads: the other one inherits it.
        if let Some(&cpu) = affinity::allowed()?.first() {
            affinity::move_to(cpu)?;
        }
        let (mut there_reader, mut there) = io::pipe()?;
        let (mut back_reader, mut back) = io::pipe()?;
        scope(|threads| {
            threads.spawn(move || {
                let mut byte = [0];
                while there_reader.read_exact(&mut byte).and_then(|()| back.write_all(&byte)).is_ok() {}
            });
            let kept = beside()?;
            let begin = Instant::now();
            for _ in 0..ROUND_TRIPS {
                there.write_all(&[1])?;
                back_reader.read_exact(&mut [0])?;
            }
            let elapsed = begin.elapsed();
            drop((kept, there));
            Ok(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX) / u64::from(2 * ROUND_TRIPS))
        })
    });
    measuring.join().map_err(|_| io::Error::other("the thread that hands over has failed"))?
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_takes_microseconds() {
        let ns = mean_ns(|| Ok(())).unwrap();
        assert!((100..10_000_000).contains(&ns), "{ns} ns");
    }

    #[test]
    fn what_cannot_be_made_beside_is_an_error_and_not_a_hang() {
        assert!(mean_ns(|| Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied))).is_err());
    }
}
