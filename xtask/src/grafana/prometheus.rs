//! A Prometheus of our own: the configuration, rules and alerts that we ship, with the daemon's address put in.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

use super::http::Http;
use crate::{
    trace::child::{Service, Stop},
    workspace::{read_text, root},
};

/// Time that a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// From one look to the next.
const POLL: Duration = Duration::from_millis(100);

/// What differs from what we ship.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Address of the daemon.
    pub(super) daemon: SocketAddr,
    /// Address to serve on.
    pub(super) listen: SocketAddr,
    /// From one scrape to the next.
    pub(super) scrape_seconds: u32,
    /// It scrapes itself too, so that there is another job.
    pub(super) scrapes_itself: bool,
}

/// A running Prometheus that scrapes the daemon.
pub(super) struct Prometheus {
    service: Service,
    http: Http,
    log: PathBuf,
}

impl Prometheus {
    /// Starts it and waits until it has scraped the daemon once.
    pub(super) fn start(program: &Path, scratch: &Path, settings: &Settings, stop: &Stop) -> Result<Prometheus> {
        let directory = scratch.join("prometheus");
        let configuration = write_configuration(&directory, settings)?;
        let log = scratch.join("prometheus.log");
        let mut command = Command::new(program);
        command
            .arg("--config.file")
            .arg(configuration)
            .arg("--storage.tsdb.path")
            .arg(directory.join("data"))
            .args(["--web.listen-address", &settings.listen.to_string()]);
        let service = Service::logging(&mut command, &log)?;
        let mut prometheus = Prometheus { service, http: Http::new(settings.listen), log };
        prometheus.wait("does not answer", stop, |http| http.text("/-/ready").is_ok())?;
        prometheus.wait("does not reach the daemon", stop, |http| targets(http).is_ok_and(|targets| all_up(&targets)))?;
        Ok(prometheus)
    }

    /// Its address for a browser.
    pub(super) fn url(&self) -> String {
        self.http.url()
    }

    /// Fails if it has ended.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        if self.service.has_ended() {
            bail!("Prometheus ended: {}", last_error(&self.log));
        }
        Ok(())
    }

    /// The `data` of an answer of its API.
    #[cfg_attr(not(test), expect(dead_code, reason = "the command itself only asks whether it is well"))]
    pub(super) fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let mut answer = self.http.json(&format!("/api/v1/{path}"), parameters)?;
        if answer.get("warnings").is_some() {
            bail!("{path} {parameters:?}: {}", answer["warnings"]);
        }
        Ok(answer["data"].take())
    }

    /// Waits until `is_so`; it says what is not so when it takes too long.
    fn wait(&mut self, failure: &str, stop: &Stop, is_so: impl Fn(&Http) -> bool) -> Result<()> {
        let began = Instant::now();
        while !is_so(&self.http) {
            self.check_alive()?;
            if stop.is_requested() {
                bail!("interrupted");
            }
            if began.elapsed() > START_LIMIT {
                let targets = targets(&self.http).map(|targets| errors(&targets)).unwrap_or_default();
                bail!("Prometheus {failure} within {} s. {targets} {}", START_LIMIT.as_secs(), last_error(&self.log));
            }
            sleep(POLL);
        }
        Ok(())
    }
}

fn targets(http: &Http) -> Result<Vec<Value>> {
    let answer = http.json("/api/v1/targets", &[("state", "active")])?;
    answer["data"]["activeTargets"].as_array().cloned().context("the answer has no targets")
}

fn all_up(targets: &[Value]) -> bool {
    !targets.is_empty() && targets.iter().all(|target| target["health"] == "up")
}

/// What Prometheus says of targets that it cannot scrape.
fn errors(targets: &[Value]) -> String {
    let errors = targets.iter().filter_map(|target| target["lastError"].as_str().filter(|error| !error.is_empty()));
    errors.collect::<Vec<_>>().join("; ")
}

/// The last line of a log that tells of an error, or else its last.
pub(super) fn last_error(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let is_error = |line: &&str| line.contains("level=error") || line.contains("level=ERROR") || line.contains("err=");
    text.lines().rfind(is_error).or_else(|| text.lines().last()).unwrap_or_default().to_owned()
}

/// Writes the configuration and copies the rules beside it.
fn write_configuration(directory: &Path, settings: &Settings) -> Result<PathBuf> {
    let shipped = root().join("grafana/prometheus");
    let rules = directory.join("rules");
    fs::create_dir_all(&rules).with_context(|| format!("cannot create {}", rules.display()))?;
    for entry in fs::read_dir(shipped.join("rules")).context("cannot list the rules")? {
        let from = entry.context("cannot list the rules")?.path();
        let name = from.file_name().context("a rule file has no name")?;
        fs::copy(&from, rules.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let text = configured(&read_text(&shipped.join("prometheus.yml"))?, settings)?;
    let file = directory.join("prometheus.yml");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The configuration with the daemon's address and the scrape interval put in.
fn configured(shipped: &str, settings: &Settings) -> Result<String> {
    let mut configuration: Yaml = serde_yaml_ng::from_str(shipped).context("cannot read prometheus.yml")?;
    let targets = &mut configuration["scrape_configs"][0]["static_configs"][0]["targets"];
    if !targets.is_sequence() {
        bail!("prometheus.yml does not begin with our scrape job");
    }
    *targets = vec![settings.daemon.to_string()].into();
    if settings.scrapes_itself {
        let own = format!("job_name: prometheus\nstatic_configs:\n  - targets: [\"{}\"]\n", settings.listen);
        let jobs = configuration["scrape_configs"].as_sequence_mut().context("prometheus.yml has no list of jobs")?;
        jobs.push(serde_yaml_ng::from_str(&own).context("cannot write a job")?);
    }
    configuration["global"]["scrape_interval"] = format!("{}s", settings.scrape_seconds).into();
    serde_yaml_ng::to_string(&configuration).context("cannot write prometheus.yml")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn only_the_target_and_the_interval_are_changed() {
        let shipped = read_text(&root().join("grafana/prometheus/prometheus.yml")).unwrap();
        let settings = Settings {
            daemon: "[::1]:7".parse().unwrap(),
            listen: SocketAddr::from(([127, 0, 0, 1], 1)),
            scrape_seconds: 2,
            scrapes_itself: false,
        };
        let text = configured(&shipped, &settings).unwrap();
        let mut changed: Yaml = serde_yaml_ng::from_str(&text).unwrap();
        let original: Yaml = serde_yaml_ng::from_str(&shipped).unwrap();
        assert_eq!(changed["global"]["scrape_interval"], "2s");
        let targets = changed["scrape_configs"][0]["static_configs"][0]["targets"].clone();
        assert_eq!(targets, Yaml::from(vec!["[::1]:7".to_owned()]));
        changed["global"]["scrape_interval"] = original["global"]["scrape_interval"].clone();
        changed["scrape_configs"][0]["static_configs"][0]["targets"] =
            original["scrape_configs"][0]["static_configs"][0]["targets"].clone();
        assert_eq!(changed, original);
    }

    #[test]
    fn targets_are_well_only_if_there_are_some_and_all_answer() {
        let target =
            |health: &str| serde_json::json!({ "health": health, "lastError": if health == "up" { "" } else { "refused" } });
        assert!(all_up(&[target("up")]));
        assert!(!all_up(&[]) && !all_up(&[target("up"), target("down")]));
        assert_eq!(errors(&[target("up"), target("down")]), "refused");
    }
}
