use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_probe_read_user};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use schedscope_ebpf::abi::{Cause, Cell, TaskRecord};
use schedscope_ebpf::blocked::{self, Reason, UNTOLD, class};
use schedscope_ebpf::cpu_account::Switched;
use schedscope_ebpf::gil::{self, GilWait};
use schedscope_ebpf::ledger::{settle_end, transit, unaccounted_delay, was_kept_awake};
use schedscope_ebpf::loss::Loss;
use schedscope_ebpf::task_clock::{Closed, Departure, KernelGrowth};

use crate::accounts;
use crate::charge::{add_migrations, begin, cell, finish, lose_on, off_cpu, on_cpu, this_cpu, time_of_switch};
use crate::kernel_lock;
use crate::kernel_types::{HAS_KERNEL_CODE, HAS_PREV_STATE, Registers, Task, class_of};
use crate::tasks::{LEAVING_INVOLUNTARILY, LEAVING_VOLUNTARILY, Traced, find_by, find_leaving};

/// A context switch: closes an interval of the thread that leaves the CPU and of the one that gets it.
///
/// `TP_PROTO(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)`; without the last
/// argument before 5.18. Called under the run queue's lock, interrupts off, while `prev` is still current.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L220>
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(cpu_record) = this_cpu(cpu) else { return 0 };
    // SAFETY: both arguments are trusted task pointers.
    let (prev, next) = unsafe { (Task::from_raw(ctx.arg(1)), Task::from_raw(ctx.arg(2))) };
    let rq_clock_ns = prev.rq_clock_ns();
    let now_ns = time_of_switch(cpu_record, rq_clock_ns);
    let (prev_tid, next_tid) = (prev.tid(), next.tid());
    if cpu_record.task != prev.address() {
        cpu_record.count_unseen(prev.rq_switches());
    }
    let (leaves, comes) = (Switched { task: prev.address(), tid: prev_tid }, Switched { task: next.address(), tid: next_tid });
    cpu_record.switch(leaves, comes, now_ns);

    let preempt = || ctx.arg::<u64>(0) & 1 != 0;
    let prev_state = || if HAS_PREV_STATE.load() != 0 { ctx.arg::<u32>(3) } else { prev.state() };
    let leaving = || if !preempt() && prev_state() != 0 { LEAVING_VOLUNTARILY } else { LEAVING_INVOLUNTARILY };
    if let Some(traced) = find_leaving(prev, prev_tid, leaving) {
        let (preempt, mut prev_state) = (preempt(), prev_state());
        if !preempt && prev_state == 0 && was_kept_awake(traced.record, &prev.counts()) {
            prev_state = blocked::state::INTERRUPTIBLE;
        }
        switch_out(&ctx, cpu, prev, traced, now_ns, preempt, prev_state);
    }
    if let Some(traced) = find_by(next, next_tid) {
        switch_in(cpu, next, traced, now_ns, rq_clock_ns);
    }
    accounts::switched(prev, next);
    0
}

#[inline(always)]
fn switch_out(ctx: &BtfTracePointContext, cpu: u32, prev: Task, traced: Traced, now_ns: u64, preempt: bool, prev_state: u32) {
    let Traced { slot, record } = traced;
    let Some(cell) = cell(cpu, record.workload) else {
        lose_on(cpu, Loss::NoCounters);
        return;
    };
    let registers = if preempt { None } else { prev.registers() };
    let syscall = registers.map_or(UNTOLD, Registers::syscall);
    let is_yielding = registers.is_some_and(|registers| registers.is_yielding(syscall));
    let departure = Departure::classify(preempt, prev_state, is_yielding);
    let runtime_ns = prev.runtime_ns();
    let grown_ns = runtime_ns.saturating_sub(record.runtime_at_departure_ns);
    let from = record.clock.cpu;

    begin(record);
    record.runtime_at_departure_ns = runtime_ns;
    if let Some(on_cpu_ns) = record.clock.end_run(now_ns, departure, grown_ns) {
        on_cpu(record, cell, slot, cpu, on_cpu_ns, true);
    } else {
        let queued_ns = prev.run_delay_ns().map(|delay_ns| unaccounted_delay(record, delay_ns));
        let on_cpu_ns =
            irregular_switch_out(record, cell, now_ns, departure, &KernelGrowth { runtime_ns: grown_ns, run_delay_ns: queued_ns });
        on_cpu(record, cell, slot, cpu, on_cpu_ns, false);
    }
    match departure {
        Departure::Blocked => {
            record.voluntary += 1;
            cell.voluntary += 1;
            record.run_delay_at_departure_ns = prev.run_delay_ns().unwrap_or(0);
            let in_iowait = prev_state & blocked::state::UNINTERRUPTIBLE != 0 && prev.in_iowait();
            let class = class_of(syscall);
            record.reason = u32::from(blocked::classify(prev_state, in_iowait, class & class::REASON));
            if HAS_KERNEL_CODE.load() != 0 && blocked::may_be_at_kernel_lock(prev_state, in_iowait) {
                if let Some(lock) = kernel_lock::of_current(ctx.as_ptr(), class) {
                    record.reason = lock as u32;
                }
            } else if class & class::ARGUMENTS != 0 || record.reason == Reason::Futex as u32 && record.gil[0].end != 0 {
                look_closer(prev, record, cell, now_ns, class);
            }
        }
        Departure::Preempted => {
            record.preempted += 1;
            cell.preempted += 1;
        }
        Departure::Yielded => {
            record.yielded += 1;
            cell.yielded += 1;
        }
        Departure::Dead => {
            record.voluntary += 1;
            cell.voluntary += 1;
            record.reason = Reason::Other as u32;
            accounts::settled(slot, settle_end(record, cell));
            record.kernel_after = prev.counts();
            prev.read_comm(&mut record.comm);
        }
    }
    // The kernel has counted migrations that we have not: their events were not seen.
    let unseen = prev.migrations().wrapping_sub(record.migrations_expected);
    if unseen != 0 {
        record.migrations_unseen += unseen;
        add_migrations(record, cell, Cause::WhileQueued, from, cpu, unseen);
        lose_on(cpu, Loss::MigrationUnseen);
    }
    finish(record);
}

