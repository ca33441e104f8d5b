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

/// The block of the shipped configuration that is a comment until somebody has a second store.
const REMOTE_WRITE: &str = "remote_write:";

/// What differs from what we ship.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Addresses of the daemons.
    pub(crate) daemons: Vec<SocketAddr>,
    /// Address to serve on.
    pub(crate) listen: SocketAddr,
    /// From one scrape to the next.
    pub(crate) scrape_seconds: u32,
    /// It scrapes itself too, so that there is another job.
    pub(crate) scrapes_itself: bool,
    /// Where the lab says what it runs, for the first daemon.
    pub(crate) phases: Option<SocketAddr>,
    /// A second Prometheus, which gets what the example in the shipped configuration keeps.
    pub(crate) store: Option<SocketAddr>,
}

impl Settings {
    /// One daemon and nothing else.
    pub(crate) fn new(daemon: SocketAddr, listen: SocketAddr, scrape_seconds: u32) -> Settings {
        Settings { daemons: vec![daemon], listen, scrape_seconds, scrapes_itself: false, phases: None, store: None }
    }
}

/// A running Prometheus.
pub(crate) struct Prometheus {
    service: Service,
    http: Http,
    log: PathBuf,
}

impl Prometheus {
    /// Starts it, with all its files in `directory`, and waits until it has scraped every daemon once.
    pub(crate) fn start(program: &Path, directory: &Path, settings: &Settings, stop: &Stop) -> Result<Prometheus> {
        let configuration = write_configuration(directory, settings)?;
        let mut prometheus = Prometheus::launch(program, directory, &configuration, settings.listen, &[])?;
        prometheus.wait("does not answer", stop, |http| http.text("/-/ready").is_ok())?;
        prometheus.wait("does not reach the daemon", stop, |http| targets(http).is_ok_and(|targets| all_up(&targets)))?;
        Ok(prometheus)
    }

    /// Starts one that scrapes nothing and takes what others write to it.
    #[cfg(test)]
    pub(super) fn receive(program: &Path, directory: &Path, listen: SocketAddr, stop: &Stop) -> Result<Prometheus> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let configuration = directory.join("prometheus.yml");
        fs::write(&configuration, "scrape_configs: []\n").with_context(|| format!("cannot write {}", configuration.display()))?;
        let options = ["--web.enable-remote-write-receiver"];
        let mut prometheus = Prometheus::launch(program, directory, &configuration, listen, &options)?;
        prometheus.wait("does not answer", stop, |http| http.text("/-/ready").is_ok())?;
        Ok(prometheus)
    }

    fn launch(program: &Path, directory: &Path, configuration: &Path, listen: SocketAddr, options: &[&str]) -> Result<Prometheus> {
        let log = directory.join("prometheus.log");
        let mut command = Command::new(program);
        command
            .arg("--config.file")
            .arg(configuration)
            .arg("--storage.tsdb.path")
            .arg(directory.join("data"))
            .args(["--web.listen-address", &listen.to_string()])
            .args(options);
        Ok(Prometheus { service: Service::logging(&mut command, &log)?, http: Http::new(listen), log })
    }

    /// Its address for a browser.
    pub(crate) fn url(&self) -> String {
        self.http.url()
    }

    /// Fails if it has ended.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if self.service.has_ended() {
            bail!("Prometheus ended: {}", last_error(&self.log));
        }
        Ok(())
    }

    /// The `data` of an answer of its API.
    pub(crate) fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
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

