//! What one scrape shows, as plain data. Times in nanoseconds.

use schedscope_ebpf::distance::CpuPlace;
use schedscope_ebpf::residual::Residuals;

use super::labels::{Refusal, Stage};
use crate::capture::interpreters::ByReason;
use crate::capture::kernel::ProgramCost;
use crate::capture::python::GilKind;
use crate::capture::reader::Health;
use crate::capture::snapshot::{Cpu, Losses};
use crate::capture::totals::Totals;
use crate::diagnose::{Lost, ModelName};
use crate::label::NameSource;

/// Everything that one scrape shows. The totals stay where they are kept.
#[derive(Clone, Debug, Default)]
pub struct Exposition<'a> {
    /// Workloads that have series; `other` is the first.
    pub workloads: Vec<Workload<'a>>,
    /// CPUs that were seen switching, in order.
    pub cpus: Vec<CpuTotals>,
    /// CPUs that were online when tracing began, seen switching or not.
    pub online_at_start: Vec<Cpu>,
    /// Processes that run CPython, by [`GilKind`].
    pub pythons: [u64; GilKind::ALL.len()],
    /// Python processes whose lock was not found.
    pub pythons_unresolved: ByReason,
    /// How the process that reads others has fared.
    pub reader: Health,
    /// Losses by reason.
    pub losses: Losses,
    /// Ended threads compared with the kernel.
    pub ended: Residuals,
    /// Waiting threads compared with the kernel at this collection.
    pub waiting: Residuals,
    /// Records that could not be read whole, over all readings.
    pub torn_records: u64,
    /// Each BPF program and what it cost.
    pub programs: Vec<Program>,
    /// How long the kernel's BPF statistics were on; `None` where they cannot be.
    pub bpf_measured_ns: Option<u64>,
    /// Names refused series of their own because none were free.
    pub workloads_folded: u64,
    /// Names whose series have ended.
    pub workloads_ended: u64,
    /// What collecting takes.
    pub collection: Collection,
    /// Requests that the server refused, by [`Refusal`].
    pub refused: [u64; Refusal::ALL.len()],
    /// CPU time of this process.
    pub daemon_cpu_ns: u64,
}

/// One workload.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    /// The value of the `workload` label.
    pub name: &'a str,
    /// Where the name comes from.
    pub source: NameSource,
    /// UID of its pod, if it is a container and that is known.
    pub pod_uid: Option<&'a str>,
    /// Its image, if it is a container and that is known.
    pub image: Option<&'a str>,
    /// When its counters were 0, in nanoseconds since 1970.
    pub began_ns: u64,
    /// Size of the union of its processes' affinity masks; `None` without processes.
    pub allowed_cpus: Option<u32>,
    /// The model it shows now.
    pub model: ModelName,
    /// What it has lost of the CPUs.
    pub lost: Lost,
    /// What was counted.
    pub totals: &'a Totals,
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

/// A BPF program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub(crate) attached: bool,
    /// What it cost while it was being measured.
    pub(crate) cost: ProgramCost,
}

/// What collecting takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collection {
    /// Duration of the last one.
    pub(crate) duration_ns: u64,
    pub(crate) count: u64,
    pub(crate) errors: [u64; Stage::ALL.len()],
}
