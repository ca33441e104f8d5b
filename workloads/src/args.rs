//! The command line.

use clap::{Parser, Subcommand};

use crate::job::{NativeArgs, parse_seconds};

/// Workloads whose scheduling is known; each prints one line of JSON about what it did.
#[derive(Debug, Parser)]
#[command(name = "schedscope-workloads", version, propagate_version = true)]
pub struct Args {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the native cells and the workloads with known truth.
    ///
    /// The Python cells are listed, in the same form, by `python3 workloads/python/lab.py --list`.
    List {
        /// Print a JSON array, one object per cell.
        #[arg(long)]
        json: bool,
    },
    /// Run one task on one native model: the twins of the Python cells, without an interpreter.
    Native(NativeArgs),
    /// A worker process of `native --model processes`; it speaks over its standard streams.
    #[command(hide = true)]
    Worker {
        /// The job as JSON.
        #[arg(long)]
        job: String,
    },
    /// Serve HTTP on the loopback interface: every request is answered after a fixed delay.
    ///
    /// Takes a free port, prints its address, and runs until it is stopped.
    ServeHttp {
        /// Delay of each answer in milliseconds.
        #[arg(long, default_value_t = 10)]
        delay_ms: u64,
    },
    /// Two tasks on one CPU pass a byte to and fro: each pass is one context switch.
    ///
    /// They run under `SCHED_BATCH`, where a wake-up never preempts, so that a switch is a voluntary one unless a stranger interferes.
    PingPong {
        /// Context switches to cause, both tasks together.
        #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(2..))]
        switches: u64,
        /// Two processes instead of two threads.
        #[arg(long)]
        processes: bool,
        /// The normal policy: a wake-up may preempt the waker, and switches are voluntary or not as it happens.
        #[arg(long)]
        normal_policy: bool,
    },
    /// Threads on one CPU that give it to each other with `sched_yield`.
    YieldLoop {
        /// Yields of each thread.
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        count: u64,
        /// Number of threads.
        #[arg(long, value_name = "T", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
        threads: u16,
    },
    /// A thread that moves to and fro between two CPUs: each move is one migration.
    Migrate {
        /// Migrations to cause.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        count: u64,
    },
    /// Many short-lived processes.
    ForkStorm {
        /// Processes to start, all in all.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        count: u64,
        /// How many may be alive at once.
        #[arg(long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        parallel: u32,
        /// Each also executes a program (`/bin/true`).
        #[arg(long)]
        exec: bool,
    },
    /// Writes done by the kernel's own workers, which are threads of this process. Needs Linux 5.12.
    IoUring {
        /// Blocks of 1 MiB to write.
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        count: u64,
    },
    /// Threads that map and unmap memory: they contend for the lock of their address space.
    MmapLock {
        /// Mappings of 1 MiB that each thread makes, fills and removes.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        count: u64,
        /// Number of threads.
        #[arg(long, value_name = "T", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
        threads: u16,
    },
    /// Many threads that are alive at the same time.
    ManyThreads {
        /// Number of threads of each process.
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        count: usize,
        /// Number of processes that have so many; with more than one, another process starts them.
        #[arg(long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        processes: u32,
        /// How long they stay once all are there.
        #[arg(long, value_name = "S", default_value_t = 0.2, value_parser = parse_seconds)]
        seconds: f64,
    },
    /// Processes that have the same id one after the other. Needs root and Linux 5.5.
    PidReuse {
        /// How often the id is given again.
        #[arg(long, value_name = "N", default_value_t = 200)]
        count: u64,
    },
    /// Threads that sleep, wake up and sleep again: nearly no CPU time, many wake-ups.
    Sleepers {
        /// Number of threads.
        #[arg(long, value_name = "N", default_value_t = 64)]
        count: usize,
        /// How long they go on.
        #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = parse_seconds)]
        seconds: f64,
        /// Length of each sleep in seconds.
        #[arg(long, value_name = "S", default_value_t = 0.01, value_parser = parse_seconds)]
        pause: f64,
    },
    /// A thread whose sleeps signals cut short, beside one that computes on the same CPU.
    Interrupted {
        /// How long they go on.
        #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = parse_seconds)]
        seconds: f64,
    },
    /// A daemon that detaches by forking twice, and then works as a child of init.
    DoubleFork {
        /// How long the daemon works.
        #[arg(long, value_name = "S", default_value_t = 0.2, value_parser = parse_seconds)]
        seconds: f64,
        /// Exit while the daemon is still at work, instead of waiting for its report.
        #[arg(long)]
        leave: bool,
    },
    /// A thread that is not the main one executes a program: the others vanish, it takes the main thread's id.
    ExecFromThread {
        /// Units of `spin` that the executed program does.
        #[arg(long, value_name = "W", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
        work: u64,
    },
    /// A bit of everything at once: computing, sleeping, a ping-pong, yields, and child processes.
    Mixed {
        /// How long it goes on.
        #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = parse_seconds)]
        seconds: f64,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cells;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_cell_can_be_called_as_the_list_says() {
        for cell in cells::all() {
            let line = std::iter::once("schedscope-workloads").chain(cell.args.iter().map(String::as_str));
            assert!(Args::try_parse_from(line).is_ok(), "{}", cell.id);
        }
    }
}
