//! Which lock inside the kernel a thread waits for, by the functions that its kernel stack leads through.
//!
//! A thread that waits for a lock of the kernel is in the function that waits for locks of that kind, asleep or, for as long as the holder
//! runs, on its CPU. User space finds out where these functions are, and hands over a table of them.

use crate::blocked::Reason;
use crate::values;

/// Frames of a stack to look at, the innermost first; each costs up to half a microsecond. At a switch the tracing takes up to five and the scheduler three.
/// Then come the lock and, within three more, the page fault or system call that needs it.
pub const FRAMES: usize = 14;
/// Functions that the table has room for: a power of two, since it is searched by halves.
pub const FUNCTIONS: usize = 64;

values! {
    /// What it means that a stack leads through a function.
    #[repr(u32)]
    pub enum Role {
        /// It waits for a reader-writer semaphore. The address space has one.
        Rwsem = "rwsem",
        /// It waits for a mutex or a semaphore of another kind.
        OtherLock = "other_lock",
        /// It waits for a lock for which nobody sleeps.
        SpinLock = "spin_lock",
        /// It waits for the lock of a mapping in the address space (since Linux 6.4).
        MappingLock = "mapping_lock",
        /// It uses or changes the address space, and locks that for it.
        AddressSpace = "address_space",
        /// It waits for a lock of user space, or wakes who does.
        Futex = "futex",
    }
}

/// A function of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Function {
    /// Its first address.
    pub start: u64,
    /// Its length; 0 in an unused entry of the table, whose address is beyond any other.
    pub bytes: u32,
    /// A bit for each [`Role`].
    pub roles: u32,
}

/// The functions, in order of their addresses.
pub type Functions = [Function; FUNCTIONS];

/// A table of none.
pub const NO_FUNCTIONS: Functions = [Function { start: u64::MAX, bytes: 0, roles: 0 }; FUNCTIONS];

/// The bit that stands for a role.
pub const fn bit(role: Role) -> u32 {
    1 << role as u32
}

/// The bits of all functions that a stack leads through. It ends with its first 0. `hide` returns what it is given, and keeps the compiler
/// from making a branch of it.
#[inline(always)]
pub fn roles_in(frames: &[u64; FRAMES], functions: &Functions, hide: impl Fn(usize) -> usize) -> u32 {
    let mut roles = 0;
    for &frame in frames {
        if frame == 0 {
            break;
        }
        let function = &functions[last_at_or_below(frame, functions, &hide)];
        if frame.wrapping_sub(function.start) < u64::from(function.bytes) {
            roles |= function.roles;
        }
    }
    roles
}

/// Index of the last function that begins at or before an address of the kernel; 0 if none does.
///
/// Without branches, each of which would double the ways that the verifier has to follow. Addresses of the kernel's code differ by less
/// than half of all numbers, so that the sign of their difference tells which is greater.
#[inline(always)]
fn last_at_or_below(address: u64, functions: &Functions, hide: impl Fn(usize) -> usize) -> usize {
    let mut index = 0;
    let mut half = FUNCTIONS / 2;
    while half > 0 {
        let begins_after = functions[(index + half) & (FUNCTIONS - 1)].start.wrapping_sub(address).wrapping_sub(1);
        // 1 if it begins at or before the address.
        index += half * hide((begins_after >> 63) as usize);
        half /= 2;
    }
    index & (FUNCTIONS - 1)
}

/// Whether a thread on a CPU, whose stack leads there, waits for a lock. What the kernel locks to keep account of a lock of user space is
/// part of what that one costs.
#[inline(always)]
pub fn is_at_lock(roles: u32) -> bool {
    roles & bit(Role::Futex) == 0
        && roles & (bit(Role::Rwsem) | bit(Role::OtherLock) | bit(Role::SpinLock) | bit(Role::MappingLock)) != 0
}

