//! One traced workload over its whole window, typed and in nanoseconds: what diagnosis, verification and report are made from.

use std::collections::{BTreeSet, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::allowance::Allowance;
use super::history::History;
use super::interpreters::Interpreters;
use super::snapshot::{Losses, Tgid, Thread, Tid};
use super::timeline::Timeline;
use super::totals::Totals;

/// What was traced and how it ended: what the caller of a session knows but the session does not.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// What the user calls it.
    pub name: String,
    /// Command and arguments; empty for `attach`.
    pub command: Vec<String>,
    /// How it ended.
    pub exit: Exit,
    /// CPUs that it was given: those in our own mask.
    pub allowed_cpus: u32,
    /// What the kernel counted of it; nothing after `attach`.
    pub usage: Usage,
}

/// What the kernel counts of a command's processes, as far as somebody has waited for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode. How the kernel divides CPU time between the two is sampled by its ticks on most kernels.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
    /// Page faults, with and without reading from a file.
    pub page_faults: u64,
    /// The most memory that one of the processes had at once, in pages.
    pub peak_pages: u64,
    /// What it takes the kernel to find a page, clear it and take it back, on this host; 0 if that was not measured.
    pub fault_ns: u64,
}

/// How a command ended; both are null while it runs and after `attach`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// Exit code; null if a signal killed it.
    pub code: Option<i32>,
    /// Number of the signal that killed it, if one did.
    pub signal: Option<i32>,
}

/// Everything that a session measured.
#[derive(Debug)]
pub struct Run {
    pub(crate) subject: Subject,
    /// Beginning of the window, `CLOCK_MONOTONIC`.
    pub(crate) begin_ns: u64,
    /// End of the window: the last switch of the leader's threads, or the last snapshot.
    pub(crate) end_ns: u64,
    /// When the last snapshot was taken.
    pub(crate) taken_ns: u64,
    pub(crate) online: Vec<u32>,
    /// Cores of the hardware that the CPUs in our own mask are threads of: fewer than these where a core runs several.
    pub(crate) physical_cores: u32,
    pub(crate) totals: Totals,
    /// Every thread that lived, except those in `threads_forgotten`.
    pub(crate) threads: Vec<Thread>,
    /// Ended threads that were dropped because there were too many, the least busy ones.
    pub(crate) threads_forgotten: u64,
    pub(crate) interpreters: Interpreters,
    pub(crate) allowance: Allowance,
    /// Threads that waited for a pipe that only the program has, in a standstill; by [`Thread::key`].
    pub(crate) waiting_for_own_pipes: HashSet<(Tid, u64)>,
    pub(crate) losses: Losses,
    /// Samples for the core map.
    pub(crate) timeline: Timeline,
    /// What every thread did from sample to sample.
    pub(crate) history: History,
    pub(crate) host: HostCounters,
    /// Whether every thread has a [`WaitAccount`], or why not.
    ///
    /// [`WaitAccount`]: schedscope_ebpf::wait_account::WaitAccount
    pub(crate) wait_accounts: Result<(), String>,
    pub(crate) kernel: String,
}

impl Run {
    pub(crate) fn wall_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }

    /// Processes and threads over the window, those included that were alive before it.
    pub(crate) fn tasks(&self) -> (u64, u64) {
        let seeded = || self.threads.iter().filter(|thread| thread.was_seeded());
        let processes: BTreeSet<Tgid> = seeded().map(Thread::tgid).collect();
        (self.totals.processes_started + processes.len() as u64, self.totals.threads_started + seeded().count() as u64)
    }

    /// CPU time of everything outside the workload, but for ourselves.
    pub(crate) fn foreign_on_cpu_ns(&self) -> u64 {
        let capacity_ns = self.wall_ns() * self.online.len() as u64;
        capacity_ns.saturating_sub(self.totals.times.on_cpu_ns + self.host.idle_ns + self.host.own_ns)
    }
}

/// What all CPUs of the host did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HostCounters {
    /// Idle time, open intervals included.
    pub(crate) idle_ns: u64,
    /// CPU time that tracing took in user space.
    pub(crate) own_ns: u64,
    pub(crate) switches: u64,
    pub(crate) switches_from_idle: u64,
}

/// Switches of the whole host by our count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostSwitches {
    /// Seen by our program.
    pub(crate) seen: u64,
    /// Hidden from it, by the kernel's own count, up to the last break in each CPU's chain of switches.
    pub(crate) unseen: u64,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::capture::snapshot::Snapshot;

    const SECOND: u64 = 1_000_000_000;

    /// A run of two seconds on CPUs 0 and 2, read after its end.
    pub(crate) fn run_of(threads: Vec<Thread>) -> Run {
        let subject = Subject {
            name: "web".to_owned(),
            command: vec!["./web".to_owned(), "-v".to_owned()],
            exit: Exit { code: Some(3), signal: None },
            allowed_cpus: 1,
            usage: Usage::default(),
        };
        Run {
            subject,
            begin_ns: SECOND,
            end_ns: 3 * SECOND,
            taken_ns: 4 * SECOND,
            online: vec![0, 2],
            physical_cores: 1,
            totals: Totals::default(),
            threads,
            threads_forgotten: 0,
            interpreters: Interpreters::default(),
            allowance: Allowance::default(),
            waiting_for_own_pipes: HashSet::new(),
            losses: Losses::default(),
            timeline: Timeline::starting(&Snapshot { taken_ns: SECOND, ..Snapshot::default() }),
            history: History::starting(&Snapshot { taken_ns: SECOND, ..Snapshot::default() }),
            host: HostCounters::default(),
            wait_accounts: Ok(()),
            kernel: "6.18.0".to_owned(),
        }
    }
}
