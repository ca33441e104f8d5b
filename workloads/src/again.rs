//! This program, started once more.

use std::process::Command;

use anyhow::{Context, Result};

/// How the running program is called to offer these workloads.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// What stands before the workload's own arguments: the subcommand, where the program has others.
    pub prefix: &'static [&'static str],
}

impl Again {
    /// The program, ready for the arguments of a workload.
    pub(crate) fn command(self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
        command.args(self.prefix);
        Ok(command)
    }
}
