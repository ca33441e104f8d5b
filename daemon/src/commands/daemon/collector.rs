//! What the daemon knows: which processes there are, what they have done, and how the last reading went. It reads no map: it is
//! given readings, and returns orders for the kernel side.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use prometheus::process_collector::ProcessCollector;
use rustix::time::{ClockId, clock_gettime};
use schedscope_ebpf::residual::Residuals;

use crate::capture::allowance::{Allowances, CpuSet};
use crate::capture::interpreters::{Interpreters, Told};
use crate::capture::kernel::{ProgramCost, ProgramStatus, now_ns};
use crate::capture::preflight::kernel_release_name;
use crate::capture::snapshot::{Cpu, Snapshot, WorkloadId};
use crate::capture::topology::Topology;
use crate::config::Config;
use crate::diagnose::LostCause;
use crate::diagnose::live::{Known, Last, Live};
use crate::label::containers::Containers;
use crate::label::identity::Identity;
use crate::label::owners::OwnerOrders;
use crate::label::proc::read_identity;
use crate::label::table::Entry;
use crate::label::{Move, Rules, Scanner};
use crate::metrics::exposition::{Collection, CpuTotals, Exposition, Program, Workload};
use crate::metrics::host_totals::HostTotals;
use crate::metrics::labels::{Refusal, Stage};
use crate::metrics::text;
use crate::report::answer;
use crate::report::schema::Model;
use crate::serve::handle::{self, LastReading, Status, WorkloadStatus};
use crate::serve::history::{Figures, History, LastWindow, Reading, Row};

/// What `/status` says then.
const READER_FAILURE: &str = "the processes that read others cannot be killed: they wait for a file system that does not answer; no other process is read \
     until one of them ends";

/// What the kernel side has to be told about threads.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Those that another workload counts from now on.
    pub(super) moves: Vec<Move>,
    /// Where their processes keep their interpreters' locks.
    pub(super) locks: Told,
    /// Which program belongs where.
    pub(super) owners: OwnerOrders,
}

/// What a scrape needs besides what is known. Collecting began at `begin`.
pub(super) struct Scrape<'a> {
    pub(super) begin: Instant,
    /// Comparison of waiting threads with the kernel's counts.
    pub(super) waiting: Residuals,
    pub(super) programs: &'a [ProgramStatus],
    pub(super) costs: &'a [ProgramCost],
    pub(super) refused: [u64; Refusal::ALL.len()],
}

pub(super) struct Collector {
    topology: Topology,
    scanner: Scanner,
    interpreters: Interpreters,
    live: Live,
    allowances: Allowances,
    totals: HostTotals,
    pub(super) history: History,
    /// When this one began, by the clock of the snapshots,
    began_ns: u64,
    /// and when that clock did, in nanoseconds since 1970. Looked at once, so that what began at one time is not told to have begun at
    /// another.
    clock_began_ns: u64,
    collection: Collection,
    pub(super) cost: Cost,
    process: ProcessCollector,
    pub(super) last_reading: Option<LastReading>,
}

/// Cost of the programs over the windows in which it was measured.
#[derive(Default)]
pub(super) struct Cost {
    /// Start of the open window and what the programs had cost then.
    open: Option<(Instant, Vec<ProgramCost>)>,
    measured: Duration,
    /// Why it is never measured.
    pub(super) unmeasured: Option<String>,
    /// Run time and runs of each program in the windows that have closed.
    closed: HashMap<&'static str, (u64, u64)>,
}

impl Cost {
    pub(super) fn open(&mut self, at: Instant, costs: Vec<ProgramCost>) {
        self.open = Some((at, costs));
    }

    pub(super) fn close(&mut self, at: Instant, costs: &[ProgramCost]) {
        let Some((since, before)) = self.open.take() else { return };
        self.measured += at - since;
        for program in costs {
            let Some(before) = before.iter().find(|before| before.name == program.name) else { continue };
            let sums = self.closed.entry(program.name).or_default();
            sums.0 += program.run_ns.saturating_sub(before.run_ns);
            sums.1 += program.runs.saturating_sub(before.runs);
        }
    }

    fn of(&self, status: &ProgramStatus, costs: &[ProgramCost]) -> Program {
        let (run_ns, runs) = self.closed.get(status.name).copied().unwrap_or_default();
        let recursion_misses = costs.iter().find(|cost| cost.name == status.name).map_or(0, |cost| cost.recursion_misses);
        let cost = ProgramCost { name: status.name, run_ns, runs, recursion_misses };
        Program { attached: status.failure.is_none(), cost }
    }
}

