//! A Prometheus of the lab's own: the shipped configuration, rules and alerts, with the daemon's address put in.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

use crate::http::Http;
use crate::lab::child::Stop;
use crate::lab::embedded;
use crate::lab::server::Server;

const START_LIMIT: Duration = Duration::from_secs(30);

const CONFIGURATION: &str = "prometheus.yml";
/// The block of the shipped configuration that stays a comment until there is a second store.
const REMOTE_WRITE: &str = "remote_write:";

/// What differs from the shipped configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses of the daemons.
    pub daemons: Vec<SocketAddr>,
    /// Address to serve on.
    pub listen: SocketAddr,
    /// From one scrape to the next.
    pub scrape_seconds: u32,
    /// It scrapes itself too, so that there is another job.
    pub scrapes_itself: bool,
    /// Where the lab says what it runs, for the first daemon.
    pub phases: Option<SocketAddr>,
    /// A second Prometheus, which gets what the example in the shipped configuration keeps.
    pub store: Option<SocketAddr>,
}

impl Settings {
    /// One daemon and nothing else.
    pub fn new(daemon: SocketAddr, listen: SocketAddr, scrape_seconds: u32) -> Settings {
        Settings { daemons: vec![daemon], listen, scrape_seconds, scrapes_itself: false, phases: None, store: None }
    }
}

/// A running Prometheus.
pub struct Prometheus(Server);

impl Prometheus {
    /// Starts it, with all its files in `directory`, and waits until it has scraped every daemon once.
    pub fn start(program: &Path, directory: &Path, settings: &Settings, stop: &Stop) -> Result<Prometheus> {
        embedded::write(embedded::RULES, &directory.join("rules"))?;
        embedded::put(&directory.join(CONFIGURATION), &configured(embedded::PROMETHEUS, settings)?)?;
        let mut prometheus = Prometheus::launch(program, directory, settings.listen, &[], stop)?;
        let scraped = prometheus
            .0
            .wait(START_LIMIT, "does not reach the daemon", stop, |http| targets(http).is_ok_and(|targets| all_up(&targets)));
        scraped.with_context(|| targets(&prometheus.0.http).map(|targets| errors(&targets)).unwrap_or_default())?;
        Ok(prometheus)
    }

    /// Starts one that scrapes nothing and takes what others write to it.
    pub fn receive(program: &Path, directory: &Path, listen: SocketAddr, stop: &Stop) -> Result<Prometheus> {
        embedded::write(&[(CONFIGURATION, "scrape_configs: []\n")], directory)?;
        Prometheus::launch(program, directory, listen, &["--web.enable-remote-write-receiver"], stop)
    }

    /// Starts it with the configuration in `directory`, and waits until it answers.
    fn launch(program: &Path, directory: &Path, listen: SocketAddr, options: &[&str], stop: &Stop) -> Result<Prometheus> {
        let mut command = Command::new(program);
        command
            .arg("--config.file")
            .arg(directory.join(CONFIGURATION))
            .arg("--storage.tsdb.path")
            .arg(directory.join("data"))
            .args(["--web.listen-address", &listen.to_string()])
            .args(options);
        let mut server = Server::start("Prometheus", &mut command, listen, directory.join("prometheus.log"))?;
        server.wait(START_LIMIT, "does not answer", stop, |http| http.text("/-/ready").is_ok())?;
        Ok(Prometheus(server))
    }

    /// Its address for a browser.
    pub fn url(&self) -> String {
        self.0.http.url()
    }

    /// Fails if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        self.0.check_alive()
    }

    /// The `data` of an answer of its API.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let mut answer = self.0.http.json(&format!("/api/v1/{path}"), parameters)?;
        if answer.get("warnings").is_some() {
            bail!("{path} {parameters:?}: {}", answer["warnings"]);
        }
        Ok(answer["data"].take())
    }
}

fn targets(http: &Http) -> Result<Vec<Value>> {
    let answer = http.json("/api/v1/targets", &[("state", "active")])?;
    answer["data"]["activeTargets"].as_array().cloned().context("the answer has no targets")
}

fn all_up(targets: &[Value]) -> bool {
    !targets.is_empty() && targets.iter().all(|target| target["health"] == "up")
}

fn errors(targets: &[Value]) -> String {
    let errors = targets.iter().filter_map(|target| target["lastError"].as_str().filter(|error| !error.is_empty()));
    errors.collect::<Vec<_>>().join("; ")
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
        // The phases are filed under the daemon that watches the lab; the lab's own health stays a separate job.
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
    use super::*;

    fn shipped() -> Yaml {
        serde_yaml_ng::from_str(embedded::PROMETHEUS).unwrap()
    }

    fn changed(settings: &Settings) -> Yaml {
        serde_yaml_ng::from_str(&configured(embedded::PROMETHEUS, settings).unwrap()).unwrap()
    }

    #[test]
    fn only_the_target_and_the_interval_are_changed() {
        let settings = Settings::new("[::1]:7".parse().unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)), 2);
        let mut expected = shipped();
        expected["global"]["scrape_interval"] = "2s".into();
        expected["scrape_configs"][0]["static_configs"][0]["targets"] = vec!["[::1]:7".to_owned()].into();
        assert_eq!(changed(&settings), expected);
    }

    #[test]
    fn what_the_lab_runs_is_said_of_the_daemon_and_recorded_series_go_to_the_store() {
        let original = shipped();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let settings = Settings { phases: Some(address(3)), store: Some(address(4)), ..Settings::new(address(1), address(2), 1) };
        let changed = changed(&settings);
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
