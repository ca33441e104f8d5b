//! What the threads of Python processes had to do with their interpreters' locks. Pure.

use std::collections::BTreeMap;

use schedscope_ebpf::blocked::Reason;

use super::schema::{GilReport, InterpreterReport, ThreadGil};
use crate::{
    capture::{
        interpreters::{Interpreters, Kind, Python},
        snapshot::Thread,
    },
    units::seconds,
};

/// The section of the whole run.
pub(super) fn report(threads: &[Thread], interpreters: &Interpreters, now_ns: u64, wall_ns: u64) -> GilReport {
    let handoffs = threads.iter().map(|thread| thread.record.gil_handoffs).sum();
    let wait_ns = threads.iter().map(|thread| thread.times(now_ns).blocked_ns[Reason::Gil as usize]).sum();
    GilReport {
        wait_seconds: seconds(wait_ns),
        handoffs,
        handoffs_per_second: if wall_ns == 0 { 0.0 } else { handoffs as f64 / seconds(wall_ns) },
        switch_interval_seconds: switch_interval_seconds(threads),
        interpreters: interpreters.seen().map(interpreter).collect(),
        unresolved: interpreters.unresolved().into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
    }
}

/// One thread; `None` outside of processes whose locks are known.
pub(super) fn of_thread(thread: &Thread, now_ns: u64) -> Option<ThreadGil> {
    let record = &thread.record;
    let is_known = record.gil.iter().any(|range| range.end != 0);
    is_known.then(|| {
        // It gave the lock up before it waited for it again, and whenever it blocked for anything else.
        let releases = record.gil_turns + record.voluntary.saturating_sub(record.gil_waits);
        let on_cpu_ns = thread.times(now_ns).on_cpu_ns;
        ThreadGil {
            waits: record.gil_waits,
            handoffs: record.gil_handoffs,
            hold_seconds: (record.gil_waits > 0).then(|| seconds(on_cpu_ns) / releases.max(1) as f64),
        }
    })
}

/// The largest that any wait began with: each is short of the interval by the time it took to get into the system call.
fn switch_interval_seconds(threads: &[Thread]) -> Option<f64> {
    let longest_ns = threads.iter().map(|thread| thread.record.gil_interval_ns).max()?;
    (longest_ns > 0).then(|| seconds(longest_ns))
}

fn interpreter(Kind { interpreter, processes }: &Kind) -> InterpreterReport {
    InterpreterReport {
        version: interpreter.version.map(|version| version.to_string()),
        object: interpreter.object.to_string_lossy().into_owned(),
        gil: interpreter.kind.name().to_owned(),
        gils: interpreter.gils.len() as u64,
        switch_interval_seconds: interpreter.switch_interval_us().map(|interval_us| interval_us as f64 / 1e6),
        processes: *processes,
    }
}

/// Python processes by tgid, for the model.
pub(super) fn by_process(threads: &[Thread], interpreters: &Interpreters) -> BTreeMap<u32, Python> {
    let mut pythons = BTreeMap::new();
    for thread in threads {
        let tgid = thread.tgid();
        if pythons.contains_key(&tgid.0) {
            continue;
        }
        if let Some(python) = interpreters.python(tgid) {
            pythons.insert(tgid.0, python);
        }
    }
    pythons
}