/// Looks at the arguments of the system call where its number is not enough: a wait for an interpreter's lock is a futex wait, one with a
/// time limit may be ended by the clock, and polling no file is sleeping.
#[inline(never)]
fn look_closer(prev: Task, record: &mut TaskRecord, cell: &mut Cell, now_ns: u64, class: u8) {
    let Some(arguments) = prev.registers().and_then(Registers::arguments) else { return };
    let is_counted = class & class::COUNTED != 0;
    if record.reason == Reason::Poll as u32 {
        record.reason = u32::from(blocked::reason_of_class(class, Some((arguments.first as u32, arguments.second as u32))));
        record.epoll_waits += u64::from(is_counted);
        return;
    }
    let (address, operation) = (arguments.first, arguments.second as u32);
    if record.reason != Reason::Futex as u32 || !record.gil.iter().any(|range| range.contains(address)) {
        record.timed_waits = record.timed_waits.wrapping_add(u32::from(is_counted && arguments.fourth != 0));
        return;
    }
    record.reason = Reason::Gil as u32;
    record.gil_waits += 1;
    record.gil_turns += u64::from(record.on_cpu_ns - record.on_cpu_at_gil_ns > gil::TURN_NS);
    record.on_cpu_at_gil_ns = record.on_cpu_ns;
    match GilWait::of(operation, arguments.fourth) {
        GilWait::ForMutex => {}
        GilWait::HandOff => {
            record.gil_handoffs += 1;
            cell.gil_handoffs += 1;
        }
        // Reading the process's memory costs more than all the rest.
        GilWait::ForLock if record.gil_waits % gil::WAITS_PER_LOOK != 1 => {}
        GilWait::ForLock => {
            let mut deadline = [0_u64; 2];
            // SAFETY: the destination is 16 bytes, as a timespec; the helper fails softly if the page is not there.
            let failed = unsafe { bpf_probe_read_user(deadline.as_mut_ptr().cast(), 16, arguments.fourth as *const c_void) };
            if failed == 0 {
                if let Some(interval_ns) = gil::interval_ns(operation, deadline[0], deadline[1], now_ns) {
                    record.gil_interval_us = (interval_ns / 1000) as u32;
                }
            }
        }
    }
}

/// The rare cases, kept out of the common path. Returns the on-CPU time, which the caller charges.
#[inline(never)]
fn irregular_switch_out(record: &mut TaskRecord, cell: &mut Cell, now_ns: u64, departure: Departure, growth: &KernelGrowth) -> u64 {
    let closed = record.clock.irregular_switch_out(now_ns, departure, *growth);
    off_cpu(record, cell, &Closed { observed: false, ..closed });
    if let Some(loss) = closed.loss {
        // SAFETY: a helper without preconditions.
        lose_on(unsafe { bpf_get_smp_processor_id() }, loss);
    }
    closed.on_cpu_ns
}

#[inline(always)]
fn switch_in(cpu: u32, next: Task, traced: Traced, now_ns: u64, rq_clock_ns: Option<u64>) {
    let record = traced.record;
    let Some(cell) = cell(cpu, record.workload) else {
        lose_on(cpu, Loss::NoCounters);
        return;
    };
    begin(record);
    if let Some(mut closed) = record.clock.end_wait(now_ns, cpu) {
        if !closed.after_preemption {
            if let (Some(delay_ns), Some(queued_ns)) = (next.run_delay_ns(), next.queued_for_ns(rq_clock_ns)) {
                closed.transit_ns = transit(record, closed.wakeup_wait_ns, delay_ns, queued_ns);
            }
        }
        off_cpu(record, cell, &closed);
    } else {
        irregular_switch_in(record, cell, now_ns, cpu, next);
    }
    finish(record);
}

/// See [`irregular_switch_out`]. The kernel clears its stamp only after this event.
#[inline(never)]
fn irregular_switch_in(record: &mut TaskRecord, cell: &mut Cell, now_ns: u64, cpu: u32, next: Task) {
    let closed = record.clock.irregular_switch_in(now_ns, cpu, next.queued_for_ns(next.rq_clock_ns()));
    off_cpu(record, cell, &closed);
    if let Some(loss) = closed.loss {
        lose_on(cpu, loss);
    }
}
