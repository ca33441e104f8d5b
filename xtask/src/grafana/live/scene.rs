//! A daemon, workloads that `schedscope run` traces at the same time, Prometheus, and what dashboards ask it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use schedscope::lab::child::Stop;
use schedscope::lab::daemon::{self, free_address};
use schedscope::lab::serve::phases::{Phase, Phases};
use schedscope::lab::serve::prometheus::{Prometheus, Settings};
use schedscope::lab::server::Server;
use schedscope::report::RunReport;
use schedscope_grafana::dashboards;
use schedscope_grafana::panel::Panel;
use schedscope_grafana::promql::{RANGE, RATE_INTERVAL, STEP};
use serde_json::Value;
use tempfile::TempDir;

use crate::workspace::{PRIVILEGED, find_program, python_itself, root, target_dir};

/// How many seconds each workload works.
const SECONDS: &str = "20";
/// The phase that the lab would name.
pub(super) const PHASE: &str = "CPU-bound: test";
/// Longest wait for a server or for rules, which are evaluated every 15 and 30 seconds.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Scene {
    pub(super) prometheus: Prometheus,
    /// A second one, to which the first writes its recorded series.
    pub(super) store: Prometheus,
    pub(super) instance: String,
    pub(super) threads: Trace,
    pub(super) processes: Trace,
    /// Python threads, where there is a Python.
    pub(super) gil: Option<Trace>,
    /// When every rule had been evaluated, in Unix time.
    pub(super) end_seconds: f64,
    _daemon: Server,
    _scratch: TempDir,
}

/// One workload, as `schedscope run` and as Prometheus saw it.
pub(super) struct Trace {
    pub(super) workload: &'static str,
    pub(super) report: RunReport,
    /// First scrape in which the daemon had it under its name, in Unix time.
    pub(super) first_seconds: f64,
    /// A scrape in the middle that did not fail, as scrapes can on a busy host.
    pub(super) middle_seconds: f64,
    pub(super) last_seconds: f64,
}

impl Scene {
    /// Sets it up; `None`, with a message, if this host or its user cannot.
    pub(super) fn play() -> Option<Scene> {
        let program = prometheus_where_allowed()?;
        let scratch = TempDir::new().unwrap();
        let stop = Stop::default();
        let daemon_address = free_address().unwrap();
        let daemon = start_daemon(scratch.path(), daemon_address, &stop);
        let phases = Phases::serve().unwrap();
        let store_address = free_address().unwrap();
        let store = Prometheus::receive(&program, &scratch.path().join("store"), store_address, &stop).unwrap();
        let settings = Settings {
            scrapes_itself: true,
            phases: Some(phases.address()),
            store: Some(store_address),
            ..Settings::new(daemon_address, free_address().unwrap(), 1)
        };
        let prometheus = Prometheus::start(&program, &scratch.path().join("prometheus"), &settings, &stop).unwrap();
        let record = |workload: &'static str, arguments: &[&str]| {
            phases.set(Some(Phase { workload: workload.to_owned(), phase: PHASE.to_owned() }));
            let trace = Trace::record(scratch.path(), &prometheus, workload, arguments);
            phases.set(None);
            trace
        };
        let native = ["native", "--workers", "4", "--seconds", SECONDS];
        let threads = record("lab-threads", &[&native[..], &["--task", "mutex", "--model", "threads"]].concat());
        let processes = record("lab-processes", &[&native[..], &["--task", "spin", "--model", "processes"]].concat());
        let cell = root().join("workloads/python/lab.py").display().to_string();
        let python = [&cell, "arithmetic-threads", "--workers", "4", "--seconds", SECONDS, "--keep-process-names"];
        let gil = link_python(&scratch.path().join("lab-gil")).then(|| record("lab-gil", &python));
        // After the workloads ended.
        wait_until("every rule has been evaluated", || {
            let groups = prometheus.api("rules", &[]).unwrap();
            let mut rules = groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
            rules.all(|rule| rule["health"] != "unknown")
        });
        let (instance, end_seconds) = (daemon_address.to_string(), now_seconds());
        Some(Scene { prometheus, store, instance, threads, processes, gil, end_seconds, _daemon: daemon, _scratch: scratch })
    }

    pub(super) fn query(&self, expr: &str, at_seconds: f64) -> Vec<(Value, f64)> {
        query(&self.prometheus, expr, at_seconds)
    }
}

