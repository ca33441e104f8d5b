//! The files that the lab leaves behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cell::{Problem, Row};
use super::claims::{self, Judgement};
use super::embedded::put;
use super::estimates::{self, Compared};
use super::serve::Shown;
use super::{core_maps, host, page, sweep, table};
use crate::capture::preflight::kernel_release_name;
use crate::report::Options;

/// Value of the `schema` field of [`RESULTS`].
const SCHEMA: &str = "schedscope.lab/1";
/// The same of the file of a cell.
const CELL_SCHEMA: &str = "schedscope.lab-cell/1";
/// The same of what Prometheus saw.
const SERVED_SCHEMA: &str = "schedscope.lab-served/1";
/// The file that says whose the directory is: it is written first, and again at the end.
pub const RESULTS: &str = "results.json";
/// Everything else that the lab leaves in its directory.
const LEFT_BEHIND: &str = "cells workloads table.txt table.md core-maps.txt core-maps.html sweep.json sweep.csv sweep.txt \
    served.json metrics.prom run.json daemon.log daemon.toml programs prometheus grafana dashboards";

pub(crate) struct Findings {
    pub(crate) rows: Vec<Row>,
    pub(crate) judged: Vec<Judgement>,
    /// What processes would take, and what they took.
    pub(crate) estimates: Vec<Compared>,
    /// The cells of the sweep, apart from the others.
    pub(crate) sweep: Vec<Row>,
    /// What Prometheus saw, if it watched.
    pub(crate) shown: Vec<Shown>,
    pub(crate) cpus: usize,
    /// False after Ctrl-C.
    pub(crate) is_complete: bool,
}

impl Findings {
    pub(crate) fn place(&self) -> String {
        format!("Linux {}, {} CPUs", kernel_release_name(), self.cpus)
    }
}

/// Makes the directory, without what an earlier run left. A directory that has other files and no results of the lab is refused.
pub(crate) fn prepare_directory(directory: &Path) -> Result<()> {
    let shown = directory.display();
    fs::create_dir_all(directory).with_context(|| format!("cannot create {shown}"))?;
    let is_empty = fs::read_dir(directory).with_context(|| format!("cannot read {shown}"))?.next().is_none();
    if !is_empty && !has_results(directory) {
        bail!("{shown} is not empty and holds no results of the lab: name another directory with --output");
    }
    for path in LEFT_BEHIND.split(' ').map(|name| directory.join(name)) {
        let is_directory = path.is_dir() && !path.is_symlink();
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot remove {}, which an earlier run left", path.display()));
        }
    }
    put(&directory.join(RESULTS), &to_text(&json!({ "schema": SCHEMA, "complete": false }))?)?;
    let cells = directory.join("cells");
    fs::create_dir(&cells).with_context(|| format!("cannot create {}", cells.display()))
}

/// True if an earlier run of the lab wrote into the directory.
fn has_results(directory: &Path) -> bool {
    let text = fs::read_to_string(directory.join(RESULTS)).unwrap_or_default();
    serde_json::from_str::<Value>(&text).is_ok_and(|results| results["schema"] == SCHEMA)
}

/// Writes everything; returns the names of the files.
pub(crate) fn write(lab: &Findings, directory: &Path, metrics: &Result<Option<String>>, elapsed: Duration) -> Result<Vec<String>> {
    for row in &lab.rows {
        if let Some(cell) = cell_json(row) {
            put(&directory.join(file_of(row)), &to_text(&cell)?)?;
        }
    }
    let mut files: Vec<(&str, String)> = Vec::new();
    if !lab.shown.is_empty() {
        files.push(("served.json", to_text(&json!({ "schema": SERVED_SCHEMA, "cells": lab.shown }))?));
    }
    if !lab.rows.is_empty() {
        let says = claims::text(&lab.judged) + "\n" + &estimates::text(&lab.estimates);
        let (place, table) = (lab.place(), table::markdown(&lab.rows));
        files.extend([
            ("table.txt", format!("{place}\n\n{}\n{says}", table::text(&lab.rows))),
            ("table.md", format!("# Concurrency models on {place}\n\n```\n{says}```\n\n{table}")),
            ("core-maps.txt", core_maps::full(&lab.rows, &Options::default())),
            ("core-maps.html", page::html(&place, &lab.rows, &lab.judged)),
        ]);
    }
    if !lab.sweep.is_empty() {
        let (points, missing) = sweep::points(&lab.sweep);
        files.extend([
            ("sweep.json", to_text(&sweep::json(&points, &missing, lab.cpus))?),
            ("sweep.csv", sweep::csv(&points)),
            ("sweep.txt", sweep::text(&points, &missing, lab.cpus)),
        ]);
    }
    if let Ok(Some(text)) = metrics {
        files.push(("metrics.prom", text.clone()));
    }
    let no_metrics = metrics.as_ref().err().map(|error| format!("{error:#}"));
    files.push((RESULTS, to_text(&lab_json(lab, elapsed, no_metrics.as_deref()))?));
    for (name, text) in &files {
        put(&directory.join(name), text)?;
    }
    host::give_to_user(directory);
    Ok(files.into_iter().map(|(name, _)| name.to_owned()).collect())
}

fn lab_json(lab: &Findings, elapsed: Duration, no_metrics: Option<&str>) -> Value {
    let cells = lab.rows.iter().map(|row| match (&row.problem, row.figures()) {
        (Some(Problem::Skipped(why)), _) => json!({ "cell": row.cell, "skipped": why }),
        (Some(Problem::Failed(why)), _) => json!({ "cell": row.cell, "failed": why }),
        (None, figures) => json!({ "cell": row.cell, "runs": row.runs.len(), "figures": figures, "file": file_of(row) }),
    });
    json!({
        "schema": SCHEMA,
        "complete": lab.is_complete,
        "elapsed_seconds": elapsed.as_secs_f64(),
        "host": {
            "kernel": kernel_release_name(),
            "architecture": std::env::consts::ARCH,
            "cpus": lab.cpus,
            "cpu_model": host::cpu_model(),
        },
        "claims": lab.judged,
        "estimates": lab.estimates,
        "cells": cells.collect::<Vec<_>>(),
        "metrics_missing": no_metrics,
    })
}

/// All runs of a cell, whole.
fn cell_json(row: &Row) -> Option<Value> {
    let figures = row.figures()?;
    let runs = row.samples.iter().map(|sample| json!({ "workload": sample.said, "run": sample.report }));
    Some(json!({
        "schema": CELL_SCHEMA,
        "cell": row.cell,
        "program": row.cell.program,
        "arguments": row.cell.arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>(),
        "figures": figures,
        "runs": runs.collect::<Vec<_>>(),
    }))
}

/// Where a cell's runs are written, relative to the directory.
fn file_of(row: &Row) -> String {
    format!("cells/{}.json", row.cell.label().replace([' ', '/'], "-"))
}

fn to_text(value: &Value) -> Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_lab_left_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("a/b");
        prepare_directory(&directory).unwrap();
        put(&directory.join("cells/x.json"), "old").unwrap();
        put(&directory.join("notes.txt"), "of the user").unwrap();
        prepare_directory(&directory).unwrap();
        assert!(!directory.join("cells/x.json").exists() && directory.join("notes.txt").exists());
        // Somebody else's directory, even one with files of the same names.
        fs::remove_file(directory.join(RESULTS)).unwrap();
        put(&directory.join("table.txt"), "of the user").unwrap();
        let error = prepare_directory(&directory).unwrap_err().to_string();
        assert!(error.contains("--output") && directory.join("table.txt").exists(), "{error}");
    }
}
