//! Thread records out of the map, each consistent in itself.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::thread::sleep;
use std::time::{Duration, Instant};

use schedscope_ebpf::abi::TaskRecord;
use schedscope_ebpf::gil::{AddressRange, RANGES};

use super::mapped::MappedArray;

/// Attempts to read a record before it counts as being written. A write takes a tenth of a microsecond.
const ATTEMPTS: u32 = 16;
/// With more patience left than this, a wait sleeps instead of spinning.
const SPIN: Duration = Duration::from_millis(1);

/// How much longer a snapshot waits for all records that are being written. A write lasts for milliseconds when the hypervisor takes the
/// writer's virtual CPU away in the middle of it.
pub(super) struct Patience(Duration);

impl Patience {
    /// For snapshots that must not be held up.
    pub(super) const SHORT: Patience = Patience(SPIN);
    /// For the last snapshot.
    pub(super) const LONG: Patience = Patience(Duration::from_millis(100));
}

/// Slots that are mapped at first: 320 KiB. The kernel counts all that is mapped as our resident memory, though the table exists anyway.
const FIRST_SLOTS: usize = 512;

/// The thread records and which slots were ever used.
pub(super) struct Records {
    /// The beginning of the table, as far as it was ever read. Threads take the lowest slots first.
    map: MappedArray<TaskRecord>,
    table: OwnedFd,
    slots: usize,
}

/// What a slot holds.
pub(super) enum Slot {
    /// Never used; no later one was either, because free slots are handed out lowest first.
    NeverUsed,
    /// Free again.
    Free,
    /// A thread.
    Used(Box<TaskRecord>),
    /// A thread whose record was being written each time it was read: every word is whole, but some are older than others.
    Torn(Box<TaskRecord>),
}

impl Records {
    /// The records of the map behind `table`, which has as many slots.
    pub(super) fn new(table: OwnedFd, slots: usize) -> io::Result<Self> {
        let map = MappedArray::new(table.as_fd(), FIRST_SLOTS.min(slots))?;
        Ok(Records { map, table, slots })
    }

    /// Slots; slot 0 is not used.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Maps as much of the table as a slot needs and as much again, so that not every new thread needs a new mapping.
    fn reach(&mut self, slot: usize) -> io::Result<()> {
        if slot >= self.map.len() {
            self.map = MappedArray::new(self.table.as_fd(), (slot + 1).next_power_of_two().min(self.slots))?;
        }
        Ok(())
    }

    /// Reads one slot.
    pub(super) fn read(&mut self, slot: usize, patience: &mut Patience) -> io::Result<Slot> {
        self.reach(slot)?;
        if self.task(slot) == 0 {
            // SAFETY: as in `task`.
            let start_ns = unsafe { (&raw const (*self.map.pointer(slot)).start_ns).read_volatile() };
            return Ok(if start_ns == 0 { Slot::NeverUsed } else { Slot::Free });
        }
        let copy = self.copy(slot).or_else(|| self.wait_for(slot, patience));
        Ok(copy.map_or_else(|| Slot::Torn(Box::new(self.map.read(slot))), Slot::Used))
    }

    /// The record once it is written, if patience lasts.
    fn wait_for(&self, slot: usize, patience: &mut Patience) -> Option<Box<TaskRecord>> {
        let Patience(left) = *patience;
        let begin = Instant::now();
        let mut copy = None;
        while copy.is_none() && begin.elapsed() < left {
            if left.saturating_sub(begin.elapsed()) > SPIN {
                sleep(SPIN);
            }
            copy = self.copy(slot);
        }
        *patience = Patience(left.saturating_sub(begin.elapsed()));
        copy
    }

    /// The record, if an attempt falls between two writes.
    fn copy(&self, slot: usize) -> Option<Box<TaskRecord>> {
        (0..ATTEMPTS).find_map(|_| {
            let before = self.sequence(slot);
            fence(Ordering::Acquire);
            let copy = self.map.read(slot);
            fence(Ordering::Acquire);
            // Pairs with `begin` and `finish` in the programs' `charge`: odd while the record is written.
            let is_whole = before.is_multiple_of(2) && before == self.sequence(slot);
            if !is_whole {
                std::hint::spin_loop();
            }
            is_whole.then(|| Box::new(copy))
        })
    }

    fn sequence(&self, slot: usize) -> u32 {
        // SAFETY: as in `task`.
        unsafe { (&raw const (*self.map.pointer(slot)).sequence).read_volatile() }
    }

