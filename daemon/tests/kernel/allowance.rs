//! What the kernel lets a program use, and what it would do with more: the cure is run too.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::{fs, process};

use schedscope::report::RunReport;

use super::exact::foreign_share;
use super::host::{Guarded, comes_true, cpus, installed, privileged, workloads};
use super::names;
use super::policies::policy;
use super::traced::{Running, run};

/// A second of work, more or less, that takes as many instructions each time.
const WORK: &str = "i=0; while [ $i -lt 600000 ]; do i=$((i+1)); done";
/// Share of the CPUs that others may have where times are compared.
const QUIET: f64 = 0.05;

/// A cgroup in which something is set, of whichever version has the controller.
pub(super) struct Group {
    directory: PathBuf,
    /// The file by which it is judged.
    file: &'static str,
}

impl Group {
    /// So many microseconds in each tenth of a second.
    pub(super) fn with_quota(us: u32) -> Group {
        let version_1 = [("cpu.cfs_period_us", "100000".to_owned()), ("cpu.cfs_quota_us", us.to_string())];
        Group::with(&version_1, &[("cpu.max", format!("{us} 100000"))])
    }

    /// The last file is the one that it is judged by.
    fn with(version_1: &[(&'static str, String)], version_2: &[(&'static str, String)]) -> Group {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let is_version_2 = controllers.split_whitespace().any(|controller| controller == "cpu");
        let parent = if is_version_2 { root.to_owned() } else { root.join("cpu") };
        let directory = parent.join(format!("schedscope-test-{}", process::id()));
        if is_version_2 {
            fs::write(root.join("cgroup.subtree_control"), "+cpu").unwrap();
        }
        fs::create_dir(&directory).unwrap();
        let files = if is_version_2 { version_2 } else { version_1 };
        let group = Group { directory, file: files[files.len() - 1].0 };
        for (file, value) in files {
            fs::write(group.directory.join(file), value).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        group
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(self.file)
    }

    /// A script that does this as a member.
    pub(super) fn script(&self, work: &str) -> String {
        format!("echo $$ > {}/cgroup.procs; {work}", self.directory.display())
    }

    pub(super) fn counter(&self, name: &str) -> u64 {
        let text = fs::read_to_string(self.directory.join("cpu.stat")).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its last member leaves it a moment after it was waited for.
        let _ = comes_true(5, || fs::remove_dir(&self.directory).is_ok());
    }
}

/// The cure took what was foretold, give or take a third, had the CPUs been as fast as before. The instructions are the same, so its CPU time
/// shows how fast they were: CPUs that compute beside each other may share a core or its clock, and a hypervisor may take some of their
/// time unseen.
fn assert_cured(sick: &RunReport, cured: &RunReport) {
    if foreign_share(sick).max(foreign_share(cured)) > QUIET {
        println!("skipped, since others used the CPUs: how long the cure takes");
        return;
    }
    let foretold = sick.model.without_limit_wall_seconds.unwrap_or_else(|| panic!("{:?}", sick.model));
    let speed = sick.time_seconds.on_cpu / cured.time_seconds.on_cpu;
    let taken = cured.wall_seconds * speed;
    let told =
        format!("{foretold} s foretold, {} s taken at a speed of {speed}, {} s before", cured.wall_seconds, sick.wall_seconds);
    assert!((0.7..1.3).contains(&(taken / foretold)), "{told}");
    assert!(sick.wall_seconds > 1.4 * taken, "{told}");
}

#[test]
fn a_quota_is_told_by_the_kernels_own_counters() {
    let Some(()) = privileged() else { return };
    let group = Group::with_quota(50_000);
    let sick = run(&["sh", "-c", &group.script(WORK)]).report;
    assert_eq!(sick.model.limit, "quota", "{:?} {:?}", sick.model, sick.cpus);
    assert!(sick.model.advice.contains(group.file().to_str().unwrap()), "{:?}", sick.model);
    assert!(sick.cpus.quota.is_some_and(|cpus| (cpus - 0.5).abs() < 1e-9), "{:?}", sick.cpus);
    let ours = sick.cpus.quotas.iter().find(|quota| Path::new(&quota.file) == group.file()).unwrap();
    // It is looked at for the first time after at most twice the time that it took to get there.
    for (ours, name) in [(ours.periods, "nr_periods "), (ours.throttled_periods, "nr_throttled ")] {
        let kernels = group.counter(name);
        assert!((kernels - kernels / 8 - 1..=kernels).contains(&ours) && kernels > 5, "{name}{kernels}, our count {ours}");
    }
    assert_cured(&sick, &run(&["sh", "-c", WORK]).report);
}

#[test]
fn a_quota_is_told_from_within_a_namespace_of_cgroups() {
    let Some(()) = privileged() else { return };
    let group = Group::with_quota(50_000);
    let own = names::Group::new(&group.directory.with_file_name(format!("schedscope-observer-{}", process::id()))).unwrap();
    let enter = File::options().write(true).open(own.0.join("cgroup.procs")).unwrap();
    let limited = Guarded::shell(&group.script("while :; do :; done"));
    let arguments = ["--pid", &limited.id().to_string(), "--duration", "1"];
    let attached = Running::start_with("attach", &arguments, |command| {
        let into_namespace = move || {
            rustix::io::write(&enter, b"0")?;
            // SAFETY: no table of descriptors is unshared, so none is used that is gone.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP)? };
            Ok(())
        };
        // SAFETY: system calls, which are safe between fork and exec.
        unsafe { command.pre_exec(into_namespace) };
    });
    let report = attached.end().report;
    drop(limited);
    let quotas: Vec<&Path> = report.cpus.quotas.iter().map(|quota| Path::new(&quota.file)).collect();
    assert_eq!(quotas, [group.file()]);
}

#[test]
fn a_quota_is_told_beside_a_busy_neighbour() {
    let Some(()) = privileged() else { return };
    let group = Group::with_quota(30_000);
    let cpus = std::thread::available_parallelism().unwrap().get();
    let neighbours: Vec<_> = (0..cpus).map(|_| Guarded::shell("while :; do :; done")).collect();
    let sick = run(&["sh", "-c", &group.script(WORK)]).report;
    drop(neighbours);
    assert_eq!(sick.model.limit, "quota", "{:?} {:?}", sick.model, sick.cpus);
    // The neighbours would leave it what the kernel gives each thread.
    let foretold = sick.model.without_limit_wall_seconds.unwrap_or_else(|| panic!("{:?}", sick.model));
    assert!(foretold < 0.8 * sick.wall_seconds, "{foretold} s of {} s", sick.wall_seconds);
}

#[test]
fn a_mask_that_a_program_has_narrowed_itself_is_told() {
    let Some(()) = privileged() else { return };
    let Some(()) = cpus(2) else { return };
    let Some(taskset) = installed(&["taskset"], "util-linux") else { return };
    let work = format!("({WORK}) & ({WORK}) & wait");
    let sick = run(&["sh", "-c", &format!("{taskset} -cp 0 $$ > /dev/null; {work}")]).report;
    if foreign_share(&sick) < QUIET {
        assert_eq!(sick.model.limit, "mask", "{:?} {:?}", sick.model, sick.cpus);
    }
    assert!(sick.cpus.in_masks.is_some_and(|cpus| (0.99..1.1).contains(&cpus)) && sick.cpus.allowed > 1, "{:?}", sick.cpus);
    let busiest = &sick.threads[0];
    assert_eq!(busiest.cpus_allowed.as_deref(), Some("0"), "{busiest:?}");
    assert_cured(&sick, &run(&["sh", "-c", &work]).report);
}

#[test]
fn a_mask_that_its_starter_narrowed_is_all_that_there_is() {
    let Some(()) = privileged() else { return };
    let Some(()) = cpus(2) else { return };
    let Some(taskset) = installed(&["taskset"], "util-linux") else { return };
    let report = run(&[taskset, "-c", "1", "sh", "-c", WORK]).report;
    // One thread has no use for another CPU.
    assert_eq!(report.model.advice, "", "{:?}", report.model);
    if foreign_share(&report) < QUIET {
        assert_eq!(report.model.limit, "cores", "{:?}", report.model);
    }
    assert_eq!(report.threads[0].cpus_allowed.as_deref(), Some("1"));
}

#[test]
fn a_program_that_gives_way_to_others_is_told() {
    let Some(()) = privileged() else { return };
    let Some(taskset) = installed(&["taskset"], "util-linux") else { return };
    let neighbour = Guarded::start(taskset, &["-c", "0", "sh", "-c", "while :; do :; done"]);
    for (words, expected, nice) in [("nice -n 19", "other", 19), ("chrt --idle 0", "idle", 0), ("chrt --batch 0", "batch", 0)] {
        let Some(words) = policy(words) else { continue };
        let workload = workloads();
        let spin = "native --task spin --model threads --workers 1 --seconds 1".split(' ').collect();
        let report = run(&[vec![taskset, "-c", "0"], words, vec![&workload], spin].concat()).report;
        let busiest = &report.threads[0];
        let found = (busiest.policy.as_deref(), busiest.nice, busiest.realtime_priority);
        assert_eq!(found, (Some(expected), Some(nice), None), "{busiest:?}");
        let (low, all) = (report.cpus.low_priority_runnable_seconds, report.time_seconds.runnable);
        // Before the command execs it has another priority.
        let share = if expected == "batch" { 0.0..0.01 } else { 0.8..1.01 };
        assert!(all > 0.1 && share.contains(&(low / all)), "{expected}: {low} s of {all} s, {:?}", report.threads);
    }
    drop(neighbour);
    let Some(words) = policy("chrt --fifo 7") else { return };
    let busiest = &run(&[words, vec!["sh", "-c", WORK]].concat()).report.threads[0];
    assert_eq!((busiest.policy.as_deref(), busiest.realtime_priority), (Some("fifo"), Some(7)), "{busiest:?}");
}

#[test]
fn a_group_that_gets_less_than_its_neighbours_is_told() {
    let Some(()) = privileged() else { return };
    let group = Group::with(&[("cpu.shares", "256".to_owned())], &[("cpu.weight", "25".to_owned())]);
    let report = run(&["sh", "-c", &group.script(WORK)]).report;
    let weight = report.cpus.weight.unwrap_or_else(|| panic!("{:?}", report.cpus.quotas));
    assert_eq!((Path::new(&weight.file), weight.relative), (&*group.file(), 0.25));
    assert_eq!(run(&["sh", "-c", WORK]).report.cpus.weight.map(|weight| weight.file), None);
}
