//! A Grafana of the lab's own, provisioned with the shipped files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http::Http;
use crate::lab::child::Stop;
use crate::lab::embedded::{self, DASHBOARDS};
use crate::lab::server::Server;

/// Its first start fills a database, which takes a while.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Where packages put what Grafana serves.
const PACKAGED_HOME: &str = "/usr/share/grafana";
/// Where the shipped provisioning file looks for dashboards.
const CONVENTIONAL_DASHBOARDS: &str = "/var/lib/grafana/dashboards/schedscope";

/// What the shipped data source says of `prometheus.yml` beside it; rates of another Prometheus need its own.
const SHIPPED_INTERVAL: &str = "timeInterval: 5s";
const TAG: &str = "schedscope";

/// The Prometheus that it asks.
pub struct Source {
    /// Address.
    pub url: String,
    /// From one scrape to the next; Grafana derives the windows of rates from it.
    pub scrape_seconds: u32,
}

/// Starts Grafana, with all its files in `directory`, and waits until it has every shipped dashboard.
pub fn start(program: &Path, directory: &Path, listen: SocketAddr, source: &Source, stop: &Stop) -> Result<Server> {
    provision(directory, source.scrape_seconds)?;
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
    let mut server = Server::start("Grafana", &mut command, listen, directory.join("grafana.log"))?;
    server.wait(START_LIMIT, "does not show the dashboards", stop, has_dashboards)?;
    Ok(server)
}

fn has_dashboards(http: &Http) -> bool {
    let Ok(found) = http.json("/api/search", &[("tag", TAG)]) else { return false };
    let uids: Vec<&str> = found.as_array().into_iter().flatten().filter_map(|entry| entry["uid"].as_str()).collect();
    DASHBOARDS.iter().all(|(name, _)| uids.iter().any(|uid| name.strip_suffix(".json") == Some(uid)))
}

/// Where Grafana's own files are: where packages put them, or around the program, as in its archives.
fn home(program: &Path) -> Result<PathBuf> {
    let program = program.canonicalize().with_context(|| format!("cannot find {}", program.display()))?;
    let around = program.parent().and_then(Path::parent).map(Path::to_owned);
    let homes = around.into_iter().chain([PACKAGED_HOME.into()]);
    let is_home = |home: &PathBuf| home.join("conf/defaults.ini").is_file();
    homes.into_iter().find(is_home).with_context(|| format!("cannot find what belongs to {}", program.display()))
}

/// Writes the dashboards and the provisioning files, with the path of the dashboards and the scrape interval put in.
fn provision(directory: &Path, scrape_seconds: u32) -> Result<()> {
    let dashboards = directory.join("dashboards");
    embedded::write(DASHBOARDS, &dashboards)?;
    let interval = format!("timeInterval: {scrape_seconds}s");
    for (kind, text) in [
        ("datasources", embedded::DATA_SOURCE.replace(SHIPPED_INTERVAL, &interval)),
        ("dashboards", embedded::DASHBOARD_PROVIDER.replace(CONVENTIONAL_DASHBOARDS, &dashboards.to_string_lossy())),
    ] {
        embedded::write(&[("schedscope.yaml", &text)], &directory.join("provisioning").join(kind))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_provisioning_leads_to_the_dashboards() {
        let directory = tempfile::tempdir().unwrap();
        provision(directory.path(), 7).unwrap();
        let provisioned = |kind: &str| -> serde_yaml_ng::Value {
            let file = directory.path().join("provisioning").join(kind).join("schedscope.yaml");
            serde_yaml_ng::from_str(&fs::read_to_string(file).unwrap()).unwrap()
        };
        assert_eq!(provisioned("datasources")["datasources"][0]["jsonData"]["timeInterval"], "7s");
        let provider = provisioned("dashboards");
        let path = Path::new(provider["providers"][0]["options"]["path"].as_str().unwrap());
        for (name, text) in DASHBOARDS {
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), *text);
            let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(dashboard["tags"].as_array().unwrap().contains(&TAG.into()), "{name}");
            assert_eq!(format!("{}.json", dashboard["uid"].as_str().unwrap()), *name);
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
