//! Which workload a process belongs to, decided at its exec.
//!
//! A workload follows from the executable, the cgroup and the thread name, by rules that only user space knows. So user space says for
//! each such [`ExecKey`] where it leads. For one that it has not named yet a provisional workload is opened, which user space adds to
//! the right one as soon as it reads it: no process is too short to be counted where it belongs.

use core::arch::asm;
use core::ptr;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use schedscope_ebpf::abi::{CGROUP_BYTES, COMPONENT_BYTES, EXE_BYTES, ExecKey, ExecKeyDraft, Owner, PATH_STEPS, TaskRecord};
use schedscope_ebpf::loss::Loss;
use schedscope_ebpf::params::ABSENT;
use schedscope_ebpf::task_clock::Phase;

use crate::charge::{begin, cell, finish, lose_on, on_cpu, this_cpu};
use crate::kernel_types::{
    CFS_RQ_RQ, CGROUP_LINK_CGROUP, CGROUP_LINK_NEXT, CGROUP_NODE, CGROUP_ROOT, CSS_SET_LINKS, CSS_SET_UNIFIED, Constant,
    DENTRY_NAME, DENTRY_PARENT, FILE_DENTRY, FILE_MOUNT, FIRST_PROVISIONAL, MM_EXE_FILE, MOUNT_PARENT, MOUNT_POINT, MOUNT_VFSMOUNT,
    NODE_ID, NODE_NAME, NODE_PARENT, ROOT_HIERARCHY, RQ_CLOCK_FLAGS, SYSTEMD_HIERARCHY, TASK_CFS_RQ, TASK_CGROUPS, TASK_COMM,
    TASK_MM, Task, VFSMOUNT_ROOT, WORKLOADS,
};
use crate::maps::{ARRIVALS, EXEC_KEYS, FREE_PROVISION, OWNERS, PROVISIONALS};
use crate::tasks::Traced;

/// Hierarchies of cgroup v1 that a host can have: one for each controller, and named ones.
const MAX_HIERARCHIES: u32 = 24;

/// Whether there are workloads to decide between.
#[inline(always)]
pub(crate) fn is_decided_at_exec() -> bool {
    FIRST_PROVISIONAL.load() != WORKLOADS.load()
}

/// Counts a thread that begins in a workload, and its process if it is its main thread.
#[inline(always)]
pub(crate) fn count_start(cpu: u32, workload: u32, is_process: bool) {
    if let Some(cell) = cell(cpu, workload) {
        cell.threads_started += 1;
        if is_process {
            cell.processes_started += 1;
        }
    }
}

/// Whether its fork was seen and it has not called exec: the process has not been counted yet.
#[inline(always)]
pub(crate) fn is_uncounted(record: &TaskRecord) -> bool {
    record.execs == 0 && record.seeded_as == Phase::New as u16
}

/// Hands a process that has just called exec over to its workload. The process has one thread now, and it is running.
#[inline(always)]
pub(crate) fn hand_over(task: Task, traced: &mut Traced, is_uncounted: bool) {
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let before = traced.record.workload;
    let owner = owner_of(task, cpu);
    let is_known = owner.workload != NO_WORKLOAD;
    let after = if is_known { owner.workload } else { before };
    if is_uncounted {
        count_start(cpu, after, true);
    } else if after != before {
        // It has been counted where it comes from. If one of the two is provisional, both may yet turn out to be one. Before the thread
        // leaves: user space hands a workload back that no thread is in, and knows then who has left it.
        if let Some(arrivals) = ARRIVALS.get_ptr_mut(after * WORKLOADS.load() + before) {
            // SAFETY: one instruction on an aligned word of a map; it writes nothing else. `core` has no such operation for this target.
            unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) arrivals, in(reg) 1_u64, options(nostack)) };
        }
    }
    if !is_known {
        lose_on(cpu, Loss::OwnerUnknown);
        return;
    }
    traced.record.identity = owner.identity as u16;
    if after != before {
        close_run(task, traced, cpu, after);
    }
}

