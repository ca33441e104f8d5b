//! Two daemons on two addresses, a Prometheus that scrapes both, and the fleet dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::{sleep, spawn};
use std::time::Duration;

use anyhow::Result;
use schedscope::lab::child::{Service, Stop};
use schedscope::lab::serve::prometheus::{Prometheus, Settings};
use schedscope::lab::server::Server;
use schedscope::lab::{self};
use schedscope::metrics::catalog;
use schedscope_grafana::dashboards;
use serde_json::Value;
use tempfile::TempDir;

use super::scene::{Choice, built, now_seconds, of_panel, prometheus_where_allowed, query, wait_until};
use crate::workspace::output;

/// Addresses reserved for documentation. Unlike loopback addresses they need `--allow-remote`.
const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const PORT: u16 = 9752;
const DASHBOARD: &str = "schedscope: fleet";

#[test]
fn the_fleet_dashboard_tells_two_hosts_apart() {
    let Some(program) = prometheus_where_allowed() else { return };
    // Not on this thread, which may have to run other tests where it is.
    let ended = spawn(move || match enter_network() {
        Ok(()) => watch_two_hosts(&program),
        Err(why) => println!("skipped: no network namespaces here: {why:#}"),
    });
    ended.join().unwrap();
}

fn watch_two_hosts(program: &Path) {
    let scratch = TempDir::new().unwrap();
    let addresses = ADDRESSES.map(|address| SocketAddr::new(address.parse().unwrap(), PORT));
    let [first, second] = [0, 1].map(|number| daemon(scratch.path(), number, addresses[number]));
    let listen = SocketAddr::new(addresses[0].ip(), 9090);
    let settings = Settings { daemons: addresses.to_vec(), ..Settings::new(addresses[0], listen, 1) };
    let prometheus = Prometheus::start(program, &scratch.path().join("prometheus"), &settings, &Stop::default()).unwrap();
    let mut work = Command::new(scratch.path().join("fleet-work"));
    let work = Service::start(work.args("native --task spin --model threads --workers 2 --seconds 60".split(' '))).unwrap();
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

/// Every expression that keeps the label `instance` has both hosts, and each host's workload is on that host alone.
fn both_hosts_are_told_apart(prometheus: &Prometheus, instances: &[String; 2]) {
    let both: BTreeSet<&str> = instances.iter().map(String::as_str).collect();
    let now = now_seconds();
    let mut by_host = 0;
    for (what, expr) in dashboards::expressions().iter().filter(|(what, _)| what.starts_with(DASHBOARD)) {
        let series = query(prometheus, &Choice::all("10s").apply(expr), now);
        assert!(!series.is_empty(), "{what}: {expr}");
        let found = instances_of(&series);
        if !found.is_empty() {
            by_host += 1;
            assert_eq!(found, both, "{what}: {expr}");
        }
    }
    assert!(by_host > 10, "only {by_host} expressions keep the host");
    for (number, instance) in instances.iter().enumerate() {
        let series = query(prometheus, &format!("{}{{workload=\"fleet-{number}\"}} > 0", catalog::WORKLOAD_THREADS.name), now);
        assert_eq!(instances_of(&series), BTreeSet::from([instance.as_str()]));
    }
    println!("{by_host} expressions of the fleet dashboard tell {both:?} apart");
}

/// With one host chosen, nothing of the other shows.
fn one_host_can_be_chosen(prometheus: &Prometheus, instance: &str) {
    let choice = Choice { instance: instance.to_owned(), ..Choice::all("10s") };
    for (what, expr) in dashboards::expressions().iter().filter(|(what, _)| what.starts_with(DASHBOARD)) {
        let series = query(prometheus, &choice.apply(expr), now_seconds());
        let found = instances_of(&series);
        assert!(found.is_empty() || found == BTreeSet::from([instance]), "{what}: {found:?}");
    }
}

fn instances_of(series: &[(Value, f64)]) -> BTreeSet<&str> {
    series.iter().filter_map(|(labels, _)| labels["instance"].as_str()).collect()
}

/// Waits until the dashboard shows so many hosts that answer and so many that are silent; how long it took, in seconds.
fn wait_until_answering(prometheus: &Prometheus, expected: [&str; 2]) -> f64 {
    wait_until(&format!("{expected:?} hosts answer and do not answer"), || {
        let shown = ["Hosts that answer", "Silent hosts"].map(|panel| {
            let exprs = of_panel(DASHBOARD, panel);
            query(prometheus, &Choice::all("10s").apply(&exprs[0]), now_seconds())[0].1.to_string()
        });
        shown == expected
    })
}

/// Names the same program differently from the other daemon.
fn daemon(scratch: &Path, number: usize, address: SocketAddr) -> Server {
    fs::copy(built("schedscope-workloads"), scratch.join("fleet-work")).unwrap();
    let rule = format!("[[workload]]\nname = \"fleet-{number}\"\nmatch = {{ exe = \"*/fleet-work\" }}\n");
    let file = scratch.join(format!("fleet-{number}.toml"));
    fs::write(&file, format!("[own_cost]\nwindow_seconds = 1\nevery_seconds = 4\n{rule}")).unwrap();
    let options = ["--allow-remote".as_ref(), "--config".as_ref(), file.as_ref()];
    lab::daemon::start(&built("schedscope"), scratch.join(format!("{number}.log")), address, &options, &Stop::default()).unwrap()
}

/// Moves this thread, and what it starts, into a new network namespace that has only the two addresses and ends with them.
fn enter_network() -> Result<()> {
    // SAFETY: the call takes no pointer, and a network namespace belongs to a thread, so no other thread is affected.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    ADDRESSES
        .into_iter()
        .try_for_each(|address| output(Command::new("ip").args(["address", "add", address, "dev", "lo"])).map(drop))
}
