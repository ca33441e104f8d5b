//! A thread that is not the main one executes a program.
//!
//! The kernel kills all other threads and gives the executing thread the process id as its thread id: state kept by
//! thread id must not be mixed up. The executed program is this one again, doing some serial work.

use std::os::unix::process::CommandExt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::again::Again;
use crate::sys;
use crate::tasks::multiply;
use crate::threads::{joined, spawn};

/// Replaces the process; returns only if that failed.
pub(crate) fn run(work: u64, again: Again) -> Result<()> {
    let mut command = again.command()?;
    command.args(["native", "--task", "spin", "--model", "serial", "--work", &work.to_string()]);
    // Bystanders in each state: one runs, one sleeps. Both vanish in the exec.
    for (name, runs) in [("bystander-run", true), ("bystander-slp", false)] {
        spawn(move || {
            sys::name_thread(name);
            loop {
                if runs {
                    multiply(100_000, 1);
                } else {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        })?;
    }
    let executor = spawn(move || {
        sys::name_thread("executor");
        thread::sleep(Duration::from_millis(20));
        command.exec()
    })?;
    Err(joined(executor.join())?).context("cannot execute this program again")
}
