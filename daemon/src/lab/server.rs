//! A server that the lab starts and whose log it keeps.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::child::{Service, Stop, last_line};
use crate::http::Http;

const POLL: Duration = Duration::from_millis(100);

/// A running server.
pub struct Server {
    name: &'static str,
    service: Service,
    pub(crate) http: Http,
    log: PathBuf,
}

impl Server {
    /// Starts it; what it prints goes into `log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, listen: SocketAddr, log: PathBuf) -> Result<Server> {
        Ok(Server { name, service: Service::logging(command, &log)?, http: Http::new(listen), log })
    }

    /// Id of the process.
    pub fn id(&self) -> u32 {
        self.service.id()
    }

    /// Its address for a browser.
    pub fn url(&self) -> String {
        self.http.url()
    }

    /// Fails if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        if self.service.has_ended() {
            bail!("{} ended: {}", self.name, last_error(&self.log));
        }
        Ok(())
    }

    /// Waits until `is_so`; after `limit` it fails and says what was not so.
    pub(crate) fn wait(&mut self, limit: Duration, failure: &str, stop: &Stop, is_so: impl Fn(&Http) -> bool) -> Result<()> {
        let began = Instant::now();
        while !is_so(&self.http) {
            self.check_alive()?;
            if stop.is_requested() {
                bail!("interrupted");
            }
            if began.elapsed() > limit {
                bail!("{} {failure} within {} s: {}", self.name, limit.as_secs(), last_error(&self.log));
            }
            sleep(POLL);
        }
        Ok(())
    }
}

/// The last line of a log that tells of an error, or else its last.
fn last_error(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let is_error = |line: &&str| line.contains("level=error") || line.contains("level=ERROR") || line.contains("err=");
    text.lines().rfind(is_error).map_or_else(|| last_line(text.as_bytes()), str::to_owned)
}
