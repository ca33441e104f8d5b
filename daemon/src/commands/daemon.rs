//! `schedscope daemon`: traces every task of the host until it is told to stop, and serves the counts. [`TracedHost`] is all of it but
//! the serving.
//!
//! One thread does everything but serve: it labels new processes four times a second, takes a sample for the page once a second,
//! and reads the counters for each scrape.

mod collector;

use std::collections::HashSet;
use std::future::pending;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::body::Bytes;
use collector::{Collector, Scrape};
use schedscope_ebpf::residual::Residuals;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{self, MissedTickBehavior, interval, sleep_until};

use crate::capture::capabilities::{self, STATISTICS};
use crate::capture::interpreters::Interpreters;
use crate::capture::kernel::{Depth, KernelError, Sizes, StatsGuard, Tracer, enable_stats};
use crate::capture::preflight::{self, Verdict};
use crate::capture::reader;
use crate::capture::snapshot::Snapshot;
use crate::capture::topology::Topology;
use crate::config::{Config, OwnCost};
use crate::label::Move;
use crate::label::owners::OwnerOrders;
use crate::label::table::OTHER_ID;
use crate::metrics::labels::Stage;
use crate::serve::web::WebConfig;
use crate::serve::{self, LoopHandle, Request, Server};

/// Time between two looks for new processes.
const SCAN_INTERVAL: Duration = Duration::from_millis(250);
/// The same while programs run that were met just now: their provisional workloads are wanted for others. Longer than it takes until one
/// can be handed back. And until the scan that moves scripts whose names became known.
const SCAN_AGAIN: Duration = Duration::from_millis(60);
/// Scans per sample for the page. A sample is a second and a column of its map.
const SCANS_PER_SAMPLE: u32 = 4;
/// Readings per listing of the host's tasks. A fork whose event was missed leaves a tree untraced until the next one; listing costs
/// a tenth of a microsecond per thread.
const READINGS_PER_LISTING: u32 = 4;
/// Programs, met for the first time, that can be told apart until they are read: this many on a host with few CPUs. Each takes 6 KiB on each
/// CPU.
const MOST_PROVISIONAL: u32 = 64;
/// The same on a host with many, all of which together would take more than those on the smaller host.
const LEAST_PROVISIONAL: u32 = 16;
/// Provisional workloads times CPUs where that lies between the two: 6 MiB.
const PROVISIONAL_CELLS: u32 = 1024;
/// Scans between two times that free memory is given back, which takes a millisecond where there is much: ten seconds.
const SCANS_PER_TRIM: u32 = 40;
/// Scrapes within this time of each other share a reading.
const SHARED_FOR: Duration = Duration::from_millis(250);

/// Arguments of `schedscope daemon`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DaemonArgs {
    /// Configuration file; without one every process belongs to its systemd unit, container, script or executable.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to serve /metrics on [default: 127.0.0.1:9752, or that of the configuration].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Encryption and passwords, in the format of Prometheus's web configuration file. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub(crate) web_config: Option<PathBuf>,
    /// Listen on an address that other hosts can reach, even without encryption and passwords.
    #[arg(long)]
    pub(crate) allow_remote: bool,
}

/// Runs the daemon until SIGTERM or SIGINT; SIGHUP has it read its configuration again. `program` is this very program, for the process that reads others.
pub fn run(args: &DaemonArgs, program: &Path) -> Result<()> {
    let config = args.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
    let web = args.web_config.as_deref().map_or_else(|| Ok(WebConfig::default()), WebConfig::read)?;
    let listener = serve::listen(args.listen.unwrap_or(config.listen), args.allow_remote, &web)?;
    let host = TracedHost::start(config, args.config.as_deref(), program)?;
    event_loop()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        let hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
        tracing::info!("serving {}://{}/", web.scheme(), listener.local_addr().context("cannot serve")?);
        let server = Server::start(listener, host.handle(), web).context("cannot start the server")?;
        let told_to_end = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        notify(sd_notify::NotifyState::Ready);
        host.follow(Some(hangup), told_to_end).await?;
        notify(sd_notify::NotifyState::Stopping);
        drop(server);
        Ok(())
    })
}

/// What [`TracedHost::follow`] runs on: one thread.
pub(crate) fn event_loop() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}

