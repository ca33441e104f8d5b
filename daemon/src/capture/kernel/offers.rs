//! Registers running threads without a task iterator.
//!
//! The programs know a thread by the address of its task, which user space cannot learn. So it lists `/proc`, makes a record for each
//! thread and enters it under the thread's id; the thread's first event makes the record its own (`take_up` in `ebpf/src/tasks.rs`).
//! This does less than an iterator: a thread whose fork was not seen is found only if its process was named.

use std::array;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::Ebpf;
use aya::maps::{MapData, MapError, Stack};
use procfs::process::{Process, Task, all_processes};
use schedscope_ebpf::abi::{KernelCounts, OFFERED, PIDS_PER_ENTRY, SEED_EVERY, TaskRecord, map};
use schedscope_ebpf::task_clock::{Phase, TaskClock};

use super::mapped::MappedArray;
use super::records::Records;
use super::{KernelError, load, now_ns};
use crate::capture::snapshot::{Tgid, WorkloadId};

/// The host's pid namespace, whose inode number is fixed (`PROC_PID_INIT_INO` in the kernel's `include/linux/proc_ns.h`).
const HOST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Records made for threads that may not have taken them up yet.
pub(super) struct Offers {
    /// Slots by pid, two to a word.
    pids: MappedArray<u64>,
    /// Thread and slot, with the time in ticks at which the thread began.
    open: HashMap<i32, (u32, u64)>,
}

impl Offers {
    /// Nothing is offered yet.
    pub(super) fn new(ebpf: &Ebpf) -> Result<Offers, KernelError> {
        let namespace = Process::myself().and_then(|me| me.namespaces()).ok();
        let is_host = namespace.and_then(|spaces| spaces.0.get(std::ffi::OsStr::new("pid")).map(|pid| pid.identifier));
        if is_host != Some(HOST_PID_NAMESPACE) {
            return Err(KernelError::OtherPidNamespace);
        }
        Ok(Offers { pids: load::mapped(ebpf, map::SLOT_OF_PID, load::pid_entries())?, open: HashMap::new() })
    }

    /// Offers a record to every thread of the seeded processes that has none, and takes back those of threads that have ended.
    pub(super) fn list(
        &mut self,
        seeds: &HashMap<Tgid, WorkloadId>,
        records: &mut Records,
        free: &mut Stack<&mut MapData, u32>,
    ) -> Result<(), KernelError> {
        for (tgid, workload) in seeds {
            let processes = if tgid.0 == SEED_EVERY {
                all_processes().map(|all| all.flatten().collect())
            } else {
                Process::new(tgid.0.cast_signed()).map(|process| vec![process])
            };
            // A process that has ended needs no record.
            for task in processes.unwrap_or_default().iter().filter_map(|process| process.tasks().ok()).flatten().flatten() {
                self.offer(&task, *workload, records, free)?;
            }
        }
        self.withdraw(records, free)
    }

    fn offer(
        &mut self,
        task: &Task,
        workload: WorkloadId,
        records: &mut Records,
        free: &mut Stack<&mut MapData, u32>,
    ) -> Result<(), KernelError> {
        let Some(entry) = self.entry(task.tid) else { return Ok(()) };
        if entry.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        let (Ok(stat), Ok(used)) = (task.stat(), task.schedstat()) else { return Ok(()) };
        let seeded_as = match stat.state {
            // It has left its CPU for good.
            'Z' | 'X' | 'x' => return Ok(()),
            // Running or about to: its first event shows which.
            'R' => Phase::Running,
            _ => Phase::Blocked,
        };
        let slot = match free.pop(0) {
            Ok(slot) => slot,
            // The programs count a thread that finds no slot; a listing would count the same threads again and again.
            Err(MapError::ElementNotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let before = KernelCounts { runtime_ns: used.sum_exec_runtime, run_delay_ns: used.run_delay, ..KernelCounts::default() };
        let started_ns = now_ns();
        let written = records.write(
            slot as usize,
            &TaskRecord {
                workload: workload.0,
                task: OFFERED,
                clock: TaskClock::starting(Phase::Unseen, started_ns),
                tid: task.tid.cast_unsigned(),
                start_ns: started_ns,
                tgid: task.pid.cast_unsigned(),
                ppid: stat.ppid.cast_unsigned(),
                seeded_as: seeded_as as u16,
                kernel_before: before,
                runtime_at_departure_ns: before.runtime_ns,
                comm: comm(&stat.comm),
                ..TaskRecord::default()
            },
        );
        written.map_err(load::records_unmapped)?;
        // Last, since it makes the record visible to the programs.
        entry.store(slot, Ordering::Release);
        self.open.insert(task.tid, (slot, stat.starttime));
        Ok(())
    }

    /// Takes back the records of threads that ended before they could take them up, since their ids will be reused.
    fn withdraw(&mut self, records: &Records, free: &mut Stack<&mut MapData, u32>) -> Result<(), KernelError> {
        let mut ended = Vec::new();
        self.open.retain(|tid, (slot, start)| {
            if records.task(*slot as usize) != OFFERED {
                return false;
            }
            let now = Process::new(*tid).and_then(|process| process.task_from_tid(*tid)).and_then(|task| task.stat());
            let is_there = now.is_ok_and(|stat| stat.starttime == *start && !matches!(stat.state, 'Z' | 'X' | 'x'));
            if !is_there {
                ended.push((*tid, *slot));
            }
            is_there
        });
        for (tid, slot) in ended {
            if let Some(entry) = self.entry(tid) {
                // A thread that has the id by now has entered a slot of its own.
                let _ = entry.compare_exchange(slot, 0, Ordering::AcqRel, Ordering::Acquire);
            }
            records.clear(slot as usize);
            free.push(slot, 0)?;
        }
        Ok(())
    }

    /// The entry of a thread's id; `None` for an id that the table has no room for.
    fn entry(&self, tid: i32) -> Option<&AtomicU32> {
        let tid = usize::try_from(tid).ok()?;
        if tid / PIDS_PER_ENTRY >= self.pids.len() {
            return None;
        }
        let pair = self.pids.pointer(tid / PIDS_PER_ENTRY).cast::<u32>();
        // SAFETY: an aligned word inside the mapping, which lives as long as `self`; the programs write it at any time, as a whole.
        Some(unsafe { AtomicU32::from_ptr(pair.add(tid % PIDS_PER_ENTRY)) })
    }
}

/// A name as the kernel keeps it: at most 15 bytes, then zeros.
fn comm(name: &str) -> [u8; 16] {
    let mut bytes = name.bytes().take(15);
    array::from_fn(|_| bytes.next().unwrap_or(0))
}