impl Collector {
    pub(super) fn new(config: Config, topology: Topology, interpreters: Interpreters) -> Collector {
        Collector {
            topology,
            scanner: Scanner::new(config.rules, Containers::of_host(config.host_root), config.max_workloads as usize),
            interpreters,
            live: Live::default(),
            allowances: Allowances::new(),
            totals: HostTotals::default(),
            history: History::new(epoch(), now_ns()),
            began_ns: now_ns(),
            clock_began_ns: unix_ns().saturating_sub(now_ns()),
            collection: Collection::default(),
            cost: Cost::default(),
            process: ProcessCollector::for_self(),
            last_reading: None,
        }
    }

    /// Adds a reading: to the totals, the names, the interpreters and the models.
    pub(super) fn take(&mut self, stage: Stage, reading: Result<Snapshot>) -> Result<(Snapshot, Orders), String> {
        let reading = reading.map_err(|error| {
            self.failed(stage, &error);
            format!("cannot read the counters: {error:#}")
        });
        self.last_reading = Some(LastReading { at: Instant::now(), failure: reading.as_ref().err().cloned() });
        let mut snapshot = reading?;
        // Before names are given: what is known of a program before an exec is not that of the one after it.
        let locks = self.interpreters.update(&snapshot);
        self.name_learned();
        // Before anything is counted: what the kernel side has counted provisionally belongs to a name from now on.
        let interpreters = &self.interpreters;
        let moves = self.scanner.scan(&snapshot, |tgid| {
            let script = interpreters.script(tgid).map(str::to_owned);
            Some(Identity { script, ..read_identity(tgid)? })
        });
        let owners = self.scanner.settle(&mut snapshot, now_ns());
        self.totals.update(&snapshot);
        let cpus: Vec<u32> = (0..).zip(&snapshot.cpus).filter(|(_, totals)| totals.switches > 0).map(|(cpu, _)| cpu).collect();
        let known = Known {
            cpus: u32::try_from(cpus.len()).unwrap_or(u32::MAX).max(1),
            physical_cores: self.topology.cores(cpus.into_iter()).max(1),
            totals: &|workload| self.totals.workload(workload),
            python: &|tgid| self.interpreters.python(tgid),
        };
        self.live.update(&snapshot, &known, |programs| self.allowances.look(programs));
        for workload in &owners.retired {
            self.totals.forget(*workload);
            self.live.forget(*workload);
        }
        Ok((snapshot, Orders { moves, locks, owners }))
    }

    /// Takes the rules of another configuration. Returns the names for which there is no room.
    pub(super) fn adopt(&mut self, rules: Rules) -> Vec<String> {
        self.scanner.adopt(rules, now_ns())
    }

    /// A process was moved to this workload that did not come there by an exec.
    pub(super) fn count_start(&mut self, workload: WorkloadId) {
        self.scanner.count_start(workload);
    }

    /// Takes in what is known of interpreters since the last reading. Returns whether a process may have another name for it.
    pub(super) fn hear_reader(&mut self) -> (Told, bool) {
        let told = self.interpreters.hear(now_ns());
        (told, self.name_learned())
    }

    fn name_learned(&mut self) -> bool {
        let learned = self.interpreters.take_learned();
        for tgid in &learned {
            self.scanner.name_anew(*tgid);
        }
        !learned.is_empty()
    }

    /// Counts a failure, and logs the first of each stage; more of the same would only fill the log.
    pub(super) fn failed(&mut self, stage: Stage, error: &anyhow::Error) {
        let count = &mut self.collection.errors[stage as usize];
        *count += 1;
        if *count == 1 {
            tracing::error!("{error:#}; schedscope_collection_errors_total counts further failures");
        }
    }

