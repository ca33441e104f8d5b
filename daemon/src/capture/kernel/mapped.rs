//! A BPF array map mapped into memory, so that reading it costs no system call.

use std::io;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

use schedscope_ebpf::abi::{Cell, CpuRecord, TaskRecord};
use schedscope_ebpf::kernel_stack::Functions;
use schedscope_ebpf::residual::Residuals;
use schedscope_ebpf::wait_account::WaitAccount;

/// Records made of whole 64-bit words, valid with any bits in them.
///
/// # Safety
/// The size must be a multiple of 8, the alignment at least 8, and every bit pattern a valid value.
pub(super) unsafe trait Words: Copy {}
// SAFETY: `repr(C)` integers without padding; sizes and alignment are asserted in the contract.
unsafe impl Words for TaskRecord {}
// SAFETY: as above.
unsafe impl Words for Cell {}
// SAFETY: as above.
unsafe impl Words for CpuRecord {}
// SAFETY: as above.
unsafe impl Words for Residuals {}
// SAFETY: as above.
unsafe impl Words for WaitAccount {}
// SAFETY: as above.
unsafe impl Words for Functions {}
// SAFETY: one word.
unsafe impl Words for u64 {}

/// An array map's values. The programs write them while we read: each word is whole, but a record need not be.
pub(super) struct MappedArray<T> {
    base: NonNull<T>,
    entries: usize,
    marker: PhantomData<T>,
}

// SAFETY: the mapping belongs to the value; all access goes through volatile loads and stores of single words.
unsafe impl<T: Words> Send for MappedArray<T> {}

impl<T: Words> MappedArray<T> {
    /// Maps the first `entries` values of the map behind `fd`, which must have been created with `BPF_F_MMAPABLE`.
    pub(super) fn new(fd: BorrowedFd<'_>, entries: usize) -> io::Result<Self> {
        let bytes = entries.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice; the result is checked.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(MappedArray { base, entries, marker: PhantomData })
    }

    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// Address of a value.
    ///
    /// # Panics
    /// Never in practice: callers iterate below [`Self::len`].
    pub(super) fn pointer(&self, index: usize) -> *mut T {
        assert!(index < self.entries, "index {index} of {} entries", self.entries);
        // SAFETY: within the mapping, by the line above.
        unsafe { self.base.as_ptr().add(index) }
    }

    /// Copies a value word by word.
    pub(super) fn read(&self, index: usize) -> T {
        let from = self.pointer(index).cast::<u64>();
        let mut value = std::mem::MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr().cast::<u64>();
        for word in 0..size_of::<T>() / 8 {
            // SAFETY: both sides are `size_of::<T>()` bytes and aligned; the source may change meanwhile, hence volatile.
            unsafe { to.add(word).write(from.add(word).read_volatile()) };
        }
        // SAFETY: every word was written, and any bits are a value (`Words`).
        unsafe { value.assume_init() }
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nothing refers to any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.entries * size_of::<T>()) };
    }
}
