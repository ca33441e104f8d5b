//! The command line.

use clap::{Parser, Subcommand};
use schedscope_workloads as workloads;

use crate::capture::reader;
use crate::commands::attach::AttachArgs;
use crate::commands::check::{CheckArgs, LoadArgs};
use crate::commands::config::ConfigCommand;
use crate::commands::daemon::DaemonArgs;
use crate::commands::run::RunArgs;
use crate::commands::signals::WITNESS;
use crate::{lab, top};

/// How a program's concurrency model maps onto the hardware cores, by the kernel's own evidence.
///
/// Records context switches, wake-ups and CPU migrations of chosen programs with BPF and says in one sentence why a program
/// does or does not use its cores. Needs Linux 5.10 or later with BTF, and root or the capabilities for BPF and perf.
#[derive(Debug, Parser)]
#[command(name = "schedscope", version, max_term_width = 100)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command, trace it and all its descendants, and report
    ///
    /// The command runs as it would without schedscope: signals that are ignored or blocked stay so, and it gets each signal that is sent
    /// to schedscope or to the process group, once. The report goes to standard error when the command has ended, however it has. The
    /// exit code is its own, or 128 plus the signal that ended it; 125 if schedscope fails, 126 if the command cannot be executed, 127
    /// if it is not there. Example: schedscope run -- python3 script.py
    Run(RunArgs),
    /// Trace processes that already run, and report
    ///
    /// Which ones is said by process id, program, systemd unit, container or cgroup. These options may be given several times, and each
    /// adds processes. Who comes to be meant later, as when a service is started again, is traced too, from within a second. It ends when
    /// no process is left; with --duration it waits for others until then, unless all were given by their ids. Who reads scripts by their
    /// arguments is pgrep: --pid $(pgrep -f worker.py). Example: sudo schedscope attach --unit nginx --duration 10
    Attach(AttachArgs),
    /// Trace the whole host and serve the figures to Prometheus
    ///
    /// Every process belongs to a workload: by the rules in the configuration, else to its systemd unit or container, else to
    /// its executable.
    Daemon(DaemonArgs),
    /// Show live what the workloads of the host do with its CPUs, on a terminal
    ///
    /// Asks a running daemon, or traces by itself if there is none, until q is pressed. For every workload: how many CPUs it uses (C) and
    /// wants (D), its wake-up latency, and what it loses cores to; for the chosen one, why, in a sentence; and what each core did in the
    /// last seconds. Example: sudo schedscope top
    Top(top::TopArgs),
    /// What the daemon would make of its configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Compare schedscope's figures with the kernel's own on this host
    ///
    /// Traces a process tree of its own that blocks, computes, yields, migrates and execs, and asks the scheduler, wait4 and /proc about
    /// it, and /proc/stat and perf about the host. Counts and waits must be equal but for what each of these is known to leave out,
    /// on-CPU time within 0.1 %; the exit code is 1 if anything is not. Example: schedscope check --seconds 5 --json check.json
    Check(CheckArgs),
    /// The tree that `check` traces
    #[command(hide = true)]
    CheckLoad(LoadArgs),
    /// Compare threads, processes, asyncio and native programs on this machine
    ///
    /// Runs the same work on every concurrency model, traces each run, and prints a table, core maps, and for every common claim about
    /// threads and processes whether it holds here. Takes some five minutes and needs root, and Python 3.8 or later for more than the
    /// native programs. Example: sudo schedscope lab --quick
    Lab(lab::Arguments),
    /// The native programs of the lab
    #[command(hide = true, subcommand)]
    Workload(workloads::Command),
    /// What `run` has in its process group
    #[command(hide = true, name = WITNESS)]
    Witness,
    /// What reads other processes for the daemon
    #[command(hide = true, name = reader::NAME)]
    Reader,
    /// Say what this host can do, and how to fix what it lacks
    Doctor,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// clap checks a subcommand only when it is called.
    #[test]
    fn every_command_can_be_called() {
        Args::command().debug_assert();
    }
}
