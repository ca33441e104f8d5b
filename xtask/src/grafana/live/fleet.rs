//! Two daemons in two network namespaces, one Prometheus that reaches both, and the fleet dashboard.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::SocketAddr,
    os::fd::AsRawFd,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use schedscope::metrics::catalog;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    expressions::{self, Choice},
    scene::{built, now_seconds, prometheus_where_allowed, query, wait_for_daemon},
};
use crate::{
    grafana::prometheus::{Prometheus, Settings},
    trace::child::{Service, Stop},
};

/// Addresses reserved for documentation: nothing outside the two namespaces has them.
const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
/// Default port of the daemon: each has its own in its namespace.
const PORT: u16 = 9752;
/// The interface in each namespace.
const INTERFACE: &str = "fleet";
/// What the dashboard may take to show that a host is gone.
const LIMIT: Duration = Duration::from_secs(20);
const DASHBOARD: &str = "schedscope: fleet";

#[test]
fn the_fleet_dashboard_tells_two_hosts_apart() {
    let Some(program) = prometheus_where_allowed() else { return };
    let hosts = match ["a", "b"].map(Namespace::create) {
        [Ok(a), Ok(b)] => [a, b],
        [Err(why), _] | [_, Err(why)] => {
            println!("skipped: no network namespaces here: {why}");
            return;
        }
    };
    connect(&hosts);
    let scratch = TempDir::new().unwrap();
    let _home = Visit::begin();
    let addresses = ADDRESSES.map(|address| SocketAddr::new(address.parse().unwrap(), PORT));
    let [first, second] = [0, 1].map(|number| {
        hosts[number].enter();
        daemon(scratch.path(), number, addresses[number])
    });
    hosts[0].enter();
    addresses.into_iter().for_each(wait_for_daemon);
    let settings = Settings {
        daemons: addresses.to_vec(),
        ..Settings::new(addresses[0], SocketAddr::new(ADDRESSES[0].parse().unwrap(), 9090), 1)
    };
    let prometheus = Prometheus::start(&program, &scratch.path().join("prometheus"), &settings, &Stop::default()).unwrap();
    let work = Service::start(Command::new(scratch.path().join("fleet-work")).args([
        "native",
        "--task",
        "spin",
        "--model",
        "threads",
        "--workers",
        "2",
        "--seconds",
        "60",
    ]))
    .unwrap();
    sleep(Duration::from_secs(15));

    let instances = addresses.map(|address| address.to_string());
    both_hosts_are_told_apart(&prometheus, &instances);
    one_host_can_be_chosen(&prometheus, &instances[1]);
    wait_until_answering(&prometheus, ["2", "0"]);
    drop(second);
    let seconds = wait_until_answering(&prometheus, ["1", "1"]);
    println!("a host that is gone is shown after {seconds:.1} s");
    drop((work, prometheus, first));
}

/// Every expression that keeps the host has both, and each host's workload is on that host alone.
fn both_hosts_are_told_apart(prometheus: &Prometheus, instances: &[String; 2]) {
    let both: BTreeSet<&str> = instances.iter().map(String::as_str).collect();
    let now = now_seconds();
    let mut by_host = 0;
    for asked in expressions::all().iter().filter(|asked| asked.what.starts_with(DASHBOARD)) {
        let series = query(prometheus, &Choice::all("10s").apply(&asked.expr), now);
        assert!(!series.is_empty(), "{}: {}", asked.what, asked.expr);
        let found = instances_of(&series);
        if !found.is_empty() {
            by_host += 1;
            assert_eq!(found, both, "{}: {}", asked.what, asked.expr);
        }
    }
    assert!(by_host > 10, "only {by_host} expressions keep the host");
    for (number, instance) in instances.iter().enumerate() {
        let series = query(prometheus, &format!("{}{{workload=\"fleet-{number}\"}} > 0", catalog::WORKLOAD_THREADS.name), now);
        assert_eq!(instances_of(&series), BTreeSet::from([instance.as_str()]));
    }
    println!("{by_host} expressions of the fleet dashboard tell {both:?} apart");
}

