use aya_ebpf::{
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use schedscope_ebpf::{
    abi::{Cause, CpuRecord, TaskRecord},
    blocked::{self, Reason},
    loss::Loss,
    task_clock::{Departure, KernelGrowth},
};

use crate::{
    charge::{add_migrations, begin, cell, finish, lose, off_cpu, on_cpu, this_cpu},
    kernel_types::{HAS_PREV_STATE, SYSCALL_YIELD, Task, class_of},
    tasks::{Traced, find},
};

/// Closes an interval of the thread that leaves the CPU and of the one that comes onto it.
///
/// `TP_PROTO(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)`; without the last
/// argument before 5.18. Called under the run queue's lock, interrupts off, while `prev` is still current.
/// <https://github.com/torvalds/linux/blob/v6.12/include/trace/events/sched.h#L220>
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: a helper without preconditions.
    let (now_ns, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let Some(cpu_record) = this_cpu(cpu) else { return 0 };
    // SAFETY: both arguments are trusted task pointers.
    let (prev, next) = unsafe { (Task::from_raw(ctx.arg(1)), Task::from_raw(ctx.arg(2))) };
    account_cpu(cpu_record, prev, next, now_ns);

    if let Some(traced) = find(prev) {
        let preempt = ctx.arg::<u64>(0) & 1 != 0;
        let prev_state = if HAS_PREV_STATE.load() != 0 { ctx.arg::<u32>(3) } else { prev.state() };
        switch_out(cpu_record, cpu, prev, traced, now_ns, preempt, prev_state);
    }
    if let Some(traced) = find(next) {
        switch_in(cpu_record, cpu, traced, now_ns);
    }
    0
}

/// Keeps the idle time of the CPU and checks that no switch was missed: `prev` must be the task that came on last.
#[inline(always)]
fn account_cpu(cpu: &mut CpuRecord, prev: Task, next: Task, now_ns: u64) {
    if cpu.task != 0 && cpu.task != prev.address() {
        lose(cpu, Loss::SwitchChainBroken);
    }
    // Pid 0 is the idle task of every CPU; nothing per thread is ever kept under it.
    if prev.tid() == 0 {
        cpu.switches_from_idle += 1;
        // Also when the switch to it was not seen: then the CPU was idle for nearly all of that time.
        if cpu.since_ns != 0 {
            cpu.idle_ns += now_ns.saturating_sub(cpu.since_ns);
        }
    }
    cpu.idle = u64::from(next.tid() == 0);
    cpu.task = next.address();
    cpu.since_ns = now_ns;
    cpu.switches += 1;
}

#[inline(always)]
fn switch_out(cpu_record: &mut CpuRecord, cpu: u32, prev: Task, traced: Traced, now_ns: u64, preempt: bool, prev_state: u32) {
    let Traced { slot, record } = traced;
    let Some(cell) = cell(cpu, record.workload) else {
        lose(cpu_record, Loss::NoCounters);
        return;
    };
    let syscall = if preempt { None } else { prev.syscall() };
    let departure = Departure::classify(preempt, prev_state, syscall == Some(SYSCALL_YIELD.load() as i32));

    begin(record);
    // Before the clock moves on: what the kernel has counted and we have not.
    let from = record.clock.cpu;
    let growth = growth(record, prev);
    let closed = record.clock.switch_out(now_ns, departure, growth);
    on_cpu(record, cell, slot, cpu, &closed);
    if closed.on_cpu_ns != closed.total_ns() {
        off_cpu(record, cell, &closed);
    }
    if let Some(loss) = closed.loss {
        lose(cpu_record, loss);
    }
    let unseen = prev.migrations() - record.kernel_before.migrations - record.migrations[0] - record.migrations[1];
    if unseen != 0 {
        add_migrations(record, cell, Cause::WhileQueued, from, cpu, unseen);
        lose(cpu_record, Loss::MigrationUnseen);
    }
    match departure {
        Departure::Blocked => {
            record.voluntary += 1;
            cell.voluntary += 1;
            let in_iowait = prev_state & blocked::state::UNINTERRUPTIBLE != 0 && prev.in_iowait();
            record.reason = u32::from(blocked::classify(prev_state, in_iowait, syscall.map(class_of)));
        }
        Departure::Dead => {
            record.voluntary += 1;
            cell.voluntary += 1;
            record.reason = Reason::Other as u32;
            record.kernel_after = prev.counts();
            prev.read_comm(&mut record.comm);
        }
        Departure::Preempted => {
            record.preempted += 1;
            cell.preempted += 1;
        }
        Departure::Yielded => {
            record.yielded += 1;
            cell.yielded += 1;
        }
    }
    finish(record);
}

/// Growth of the kernel's accounting since the last switch-out; remembers where it stands now.
#[inline(always)]
fn growth(record: &mut TaskRecord, prev: Task) -> KernelGrowth {
    let runtime_ns = prev.runtime_ns();
    let run_delay_ns = prev.run_delay_ns();
    let growth = KernelGrowth {
        runtime_ns: runtime_ns.saturating_sub(record.runtime_at_departure_ns),
        run_delay_ns: run_delay_ns.map(|delay_ns| delay_ns.saturating_sub(record.run_delay_at_departure_ns)),
    };
    record.runtime_at_departure_ns = runtime_ns;
    record.run_delay_at_departure_ns = run_delay_ns.unwrap_or(0);
    growth
}

#[inline(always)]
fn switch_in(cpu_record: &mut CpuRecord, cpu: u32, traced: Traced, now_ns: u64) {
    let Traced { slot, record } = traced;
    let Some(cell) = cell(cpu, record.workload) else {
        lose(cpu_record, Loss::NoCounters);
        return;
    };
    begin(record);
    let closed = record.clock.switch_in(now_ns, cpu);
    if let Some(loss) = closed.loss {
        lose(cpu_record, loss);
        on_cpu(record, cell, slot, cpu, &closed);
    }
    off_cpu(record, cell, &closed);
    finish(record);
}
