//! Threads that map memory, touch it and unmap it: all of them need the lock of the address space that they share, over and over.
//!
//! They share nothing else, so that is what they wait for. For how long depends on the kernel and on how many CPUs there are.

use std::ptr;

use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use serde_json::json;

use crate::report::{KernelCounts, Report};
use crate::sys;
use crate::threads::together;

const MAPPING_BYTES: usize = 1 << 20;
/// No kernel has smaller pages.
const PAGE_BYTES: usize = 4096;

pub(crate) fn run(count: u64, threads: u16) -> Result<Report> {
    let started_ns = sys::monotonic_ns();
    let body = |index: usize, wait: &dyn Fn()| {
        sys::name_thread(&format!("mapper-{index}"));
        wait();
        (0..count).try_for_each(|_| map_and_unmap())?;
        anyhow::Ok(KernelCounts::of_this_thread())
    };
    let (_, kernel) = together(threads.into(), body, || Ok(()))?;
    let mappings = count * u64::from(threads);
    Ok(Report {
        expected: Some(json!({ "blocked_reason": "mmap_lock" })),
        kernel: kernel.into_iter().collect::<Result<_>>()?,
        ..Report::of_truth("mmap-lock", "threads", "one mapping", threads.into(), mappings, started_ns)
    })
}

fn map_and_unmap() -> Result<()> {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { mmap_anonymous(ptr::null_mut(), MAPPING_BYTES, protection, flags) }.context("cannot map memory")?;
    let bytes = memory.cast::<u8>();
    for page in (0..MAPPING_BYTES).step_by(PAGE_BYTES) {
        // SAFETY: within the mapping, which is writable and known to nobody else.
        unsafe { bytes.add(page).write_volatile(1) };
    }
    // SAFETY: as above.
    ensure!(unsafe { bytes.read_volatile() } == 1, "what was written is not there");
    // SAFETY: the whole mapping, to which no reference was made.
    unsafe { munmap(memory, MAPPING_BYTES) }.context("cannot unmap memory")
}
