//! Adds what the library's decisions return to the counters of the thread, the CPU and the workload.

use core::arch::asm;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use schedscope_ebpf::abi::{Cause, Cell, CpuRecord, Histogram, TaskRecord};
use schedscope_ebpf::blocked::{REASON_SLOTS, Reason};
use schedscope_ebpf::bucket;
use schedscope_ebpf::distance::Distance;
use schedscope_ebpf::loss::{LOSS_SLOTS, Loss};
use schedscope_ebpf::task_clock::Closed;

use crate::kernel_types::{TASK_SLOTS, THREAD_CPUS, WORKLOADS};
use crate::maps::{CELLS, CPUS, PLACES, THREAD_CPU};

/// The record of the CPU this program runs on, or of one whose run queue is locked.
#[inline(always)]
pub(crate) fn this_cpu(cpu: u32) -> Option<&'static mut CpuRecord> {
    // SAFETY: map values live as long as the program; only this CPU writes its record, and hooks do not nest. Other CPUs write
    // only the clock in it; every write to the clock is made under the lock of the CPU's run queue.
    CPUS.get_ptr_mut(cpu).map(|record| unsafe { &mut *record })
}

/// When the scheduler was entered, `CLOCK_MONOTONIC`; the time now where that is unknown. The clock is that of the CPU's run queue,
/// whose lock is held.
#[inline(always)]
pub(crate) fn time_of_switch(cpu: &mut CpuRecord, rq_clock_ns: Option<u64>) -> u64 {
    if let Some(now_ns) = rq_clock_ns.and_then(|rq_clock_ns| cpu.clock.convert(rq_clock_ns)) {
        // A new offset may be smaller than the last one.
        return if now_ns < cpu.since_ns { cpu.since_ns } else { now_ns };
    }
    // SAFETY: a helper without preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let now_ns = rq_clock_ns.map_or(now_ns, |rq_clock_ns| cpu.clock.measure(rq_clock_ns, now_ns));
    if now_ns < cpu.since_ns { cpu.since_ns } else { now_ns }
}

/// The counters of a workload on the CPU this program runs on.
#[inline(always)]
pub(crate) fn cell(cpu: u32, workload: u32) -> Option<&'static mut Cell> {
    // SAFETY: as for `this_cpu`: a bank of cells belongs to its CPU.
    CELLS.get_ptr_mut(cpu * WORKLOADS.load() + workload).map(|cell| unsafe { &mut *cell })
}

/// Counts a missed observation.
#[inline(always)]
pub(crate) fn lose(cpu: &mut CpuRecord, loss: Loss) {
    cpu.loss[loss as usize & (LOSS_SLOTS - 1)] += 1;
}

/// Counts a missed observation given only the CPU's number.
#[inline(always)]
pub(crate) fn lose_on(cpu: u32, loss: Loss) {
    if let Some(record) = this_cpu(cpu) {
        lose(record, loss);
    }
}

/// Keeps the compiler from moving memory accesses across; LLVM has no fence for BPF. x86-64 keeps the order of stores by itself.
#[inline(always)]
pub(crate) fn barrier() {
    // SAFETY: no instructions; the block counts as reading and writing memory.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

/// Marks the record as being written until [`finish`], so that user space does not take half an update for a whole one.
#[inline(always)]
pub(crate) fn begin(record: &mut TaskRecord) {
    // SAFETY: a plain store the compiler may not move or merge; pairs with the two reads in the daemon's `kernel/records.rs`.
    unsafe { core::ptr::write_volatile(&raw mut record.sequence, record.sequence.wrapping_add(1)) };
    barrier();
}

/// Ends what [`begin`] began.
#[inline(always)]
pub(crate) fn finish(record: &mut TaskRecord) {
    barrier();
    // SAFETY: as in `begin`.
    unsafe { core::ptr::write_volatile(&raw mut record.sequence, record.sequence.wrapping_add(1)) };
}

/// Returns the value, and hides from the compiler where it came from.
#[inline(always)]
pub(crate) fn opaque(mut value: usize) -> usize {
    // SAFETY: copies a register onto itself. An empty template would put two line records on one instruction, which the kernel
    // refuses.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

#[inline(always)]
fn observe(histogram: &mut Histogram, value_ns: u64) {
    histogram.sum_ns += value_ns;
    if value_ns > histogram.max_ns {
        histogram.max_ns = value_ns;
    }
    // Always in bounds, which the compiler can prove and the verifier cannot: if the compiler saw where the index comes from, it would
    // leave out the check that the verifier needs.
    if let Some(count) = histogram.counts.get_mut(opaque(bucket::index_of(value_ns))) {
        *count += 1;
    }
}

/// Charges time on `cpu` to the thread, its workload and the thread-by-core sums.
#[inline(always)]
pub(crate) fn on_cpu(record: &mut TaskRecord, cell: &mut Cell, slot: u32, cpu: u32, on_cpu_ns: u64, observed: bool) {
    record.on_cpu_ns += on_cpu_ns;
    cell.on_cpu_ns += on_cpu_ns;
    if observed {
        observe(&mut cell.timeslice, on_cpu_ns);
    }
    if THREAD_CPUS.load() != 0 {
        if let Some(sum) = THREAD_CPU.get_ptr_mut(cpu * TASK_SLOTS.load() + slot) {
            // SAFETY: a bank belongs to its CPU, as a cell does.
            unsafe { *sum += on_cpu_ns };
        }
    }
}

/// Charges a wait that ended with a switch-in.
#[inline(always)]
pub(crate) fn off_cpu(record: &mut TaskRecord, cell: &mut Cell, closed: &Closed) {
    if closed.blocked_ns != 0 {
        let reason = record.reason as usize & (REASON_SLOTS - 1);
        record.blocked_ns[reason] += closed.blocked_ns;
        cell.blocked_ns[reason] += closed.blocked_ns;
    }
    // Distributions hold what was measured; the sums follow the kernel's own account.
    if closed.after_preemption {
        let wait_ns = closed.preempt_wait_ns.wrapping_add_signed(closed.correction_ns);
        record.preempt_wait_ns += wait_ns;
        cell.preempt_wait_ns += wait_ns;
        if closed.observed {
            observe(&mut cell.preemption_wait, closed.preempt_wait_ns);
        } else {
            cell.unobserved_wait_ns += wait_ns;
        }
    } else {
        let wait_ns = closed.wakeup_wait_ns.wrapping_add_signed(closed.correction_ns);
        record.wakeup_wait_ns += wait_ns;
        cell.wakeup_wait_ns += wait_ns;
        let transit_ns = closed.transit_ns.min(wait_ns);
        record.transit_ns += transit_ns;
        cell.transit_ns += transit_ns;
        if record.reason == Reason::Gil as u32 {
            record.gil_transit_ns += transit_ns;
            cell.gil_transit_ns += transit_ns;
        }
        if closed.observed {
            observe(&mut cell.wakeup_latency, closed.wakeup_wait_ns);
        } else {
            cell.unobserved_wait_ns += wait_ns;
        }
    }
}

/// Counts migrations of a thread between two CPUs; false if the topology does not know them.
#[inline(always)]
pub(crate) fn add_migrations(record: &mut TaskRecord, cell: &mut Cell, cause: Cause, from: u32, to: u32, count: u64) -> bool {
    let cause = cause as usize & 1;
    record.migrations[cause] += count;
    record.migrations_expected += count;
    let (Some(from), Some(to)) = (PLACES.get(from), PLACES.get(to)) else { return false };
    let distance = Distance::between(from, to) as usize & (Distance::ALL.len() - 1);
    cell.migrations[cause][distance] += count;
    true
}
