//! What the lab traces.
//!
//! Two families, both printing one line of JSON about what they did:
//!
//! - **models** ([`models`]): the same work as one thread, N threads or N processes. They are the native twins of the
//!   Python cells in `workloads/python`, and they share their schema.
//! - **known truth** ([`truth`]): programs whose context switches, migrations or tasks are known beforehand, so that a
//!   tracer can be checked against them and against the kernel's own counters, which they print too.
//!
//! `schedscope workload` and the program `schedscope-workloads`, which the tests use, offer the same commands.
//!
//! Reading order: [`args`] (command line), [`cells`] (the table), [`tasks`] (a unit of work), [`job`], [`models`],
//! [`threads`], [`processes`], [`truth`], [`report`] (what is printed), [`sys`] (all unsafe code but that of [`truth::io_uring`] and [`truth::mmap_lock`]), [`server`] (HTTP).

mod again;
mod args;
mod cells;
mod job;
mod models;
mod processes;
mod report;
mod server;
mod sys;
mod tasks;
mod threads;
mod truth;

use anyhow::{Context, Result};

pub use crate::again::Again;
pub use crate::args::{Args, Command};
pub use crate::report::median;
pub use crate::server::late_answers;
pub use crate::sys::{pin_to, usable_cpus};

/// Runs a command; what it prints is one line of JSON about what it did.
///
/// The process must still have one thread, as some of the workloads fork.
pub fn run(command: Command, again: Again) -> Result<()> {
    match command {
        Command::List { json } => cells::print(json),
        Command::Native(native) => report::print(&models::run(&native, again)?),
        Command::Worker { job } => processes::worker_main(&job),
        Command::ServeHttp { delay_ms } => server::serve(delay_ms).context("cannot serve HTTP on the loopback interface"),
        Command::PingPong { switches, processes, normal_policy } => {
            report::print(&truth::ping_pong::run(switches, processes, normal_policy)?)
        }
        Command::YieldLoop { count, threads } => report::print(&truth::yield_loop::run(count, threads)?),
        Command::Migrate { count } => report::print(&truth::migrate::run(count)?),
        Command::ForkStorm { count, parallel, exec } => report::print(&truth::fork_storm::run(count, parallel, exec)?),
        Command::IoUring { count } => report::print(&truth::io_uring::run(count)?),
        Command::MmapLock { count, threads } => report::print(&truth::mmap_lock::run(count, threads)?),
        Command::ManyThreads { count, processes: 1, seconds } => report::print(&truth::many_threads::run(count, seconds)?),
        Command::ManyThreads { count, processes, seconds } => {
            report::print(&truth::many_threads::as_processes(count, processes, seconds)?)
        }
        Command::PidReuse { count } => report::print(&truth::pid_reuse::run(count)?),
        Command::Sleepers { count, seconds, pause } => report::print(&truth::sleepers::run(count, seconds, pause)?),
        Command::Interrupted { seconds } => report::print(&truth::interrupted::run(seconds)?),
        Command::DoubleFork { seconds, leave } => truth::double_fork::run(seconds, leave),
        Command::ExecFromThread { work } => truth::exec_from_thread::run(work, again),
        Command::Mixed { seconds } => report::print(&truth::mixed::run(seconds)?),
    }
}
