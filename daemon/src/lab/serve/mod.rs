//! `schedscope lab --serve`: the lab under the eyes of a daemon, Prometheus and, where there is one, Grafana.
//!
//! [`names`] lets the daemon tell the cells apart, [`phases`] tells Prometheus what runs, [`compare`] asks Prometheus what it saw.
//! [`prometheus`], [`grafana`] and [`background`] are of use to others that serve the dashboards.

pub mod background;
pub(crate) mod compare;
pub mod grafana;
mod names;
pub mod phases;
pub mod prometheus;

use std::env;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
pub use compare::Shown;
use grafana::Source;
use phases::{Phase, Phases};
use prometheus::{Prometheus, Settings};

use super::cell::{Cell, Kind, Row};
use super::child::Stop;
use super::daemon::{self, free_address};
use super::embedded::{self, DASHBOARDS};
use super::host::give_to_user;
use super::measure::Tracer;
use super::server::Server;
use crate::http::Http;

const SCRAPE_SECONDS: u32 = 1;
/// One more scrape has been made after this time.
const NEXT_SCRAPE: Duration = Duration::from_millis(1200);
/// How long each cell is shown: three windows in which the daemon names its model, and so at least three scrapes.
const VISIBLE: Duration = Duration::from_secs(6);
/// How long the daemon looks before it names a model. Two runs closer together would look like one program of several processes.
const APART: Duration = Duration::from_millis(2500);
/// A download or a pause between two numbers while a cell is shown. Long ones leave nothing to see but sleep.
const PAUSE: &str = "0.02";
const POLL: Duration = Duration::from_millis(200);
/// Ports that users know; any other if they are taken.
const DAEMON_PORT: u16 = 9752;
const PROMETHEUS_PORT: u16 = 9090;
const GRAFANA_PORT: u16 = 3000;
/// What to do without Prometheus.
pub const NO_PROMETHEUS: &str =
    "there is no `prometheus` on the PATH: install it (Debian and Ubuntu: `apt-get install prometheus`; its server need not run)";

/// Everything that serves.
pub struct Serving {
    tracer: Tracer,
    /// In the order in which they are run; those of one batch are known to the daemon at the same time.
    cells: Vec<Cell>,
    batch: usize,
    daemon: Option<Server>,
    address: SocketAddr,
    prometheus: Prometheus,
    grafana: Option<Server>,
    phases: Phases,
    shown: Vec<Shown>,
}

impl Serving {
    /// Starts everything. What is left behind is in the tracer's directory.
    pub fn start(prometheus: &Path, tracer: &Tracer, cells: &[Cell], stop: &Stop) -> Result<Serving> {
        let directory = &tracer.directory;
        let cells = names::give(cells, &directory.join("programs"))?;
        let address = conventional(DAEMON_PORT)?;
        let daemon = start_daemon(tracer, batch(&cells, 0), address, stop)?;
        let phases = Phases::serve()?;
        let settings =
            Settings { phases: Some(phases.address()), ..Settings::new(address, conventional(PROMETHEUS_PORT)?, SCRAPE_SECONDS) };
        let prometheus = Prometheus::start(prometheus, &directory.join("prometheus"), &settings, stop)?;
        let grafana = find_grafana().map(|program| {
            let source = Source { url: prometheus.url(), scrape_seconds: SCRAPE_SECONDS };
            grafana::start(&program, &directory.join("grafana"), conventional(GRAFANA_PORT)?, &source, stop)
        });
        let grafana = grafana.transpose()?;
        if grafana.is_none() {
            embedded::write(DASHBOARDS, &directory.join("dashboards"))?;
        }
        let serving = Serving {
            tracer: tracer.clone(),
            cells,
            batch: 0,
            daemon: Some(daemon),
            address,
            prometheus,
            grafana,
            phases,
            shown: Vec::new(),
        };
        println!("{}\n", serving.what_to_open());
        Ok(serving)
    }

    fn what_to_open(&self) -> String {
        let grafana = self.grafana.as_ref().map(Server::url);
        what_to_open(grafana.as_deref(), &self.prometheus.url(), &self.tracer.directory.join("dashboards"))
    }

