//! The tracer as the daemon's kernel side.

use anyhow::Result;
use schedscope_ebpf::{
    distance::CpuPlace,
    gil::{AddressRange, RANGES},
    residual::Residuals,
};

use super::{KernelSide, ProgramState};
use crate::{
    capture::{
        kernel::{Depth, Sizes, StatsGuard, Tracer, enable_stats},
        snapshot::{Cpu, Snapshot, Tid, WorkloadId},
        topology::Topology,
    },
    config::Config,
    label::table::OTHER,
};

/// A tracer of the whole host.
struct HostTracer {
    tracer: Tracer,
    topology: Topology,
    stats: Option<StatsGuard>,
    readings: u32,
}

/// Every so many readings the host's tasks are listed again. A fork of which no event was seen leaves a tree untraced until then;
/// the list costs a tenth of a microsecond per thread.
const READINGS_PER_LISTING: u32 = 4;

/// Loads the programs and begins to trace every task; all belong to `other` until they are labelled.
pub(super) fn start(config: &Config) -> Result<impl KernelSide + use<>> {
    let topology = crate::commands::require_host()?;
    let sizes = Sizes { workloads: config.max_workloads + 1, tasks: config.max_threads, thread_by_core: false };
    let mut tracer = Tracer::start(sizes, &topology)?;
    tracer.seed_all(OTHER)?;
    give_memory_back();
    Ok(HostTracer { tracer, topology, stats: None, readings: 0 })
}

/// Loading parses some 6 MB of type information; without this the C library keeps what that took, tens of MB, for good.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only returns free memory to the kernel, and takes no pointer.
    unsafe {
        libc::malloc_trim(0);
    }
}

impl HostTracer {
    fn list_again(&mut self) -> Result<()> {
        self.readings += 1;
        if self.readings.is_multiple_of(READINGS_PER_LISTING) {
            self.tracer.seed_again()?;
        }
        Ok(())
    }
}

impl KernelSide for HostTracer {
    fn threads(&mut self) -> Result<Snapshot> {
        self.list_again()?;
        Ok(self.tracer.snapshot(Depth::Threads)?)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.list_again()?;
        Ok(self.tracer.snapshot(Depth::Full)?)
    }

    fn compare_waiting(&mut self) -> Result<Residuals> {
        Ok(self.tracer.compare_waiting()?)
    }

    fn set_workload(&mut self, tid: Tid, workload: WorkloadId) {
        self.tracer.set_workload(tid, workload);
    }

    fn set_gil(&mut self, tid: Tid, ranges: [AddressRange; RANGES]) {
        self.tracer.set_gil(tid, ranges);
    }

    fn measure_cost(&mut self, on: bool) -> Result<()> {
        self.stats = if on { Some(enable_stats()?) } else { None };
        Ok(())
    }

    fn programs(&self) -> Vec<ProgramState> {
        let costs = self.tracer.costs();
        let of = |name| costs.iter().find(|cost| cost.name == name);
        let state = |program: &crate::capture::kernel::ProgramStatus| {
            let cost = of(program.name);
            ProgramState {
                name: program.name,
                failure: program.failure.clone(),
                run_ns: cost.map_or(0, |cost| cost.run_ns),
                runs: cost.map_or(0, |cost| cost.runs),
                recursion_misses: cost.map_or(0, |cost| cost.recursion_misses),
            }
        };
        self.tracer.programs().iter().map(state).collect()
    }

    fn online_at_start(&self) -> Vec<Cpu> {
        self.topology.online().iter().copied().map(Cpu).collect()
    }

    fn place(&self, cpu: u32) -> CpuPlace {
        self.topology.place(cpu)
    }
}
