//! `docs/claims/`: what people say about threads and processes, and what was measured of it.
//!
//! The page is a function of its source, `claims.md`, of the claims with their tolerances, and of what `cargo xtask trace --docs`
//! measured. So `cargo xtask generate --check` can tell without measuring that what it says is so.

use std::collections::BTreeSet;
use std::time::SystemTime;

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use schedscope::lab::claims::{ALL, Claim, Judgement, TOLERANCES, remarks};
use schedscope::lab::estimates::Compared;
use schedscope::lab::units::Unit;
use serde::{Deserialize, Serialize};

use crate::workspace::{date, read_text, root};

/// The page, from the root.
pub(crate) const PAGE: &str = "docs/claims/README.md";
/// What was measured for it.
pub(crate) const MEASURED: &str = "docs/claims/measured.json";
/// The page, with names in braces for what follows from the claims and the measurements.
const SOURCE: &str = include_str!("claims.md");

/// What was measured for the page: a part of what the lab leaves behind, and the day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Day in universal time, as year-month-day.
    #[serde(default = "today")]
    date: String,
    host: Host,
    claims: Vec<Judgement>,
    estimates: Vec<Compared>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Host {
    kernel: String,
    architecture: String,
    cpus: usize,
    cpu_model: String,
}

fn today() -> String {
    date(SystemTime::now()).unwrap_or_else(|_| "an unknown day".to_owned())
}

/// The page of what was last measured for it.
pub(crate) fn committed() -> Result<String> {
    let text = read_text(&root().join(MEASURED)).context("`cargo xtask trace --docs` measures and writes it")?;
    Ok(page(&serde_json::from_str(&text).with_context(|| format!("cannot read {MEASURED}"))?))
}

pub(crate) fn page(measured: &Measured) -> String {
    let Host { kernel, architecture, cpus, cpu_model } = &measured.host;
    let place = format!("Measured on {}: Linux {kernel}, {architecture}, {cpus} CPUs ({cpu_model}).", measured.date);
    let mut text = SOURCE.replace("{place}", &place);
    text = text.replace("{verdicts}", &verdicts(measured)).replace("{estimates}", &estimates(&measured.estimates));
    for claim in &ALL {
        text = text.replace(&format!("{{claim {}}}", claim.id), &section(claim, measured));
    }
    for (name, value) in TOLERANCES {
        text = text.replace(&format!("{{{name}}}"), &value.to_string());
        text = text.replace(&format!("{{{name} %}}"), &format!("{:.0} %", 100.0 * value));
    }
    text
}

fn verdicts(measured: &Measured) -> String {
    let runtimes = runtimes(measured);
    let rows = ALL.iter().map(|claim| {
        let verdict = |runtime: &&str| find(measured, claim, runtime).map_or("not measured", |found| found.verdict.words());
        let link = format!("[{}](#{})", claim.sentence, claim.id);
        [link].into_iter().chain(runtimes.iter().map(|runtime| verdict(runtime).to_owned())).collect()
    });
    table("claim", &runtimes, rows)
}

fn section(claim: &Claim, measured: &Measured) -> String {
    let runtimes = runtimes(measured);
    let judged: Vec<&Judgement> = runtimes.iter().filter_map(|runtime| find(measured, claim, runtime)).collect();
    let mut parts = vec![format!("## {}\n\n<a id=\"{}\"></a>", claim.sentence, claim.id)];
    // The text of today's claim, not of the day when it was measured.
    let said = |one: &Judgement| {
        let one = Judgement { nuance: claim.nuance(one.verdict).to_owned(), ..one.clone() };
        format!("**{}**. {}", one.verdict.words(), remarks(&one, "")).trim_end().to_owned()
    };
    parts.extend(judged.chunk_by(|a, b| said(a) == said(b)).map(|same| {
        let names: Vec<&str> = same.iter().map(|one| one.runtime.as_str()).collect();
        format!("CPython {}: {}", names.join(" and "), said(same[0]))
    }));
    let names = distinct(judged.iter().flat_map(|one| &one.figures).map(|figure| figure.name.as_str()));
    let value = |runtime: &str, name: &str| {
        let figure = find(measured, claim, runtime)?.figures.iter().find(|figure| figure.name == name)?;
        let [median, min, max] = [figure.median, figure.min, figure.max].map(|value| figure.unit.write(value));
        Some(if min == max { median } else { format!("{median} [{min} to {max}]") })
    };
    if !names.is_empty() {
        let rows = names.iter().map(|name| {
            let values = runtimes.iter().map(|runtime| value(runtime, name).unwrap_or_default());
            [(*name).to_owned()].into_iter().chain(values).collect()
        });
        parts.push(table("figure", &runtimes, rows));
    }
    let cells: Vec<&str> = claim.all_cells().collect();
    let pattern = if let [one] = cells.as_slice() { (*one).to_owned() } else { format!("{{{}}}", cells.join(",")) };
    let rounds = judged.iter().map(|one| one.rounds).max().unwrap_or(0);
    parts.push(format!(
        "Rests on {}; runs of each cell: {rounds}. Repeat it: `sudo schedscope lab --repeats 5 --cells '{pattern}'`",
        format!("{:?}", claim.gate).to_lowercase()
    ));
    parts.join("\n\n")
}

