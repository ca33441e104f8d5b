//! Workloads whose scheduling is known beforehand.
//!
//! Each says in `expected` what the kernel must have counted, and in `kernel` what it did count for the tasks that
//! matter, as read by those tasks themselves at the end of their work.

pub(crate) mod double_fork;
pub(crate) mod exec_from_thread;
pub(crate) mod fork_storm;
pub(crate) mod interrupted;
pub(crate) mod io_uring;
pub(crate) mod many_threads;
pub(crate) mod migrate;
pub(crate) mod mixed;
pub(crate) mod mmap_lock;
pub(crate) mod pid_reuse;
pub(crate) mod ping_pong;
pub(crate) mod sleepers;
pub(crate) mod yield_loop;

use anyhow::{Context, Result};

use crate::sys;

/// The first CPU that we may use.
fn first_cpu() -> Result<usize> {
    sys::usable_cpus()?.first().copied().context("this process may use no CPU at all")
}
