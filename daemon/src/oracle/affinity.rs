//! Moving from CPU to CPU.

use std::{
    io,
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

/// Moves that are timed.
const MOVES: u32 = 100;

/// Makes a switch on every CPU that this process may use, by visiting it.
///
/// A switch that was hidden from tracing shows at the next one that is not, which on an idle CPU may be a long time later.
///
/// # Errors
/// If the affinity of the visiting thread cannot be set.
pub fn visit_all() -> io::Result<()> {
    join(spawn(|| {
        for cpu in allowed()? {
            move_to(cpu)?;
            sleep(Duration::from_micros(1));
        }
        Ok(())
    }))
}

/// How long it takes on average to move a running thread to another CPU: to take it off its CPU and queue, to put it on another queue, and
/// to run it there. `None` on a single CPU.
///
/// # Errors
/// As for [`visit_all`].
pub fn mean_move() -> io::Result<Option<Duration>> {
    join(spawn(|| {
        let cpus = allowed()?;
        let (&[first, second, ..], begin) = (cpus.as_slice(), Instant::now()) else { return Ok(None) };
        for round in 0..MOVES {
            move_to(if round % 2 == 0 { first } else { second })?;
        }
        Ok(Some(begin.elapsed() / MOVES))
    }))
}

/// The same in seconds, or `None` if it cannot be measured.
pub fn mean_move_seconds() -> Option<f64> {
    mean_move().ok().flatten().map(|time| time.as_secs_f64())
}

/// In a thread of its own, the affinity ends with it.
fn join<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().map_err(|_| io::Error::other("a thread that moves about has failed"))?
}

/// Confines the calling thread to a CPU.
pub(super) fn move_to(cpu: usize) -> io::Result<()> {
    // SAFETY: the set is plain bits; its size is passed along, and the call changes the calling thread only.
    let result = unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut one);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// CPUs that the calling thread may use, in order.
pub(super) fn allowed() -> io::Result<Vec<usize>> {
    // SAFETY: the set is plain bits that the call fills; its size is passed along.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((0..8 * size_of::<libc::cpu_set_t>()).filter(|cpu| libc::CPU_ISSET(*cpu, &allowed)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::host::HostStat;

    #[test]
    fn a_visit_makes_a_switch_on_every_cpu_and_leaves_us_where_we_were() {
        let before = HostStat::read().unwrap();
        let cpus = allowed().unwrap();
        visit_all().unwrap();
        assert!(!cpus.is_empty() && HostStat::read().unwrap().switches >= before.switches + cpus.len() as u64);
        assert_eq!(allowed().unwrap(), cpus);
    }

    #[test]
    fn a_move_takes_some_microseconds() {
        match mean_move().unwrap() {
            Some(time) => assert!((Duration::from_micros(1)..Duration::from_millis(100)).contains(&time), "{time:?}"),
            None => assert_eq!(allowed().unwrap().len(), 1),
        }
    }
}
