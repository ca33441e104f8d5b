//! The kernel side of the daemon: a tracer of the whole host.

use anyhow::Result;

use super::collector::Orders;
use crate::{
    capture::{
        kernel::{Depth, KernelError, Sizes, StatsGuard, Tracer, enable_stats},
        snapshot::Snapshot,
        topology::Topology,
    },
    config::Config,
    label::table::OTHER_ID,
};

/// Readings per listing of the host's tasks. A fork whose event was missed leaves a tree untraced until the next one; listing costs
/// a tenth of a microsecond per thread.
const READINGS_PER_LISTING: u32 = 4;

/// A tracer of the whole host.
pub(super) struct Host {
    pub(super) tracer: Tracer,
    stats: Option<StatsGuard>,
    readings: u32,
}

impl Host {
    /// Loads the programs and begins to trace every task; all belong to `other` until they are labelled.
    pub(super) fn trace(config: &Config, topology: &Topology) -> Result<Host> {
        let sizes = Sizes { workloads: config.max_workloads + 1, tasks: config.max_threads, thread_by_core: false };
        let mut tracer = Tracer::start(sizes, topology)?;
        tracer.seed_all(OTHER_ID)?;
        give_memory_back();
        Ok(Host { tracer, stats: None, readings: 0 })
    }

    /// Reads the threads, and with [`Depth::Full`] the workloads' counters.
    pub(super) fn snapshot(&mut self, depth: Depth) -> Result<Snapshot, KernelError> {
        self.readings += 1;
        if self.readings.is_multiple_of(READINGS_PER_LISTING) {
            self.tracer.seed_again()?;
        }
        self.tracer.snapshot(depth)
    }

    /// Tells the programs about threads. Those that have ended meanwhile are left alone.
    pub(super) fn obey(&mut self, orders: Orders) {
        for (tid, workload) in orders.workloads {
            self.tracer.set_workload(tid, workload);
        }
        for (tid, ranges) in orders.locks {
            self.tracer.set_gil(tid, ranges);
        }
    }

    /// Turns the kernel's BPF statistics on or off.
    pub(super) fn measure_cost(&mut self, on: bool) -> Result<(), KernelError> {
        self.stats = if on { Some(enable_stats()?) } else { None };
        Ok(())
    }
}

/// Loading parses some 6 MB of type information. Without this the C library would keep the tens of MB that it took.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only returns free memory to the kernel, and takes no pointer.
    unsafe {
        libc::malloc_trim(0);
    }
}