/// Charges what the thread has run since its switch-in to the workload that it leaves.
#[inline(always)]
fn close_run(task: Task, traced: &mut Traced, cpu: u32, workload: u32) {
    let record = &mut *traced.record;
    let ran_ns = end_of_run(task, cpu).saturating_sub(record.clock.since_ns);
    begin(record);
    if record.clock.phase == Phase::Running as u32 {
        if let Some(cell) = cell(cpu, record.workload) {
            on_cpu(record, cell, traced.slot, cpu, ran_ns, false);
            // At the switch-out both clocks count from here: the kernel's account of the whole run, less what was charged now.
            record.clock.since_ns += ran_ns;
            record.runtime_at_departure_ns += ran_ns;
        }
    }
    record.workload = workload;
    finish(record);
}

/// The time at which a run would end if it ended now: that is the time now, unless the kernel has decided to take the CPU away at an
/// earlier one. It has read the run queue's clock then and won't read it again for the switch (`rq_clock_skip_update`).
#[inline(always)]
fn end_of_run(task: Task, cpu: u32) -> u64 {
    // SAFETY: a helper without preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if RQ_CLOCK_FLAGS.load() == ABSENT
        || read(read(read(task.address(), TASK_CFS_RQ), CFS_RQ_RQ), RQ_CLOCK_FLAGS) & REQUESTS_SKIP == 0
    {
        return now_ns;
    }
    let decided_ns = task.rq_clock_ns().and_then(|rq_clock_ns| this_cpu(cpu)?.clock.estimate(rq_clock_ns));
    match decided_ns {
        Some(decided_ns) if decided_ns < now_ns => decided_ns,
        _ => now_ns,
    }
}

/// `RQCF_REQ_SKIP` of `kernel/sched/sched.h`.
const REQUESTS_SKIP: u64 = 1;

/// In an [`Owner`]: the key could not be read, or no workload was free.
const NO_WORKLOAD: u32 = u32::MAX;

#[inline(never)]
fn owner_of(task: Task, cpu: u32) -> Owner {
    let none = Owner { workload: NO_WORKLOAD, identity: 0 };
    // A pointer: no reference may be held while the steps of a walk, which find the draft by themselves, write it.
    let Some(draft) = EXEC_KEYS.get_ptr_mut(cpu) else { return none };
    // SAFETY: a map value; an exec on this CPU has it to itself until the hook ends. The references end with the calls.
    let node = unsafe {
        // What cannot be read is zeros.
        copy(&mut (*draft).key, ptr::null());
        let node = cgroup_of(task, cpu, draft);
        (*draft).key.cgroup_id = read(node, NODE_ID);
        read_name(task, &mut (*draft).key.comm);
        node
    };
    if !read_exe(task, cpu, draft) {
        return none;
    }
    // SAFETY: as above; the value is copied at once.
    if let Some(owner) = unsafe { OWNERS.get(&(*draft).key) } {
        return *owner;
    }
    let Ok(Some(index)) = FREE_PROVISION.pop() else { return none };
    let Some(provisional) = PROVISIONALS.get_ptr_mut(index) else { return none };
    read_cgroup(node, cpu, draft, index);
    let owner = Owner { workload: FIRST_PROVISIONAL.load() + index, identity: 0 };
    // SAFETY: as above, and a map value whose index was popped, so nobody else has it.
    unsafe {
        copy(&mut (*provisional).key, &(*draft).key);
        // Another CPU may have been faster, or the map be full: then two provisional workloads get the same name.
        let _ = OWNERS.insert(&(*draft).key, &owner, u64::from(BPF_NOEXIST));
        // Last, since it makes the entry visible to user space: a plain store the compiler may not move before the ones above, which lie
        // before the helper's call.
        ptr::write_volatile(&raw mut (*provisional).in_use, 1);
    }
    owner
}

