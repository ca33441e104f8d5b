//! What the daemon knows between two events of its loop, and what each event does to it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::metrics::catalog::PYTHON_UNRESOLVED;
use anyhow::Result;

use super::{KernelSide, ProgramState};
use crate::{
    capture::{
        interpreters::Interpreters,
        snapshot::{Snapshot, WorkloadId},
    },
    config::Config,
    diagnose::live::Live,
    label::{
        NameSource, Scanner,
        proc::{CpuSet, read_identity},
    },
    metrics::{Collection, CpuTotals, Exposition, Metrics, Program, collect::Ledger},
    serve::{
        Gate, ProgramStatus, Request, Status, WorkloadStatus,
        history::{Figures, History, Reading, Row},
    },
};

/// Requests within this time of each other share one reading.
const SHARED_FOR: Duration = Duration::from_millis(250);
/// Every so many scans is a sample for the page: a second, and so a column of its map.
const SCANS_PER_SAMPLE: u32 = 4;

/// Places in [`crate::metrics::catalog::STAGES`].
#[derive(Clone, Copy)]
enum Stage {
    Snapshot = 0,
    Label = 1,
    ProgramCost = 2,
}

/// The daemon's state.
pub(super) struct Station<K> {
    kernel: K,
    gate: Gate,
    scanner: Scanner,
    interpreters: Interpreters,
    live: Live,
    ledger: Ledger,
    history: History,
    scans: u32,
    metrics: Metrics,
    collection: Collection,
    cost: Cost,
    exposition: Exposition,
    last: Option<(Instant, Result<Arc<str>, String>)>,
    kernel_release: String,
}

/// Cost of the programs over the windows in which it was measured.
#[derive(Default)]
struct Cost {
    /// Start of the open window and what the programs had cost then.
    open: Option<(Instant, Vec<ProgramState>)>,
    measured_ns: u64,
    /// Run time and runs of each program in the windows that have closed.
    closed: HashMap<&'static str, (u64, u64)>,
}

impl Cost {
    fn close(&mut self, now: &[ProgramState]) {
        let Some((since, before)) = self.open.take() else { return };
        self.measured_ns += u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for program in now {
            let Some(before) = before.iter().find(|before| before.name == program.name) else { continue };
            let sums = self.closed.entry(program.name).or_default();
            sums.0 += program.run_ns.saturating_sub(before.run_ns);
            sums.1 += program.runs.saturating_sub(before.runs);
        }
    }
}

impl<K: KernelSide> Station<K> {
    pub(super) fn new(kernel: K, config: Config, gate: Gate) -> Result<Station<K>> {
        Ok(Station {
            kernel,
            gate,
            scanner: Scanner::new(config.rules, config.max_workloads as usize),
            interpreters: Interpreters::default(),
            live: Live::default(),
            ledger: Ledger::default(),
            history: History::new(epoch(), crate::capture::kernel::now_ns()),
            scans: 0,
            metrics: Metrics::new()?,
            collection: Collection::default(),
            cost: Cost::default(),
            exposition: Exposition::default(),
            last: None,
            kernel_release: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        })
    }

    /// Labels what is new, and once a second takes a sample for the page.
    pub(super) fn scan(&mut self) {
        self.scans += 1;
        if self.scans.is_multiple_of(SCANS_PER_SAMPLE) {
            if let Err(error) = self.sample() {
                self.failed(Stage::Snapshot, &error);
            }
            return;
        }
        match self.kernel.threads() {
            Ok(snapshot) => {
                self.ledger.compare_ended(&snapshot);
                self.look(&snapshot);
            }
            Err(error) => self.failed(Stage::Label, &error),
        }
    }

    /// Reads the counters for the page, which shows what grew.
    fn sample(&mut self) -> Result<()> {
        let snapshot = self.kernel.snapshot()?;
        self.take_in(&snapshot);
        let row = |(id, name, source): (WorkloadId, &str, NameSource)| Row {
            name: name.to_owned(),
            source: source.name(),
            model: self.live.of(id).name(),
            figures: self.ledger.totals(id).map(|totals| Figures::of(totals, self.live.of(id))).unwrap_or_default(),
        };
        let rows = self.scanner.table().iter().map(row).collect();
        let cpus = self.cpus(&snapshot);
        self.history.push(Reading::new(&snapshot, &cpus, rows));
        Ok(())
    }

    /// Opens a window of cost measurement, or closes the open one. True if one is open now.
    pub(super) fn toggle_cost(&mut self) -> bool {
        let opening = self.cost.open.is_none();
        if opening {
            if let Err(error) = self.kernel.measure_cost(true) {
                self.failed(Stage::ProgramCost, &error);
                return false;
            }
            self.cost.open = Some((Instant::now(), self.kernel.programs()));
        } else {
            self.cost.close(&self.kernel.programs());
            if let Err(error) = self.kernel.measure_cost(false) {
                self.failed(Stage::ProgramCost, &error);
            }
        }
        opening
    }

