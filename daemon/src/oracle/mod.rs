//! Counters of the kernel's that nothing of ours has touched: what a sceptic would read beside us.
//!
//! | module | what it asks |
//! |---|---|
//! | [`usage`] | `wait4` |
//! | [`counters`] | perf's software counters |
//! | [`tasks`] | `/proc/PID/task/TID/` |
//! | [`host`] | `/proc/stat` |
//! | [`nap`], [`affinity`] | how long a switch and a move take, for the bounds |
//!
//! [`Oracles`] attaches what counts a process tree from its begin to its end; what it finds is compared in
//! [`crate::report::oracles`].

pub mod affinity;
pub mod counters;
pub mod host;
pub mod nap;
pub mod tasks;
pub mod usage;

use crate::{
    capture::snapshot::Tgid,
    report::{
        RunReport,
        oracles::{self, Usage},
    },
};
use counters::Counters;
use tasks::TaskCounters;
use usage::Rusage;

/// Counters of a process tree, from before it begins.
pub struct Oracles {
    before: Result<TaskCounters, String>,
    counters: Option<Result<Counters, String>>,
}

impl Oracles {
    /// Begins with a process that sleeps and has one thread. perf's counters make every switch of the tree dearer, so they are
    /// attached only if wanted.
    pub fn attach(process: Tgid, with_perf: bool) -> Oracles {
        let before = tasks::read_resting(process).map_err(|error| format!("cannot read its counters before the start: {error}"));
        Oracles {
            before: before.and_then(|mut threads| threads.pop().ok_or_else(|| "it is gone".to_owned())),
            counters: with_perf
                .then(|| Counters::of(process).map_err(|error| format!("the kernel refuses perf's counters: {error}"))),
        }
    }

    /// What the process had done before it was traced.
    pub fn before(&self) -> Option<&TaskCounters> {
        self.before.as_ref().ok()
    }

    /// Compares at the end. `usage` is that of the process; `is_complete` says that all of its descendants were waited for after
    /// their last switches.
    pub fn compare(self, report: &mut RunReport, usage: Rusage, is_complete: bool) {
        match self.before {
            Ok(before) => {
                let usage = Usage {
                    voluntary: usage.voluntary.saturating_sub(before.voluntary),
                    involuntary: usage.involuntary.saturating_sub(before.involuntary),
                    is_complete,
                };
                report.check.oracles.extend(oracles::wait4(report, &usage));
            }
            Err(why) => drop(report.check.not_compared.insert("wait4".to_owned(), why)),
        }
        let Some(counters) = self.counters else { return };
        let counts = counters.and_then(|mut counters| counters.read().map_err(|error| error.to_string()));
        match counts {
            Ok(_) if report.tasks.still_alive > 0 => {
                let why = "threads of the workload are still alive".to_owned();
                report.check.not_compared.insert("perf".to_owned(), why);
            }
            Ok(counts) => report.check.oracles.extend(oracles::perf(report, &counts)),
            Err(why) => drop(report.check.not_compared.insert("perf".to_owned(), why)),
        }
    }
}
