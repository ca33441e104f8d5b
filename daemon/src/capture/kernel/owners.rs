//! Provisional workloads, and what the programs know of which program belongs to which workload.

use std::sync::atomic::{AtomicU64, Ordering};

use aya::Ebpf;
use aya::maps::{HashMap, MapData, MapError, Stack};
use schedscope_ebpf::abi::{Cell, ExecKey, Owner, Provisional, map};

use super::mapped::{MappedArray, Words};
use super::{KernelError, load};
use crate::capture::snapshot::{Arrivals, ProvisionalWorkload, WorkloadId};

/// The entries of the provisional workloads.
pub(super) struct Provisionals {
    entries: MappedArray<Provisional>,
    /// By two workloads, see [`map::ARRIVALS`].
    arrivals: MappedArray<u64>,
    /// The first one's number.
    first: u32,
}

// SAFETY: `repr(C)` integers without padding; size and alignment are asserted in the contract.
unsafe impl Words for Provisional {}

/// A key as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Key(ExecKey);

// SAFETY: a `repr(C)` struct of integers without padding.
unsafe impl aya::Pod for Key {}

/// A value as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Value(Owner);

// SAFETY: as above.
unsafe impl aya::Pod for Value {}

impl Provisionals {
    pub(super) fn new(ebpf: &Ebpf, first: u32, count: u32) -> Result<Provisionals, KernelError> {
        let bank = first + count;
        Ok(Provisionals {
            entries: load::mapped(ebpf, map::PROVISIONALS, count)?,
            arrivals: load::mapped(ebpf, map::ARRIVALS, bank * bank)?,
            first,
        })
    }

    /// Takes the processes that an exec has brought from one workload into another.
    pub(super) fn take_arrivals(&self) -> Vec<Arrivals> {
        let bank = self.first as usize + self.entries.len();
        let workload = |index: usize| WorkloadId(u32::try_from(index).unwrap_or(0));
        let arrived = (0..self.arrivals.len()).filter_map(|index| {
            // SAFETY: an aligned word inside the mapping, which lives as long as `self`; the programs change it atomically.
            let word = unsafe { AtomicU64::from_ptr(self.arrivals.pointer(index)) };
            // Nearly all are 0 and stay so.
            let count = if word.load(Ordering::Relaxed) == 0 { 0 } else { word.swap(0, Ordering::Relaxed) };
            (count > 0).then(|| Arrivals { from: workload(index % bank), to: workload(index / bank), count })
        });
        arrived.collect()
    }

    /// Those in use.
    pub(super) fn in_use(&self) -> Vec<usize> {
        // SAFETY: an aligned word inside the mapping, written by the programs at any time.
        let in_use = |index: &usize| unsafe { (&raw const (*self.entries.pointer(*index)).in_use).read_volatile() } != 0;
        (0..self.entries.len()).filter(in_use).collect()
    }

    /// What stands behind those in use now, with the cells of those that were when the cells were read.
    pub(super) fn read(&self, mut cells: std::collections::HashMap<usize, Vec<Cell>>) -> Vec<ProvisionalWorkload> {
        let read = |index: usize| {
            let Provisional { key, cgroup, .. } = self.entries.read(index);
            let cells = cells.remove(&index).unwrap_or_default();
            ProvisionalWorkload { number: self.number(index), key, cgroup: Box::new(cgroup), cells }
        };
        self.in_use().into_iter().map(read).collect()
    }

    fn number(&self, index: usize) -> WorkloadId {
        WorkloadId(self.first + u32::try_from(index).unwrap_or(0))
    }

    /// Hands a workload back that no program charges any more and no key leads to. The caller has zeroed its cells.
    pub(super) fn retire(&self, ebpf: &mut Ebpf, workload: WorkloadId) -> Result<(), KernelError> {
        let index = workload.0 - self.first;
        // SAFETY: an aligned record inside the mapping, which is the caller's until it is pushed below.
        unsafe { self.entries.pointer(index as usize).write_volatile(Provisional::default()) };
        let mut free: Stack<&mut MapData, u32> = Stack::try_from(load::map_mut(ebpf, map::FREE_PROVISION)?)?;
        Ok(free.push(index, 0)?)
    }
}

fn owners(ebpf: &mut Ebpf) -> Result<HashMap<&mut MapData, Key, Value>, KernelError> {
    Ok(HashMap::try_from(load::map_mut(ebpf, map::OWNERS)?)?)
}

/// Says where processes belong from now on that exec into this.
pub(super) fn set(ebpf: &mut Ebpf, key: &ExecKey, owner: Owner) -> Result<(), KernelError> {
    Ok(owners(ebpf)?.insert(Key(*key), Value(owner), 0)?)
}

/// Makes room for another key.
pub(super) fn forget(ebpf: &mut Ebpf, key: &ExecKey) -> Result<(), KernelError> {
    match owners(ebpf)?.remove(&Key(*key)) {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
