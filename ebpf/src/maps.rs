//! State of the programs. Sizes here are placeholders: the loader sets every size from the machine.
//!
//! Memory on a host with `C` CPUs, `T` task slots and `P` pids: P x 4 + T x 640 + T x 24 (hash and queues) + C x W x 5.9 KiB for `W`
//! workloads, provisional ones included, + C x T x 8 where threads are broken down by core, + 0.8 MiB where workloads are decided at an
//! exec. With 2 CPUs, 32,768 pids, 16,384 slots and 4 workloads: 9 MiB.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, Queue, Stack};
use schedscope_ebpf::abi::{Cell, CpuRecord, ExecKey, ExecKeyDraft, Owner, PIDS_PER_ENTRY, Provisional, TaskRecord};
use schedscope_ebpf::distance::CpuPlace;
use schedscope_ebpf::kernel_stack::Functions;
use schedscope_ebpf::residual::Residuals;
use schedscope_ebpf::wait_account::WaitAccount;

/// Written at fork and exec, and by the iterator, or by user space where there is none; read at every switch.
#[map]
pub(crate) static SLOT_OF_PID: Array<[u32; PIDS_PER_ENTRY]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The same by address, for threads whose pid was changed by an exec. Read only when the record found by pid is another thread's.
#[map]
pub(crate) static SLOT_OF_TASK: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

/// Read by user space through a mapping, hence the sequence number in the record.
#[map]
pub(crate) static TASKS: Array<TaskRecord> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Filled by user space before the programs are attached. A stack, so that the slots in use stay close together.
#[map]
pub(crate) static FREE_SLOTS: Stack<u32> = Stack::with_max_entries(1, 0);

/// Whoever pops a slot owns it: user space reads it and frees it, a fork that finds no free slot evicts it.
#[map]
pub(crate) static DEAD_SLOTS: Queue<u32> = Queue::with_max_entries(1, 0);

/// A bank of `WORKLOADS` cells per CPU.
#[map]
pub(crate) static CELLS: Array<Cell> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static CPUS: Array<CpuRecord> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// A bank of `TASK_SLOTS` sums per CPU. User space zeroes a slot's sums before it frees the slot.
#[map]
pub(crate) static THREAD_CPU: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static PLACES: Array<CpuPlace> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static SEED_TGIDS: HashMap<u32, u32> = HashMap::with_max_entries(1, 0);

/// As large as [`TASKS`] while figures are verified. User space zeroes a slot's account before it frees the slot.
#[map]
pub(crate) static WAIT_ACCOUNTS: Array<WaitAccount> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Zeroed by user space before it runs the iterator, which alone writes it.
#[map]
pub(crate) static WAITING: Array<Residuals> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Looked up at every exec. Not LRU: user space knows best what to forget, and a program that finds no room is only named anew.
#[map]
pub(crate) static OWNERS: HashMap<ExecKey, Owner> = HashMap::with_max_entries(1, 0);

/// Whoever pops an index writes the entry; user space zeroes it before it pushes the index back.
#[map]
pub(crate) static PROVISIONALS: Array<Provisional> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static FREE_PROVISION: Stack<u32> = Stack::with_max_entries(1, 0);

/// Used by one exec on each CPU at a time.
#[map]
pub(crate) static EXEC_KEYS: Array<ExecKeyDraft> = Array::with_max_entries(1, 0);

/// Added to atomically; user space takes what it finds and leaves 0.
#[map]
pub(crate) static ARRIVALS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Written by user space before the programs are attached, if it knows the functions.
#[map]
pub(crate) static KERNEL_CODE: Array<Functions> = Array::with_max_entries(1, BPF_F_MMAPABLE);