    /// Answers a request. Whoever asked may be gone, which is no concern of ours.
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Metrics(reply) => drop(reply.send(self.text())),
            Request::History(position, reply) => drop(reply.send(self.history.after(position))),
            Request::Status(reply) => {
                let failure = self.text().err();
                drop(reply.send(self.status(failure)));
            }
        }
    }

    /// The text of the last reading if it is fresh, else of a new one.
    fn text(&mut self) -> Result<Arc<str>, String> {
        if let Some((_, text)) = self.last.as_ref().filter(|(at, _)| at.elapsed() < SHARED_FOR) {
            return text.clone();
        }
        let text = self.collect().map(Arc::from).map_err(|error| {
            self.failed(Stage::Snapshot, &error);
            format!("cannot read the counters: {error:#}")
        });
        self.last = Some((Instant::now(), text.clone()));
        text
    }

    fn collect(&mut self) -> Result<String> {
        let start = Instant::now();
        let snapshot = self.kernel.snapshot()?;
        let waiting = self.kernel.compare_waiting()?;
        self.take_in(&snapshot);
        let allowed = self.allowed_cpus();
        self.collection.count += 1;
        self.collection.duration_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.exposition = Exposition {
            workloads: self.ledger.workloads(
                self.scanner.table(),
                |id| allowed.get(&id).map(CpuSet::count),
                |id| self.live.of(id).name(),
            ),
            pythons: self.interpreters.alive(),
            pythons_unresolved: self.pythons_unresolved(),
            cpus: self.cpus(&snapshot),
            online_at_start: self.kernel.online_at_start(),
            losses: snapshot.losses(),
            ended: self.ledger.ended(),
            waiting,
            torn_records: self.ledger.torn_records(),
            programs: self.programs(),
            bpf_measured_ns: self.cost.measured_ns,
            workloads_folded: self.scanner.table().folded(),
            collection: self.collection,
            scrapes_refused: self.gate.refused(),
            daemon_cpu_ns: process_cpu_ns(),
        };
        Ok(self.metrics.text(self.exposition.clone())?)
    }

    /// Brings everything up to a full snapshot.
    fn take_in(&mut self, snapshot: &Snapshot) {
        self.ledger.update(snapshot);
        self.ledger.compare_ended(snapshot);
        self.look(snapshot);
    }

    fn cpus(&self, snapshot: &Snapshot) -> Vec<CpuTotals> {
        let places: Vec<_> = (0_u32..).zip(&snapshot.cpus).map(|(cpu, _)| self.kernel.place(cpu)).collect();
        self.ledger.cpus(&snapshot.cpus, &places)
    }

    /// Labels what is new, tells the kernel side where Pythons keep their locks, and names the models.
    fn look(&mut self, snapshot: &Snapshot) {
        self.label(snapshot);
        for (tid, ranges) in self.interpreters.update(snapshot) {
            self.kernel.set_gil(tid, ranges);
        }
        let cores = u32::try_from(snapshot.cpus.iter().filter(|cpu| cpu.switches > 0).count()).unwrap_or(u32::MAX);
        self.live.update(snapshot, cores.max(1), |tgid| self.interpreters.python(tgid));
    }

    fn pythons_unresolved(&self) -> [u64; PYTHON_UNRESOLVED.len()] {
        let counts = self.interpreters.unresolved();
        PYTHON_UNRESOLVED.map(|reason| counts.get(reason).copied().unwrap_or(0))
    }

    fn label(&mut self, snapshot: &Snapshot) {
        for (tid, workload) in self.scanner.scan(snapshot, read_identity) {
            self.kernel.set_workload(tid, workload);
        }
    }

    fn allowed_cpus(&self) -> HashMap<WorkloadId, CpuSet> {
        let mut allowed: HashMap<WorkloadId, CpuSet> = HashMap::new();
        for (tgid, workload) in self.scanner.processes() {
            if let Some(set) = CpuSet::of_process(tgid) {
                allowed.entry(workload).or_default().add(&set);
            }
        }
        allowed
    }

    fn programs(&self) -> Vec<Program> {
        let cost = |name| self.cost.closed.get(name).copied().unwrap_or_default();
        let program = |state: ProgramState| {
            let (run_ns, runs) = cost(state.name);
            Program { name: state.name, attached: state.failure.is_none(), run_ns, runs, recursion_misses: state.recursion_misses }
        };
        self.kernel.programs().into_iter().map(program).collect()
    }

    fn status(&self, failure: Option<String>) -> Status {
        let workloads = self.exposition.workloads.iter().map(|workload| WorkloadStatus {
            name: workload.name.clone(),
            source: workload.source.name(),
            model: workload.model,
            processes: workload.totals.processes,
            threads: workload.totals.threads,
        });
        let programs = self.kernel.programs().into_iter().map(|state| ProgramStatus {
            name: state.name,
            attached: state.failure.is_none(),
            failure: state.failure,
        });
        let losses = self.exposition.losses.by_reason().filter(|(_, count)| *count > 0);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            kernel: self.kernel_release.clone(),
            failure,
            programs: programs.collect(),
            workloads: workloads.collect(),
            workloads_folded: self.exposition.workloads_folded,
            losses: losses.map(|(reason, count)| (reason.name(), count)).collect(),
        }
    }

    /// Counts a failure, and logs the first of its stage; more of the same would only fill the log.
    fn failed(&mut self, stage: Stage, error: &anyhow::Error) {
        let count = &mut self.collection.errors[stage as usize];
        *count += 1;
        if *count == 1 {
            tracing::error!("{error:#}; schedscope_collection_errors_total counts further failures");
        }
    }
}

/// A number that the daemon before did not have, nor will the next: when this one began, in milliseconds, which a browser can hold.
fn epoch() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}

/// CPU time of this process.
fn process_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux, and the destination is a whole timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