/// A word at an offset from an address in the kernel; 0 if it cannot be read, as from a null pointer.
#[inline(always)]
fn read<const NUMBER: u16>(address: u64, offset: Constant<NUMBER>) -> u64 {
    read_at(address + u64::from(offset.load()))
}

#[inline(always)]
fn read_at(address: u64) -> u64 {
    let mut word = 0_u64;
    // SAFETY: the destination is 8 bytes; the helper fails softly on a bad address.
    unsafe { bpf_probe_read_kernel((&raw mut word).cast(), 8, address as *const _) };
    word
}

/// Copies a key. The compiler's own way is a loop over its bytes, all of which the verifier walks.
#[inline(always)]
fn copy(key: &mut ExecKey, from: *const ExecKey) {
    // SAFETY: the destination is a key; the helper fails softly on a bad address.
    unsafe { bpf_probe_read_kernel((&raw mut *key).cast(), size_of::<ExecKey>() as u32, from.cast()) };
}

/// The thread name, with zeros behind it: the kernel may leave those of an older name there.
#[inline(always)]
fn read_name(task: Task, name: &mut [u8; 16]) {
    let from = task.address() + u64::from(TASK_COMM.load());
    // SAFETY: the destination is 16 bytes; the helper fails softly on a bad address.
    unsafe { bpf_probe_read_kernel_str(name.as_mut_ptr().cast(), 16, from as *const _) };
}

/// How a walk goes on.
const GOES_ON: u32 = 0;
const HAS_ENDED: u32 = 1;
const HAS_FAILED: u32 = 2;

/// Walks to an end; false if that is too far, or something cannot be read.
///
/// Steps are global functions, which the verifier walks once, not once for each step and each way to it. Such a function takes numbers only
/// (pointers to memory since Linux 5.12), so where the walk is lies in a map.
#[inline(always)]
fn walk(steps: u32, step: impl Fn() -> u32) -> bool {
    for _ in 0..steps {
        match step() {
            GOES_ON => {}
            ended => return ended == HAS_ENDED,
        }
    }
    false
}

/// The node of the cgroup that names units and containers: that of the unified hierarchy, or where it is only the root, of systemd's.
#[inline(always)]
fn cgroup_of(task: Task, cpu: u32, draft: *mut ExecKeyDraft) -> u64 {
    let set = read(task.address(), TASK_CGROUPS);
    let unified = read(read(set, CSS_SET_UNIFIED), CGROUP_NODE);
    if SYSTEMD_HIERARCHY.load() == 0 || read(unified, NODE_PARENT) != 0 {
        return unified;
    }
    let head = set + u64::from(CSS_SET_LINKS.load());
    // SAFETY: see `owner_of`.
    unsafe { (*draft).at = read_at(head) };
    // SAFETY: as above.
    let found = || unsafe { ((*draft).key.hierarchy, (*draft).at) };
    match (walk(MAX_HIERARCHIES, || step_along(cpu, head)), found()) {
        (false, _) | (true, (0, _)) => unified,
        (true, (_, node)) => node,
    }
}

/// From one hierarchy's cgroup to the next one's, or to the node of systemd's.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_along(cpu: u32, head: u64) -> u32 {
    let Some(draft) = EXEC_KEYS.get_ptr_mut(cpu) else { return HAS_FAILED };
    // SAFETY: a map value; an exec on this CPU has it to itself until the hook ends, and `owner_of` holds no reference.
    let draft = unsafe { &mut *draft };
    let next = draft.at;
    if next == head || next == 0 {
        return HAS_ENDED;
    }
    let cgroup = read(next - u64::from(CGROUP_LINK_NEXT.load()), CGROUP_LINK_CGROUP);
    if read(read(cgroup, CGROUP_ROOT), ROOT_HIERARCHY) as u32 == SYSTEMD_HIERARCHY.load() {
        draft.key.hierarchy = u64::from(SYSTEMD_HIERARCHY.load());
        draft.at = read(cgroup, CGROUP_NODE);
        return HAS_ENDED;
    }
    draft.at = read_at(next);
    GOES_ON
}

