//! Moving a thread from CPU to CPU.

use std::{
    io,
    thread::{sleep, spawn},
    time::Duration,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Makes a context switch on every CPU that this process may use, by visiting it.
///
/// A switch that was hidden from tracing shows at the next one that was not, which on an idle CPU may be much later.
pub(crate) fn visit_all() -> io::Result<()> {
    // In a thread of its own, whose affinity ends with it.
    let visitor = spawn(|| {
        for cpu in allowed()? {
            move_to(cpu)?;
            sleep(Duration::from_micros(1));
        }
        Ok(())
    });
    visitor.join().map_err(|_| io::Error::other("the thread that visits every CPU has failed"))?
}

/// Confines the calling thread to a CPU.
pub(crate) fn move_to(cpu: usize) -> io::Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu);
    Ok(sched_setaffinity(None, &one)?)
}

/// CPUs that the calling thread may use, in order.
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
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
