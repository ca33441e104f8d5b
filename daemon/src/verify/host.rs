//! All switches of the host against the kernel's two counts of them: `ctxt` in `/proc/stat`, and perf's `context-switches` of every CPU.
//!
//! Unlike perf's counters of a process tree, those of a CPU are never handed from task to task.

use std::io;

use perf_event::events::Software;
use perf_event::{Builder, Counter};
use procfs::{CurrentSI, KernelStats};

use super::comparison::{Bounds, Residual};
use crate::capture::run::HostSwitches;

/// Context switches of all CPUs since boot.
pub(crate) fn switches() -> io::Result<u64> {
    KernelStats::current().map(|stat| stat.ctxt).map_err(io::Error::other)
}

/// perf's counters of every CPU, enabled.
pub(crate) struct Perf(Vec<Counter>);

impl Perf {
    /// Begins to count. The kernel requires `CAP_PERFMON` for it, or `kernel.perf_event_paranoid` below 1.
    pub(crate) fn of(cpus: &[u32]) -> io::Result<Perf> {
        let counter = |cpu: &u32| {
            let mut builder = Builder::new().kind(Software::CONTEXT_SWITCHES).any_pid().one_cpu(*cpu as usize);
            // A switch happens in the kernel: without it, nothing would be counted.
            builder.include_kernel().include_hv();
            let mut counter = builder.build()?;
            counter.enable()?;
            Ok(counter)
        };
        cpus.iter().map(counter).collect::<io::Result<_>>().map(Perf)
    }

    fn read(&mut self) -> io::Result<u64> {
        self.0.iter_mut().map(Counter::read).sum()
    }
}

/// A kernel count just before and just after ours was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    pub(crate) earlier: u64,
    pub(crate) later: u64,
}

/// Our count of the host's switches between two readings of the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostReading {
    pub(crate) proc_stat: Around,
    pub(crate) perf: Option<Around>,
    pub(crate) ours: HostSwitches,
    /// Our count again, after a switch that was seen on every CPU: it includes the switches that were hidden at the first reading.
    pub(crate) settled: HostSwitches,
}

impl HostReading {
    /// Reads the kernel's counts around ours; `settled` is set later.
    pub(crate) fn take(perf: Option<&mut Perf>, ours: impl FnOnce() -> HostSwitches) -> io::Result<HostReading> {
        let earlier = switches()?;
        let (ours, perf) = match perf {
            Some(perf) => {
                let earlier = perf.read()?;
                (ours(), Some(Around { earlier, later: perf.read()? }))
            }
            None => (ours(), None),
        };
        Ok(HostReading { proc_stat: Around { earlier, later: switches()? }, perf, ours, settled: ours })
    }
}

/// All switches of the host between two readings. The counts are equal but for switches while they were being read, and for hidden
/// switches that were found only later.
pub(crate) fn compare(begin: &HostReading, end: &HostReading) -> Vec<Residual> {
    let unseen = end.ours.unseen - begin.ours.unseen;
    let ours = end.ours.seen - begin.ours.seen + unseen;
    let row = |source, quantity, before: Around, after: Around| {
        let during = |around: Around, reading: &HostReading| {
            (around.later - around.earlier + reading.settled.unseen - reading.ours.unseen) as f64
        };
        let bounds = Bounds::between(-during(after, end), during(before, begin));
        Residual::new(source, quantity, ours as f64, (after.later - before.later) as f64, bounds).because(format!(
            "switches while the two are read; {unseen} of our switches were hidden from tracing and found at the switch after them"
        ))
    };
    let of_perf = begin.perf.zip(end.perf).map(|(before, after)| row("perf", "context-switches", before, after));
    [row("proc_stat", "ctxt", begin.proc_stat, end.proc_stat)].into_iter().chain(of_perf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Verdict;

    #[test]
    fn the_hosts_switches_are_bounded_by_those_during_the_readings() {
        let reading = |earlier, seen, unseen, later| HostReading {
            proc_stat: Around { earlier, later },
            perf: Some(Around { earlier, later }),
            ours: HostSwitches { seen, unseen },
            settled: HostSwitches { seen, unseen },
        };
        let begin = reading(1_000, 10, 1, 1_003);
        let agrees = |begin: &HostReading, end: HostReading| {
            let agree: Vec<bool> = compare(begin, &end).iter().map(|row| row.verdict() == Verdict::Agrees).collect();
            assert!(agree.len() == 2 && agree[0] == agree[1], "{agree:?}");
            agree[0]
        };
        // 500 switches by our count, two of them unseen.
        assert!(agrees(&begin, reading(1_501, 508, 3, 1_505)));
        assert!(!agrees(&begin, reading(1_504, 508, 3, 1_504)), "one that we did not see");
        assert!(!agrees(&begin, reading(1_490, 508, 3, 1_499)), "one too many");
        // One that had been hidden on a CPU that was idle at the first reading.
        let late = HostReading { settled: HostSwitches { seen: 12, unseen: 2 }, ..begin };
        assert!(agrees(&late, reading(1_499, 508, 3, 1_499)));
    }
}