/// Writes the path of the executable, which `/proc/PID/exe` shows too.
#[inline(always)]
fn read_exe(task: Task, cpu: u32, draft: *mut ExecKeyDraft) -> bool {
    let file = read(read(task.address(), TASK_MM), MM_EXE_FILE);
    // SAFETY: see `owner_of`.
    let draft = unsafe { &mut *draft };
    (draft.at, draft.vfsmount, draft.length) = (read(file, FILE_DENTRY), read(file, FILE_MOUNT), 0);
    walk(PATH_STEPS, || step_up(cpu))
}

/// From a file or directory to the one that it is in.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_up(cpu: u32) -> u32 {
    let Some(draft) = EXEC_KEYS.get_ptr_mut(cpu) else { return HAS_FAILED };
    // SAFETY: a map value; an exec on this CPU has it to itself until the hook ends, and `owner_of` holds no reference.
    let draft = unsafe { &mut *draft };
    let (dentry, vfsmount) = (draft.at, draft.vfsmount);
    if dentry == read(vfsmount, VFSMOUNT_ROOT) {
        // Its name is that of the directory that it is mounted on.
        let mount = vfsmount - u64::from(MOUNT_VFSMOUNT.load());
        let parent = read(mount, MOUNT_PARENT);
        if parent == mount || parent == 0 {
            return HAS_ENDED;
        }
        draft.at = read(mount, MOUNT_POINT);
        draft.vfsmount = parent + u64::from(MOUNT_VFSMOUNT.load());
        return GOES_ON;
    }
    if !append(draft.key.exe.as_mut_ptr(), &mut draft.length, EXE_BYTES, read(dentry, DENTRY_NAME)) {
        return HAS_FAILED;
    }
    let parent = read(dentry, DENTRY_PARENT);
    // A file in memory has no directory.
    if parent == dentry {
        return HAS_ENDED;
    }
    draft.at = parent;
    GOES_ON
}

/// Writes the path of a cgroup.
#[inline(always)]
fn read_cgroup(node: u64, cpu: u32, draft: *mut ExecKeyDraft, provisional: u32) {
    // SAFETY: see `owner_of`.
    let draft = unsafe { &mut *draft };
    (draft.at, draft.length) = (node, 0);
    // Of a path that is too long, the end will do: it names units and containers.
    let _ = walk(PATH_STEPS, || step_out(cpu, provisional));
}

/// From a cgroup to the one that it is in.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn step_out(cpu: u32, provisional: u32) -> u32 {
    let (Some(draft), Some(provisional)) = (EXEC_KEYS.get_ptr_mut(cpu), PROVISIONALS.get_ptr_mut(provisional)) else {
        return HAS_FAILED;
    };
    // SAFETY: as in `step_along`.
    let draft = unsafe { &mut *draft };
    let node = draft.at;
    let parent = read(node, NODE_PARENT);
    if parent == 0 {
        return HAS_ENDED;
    }
    // SAFETY: a map value, which is this program's.
    let path = unsafe { (&raw mut (*provisional).cgroup).cast::<u8>() };
    if !append(path, &mut draft.length, CGROUP_BYTES, read(node, NODE_NAME)) {
        return HAS_FAILED;
    }
    draft.at = parent;
    GOES_ON
}

/// Appends a name to a path, behind which there is room for another name. False if the path is longer than `room` then, or the name cannot
/// be read.
#[inline(always)]
fn append(path: *mut u8, length: &mut u64, room: usize, name: u64) -> bool {
    let before = *length;
    if before > room as u64 {
        return false;
    }
    // SAFETY: there are `COMPONENT_BYTES` behind `room`.
    let written = unsafe { bpf_probe_read_kernel_str(path.add(before as usize).cast(), COMPONENT_BYTES as u32, name as *const _) };
    // At least a byte and the zero.
    if written < 2 {
        return false;
    }
    *length = before + written as u64;
    *length <= room as u64
}
