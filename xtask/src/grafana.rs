//! `cargo xtask grafana`: the dashboards of a running daemon, for as long as the user looks.
//!
//! In reading order: [`http`] asks servers, [`prometheus`] and [`server`] start Prometheus and Grafana with the files that we ship,
//! in a directory that vanishes with them; [`panels`] draws the dashboards where there is no Grafana.

pub(crate) mod http;
#[cfg(test)]
mod live;
pub(crate) mod panels;
pub(crate) mod prometheus;
pub(crate) mod server;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use schedscope_grafana::dashboards;

use crate::{trace::child::Stop, workspace::find_program};
use http::Http;
use panels::Page;
use prometheus::{Prometheus, Settings};
use server::{Grafana, Source};

/// From one look at the servers to the next.
const POLL: Duration = Duration::from_millis(200);

/// Arguments of `grafana`.
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

/// Entry point of the command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let stop = Stop::install()?;
    let program = find_prometheus()?;
    has_daemon(arguments.daemon)?;
    let listen = free(arguments.prometheus_port, "--prometheus-port")?;
    let scratch = tempfile::tempdir().context("cannot create a temporary directory")?;
    let settings = Settings::new(arguments.daemon, listen, arguments.scrape_seconds);
    let mut prometheus = Prometheus::start(&program, &scratch.path().join("prometheus"), &settings, &stop)?;
    println!("Prometheus scrapes {} every {} s.", arguments.daemon, arguments.scrape_seconds);
    let mut grafana = match find_grafana() {
        Some(program) => {
            let listen = free(arguments.grafana_port, "--grafana-port")?;
            let source = Source { url: prometheus.url(), scrape_seconds: arguments.scrape_seconds };
            Some(Grafana::start(&program, &scratch.path().join("grafana"), listen, &source, &stop)?)
        }
        None => None,
    };
    let panels = match grafana {
        None if arguments.panels => Some(Page::build()?.serve(free(arguments.grafana_port, "--grafana-port")?)?),
        _ => None,
    };
    if let Some(panels) = &panels {
        println!("Panels drawn by Grafana's libraries: http://{}/?prometheus={}", panels.address(), prometheus.url());
    }
    println!("{}", what_to_open(grafana.as_ref().map(Grafana::url), &prometheus.url()));
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

/// Fails if no daemon answers.
pub(crate) fn has_daemon(address: SocketAddr) -> Result<()> {
    let health = Http::new(address).text("/healthz");
    let answer = health.with_context(|| {
        format!("no schedscope daemon answers on {address}: start one with `sudo schedscope daemon`, or name another with --daemon")
    })?;
    if answer.trim() != "ok" {
        bail!("what answers on {address} is no schedscope daemon: name another address with --daemon");
    }
    Ok(())
}

/// The loopback address with a port that nobody listens on: another server there would be taken for ours.
fn free(port: u16, option: &str) -> Result<SocketAddr> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpListener::bind(address).with_context(|| format!("cannot listen on {address}: choose another port with {option}"))?;
    Ok(address)
}

/// Prometheus, or what to do without it.
pub(crate) fn find_prometheus() -> Result<PathBuf> {
    find_program("prometheus").context(
        "there is no `prometheus` on the PATH: install it (Debian and Ubuntu: `apt-get install prometheus`; its server need not run)",
    )
}

/// Grafana; that there is none is said.
pub(crate) fn find_grafana() -> Option<PathBuf> {
    // Newer versions have one program with subcommands, older ones only the second.
    let program = find_program("grafana").or_else(|| find_program("grafana-server"));
    if program.is_none() {
        println!("Grafana is not on the PATH; without it there are Prometheus's own graphs only.");
    }
    program
}

/// Addresses for a browser.
pub(crate) fn what_to_open(grafana: Option<String>, prometheus: &str) -> String {
    let mut lines = vec!["Open:".to_owned()];
    match grafana {
        Some(url) => {
            lines.extend(dashboards::all().iter().map(|dashboard| format!("  {url}/d/{}  {}", dashboard.uid, dashboard.title)));
        }
        None => lines.push(
            "  a Grafana of your own: add the address below as a Prometheus data source and import grafana/dashboards/*.json"
                .to_owned(),
        ),
    }
    lines.push(format!("  {prometheus}/targets  what is scraped"));
    lines.push(format!("  {prometheus}/rules  recorded series"));
    lines.push(format!("  {prometheus}/alerts  alerts; what to do about each is in docs/alerts.md"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_dashboard_is_named_where_there_is_a_grafana() {
        let text = what_to_open(Some("http://g".into()), "http://p");
        assert!(dashboards::all().iter().all(|dashboard| text.contains(&format!("http://g/d/{}", dashboard.uid))));
        assert!(what_to_open(None, "http://p").contains("import grafana/dashboards"));
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

    #[test]
    fn a_missing_daemon_is_said_with_what_to_do() {
        // Nobody listens on this port, which is reserved.
        let error = format!("{:#}", has_daemon(SocketAddr::from(([127, 0, 0, 1], 1))).unwrap_err());
        assert!(error.contains("127.0.0.1:1") && error.contains("schedscope daemon") && error.contains("--daemon"), "{error}");
    }
}
