//! `cargo xtask trace --serve`: the lab under the eyes of a daemon, Prometheus and, where there is one, Grafana.
//!
//! [`names`] lets the daemon tell the cells apart, [`phases`] tells Prometheus what runs, [`compare`] asks Prometheus what it saw.

pub(crate) mod compare;
pub(crate) mod names;
pub(crate) mod phases;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use super::{
    cell::{Cell, Kind},
    child::{Service, Stop},
    host::{self, Programs},
    measure::{self, Runs},
    metrics::free_address,
};
use crate::grafana::{
    find_grafana, find_prometheus, has_daemon,
    http::Http,
    prometheus::{Prometheus, Settings},
    server::{Grafana, Source},
    what_to_open,
};
use compare::Shown;
use phases::{Phase, Phases};

/// From one scrape to the next.
const SCRAPE_SECONDS: u32 = 1;
/// One more scrape has been made after this time.
const NEXT_SCRAPE: Duration = Duration::from_millis(1200);
/// How long a cell is to be seen: three windows in which the daemon names its model, and so at least three scrapes.
const VISIBLE: Duration = Duration::from_secs(6);
/// How long the daemon looks before it names a model. Two runs closer together would look like one program of several processes.
const APART: Duration = Duration::from_millis(2500);
/// A download or a pause between two numbers while a cell is shown. Long ones leave nothing to see but sleep.
const PAUSE: &str = "0.02";
/// What the daemon may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);
/// From one look at servers to the next.
const POLL: Duration = Duration::from_millis(200);
/// Ports that users know; any other if they are taken.
const PORTS: Ports = Ports { daemon: 9752, prometheus: 9090, grafana: 3000 };

struct Ports {
    daemon: u16,
    prometheus: u16,
    grafana: u16,
}

/// Everything that serves.
pub(crate) struct Serving {
    programs: Programs,
    directory: PathBuf,
    /// In the order in which they are run; those of one batch are known to the daemon at the same time.
    cells: Vec<Cell>,
    batch: usize,
    daemon: Option<Service>,
    address: SocketAddr,
    prometheus: Prometheus,
    grafana: Option<Grafana>,
    phases: Phases,
    shown: Vec<Shown>,
}

impl Serving {
    /// Starts everything. What is left behind is in `directory`.
    pub(crate) fn start(programs: &Programs, cells: &[Cell], directory: &Path, stop: &Stop) -> Result<Serving> {
        let prometheus = find_prometheus()?;
        let cells = names::give(cells, &directory.join("programs"))?;
        let address = conventional(PORTS.daemon)?;
        let daemon = start_daemon(programs, batch(&cells, 0), directory, address, stop)?;
        let phases = Phases::serve()?;
        let settings =
            Settings { phases: Some(phases.address()), ..Settings::new(address, conventional(PORTS.prometheus)?, SCRAPE_SECONDS) };
        let prometheus = Prometheus::start(&prometheus, &directory.join("prometheus"), &settings, stop)?;
        let grafana = match find_grafana() {
            Some(program) => {
                let listen = conventional(PORTS.grafana)?;
                let source = Source { url: prometheus.url(), scrape_seconds: SCRAPE_SECONDS };
                Some(Grafana::start(&program, &directory.join("grafana"), listen, &source, stop)?)
            }
            None => None,
        };
        println!("{}\n", what_to_open(grafana.as_ref().map(Grafana::url), &prometheus.url()));
        Ok(Serving {
            programs: programs.clone(),
            directory: directory.to_owned(),
            cells,
            batch: 0,
            daemon: Some(daemon),
            address,
            prometheus,
            grafana,
            phases,
            shown: Vec::new(),
        })
    }

    /// The cells, each with a program of its own.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// A cell is about to run.
    pub(crate) fn begin(&mut self, cell: &Cell, stop: &Stop) -> Result<()> {
        self.check_alive()?;
        let number = self.cells.iter().position(|known| known.label() == cell.label()).context("a cell that is not served")?;
        if number / names::NAMES != self.batch {
            self.batch = number / names::NAMES;
            // Ends it first: two at once would want the same port.
            self.daemon = None;
            let cells = batch(&self.cells, self.batch);
            self.daemon = Some(start_daemon(&self.programs, cells, &self.directory, self.address, stop)?);
        }
        if cell.skipped.is_none() {
            let phase = format!("{}: {}", cell.kind.title(), cell.task);
            self.phases.set(Some(Phase { workload: cell.label(), phase }));
        }
        Ok(())
    }