    pub(super) fn text(&mut self, scrape: &Scrape<'_>) -> prometheus::Result<String> {
        let allowed = self.allowed_cpus();
        self.collection.count += 1;
        self.collection.duration_ns = ns(scrape.begin.elapsed());
        let workload = |Entry { id, name, source, origin, since_ns, .. }| {
            let (totals, allowed_cpus) = (self.totals.workload(id)?, allowed.get(&id).map(CpuSet::count));
            let began_ns = self.clock_began_ns + since_ns.max(self.began_ns);
            let (model, lost) = (self.live.of(id), self.live.lost(id));
            let (pod_uid, image) = (origin.pod_uid.as_deref(), origin.image.as_deref());
            Some(Workload { name, source, pod_uid, image, began_ns, allowed_cpus, model, lost, totals })
        };
        let reader = self.interpreters.reader_health();
        let own_cpu = clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default();
        let exposition = Exposition {
            workloads: self.scanner.table().iter().filter_map(workload).collect(),
            pythons: self.interpreters.alive(),
            pythons_unresolved: self.interpreters.unresolved(),
            reader,
            cpus: self.cpus(),
            online_at_start: self.topology.online().iter().copied().map(Cpu).collect(),
            losses: self.totals.losses,
            ended: self.totals.ended,
            waiting: scrape.waiting,
            torn_records: self.totals.torn_records,
            programs: scrape.programs.iter().map(|status| self.cost.of(status, scrape.costs)).collect(),
            bpf_measured_ns: self.cost.unmeasured.is_none().then(|| ns(self.cost.measured)),
            workloads_folded: self.scanner.table().folded(),
            workloads_ended: self.scanner.table().ended(),
            collection: self.collection,
            refused: scrape.refused,
            daemon_cpu_ns: ns(own_cpu) + reader.cpu_ns,
        };
        text::encode(&exposition, &self.process)
    }

    pub(super) fn sample(&mut self, snapshot: &Snapshot) {
        let row = |Entry { id, key, name, source, .. }: Entry<'_>| {
            let model = self.live.of(id);
            let totals = self.totals.workload(id).map(|totals| Figures::of(totals, model)).unwrap_or_default();
            let last_window = self.live.last(id).map(last_window);
            (key, Row { name: name.to_owned(), source, model, totals, last_window })
        };
        self.history.push(Reading {
            taken_ns: snapshot.taken_ns,
            idle_ns: self.cpus().iter().map(|cpu| (cpu.cpu.0, cpu.idle_ns)).collect(),
            rows: self.scanner.table().iter().map(row).collect(),
            losses: snapshot.losses(),
        });
    }

    pub(super) fn status(&self, programs: &[ProgramStatus]) -> Status {
        let workload = |Entry { id, name, source, .. }: Entry<'_>| {
            let (processes, threads) = self.totals.workload(id).map_or((0, 0), |totals| (totals.processes, totals.threads));
            let last_window = self.live.last(id).map(last_window);
            WorkloadStatus { name: name.to_owned(), source, model: self.live.of(id), processes, threads, last_window }
        };
        let program = |program: &ProgramStatus| {
            let failure = program.failure.clone();
            handle::ProgramStatus { name: program.name, attached: failure.is_none(), failure }
        };
        let losses = self.totals.losses;
        let last_reading = self.last_reading.as_ref();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            kernel: kernel_release_name(),
            reading_age_seconds: last_reading.map(|reading| reading.at.elapsed().as_secs_f64()),
            failure: last_reading.and_then(|reading| reading.failure.clone()),
            cost_failure: self.cost.unmeasured.clone(),
            reader_failure: self.interpreters.reader_health().has_given_up.then_some(READER_FAILURE),
            programs: programs.iter().map(program).collect(),
            workloads: self.scanner.table().iter().map(workload).collect(),
            workloads_folded: self.scanner.table().folded(),
            losses: losses.by_reason().filter(|(_, count)| *count > 0).map(|(loss, count)| (loss.name(), count)).collect(),
        }
    }

    fn cpus(&self) -> Vec<CpuTotals> {
        self.totals.cpus(|cpu| self.topology.place(cpu))
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
}

/// The same words as in the report of a run.
fn last_window(Last { wall_ns, diagnosis, wakeup_p99_ns }: &Last) -> LastWindow {
    let Model { limit, sentence, advice, .. } = answer::model(diagnosis);
    let cores = &diagnosis.cores;
    let lost_ns = cores.lost.iter().map(|(cause, ns)| (LostCause::from(*cause).name(), *ns)).collect();
    LastWindow {
        wall_ns: *wall_ns,
        limit,
        sentence,
        advice,
        given_ns: cores.given_ns,
        used_ns: cores.used_ns,
        lost_ns,
        wakeup_p99_ns: *wakeup_p99_ns,
    }
}

/// Differs for every start of the daemon: its time in milliseconds, a number that JavaScript can hold.
fn epoch() -> u64 {
    unix_ns() / 1_000_000
}