    /// The cells, each with a program of its own.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// A cell is about to run.
    pub fn begin(&mut self, cell: &Cell, stop: &Stop) -> Result<()> {
        self.check_alive()?;
        let number = self.cells.iter().position(|known| known.label() == cell.label()).context("a cell that is not served")?;
        if number / names::NAMES != self.batch {
            self.batch = number / names::NAMES;
            // Ends it first: two at once would want the same port.
            self.daemon = None;
            let cells = batch(&self.cells, self.batch);
            self.daemon = Some(start_daemon(&self.tracer, cells, self.address, stop)?);
        }
        if cell.skipped.is_none() {
            self.phases.set(Some(Phase { workload: cell.label(), phase: cell.section() }));
        }
        Ok(())
    }

    /// A cell has run. Runs it again, if need be for longer, until it has been seen; then its phase is over.
    pub fn show(&mut self, row: &Row, stop: &Stop) -> Result<()> {
        let cell = &row.cell;
        let is_first = !self.shown.iter().any(|shown| shown.workload == cell.label());
        if row.has_succeeded() && is_first && !stop.is_requested() {
            let mut shown = self.show_once(cell, stop)?;
            // A crowded host can keep the daemon or Prometheus from its CPUs for seconds.
            if !shown.is_visible() && !stop.is_requested() {
                shown = self.show_once(cell, stop)?;
            }
            if !stop.is_requested() {
                self.shown.push(shown);
            }
        }
        self.phases.set(None);
        Ok(())
    }

    fn show_once(&self, cell: &Cell, stop: &Stop) -> Result<Shown> {
        sleep(APART);
        let mut shown = Shown::new(cell.label(), unix_seconds());
        let long = Cell { arguments: lengthened(cell), ..cell.clone() };
        let began = Instant::now();
        while began.elapsed() < VISIBLE && !stop.is_requested() && shown.failed.is_none() {
            let mut row = Row::new(long.clone());
            self.tracer.run(&mut row, stop);
            shown.add(row);
        }
        // One more scrape, which sees the end.
        sleep(NEXT_SCRAPE);
        if !stop.is_requested() {
            shown.ask(&self.prometheus, unix_seconds())?;
        }
        Ok(shown)
    }

    /// The Prometheus that watches.
    pub fn prometheus(&self) -> &Prometheus {
        &self.prometheus
    }

    pub(crate) fn metrics(&self) -> Result<String> {
        Http::new(self.address).text("/metrics")
    }

    /// How what Prometheus saw compares with what the lab measured at the same time.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Serves on until the user has seen enough.
    pub(crate) fn hold(mut self, stop: &Stop) -> Result<()> {
        println!("\n{}", self.what_to_open());
        println!("Choose the last {} min: the marks at the top say what ran when.", self.minutes());
        println!("\nCtrl-C ends it; what was recorded stays in {}.", self.tracer.directory.join("prometheus").display());
        while !stop.is_requested() {
            sleep(POLL);
            self.check_alive()?;
        }
        println!("ended");
        Ok(())
    }

    fn minutes(&self) -> u64 {
        let first = self.shown.first().map_or_else(unix_seconds, |shown| shown.begin_unix_seconds);
        Duration::try_from_secs_f64(unix_seconds() - first).unwrap_or_default().as_secs() / 60 + 1
    }

    fn check_alive(&mut self) -> Result<()> {
        self.daemon.as_mut().map_or(Ok(()), Server::check_alive)?;
        self.prometheus.check_alive()?;
        self.grafana.as_mut().map_or(Ok(()), Server::check_alive)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        give_to_user(&self.tracer.directory);
    }
}

/// The cells that the daemon knows at the same time.
fn batch(cells: &[Cell], number: usize) -> &[Cell] {
    cells.chunks(names::NAMES).nth(number).unwrap_or_default()
}

fn start_daemon(tracer: &Tracer, cells: &[Cell], address: SocketAddr, stop: &Stop) -> Result<Server> {
    let file = tracer.directory.join("daemon.toml");
    embedded::put(&file, &names::configuration(cells))?;
    let log = tracer.directory.join(daemon::LOG);
    daemon::start(&tracer.program, log, address, &["--config".as_ref(), file.as_ref()], stop)
}

