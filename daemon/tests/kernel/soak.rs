//! Everything at once, for two minutes or for as many seconds as `SCHEDSCOPE_SOAK_SECONDS` says: processes, threads, programs and cgroups
//! that come and go, clients that are slow or leave, and what happens to a daemon in its life. Afterwards it has counted as the kernel
//! has, it has not grown, it has answered in time, and nothing of it is left.

mod loads;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use loads::{Group, Loads};
use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use schedscope::capture::kernel::host_maps_and_links;
use schedscope::lab::daemon::free_address;
use tempfile::TempDir;

use super::attached::pid_of;
use super::host::{self, Guarded, assert_gone, comes_true, fast, privileged, send, wait_for_programs, workloads};
use super::machine::Reading;
use super::reader::{helpers, timed_scrape};
use super::served::{Daemon, request, rule, sum, threads};

/// How long it lasts.
const SECONDS: &str = "SCHEDSCOPE_SOAK_SECONDS";
/// With the comparisons it takes less than two minutes.
const SECONDS_IN_CI: u64 = 80;
/// Between two scrapes: longer than they share a reading.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(260);
/// Between two disturbances.
const CALM: Duration = Duration::from_secs(3);
/// The longest that a scrape may take.
const SCRAPE_MAX: Duration = Duration::from_millis(250);
/// `MemoryMax` of the unit.
const MEMORY_MAX: u64 = 256 << 20;
/// What the second half may add to the memory of a daemon, besides what the page shows of the last minutes: so much, after that time.
const GROWTH_MAX: u64 = 2 << 20;
const HISTORY: (u64, Duration) = (3 << 20, Duration::from_secs(300));
/// Of a workload whose counts are compared.
const SLEEPERS: u64 = 4;

/// What happens to the daemon: what, whether the same process goes on, and how.
type Disturbance = (&'static str, bool, fn(&mut Soak));

const DISTURBANCES: [Disturbance; 6] = [
    ("its log is on a full disk", false, |soak| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        soak.replace(full.into(), libc::SIGTERM);
    }),
    ("killed", false, |soak| soak.replace(Stdio::null(), libc::SIGKILL)),
    ("stopped", true, |soak| {
        send(soak.daemon.process.id(), libc::SIGSTOP);
        sleep(Duration::from_millis(1500));
        send(soak.daemon.process.id(), libc::SIGCONT);
    }),
    ("its readers are killed", true, |soak| {
        for reader in helpers(&soak.daemon) {
            send(reader, libc::SIGKILL);
        }
    }),
    ("another daemon", true, |_| {
        let mut other = start(free_address().unwrap(), Stdio::null(), None);
        let kept = Kept::of(&other);
        assert!(other.get("/metrics").contains("schedscope_workload_info"));
        kept.assert_gone_after(&mut other, libc::SIGTERM);
    }),
    ("asked for everything", true, |soak| {
        for path in ["/", "/page/main.js", "/status", "/healthz", "/api/history", "/nothing"] {
            assert!(request(soak.daemon.address, path, "localhost").is_some(), "{path}");
        }
    }),
];

/// What of a daemon must not stay in the kernel.
struct Kept {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Kept {
    fn of(daemon: &Daemon) -> Kept {
        let programs = wait_for_programs(daemon.process.id());
        let numbers = |key: &str| -> BTreeSet<u32> {
            let entries = fs::read_dir(format!("/proc/{}/fdinfo", daemon.process.id())).unwrap().flatten();
            let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
            texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())).collect()
        };
        let kept = Kept { programs, maps: numbers("map_id:"), links: numbers("link_id:") };
        assert!(!kept.maps.is_empty() && !kept.links.is_empty(), "the kernel does not say what a daemon holds");
        kept
    }

    fn assert_gone_after(&self, daemon: &mut Daemon, signal: i32) {
        send(daemon.process.id(), signal);
        let status = daemon.process.wait().unwrap();
        assert!(status.success() || signal == libc::SIGKILL, "{status}");
        assert_gone(&self.programs);
        // Asked again if one of somebody's goes away while it is looked at.
        let are_gone =
            || host_maps_and_links().is_ok_and(|(maps, links)| maps.is_disjoint(&self.maps) && links.is_disjoint(&self.links));
        assert!(comes_true(5, are_gone), "maps or links stay in the kernel");
    }
}

/// Which no other run of these tests uses.
fn probe_name() -> String {
    format!("soak-{}", std::process::id())
}

fn start(address: SocketAddr, log: Stdio, group: Option<&Group>) -> Daemon {
    let mut command = Command::new(host::schedscope());
    if let Some(group) = group {
        group.take(&mut command);
    }
    Daemon::start_under(command.stderr(log), address, &rule("subject", &probe_name()))
}

struct Soak {
    daemon: Daemon,
    group: Option<Group>,
    /// How long each took without waits for a CPU, and after which disturbance.
    scrapes: Vec<(Duration, &'static str)>,
    /// Memory of the daemon, in bytes, while nothing but loads went on.
    memory: Vec<u64>,
}

impl Soak {
    fn replace(&mut self, log: Stdio, signal: i32) {
        Kept::of(&self.daemon).assert_gone_after(&mut self.daemon, signal);
        self.daemon = start(self.daemon.address, log, self.group.as_ref());
    }