pub(super) fn query(prometheus: &Prometheus, expr: &str, at_seconds: f64) -> Vec<(Value, f64)> {
    let answer = prometheus.api("query", &[("query", expr), ("time", &format!("{at_seconds:.3}"))]).unwrap();
    let series = answer["result"].as_array().unwrap().iter();
    series.map(|series| (series["metric"].clone(), series["value"][1].as_str().unwrap().parse().unwrap())).collect()
}

impl Trace {
    /// Runs a workload to its end under `schedscope run`, beside the daemon.
    fn record(scratch: &Path, prometheus: &Prometheus, workload: &'static str, arguments: &[&str]) -> Trace {
        let file = scratch.join(format!("{workload}.json"));
        let mut command = Command::new(built("schedscope"));
        command.args(["run", "--json"]).arg(&file).arg("--").arg(scratch.join(workload));
        command.args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: RunReport = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        // One more scrape, which sees the end.
        sleep(Duration::from_millis(1500));
        let alive = format!("schedscope_workload_threads{{workload=\"{workload}\"}}[2m]");
        let answer = prometheus.api("query", &[("query", &alive)]).unwrap();
        let samples = answer["result"][0]["values"].as_array().expect("the daemon does not know the workload");
        let times: Vec<f64> = samples.iter().filter(|sample| sample[1] != "0").map(|sample| sample[0].as_f64().unwrap()).collect();
        let (first_seconds, middle_seconds, last_seconds) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        assert!(last_seconds - first_seconds > 10.0, "only {} scrapes saw {workload}", times.len());
        Trace { workload, report, first_seconds, middle_seconds, last_seconds }
    }

    /// From the first scrape that saw it to the last.
    pub(super) fn seen_seconds(&self) -> f64 {
        self.last_seconds - self.first_seconds
    }

    /// What a panel shows of this workload over the time that was seen: the sum of its series, or of those with one label's value.
    pub(super) fn sum(&self, scene: &Scene, dashboard: &str, panel: &str, only: Option<&(&str, String)>) -> f64 {
        let exprs = of_panel(dashboard, panel);
        let series = exprs.iter().flat_map(|expr| scene.query(&self.choice().apply(expr), self.last_seconds));
        let is_meant = |labels: &Value| only.is_none_or(|(label, value)| labels[label] == value.as_str());
        series.filter(|(labels, _)| is_meant(labels)).map(|(_, value)| value).sum()
    }

    /// The cell of this workload in a table over the time that was seen.
    pub(super) fn cell(&self, scene: &Scene, dashboard: &str, table: &str, heading: &str) -> f64 {
        let chart = Choice { window: "4s".to_owned(), step: "1s".to_owned(), ..self.choice() };
        let found = scene.query(&chart.apply(&of_column(dashboard, table, heading)), self.last_seconds);
        let [(_, value)] = &found[..] else { panic!("{}: {} rows under {heading}", self.workload, found.len()) };
        *value
    }

    pub(super) fn choice(&self) -> Choice {
        // From the last scrape back to the first and no further, so that nothing is extrapolated.
        let window = format!("{:.0}ms", self.seen_seconds() * 1e3 + 1.0);
        Choice { workload: self.workload.to_owned(), ..Choice::all(&window) }
    }
}