/// A host whose tasks are all traced; whoever has the handle can ask what is known.
pub(crate) struct TracedHost {
    daemon: Daemon,
    requests: mpsc::Receiver<Request>,
    /// Readable when the process that reads others has said something.
    heard: OwnedFd,
}

impl TracedHost {
    /// Begins to trace. Gives up every capability that this does not take from then on: call it before there are other threads, which would
    /// keep theirs. `file` is where `config` comes from, to be read again.
    pub(crate) fn start(config: Config, file: Option<&Path>, program: &Path) -> Result<TracedHost> {
        let topology = super::require_host()?;
        let tracer = trace(&config, &topology)?;
        for lack in preflight::rights().filter(|finding| finding.verdict == Verdict::Degraded) {
            tracing::warn!("{} is missing: {}", lack.what, lack.detail);
        }
        for lack in [preflight::cgroup_namespace(), preflight::kernel_locks()] {
            if lack.verdict == Verdict::Degraded {
                tracing::warn!("{}: {}", lack.what, lack.detail);
            }
        }
        let (handle, requests) = LoopHandle::new();
        let can_measure = capabilities::has(STATISTICS.1);
        let own_cost = config.own_cost.filter(|_| can_measure);
        let begun_with = Fixed::of(&config);
        let file = file.map(|path| ConfigFile { path: path.to_owned(), begun_with, can_measure: own_cost.is_some() });
        let unmeasured = (config.own_cost.is_some() && !can_measure).then(|| format!("{} is missing", STATISTICS.0));
        capabilities::drop_all_but_for_serving(own_cost.is_some()).context("cannot give up capabilities")?;
        let reader = reader::Client::new(program.to_owned()).context("cannot prepare to read other processes")?;
        let heard = reader.events().try_clone_to_owned().context("cannot prepare to read other processes")?;
        let mut collector = Collector::new(config, topology, Interpreters::read_by(Box::new(reader)));
        collector.cost.unmeasured = unmeasured;
        let daemon = Daemon {
            tracer,
            statistics: None,
            readings: 0,
            collector,
            handle,
            file,
            own_cost,
            scans: 0,
            look_again: None,
            has_looked_for_scripts: false,
            scraped: None,
        };
        Ok(TracedHost { daemon, requests, heard })
    }

    /// By which what is known can be asked for while it is followed.
    pub(crate) fn handle(&self) -> LoopHandle {
        self.daemon.handle.clone()
    }

    /// Scans, measures and answers until `end` is ready. At each `hangup` the configuration is read again.
    pub(crate) async fn follow(self, mut hangup: Option<Signal>, end: impl Future<Output = ()>) -> Result<()> {
        let TracedHost { mut daemon, mut requests, heard } = self;
        let mut scans = interval(SCAN_INTERVAL);
        scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // SAFETY: it owns the descriptor, and nothing else closes it.
        let heard = unsafe { AsyncFd::register_with_interest(heard, Interest::READABLE) }
            .context("cannot listen to the process that reads others")?;
        let mut cost_change = time::Instant::now();
        let mut end = pin!(end);
        loop {
            let look_again = daemon.look_again;
            tokio::select! {
                () = &mut end => return Ok(()),
                () = comes(&mut hangup) => daemon.read_configuration(),
                _ = scans.tick() => daemon.scan(),
                () = sleep_until(look_again.unwrap_or_else(time::Instant::now)), if look_again.is_some() => daemon.look(),
                Some(request) = requests.recv() => daemon.answer(request),
                Ok(mut ready) = heard.readable() => {
                    // Before it is read: what comes later makes it ready again.
                    ready.clear_ready();
                    daemon.hear_reader();
                }
                () = sleep_until(cost_change), if daemon.own_cost.is_some() => {
                    let Some(OwnCost { window, every }) = daemon.own_cost else { continue };
                    cost_change += if daemon.toggle_cost() { window } else { every.saturating_sub(window) };
                }
            }
        }
    }
}

