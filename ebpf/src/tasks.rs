//! Finding, admitting and releasing threads.
//!
//! A thread is found by pid, in an array: the fastest lookup there is (`docs/decisions/0001`). A pid alone does not identify a
//! thread: it is reused, and a thread that execs takes over its leader's. So the record holds the task's address, and a
//! record that is another's sends the search to a hash by address.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use schedscope_ebpf::abi::{KernelCounts, OFFERED, PIDS_PER_ENTRY, TaskRecord};
use schedscope_ebpf::blocked::{REASON_SLOTS, Reason};
use schedscope_ebpf::gil::{AddressRange, RANGES};
use schedscope_ebpf::loss::Loss;
use schedscope_ebpf::params::MAX_THREAD_CPUS;
use schedscope_ebpf::residual::Figures;
use schedscope_ebpf::task_clock::{Phase, TaskClock};

use crate::charge::lose_on;
use crate::kernel_types::{TASK_SLOTS, THREAD_CPUS, Task};
use crate::maps::{DEAD_SLOTS, FREE_SLOTS, SLOT_OF_PID, SLOT_OF_TASK, TASKS, THREAD_CPU};
use crate::{accounts, owner};

/// A traced thread.
pub(crate) struct Traced {
    pub(crate) slot: u32,
    pub(crate) record: &'static mut TaskRecord,
}

#[inline(always)]
fn entry(tid: u32) -> Option<*mut u32> {
    let pids = SLOT_OF_PID.get_ptr_mut(tid / PIDS_PER_ENTRY as u32)?;
    // SAFETY: the remainder is within the entry.
    Some(unsafe { pids.cast::<u32>().add(tid as usize % PIDS_PER_ENTRY) })
}

#[inline(always)]
fn record(slot: u32) -> Option<&'static mut TaskRecord> {
    // SAFETY: map values live as long as the program. Which hook may write which field: see `TaskRecord` and `TaskClock`.
    TASKS.get_ptr_mut(slot).map(|record| unsafe { &mut *record })
}

/// The record of `task` if it is traced. Untraced tasks cost one array lookup.
#[inline(always)]
pub(crate) fn find(task: Task) -> Option<Traced> {
    find_by(task, task.tid())
}

/// [`find`] for a caller that has read the pid already.
#[inline(always)]
pub(crate) fn find_by(task: Task, tid: u32) -> Option<Traced> {
    find_leaving(task, tid, || NOT_LEAVING)
}

/// The record of a thread by what identifies it, unless the pid leads to another's: for a hook that may miss one.
#[inline(always)]
pub(crate) fn record_of(tid: u32, address: u64) -> Option<&'static mut TaskRecord> {
    // SAFETY: `entry` points into a map value.
    let slot = unsafe { *entry(tid)? };
    // Slot 0 is never used.
    record(slot).filter(|record| record.task == address && address != 0)
}

/// What the kernel has just counted of a thread: nothing, a voluntary switch or an involuntary one.
pub(crate) const NOT_LEAVING: u32 = 0;
pub(crate) const LEAVING_VOLUNTARILY: u32 = 1;
pub(crate) const LEAVING_INVOLUNTARILY: u32 = 2;

/// [`find_by`] for a thread that leaves its CPU: the kernel has counted that, and `how` says as what.
#[inline(always)]
pub(crate) fn find_leaving(task: Task, tid: u32, how: impl FnOnce() -> u32) -> Option<Traced> {
    // SAFETY: `entry` points into a map value.
    let slot = unsafe { *entry(tid)? };
    if slot == 0 {
        return None;
    }
    let found = record(slot)?;
    if found.task == task.address() {
        return Some(Traced { slot, record: found });
    }
    if found.task == OFFERED {
        return if take_up(task, slot, how()) { Some(Traced { slot, record: found }) } else { None };
    }
    let slot = relocate(task.address(), tid);
    if slot == 0 {
        return None;
    }
    Some(Traced { slot, record: record(slot)? })
}

