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

fn parse(text: &str) -> Option<HostStat> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let switches = line("ctxt ")?.trim().parse().ok()?;
    let steal_ticks = line("cpu ")?.split_ascii_whitespace().nth(7)?.parse().ok()?;
    Some(HostStat { switches, steal_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_fields_are_read() {
        let text = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5 6\nctxt 12345\nbtime 1\n";
        assert_eq!(parse(text), Some(HostStat { switches: 12_345, steal_ticks: 80 }));
        assert_eq!(parse("cpu 1 2\n"), None);
    }

    #[test]
    fn the_kernel_has_both() {
        assert!(HostStat::read().unwrap().switches > 0);
    }
}
