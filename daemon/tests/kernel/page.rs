//! The built-in page in a real browser, against a real daemon.

use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::Duration;

use schedscope::lab::daemon::free_address;
use serde_json::Value;
use tempfile::TempDir;

use super::browser::Browser;
use super::host::{self, Guarded, comes_true, privileged};
use super::served::{Daemon, rule, sum};

/// What a hostile or careless person would name a workload, with all that a name may hold: double quotes are refused.
const NAME: &str = "it's <b>'odd'</b> & \\\\ <script>";
/// The same as the browser has to have it.
const SHOWN: &str = "it's <b>'odd'</b> & \\ <script>";

fn comm() -> String {
    format!("page-{}", std::process::id())
}

/// Two threads that pass a byte to and fro for some seconds, long enough for the daemon to look at them: they run, wait for each
/// other and for the CPU, and when they have ended the workload's numbers stay as they are. The program runs through a link, so that
/// its name is no other test's.
fn worker(dir: &TempDir) -> Guarded {
    let program = dir.path().join(comm());
    symlink(host::workloads(), &program).unwrap();
    Guarded::start(program, &["ping-pong", "--switches", "3000000", "--normal-policy"])
}

fn row() -> String {
    format!("[...document.querySelectorAll('#table tbody tr')].find((it) => it.dataset.workload === {})", Value::from(SHOWN))
}

fn metric(text: &str, name: &str) -> f64 {
    let label = SHOWN.replace('\\', "\\\\");
    sum(text, &format!("schedscope_workload_{name}{{workload=\"{label}\""))
}