/// Makes a record that user space has offered the thread's own. What it cannot read exactly is taken from the task: the counts, less
/// the switch that is just happening. False if the record is another's, or if another CPU was faster.
#[inline(never)]
fn take_up(task: Task, slot: u32, leaving: u32) -> bool {
    let Some(offered) = record(slot) else { return false };
    let tid = task.tid();
    if offered.tid != tid || SLOT_OF_TASK.insert(&task.address(), &slot, u64::from(BPF_NOEXIST)).is_err() {
        return false;
    }
    let counts = task.counts();
    offered.kernel_before.voluntary = counts.voluntary - u64::from(leaving == LEAVING_VOLUNTARILY);
    offered.kernel_before.involuntary = counts.involuntary - u64::from(leaving == LEAVING_INVOLUNTARILY);
    offered.kernel_before.migrations = counts.migrations;
    offered.migrations_expected = counts.migrations;
    offered.tgid = task.tgid();
    offered.ppid = task.ppid();
    task.read_comm(&mut offered.comm);
    // Last, since it makes the record this thread's.
    offered.task = task.address();
    true
}

/// The slot of a thread whose pid leads to another's record, 0 if it is not traced; repairs the table.
#[inline(never)]
fn relocate(address: u64, tid: u32) -> u32 {
    // SAFETY: the value is copied at once.
    let Some(slot) = (unsafe { SLOT_OF_TASK.get(&address) }).copied() else { return 0 };
    if let Some(entry) = entry(tid) {
        // SAFETY: `entry` points into a map value.
        unsafe { *entry = slot };
    }
    slot
}

/// Whether a new thread would find a slot without evicting another's details, and its pid is within the table.
#[inline(always)]
pub(crate) fn has_room_for(tid: u32) -> bool {
    entry(tid).is_some() && matches!(FREE_SLOTS.peek(), Ok(Some(_)))
}

/// Takes a slot for a new thread: a free one, else the one whose owner has been dead for longest.
#[inline(always)]
fn take_slot(cpu: u32) -> Option<u32> {
    if let Ok(Some(slot)) = FREE_SLOTS.pop() {
        return Some(slot);
    }
    let Ok(Some(slot)) = DEAD_SLOTS.pop() else {
        lose_on(cpu, Loss::TaskTableFull);
        return None;
    };
    lose_on(cpu, Loss::ThreadDetailEvicted);
    accounts::clear(slot);
    for cpu in 0..MAX_THREAD_CPUS {
        if cpu >= THREAD_CPUS.load() {
            break;
        }
        if let Some(sum) = THREAD_CPU.get_ptr_mut(cpu * TASK_SLOTS.load() + slot) {
            // SAFETY: the slot was popped, so nobody else has it.
            unsafe { *sum = 0 };
        }
    }
    Some(slot)
}

/// Enters a thread's slot under its address; false if it has one already.
///
/// The fork hook and the iterator may both meet a thread: whoever enters it first has it. An entry of an ended thread, or of one
/// with another pid, is left over from a task whose freeing was not seen, and gives way.
#[inline(always)]
fn claim(address: u64, tid: u32, slot: u32, cpu: u32) -> bool {
    if SLOT_OF_TASK.insert(&address, &slot, u64::from(BPF_NOEXIST)).is_ok() {
        return true;
    }
    // SAFETY: the value is copied at once.
    let Some(left_over) = (unsafe { SLOT_OF_TASK.get(&address) }).copied() else {
        lose_on(cpu, Loss::TaskTableFull);
        return false;
    };
    let Some(old) = record(left_over) else { return false };
    if old.task == address && old.tid == tid && old.clock.phase != Phase::Dead as u32 {
        return false;
    }
    lose_on(cpu, Loss::FreeUnseen);
    give_up(left_over, old.tid, cpu);
    SLOT_OF_TASK.insert(&address, &slot, 0).is_ok()
}

/// Queues the slot of an ended thread for user space, and clears its pid if no later thread has it.
#[inline(always)]
fn give_up(slot: u32, tid: u32, cpu: u32) {
    if let Some(entry) = entry(tid) {
        // SAFETY: `entry` points into a map value.
        unsafe {
            if *entry == slot {
                *entry = 0;
            }
        }
    }
    if DEAD_SLOTS.push(&slot, 0).is_err() {
        lose_on(cpu, Loss::SlotLeaked);
    }
}

