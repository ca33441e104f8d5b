use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use schedscope_ebpf::{
    abi::{SEED_DONE, SEED_EVERY, TaskRecord},
    blocked::state,
    loss::Loss,
    residual::{Residuals, is_comparable},
    task_clock::Phase,
};

use crate::{
    charge::{barrier, lose_on},
    kernel_types::Task,
    maps::{SEED_TGIDS, WAITING},
    tasks::{admit, find, has_room_for},
};

/// `struct bpf_iter__task`, which the kernel builds for every step and whose members the verifier types.
#[repr(C)]
pub(crate) struct TaskStep {
    meta: *const c_void,
    task: *const u8,
}

/// Registers a thread that was alive before tracing began, if its process is wanted, and later on one whose fork was not recorded.
///
/// The kernel calls it for every thread while user space reads the iterator's file. aya has no macro for iterators; the section
/// name makes it one. <https://docs.kernel.org/bpf/bpf_iterators.html>
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn seed_tasks(step: *const TaskStep) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let task = unsafe { (*step).task };
    if task.is_null() {
        return 0;
    }
    // SAFETY: the iterator's task is a trusted pointer.
    let task = unsafe { Task::from_raw(task) };
    // A zombie has left its CPU for good. One that is not queued yet has its fork event ahead of it.
    if task.state() & (state::DEAD | state::NEW) != 0 {
        return 0;
    }
    if let Some(traced) = find(task) {
        compare(task, traced.record);
        return 0;
    }
    let is_late = wanted(SEED_DONE).is_some();
    let Some(workload) = wanted(task.tgid()).or_else(|| wanted(SEED_EVERY)).or_else(|| inherited(task)) else { return 0 };
    // Who was refused before was counted then.
    if is_late && !has_room_for(task.tid()) {
        return 0;
    }
    // Only a hint for readings before its first event, which tells for certain.
    let seeded_as = if task.is_on_cpu() {
        Phase::Running
    } else if task.is_queued() {
        Phase::Runnable
    } else {
        Phase::Blocked
    };
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if admit(task, workload, Phase::Unseen, seeded_as, cpu).is_some() && is_late {
        lose_on(cpu, Loss::ForkUnseen);
    }
    0
}

/// What user space has set for a process, or for a key that stands for something else.
#[inline(always)]
fn wanted(key: u32) -> Option<u32> {
    // On the stack: aya 0.14 resolves a reference to a promoted constant to the start of `.rodata`, where another value lies.
    let key = key;
    // SAFETY: the value is copied at once.
    unsafe { SEED_TGIDS.get(&key) }.copied()
}

/// The workload of the process that an untraced thread belongs to, or of the thread that forked its process under observation.
#[inline(always)]
fn inherited(task: Task) -> Option<u32> {
    if let Some(leader) = find(task.leader()) {
        return Some(leader.record.workload);
    }
    let parent = find(task.parent())?;
    (task.start_ns() > parent.record.start_ns).then_some(parent.record.workload)
}

const NONE: Residuals = Residuals { compared: 0, differing: 0, voluntary: 0, involuntary: 0, migrations: 0, on_cpu_ns: 0 };

/// Compares a thread with what the kernel kept about it, if it waits and nothing happens to it meanwhile.
#[inline(always)]
fn compare(task: Task, record: &TaskRecord) {
    let sequence = record.sequence;
    if !is_comparable(record) || !is_waiting(task, record) {
        return;
    }
    barrier();
    let mut found = NONE;
    found.add(record, &task.counts());
    barrier();
    // A switch or a waking on another CPU would have made one of the two newer than the other.
    if !is_waiting(task, record) || record.sequence != sequence || sequence & 1 != 0 {
        return;
    }
    if let Some(sum) = WAITING.get_ptr_mut(0) {
        // SAFETY: a map value; one iterator runs at a time, started by the only user of these maps.
        unsafe { (*sum).merge(&found) };
    }
}

/// Blocked, off its CPU, and not being woken.
#[inline(always)]
fn is_waiting(task: Task, record: &TaskRecord) -> bool {
    let state = task.state();
    state != 0
        && state & state::WAKING == 0
        && !task.is_on_cpu()
        && !task.is_queued()
        && record.clock.phase == Phase::Blocked as u32
        && record.clock.waking_ns == 0
}
