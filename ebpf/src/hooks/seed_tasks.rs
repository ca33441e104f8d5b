use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use schedscope_ebpf::{abi::SEED_EVERY, task_clock::Phase};

use crate::{
    kernel_types::Task,
    maps::SEED_TGIDS,
    tasks::{admit, find},
};

/// `struct bpf_iter__task`, which the kernel builds for every step and whose members the verifier types.
#[repr(C)]
pub(crate) struct TaskStep {
    meta: *const c_void,
    task: *const u8,
}

/// Registers a thread that was alive before tracing began, if its process is wanted.
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
    // On the stack: aya 0.14 resolves a reference to a promoted constant to the start of `.rodata`, where another value lies.
    let (tgid, every) = (task.tgid(), SEED_EVERY);
    // SAFETY: the values are copied at once.
    let wanted = unsafe { SEED_TGIDS.get(&tgid).or_else(|| SEED_TGIDS.get(&every)) };
    let Some(workload) = wanted.copied() else { return 0 };
    if find(task).is_some() {
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
    admit(task, workload, Phase::Unseen, seeded_as, cpu);
    0
}
