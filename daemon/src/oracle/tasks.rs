//! Threads as `/proc` shows them.

use std::{fs, io, path::Path};

use crate::capture::quiescent::wait_until_off_cpu;
use crate::capture::snapshot::Tgid;

/// A thread's counters since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskCounters {
    /// Thread id.
    pub tid: u32,
    /// `voluntary_ctxt_switches` of `status`.
    pub voluntary: u64,
    /// `nonvoluntary_ctxt_switches` of `status`.
    pub involuntary: u64,
    /// Time on a CPU, of `schedstat`.
    pub on_cpu_ns: u64,
    /// Time waiting for one, of `schedstat`; 0 without `CONFIG_SCHED_INFO`.
    pub run_delay_ns: u64,
    /// Times it got a CPU, of `schedstat`; 0 without `CONFIG_SCHED_INFO`.
    pub timeslices: u64,
    /// `se.nr_migrations` of `sched`; `None` without `CONFIG_SCHED_DEBUG`.
    pub migrations: Option<u64>,
}

/// Reads every thread of a process that rests, after each has left its CPU.
///
/// # Errors
/// If a thread does not rest, or its files cannot be read.
pub fn read_resting(process: Tgid) -> io::Result<Vec<TaskCounters>> {
    let mut counters = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/task", process.0))? {
        let entry = entry?;
        let tid: u32 = entry.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
        wait_until_off_cpu(process.0, tid)?;
        counters.push(read(&entry.path(), tid)?);
    }
    Ok(counters)
}

/// A process and all its descendants, by `/proc/PID/stat` of every process.
///
/// # Errors
/// If `/proc` cannot be listed.
pub fn descendants(root: Tgid) -> io::Result<Vec<Tgid>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        // One that has ended meanwhile is none of a tree at rest.
        if let Some(parent) = fs::read_to_string(entry.path().join("stat")).ok().and_then(|stat| parent_of(&stat)) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&Tgid(parent)) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| Tgid(*pid)));
        next += 1;
    }
    Ok(found)
}

/// Fourth field; the second is a name in brackets that may hold anything.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit(')').next()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn read(dir: &Path, tid: u32) -> io::Result<TaskCounters> {
    let status = fs::read_to_string(dir.join("status"))?;
    let schedstat = fs::read_to_string(dir.join("schedstat"))?;
    // Only with CONFIG_SCHED_DEBUG.
    let sched = fs::read_to_string(dir.join("sched")).unwrap_or_default();
    parse(tid, &status, &schedstat, &sched)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{} has no counters of switches", dir.display())))
}

fn parse(tid: u32, status: &str, schedstat: &str, sched: &str) -> Option<TaskCounters> {
    let field = |text: &str, name: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim_end() == name))?;
        line.rsplit(':').next()?.trim().parse().ok()
    };
    let mut schedstat = schedstat.split_ascii_whitespace().map(str::parse);
    let mut next = || schedstat.next()?.ok();
    Some(TaskCounters {
        tid,
        voluntary: field(status, "voluntary_ctxt_switches")?,
        involuntary: field(status, "nonvoluntary_ctxt_switches")?,
        on_cpu_ns: next()?,
        run_delay_ns: next()?,
        timeslices: next()?,
        migrations: field(sched, "se.nr_migrations"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t34\n";
        let sched = "x (1, #threads: 1)\n-----\nse.nr_migrations      :    5\nnr_switches  :   46\n";
        let expected = TaskCounters {
            tid: 9,
            voluntary: 12,
            involuntary: 34,
            on_cpu_ns: 100,
            run_delay_ns: 200,
            timeslices: 3,
            migrations: Some(5),
        };
        assert_eq!(parse(9, status, "100 200 3\n", sched), Some(expected.clone()));
        assert_eq!(parse(9, status, "100 200 3\n", ""), Some(TaskCounters { migrations: None, ..expected }));
        assert_eq!(parse(9, "Name:\tx\n", "1 2 3", ""), None);
    }

    #[test]
    fn a_child_is_a_descendant_whatever_its_name() {
        assert_eq!(parent_of("12 (a) b (c) S 34 12 12 0\n"), Some(34));
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let found = descendants(Tgid(std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.unwrap().contains(&Tgid(child.id())));
        assert_eq!(descendants(Tgid(u32::MAX)).unwrap(), [Tgid(u32::MAX)]);
    }

    #[test]
    fn a_resting_child_has_one_thread() {
        if !Path::new("/proc/self/syscall").exists() {
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
