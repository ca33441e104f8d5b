//! Programs of the cells under names of their own, so that rules of the daemon tell the cells apart.
//!
//! All cells of a runtime are the same program. An interpreter is called by a link, which gives all its processes the link's
//! name; of the native program each cell has a copy.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::trace::cell::Cell;

/// Names that the daemon has room for beside those of other programs on the host; it can tell 63 apart.
pub(super) const NAMES: usize = 48;
const _: () = assert!(NAMES < 63);

#[derive(Serialize)]
struct Configuration {
    max_workloads: u32,
    own_cost: BTreeMap<&'static str, u32>,
    workload: Vec<Rule>,
}

#[derive(Serialize)]
struct Rule {
    name: String,
    #[serde(rename = "match")]
    pattern: BTreeMap<&'static str, String>,
}

/// Gives each cell a program of its own in `directory`.
pub(super) fn give(cells: &[Cell], directory: &Path) -> Result<Vec<Cell>> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let named = cells.iter().enumerate().map(|(number, cell)| {
        let program = directory.join(file_name(number));
        let made = if cell.is_native() { fs::copy(&cell.program, &program).map(drop) } else { symlink(&cell.program, &program) };
        made.with_context(|| format!("cannot create {} for {}", program.display(), cell.program.display()))?;
        let mut arguments = cell.arguments.clone();
        if !cell.is_native() {
            // Workers take names of their own otherwise.
            arguments.push("--keep-process-names".into());
        }
        Ok(Cell { program, arguments, ..cell.clone() })
    });
    named.collect()
}

/// At most 15 bytes, as the kernel keeps no more of a process's name.
fn file_name(number: usize) -> PathBuf {
    format!("lab-cell-{number}").into()
}

/// The daemon's configuration for cells that [`give`] has named.
pub(super) fn configuration(cells: &[Cell]) -> Result<String> {
    let rules = cells.iter().map(|cell| {
        let file = cell.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A copy is told by its path, whatever its threads call themselves; of a link the kernel keeps the name only.
        let pattern = if cell.is_native() { ("exe", format!("*/{file}")) } else { ("comm", file) };
        Rule { name: cell.label(), pattern: BTreeMap::from([pattern]) }
    });
    let configuration = Configuration {
        max_workloads: 63,
        // More often than usual, so that there is something to see within minutes.
        own_cost: BTreeMap::from([("window_seconds", 1), ("every_seconds", 10)]),
        workload: rules.collect(),
    };
    toml::to_string(&configuration).context("cannot write the daemon's configuration")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use schedscope::config::Config;

    use super::*;
    use crate::trace::{cell::Kind, runtime::NATIVE};

    #[test]
    fn the_daemon_takes_the_rules_and_tells_the_cells_apart() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        fs::write(&program, "text").unwrap();
        let cell = |runtime: &str, id: &str| Cell {
            id: id.to_owned(),
            runtime: runtime.to_owned(),
            kind: Kind::Cpu,
            task: String::new(),
            model: String::new(),
            workers: 1,
            serial_twin: None,
            unit: None,
            program: program.clone(),
            arguments: Vec::new(),
            skipped: None,
        };
        let cells = [cell("3.13.1t", "hash-threads"), cell("3.13.1t", "hash-serial"), cell(NATIVE, "native-hash-threads")];
        let named = give(&cells, &directory.path().join("names")).unwrap();
        assert!(named.iter().all(|cell| fs::read_to_string(&cell.program).unwrap() == "text"));
        let file = directory.path().join("daemon.toml");
        fs::write(&file, configuration(&named).unwrap()).unwrap();
        let rules = Config::read(&file).unwrap().rules;
        assert_eq!(rules.names(), named.iter().map(Cell::label).collect::<Vec<_>>());
        for cell in &named {
            let name = cell.program.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(name.len() <= 15);
            let identity = schedscope::label::Identity {
                comm: name,
                exe: Some(cell.program.canonicalize().unwrap().to_str().unwrap().to_owned()),
                ..Default::default()
            };
            assert_eq!(rules.first_match(&identity), Some(cell.label().as_str()));
        }
    }

    #[test]
    fn the_kernel_keeps_a_whole_name() {
        assert!(file_name(99_999).as_os_str().len() <= 15);
    }
}