/// Begins to trace `task` in `workload`. `phase` is `New` for a forked thread, else `Unseen` with `seeded_as` for what it does.
/// `None` if it could not, or if another hook was faster.
#[inline(always)]
pub(crate) fn admit(task: Task, workload: u32, phase: Phase, seeded_as: Phase, cpu: u32) -> Option<&'static mut TaskRecord> {
    let tid = task.tid();
    let Some(entry) = entry(tid) else {
        lose_on(cpu, Loss::PidBeyondTable);
        return None;
    };
    let slot = take_slot(cpu)?;
    let Some(new) = record(slot) else {
        lose_on(cpu, Loss::SlotLeaked);
        return None;
    };
    // SAFETY: a helper without preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    new.workload = workload;
    new.task = task.address();
    new.clock = TaskClock::starting(phase, now_ns);
    new.reason = Reason::Unknown as u32;
    new.tid = tid;
    new.on_cpu_ns = 0;
    new.wakeup_wait_ns = 0;
    new.preempt_wait_ns = 0;
    new.run_delay_at_departure_ns = 0;
    new.transit_ns = 0;
    new.gil_transit_ns = 0;
    new.voluntary = 0;
    new.preempted = 0;
    new.yielded = 0;
    new.blocked_ns = [0; REASON_SLOTS];
    new.migrations = [0; 2];
    new.start_ns = now_ns;
    new.tgid = task.tgid();
    new.ppid = task.ppid();
    new.execs = 0;
    new.seeded_as = seeded_as as u16;
    new.identity = 0;
    new.kernel_before = task.counts();
    new.runtime_at_departure_ns = new.kernel_before.runtime_ns;
    new.migrations_expected = new.kernel_before.migrations;
    new.kernel_after = KernelCounts { voluntary: 0, involuntary: 0, migrations: 0, runtime_ns: 0, run_delay_ns: 0 };
    task.read_comm(&mut new.comm);
    new.at_exit = Figures { on_cpu_ns: 0, voluntary: 0, involuntary: 0, migrations: 0 };
    new.switches_at_migration = 0;
    new.migrations_again = 0;
    new.migrations_unseen = 0;
    new.gil = [AddressRange::EMPTY; RANGES];
    new.epoll_waits = 0;
    new.gil_waits = 0;
    new.gil_turns = 0;
    new.gil_handoffs = 0;
    new.on_cpu_at_gil_ns = 0;
    new.gil_interval_us = 0;
    new.samples_at_locks = 0;
    new.samples_pausing = 0;
    new.timed_waits = 0;
    if !claim(task.address(), tid, slot, cpu) {
        new.task = 0;
        if FREE_SLOTS.push(&slot, 0).is_err() {
            lose_on(cpu, Loss::SlotLeaked);
        }
        return None;
    }
    // SAFETY: `entry` points into a map value. Last, since it makes the record visible to the other hooks.
    unsafe { *entry = slot };
    Some(new)
}

/// Begins to trace a new thread in the workload of the one that made it.
#[inline(always)]
pub(crate) fn inherit(parent: &TaskRecord, child: Task, cpu: u32) {
    let workload = parent.workload;
    let Some(record) = admit(child, workload, Phase::New, Phase::New, cpu) else { return };
    // A thread shares its parent's addresses, and a process begins with a copy of them.
    record.gil = parent.gil;
    record.identity = parent.identity;
    let is_process = child.tid() == child.tgid();
    // It may exec at once: it is counted where that leads to, or at its end if it does not.
    if is_process && owner::is_decided_at_exec() {
        return;
    }
    owner::count_start(cpu, workload, is_process);
}

/// Ends the tracing of a task whose memory goes away, if it was traced. Found by address alone: its pid may be another's by now.
#[inline(always)]
pub(crate) fn release(task: Task, cpu: u32) {
    let address = task.address();
    // SAFETY: the value is copied at once.
    let Some(slot) = (unsafe { SLOT_OF_TASK.get(&address) }).copied() else { return };
    let _ = SLOT_OF_TASK.remove(&address);
    let Some(ended) = record(slot) else { return };
    if ended.clock.phase != Phase::Dead as u32 {
        ended.clock.phase = Phase::Dead as u32;
        lose_on(cpu, Loss::EndUnseen);
    }
    give_up(slot, ended.tid, cpu);
}

/// A thread's pid changed from `old_tid`: its record follows.
#[inline(always)]
pub(crate) fn rename(task: Task, traced: &mut Traced, old_tid: u32) {
    let tid = task.tid();
    traced.record.tid = tid;
    for (pid, slot) in [(old_tid, 0), (tid, traced.slot)] {
        if let Some(entry) = entry(pid) {
            // SAFETY: `entry` points into a map value. The old pid is cleared only while it still leads here.
            unsafe {
                if slot != 0 || *entry == traced.slot {
                    *entry = slot;
                }
            }
        }
    }
}
