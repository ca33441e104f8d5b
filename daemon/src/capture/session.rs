//! One traced workload from its first event to its report: what `run` and `attach` share.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use schedscope_ebpf::abi::program;

use super::allowance::{CpuSet, Watch};
use super::history::History;
use super::interpreters::Interpreters;
use super::kernel::{Depth, KernelError, Sizes, Tracer, now_ns};
use super::own_pipes::OwnPipes;
use super::preflight::kernel_release_name;
use super::run::{HostCounters, HostSwitches, Run, Subject};
use super::snapshot::{Snapshot, Tgid, Thread, Tid, WorkloadId};
use super::timeline::Timeline;
use super::topology::Topology;
use super::totals::Aggregate;

/// The traced workload; number 0 stays empty.
const WORKLOAD: WorkloadId = WorkloadId(1);
/// Threads alive at once. Further ones are not traced but counted.
const TASKS: u32 = 16_384;
/// Ended threads kept for the report. Of more, the least busy are forgotten, but stay in the totals.
const MAX_ENDED: usize = 65_536;
/// Longest pause between samples: slots of ended threads are freed at a sample, and a storm of forks needs them.
const MAX_PAUSE: Duration = Duration::from_millis(100);
/// Time between two listings of the host's tasks. A listing takes a tenth of a microsecond per thread.
const LISTING_INTERVAL: Duration = Duration::from_secs(1);
/// Sampling may take at most one part in this many of the time.
const SAMPLING_BUDGET: u32 = 50;

/// Programs attached, samples being taken.
pub struct Session {
    tracer: Tracer,
    topology: Topology,
    aggregate: Aggregate,
    timeline: Timeline,
    history: History,
    interpreters: Interpreters,
    allowance: Watch,
    own_pipes: OwnPipes,
    ended: Vec<Thread>,
    forgotten: u64,
    begin_ns: u64,
    /// Our own CPU time then.
    own_before_ns: u64,
    host_before: HostCounters,
    alive: usize,
    /// When the host's tasks were listed last.
    listed: Instant,
    wait_accounts: Result<(), String>,
}

impl Session {
    /// Attaches the programs; nothing is traced yet.
    pub(crate) fn start(topology: Topology) -> Result<Session, KernelError> {
        Session::with(&[], false, topology)
    }

    /// The same, and measures how waits differ from the kernel's run delay, which makes every switch and wake-up on the host cost more.
    pub(crate) fn start_verifying(topology: Topology) -> Result<Session, KernelError> {
        Session::with(&[], true, topology)
    }

    /// The same as on a kernel without these programs: to see what is reported there.
    pub fn start_without(without: &[&str], topology: Topology) -> Result<Session, KernelError> {
        Session::with(without, false, topology)
    }

    fn with(without: &[&str], wait_accounts: bool, topology: Topology) -> Result<Session, KernelError> {
        let sizes = Sizes { workloads: 2, provisional: 0, tasks: TASKS, thread_by_core: true, wait_accounts, samples: true };
        let mut tracer = Tracer::start_without(without, sizes, &topology)?;
        let first = tracer.snapshot(Depth::Threads)?;
        let wait_accounts = match tracer.programs().iter().find(|program| program.name == program::SCHED_WAKEUP) {
            Some(queued) => queued.failure.clone().map_or(Ok(()), Err),
            None => Err("measured with --check".to_owned()),
        };
        Ok(Session {
            tracer,
            topology,
            aggregate: Aggregate::default(),
            timeline: Timeline::starting(&first),
            history: History::starting(&first),
            interpreters: Interpreters::default(),
            allowance: Watch::new(),
            own_pipes: OwnPipes::default(),
            ended: Vec::new(),
            forgotten: 0,
            begin_ns: first.taken_ns,
            own_before_ns: own_cpu_time_ns(),
            host_before: host(&first),
            alive: 0,
            listed: Instant::now(),
            wait_accounts,
        })
    }

    /// Whether every thread has a wait account, or why not.
    pub(crate) fn wait_accounts(&self) -> &Result<(), String> {
        &self.wait_accounts
    }

    /// Switches of the host since the programs were attached.
    pub(crate) fn host_switches(&self) -> HostSwitches {
        let mut sum = HostSwitches::default();
        for cpu in self.tracer.cpus() {
            sum.seen += cpu.switches;
            sum.unseen += cpu.switches_unseen;
        }
        sum
    }

    /// Takes a sample and returns every live thread.
    pub(crate) fn inspect(&mut self) -> Result<Vec<Thread>, KernelError> {
        let snapshot = self.tracer.last_snapshot()?;
        let threads = snapshot.live().cloned().collect();
        self.take(snapshot);
        Ok(threads)
    }

    /// Begins to trace these processes and all their descendants. Returns those of which no thread could be found.
    pub fn begin(&mut self, processes: &[Tgid]) -> Result<Vec<Tgid>, KernelError> {
        self.begin_ns = now_ns();
        self.own_before_ns = own_cpu_time_ns();
        self.tracer.seed(processes, WORKLOAD)?;
        let first = self.tracer.snapshot(Depth::Threads)?;
        self.timeline = Timeline::starting(&first);
        self.history = History::starting(&first);
        self.host_before = host(&first);
        self.alive = first.threads.len();
        self.locate_locks(&first);
        self.allowance.update(&first);
        let found: HashSet<Tgid> = first.threads.iter().map(Thread::tgid).collect();
        Ok(processes.iter().copied().filter(|tgid| !found.contains(tgid)).collect())
    }

