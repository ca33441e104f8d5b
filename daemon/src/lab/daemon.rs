//! A daemon beside the cells.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cell::Cell;
use super::child::{self, Stop};
use super::measure::Tracer;
use super::server::Server;
use crate::http::Http;

/// File for what it prints.
pub const LOG: &str = "daemon.log";
const START_LIMIT: Duration = Duration::from_secs(10);
const CELL_LIMIT: Duration = Duration::from_secs(60);
/// Cells worth looking at from outside, the best first.
const SHOWN: [&str; 3] = ["hash-threads", "arithmetic-threads", "native-hash-threads"];

/// Starts `schedscope daemon` with further options and waits until it answers; what it prints goes into `log`.
pub fn start(program: &Path, log: PathBuf, listen: SocketAddr, options: &[&OsStr], stop: &Stop) -> Result<Server> {
    let mut command = Command::new(program);
    command.args(["daemon", "--listen", &listen.to_string()]).args(options);
    let mut daemon = Server::start("`schedscope daemon`", &mut command, listen, log)?;
    daemon.wait(START_LIMIT, "does not answer", stop, |_| answers(listen).is_ok())?;
    Ok(daemon)
}

/// Fails if no daemon answers.
pub fn answers(address: SocketAddr) -> Result<()> {
    let health = Http::new(address).text("/healthz");
    let answer = health.with_context(|| {
        format!("no schedscope daemon answers on {address}: start one with `sudo schedscope daemon`, or name another with --daemon")
    })?;
    if answer.trim() != "ok" {
        bail!("what answers on {address} is not a schedscope daemon: name another address with --daemon");
    }
    Ok(())
}

/// Starts the daemon, runs a cell beside it, and returns the text of `/metrics`.
pub(crate) fn scrape(tracer: &Tracer, cells: &[Cell], stop: &Stop) -> Result<String> {
    let runnable = || cells.iter().filter(|cell| cell.skipped.is_none());
    let cell = SHOWN.iter().find_map(|id| runnable().find(|cell| cell.id == *id)).or_else(|| runnable().next());
    let cell = cell.context("there is no cell to look at")?;
    let address = free_address()?;
    let _daemon = start(&tracer.program, tracer.directory.join(LOG), address, &[], stop)?;
    child::output(Command::new(&cell.program).args(&cell.arguments), CELL_LIMIT, stop)?;
    Http::new(address).text("/metrics")
}

/// An address that nobody listens on. If somebody takes it before the daemon does, the daemon fails and says so.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    listener.local_addr().context("cannot find a free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_daemon_is_said_with_what_to_do() {
        // Nobody listens on this port, which is reserved.
        let error = format!("{:#}", answers(SocketAddr::from(([127, 0, 0, 1], 1))).unwrap_err());
        assert!(error.contains("127.0.0.1:1") && error.contains("schedscope daemon") && error.contains("--daemon"), "{error}");
    }
}
