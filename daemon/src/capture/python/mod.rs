//! Which CPython a process runs, and at which addresses its threads wait for the GIL.
//!
//! A thread that waits for the GIL waits on a futex inside the structure of that GIL. Up to CPython 3.11 that structure lies inside
//! the variable `_PyRuntime`; from 3.12 on every interpreter of the process can have one: that of the main interpreter still lies
//! inside `_PyRuntime`, which holds the main interpreter, those of the others on the heap. So two things are looked up: the address
//! of `_PyRuntime`, from the ELF files that the process maps, and from there, in the memory of the process, the list of interpreters.
//! Nothing is stopped or written.
//!
//! The files are read as the process sees them, so it may live in a container, and a replaced file is no obstacle. Whatever is read
//! comes from a process that may be hostile: no size, offset or pointer in it is believed.
//!
//! Each module names only those above it:
//!
//! - [`file`], [`elf`], [`image`]: what one file says; the file is read in small pieces, and not more than a limit.
//! - [`names`]: what file names say about a process whose interpreter cannot be found.
//! - [`maps`], [`mounts`]: what a process maps, and from which file systems it is safe to read.
//! - [`place`]: where a file's variable is in memory.
//! - [`gil`]: the list of interpreters and their GILs, and which futex words belong to them.
//! - [`resolve`]: from a process to its interpreter; all I/O, and what is known of files already seen.

mod elf;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gil;
mod image;
mod maps;
mod mounts;
mod names;
mod place;
mod resolve;

pub use gil::Gil;
pub use image::{Found, GilKind, Version};
pub use resolve::{Interpreter, Resolver, Unresolved};
