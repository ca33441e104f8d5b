//! Threads that a runtime has for itself, by the names that it gives them. Nothing else of a runtime but CPython's is looked at: what is
//! found of programs holds in any language.

use super::window::{Ledger, Window, share};

/// What a runtime has a thread for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Stops the program's threads while it works, mostly to collect garbage.
    StopsTheWorld,
    /// Collects garbage, mostly beside others of its kind.
    Collects,
    /// Compiles, or waits for what seldom happens.
    Helps,
}

/// Begins of names, as the kernel keeps them: 15 bytes at most.
const NAMES: [(&str, Service); 26] = [
    // HotSpot since JDK 9, which first gave its threads names that the kernel knows: `os::set_native_thread_name`.
    ("VM Thread", Service::StopsTheWorld),
    ("GC Thread#", Service::Collects),
    ("G1 Main Marker", Service::Collects),
    ("G1 Conc#", Service::Collects),
    ("G1 Refine#", Service::Collects),
    ("G1 Service", Service::Collects),
    ("ZWorker", Service::Collects),
    ("ZDirector", Service::Collects),
    ("ZDriver", Service::Collects),
    ("Shenandoah ", Service::Collects),
    ("C1 Compiler", Service::Helps),
    ("C2 Compiler", Service::Helps),
    ("JVMCI Compiler", Service::Helps),
    ("Sweeper thread", Service::Helps),
    ("VM Periodic Tas", Service::Helps),
    ("Signal Dispatch", Service::Helps),
    ("Service Thread", Service::Helps),
    ("Monitor Deflati", Service::Helps),
    ("Notification Th", Service::Helps),
    ("Reference Handl", Service::Helps),
    ("Finalizer", Service::Helps),
    ("Common-Cleaner", Service::Helps),
    // .NET.
    (".NET Server GC", Service::Collects),
    (".NET BGC", Service::Collects),
    (".NET Tiered Com", Service::Helps),
    (".NET Finalizer", Service::Helps),
];

/// What the thread of this name is for, if a runtime has it for itself.
pub(super) fn service(comm: &[u8; 16]) -> Option<Service> {
    NAMES.iter().find(|(begin, _)| comm.starts_with(begin.as_bytes())).map(|(_, service)| *service)
}

/// Of all on-CPU time, the share of threads that collect garbage.
pub(super) fn collecting(window: &Window) -> f64 {
    let collects = |ledger: &&Ledger| matches!(service(&ledger.comm), Some(Service::StopsTheWorld | Service::Collects));
    share(window.ledgers.iter().filter(collects).map(|ledger| ledger.times.on_cpu_ns).sum(), window.times.on_cpu_ns)
}
