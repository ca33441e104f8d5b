use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use schedscope_ebpf::abi::{SEED_DONE, SEED_EVERY, TaskRecord};
use schedscope_ebpf::blocked::{UNTOLD, classify, reason_of_class, state};
use schedscope_ebpf::loss::Loss;
use schedscope_ebpf::residual::{Residuals, is_comparable};
use schedscope_ebpf::task_clock::Phase;

use crate::charge::{barrier, lose_on};
use crate::kernel_lock;
use crate::kernel_types::{Registers, Task, class_of};
use crate::maps::{SEED_TGIDS, WAITING};
use crate::tasks::{admit, find, has_room_for};

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
    // A zombie has left its CPU for good. The fork event of a task that was never queued is still to come.
    if task.state() & (state::DEAD | state::NEW) != 0 {
        return 0;
    }
    if let Some(traced) = find(task) {
        compare(task, traced.record);
        return 0;
    }
    let is_late = wanted(SEED_DONE).is_some();
    let Some(workload) = wanted(task.tgid()).or_else(|| wanted(SEED_EVERY)).or_else(|| inherited(task)) else { return 0 };
    // A thread without a free slot was counted as a loss when it was first refused.
    if is_late && !has_room_for(task.tid()) {
        return 0;
    }
    // A guess that serves until the first event shows for certain.
    let seeded_as = if task.is_on_cpu() {
        Phase::Running
    } else if task.is_queued() {
        Phase::Runnable
    } else {
        Phase::Blocked
    };
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(record) = admit(task, workload, Phase::Unseen, seeded_as, cpu) {
        if seeded_as == Phase::Blocked {
            record.reason = match kernel_lock::of_sleeping(task) {
                Some(lock) => lock as u32,
                None => reason_to_wait(task).into(),
            };
        }
        if is_late {
            lose_on(cpu, Loss::ForkUnseen);
        }
    }
    0
}

/// What a thread waits for that was asleep before tracing began: it is still in the system call. Whether a futex is an interpreter's lock
/// shows at its next wait only, since nobody has looked for locks yet.
#[inline(always)]
fn reason_to_wait(task: Task) -> u8 {
    let registers = task.registers();
    let class = class_of(registers.map_or(UNTOLD, Registers::syscall));
    let files = registers.and_then(Registers::arguments).map(|arguments| (arguments.first as u32, arguments.second as u32));
    let state = task.state();
    let in_iowait = state & state::UNINTERRUPTIBLE != 0 && task.in_iowait();
    classify(state, in_iowait, reason_of_class(class, files))
}

/// The value that user space has set for a process, or for a key that stands for something else.
#[inline(always)]
fn wanted(key: u32) -> Option<u32> {
    // On the stack: aya 0.14 resolves a reference to a promoted constant to the start of `.rodata`, where there is another value.
    let key = key;
    // SAFETY: the value is copied at once.
    unsafe { SEED_TGIDS.get(&key) }.copied()
}

/// The workload of an untraced thread's process, or else of its parent if that was traced when it forked the process.
#[inline(always)]
fn inherited(task: Task) -> Option<u32> {
    if let Some(leader) = find(task.leader()) {
        return Some(leader.record.workload);
    }
    let parent = find(task.parent())?;
    (task.start_ns() > parent.record.start_ns).then_some(parent.record.workload)
}

/// Compares a waiting thread with what the kernel has kept about it, unless something happens to it meanwhile.
#[inline(always)]
fn compare(task: Task, record: &TaskRecord) {
    let sequence = record.sequence;
    if !is_comparable(record) || !is_waiting(task, record) {
        return;
    }
    barrier();
    let mut found = Residuals::default();
    found.add(record, &task.counts());
    barrier();
    // A switch or a waking on another CPU may have changed one of the two but not the other.
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
