//! What the kernel itself keeps of tasks, read by the tests: resource usage and `/proc`.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::{fs, mem};

use procfs::process::Process;
use schedscope::report::RunReport;
use schedscope::report::schema::ThreadReport;

use super::attached::pid_of;

#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) cpu_seconds: f64,
}

/// Waits for a child and returns what it and its descendants have used.
pub(crate) fn wait_with_usage(child: &Child) -> (ExitStatus, Usage) {
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: both are valid for writes, and the child is ours and not reaped yet.
    let pid = unsafe { libc::wait4(pid_of(child), &raw mut status, 0, &raw mut usage) };
    assert_eq!(pid, pid_of(child));
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let usage = Usage {
        voluntary: u64::try_from(usage.ru_nvcsw).unwrap(),
        involuntary: u64::try_from(usage.ru_nivcsw).unwrap(),
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
    };
    (ExitStatus::from_raw(status), usage)
}

#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) tid: u32,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) migrations: Option<u64>,
}

pub(crate) fn counters(process: &Child) -> Vec<Counters> {
    let tasks = Process::new(pid_of(process)).unwrap().tasks().unwrap();
    let mut counters: Vec<Counters> = tasks
        .map(|task| {
            let task = task.unwrap();
            let status = task.status().unwrap();
            let sched = fs::read_to_string(format!("/proc/{}/task/{}/sched", process.id(), task.tid)).unwrap_or_default();
            let line = sched.lines().find(|line| line.starts_with("se.nr_migrations"));
            Counters {
                tid: u32::try_from(task.tid).unwrap(),
                voluntary: status.voluntary_ctxt_switches.unwrap(),
                involuntary: status.nonvoluntary_ctxt_switches.unwrap(),
                cpu_seconds: task.schedstat().unwrap().sum_exec_runtime as f64 / 1e9,
                migrations: line.map(|line| line.rsplit(':').next().unwrap().trim().parse().unwrap()),
            }
        })
        .collect();
    counters.sort_by_key(|task| task.tid);
    counters
}

/// A thread's usage is added up when it begins to end; only a process waits to be reaped. After that a thread may be preempted
/// once more, and then it leaves the CPU for good.
pub(crate) fn assert_agrees_with_usage(report: &RunReport, before: &Counters, usage: &Usage) {
    let (threads, processes) = (report.tasks.threads, report.tasks.processes);
    let all = (&report.switches, &report.tasks, before, usage);
    let unseen = |ours: u64, theirs: u64| ours.checked_sub(theirs).unwrap_or_else(|| panic!("we missed some: {all:?}"));
    let voluntary = unseen(report.switches.voluntary, usage.voluntary - before.voluntary);
    assert!((threads - processes..=threads).contains(&voluntary), "{voluntary} more: {all:?}");
    let involuntary = unseen(report.switches.preempted + report.switches.yielded, usage.involuntary - before.involuntary);
    assert!(involuntary <= threads + 2, "{involuntary} more: {all:?}");
    let cpu_seconds = usage.cpu_seconds - before.cpu_seconds;
    let difference = report.time_seconds.on_cpu - cpu_seconds;
    assert!(difference.abs() <= 1e-3 * cpu_seconds + 50e-6 * threads as f64, "{difference} s more than {cpu_seconds} s");
}

pub(crate) fn assert_growth(thread: &ThreadReport, before: &Counters, after: &Counters) {
    assert_eq!(thread.voluntary, after.voluntary - before.voluntary, "{thread:?} {before:?} {after:?}");
    assert_eq!(thread.preempted + thread.yielded, after.involuntary - before.involuntary, "{thread:?} {before:?} {after:?}");
    if let (Some(before), Some(after)) = (before.migrations, after.migrations) {
        assert_eq!(thread.migrations, after - before, "{thread:?}");
    }
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let difference = thread.on_cpu_seconds - cpu_seconds;
    assert!(difference.abs() <= 1e-3 * cpu_seconds + 50e-6, "{difference} s more than {cpu_seconds} s: {thread:?}");
}
