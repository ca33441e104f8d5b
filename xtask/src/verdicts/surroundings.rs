//! What has to be around a program: other load, a quota, and what the host must have.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use procfs::process::Process;
use procfs::{CurrentSI, KernelStats, ticks_per_second};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Deserialize;

/// Other programs need a moment to be spread over the CPUs.
const SETTLE: Duration = Duration::from_millis(100);
/// Steps of a probe, some tens of milliseconds of them.
const PROBE_STEPS: u64 = 4_000_000;
/// Probes that tell how fast the CPUs are now: a neighbour on their cores may stay for an hour.
const PROBES: usize = 20;
const CGROUPS: &str = "/sys/fs/cgroup";
/// The period of a quota.
const PERIOD_US: u32 = 100_000;
/// The last member of a cgroup leaves it a moment after it was waited for.
const LEAVING: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Need {
    Python3,
    Cc,
    Javac,
    Node,
    TwoCpus,
    /// The controller of CPU time, of either version of cgroups.
    Cgroup,
    /// A file system below `/var/tmp` that can be read past the page cache.
    Disk,
}

impl Need {
    /// Why the host lacks it; for what is a program, see `Programs`.
    pub(super) fn lacking(self) -> Option<String> {
        match self {
            Self::Cgroup if cpu_controller().is_none() => Some(format!("{CGROUPS} has no cpu controller")),
            Self::Disk => {
                let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::DIRECT;
                let error = openat(CWD, "/var/tmp", flags, Mode::RUSR | Mode::WUSR).err()?;
                Some(format!("no file in /var/tmp can be read past the page cache: {error}"))
            }
            Self::Python3 | Self::Cc | Self::Javac | Self::Node | Self::TwoCpus | Self::Cgroup => None,
        }
    }
}

/// Threads of this program that spin until they are dropped, each on a CPU of its own: two that the kernel has put on one CPU would
/// leave the other to the program for a tenth of a second.
pub(super) struct Spinners {
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Spinners {
    /// As many as this share of the CPUs that this program may use.
    pub(super) fn start(percent_of_cpus: usize) -> Result<Self> {
        let cpus = allowed_cpus()?;
        let mut spinners = Self { stopped: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for &cpu in &cpus[..cpus.len() * percent_of_cpus / 100] {
            let stopped = spinners.stopped.clone();
            spinners.threads.push(thread::spawn(move || {
                stay_on(cpu);
                while !stopped.load(Ordering::Relaxed) {
                    black_box(());
                }
            }));
        }
        if !spinners.threads.is_empty() {
            thread::sleep(SETTLE);
        }
        Ok(spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}

/// The CPUs that this program may use.
fn allowed_cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(None).context("cannot read the CPU mask")?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// Confines the calling thread. Where that is refused, the kernel places it.
fn stay_on(cpu: usize) {
    let mut mask = CpuSet::new();
    mask.set(cpu);
    let _ = sched_setaffinity(None, &mask);
}

/// How fast the CPUs are when all compute. A hypervisor that takes them away unseen, and others on the same cores or memory, slow them
/// down, and no count of this host shows it.
pub(super) struct Speed {
    cpus: Vec<usize>,
    /// What the last probes took, the oldest first.
    probes: RefCell<VecDeque<Duration>>,
}

impl Speed {
    pub(super) fn new() -> Result<Self> {
        let speed = Self { cpus: allowed_cpus()?, probes: RefCell::default() };
        for _ in 0..PROBES {
            speed.slowed();
        }
        Ok(speed)
    }

    /// How many times as long the same work takes now as in a good moment of late, one of four.
    pub(super) fn slowed(&self) -> f64 {
        let begin = Instant::now();
        thread::scope(|scope| {
            for &cpu in &self.cpus {
                scope.spawn(move || {
                    stay_on(cpu);
                    black_box((0..PROBE_STEPS).fold(0, |sum: u64, step| black_box(sum ^ step)));
                });
            }
        });
        let time = begin.elapsed();
        let mut probes = self.probes.borrow_mut();
        probes.push_back(time);
        if probes.len() > PROBES {
            probes.pop_front();
        }
        let mut sorted: Vec<Duration> = probes.iter().copied().collect();
        sorted.sort();
        time.div_duration_f64(sorted[sorted.len() / 4])
    }
}

/// What the CPUs do while a command runs, to the tick.
pub(super) struct Others {
    begin: Instant,
    busy: f64,
    own: f64,
}

impl Others {
    pub(super) fn watch() -> Result<Self> {
        Ok(Self { begin: Instant::now(), busy: busy_seconds()?, own: children_seconds()? })
    }

    /// The share of so many CPUs that programs had which this one has not started and waited for, or the hypervisor.
    pub(super) fn share(&self, cpus: usize) -> Result<f64> {
        let others = busy_seconds()? - self.busy - (children_seconds()? - self.own);
        Ok(others / (self.begin.elapsed().as_secs_f64() * cpus as f64))
    }
}

/// CPU time of all but the idle tasks since the host started.
fn busy_seconds() -> Result<f64> {
    let total = KernelStats::current().context("cannot read /proc/stat")?.total;
    let stolen = [total.irq, total.softirq, total.steal].into_iter().flatten().sum::<u64>();
    Ok((total.user + total.nice + total.system + stolen) as f64 / ticks_per_second() as f64)
}

/// CPU time of the children of this program that have ended.
fn children_seconds() -> Result<f64> {
    let stat = Process::myself().and_then(|own| own.stat()).context("cannot read /proc/self/stat")?;
    Ok((stat.cutime + stat.cstime) as f64 / ticks_per_second() as f64)
}

/// The directory of the controller, and whether it is of the second version.
fn cpu_controller() -> Option<(PathBuf, bool)> {
    let root = Path::new(CGROUPS);
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|controller| controller == "cpu") {
        return Some((root.to_owned(), true));
    }
    Some((root.join("cpu"), false)).filter(|(dir, _)| dir.join("cpu.cfs_quota_us").is_file() || dir.join("cgroup.procs").is_file())
}

/// A cgroup with a quota, which is removed with this.
pub(super) struct Quota(PathBuf);

impl Quota {
    pub(super) fn new(cpus: f64) -> Result<Self> {
        let (parent, is_second_version) = cpu_controller().context("there is no cpu controller")?;
        let quota_us = (cpus * f64::from(PERIOD_US)).round();
        // The same name each time, so that what a killed run has left is used and removed.
        let group = Self(parent.join("schedscope-verdicts"));
        if is_second_version {
            set(&parent, "cgroup.subtree_control", "+cpu")?;
        }
        fs::create_dir_all(&group.0).with_context(|| format!("cannot create {}", group.0.display()))?;
        // With the greatest weight, so that it is the quota that keeps the program from the CPUs.
        if is_second_version {
            set(&group.0, "cpu.weight", "10000")?;
            set(&group.0, "cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
        } else {
            set(&group.0, "cpu.shares", "262144")?;
            set(&group.0, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
            set(&group.0, "cpu.cfs_quota_us", &quota_us.to_string())?;
        }
        Ok(group)
    }

    /// Words before a command that make it a member, without a process in between.
    pub(super) fn words(&self) -> Vec<String> {
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh", "-c", &join, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let begin = Instant::now();
        while fs::remove_dir(&self.0).is_err() && begin.elapsed() < LEAVING {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn set(dir: &Path, file: &str, value: &str) -> Result<()> {
    let path = dir.join(file);
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
}
