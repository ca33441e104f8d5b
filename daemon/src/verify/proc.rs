//! Threads at rest against `/proc/PID/task/TID/`.

use std::collections::BTreeMap;
use std::{fs, io};

use procfs::process::{Process, Task, all_processes};
use schedscope_ebpf::residual::Figures;

use super::comparison::Residual;
use super::run_delay;
use super::verdict::Check;
use crate::capture::quiescent::wait_until_off_cpu;
use crate::capture::snapshot::{Tgid, Thread};

/// A thread's counters since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskCounters {
    pub(crate) tid: u32,
    /// `voluntary_ctxt_switches` of `status`.
    pub(crate) voluntary: u64,
    /// `nonvoluntary_ctxt_switches` of `status`.
    pub(crate) involuntary: u64,
    /// Time on a CPU, of `schedstat`.
    pub(crate) on_cpu_ns: u64,
    /// Time waiting for one, of `schedstat`; 0 without `CONFIG_SCHED_INFO`.
    pub(crate) run_delay_ns: u64,
    /// Times it got a CPU, of `schedstat`; 0 without `CONFIG_SCHED_INFO`.
    pub(crate) timeslices: u64,
    /// `se.nr_migrations` of `sched`; `None` without `CONFIG_SCHED_DEBUG`.
    pub(crate) migrations: Option<u64>,
}

/// Reads every thread of a process at rest, after each has left its CPU.
pub(crate) fn read_resting(process: Tgid) -> io::Result<Vec<TaskCounters>> {
    let pid = i32::try_from(process.0).map_err(io::Error::other)?;
    let mut counters = Vec::new();
    for task in Process::new(pid).and_then(|process| process.tasks()).map_err(io::Error::other)? {
        let task = task.map_err(io::Error::other)?;
        let tid = task.tid.unsigned_abs();
        wait_until_off_cpu(process.0, tid)?;
        counters.push(read(&task, tid)?);
    }
    Ok(counters)
}

/// A process and all its descendants.
pub(crate) fn descendants(root: Tgid) -> io::Result<Vec<Tgid>> {
    // A process that has ended meanwhile does not belong to a tree at rest.
    let processes = all_processes().map_err(io::Error::other)?.flatten().filter_map(|process| process.stat().ok());
    let parents: Vec<(u32, u32)> = processes.map(|stat| (stat.pid.unsigned_abs(), stat.ppid.unsigned_abs())).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&Tgid(parent)) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| Tgid(*pid)));
        next += 1;
    }
    Ok(found)
}

fn read(task: &Task, tid: u32) -> io::Result<TaskCounters> {
    let times = task.schedstat().map_err(io::Error::other)?;
    let text = |file: &str| fs::read(format!("/proc/{}/task/{tid}/{file}", task.pid));
    let (voluntary, involuntary) = switches(&text("status")?);
    // Only with CONFIG_SCHED_DEBUG.
    let sched = text("sched").unwrap_or_default();
    Ok(TaskCounters {
        tid,
        voluntary,
        involuntary,
        on_cpu_ns: times.sum_exec_runtime,
        run_delay_ns: times.run_delay,
        timeslices: times.pcount,
        migrations: migrations(&sched),
    })
}

/// Voluntary and other switches of a `status` file.
pub(crate) fn switches(status: &[u8]) -> (u64, u64) {
    (field(status, "voluntary_ctxt_switches").unwrap_or(0), field(status, "nonvoluntary_ctxt_switches").unwrap_or(0))
}

/// `se.nr_migrations` of a `sched` file.
pub(crate) fn migrations(sched: &[u8]) -> Option<u64> {
    field(sched, "se.nr_migrations")
}

/// The number behind a name and a colon. The thread's own name, which is in these files too, may be of any bytes.
fn field(text: &[u8], wanted: &str) -> Option<u64> {
    let text = String::from_utf8_lossy(text);
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(name, _)| name.trim_end() == wanted).find_map(|(_, value)| value.trim().parse().ok())
}

