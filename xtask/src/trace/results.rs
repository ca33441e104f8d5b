//! What the lab leaves behind, in `target/trace/`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use schedscope::{capture::preflight::kernel_release_name, report::Options};
use serde_json::{Value, json};

use super::{
    Lab,
    cell::{Outcome, Row},
    claims::{self, pages},
    core_maps, estimates, host, page, say, sweep, table,
};
use crate::workspace::root;

/// Value of the `schema` field of `results.json`.
const SCHEMA: &str = "schedscope.lab/1";
/// The same of the file of a cell.
const CELL_SCHEMA: &str = "schedscope.lab-cell/1";
/// The same of what Prometheus saw.
const SERVED_SCHEMA: &str = "schedscope.lab-served/1";

/// Makes the directory, without what an earlier run left.
pub(crate) fn prepare_directory(target: &Path) -> Result<PathBuf> {
    let directory = target.join("trace");
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}, which an earlier run left", path.display()))?;
    }
    fs::create_dir_all(directory.join("cells")).with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

/// Writes everything and says where.
pub(crate) fn write(lab: &Lab, directory: &Path, metrics: Result<Option<String>>, elapsed: Duration) -> Result<()> {
    for row in &lab.rows {
        if let Some(cell) = cell_json(row) {
            put(directory, &file_of(row), &to_text(&cell)?)?;
        }
    }
    let mut written = vec!["results.json"];
    if !lab.shown.is_empty() {
        put(directory, "served.json", &to_text(&json!({ "schema": SERVED_SCHEMA, "cells": lab.shown }))?)?;
        written.push("served.json");
    }
    if !lab.rows.is_empty() {
        let says = claims::text(&lab.judged) + "\n" + &estimates::text(&lab.estimates);
        put(directory, "table.txt", &format!("{}\n\n{}\n{says}", lab.place(), table::text(&lab.rows)))?;
        let table = table::markdown(&lab.rows);
        put(directory, "table.md", &format!("# Concurrency models on {}\n\n```\n{says}```\n\n{table}", lab.place()))?;
        put(directory, "core-maps.txt", &core_maps::full(&lab.rows, &Options::default()))?;
        put(directory, "core-maps.html", &page::html(lab))?;
        written.extend(["table.txt", "table.md", "core-maps.txt", "core-maps.html", "cells/"]);
    }
    if !lab.sweep.is_empty() {
        let (points, missing) = sweep::points(&lab.sweep);
        put(directory, "sweep.json", &to_text(&sweep::json(&points, &missing, lab.cpus))?)?;
        put(directory, "sweep.csv", &sweep::csv(&points))?;
        put(directory, "sweep.txt", &sweep::text(&points, &missing, lab.cpus))?;
        written.extend(["sweep.json", "sweep.csv", "sweep.txt"]);
    }
    let no_metrics = match metrics {
        Ok(None) => None,
        Ok(Some(text)) => {
            put(directory, "metrics.prom", &text)?;
            written.push("metrics.prom");
            None
        }
        Err(error) => Some(format!("{error:#}")),
    };
    put(directory, "results.json", &to_text(&lab_json(lab, elapsed, no_metrics.as_deref()))?)?;
    host::give_to_user(directory);
    let shown = directory.strip_prefix(root()).unwrap_or(directory);
    say(&format!("Written to {}: {}. It took {:.0} s.", shown.display(), written.join(", "), elapsed.as_secs_f64()));
    if let Some(why) = no_metrics {
        eprintln!("No metrics were written: {why}.");
    }
    Ok(())
}

/// Writes the measurements for `docs/claims/` and the pages that follow from them.
pub(crate) fn write_claims(lab: &Lab) -> Result<()> {
    let measured = pages::Measured {
        date: pages::today(),
        kernel: kernel_release_name(),
        architecture: std::env::consts::ARCH.to_owned(),
        cpus: lab.cpus,
        cpu_model: host::cpu_model(),
        claims: lab.judged.clone(),
        estimates: lab.estimates.clone(),
    };
    let path = pages::measured_path();
    let directory = path.parent().context("the measurements have no directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let text = serde_json::to_string_pretty(&measured)? + "\n";
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    for (path, text) in pages::all(&measured) {
        fs::write(root().join(&path), text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    host::give_to_user(directory);
    say("Written to docs/claims/: a page for each claim.");
    Ok(())
}

fn lab_json(lab: &Lab, elapsed: Duration, no_metrics: Option<&str>) -> Value {
    let cells: Vec<Value> = lab
        .rows
        .iter()
        .map(|row| {
            let mut value = json!({ "cell": row.cell });
            match &row.outcome {
                Outcome::Measured { figures, samples, .. } => {
                    value["runs"] = json!(samples.len());
                    value["figures"] = json!(figures);
                    value["file"] = json!(file_of(row));
                }
                Outcome::Skipped { why } => value["skipped"] = json!(why),
                Outcome::Failed { why } => value["failed"] = json!(why),
            }
            value
        })
        .collect();
    json!({
        "schema": SCHEMA,
        "complete": lab.is_complete,
        "elapsed_seconds": elapsed.as_secs_f64(),
        "host": { "kernel": kernel_release_name(), "cpus": lab.cpus },
        "claims": lab.judged,
        "estimates": lab.estimates,
        "cells": cells,
        "metrics_missing": no_metrics,
    })
}

/// All runs of a cell, whole.
fn cell_json(row: &Row) -> Option<Value> {
    let Outcome::Measured { figures, samples, .. } = &row.outcome else { return None };
    let runs: Vec<Value> = samples.iter().map(|sample| json!({ "workload": sample.said, "run": sample.report })).collect();
    let command: Vec<_> = row.cell.arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    Some(json!({
        "schema": CELL_SCHEMA,
        "cell": row.cell,
        "program": row.cell.program,
        "arguments": command,
        "figures": figures,
        "runs": runs,
    }))
}

/// Where a cell's runs are written, relative to the directory.
fn file_of(row: &Row) -> String {
    format!("cells/{}.json", row.cell.label().replace([' ', '/'], "-"))
}

fn to_text(value: &Value) -> Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

fn put(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
