//! The GILs of a process: where CPython keeps them and which futex words are theirs. Pure but for the given reader.
//!
//! The structure is `_gil_runtime_state` in CPython's `Include/internal/pycore_gil.h`, the same from 3.7 to 3.15 but for a first
//! member in free-threaded builds. Where it is:
//!
//! - 3.7 to 3.11: at a fixed offset inside `_PyRuntime`.
//! - 3.12: every interpreter in the list that begins in `_PyRuntime` points to its GIL, its own or that of the main interpreter.
//! - 3.13 and later: the same, and `_PyRuntime` begins with a table of offsets meant for debuggers.
//!
//! An offset could be wrong for a patched interpreter, so what is found is only believed if it looks like a GIL.

use super::{AddressRange, Version, image::Image};

/// Interpreters looked at per process.
const INTERPRETERS_MAX: usize = 256;
/// The longest switch interval that is believed: a quarter of an hour.
const SWITCH_INTERVAL_US_MAX: u64 = 900_000_000;

const COND_BYTES: u64 = size_of::<libc::pthread_cond_t>() as u64;
const MUTEX_BYTES: u64 = size_of::<libc::pthread_mutex_t>() as u64;

/// A GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gil {
    /// The structure.
    pub range: AddressRange,
    /// Number of the first interpreter that uses it; 0 is the main one.
    pub interpreter: i64,
    /// How long a thread waits before it asks the holder to let go, in microseconds.
    pub switch_interval_us: u64,
    /// It is in use. Only a free-threaded build can do without.
    pub enabled: bool,
}

impl Gil {
    /// Futex words on which a thread waits to get this GIL: a condition variable and the mutex with it, then the mutex of the other
    /// condition variable.
    pub fn is_take_wait(&self, address: u64) -> bool {
        self.range.contains(address) && !self.is_handoff_wait(address)
    }

    /// Futex words on which a thread waits that was asked to let go, until another one has taken this GIL: a forced hand-off.
    pub fn is_handoff_wait(&self, address: u64) -> bool {
        let start = self.range.end.saturating_sub(MUTEX_BYTES + COND_BYTES);
        AddressRange::new(start, COND_BYTES).contains(address)
    }
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

/// Where the GILs are, as offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One, in `_PyRuntime`.
    Single {
        /// From the beginning of `_PyRuntime`.
        gil: u64,
    },
    /// Reached through the list of interpreters.
    Listed(Offsets),
}

/// Offsets of members that hold a pointer, or the interpreter's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// In `_PyRuntime`: the first interpreter, the newest.
    pub head: u64,
    /// In an interpreter: the next one.
    pub next: u64,
    /// In an interpreter: its number.
    pub id: u64,
    /// In an interpreter: its GIL.
    pub gil: u64,
}

impl Layout {
    /// For versions that do not tell it themselves; taken from the headers of 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.7 and 3.12.1.
    pub fn of_version(version: Version) -> Option<Self> {
        match version.minor {
            7 => Some(Self::Single { gil: 1264 }),
            8 => Some(Self::Single { gil: 1152 }),
            9 | 10 => Some(Self::Single { gil: 352 }),
            11 => Some(Self::Single { gil: 360 }),
            12 => Some(Self::Listed(Offsets { head: 40, next: 0, id: 8, gil: 384 })),
            _ => None,
        }
    }
}

/// Bytes of a process's memory at an address; `None` if they cannot be read.
pub trait Memory {
    /// Fills the buffer.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()>;

    /// A number of eight bytes.
    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Some(u64::from_ne_bytes(bytes))
    }

    /// A number of four bytes.
    fn read_i32(&self, address: u64) -> Option<i32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Some(i32::from_ne_bytes(bytes))
    }
}

/// The GILs of an interpreter whose `_PyRuntime` is at `runtime`, that of the main interpreter first; empty if Python has not
/// started, or is not as expected.
pub fn read_gils(image: &Image, runtime: AddressRange, memory: &impl Memory) -> Vec<Gil> {
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
mod tests;