/// Waits for a signal, for ever if it is not wanted.
async fn comes(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Loads the programs and begins to trace every task; all belong to `other` until they are labelled.
fn trace(config: &Config, topology: &Topology) -> Result<Tracer> {
    let sizes = Sizes {
        workloads: config.max_workloads + 1,
        provisional: (PROVISIONAL_CELLS / topology.possible().max(1)).clamp(LEAST_PROVISIONAL, MOST_PROVISIONAL),
        tasks: config.max_threads,
        thread_by_core: false,
        wait_accounts: false,
        samples: false,
    };
    let mut tracer = Tracer::start(sizes, topology)?;
    tracer.seed_all(OTHER_ID)?;
    // Loading parses some 6 MB of type information.
    give_back_memory();
    Ok(tracer)
}

/// Returns memory that is free to the kernel. The C library would keep tens of megabytes for as long as something behind them is in use.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only returns free memory to the kernel, and takes no pointer.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The configuration that the daemon began with.
struct ConfigFile {
    path: PathBuf,
    begun_with: Fixed,
    /// The right to turn the kernel's statistics on was kept.
    can_measure: bool,
}

/// What cannot change while the daemon runs.
struct Fixed {
    listen: SocketAddr,
    max_workloads: u32,
    max_threads: u32,
    host_root: PathBuf,
}

impl Fixed {
    fn of(config: &Config) -> Fixed {
        let Config { listen, max_workloads, max_threads, ref host_root, .. } = *config;
        Fixed { listen, max_workloads, max_threads, host_root: host_root.clone() }
    }

    /// What is another in `now`, as the configuration calls it.
    fn changes(&self, now: &Fixed) -> Vec<&'static str> {
        let differs = [
            ("listen", self.listen != now.listen),
            ("max_workloads", self.max_workloads != now.max_workloads),
            ("max_threads", self.max_threads != now.max_threads),
            ("host_root", self.host_root != now.host_root),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// What lasts from one event of the loop to the next.
struct Daemon {
    tracer: Tracer,
    /// Keeps the kernel's BPF statistics on for a window of cost measurement.
    statistics: Option<StatsGuard>,
    readings: u32,
    collector: Collector,
    handle: LoopHandle,
    /// What to read again, if there is a file.
    file: Option<ConfigFile>,
    own_cost: Option<OwnCost>,
    scans: u32,
    /// When to look again before the next scan.
    look_again: Option<time::Instant>,
    /// That was for scripts since the last scan.
    has_looked_for_scripts: bool,
    /// The text that scrapes share.
    scraped: Option<(Instant, Result<Bytes, String>)>,
}

impl Daemon {
    /// Takes in what can change while it runs; all that was counted stays. A file that is wrong changes nothing.
    fn read_configuration(&mut self) {
        let Some(file) = &self.file else {
            tracing::warn!("SIGHUP: there is no configuration to read again; start it with --config");
            return;
        };
        let config = match Config::read(&file.path) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!("the configuration stays as it was: {error:#}");
                self.collector.failed(Stage::Configuration, &error);
                return;
            }
        };
        for what in file.begun_with.changes(&Fixed::of(&config)) {
            tracing::warn!("{what} has changed, which takes a restart");
        }
        if config.own_cost.is_some() && !file.can_measure {
            tracing::warn!("own_cost was off, and the right to measure it was given up; to turn it on takes a restart");
        }
        tracing::info!("read {} again", file.path.display());
        self.own_cost = config.own_cost.filter(|_| file.can_measure);
        if self.own_cost.is_none() && self.statistics.is_some() {
            self.toggle_cost();
        }
        for name in self.collector.adopt(config.rules) {
            tracing::warn!("there is no room for series of {name}; it counts as other until a restart");
        }
    }

    /// Labels new processes, and once a second takes a sample for the page. A failure is counted, and the next scan tries again.
    fn scan(&mut self) {
        self.scans += 1;
        self.has_looked_for_scripts = false;
        if self.scans.is_multiple_of(SCANS_PER_SAMPLE) {
            let reading = self.read(Depth::Full);
            if let Ok(snapshot) = self.take(Stage::Snapshot, reading) {
                self.collector.sample(&snapshot);
            }
        } else {
            self.look();
        }
        // On a large host it is a megabyte.
        self.scraped = self.scraped.take().filter(|(at, _)| at.elapsed() < SHARED_FOR);
        if self.scans.is_multiple_of(SCANS_PER_TRIM) {
            give_back_memory();
        }
    }

    /// Labels new processes.
    fn look(&mut self) {
        let reading = self.read(Depth::Threads);
        let _ = self.take(Stage::Label, reading);
    }

    /// Reads the threads, and with [`Depth::Full`] the workloads' counters.
    fn read(&mut self, depth: Depth) -> Result<Snapshot, KernelError> {
        self.readings += 1;
        if self.readings.is_multiple_of(READINGS_PER_LISTING) {
            self.tracer.seed_again()?;
        }
        self.tracer.snapshot(depth)
    }

    /// Adds a reading, and tells the programs what follows from it. Threads that have ended meanwhile are left alone.
    fn take(&mut self, stage: Stage, reading: Result<Snapshot, KernelError>) -> Result<Snapshot, String> {
        self.look_again = None;
        let (snapshot, orders) = self.collector.take(stage, reading.map_err(Into::into))?;
        if !snapshot.provisional.is_empty() {
            self.look_again = Some(time::Instant::now() + SCAN_AGAIN);
        }
        let mut started = HashSet::new();
        for Move { tid, to, start_of } in orders.moves {
            let goes_on = self.tracer.set_workload(tid, to);
            // One that has called exec meanwhile was counted there.
            if goes_on && start_of.is_some_and(|process| started.insert(process)) {
                self.collector.count_start(to);
            }
        }
        for (tid, ranges) in orders.locks {
            self.tracer.set_gil(tid, ranges);
        }
        if let Err(error) = self.settle(&orders.owners) {
            self.collector.failed(stage, &error.into());
        }
        Ok(snapshot)
    }

    /// Tells the programs what the process that reads others has found.
    fn hear_reader(&mut self) {
        let (told, is_one_named) = self.collector.hear_reader();
        for (tid, ranges) in told {
            self.tracer.set_gil(tid, ranges);
        }
        // Once between two scans: where scripts begin all the time, a look for each would cost too much.
        if is_one_named && !mem::replace(&mut self.has_looked_for_scripts, true) {
            self.look_again.get_or_insert_with(|| time::Instant::now() + SCAN_AGAIN);
        }
    }

    fn settle(&mut self, orders: &OwnerOrders) -> Result<(), KernelError> {
        for key in &orders.forgotten {
            self.tracer.forget_owner(key)?;
        }
        for (key, owner) in &orders.known {
            self.tracer.set_owner(key, *owner)?;
        }
        for (tid, workload) in &orders.moves {
            self.tracer.set_workload(*tid, *workload);
        }
        for workload in &orders.retired {
            self.tracer.retire(*workload)?;
        }
        Ok(())
    }

    /// Opens a window of cost measurement, or closes the open one. True if one is open now.
    fn toggle_cost(&mut self) -> bool {
        if self.statistics.is_some() {
            // Read while statistics are still on: the window ends with the last run that they count.
            self.collector.cost.close(Instant::now(), &self.tracer.costs());
            self.statistics = None;
            return false;
        }
        match enable_stats() {
            Ok(guard) => {
                self.statistics = Some(guard);
                self.collector.cost.open(Instant::now(), self.tracer.costs());
            }
            Err(error) => self.collector.failed(Stage::ProgramCost, &error.into()),
        }
        self.statistics.is_some()
    }

    /// Answers a request: `/metrics` from a reading, anything else from what is known. The client may be gone.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Metrics(reply) => drop(reply.send(self.scrape())),
            Request::History(position, reply) => drop(reply.send(self.collector.history.after(position))),
            Request::Status(reply) => drop(reply.send(self.collector.status(self.tracer.programs()))),
            Request::Health(reply) => drop(reply.send(self.collector.last_reading.clone())),
        }
    }

    /// The text of the last scrape if it is fresh, else of a new one.
    fn scrape(&mut self) -> Result<Bytes, String> {
        if let Some((_, text)) = self.scraped.as_ref().filter(|(at, _)| at.elapsed() < SHARED_FOR) {
            return text.clone();
        }
        let text = self.collect();
        self.scraped = Some((Instant::now(), text.clone()));
        text
    }

    fn collect(&mut self) -> Result<Bytes, String> {
        let begin = Instant::now();
        let mut waiting = Residuals::default();
        let reading = self.read(Depth::Full).and_then(|snapshot| {
            waiting = self.tracer.compare_waiting()?;
            Ok(snapshot)
        });
        self.take(Stage::Snapshot, reading)?;
        let scrape = Scrape {
            begin,
            waiting,
            programs: self.tracer.programs(),
            costs: &self.tracer.costs(),
            refused: self.handle.refused(),
        };
        self.collector.text(&scrape).map(Bytes::from).map_err(|error| format!("cannot write the metrics: {error}"))
    }
}

fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