/// Links to a Python under a name that its processes then have. A version manager's script would not do.
fn link_python(link: &Path) -> bool {
    let Some(python) = find_program("python3").and_then(|python| fs::canonicalize(python_itself(&python)?).ok()) else {
        println!("skipped: no python3 on the PATH, so nothing waits for an interpreter lock");
        return false;
    };
    std::os::unix::fs::symlink(python, link).unwrap();
    true
}

fn start_daemon(scratch: &Path, address: SocketAddr, stop: &Stop) -> Server {
    // The same program under two names, which rules tell apart.
    let rules = ["lab-threads", "lab-processes"].map(|name| {
        fs::copy(built("schedscope-workloads"), scratch.join(name)).unwrap();
        format!("[[workload]]\nname = \"{name}\"\nmatch = {{ exe = \"*/{name}\" }}\n")
    });
    let gil = "[[workload]]\nname = \"lab-gil\"\nmatch = { comm = \"lab-gil\" }\n";
    let own_cost = "[own_cost]\nwindow_seconds = 1\nevery_seconds = 5\n";
    let config = scratch.join("schedscope.toml");
    fs::write(&config, format!("{own_cost}{gil}{}", rules.concat())).unwrap();
    daemon::start(&built("schedscope"), scratch.join(daemon::LOG), address, &["--config".as_ref(), config.as_ref()], stop).unwrap()
}

/// Prometheus; `None`, with a message, if this host or its user cannot run the tests.
pub(super) fn prometheus_where_allowed() -> Option<PathBuf> {
    if env::var_os(PRIVILEGED).is_none_or(|value| value != "1") {
        println!("skipped: loads BPF programs, which needs root and {PRIVILEGED}=1");
        return None;
    }
    let program = find_program("prometheus");
    if program.is_none() {
        println!("skipped: no prometheus on the PATH");
    }
    program
}

/// Waits for a condition; how long it took, in seconds.
pub(super) fn wait_until(what: &str, is_so: impl Fn() -> bool) -> f64 {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "not within {} s: {what}", LIMIT.as_secs());
        sleep(Duration::from_millis(200));
    }
    began.elapsed().as_secs_f64()
}

pub(super) fn built(name: &str) -> PathBuf {
    let file = target_dir().join("debug").join(name);
    assert!(file.is_file(), "{} is not there: run `cargo build --workspace --bins`", file.display());
    file
}

pub(super) fn now_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

pub(super) struct Choice {
    /// The rate interval that Grafana would fit to zoom and scrape interval.
    pub(super) window: String,
    pub(super) step: String,
    pub(super) range: String,
    /// A pattern for hosts.
    pub(super) instance: String,
    /// A pattern for workloads.
    pub(super) workload: String,
}

impl Choice {
    /// Every workload of every host.
    pub(super) fn all(window: &str) -> Choice {
        let [window, step, range] = [window; 3].map(str::to_owned);
        Choice { window, step, range, instance: ".+".to_owned(), workload: ".+".to_owned() }
    }

    /// The expression as Grafana would send it.
    pub(super) fn apply(&self, expr: &str) -> String {
        expr.replace(RATE_INTERVAL, &self.window)
            .replace(STEP, &self.step)
            .replace(RANGE, &self.range)
            .replace("$job", ".+")
            .replace("$instance", &self.instance)
            .replace("$workload", &self.workload)
    }
}

fn panel(dashboard: &str, title: &str) -> Panel {
    let dashboard = dashboards::all().into_iter().find(|known| known.title == dashboard).expect("no such dashboard");
    dashboard.panels().find(|known| known.title == title).expect("no such panel").clone()
}

pub(super) fn of_panel(dashboard: &str, title: &str) -> Vec<String> {
    panel(dashboard, title).queries.into_iter().map(|query| query.expr).collect()
}

pub(super) fn of_column(dashboard: &str, table: &str, heading: &str) -> String {
    let mut queries = panel(dashboard, table).queries.into_iter();
    queries.find(|query| query.heading == Some(heading)).expect("no such column").expr
}
