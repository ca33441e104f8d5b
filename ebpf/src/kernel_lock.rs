//! Looks at the kernel stack of a thread that has blocked, or that a sample found on its CPU, for a lock inside the kernel.

use core::ffi::{c_long, c_void};
use core::mem::size_of;

use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_get_task_stack};
use schedscope_ebpf::blocked::{Reason, UNTOLD, class, may_be_at_kernel_lock};
use schedscope_ebpf::kernel_stack::{FRAMES, is_at_lock, lock_of, roles_in};

use crate::charge::opaque;
use crate::kernel_types::{HAS_KERNEL_CODE, Registers, Task, class_of};
use crate::maps::KERNEL_CODE;

/// The lock that the current thread, which leaves its CPU, waits for in the system call of this class.
#[inline(never)]
pub(crate) fn of_current(ctx: *mut c_void, class: u8) -> Option<Reason> {
    // SAFETY: the helper is given the program's context.
    lock_on(class, |frames, bytes| unsafe { bpf_get_stack(ctx, frames, bytes, 0) })
}

/// The same for a thread that is asleep, if it is at a lock.
#[inline(never)]
pub(crate) fn of_sleeping(task: Task) -> Option<Reason> {
    if HAS_KERNEL_CODE.load() == 0 || !may_be_at_kernel_lock(task.state(), task.in_iowait()) {
        return None;
    }
    let class = class_of(task.registers().map_or(UNTOLD, Registers::syscall));
    // SAFETY: the helper is given a trusted task.
    lock_on(class, |frames, bytes| unsafe { bpf_get_task_stack(task.address() as *mut _, frames, bytes, 0) })
}

/// Whether the current thread, which a sample has interrupted, waits for one.
#[inline(always)]
pub(crate) fn is_current_at_one(ctx: *mut c_void) -> bool {
    // SAFETY: the helper is given the program's context.
    roles_on(|frames, bytes| unsafe { bpf_get_stack(ctx, frames, bytes, 0) }).is_some_and(is_at_lock)
}

#[inline(always)]
fn lock_on(class: u8, get: impl FnOnce(*mut c_void, u32) -> c_long) -> Option<Reason> {
    lock_of(roles_on(get)?, class & class::MEMORY != 0)
}

#[inline(always)]
fn roles_on(get: impl FnOnce(*mut c_void, u32) -> c_long) -> Option<u32> {
    // Linux 5.10 refuses memory without a value, though the helper writes all of it.
    let mut frames = [0; FRAMES];
    if get(frames.as_mut_ptr().cast(), size_of::<[u64; FRAMES]>() as u32) <= 0 {
        return None;
    }
    Some(roles_in(&frames, KERNEL_CODE.get(0)?, opaque))
}
