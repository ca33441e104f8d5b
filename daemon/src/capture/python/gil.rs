//! The GILs of a process: where CPython keeps them and which futex words are theirs. Pure, given a reader.
//!
//! The structure is `_gil_runtime_state` in CPython's `Include/internal/pycore_gil.h`, the same from 3.7 to 3.15 but for a first
//! member in free-threaded builds. Where it is:
//!
//! - 3.7 to 3.11: at a fixed offset inside `_PyRuntime`.
//! - 3.12: every interpreter in the list that begins in `_PyRuntime` points to its GIL, its own or that of the main interpreter.
//! - 3.13 and later: the same, and `_PyRuntime` begins with a table of offsets meant for debuggers.
//!
//! An offset may be wrong for a patched interpreter, so what is found is believed only if it looks like a GIL.

use schedscope_ebpf::gil::AddressRange;

use super::image::{Image, Layout, Offsets};

/// At most this many interpreters of a process are read.
pub(super) const INTERPRETERS_MAX: usize = 256;
/// The longest switch interval that is believed: a quarter of an hour.
pub(super) const SWITCH_INTERVAL_US_MAX: u64 = 900_000_000;

const COND_BYTES: u64 = size_of::<libc::pthread_cond_t>() as u64;
const MUTEX_BYTES: u64 = size_of::<libc::pthread_mutex_t>() as u64;

/// A GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gil {
    /// The structure.
    pub range: AddressRange,
    /// Number of the first interpreter that uses it; the main one is 0.
    pub interpreter: i64,
    /// How long a thread waits before it asks the holder to let go, in microseconds.
    pub switch_interval_us: u64,
    /// Whether it is in use; only a free-threaded build can do without it.
    pub enabled: bool,
}

/// The members before the condition variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Members {
    enabled: Option<u64>,
    switch_interval: u64,
    locked: u64,
    bytes: u64,
}

const WITH_GIL: Members = Members { enabled: None, switch_interval: 0, locked: 16, bytes: 32 };
const FREE_THREADED: Members = Members { enabled: Some(0), switch_interval: 8, locked: 24, bytes: 40 };

/// The memory of a process.
pub(super) trait Memory {
    /// Fills the buffer from an address; `None` if it cannot be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()>;

    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Some(u64::from_ne_bytes(bytes))
    }

    fn read_i32(&self, address: u64) -> Option<i32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Some(i32::from_ne_bytes(bytes))
    }
}

/// The GILs of the CPython whose `_PyRuntime` is at `runtime`, that of the main interpreter first; empty if Python has not started, or is
/// not as expected.
pub(super) fn read_gils(image: &Image, runtime: AddressRange, memory: &impl Memory) -> Vec<Gil> {
    let mut gils = match image.layout {
        Some(Layout::Single { gil }) => {
            let address = runtime.start.saturating_add(gil);
            read_gil(address, 0, WITH_GIL, memory).into_iter().collect()
        }
        Some(Layout::Listed(offsets)) => read_list(image, offsets, runtime, memory),
        None => Vec::new(),
    };
    gils.sort_by_key(|gil| gil.interpreter);
    gils
}

fn read_list(image: &Image, offsets: Offsets, runtime: AddressRange, memory: &impl Memory) -> Vec<Gil> {
    let members = if image.is_free_threaded { FREE_THREADED } else { WITH_GIL };
    let mut gils: Vec<Gil> = Vec::new();
    let Some(mut interpreter) = pointer(memory, runtime.start, offsets.head) else { return gils };
    for _ in 0..INTERPRETERS_MAX {
        if interpreter == 0 {
            break;
        }
        let id = pointer(memory, interpreter, offsets.id).map(u64::cast_signed);
        let gil = pointer(memory, interpreter, offsets.gil);
        if let Some((id, gil)) = id.zip(gil).filter(|(id, _)| *id >= 0) {
            match gils.iter_mut().find(|known| known.range.start == gil) {
                Some(known) => known.interpreter = known.interpreter.min(id),
                None => gils.extend(read_gil(gil, id, members, memory)),
            }
        }
        let Some(next) = pointer(memory, interpreter, offsets.next) else { break };
        interpreter = next;
    }
    gils
}