#[test]
fn the_page_shows_every_core_and_the_numbers_of_metrics() {
    let Some(mut browser) = privileged().and_then(|()| Browser::start(1280, 900)) else { return };
    let daemon = Daemon::start(&rule(NAME, &comm()));
    let dir = TempDir::new().unwrap();
    let mut worker = worker(&dir);
    browser.open(&format!("http://{}/", daemon.address));
    assert!(browser.shows("document.getElementById('state').dataset.state === 'live'"), "{:?}", browser.complaints());
    let cpus = daemon.get("/metrics").lines().filter(|line| line.starts_with("schedscope_cpu_idle_seconds_total{")).count();
    assert!(browser.shows(&format!("Number(document.getElementById('map').dataset.rows) === {cpus}")));
    assert!(browser.shows("Number(document.getElementById('map').dataset.columns) >= 2"));
    assert!(browser.shows(&row()), "the workload is not in the table");
    assert_eq!(
        browser.evaluate("document.querySelector('#table b, #legend b, #table script')"),
        Value::Null,
        "a name became markup"
    );

    // Picked out, it is so everywhere.
    browser.point(&format!("{}.querySelector('.name')", row()), (0.5, 0.5), true);
    assert!(browser.shows(&format!("{}.className === 'picked'", row())));
    assert_eq!(browser.evaluate("document.getElementById('chosen').textContent"), SHOWN);

    // What it lost is told in the daemon's words, and the bar is all there was.
    let told = "document.getElementById('sentence').textContent";
    assert_eq!(browser.evaluate("document.getElementById('asked').textContent"), SHOWN);
    assert!(browser.shows(&format!("{told}.endsWith('.') && document.getElementById('cores').children.length > 1")));
    let same = || {
        let status: Value = serde_json::from_str(&daemon.get("/status")).unwrap();
        let workload = status["workloads"].as_array().unwrap().iter().find(|it| it["name"] == SHOWN).unwrap().clone();
        let parts: Value =
            serde_json::from_str(browser.evaluate("document.getElementById('cores').dataset.parts").as_str().unwrap()).unwrap();
        let all: f64 = parts.as_object().unwrap().values().map(|ns| ns.as_f64().unwrap()).sum();
        workload["last_window"]["sentence"] == browser.evaluate(told) && workload["last_window"]["given_ns"].as_f64() == Some(all)
    };
    assert!(comes_true(20, same), "the page and /status differ: {}", daemon.get("/status"));

    // The pointer and the keys read the map out.
    browser.point("document.querySelector('#map .u-over')", (0.95, 0.25), false);
    assert!(browser.shows("/CPU \\d+: \\d+\\s% busy/.test(document.getElementById('map-readout').textContent)"));
    browser.evaluate("document.getElementById('map').focus()");
    let [first, last] = ["Home", "End"].map(|key| {
        browser.press(key);
        browser.evaluate("document.querySelector('#map-readout .time').textContent")
    });
    assert_ne!(first, last);

    the_sums_are_those_of_metrics(&daemon, &mut browser, &mut worker);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Over everything since tracing began, once the worker has stopped working.
fn the_sums_are_those_of_metrics(daemon: &Daemon, browser: &mut Browser, worker: &mut Guarded) {
    assert!(comes_true(60, || worker.try_wait().unwrap().is_some()), "it works for too long");
    browser.point("document.querySelector('#windows [data-seconds=\"0\"]')", (0.5, 0.5), true);
    // It is shown a second later at most.
    sleep(Duration::from_millis(2500));
    let sums: Value = serde_json::from_str(browser.evaluate(&format!("{}.dataset.sums", row())).as_str().unwrap()).unwrap();
    let text = daemon.get("/metrics");
    for key in ["running", "runnable", "transit", "pipe_socket", "voluntary"] {
        assert!(sums[key].as_f64().is_some_and(|sum| sum > 0.0), "no {key}, so that nothing is compared: {sums}");
    }
    let keys = ["running", "runnable", "transit", "voluntary", "preempted", "yielded", "migrations"];
    let others = sums.as_object().unwrap().iter().filter(|(key, _)| !keys.contains(&key.as_str()));
    let blocked = others.map(|(_, ns)| ns.as_f64().unwrap()).sum::<f64>();
    for (ns, name) in [
        (sums["running"].as_f64().unwrap(), "on_cpu_seconds_total"),
        (sums["runnable"].as_f64().unwrap(), "runnable_seconds_total"),
        (sums["transit"].as_f64().unwrap(), "transit_seconds_total"),
        (blocked, "blocked_seconds_total"),
    ] {
        let theirs = metric(&text, name);
        assert!((ns / 1e9 - theirs).abs() < 2e-9, "{name}: {ns} ns on the page, {theirs} s in metrics");
    }
    let switches = ["voluntary", "preempted", "yielded"].map(|key| sums[key].as_f64().unwrap()).iter().sum::<f64>();
    assert!((switches - metric(&text, "context_switches_total")).abs() < 0.5 && switches > 0.0, "{sums}");
    assert!((sums["migrations"].as_f64().unwrap() - metric(&text, "cpu_migrations_total")).abs() < 0.5, "{sums}");
}

#[test]
fn when_the_daemon_goes_the_page_says_so_and_when_it_is_back_it_goes_on() {
    let Some(mut browser) = privileged().and_then(|()| Browser::start(390, 800)) else { return };
    let address = free_address().unwrap();
    let daemon = Daemon::start_at(address, "");
    browser.open(&format!("http://{address}/"));
    assert!(browser.shows("Number(document.getElementById('map').dataset.columns) >= 2"));
    assert!(browser.shows("document.documentElement.scrollWidth <= innerWidth"), "a phone has to scroll sideways");
    assert_eq!(browser.complaints(), [""; 0]);
    drop(daemon);
    assert!(browser.shows("document.getElementById('state').dataset.state === 'gone'"));
    let text = browser.evaluate("document.getElementById('state').textContent");
    assert!(text.as_str().unwrap().contains("the daemon cannot be reached"), "{text}");
    let _daemon = Daemon::start_at(address, "");
    assert!(browser.shows("document.getElementById('state').textContent.includes('started again')"));
    assert!(browser.shows("Number(document.getElementById('map').dataset.columns) >= 2"));
}