/// With one host chosen, nothing of the other is shown.
fn one_host_can_be_chosen(prometheus: &Prometheus, instance: &str) {
    let choice = Choice { instance: instance.to_owned(), ..Choice::all("10s") };
    for asked in expressions::all().iter().filter(|asked| asked.what.starts_with(DASHBOARD)) {
        let series = query(prometheus, &choice.apply(&asked.expr), now_seconds());
        let found = instances_of(&series);
        assert!(found.is_empty() || found == BTreeSet::from([instance]), "{}: {found:?}", asked.what);
    }
}

fn instances_of(series: &[(Value, f64)]) -> BTreeSet<&str> {
    series.iter().filter_map(|(labels, _)| labels["instance"].as_str()).collect()
}

/// Waits until the dashboard shows so many hosts that answer, and so many that do not; how long it took, in seconds.
fn wait_until_answering(prometheus: &Prometheus, expected: [&str; 2]) -> f64 {
    let shown = || {
        ["Hosts that answer", "Silent hosts"].map(|panel| {
            let exprs = expressions::of_panel(DASHBOARD, panel);
            query(prometheus, &Choice::all("10s").apply(&exprs[0]), now_seconds())[0].1.to_string()
        })
    };
    let began = Instant::now();
    while shown() != expected {
        assert!(began.elapsed() < LIMIT, "{:?} hosts answer and do not answer, not {expected:?}", shown());
        sleep(Duration::from_millis(500));
    }
    began.elapsed().as_secs_f64()
}

/// Knows the same program under another name than the other daemon does.
fn daemon(scratch: &Path, number: usize, address: SocketAddr) -> Service {
    fs::copy(built("schedscope-workloads"), scratch.join("fleet-work")).unwrap();
    let rule = format!("[[workload]]\nname = \"fleet-{number}\"\nmatch = {{ exe = \"*/fleet-work\" }}\n");
    let file = scratch.join(format!("fleet-{number}.toml"));
    fs::write(&file, format!("[own_cost]\nwindow_seconds = 1\nevery_seconds = 4\n{rule}")).unwrap();
    let mut command = Command::new(built("schedscope"));
    Service::start(command.args(["daemon", "--allow-remote", "--listen", &address.to_string(), "--config"]).arg(file)).unwrap()
}

/// A network namespace, deleted with everything in it at the end.
struct Namespace(String);

impl Namespace {
    /// Its name is not used by another run of the tests.
    fn create(letter: &str) -> Result<Namespace, String> {
        let name = format!("schedscope-{}-{letter}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Namespace(name);
        ip(&["-n", &namespace.0, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// From now on what this thread starts and asks is in it.
    fn enter(&self) {
        enter(&File::open(Path::new("/run/netns").join(&self.0)).unwrap());
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(why) = ip(&["netns", "delete", &self.0]) {
            println!("cannot delete network namespace {}: {why}", self.0);
        }
    }
}

/// Brings this thread back when it ends, also by a failure.
struct Visit(File);

impl Visit {
    fn begin() -> Visit {
        Visit(File::open("/proc/thread-self/ns/net").unwrap())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        enter(&self.0);
    }
}

fn enter(namespace: &File) {
    // SAFETY: a system call without memory, on a descriptor that is open.
    let status = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(status, 0, "cannot enter a network namespace: {}", std::io::Error::last_os_error());
}

/// A wire between the two, with an address at each end.
fn connect([a, b]: &[Namespace; 2]) {
    ip(&["-n", &a.0, "link", "add", INTERFACE, "type", "veth", "peer", "name", INTERFACE, "netns", &b.0]).unwrap();
    for (namespace, address) in [a, b].into_iter().zip(ADDRESSES) {
        ip(&["-n", &namespace.0, "address", "add", &format!("{address}/30"), "dev", INTERFACE]).unwrap();
        ip(&["-n", &namespace.0, "link", "set", INTERFACE, "up"]).unwrap();
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    match Command::new("ip").args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("cannot run ip: {error}")),
    }
}