fn unix_ns() -> u64 {
    ns(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use schedscope_ebpf::abi::Cell;
    use schedscope_ebpf::task_clock::Phase;

    use super::*;
    use crate::capture::snapshot::Tid;
    use crate::capture::snapshot::tests::thread;

    const HOUR_NS: u64 = 3_600_000_000_000;

    /// Under a service manager the test belongs to that unit, so a rule names it.
    fn collector() -> Collector {
        let rules = "[[workload]]\nname = \"this test\"\nmatch = { exe = \"*\" }\n";
        Collector::new(Config::parse(rules).unwrap(), Topology::default(), Interpreters::default())
    }

    fn cell(on_cpu_ns: u64) -> Cell {
        Cell { on_cpu_ns, ..Cell::default() }
    }

    /// This process has run for an hour on the only CPU, and its workload and `other` have cells.
    fn snapshot() -> Snapshot {
        let cells = vec![vec![cell(7_000_000_000), cell(2_000_000_000)]];
        let cpu = schedscope_ebpf::abi::CpuRecord { switches: 10, switches_from_idle: 4, ..Default::default() };
        let mut own = thread(std::process::id(), Phase::Running);
        own.record.workload = 0;
        own.record.clock.since_ns = HOUR_NS;
        own.record.on_cpu_ns = HOUR_NS;
        Snapshot { taken_ns: HOUR_NS, cells, cpus: vec![cpu], threads: vec![own], ..Snapshot::default() }
    }

    fn programs() -> [ProgramStatus; 2] {
        let program = |name, failure| ProgramStatus { name, failure, verified_instructions: None };
        [program("sched_switch", None), program("sched_waking", Some("this kernel has no such hook".to_owned()))]
    }

    fn text(collector: &mut Collector) -> String {
        let scrape = Scrape {
            begin: Instant::now(),
            waiting: Residuals::default(),
            programs: &programs(),
            costs: &[],
            refused: Default::default(),
        };
        collector.text(&scrape).unwrap()
    }

    fn assert_has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.contains(&format!("\n{line}\n")), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_busy_process_is_labelled_and_shown() {
        let mut collector = collector();
        let (_, orders) = collector.take(Stage::Snapshot, Ok(snapshot())).unwrap();
        let moved = Move { tid: Tid(std::process::id()), to: WorkloadId(1), start_of: None };
        assert_eq!(orders.moves, [moved]);
        let lines = [
            "schedscope_workload_on_cpu_seconds_total{workload=\"this test\",cpu=\"0\"} 2",
            "schedscope_workload_on_cpu_seconds_total{workload=\"other\",cpu=\"0\"} 7",
            "schedscope_cpu_context_switches_total{cpu=\"0\",kind=\"from_task\"} 6",
            "schedscope_bpf_program_attached{program=\"sched_switch\"} 1",
            "schedscope_bpf_program_attached{program=\"sched_waking\"} 0",
        ];
        assert_has(&text(&mut collector), &lines);
        let status = serde_json::to_value(collector.status(&programs())).unwrap();
        assert_eq!(status["workloads"][1]["name"], "this test");
        assert_eq!(status["programs"][1]["failure"], "this kernel has no such hook");
    }

    #[test]
    fn a_reading_that_fails_is_reported_until_one_works() {
        let mut collector = collector();
        assert!(collector.last_reading.is_none());
        assert!(collector.take(Stage::Snapshot, Err(anyhow::anyhow!("the maps are gone"))).is_err());
        let failure = Some("cannot read the counters: the maps are gone".to_owned());
        assert_eq!(collector.last_reading.as_ref().unwrap().failure, failure);
        assert_eq!(collector.status(&[]).failure, failure);
        collector.take(Stage::Label, Ok(snapshot())).unwrap();
        assert!(collector.last_reading.as_ref().unwrap().failure.is_none());
        assert!(collector.status(&[]).reading_age_seconds.is_some_and(|age| age < 60.0));
        assert_has(&text(&mut collector), &["schedscope_collection_errors_total{stage=\"snapshot\"} 1"]);
    }

    #[test]
    fn cost_is_that_of_the_windows() {
        let mut collector = collector();
        let cost = |runs| vec![ProgramCost { name: "sched_switch", run_ns: runs * 70, runs, recursion_misses: 0 }];
        let begin = Instant::now();
        for (opened_at, runs) in [(0, 100), (60, 500)] {
            collector.cost.open(begin + Duration::from_secs(opened_at), cost(runs));
            collector.cost.close(begin + Duration::from_secs(opened_at + 1), &cost(runs + 10));
        }
        collector.take(Stage::Snapshot, Ok(snapshot())).unwrap();
        let lines = [
            "schedscope_bpf_measured_seconds_total 2",
            "schedscope_bpf_program_runs_total{program=\"sched_switch\"} 20",
            "schedscope_bpf_program_run_seconds_total{program=\"sched_switch\"} 0.0000014",
        ];
        assert_has(&text(&mut collector), &lines);
    }
}