pub(crate) fn find_prometheus() -> Result<PathBuf> {
    find_program("prometheus").context(NO_PROMETHEUS)
}

/// Grafana; prints a line if there is none.
pub fn find_grafana() -> Option<PathBuf> {
    // Newer versions have one program with subcommands, older ones only the second.
    let program = find_program("grafana").or_else(|| find_program("grafana-server"));
    if program.is_none() {
        println!("Grafana is not on the PATH, so there are only Prometheus's own graphs.");
    }
    program
}

/// A program on the search path.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Addresses for a browser. Without a Grafana, the dashboards can be imported from their directory.
pub fn what_to_open(grafana: Option<&str>, prometheus: &str, dashboards: &Path) -> String {
    let mut lines = vec!["Open:".to_owned()];
    match grafana {
        Some(url) => lines.extend(DASHBOARDS.iter().map(|(name, _)| format!("  {url}/d/{}", name.trim_end_matches(".json")))),
        None => lines.push(format!(
            "  a Grafana of your own: add the address below as a Prometheus data source and import {}/*.json",
            dashboards.display()
        )),
    }
    lines.push(format!("  {prometheus}/targets  what is scraped"));
    lines.push(format!("  {prometheus}/rules  recorded series"));
    lines.push(format!("  {prometheus}/alerts  alerts; what to do about each is in docs/alerts.md"));
    lines.join("\n")
}

/// The loopback address with this port, or with another if it is taken.
fn conventional(port: u16) -> Result<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if TcpListener::bind(address).is_ok() { Ok(address) } else { free_address() }
}

/// The cell's arguments, with a time to work for instead of an amount of work where the cell takes one.
fn lengthened(cell: &Cell) -> Vec<OsString> {
    // What these do is fixed by what they are about; they are run again and again instead.
    if matches!(cell.kind, Kind::Workers | Kind::Latency) {
        return cell.arguments.clone();
    }
    let mut arguments = cell.arguments.clone();
    for option in ["--work", "--seconds"] {
        if let Some(place) = arguments.iter().position(|argument| argument == option) {
            arguments.drain(place..place + 2);
        }
    }
    if let Some(place) = arguments.iter().position(|argument| argument == "--pause") {
        arguments[place + 1] = PAUSE.into();
    }
    arguments.extend(["--seconds".into(), VISIBLE.as_secs().to_string().into()]);
    arguments
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(kind: Kind, arguments: &[&str]) -> Cell {
        Cell { kind, arguments: arguments.iter().map(Into::into).collect(), ..Cell::default() }
    }

    #[test]
    fn work_is_replaced_by_time_where_a_cell_takes_a_time() {
        let io = cell(Kind::Io, &["lab.py", "download-threads", "--pause", "1", "--work", "4", "--workers", "4"]);
        assert_eq!(lengthened(&io), ["lab.py", "download-threads", "--pause", PAUSE, "--workers", "4", "--seconds", "6"]);
        let calibration = cell(Kind::Calibration, &["native", "--seconds", "0.6"]);
        assert_eq!(lengthened(&calibration), ["native", "--seconds", "6"]);
        let claim = cell(Kind::Workers, &["lab.py", "startup-threads"]);
        assert_eq!(lengthened(&claim), claim.arguments);
    }

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let taken =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok().and_then(|listener| Some((listener.local_addr().ok()?, listener)));
        let other = taken.as_ref().map(|(address, _)| conventional(address.port()).ok());
        assert!(matches!((taken, other), (Some((address, _)), Some(Some(other))) if other != address && other.ip().is_loopback()));
    }

    #[test]
    fn every_dashboard_is_named_where_there_is_a_grafana() {
        let text = what_to_open(Some("http://g"), "http://p", Path::new("d"));
        assert!(DASHBOARDS.iter().all(|(name, _)| text.contains(&format!("http://g/d/{}", name.replace(".json", "")))), "{text}");
        assert!(what_to_open(None, "http://p", Path::new("d")).contains("import d/*.json"));
    }
}
