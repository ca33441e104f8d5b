//! A Grafana of our own, provisioned with the files that we ship.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use schedscope_grafana::{dashboard::TAG, dashboards};

use super::{http::Http, prometheus::last_error};
use crate::{
    trace::child::{Service, Stop},
    workspace::{read_text, root},
};

/// Its first start fills a database, which takes a while.
const START_LIMIT: Duration = Duration::from_secs(120);
/// From one look to the next.
const POLL: Duration = Duration::from_millis(200);
/// Where packages put what Grafana serves.
const PACKAGED_HOME: &str = "/usr/share/grafana";
/// Where the shipped provisioning file looks for dashboards.
const CONVENTIONAL_DASHBOARDS: &str = "/var/lib/grafana/dashboards/schedscope";

/// What the shipped data source says of `prometheus.yml` beside it; rates of another Prometheus need its own.
const SHIPPED_INTERVAL: &str = "timeInterval: 5s";

/// The Prometheus that it asks.
pub(crate) struct Source {
    /// Address.
    pub(crate) url: String,
    /// From one scrape to the next; Grafana derives the windows of rates from it.
    pub(crate) scrape_seconds: u32,
}

/// A running Grafana with our dashboards.
pub(crate) struct Grafana {
    service: Service,
    http: Http,
    log: PathBuf,
}

impl Grafana {
    /// Starts it, with all its files in `directory`, and waits until it has every dashboard.
    pub(crate) fn start(program: &Path, directory: &Path, listen: SocketAddr, source: &Source, stop: &Stop) -> Result<Grafana> {
        provision(directory, source.scrape_seconds)?;
        let log = directory.join("grafana.log");
        let mut command = Command::new(program);
        if program.file_name().is_some_and(|name| name == "grafana") {
            command.arg("server");
        }
        command.arg("--homepath").arg(home(program)?).envs([
            ("PROMETHEUS_URL", source.url.as_str()),
            ("GF_SERVER_HTTP_ADDR", &listen.ip().to_string()),
            ("GF_SERVER_HTTP_PORT", &listen.port().to_string()),
            // Only this host can connect; nothing is kept.
            ("GF_AUTH_ANONYMOUS_ENABLED", "true"),
            ("GF_ANALYTICS_REPORTING_ENABLED", "false"),
            ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
            ("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false"),
        ]);
        command.envs([
            ("GF_PATHS_DATA", directory.join("data")),
            ("GF_PATHS_LOGS", directory.join("logs")),
            ("GF_PATHS_PLUGINS", directory.join("plugins")),
            ("GF_PATHS_PROVISIONING", directory.join("provisioning")),
        ]);
        let mut grafana = Grafana { service: Service::logging(&mut command, &log)?, http: Http::new(listen), log };
        grafana.wait(stop)?;
        Ok(grafana)
    }

    /// Its address for a browser.
    pub(crate) fn url(&self) -> String {
        self.http.url()
    }

    /// Fails if it has ended.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if self.service.has_ended() {
            bail!("Grafana ended: {}", last_error(&self.log));
        }
        Ok(())
    }

    fn wait(&mut self, stop: &Stop) -> Result<()> {
        let began = Instant::now();
        while !self.has_dashboards() {
            self.check_alive()?;
            if stop.is_requested() {
                bail!("interrupted");
            }
            if began.elapsed() > START_LIMIT {
                bail!("Grafana does not show the dashboards within {} s: {}", START_LIMIT.as_secs(), last_error(&self.log));
            }
            sleep(POLL);
        }
        Ok(())
    }

    fn has_dashboards(&self) -> bool {
        let Ok(found) = self.http.json("/api/search", &[("tag", TAG)]) else { return false };
        let uids: Vec<&str> = found.as_array().into_iter().flatten().filter_map(|entry| entry["uid"].as_str()).collect();
        dashboards::all().iter().all(|dashboard| uids.contains(&dashboard.uid))
    }
}

/// Where Grafana's own files are: where packages put them, or around the program, as in its archives.
fn home(program: &Path) -> Result<PathBuf> {
    let program = program.canonicalize().with_context(|| format!("cannot find {}", program.display()))?;
    let around = program.parent().and_then(Path::parent).map(Path::to_owned);
    let homes = around.into_iter().chain([PACKAGED_HOME.into()]);
    let is_home = |home: &PathBuf| home.join("conf/defaults.ini").is_file();
    homes.into_iter().find(is_home).with_context(|| format!("cannot find what belongs to {}", program.display()))
}

/// Copies the provisioning files, the path of the dashboards and the scrape interval put in.
fn provision(directory: &Path, scrape_seconds: u32) -> Result<()> {
    let shipped = root().join("grafana");
    for kind in ["datasources", "dashboards"] {
        let name = format!("provisioning/{kind}/schedscope.yaml");
        let text = read_text(&shipped.join(&name))?;
        let file = directory.join(&name);
        let parent = file.parent().context("a provisioning file has no directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let text = text.replace(CONVENTIONAL_DASHBOARDS, &shipped.join("dashboards").to_string_lossy());
        let text = text.replace(SHIPPED_INTERVAL, &format!("timeInterval: {scrape_seconds}s"));
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_provisioning_leads_to_the_dashboards_of_this_tree() {
        let directory = tempfile::tempdir().unwrap();
        provision(directory.path(), 7).unwrap();
        let source = fs::read_to_string(directory.path().join("provisioning/datasources/schedscope.yaml")).unwrap();
        let source: serde_yaml_ng::Value = serde_yaml_ng::from_str(&source).unwrap();
        assert_eq!(source["datasources"][0]["jsonData"]["timeInterval"], "7s");
        let text = fs::read_to_string(directory.path().join("provisioning/dashboards/schedscope.yaml")).unwrap();
        let provider: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
        let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
        for dashboard in dashboards::all() {
            assert!(Path::new(path).join(format!("{}.json", dashboard.uid)).is_file(), "{path}");
        }
    }

    #[test]
    fn grafanas_own_files_are_found_around_an_unpacked_archive() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["conf/defaults.ini", "bin/grafana"] {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = home(&directory.path().join("bin/grafana")).unwrap();
        assert_eq!(found, directory.path().canonicalize().unwrap());
        let lonely = tempfile::NamedTempFile::new().unwrap();
        if !Path::new(PACKAGED_HOME).exists() {
            assert!(home(lonely.path()).is_err());
        }
    }
}
