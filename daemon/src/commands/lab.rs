//! `schedscope lab`, and the workloads that it runs.

use schedscope_workloads::{Again, Command, run};

use crate::lab;

/// Runs the lab; 1 if a cell failed or the user interrupted it.
pub fn lab(arguments: &lab::Arguments) -> anyhow::Result<i32> {
    lab::run(arguments).map(|()| 0)
}

/// Runs one of the native workloads in this process.
pub fn workload(command: Command) -> anyhow::Result<i32> {
    run(command, Again { prefix: &["workload"] }).map(|()| 0)
}
