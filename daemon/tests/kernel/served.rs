//! A daemon under test and what it serves.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::iter::Sum;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use schedscope::lab::daemon::free_address;
use tempfile::TempDir;

use super::host::{self, Guarded, comes_true};

/// A rule that gives a name to the processes whose main thread is called so.
pub(crate) fn rule(name: &str, comm: &str) -> String {
    format!("[[workload]]\nname = \"{name}\"\nmatch = {{ comm = \"{comm}\" }}\n")
}

const CONFIG: &str = "schedscope.toml";

pub(crate) struct Daemon {
    pub(crate) process: Guarded,
    pub(crate) address: SocketAddr,
    dir: TempDir,
}

impl Daemon {
    pub(crate) fn start(text: &str) -> Daemon {
        Daemon::start_at(free_address().unwrap(), text)
    }

    /// At an address that is known beforehand.
    pub(crate) fn start_at(address: SocketAddr, text: &str) -> Daemon {
        Daemon::start_under(Command::new(host::schedscope()).stderr(Stdio::null()), address, text)
    }

    /// By a command that takes the daemon's arguments.
    pub(crate) fn start_under(command: &mut Command, address: SocketAddr, text: &str) -> Daemon {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join(CONFIG);
        fs::write(&config, text).unwrap();
        command.args(["daemon", "--listen", &address.to_string(), "--config"]).arg(&config);
        let process = Guarded(command.spawn().unwrap());
        let daemon = Daemon { process, address, dir };
        assert!(comes_true(60, || try_get(address, "/healthz").is_some()));
        daemon
    }

    /// Gives it another configuration, and tells it so.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.dir.path().join(CONFIG), text).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process.0), rustix::process::Signal::HUP).unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> String {
        try_get(self.address, path).expect("the daemon does not answer")
    }
}

/// The body of an answer whose status is 200.
pub(crate) fn try_get(address: SocketAddr, path: &str) -> Option<String> {
    request(address, path, "localhost").filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

/// Status and body of the answer to somebody who asks by this name.
pub(crate) fn request(address: SocketAddr, path: &str, host: &str) -> Option<(u16, String)> {
    let config =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).http_status_as_error(false).proxy(None);
    let asked = config.build().new_agent().get(format!("http://{address}{path}")).header("Host", host);
    let mut answer = asked.call().ok()?;
    Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
}

pub(crate) fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').map(|(series, value)| (series, value.parse().unwrap())).unwrap())
}

/// Sum of the series that begin so: seconds, or an integer where the metric counts.
pub(crate) fn sum<Number: FromStr + Sum>(text: &str, series: &str) -> Number {
    let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok());
    let lines = text.lines().filter(|line| line.starts_with(series));
    lines.map(|line| value(line).unwrap_or_else(|| panic!("{line}"))).sum()
}

/// What a daemon has counted of a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Totals {
    pub(crate) processes: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) migrations: u64,
    pub(crate) cpu_seconds: f64,
}

impl Totals {
    pub(crate) fn of(text: &str, workload: &str) -> Totals {
        let series = |metric: &str, labels: &str| format!("schedscope_workload_{metric}_total{{workload=\"{workload}\"{labels}");
        let total = |metric: &str| sum(text, &series(metric, ""));
        let switches = |kind: &str| sum::<u64>(text, &series("context_switches", &format!(",kind=\"{kind}\"")));
        Totals {
            processes: total("processes_started"),
            voluntary: switches("voluntary"),
            involuntary: switches("preempted") + switches("yielded"),
            migrations: total("cpu_migrations"),
            cpu_seconds: sum(text, &series("on_cpu_seconds", "")),
        }
    }
}

/// Observations that a daemon says are lost for a reason.
pub(crate) fn lost(text: &str, reason: &str) -> u64 {
    sum(text, &format!("schedscope_events_lost_total{{reason=\"{reason}\"}}"))
}

pub(crate) fn threads(text: &str, workload: &str) -> u64 {
    sum(text, &format!("schedscope_workload_threads{{workload=\"{workload}\"}}"))
}

pub(crate) fn assert_never_down(before: &str, after: &str) {
    let after: HashMap<&str, f64> = samples(after).collect();
    let gauges: HashSet<&str> = before.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" gauge")).collect();
    for (series, value) in samples(before).filter(|(series, _)| !gauges.contains(series.split('{').next().unwrap())) {
        let later = after.get(series);
        assert!(later.is_some_and(|later| *later >= value), "{series} was {value} and is {later:?}");
    }
}
