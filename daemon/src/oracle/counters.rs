//! perf's software counters over a process and all its descendants.

use std::io;

use perf_event::{Builder, Counter, events::Software};

use super::{affinity, nap};
use crate::{capture::snapshot::Tgid, report::oracles::PerfCounts};

/// Counters at work.
pub struct Counters {
    context_switches: Counter,
    migrations: Counter,
    task_clock: Counter,
    nap_ns: u64,
    move_ns: u64,
}

impl Counters {
    /// Begins to count a process that sleeps, and every thread and process that it starts from now on.
    ///
    /// # Errors
    /// If the kernel does not let us: it wants `CAP_PERFMON`, or `kernel.perf_event_paranoid` below 2.
    pub fn of(process: Tgid) -> io::Result<Counters> {
        let pid = libc::pid_t::try_from(process.0).map_err(io::Error::other)?;
        let nap_ns = nap::mean_cpu_ns(|| Counters::attach(0))?;
        let move_ns = affinity::mean_move()?.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Ok(Counters { nap_ns, move_ns, ..Counters::attach(pid)? })
    }

    /// The calling thread for pid 0.
    fn attach(pid: libc::pid_t) -> io::Result<Counters> {
        let counter = |event| {
            let mut builder = Builder::new().kind(event).observe_pid(pid).any_cpu();
            // A switch happens in the kernel: without it, nothing would be counted.
            builder.inherit(true).include_kernel().include_hv();
            builder.build()
        };
        let mut counters = Counters {
            context_switches: counter(Software::CONTEXT_SWITCHES)?,
            migrations: counter(Software::CPU_MIGRATIONS)?,
            task_clock: counter(Software::TASK_CLOCK)?,
            nap_ns: 0,
            move_ns: 0,
        };
        counters.context_switches.enable()?;
        counters.migrations.enable()?;
        counters.task_clock.enable()?;
        Ok(counters)
    }

    /// What was counted, descendants that have ended included.
    pub fn read(&mut self) -> io::Result<PerfCounts> {
        Ok(PerfCounts {
            context_switches: self.context_switches.read()?,
            migrations: self.migrations.read()?,
            task_clock_ns: self.task_clock.read()?,
            nap_ns: self.nap_ns,
            move_ns: self.move_ns,
        })
    }
}