fn pointer(memory: &impl Memory, base: u64, offset: u64) -> Option<u64> {
    memory.read_u64(base.checked_add(offset)?)
}

/// The GIL at an address, if what is there looks like one that has been set up.
fn read_gil(address: u64, interpreter: i64, members: Members, memory: &impl Memory) -> Option<Gil> {
    let at = |offset: u64| memory.read_u64(address.checked_add(offset)?);
    let int = |offset: u64| memory.read_i32(address.checked_add(offset)?);
    let switch_interval_us = at(members.switch_interval)?;
    let is_gil = (1..=SWITCH_INTERVAL_US_MAX).contains(&switch_interval_us) && (0..=1).contains(&int(members.locked)?);
    let enabled = match members.enabled {
        Some(offset) => int(offset)? != 0,
        None => true,
    };
    let bytes = members.bytes + 2 * (COND_BYTES + MUTEX_BYTES);
    is_gil.then_some(Gil { range: AddressRange::new(address, bytes), interpreter, switch_interval_us, enabled })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::elf::Variable;
    use super::super::image::Found;
    use super::*;

    const OFFSETS: Offsets = Offsets { head: 40, next: 0, id: 8, gil: 384 };
    const RUNTIME: AddressRange = AddressRange { start: 0x5000_0000, end: 0x5007_0000 };

    /// Memory as words, at the addresses written.
    #[derive(Default)]
    struct Words(HashMap<u64, u64>);

    impl Memory for Words {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
            buffer.copy_from_slice(&self.0.get(&address)?.to_ne_bytes()[..buffer.len()]);
            Some(())
        }
    }

    impl Words {
        fn gil(&mut self, address: u64, members: Members, interval_us: u64, locked: i32, enabled: u64) {
            if let Some(offset) = members.enabled {
                self.0.insert(address + offset, enabled | 0xdead_0000_0000);
            }
            self.0.insert(address + members.switch_interval, interval_us);
            // What is beside a member of four bytes does not matter.
            self.0.insert(address + members.locked, u64::from(locked.cast_unsigned()) | 0xbeef << 32);
        }

        fn interpreter(&mut self, address: u64, id: i64, gil: u64, next: u64) {
            self.0.insert(address + OFFSETS.id, id.cast_unsigned());
            self.0.insert(address + OFFSETS.gil, gil);
            self.0.insert(address + OFFSETS.next, next);
        }
    }

    fn image(layout: Layout, is_free_threaded: bool) -> Image {
        Image {
            runtime: Variable { vaddr: 0, bytes: RUNTIME.end - RUNTIME.start },
            found: Found::Symbol,
            version: None,
            is_free_threaded,
            layout: Some(layout),
            segments: Vec::new(),
        }
    }

    #[test]
    fn a_single_gil_is_read_once_python_has_started() {
        let image = image(Layout::Single { gil: 360 }, false);
        let mut words = Words::default();
        words.gil(RUNTIME.start + 360, WITH_GIL, 0, 0, 0);
        assert_eq!(read_gils(&image, RUNTIME, &words), []);
        words.gil(RUNTIME.start + 360, WITH_GIL, 5000, -1, 0);
        assert_eq!(read_gils(&image, RUNTIME, &words), [], "a GIL that was not set up has -1");
        words.gil(RUNTIME.start + 360, WITH_GIL, 5000, 1, 0);
        let gils = read_gils(&image, RUNTIME, &words);
        assert_eq!(gils.len(), 1);
        assert_eq!((gils[0].switch_interval_us, gils[0].enabled, gils[0].interpreter), (5000, true, 0));
    }

    /// The layout of a Linux x86-64 with glibc: `cond` at 32, `mutex` at 80, `switch_cond` at 120, `switch_mutex` at 168, 208 in all.
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    const _: () = assert!(WITH_GIL.bytes + 2 * (COND_BYTES + MUTEX_BYTES) == 208);

    #[test]
    fn the_gil_of_a_free_threaded_build_is_off_until_switched_on() {
        let image = image(Layout::Listed(OFFSETS), true);
        let mut words = Words::default();
        words.0.insert(RUNTIME.start + OFFSETS.head, 0x5001_0000);
        words.interpreter(0x5001_0000, 0, 0x5002_0000, 0);
        for (enabled, is_on) in [(0, false), (1, true), (0x7fff_ffff, true)] {
            words.gil(0x5002_0000, FREE_THREADED, 5000, 0, enabled);
            assert_eq!(read_gils(&image, RUNTIME, &words).iter().map(|gil| gil.enabled).collect::<Vec<_>>(), [is_on]);
        }
    }

    #[test]
    fn a_list_without_end_is_left() {
        let image = image(Layout::Listed(OFFSETS), false);
        let mut words = Words::default();
        words.0.insert(RUNTIME.start + OFFSETS.head, 0x5001_0000);
        words.interpreter(0x5001_0000, 0, 0x5002_0000, 0x5001_0000);
        words.gil(0x5002_0000, WITH_GIL, 5000, 0, 0);
        assert_eq!(read_gils(&image, RUNTIME, &words).len(), 1);
    }

    proptest! {
        /// Interpreters, each with its own GIL or that of the main one, listed newest first.
        #[test]
        fn every_gil_is_found_once(own in prop::collection::vec(any::<bool>(), 0..20), interval_us in 1_u64..=SWITCH_INTERVAL_US_MAX) {
            let image = image(Layout::Listed(OFFSETS), false);
            let mut words = Words::default();
            let at = |index: usize| 0x7f00_0000_0000 + index as u64 * 0x10_0000;
            words.interpreter(RUNTIME.start + 0x1000, 0, RUNTIME.start + 0x2000, 0);
            words.gil(RUNTIME.start + 0x2000, WITH_GIL, interval_us, 1, 0);
            let mut head = RUNTIME.start + 0x1000;
            let mut expected = vec![RUNTIME.start + 0x2000];
            for (index, (owns, id)) in own.into_iter().zip(1_i64..).enumerate() {
                let gil = if owns { at(index) + 0x8000 } else { RUNTIME.start + 0x2000 };
                words.interpreter(at(index), id, gil, head);
                head = at(index);
                if owns {
                    words.gil(gil, WITH_GIL, interval_us, 0, 0);
                    expected.push(gil);
                }
            }
            words.0.insert(RUNTIME.start + OFFSETS.head, head);
            let gils = read_gils(&image, RUNTIME, &words);
            prop_assert_eq!(gils.iter().map(|gil| gil.range.start).collect::<Vec<_>>(), expected);
            prop_assert_eq!(gils[0].interpreter, 0);
            prop_assert!(gils.iter().all(|gil| gil.switch_interval_us == interval_us));
        }

        #[test]
        fn no_memory_makes_it_fail(words in prop::collection::hash_map(0_u64..64, any::<u64>(), 0..64), offset in any::<u64>()) {
            // Small values lead back into what was written.
            let words = Words(words.into_iter().map(|(at, value)| (at * 8, if value % 2 == 0 { value % 512 } else { value })).collect());
            let wild = Offsets { head: 8, next: 16, id: 24, gil: offset };
            for layout in [Layout::Single { gil: offset }, Layout::Listed(wild), Layout::Listed(OFFSETS)] {
                for free_threaded in [false, true] {
                    let gils = read_gils(&image(layout, free_threaded), AddressRange::new(0, 512), &words);
                    prop_assert!(gils.len() <= INTERPRETERS_MAX);
                }
            }
        }
    }
}