    /// A cell has run. Runs it again, if need be for longer, until it has been seen; then its phase is over.
    pub(crate) fn show(&mut self, cell: &Cell, runs: &Runs, stop: &Stop) -> Result<()> {
        let is_first = !self.shown.iter().any(|shown| shown.workload == cell.label());
        if runs.has_succeeded() && is_first && !stop.is_requested() {
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
            let mut runs = Runs::default();
            measure::run(&long, &self.programs, &mut runs, stop)?;
            shown.add(runs);
        }
        // One more scrape, which sees the end.
        sleep(NEXT_SCRAPE);
        if !stop.is_requested() {
            shown.ask(&self.prometheus, unix_seconds())?;
        }
        Ok(shown)
    }

    /// The Prometheus that watches.
    #[cfg(test)]
    pub(crate) fn prometheus(&self) -> &Prometheus {
        &self.prometheus
    }

    /// What the daemon serves now.
    pub(crate) fn metrics(&self) -> Result<String> {
        Http::new(self.address).text("/metrics")
    }

    /// How what Prometheus saw compares with what the lab measured at the same time.
    pub(crate) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Serves on until the user has seen enough.
    pub(crate) fn hold(mut self, stop: &Stop) -> Result<()> {
        println!("\n{}", what_to_open(self.grafana.as_ref().map(Grafana::url), &self.prometheus.url()));
        println!("Choose the last {} min: the marks at the top say what ran when.", self.minutes());
        println!("\nCtrl-C ends it; what was recorded stays in {}.", self.directory.join("prometheus").display());
        while !stop.is_requested() {
            sleep(POLL);
            self.check_alive()?;
        }
        println!("ended");
        Ok(())
    }

    /// Whole minutes since the first cell, rounded up.
    fn minutes(&self) -> u64 {
        let first = self.shown.first().map_or_else(unix_seconds, |shown| shown.begin_unix_seconds);
        Duration::try_from_secs_f64(unix_seconds() - first).unwrap_or_default().as_secs() / 60 + 1
    }

    fn check_alive(&mut self) -> Result<()> {
        if let Some(daemon) = &mut self.daemon
            && daemon.has_ended()
        {
            bail!("`schedscope daemon` ended: {}", daemon.last_words());
        }
        self.prometheus.check_alive()?;
        self.grafana.as_mut().map_or(Ok(()), Grafana::check_alive)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        host::give_to_user(&self.directory);
    }
}

/// The cells that the daemon knows at the same time.
fn batch(cells: &[Cell], number: usize) -> &[Cell] {
    cells.chunks(names::NAMES).nth(number).unwrap_or_default()
}

fn start_daemon(programs: &Programs, cells: &[Cell], directory: &Path, address: SocketAddr, stop: &Stop) -> Result<Service> {
    let file = directory.join("daemon.toml");
    std::fs::write(&file, names::configuration(cells)?).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(&programs.schedscope);
    let mut daemon = Service::start(command.args(["daemon", "--listen", &address.to_string(), "--config"]).arg(&file))?;
    let began = Instant::now();
    while has_daemon(address).is_err() {
        if daemon.has_ended() {
            bail!("`schedscope daemon` did not start: {}", daemon.last_words());
        }
        if began.elapsed() > START_LIMIT || stop.is_requested() {
            bail!("`schedscope daemon` does not answer on {address}");
        }
        sleep(POLL);
    }
    Ok(daemon)
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
    let seconds = VISIBLE.as_secs().to_string();
    let mut arguments = Vec::new();
    let mut given = cell.arguments.iter();
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--work" | "--seconds") => {
                given.next();
            }
            Some("--pause") => {
                given.next();
                arguments.extend(["--pause", PAUSE].map(OsString::from));
            }
            _ => arguments.push(argument.clone()),
        }
    }
    arguments.extend(["--seconds", &seconds].map(OsString::from));
    arguments
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(kind: Kind, arguments: &[&str]) -> Cell {
        Cell {
            id: "a".to_owned(),
            runtime: "native".to_owned(),
            kind,
            task: "a".to_owned(),
            model: "threads".to_owned(),
            workers: 1,
            serial_twin: None,
            unit: None,
            program: "a".into(),
            arguments: arguments.iter().map(Into::into).collect(),
            skipped: None,
        }
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
    fn every_cell_is_in_one_batch() {
        let cells: Vec<Cell> = (0..=names::NAMES * 2).map(|_| cell(Kind::Cpu, &[])).collect();
        let sizes: Vec<usize> = (0..4).map(|number| batch(&cells, number).len()).collect();
        assert_eq!(sizes, [names::NAMES, names::NAMES, 1, 0]);
    }

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let taken =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok().and_then(|listener| Some((listener.local_addr().ok()?, listener)));
        let other = taken.as_ref().map(|(address, _)| conventional(address.port()).ok());
        assert!(matches!((taken, other), (Some((address, _)), Some(Some(other))) if other != address && other.ip().is_loopback()));
    }
}
