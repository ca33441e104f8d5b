//! `schedscope daemon`: traces every task of the host until it is told to stop, and serves what it counted.
//!
//! One thread does everything but the serving: it labels new processes four times a second, takes a sample for the page once a
//! second, and reads the counters when somebody asks.

mod station;
mod tracer;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use schedscope_ebpf::{
    gil::{AddressRange, RANGES},
    residual::Residuals,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    capture::snapshot::{Cpu, Snapshot, Tid, WorkloadId},
    config::Config,
    serve::{self, Gate, Listener, Server, web::Web},
};
use station::Station;

/// From one look for new processes to the next.
const SCAN_INTERVAL: Duration = Duration::from_millis(250);

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
    /// Allow an address that other hosts can reach, though there is no encryption or everyone is let in.
    #[arg(long)]
    pub allow_remote: bool,
}

/// What the daemon needs of the kernel side.
pub trait KernelSide {
    /// Thread records and CPUs.
    fn threads(&mut self) -> Result<Snapshot>;
    /// The same and the workloads' counters.
    fn snapshot(&mut self) -> Result<Snapshot>;
    /// Compares threads that wait, at this moment, with what the kernel kept about them.
    fn compare_waiting(&mut self) -> Result<Residuals>;
    /// Counts a thread under another workload from now on. One that has ended meanwhile is left alone.
    fn set_workload(&mut self, tid: Tid, workload: WorkloadId);
    /// Tells the programs where the thread's process keeps its interpreters' locks.
    fn set_gil(&mut self, tid: Tid, ranges: [AddressRange; RANGES]);
    /// Turns the kernel's BPF statistics on or off.
    fn measure_cost(&mut self, on: bool) -> Result<()>;
    /// Every program and what it has cost since it was loaded, as the kernel says.
    fn programs(&self) -> Vec<ProgramState>;
    /// CPUs that were online when tracing began.
    fn online_at_start(&self) -> Vec<Cpu>;
    /// Where a CPU sits.
    fn place(&self, cpu: u32) -> schedscope_ebpf::distance::CpuPlace;
}

/// A BPF program as the kernel side knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramState {
    /// Its name.
    pub name: &'static str,
    /// Why it does not run; `None` if it does.
    pub failure: Option<String>,
    /// Run time while statistics were on, whoever turned them on.
    pub run_ns: u64,
    /// Runs that were timed.
    pub runs: u64,
    /// Runs skipped for recursion.
    pub recursion_misses: u64,
}

/// Runs the daemon until SIGTERM or SIGINT.
pub fn run(args: &DaemonArgs) -> Result<()> {
    let config = args.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
    let web = args.web_config.as_deref().map_or_else(|| Ok(Web::default()), Web::read)?;
    let listener = serve::listen(args.listen.unwrap_or(config.listen), args.allow_remote, &web)?;
    let kernel = tracer::start(&config)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(serve(kernel, config, listener, web))
}

/// Serves until a signal comes.
async fn serve(kernel: impl KernelSide, config: Config, listener: Listener, web: Web) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let address = listener.local_addr().context("cannot serve")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tracing::info!("serving {}://{address}/", web.scheme());
    run_until(stop, kernel, config, listener, web).await
}

/// Scans, measures and answers until `stop` is ready.
async fn run_until(
    stop: impl Future<Output = ()>,
    kernel: impl KernelSide,
    config: Config,
    listener: Listener,
    web: Web,
) -> Result<()> {
    let (gate, mut requests) = Gate::new();
    let own_cost = config.own_cost;
    let mut station = Station::new(kernel, config, gate.clone())?;
    let server = Server::start(listener, gate, web).context("cannot start the server")?;
    let mut scans = interval(SCAN_INTERVAL);
    scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cost_change = Instant::now();
    tokio::pin!(stop);
    notify(sd_notify::NotifyState::Ready);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = scans.tick() => station.scan(),
            Some(request) = requests.recv() => station.answer(request),
            () = sleep_until(cost_change), if own_cost.is_some() => {
                let Some(own_cost) = own_cost else { continue };
                cost_change += if station.toggle_cost() { own_cost.window } else { own_cost.every.saturating_sub(own_cost.window) };
            }
        }
    }
    notify(sd_notify::NotifyState::Stopping);
    drop(server);
    Ok(())
}

/// Tells systemd, if it started the daemon.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
