//! `schedscope daemon`: traces every task of the host until it is told to stop, and serves the counts.
//!
//! One thread does everything but serve: it labels new processes four times a second, takes a sample for the page once a second,
//! and reads the counters for each scrape.

mod collector;
mod host;

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use axum::body::Bytes;
use schedscope_ebpf::residual::Residuals;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{self, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    capture::{
        kernel::{Depth, KernelError},
        snapshot::Snapshot,
    },
    config::{Config, OwnCost},
    metrics::labels::Stage,
    serve::{self, Listener, LoopHandle, Request, Server, web::WebConfig},
};
use collector::{Collector, Scrape};
use host::Host;

/// Time between two looks for new processes.
const SCAN_INTERVAL: Duration = Duration::from_millis(250);
/// Scans per sample for the page. A sample is a second and a column of its map.
const SCANS_PER_SAMPLE: u32 = 4;
/// Scrapes within this time of each other share a reading.
const SHARED_FOR: Duration = Duration::from_millis(250);

/// Arguments of `schedscope daemon`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DaemonArgs {
    /// Configuration file; without one every process belongs to its systemd unit, container or executable.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to serve /metrics on [default: 127.0.0.1:9752, or that of the configuration].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Encryption and passwords, in the format of Prometheus's web configuration file. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub web_config: Option<PathBuf>,
    /// Listen on an address that other hosts can reach, even without encryption and passwords.
    #[arg(long)]
    pub allow_remote: bool,
}

/// Runs the daemon until SIGTERM or SIGINT.
pub fn run(args: &DaemonArgs) -> Result<()> {
    let config = args.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
    let web = args.web_config.as_deref().map_or_else(|| Ok(WebConfig::default()), WebConfig::read)?;
    let listener = serve::listen(args.listen.unwrap_or(config.listen), args.allow_remote, &web)?;
    let topology = super::require_host()?;
    let host = Host::trace(&config, &topology)?;
    let (handle, requests) = LoopHandle::new();
    let own_cost = config.own_cost;
    let daemon = Daemon { host, collector: Collector::new(config, topology), handle, scans: 0, scraped: None };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(daemon.serve(requests, own_cost, listener, web))
}

/// What lasts from one event of the loop to the next.
struct Daemon {
    host: Host,
    collector: Collector,
    handle: LoopHandle,
    scans: u32,
    /// The text that scrapes share.
    scraped: Option<(Instant, Result<Bytes, String>)>,
}

impl Daemon {
    /// Scans, measures and answers until a signal comes.
    async fn serve(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        own_cost: Option<OwnCost>,
        listener: Listener,
        web: WebConfig,
    ) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        tracing::info!("serving {}://{}/", web.scheme(), listener.local_addr().context("cannot serve")?);
        let server = Server::start(listener, self.handle.clone(), web).context("cannot start the server")?;
        let mut scans = interval(SCAN_INTERVAL);
        scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cost_change = time::Instant::now();
        notify(sd_notify::NotifyState::Ready);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = scans.tick() => self.scan(),
                Some(request) = requests.recv() => self.answer(request),
                () = sleep_until(cost_change), if own_cost.is_some() => {
                    let Some(OwnCost { window, every }) = own_cost else { continue };
                    cost_change += if self.toggle_cost() { window } else { every.saturating_sub(window) };
                }
            }
        }
        notify(sd_notify::NotifyState::Stopping);
        drop(server);
        Ok(())
    }

    /// Labels new processes, and once a second takes a sample for the page. A failure is counted, and the next scan tries again.
    fn scan(&mut self) {
        self.scans += 1;
        if self.scans.is_multiple_of(SCANS_PER_SAMPLE) {
            let reading = self.host.snapshot(Depth::Full);
            if let Ok(snapshot) = self.take(Stage::Snapshot, reading) {
                self.collector.sample(&snapshot);
            }
        } else {
            let reading = self.host.snapshot(Depth::Threads);
            let _ = self.take(Stage::Label, reading);
        }
        // On a large host it is a megabyte.
        self.scraped = self.scraped.take().filter(|(at, _)| at.elapsed() < SHARED_FOR);
    }

    /// Adds a reading, and passes on to the programs what follows from it.
    fn take(&mut self, stage: Stage, reading: Result<Snapshot, KernelError>) -> Result<Snapshot, String> {
        let (snapshot, orders) = self.collector.take(stage, reading.map_err(Into::into))?;
        self.host.obey(orders);
        Ok(snapshot)
    }

    /// Opens a window of cost measurement, or closes the open one. True if one is open now.
    fn toggle_cost(&mut self) -> bool {
        let opens = !self.collector.cost.is_open();
        // Statistics are on for the whole window.
        if !opens {
            self.collector.cost.close(Instant::now(), &self.host.tracer.costs());
        }
        if let Err(error) = self.host.measure_cost(opens) {
            self.collector.failed(Stage::ProgramCost, &error.into());
            return false;
        }
        if opens {
            self.collector.cost.open(Instant::now(), self.host.tracer.costs());
        }
        opens
    }

    /// Answers a request: `/metrics` from a reading, anything else from what is known. The client may be gone.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Metrics(reply) => drop(reply.send(self.scrape())),
            Request::History(position, reply) => drop(reply.send(self.collector.history_after(position))),
            Request::Status(reply) => drop(reply.send(self.collector.status(self.host.tracer.programs()))),
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
        let reading = self.host.snapshot(Depth::Full).and_then(|snapshot| {
            waiting = self.host.tracer.compare_waiting()?;
            Ok(snapshot)
        });
        self.take(Stage::Snapshot, reading)?;
        let scrape = Scrape {
            begin,
            waiting,
            programs: self.host.tracer.programs(),
            costs: &self.host.tracer.costs(),
            refused: self.handle.refused(),
        };
        self.collector.text(&scrape).map(Bytes::from).map_err(|error| format!("cannot write the metrics: {error}"))
    }
}

/// Notifies systemd if it started the daemon.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
