//! Prometheus's own opinion of what we expose and of the configuration and rules we ship.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::check::{Counts, Outcome};
use crate::workspace::{find_program, read_text, root, run};

/// What a complete daemon exposes: the expectation of a test, so that it is always up to date.
const EXPOSITION: &str = "daemon/src/metrics/golden.prom";

/// Runs every check that promtool has for a file of ours.
pub(super) fn run_all() -> Result<Outcome> {
    let exposition = root().join(EXPOSITION);
    let exposition = File::open(&exposition).with_context(|| format!("cannot read {EXPOSITION}"))?;
    run(promtool()?.args(["check", "metrics"]).stdin(Stdio::from(exposition)))?;
    let mut passed = 1;
    for file in yaml_files(&root().join("grafana"))? {
        let Some(subcommand) = subcommand(&read_text(&file)?) else { continue };
        run(promtool()?.args(subcommand).arg(&file))?;
        passed += 1;
    }
    Ok(Outcome::Passed(Counts { passed, ..Counts::default() }))
}

fn promtool() -> Result<Command> {
    find_program("promtool").map(Command::new).context("promtool is gone")
}

/// What promtool can do with a file, from the keys at its top; nothing if it is Grafana's or another's.
fn subcommand(text: &str) -> Option<[&'static str; 2]> {
    let has_key = |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    if has_key("apiVersion") {
        None
    } else if has_key("tests") {
        Some(["test", "rules"])
    } else if has_key("scrape_configs") {
        Some(["check", "config"])
    } else if has_key("groups") {
        Some(["check", "rules"])
    } else {
        None
    }
}

fn yaml_files(top: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![top.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_checked_as_what_its_keys_say() {
        assert_eq!(subcommand("rule_files:\n  - a.yml\nscrape_configs: []\n"), Some(["check", "config"]));
        assert_eq!(subcommand("groups:\n  - name: a\n"), Some(["check", "rules"]));
        assert_eq!(subcommand("rule_files: [a.yml]\ntests:\n"), Some(["test", "rules"]));
        assert_eq!(subcommand("apiVersion: 1\ngroups: []\n"), None);
    }
}
