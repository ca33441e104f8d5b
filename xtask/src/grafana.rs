//! `cargo xtask grafana`: the dashboards of a running daemon, for as long as the user looks.
//!
//! Prometheus and Grafana run as the lab starts them for `--serve`, with the shipped files, in a directory that vanishes with them;
//! [`panels`] draws the dashboards where there is no Grafana.

#[cfg(test)]
mod live;
pub(crate) mod panels;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};
use panels::Page;
use schedscope::lab::child::Stop;
use schedscope::lab::daemon;
use schedscope::lab::serve::grafana::{self, Source};
use schedscope::lab::serve::prometheus::{Prometheus, Settings};
use schedscope::lab::serve::{NO_PROMETHEUS, find_grafana, what_to_open};
use schedscope::lab::server::Server;

use crate::workspace::{find_program, root};

const POLL: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Address of the running daemon.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9752")]
    daemon: SocketAddr,
    /// Port for Prometheus, on the loopback address.
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    prometheus_port: u16,
    /// Port for Grafana, on the loopback address.
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    grafana_port: u16,
    /// From one scrape to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60))]
    scrape_seconds: u32,
    /// Without a Grafana, draw the dashboards with the libraries that it publishes; needs Node.js 20 and npm.
    #[arg(long)]
    panels: bool,
    /// Start everything, see whether it works, and end.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let stop = Stop::install()?;
    let program = find_program("prometheus").context(NO_PROMETHEUS)?;
    daemon::answers(arguments.daemon)?;
    let listen = free(arguments.prometheus_port, "--prometheus-port")?;
    let scratch = tempfile::tempdir().context("cannot create a temporary directory")?;
    let settings = Settings::new(arguments.daemon, listen, arguments.scrape_seconds);
    let mut prometheus = Prometheus::start(&program, &scratch.path().join("prometheus"), &settings, &stop)?;
    println!("Prometheus scrapes {} every {} s.", arguments.daemon, arguments.scrape_seconds);
    let mut grafana = match find_grafana() {
        Some(program) => {
            let listen = free(arguments.grafana_port, "--grafana-port")?;
            let source = Source { url: prometheus.url(), scrape_seconds: arguments.scrape_seconds };
            Some(grafana::start(&program, &scratch.path().join("grafana"), listen, &source, &stop)?)
        }
        None => None,
    };
    let panels = match grafana {
        None if arguments.panels => Some(Page::build()?.serve(free(arguments.grafana_port, "--grafana-port")?)?),
        _ => None,
    };
    if let Some(panels) = &panels {
        println!("Panels drawn by Grafana's libraries: http://{}/?prometheus={}", panels.address, prometheus.url());
    }
    let url = grafana.as_ref().map(Server::url);
    println!("{}", what_to_open(url.as_deref(), &prometheus.url(), &root().join("grafana/dashboards")));
    if arguments.check {
        return Ok(());
    }
    println!("\nCtrl-C ends it and deletes what was recorded.");
    while !stop.is_requested() {
        std::thread::sleep(POLL);
        prometheus.check_alive()?;
        if let Some(grafana) = &mut grafana {
            grafana.check_alive()?;
        }
    }
    println!("ended");
    Ok(())
}

/// The loopback address with a port that nobody listens on: another server there would be taken for ours.
fn free(port: u16, option: &str) -> Result<SocketAddr> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpListener::bind(address).with_context(|| format!("cannot listen on {address}: choose another port with {option}"))?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use schedscope::lab::serve::phases;
    use schedscope_grafana::foreign::LAB_PHASE;

    use super::*;

    #[test]
    fn the_lab_serves_what_the_dashboards_mark() {
        let labels: Vec<&str> = LAB_PHASE.labels.iter().map(|label| label.name).collect();
        assert_eq!((phases::METRIC, &phases::LABELS[..]), (LAB_PHASE.name, &labels[..]));
    }

    #[test]
    fn a_taken_port_is_said_with_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = format!("{:#}", free(address.port(), "--some-port").unwrap_err());
        assert!(error.contains(&address.to_string()) && error.contains("--some-port"), "{error}");
        drop(taken);
        assert!(free(address.port(), "").is_ok());
    }
}