fn estimates(estimates: &[Compared]) -> String {
    if estimates.is_empty() {
        return "Not measured: other programs kept the threads waiting for CPUs, and such a run does not tell.".to_owned();
    }
    let headings = ["threads", "CPython", "took", "processes, estimated", "measured", "error", "others' share of the CPUs"];
    let rows = estimates.iter().map(|one| {
        let seconds = |value| Unit::Seconds.write(value);
        vec![
            format!("{} × {}", one.workers, one.cell),
            one.runtime.clone(),
            seconds(one.threads_wall_seconds),
            seconds(one.estimated_wall_seconds),
            seconds(one.measured_wall_seconds),
            format!("{:+.0} %", 100.0 * one.error),
            format!("{:.0} %", 100.0 * one.foreign_share),
        ]
    });
    markdown(headings.map(str::to_owned).to_vec(), rows)
}

fn table(first: &str, runtimes: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    markdown([first.to_owned()].into_iter().chain(runtimes.iter().map(|runtime| format!("CPython {runtime}"))).collect(), rows)
}

fn markdown(headings: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(headings).add_rows(rows);
    table.trim_fmt()
}

fn runtimes(measured: &Measured) -> Vec<&str> {
    distinct(measured.claims.iter().map(|judged| judged.runtime.as_str()))
}

/// Each once, in the order in which they come first.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

fn find<'a>(measured: &'a Measured, claim: &Claim, runtime: &str) -> Option<&'a Judgement> {
    measured.claims.iter().find(|judged| judged.claim == claim.id && judged.runtime == runtime)
}

#[cfg(test)]
mod tests {
    use schedscope::lab::claims::{Spread, Verdict};

    use super::*;

    #[test]
    fn every_name_in_the_source_stands_for_something_and_every_claim_is_there() {
        let page = page(&Measured::default());
        let unknown: Vec<&str> = page.lines().filter(|line| line.contains('{') && !line.contains("--cells '{")).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        for claim in &ALL {
            assert!(
                page.contains(&format!("(#{})", claim.id)) && page.contains(&format!("<a id=\"{}\">", claim.id)),
                "{}",
                claim.id
            );
        }
    }

    #[test]
    fn a_claim_shows_verdict_reason_and_figures_of_each_runtime() {
        let judged = |runtime: &str, median| Judgement {
            claim: "waiting-overlaps".to_owned(),
            runtime: runtime.to_owned(),
            verdict: Verdict::Inconclusive,
            why: Some("other programs took 40 % of the CPUs during download-serial".to_owned()),
            figures: vec![Spread { name: "on threads".to_owned(), unit: Unit::Factor, median, min: 3.8, max: 3.95 }],
            rounds: 3,
            ..Judgement::default()
        };
        let measured = Measured { claims: vec![judged("3.11.7", 3.9), judged("3.13.0", 3.85)], ..Measured::default() };
        let page = page(&measured);
        let said = "CPython 3.11.7 and 3.13.0: **inconclusive**. Other programs took 40 % of the CPUs during download-serial.\n";
        assert!(page.contains(said) && page.contains("runs of each cell: 3."), "{page}");
        assert!(page.contains("| on threads | 3.90x [3.80x to 3.95x] | 3.85x [3.80x to 3.95x] |"), "{page}");
    }

    #[test]
    fn measurements_are_a_part_of_the_results() {
        let results = r#"{ "schema": "schedscope.lab/1", "cells": [], "claims": [], "estimates": [],
            "host": { "kernel": "6.18", "architecture": "x86_64", "cpus": 2, "cpu_model": "none" } }"#;
        let measured: Measured = serde_json::from_str(results).unwrap();
        assert!(measured.date.len() == "2026-11-20".len() && measured.host.cpus == 2, "{measured:?}");
    }
}
