//! The panels as Grafana's own libraries draw them from the recorded scene, opened, clicked and read in a browser by
//! `grafana/panels/tests`.

use std::net::SocketAddr;

use serde_json::json;

use super::scene::{Scene, Trace};
use crate::{
    grafana::panels::{self, Page},
    workspace::{find_program, run, target_dir},
};

/// Names under which the browser is packaged.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

pub(super) fn panels_are_drawn(scene: &Scene) {
    let Some(browser) = BROWSERS.into_iter().find_map(find_program) else {
        println!("skipped: no browser; the package chromium has one");
        return;
    };
    if let Err(error) = panels::check_node() {
        println!("skipped: {error:#}");
        return;
    }
    let page = Page::build().unwrap();
    let server = page.serve(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let traces = [&scene.threads, &scene.processes].into_iter().chain(&scene.gil);
    let described = json!(traces.map(description).collect::<Vec<_>>()).to_string();
    let mut node = page.node();
    node.args(["--test", "--test-reporter=spec"]).arg(page.served().join("tests/panels.test.mjs")).envs([
        ("PAGE", format!("http://{}/", server.address())),
        ("PROMETHEUS", scene.prometheus.url()),
        ("PICTURES", target_dir().join("grafana/pictures").display().to_string()),
        ("CHROMIUM", browser.display().to_string()),
        ("SCENE", described),
    ]);
    run(&mut node).unwrap();
}

/// A workload as those tests read it.
fn description(trace: &Trace) -> serde_json::Value {
    let Trace { workload, report, first_seconds, middle_seconds, last_seconds } = trace;
    json!({
        "name": workload,
        "model": report.model.name,
        "threads": report.tasks.peak_threads,
        "c": report.parallelism.running_mean,
        "d": report.parallelism.demand_mean,
        "from": first_seconds,
        "middle": middle_seconds,
        "to": last_seconds,
    })
}
