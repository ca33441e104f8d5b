//! Writes that the kernel's own workers do: threads of this process that no `clone` has made.
//!
//! Each write asks for a worker (`IOSQE_ASYNC`), which then copies a block into a file in memory. Nearly all of the time is
//! theirs, so a tracer that does not see how they begin misses most of what the process does.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use io_uring::{IoUring, opcode, squeue, types};
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::json;

use crate::report::{KernelCounts, Report};
use crate::sys;

/// Writes that are under way at once.
const AT_ONCE: u32 = 32;
const BLOCK_BYTES: u32 = 1 << 20;

pub(crate) fn run(count: u64) -> Result<Report> {
    let started_ns = sys::monotonic_ns();
    let file = memfd_create("io-uring", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?;
    let mut ring = IoUring::new(AT_ONCE).context("this kernel gives no io_uring; see sysctl kernel.io_uring_disabled")?;
    let block = vec![7_u8; BLOCK_BYTES as usize];
    let mut written = 0;
    while written < count {
        let round = u64::from(AT_ONCE).min(count - written);
        for place in 0..round {
            let write = opcode::Write::new(types::Fd(file.as_raw_fd()), block.as_ptr(), BLOCK_BYTES);
            let entry = write.offset(place * u64::from(BLOCK_BYTES)).build().flags(squeue::Flags::ASYNC);
            // SAFETY: file and block outlive the round, at whose end every write has completed.
            unsafe { ring.submission().push(&entry) }.context("the ring is full")?;
        }
        ring.submit_and_wait(usize::try_from(round)?).context("the kernel took no writes")?;
        for done in ring.completion() {
            ensure!(done.result().cast_unsigned() == BLOCK_BYTES, "a write came to {}", done.result());
            written += 1;
        }
    }
    Ok(Report {
        expected: Some(json!({ "workers_at_least": 1 })),
        kernel: vec![KernelCounts::of_this_thread()],
        ..Report::of_truth("io-uring", "io_uring", "one block written", 1, count, started_ns)
    })
}
