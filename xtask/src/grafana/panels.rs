//! The dashboards drawn by Grafana's published libraries, where there is no Grafana: the page `grafana/panels`, which asks Prometheus
//! what the panels ask.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router, extract};
use schedscope::lab::serve::background::Background;
use schedscope_grafana::dashboards;
use serde_json::Value;
use tower_http::services::ServeDir;

use crate::workspace::{find_program, output, read_text, root, run, target_dir};

/// Oldest Node.js that the libraries and the bundler run on.
const NODE_MAJOR: u32 = 20;
/// What of `grafana/panels` is copied to where it is built, so that the half gigabyte that npm installs stays out of the source tree.
const SOURCES: [&str; 7] = ["package.json", "package-lock.json", "tsconfig.json", "build.mjs", "pictures.mjs", "src", "tests"];
const LOCK: &str = "package-lock.json";

pub(crate) struct Page {
    workshop: PathBuf,
}

impl Page {
    /// Installs its packages if they have changed, and bundles it.
    pub(crate) fn build() -> Result<Page> {
        check_node()?;
        let page = Page { workshop: target_dir().join("panels") };
        page.copy_sources()?;
        page.install()?;
        run(page.node().args(["build.mjs", "--tests"]).env("OUT", page.served()))?;
        Ok(page)
    }

    pub(crate) fn check_types(&self) -> Result<()> {
        run(self.node().args(["node_modules/typescript/bin/tsc", "--noEmit"]))
    }

    pub(crate) fn serve(&self, listen: SocketAddr) -> Result<Background> {
        let router = Router::new()
            .route("/dashboards.json", get(async || Json(dashboards::all().iter().map(|known| known.uid).collect::<Vec<_>>())))
            .route("/dashboards/{file}", get(dashboard))
            .fallback_service(ServeDir::new(self.served()));
        Background::serve(listen, router)
    }

    /// Node, in the directory where the page is built.
    pub(crate) fn node(&self) -> Command {
        let mut command = Command::new("node");
        command.current_dir(&self.workshop);
        command
    }

    /// The bundle, and in `tests` the tests, which find their packages from there.
    pub(crate) fn served(&self) -> PathBuf {
        self.workshop.join("dist")
    }

    fn copy_sources(&self) -> Result<()> {
        let create = |path: &Path| fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()));
        create(&self.workshop)?;
        for name in SOURCES {
            let (from, to) = (root().join("grafana/panels").join(name), self.workshop.join(name));
            if to.is_dir() {
                fs::remove_dir_all(&to).with_context(|| format!("cannot delete {}", to.display()))?;
            }
            run(Command::new("cp").arg("-R").args([from, to]))?;
        }
        Ok(())
    }

    fn install(&self) -> Result<()> {
        let installed = self.workshop.join("node_modules/installed-lock.json");
        let wanted = read_text(&self.workshop.join(LOCK))?;
        if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
            return Ok(());
        }
        println!("Installing Grafana's libraries into {} ...", self.workshop.display());
        // No package may run code when it is installed; none that we use needs to.
        run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&self.workshop))?;
        fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))
    }
}

async fn dashboard(extract::Path(file): extract::Path<String>) -> Result<Json<Value>, StatusCode> {
    let found = dashboards::all().into_iter().find(|dashboard| format!("{}.json", dashboard.uid) == file);
    found.map(|dashboard| Json(dashboard.json())).ok_or(StatusCode::NOT_FOUND)
}

/// Fails if this host cannot build it; the error says what to install.
pub(crate) fn check_node() -> Result<()> {
    let hint = || format!("drawing the dashboards without Grafana needs Node.js {NODE_MAJOR} or later, with npm");
    for program in ["node", "npm"] {
        find_program(program).with_context(|| format!("no {program} on the PATH: {}", hint()))?;
    }
    let version = output(Command::new("node").arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR) {
        bail!("Node.js is {}: {}", version.trim(), hint());
    }
    Ok(())
}
