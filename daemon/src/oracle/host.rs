//! `/proc/stat`: what the host did as a whole.

use std::io;

/// Counts since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostStat {
    /// `ctxt`: context switches of all CPUs.
    pub switches: u64,
    /// Time that a hypervisor took from all CPUs, in ticks of `USER_HZ`.
    pub steal_ticks: u64,
}

impl HostStat {
    /// Reads it.
    pub fn read() -> io::Result<HostStat> {
        let text = std::fs::read_to_string("/proc/stat")?;
        parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat has no line `ctxt`"))
    }
}

/// Makes a switch on every CPU that this process may use, by visiting it.
///
/// A switch that was hidden from tracing shows at the next one that is not, which on an idle CPU may be a long time later.
///
/// # Errors
/// If the affinity of the visiting thread cannot be set.
pub fn visit_cpus() -> io::Result<()> {
    let visit = || -> io::Result<()> {
        for cpu in allowed_cpus()? {
            // SAFETY: the set is plain bits; its size is passed along, and the call changes the calling thread only.
            let result = unsafe {
                let mut one: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(cpu, &mut one);
                libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one)
            };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
            std::thread::sleep(std::time::Duration::from_micros(1));
        }
        Ok(())
    };
    // In a thread of its own, whose affinity ends with it.
    std::thread::spawn(visit).join().map_err(|_| io::Error::other("the thread that visits the CPUs failed"))?
}

fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: the set is plain bits that the call fills; its size is passed along.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((0..8 * size_of::<libc::cpu_set_t>()).filter(|cpu| libc::CPU_ISSET(*cpu, &allowed)).collect())
    }
}

fn parse(text: &str) -> Option<HostStat> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let switches = line("ctxt ")?.trim().parse().ok()?;
    let steal_ticks = line("cpu ")?.split_ascii_whitespace().nth(7)?.parse().ok()?;
    Some(HostStat { switches, steal_ticks })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_right_fields_are_read() {
        let text = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5 6\nctxt 12345\nbtime 1\n";
        assert_eq!(parse(text), Some(HostStat { switches: 12_345, steal_ticks: 80 }));
        assert_eq!(parse("cpu 1 2\n"), None);
    }

    #[test]
    fn a_visit_makes_a_switch_on_every_cpu() {
        let before = HostStat::read().unwrap();
        visit_cpus().unwrap();
        let cpus = allowed_cpus().unwrap().len() as u64;
        assert!(cpus > 0 && HostStat::read().unwrap().switches >= before.switches + cpus);
    }
}
