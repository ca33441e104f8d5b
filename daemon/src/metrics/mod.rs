//! Totals made into the text that Prometheus scrapes.
//!
//! [`collect::Ledger`] turns a snapshot into an [`Exposition`], plain data in nanoseconds; [`families`] turns that into the rows
//! of the catalog, in base units; [`Metrics`] adds the process collector and encodes the text.

pub mod catalog;
pub mod collect;
pub mod families;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    TextEncoder,
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::MetricFamily,
};
use schedscope_ebpf::{distance::CpuPlace, residual::Residuals};

use crate::{
    capture::{
        snapshot::{Cpu, Losses},
        totals::Totals,
    },
    label::NameSource,
};

/// `Content-Type` of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that one scrape shows. Times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// Workloads that have series; `other` is the first.
    pub workloads: Vec<Workload>,
    /// CPUs that were seen switching, in order.
    pub cpus: Vec<CpuTotals>,
    /// CPUs that were online when tracing began, seen switching or not.
    pub online_at_start: Vec<Cpu>,
    /// Processes with a Python, in the order of [`catalog::GIL_NAMES`].
    pub pythons: [u64; catalog::GIL_NAMES.len()],
    /// Pythons whose lock was not found, in the order of [`catalog::PYTHON_UNRESOLVED`].
    pub pythons_unresolved: [u64; catalog::PYTHON_UNRESOLVED.len()],
    /// Losses by reason.
    pub losses: Losses,
    /// Threads that ended, against the kernel.
    pub ended: Residuals,
    /// Threads that waited at the last collection, against the kernel.
    pub waiting: Residuals,
    /// Records that could not be read whole, over all collections.
    pub torn_records: u64,
    /// Each BPF program and what it cost.
    pub programs: Vec<Program>,
    /// How long the kernel's BPF statistics were on.
    pub bpf_measured_ns: u64,
    /// Names refused a series of their own because none was free.
    pub workloads_folded: u64,
    /// What collecting cost.
    pub collection: Collection,
    /// Requests that the server refused, in the order of [`catalog::REFUSALS`].
    pub scrapes_refused: [u64; catalog::REFUSALS.len()],
    /// CPU time of this process.
    pub daemon_cpu_ns: u64,
}

/// One workload.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// The value of the `workload` label.
    pub name: String,
    /// What the name was taken from.
    pub source: NameSource,
    /// Size of the union of its processes' affinity masks; `None` without processes.
    pub allowed_cpus: Option<u32>,
    /// The model it shows now: one of [`catalog::MODELS`].
    pub model: &'static str,
    /// What was counted.
    pub totals: Totals,
}

/// One CPU, all tasks.
#[derive(Clone, Copy, Debug)]
pub struct CpuTotals {
    /// Its number.
    pub cpu: Cpu,
    /// Where it sits, if the topology is known.
    pub place: Option<CpuPlace>,
    /// Switches away from a task.
    pub switches_from_task: u64,
    /// Switches away from the idle task.
    pub switches_from_idle: u64,
    /// Time of the idle task, the open interval included.
    pub idle_ns: u64,
}

/// A BPF program, and what it cost while it was being measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Name as in [`schedscope_ebpf::abi::program`].
    pub name: &'static str,
    /// It is loaded and attached.
    pub attached: bool,
    /// Run time.
    pub run_ns: u64,
    /// Runs.
    pub runs: u64,
    /// Runs that the kernel skipped for recursion.
    pub recursion_misses: u64,
}

/// What collecting cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collection {
    /// Duration of the last one.
    pub duration_ns: u64,
    /// How many there were.
    pub count: u64,
    /// Failures by stage, in the order of [`catalog::STAGES`].
    pub errors: [u64; catalog::STAGES.len()],
}

/// The collectors behind `/metrics`.
pub struct Metrics {
    current: Arc<Mutex<Exposition>>,
    collectors: [Box<dyn Collector>; 2],
}

impl Metrics {
    /// The catalog's metrics and the `process_*` set of this process.
    ///
    /// # Errors
    /// If a row of the catalog has a name that Prometheus does not allow, which its tests rule out.
    pub fn new() -> prometheus::Result<Metrics> {
        let current = Arc::new(Mutex::new(Exposition::default()));
        let catalog = CatalogCollector::new(Arc::clone(&current))?;
        Ok(Metrics { current, collectors: [Box::new(catalog), Box::new(ProcessCollector::for_self())] })
    }

    /// The text of `exposition`, format 0.0.4.
    ///
    /// The collectors are asked directly: a registry would sort the series by label once more, which for 64 workloads on 64
    /// CPUs takes 3 of 7 ms, and they come in order.
    ///
    /// # Errors
    /// If a family cannot be encoded.
    pub fn text(&self, exposition: Exposition) -> prometheus::Result<String> {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = exposition;
        let mut families: Vec<MetricFamily> = self.collectors.iter().flat_map(|collector| collector.collect()).collect();
        // The format has no way to write a family without series.
        families.retain(|family| !family.get_metric().is_empty());
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&families, &mut text)?;
        Ok(text)
    }
}

/// Makes the families at the time of the scrape; nothing is kept between scrapes.
struct CatalogCollector {
    descs: Vec<Desc>,
    current: Arc<Mutex<Exposition>>,
}

impl CatalogCollector {
    fn new(current: Arc<Mutex<Exposition>>) -> prometheus::Result<CatalogCollector> {
        let descs = catalog::ALL
            .iter()
            .map(|metric| {
                let labels = metric.labels.iter().map(|label| label.name.to_owned()).collect();
                Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, std::collections::HashMap::new())
            })
            .collect::<prometheus::Result<_>>()?;
        Ok(CatalogCollector { descs, current })
    }
}

impl Collector for CatalogCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families::families(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
mod tests;
