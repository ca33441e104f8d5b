//! Moving from CPU to CPU.

use std::{
    io,
    thread::{JoinHandle, sleep, spawn},
    time::Duration,
};

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

/// In a thread of its own, the affinity ends with it.
fn join<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().map_err(|_| io::Error::other("a thread that moves about has failed"))?
}

/// Confines the calling thread to a CPU.
pub(crate) fn move_to(cpu: usize) -> io::Result<()> {
    // SAFETY: the set is plain bits; its size is passed along, and the call changes the calling thread only.
    let result = unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut one);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// CPUs that the calling thread may use, in order.
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
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
    use crate::verify::host::switches;

    #[test]
    fn a_visit_makes_a_switch_on_every_cpu_and_leaves_us_where_we_were() {
        let before = switches().unwrap();
        let cpus = allowed().unwrap();
        visit_all().unwrap();
        assert!(!cpus.is_empty() && switches().unwrap() >= before + cpus.len() as u64);
        assert_eq!(allowed().unwrap(), cpus);
    }
}