    /// Moves a thread whose slot was read to another workload, unless its exec has done that; from then on the programs charge that
    /// one. Whether it was moved and has not begun to end.
    pub(super) fn set_workload(&self, slot: usize, before: u32, workload: u32) -> bool {
        // SAFETY: an aligned word inside the mapping, which lives as long as `self`; the programs write it at an exec, as a whole.
        let word = unsafe { AtomicU32::from_ptr(&raw mut (*self.map.pointer(slot)).workload) };
        let is_moved = word.compare_exchange(before, workload, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        // SAFETY: an aligned word inside the mapping, written by the programs once.
        is_moved && unsafe { (&raw const (*self.map.pointer(slot)).at_exit.on_cpu_ns).read_volatile() } == 0
    }

    /// Tells the programs where the thread's process keeps its interpreters' locks.
    pub(super) fn set_gil(&self, slot: usize, ranges: [AddressRange; RANGES]) {
        for (index, range) in ranges.into_iter().enumerate() {
            // SAFETY: aligned words inside the mapping. A range is empty while its end is 0, so no half of one is ever believed.
            unsafe {
                let place = (&raw mut (*self.map.pointer(slot)).gil).cast::<AddressRange>().add(index);
                (&raw mut (*place).end).write_volatile(0);
                fence(Ordering::Release);
                (&raw mut (*place).start).write_volatile(range.start);
                fence(Ordering::Release);
                (&raw mut (*place).end).write_volatile(range.end);
            }
        }
    }

    /// The address of the task in a slot.
    pub(super) fn task(&self, slot: usize) -> u64 {
        // SAFETY: an aligned word inside the mapping, written by the programs at any time.
        unsafe { (&raw const (*self.map.pointer(slot)).task).read_volatile() }
    }

    /// Fills a slot that the caller has taken from the free ones; no program finds it yet.
    pub(super) fn write(&mut self, slot: usize, record: &TaskRecord) -> io::Result<()> {
        self.reach(slot)?;
        // SAFETY: an aligned record inside the mapping, which nobody else has.
        unsafe { self.map.pointer(slot).write_volatile(*record) };
        Ok(())
    }

    /// Marks the slot of an ended thread as free. The caller owns the slot, having taken it from the queue of ended threads.
    pub(super) fn clear(&self, slot: usize) {
        // SAFETY: an aligned word inside the mapping; no program finds the record any more.
        unsafe { (&raw mut (*self.map.pointer(slot)).task).write_volatile(0) };
    }
}

// The two words that show whether a slot is used are read outside the sequence.
const _: () = assert!(offset_of!(TaskRecord, task) % 8 == 0 && offset_of!(TaskRecord, start_ns) % 8 == 0);

#[cfg(test)]
mod tests {
    use schedscope_ebpf::task_clock::Phase;

    use super::*;
    use crate::capture::snapshot::tests::thread;

    const SLOTS: u32 = 65;

    /// A table in an ordinary file, every record of which is being written.
    fn all_being_written() -> Records {
        let table = tempfile::tempfile().unwrap();
        table.set_len(u64::from(SLOTS) * size_of::<TaskRecord>() as u64).unwrap();
        let mut records = Records::new(table.into(), SLOTS as usize).unwrap();
        for slot in 1..SLOTS {
            let record = TaskRecord { sequence: 1, ..thread(slot, Phase::Running).record };
            records.write(slot as usize, &record).unwrap();
        }
        records
    }

    #[test]
    fn records_that_stay_torn_take_the_patience_of_one_together() {
        let mut records = all_being_written();
        let limit = Duration::from_millis(200);
        let (mut patience, begin) = (Patience(limit), Instant::now());
        for slot in 1..SLOTS {
            let Slot::Torn(record) = records.read(slot as usize, &mut patience).unwrap() else { panic!("slot {slot} is whole") };
            assert_eq!(record.tid, slot);
        }
        assert!((limit..30 * limit).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        assert_eq!(patience.0, Duration::ZERO);
    }

    #[test]
    fn a_record_is_read_as_soon_as_it_is_written() {
        let mut records = all_being_written();
        let writer = MappedArray::<TaskRecord>::new(records.table.as_fd(), SLOTS as usize).unwrap();
        let writing = std::thread::spawn(move || {
            sleep(Duration::from_millis(20));
            // SAFETY: an aligned word inside the mapping, which nobody else writes.
            unsafe { (&raw mut (*writer.pointer(7)).sequence).write_volatile(2) };
        });
        let mut patience = Patience(Duration::from_secs(60));
        assert!(matches!(records.read(7, &mut patience).unwrap(), Slot::Used(record) if record.tid == 7));
        assert!(patience.0 > Duration::from_secs(1));
        writing.join().unwrap();
    }
}