/// Compares threads at rest with what `/proc` says about them `now`. `before` is what the first of them had done before it was traced.
pub(crate) fn compare(
    threads: &[Thread],
    now: &[TaskCounters],
    before: &TaskCounters,
    wait_accounts: &Result<(), String>,
    check: &mut Check,
) {
    let mut by_tid: BTreeMap<u32, &Thread> = threads.iter().map(|thread| (thread.record.tid, thread)).collect();
    let (mut ours, mut kernel) = (TaskCounters::default(), TaskCounters::default());
    let (mut differing, mut delays) = (0, Vec::new());
    let counts = |task: &TaskCounters| (task.voluntary, task.involuntary, task.timeslices, task.migrations);
    for now in now {
        let grown = if now.tid == before.tid { grown(now, before) } else { now.clone() };
        let Some(thread) = by_tid.remove(&now.tid) else {
            differing += 1;
            continue;
        };
        let counted = counted(thread, &grown);
        differing += u64::from(counts(&counted) != counts(&grown));
        delays.push((thread, grown.run_delay_ns));
        add(&mut ours, &counted);
        add(&mut kernel, &grown);
    }
    differing += by_tid.len() as u64;
    let count = |quantity, ours, kernel| Residual::counts(SOURCE, quantity, ours, kernel);
    let mut rows = vec![
        count("voluntary_ctxt_switches", ours.voluntary, kernel.voluntary),
        count("nonvoluntary_ctxt_switches", ours.involuntary, kernel.involuntary),
        Residual::on_cpu(SOURCE, "schedstat_on_cpu_seconds", ours.on_cpu_ns, kernel.on_cpu_ns),
    ];
    if let (Some(ours), Some(kernel)) = (ours.migrations, kernel.migrations) {
        rows.push(count("se.nr_migrations", ours, kernel));
    }
    // Both are zero on a kernel without CONFIG_SCHED_INFO.
    if kernel.timeslices > 0 {
        let (run_delays, waits) = run_delay::compare(SOURCE, "schedstat_run_delay_seconds", delays.into_iter(), wait_accounts);
        rows.extend(run_delays);
        rows.extend(waits.row(SOURCE));
        let uncounted: u64 = threads.iter().map(uncounted_runs).sum();
        let mut timeslices = count("schedstat_timeslices", ours.timeslices, kernel.timeslices);
        if uncounted > 0 {
            timeslices.because =
                format!("without {uncounted} runs after a preemption on the way to sleep, which the kernel does not count");
        }
        rows.push(timeslices);
    }
    rows.push(count("threads with any other count", differing, 0));
    check.oracles.extend(rows);
}

const SOURCE: &str = "proc";

fn grown(now: &TaskCounters, before: &TaskCounters) -> TaskCounters {
    TaskCounters {
        tid: now.tid,
        voluntary: now.voluntary.saturating_sub(before.voluntary),
        involuntary: now.involuntary.saturating_sub(before.involuntary),
        on_cpu_ns: now.on_cpu_ns.saturating_sub(before.on_cpu_ns),
        run_delay_ns: now.run_delay_ns.saturating_sub(before.run_delay_ns),
        timeslices: now.timeslices.saturating_sub(before.timeslices),
        migrations: now.migrations.zip(before.migrations).map(|(now, before)| now.saturating_sub(before)),
    }
}

/// Our counts, but only those that the kernel keeps too. A thread at rest has been switched out as often as in.
fn counted(thread: &Thread, kernel: &TaskCounters) -> TaskCounters {
    let Figures { voluntary, involuntary, migrations, on_cpu_ns } = Figures::of(&thread.record);
    TaskCounters {
        tid: thread.record.tid,
        voluntary,
        involuntary,
        on_cpu_ns,
        run_delay_ns: 0,
        timeslices: if kernel.timeslices > 0 { thread.record.switches() - uncounted_runs(thread) } else { 0 },
        migrations: kernel.migrations.map(|_| migrations),
    }
}

fn uncounted_runs(thread: &Thread) -> u64 {
    thread.wait_account.map_or(0, |account| account.uncounted_runs)
}

fn add(sum: &mut TaskCounters, part: &TaskCounters) {
    sum.voluntary += part.voluntary;
    sum.involuntary += part.involuntary;
    sum.on_cpu_ns += part.on_cpu_ns;
    sum.timeslices += part.timeslices;
    sum.migrations = part.migrations.map(|count| sum.migrations.unwrap_or(0) + count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_found_by_the_whole_name() {
        let sched = "x (1, #threads: 1)\n-----\nse.nr_migrations      :    5\nnr_switches  :   46\n";
        assert_eq!((migrations(sched.as_bytes()), migrations(b"nr_migrations : 5\n")), (Some(5), None));
    }

    #[test]
    fn a_child_is_a_descendant() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let found = descendants(Tgid(std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.unwrap().contains(&Tgid(child.id())));
        assert_eq!(descendants(Tgid(u32::MAX)).unwrap(), [Tgid(u32::MAX)]);
    }

    #[test]
    fn a_resting_child_has_one_thread() {
        if !std::path::Path::new("/proc/self/syscall").exists() {
            println!("skipped: this kernel has no /proc/PID/syscall");
            return;
        }
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let counters = read_resting(Tgid(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        let counters = counters.unwrap();
        assert_eq!(counters.len(), 1);
        assert!(counters[0].on_cpu_ns > 0 && counters[0].voluntary > 0, "{counters:?}");
    }
}