/// The reason to sleep if it is for a lock in the kernel. `is_memory_call` says that the thread is in a system call that uses or changes the
/// address space.
#[inline(always)]
pub fn lock_of(roles: u32, is_memory_call: bool) -> Option<Reason> {
    if roles & (bit(Role::Rwsem) | bit(Role::OtherLock) | bit(Role::MappingLock)) == 0 {
        return None;
    }
    let uses_space = is_memory_call || roles & bit(Role::AddressSpace) != 0;
    if roles & bit(Role::MappingLock) != 0 || roles & bit(Role::Rwsem) != 0 && uses_space {
        Some(Reason::MmapLock)
    } else {
        Some(Reason::KernelLock)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODE: u64 = 0xffff_ffff_8100_0000;

    /// Functions of 16 bytes, one for each role, 32 bytes apart.
    fn table() -> Functions {
        let mut functions = NO_FUNCTIONS;
        for (index, role) in Role::ALL.into_iter().enumerate() {
            functions[index] = Function { start: CODE + 32 * index as u64, bytes: 16, roles: bit(role) };
        }
        functions
    }

    fn inside(role: Role) -> u64 {
        CODE + 32 * role as u64 + 5
    }

    fn reason(inner: &[u64], is_memory_call: bool) -> Option<Reason> {
        let mut frames = [0; FRAMES];
        frames[..inner.len()].copy_from_slice(inner);
        lock_of(roles_in(&frames, &table(), |bit| bit), is_memory_call)
    }

    #[test]
    fn a_lock_is_told_by_who_waits_for_it_and_why() {
        let [rwsem, other, spin, mapping, space, _] = Role::ALL.map(inside);
        let (before, beyond) = (CODE - 7, CODE + 0x1000);
        assert_eq!(reason(&[before, rwsem, beyond, space], false), Some(Reason::MmapLock), "a page fault");
        assert_eq!(reason(&[before, rwsem, beyond], true), Some(Reason::MmapLock), "mmap");
        assert_eq!(reason(&[before, rwsem, beyond], false), Some(Reason::KernelLock), "a file");
        assert_eq!(reason(&[before, mapping], false), Some(Reason::MmapLock));
        // A fault may have to wait for what a driver locks.
        assert_eq!(reason(&[other, space], true), Some(Reason::KernelLock));
        assert_eq!(reason(&[before, beyond, space], true), None, "it waits for something else there");
        assert_eq!(reason(&[], true), None);
        assert_eq!(reason(&[spin, space], true), None, "nobody sleeps there");
        assert_eq!(reason(&[before, 0, rwsem], true), None, "what is after the end is no frame");
    }

    #[test]
    fn who_is_in_a_function_that_waits_is_at_a_lock() {
        let is_at_lock = |outer: Role, inner: Role| {
            let mut frames = [0; FRAMES];
            frames[..3].copy_from_slice(&[CODE - 7, inside(inner), inside(outer)]);
            is_at_lock(roles_in(&frames, &table(), |bit| bit))
        };
        for role in Role::ALL {
            let waits = !matches!(role, Role::AddressSpace | Role::Futex);
            assert_eq!(is_at_lock(Role::AddressSpace, role), waits, "{role:?}");
            assert!(!is_at_lock(Role::Futex, role), "{role:?}");
        }
    }

    proptest! {
        #[test]
        fn a_frame_counts_for_the_function_that_it_lies_in(
            lengths in prop::collection::vec((1_u32..40, 0_u64..40), 0..=FUNCTIONS),
            frame in 0_u64..4000,
        ) {
            let mut functions = NO_FUNCTIONS;
            let (mut next, mut expected) = (CODE + 100, 0);
            let frame = CODE + frame;
            for (index, (bytes, gap)) in lengths.into_iter().enumerate() {
                let function = Function { start: next + gap, bytes, roles: 1 << (index % 31) };
                next += gap + u64::from(bytes);
                if (function.start..next).contains(&frame) {
                    expected = function.roles;
                }
                functions[index] = function;
            }
            let mut frames = [0; FRAMES];
            frames[..3].fill(CODE);
            frames[3] = frame;
            prop_assert_eq!(roles_in(&frames, &functions, |bit| bit), expected);
        }
    }
}