/// The configuration with addresses and the scrape interval put in.
fn configured(shipped: &str, settings: &Settings) -> Result<String> {
    let mut configuration: Yaml = serde_yaml_ng::from_str(shipped).context("cannot read prometheus.yml")?;
    let job = &mut configuration["scrape_configs"][0];
    let name = job["job_name"].as_str().map(str::to_owned).context("prometheus.yml does not begin with our scrape job")?;
    let targets = &mut job["static_configs"][0]["targets"];
    if !targets.is_sequence() {
        bail!("prometheus.yml does not begin with our scrape job");
    }
    *targets = settings.daemons.iter().map(ToString::to_string).collect::<Vec<_>>().into();
    let mut jobs = Vec::new();
    if settings.scrapes_itself {
        jobs.push(format!("job_name: prometheus\nstatic_configs:\n  - targets: [\"{}\"]\n", settings.listen));
    }
    if let (Some(phases), Some(daemon)) = (settings.phases, settings.daemons.first()) {
        // What the lab runs is said of the daemon that watches it; the lab's own health stays a job of its own.
        jobs.push(format!(
            "job_name: lab-phases\nstatic_configs:\n  - targets: [\"{phases}\"]\nmetric_relabel_configs:\n  \
             - {{target_label: job, replacement: {name}}}\n  - {{target_label: instance, replacement: \"{daemon}\"}}\n"
        ));
    }
    let all = configuration["scrape_configs"].as_sequence_mut().context("prometheus.yml has no list of jobs")?;
    for job in jobs {
        all.push(serde_yaml_ng::from_str(&job).context("cannot write a job")?);
    }
    if let Some(store) = settings.store {
        let mut example = remote_write(shipped)?;
        example[0]["url"] = format!("http://{store}/api/v1/write").into();
        configuration["remote_write"] = example;
    }
    configuration["global"]["scrape_interval"] = format!("{}s", settings.scrape_seconds).into();
    serde_yaml_ng::to_string(&configuration).context("cannot write prometheus.yml")
}

/// The example of the shipped configuration, without the marks that make it a comment.
fn remote_write(shipped: &str) -> Result<Yaml> {
    let lines = shipped.lines().filter_map(|line| line.strip_prefix("# "));
    let block: Vec<&str> = lines.skip_while(|line| *line != REMOTE_WRITE).collect();
    let example: Yaml = serde_yaml_ng::from_str(&block.join("\n")).context("cannot read the example of remote_write")?;
    match &example["remote_write"] {
        found if found.is_sequence() => Ok(found.clone()),
        _ => bail!("prometheus.yml has no example of remote_write"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn shipped() -> (String, Yaml) {
        let text = read_text(&root().join("grafana/prometheus/prometheus.yml")).unwrap();
        let parsed = serde_yaml_ng::from_str(&text).unwrap();
        (text, parsed)
    }

    #[test]
    fn only_the_target_and_the_interval_are_changed() {
        let (text, original) = shipped();
        let settings = Settings::new("[::1]:7".parse().unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)), 2);
        let mut changed: Yaml = serde_yaml_ng::from_str(&configured(&text, &settings).unwrap()).unwrap();
        assert_eq!(changed["global"]["scrape_interval"], "2s");
        let targets = changed["scrape_configs"][0]["static_configs"][0]["targets"].clone();
        assert_eq!(targets, Yaml::from(vec!["[::1]:7".to_owned()]));
        changed["global"]["scrape_interval"] = original["global"]["scrape_interval"].clone();
        changed["scrape_configs"][0]["static_configs"][0]["targets"] =
            original["scrape_configs"][0]["static_configs"][0]["targets"].clone();
        assert_eq!(changed, original);
    }

    #[test]
    fn what_the_lab_runs_is_said_of_the_daemon_and_recorded_series_go_to_the_store() {
        let (text, original) = shipped();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let settings = Settings { phases: Some(address(3)), store: Some(address(4)), ..Settings::new(address(1), address(2), 1) };
        let changed: Yaml = serde_yaml_ng::from_str(&configured(&text, &settings).unwrap()).unwrap();
        let job = &changed["scrape_configs"][1];
        assert_eq!(job["static_configs"][0]["targets"][0], "127.0.0.1:3");
        let replaced = |index: usize| {
            (&job["metric_relabel_configs"][index]["target_label"], &job["metric_relabel_configs"][index]["replacement"])
        };
        assert_eq!(replaced(0), (&"job".into(), &original["scrape_configs"][0]["job_name"]));
        assert_eq!(replaced(1), (&"instance".into(), &"127.0.0.1:1".into()));
        // Else the alert about daemons that do not answer would speak of the lab.
        assert!(!job["job_name"].as_str().unwrap().contains("schedscope"));
        assert!(original.get("remote_write").is_none());
        let store = &changed["remote_write"][0];
        assert_eq!(store["url"], "http://127.0.0.1:4/api/v1/write");
        assert_eq!(store["write_relabel_configs"][0]["action"], "keep");
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