    /// Scrapes until a moment, and looks at the memory.
    fn watch(&mut self, until: Instant, after: &'static str) {
        while Instant::now() < until {
            let (text, took) = timed_scrape(&self.daemon);
            self.scrapes.push((took, after));
            assert!(text.contains("schedscope_workload_info"));
            self.memory.push(memory(&self.daemon));
            sleep(BETWEEN_SCRAPES);
        }
    }

    /// Goes through the disturbances, those that end the daemon left out if it is to go on, until a moment.
    fn disturb(&mut self, until: Instant, goes_on: bool) {
        for (what, keeps, happens) in DISTURBANCES.iter().filter(|(_, keeps, _)| *keeps || !goes_on).cycle() {
            if Instant::now() + CALM > until {
                return;
            }
            happens(self);
            println!("{what}, {}", if *keeps { "and goes on" } else { "and another began" });
            self.watch(until.min(Instant::now() + CALM), what);
        }
    }
}

fn memory(daemon: &Daemon) -> u64 {
    Process::new(pid_of(&daemon.process)).unwrap().statm().unwrap().resident * procfs::page_size()
}

/// The fewest that it has open within the time that a client has to ask and to leave, the daemon's own for a moment left out.
fn descriptors(daemon: &Daemon) -> usize {
    let count = |_| {
        sleep(Duration::from_millis(100));
        fs::read_dir(format!("/proc/{}/fd", daemon.process.id())).unwrap().count()
    };
    (0..75).map(count).min().unwrap()
}

/// What daemon and kernel say at a moment at which no load goes on.
struct Moment {
    /// Tasks begun on the host, by the kernel, before and after the daemon was asked.
    kernel: (u64, u64),
    ours: u64,
    descriptors: usize,
    probe: Reading,
}

impl Moment {
    fn take(daemon: &Daemon, probe: &[Guarded]) -> Moment {
        assert!(comes_true(20, || threads(&daemon.get("/metrics"), "subject") == 1 + SLEEPERS), "the sleepers have another name");
        let probe = Reading::take(daemon, probe);
        let begun = || KernelStats::current().unwrap().processes;
        let before = begun();
        sleep(BETWEEN_SCRAPES);
        let ours = sum(&daemon.get("/metrics"), "schedscope_workload_threads_started_total{");
        let kernel = (before, begun());
        Moment { kernel, ours, descriptors: descriptors(daemon), probe }
    }

    fn assert_grown_as_the_kernels_since(&self, before: &Moment) {
        let (least, most) = (self.kernel.0 - before.kernel.1, self.kernel.1 - before.kernel.0);
        let ours = self.ours - before.ours;
        println!("tasks begun: {ours} by our count, {least} to {most} by the kernel's");
        // A process that goes to another workload by a second exec counts there too. None of the loads has one, but other programs of the
        // host may; each load that had would be more than this.
        let again = most / 100;
        assert!((least..=most + again).contains(&ours), "our count {ours}, the kernel's {least} to {most}");
        self.probe.assert_grown_as_the_kernels_since(&before.probe, 0);
        assert_eq!(self.descriptors, before.descriptors, "descriptors were left open");
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn whatever_happens_it_counts_right_answers_in_time_does_not_grow_and_leaves_nothing() {
    let Some(()) = privileged().and_then(|()| fast("its parts run in other tests")) else { return };
    let seconds = env::var(SECONDS).map_or(SECONDS_IN_CI, |seconds| seconds.parse().unwrap());
    let half = Duration::from_secs(seconds) / 2;
    let group = Group::limited(MEMORY_MAX);
    let daemon = start(free_address().unwrap(), Stdio::null(), group.as_ref());
    let loads = Loads::start(daemon.address);
    let dir = TempDir::new().unwrap();
    let program = dir.path().join(probe_name());
    symlink(workloads(), &program).unwrap();
    let probe = [Guarded::start(program, &["sleepers", "--count", "4", "--pause", "0.003", "--seconds", "80000"])];
    let mut soak = Soak { daemon, group, scrapes: Vec::new(), memory: Vec::new() };

    soak.disturb(Instant::now() + half, false);
    let before = loads.paused(|| Moment::take(&soak.daemon, &probe));
    soak.memory.clear();
    soak.disturb(Instant::now() + half, true);
    let after = loads.paused(|| Moment::take(&soak.daemon, &probe));
    println!("{loads}");
    drop(loads);

    after.assert_grown_as_the_kernels_since(&before);
    let quarter = soak.memory.len() / 4;
    let (early, late) = (median(&soak.memory[..quarter]), median(&soak.memory[soak.memory.len() - quarter..]));
    let slowest = soak.scrapes.iter().max().unwrap();
    println!("memory {} KiB, then {} KiB; {} scrapes, the slowest {slowest:?}", early >> 10, late >> 10, soak.scrapes.len());
    let history = if half < HISTORY.1 { HISTORY.0 * half.as_secs() / HISTORY.1.as_secs() } else { 0 };
    assert!(late <= early + GROWTH_MAX + history, "the daemon grows: {:?}", soak.memory);
    assert!(slowest.0 <= SCRAPE_MAX, "{slowest:?}");
    Kept::of(&soak.daemon).assert_gone_after(&mut soak.daemon, libc::SIGTERM);
}