    /// Traces these processes too, from now on, with their descendants. Those that are traced stay so.
    pub(crate) fn join(&mut self, processes: &[Tgid]) -> Result<(), KernelError> {
        // Before they are taken for newcomers.
        self.tracer.seed_again()?;
        self.tracer.seed(processes, WORKLOAD)
    }

    /// Takes a sample and returns how long to wait for the next one.
    pub fn sample(&mut self) -> Result<Duration, KernelError> {
        self.find_unseen()?;
        let snapshot = self.tracer.snapshot(Depth::Threads)?;
        self.locate_locks(&snapshot);
        self.allowance.update(&snapshot);
        self.own_pipes.update(&snapshot);
        let took_ns = now_ns().saturating_sub(snapshot.taken_ns);
        self.take(snapshot);
        Ok(Duration::from_nanos(self.timeline.bin_ns.max(took_ns * u64::from(SAMPLING_BUDGET))).min(MAX_PAUSE))
    }

    /// Looks for descendants whose fork was not seen: now and then, or each time if no fork can be seen.
    fn find_unseen(&mut self) -> Result<(), KernelError> {
        if self.listed.elapsed() >= LISTING_INTERVAL || !self.tracer.runs(program::SCHED_PROCESS_FORK) {
            self.tracer.seed_again()?;
            self.listed = Instant::now();
        }
        Ok(())
    }

    /// Threads alive at the last sample.
    pub fn alive(&self) -> usize {
        self.alive
    }

    /// Tells the kernel side where the traced Pythons keep their locks.
    fn locate_locks(&mut self, snapshot: &Snapshot) {
        for (tid, ranges) in self.interpreters.update(snapshot) {
            self.tracer.set_gil(tid, ranges);
        }
    }

    fn take(&mut self, snapshot: Snapshot) {
        self.timeline.feed(&snapshot);
        self.history.feed(&snapshot);
        self.alive = snapshot.live().count();
        self.ended.extend(snapshot.released);
        if self.ended.len() > MAX_ENDED {
            self.ended.sort_by_key(|thread| std::cmp::Reverse(thread.record.on_cpu_ns));
            self.forgotten += (self.ended.len() - MAX_ENDED / 2) as u64;
            self.ended.truncate(MAX_ENDED / 2);
        }
    }

    /// Detaches. The window ends with the last thread of `leader` if it has ended, else now.
    pub fn finish(mut self, leader: Option<Tgid>, subject: Subject) -> Result<Run, KernelError> {
        let snapshot = self.tracer.last_snapshot()?;
        self.aggregate.update(&snapshot);
        let (taken_ns, losses) = (snapshot.taken_ns, snapshot.losses());
        let host_after = host(&snapshot);
        // A slot freed by this very snapshot is in both lists.
        let released: HashSet<(Tid, u64)> = snapshot.released.iter().map(Thread::key).collect();
        let mut threads: Vec<Thread> =
            snapshot.threads.iter().filter(|thread| !released.contains(&thread.key())).cloned().collect();
        self.take(snapshot);
        threads.append(&mut self.ended);
        let of_leader = threads.iter().filter(|thread| Some(thread.tgid()) == leader && thread.has_ended());
        let end_ns = of_leader.map(|thread| thread.record.clock.since_ns).max().unwrap_or(taken_ns);
        let allowance = self.allowance.finish(&threads, taken_ns);
        // A host may have more CPUs than a set holds.
        let physical_cores = CpuSet::of_process(Tgid(std::process::id()))
            .map_or_else(|| self.topology.cores(self.topology.online().iter().copied()), |own| self.topology.cores(own.cpus()));
        Ok(Run {
            subject,
            begin_ns: self.begin_ns,
            end_ns,
            taken_ns,
            online: self.topology.online().to_vec(),
            physical_cores,
            totals: self.aggregate.totals(WORKLOAD).cloned().unwrap_or_default(),
            threads,
            threads_forgotten: self.forgotten,
            interpreters: self.interpreters,
            allowance,
            waiting_for_own_pipes: self.own_pipes.finish(),
            losses,
            timeline: self.timeline,
            history: self.history,
            host: HostCounters {
                idle_ns: host_after.idle_ns.saturating_sub(self.host_before.idle_ns),
                own_ns: own_cpu_time_ns().saturating_sub(self.own_before_ns),
                switches: host_after.switches - self.host_before.switches,
                switches_from_idle: host_after.switches_from_idle - self.host_before.switches_from_idle,
            },
            wait_accounts: self.wait_accounts,
            kernel: kernel_release_name(),
        })
    }
}

/// CPU time of this process.
fn own_cpu_time_ns() -> u64 {
    let time = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn host(snapshot: &Snapshot) -> HostCounters {
    let mut sum = HostCounters::default();
    for cpu in &snapshot.cpus {
        sum.idle_ns += cpu.idle_ns(snapshot.taken_ns);
        sum.switches += cpu.switches;
        sum.switches_from_idle += cpu.switches_from_idle;
    }
    sum
}
