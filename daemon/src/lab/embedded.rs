//! What the program carries with it, so that the lab needs nothing of the source tree.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Files of one directory: their names and texts.
pub(crate) type Files<'a> = &'a [(&'a str, &'a str)];

macro_rules! files {
    ($directory:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../", $directory, "/", $name)))),*]
    };
}

/// The Python workloads.
pub const SCRIPTS: Files<'static> = files!("workloads/python":
    "blur.py" "c_code.py" "cells.py" "claim_cells.py" "computing.py" "convoy.py" "database.py" "directories.py" "encryption.py"
    "event_loop.py" "faults.py" "fetch.py" "file_read.py" "file_write.py" "jobs.py" "lab.py" "loop_lag.py" "measure.py"
    "messages.py" "models.py" "monte_carlo.py" "oversubscribed.py" "scrape.py" "server.py" "shared_state.py" "sharing.py"
    "startup.py" "subinterpreters.py" "tasks.py" "textbook.py" "upload.py" "waiting.py" "web.py" "worker.py"
);
/// The one of them that runs a cell.
pub const LAB_SCRIPT: &str = "lab.py";

pub(crate) const PROMETHEUS: &str = include_str!("../../../grafana/prometheus/prometheus.yml");
pub(crate) const RULES: Files<'static> = files!("grafana/prometheus/rules": "schedscope-alerts.yml" "schedscope-recordings.yml");
pub(crate) const DASHBOARDS: Files<'static> = files!("grafana/dashboards":
    "schedscope-core-map.json" "schedscope-fleet.json" "schedscope-health.json" "schedscope-latency.json" "schedscope-models.json"
);
/// What tells Grafana of its data source.
pub(crate) const DATA_SOURCE: &str = include_str!("../../../grafana/provisioning/datasources/schedscope.yaml");
/// What tells Grafana of the dashboards.
pub(crate) const DASHBOARD_PROVIDER: &str = include_str!("../../../grafana/provisioning/dashboards/schedscope.yaml");

/// Writes files into a directory, which is made if need be.
pub fn write(files: Files, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for (name, text) in files {
        put(&directory.join(name), text)?;
    }
    Ok(())
}

pub(crate) fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_file_of_the_source_tree_is_carried() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (files, directory) in
            [(SCRIPTS, "workloads/python"), (RULES, "grafana/prometheus/rules"), (DASHBOARDS, "grafana/dashboards")]
        {
            let found = fs::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap().path());
            let found: BTreeMap<String, String> = found
                .filter(|path| path.is_file())
                .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
                .collect();
            let carried: BTreeMap<String, String> =
                files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            assert!(carried == found, "{directory}: {:?} are carried, {:?} are there", carried.keys(), found.keys());
        }
    }
}
