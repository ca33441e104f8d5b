//! The table of cells: native models, and workloads with known truth.

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::job::{Model, name_of};
use crate::tasks::TaskKind;

/// One row of the list. `args` is what to give this program to run the cell with its defaults.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) id: String,
    model: String,
    task: String,
    /// "cpu", "io" or "truth".
    kind: &'static str,
    /// The cell with the same total work on one worker; speed-ups are measured against it.
    serial_twin: Option<String>,
    unit: Option<&'static str>,
    default_work: Option<u64>,
    pub(crate) args: Vec<String>,
}

/// Workloads with known truth: subcommand and model.
const TRUTHS: [(&str, &str); 11] = [
    ("ping-pong", "threads"),
    ("yield-loop", "threads"),
    ("migrate", "serial"),
    ("fork-storm", "processes"),
    ("many-threads", "threads"),
    ("pid-reuse", "processes"),
    ("sleepers", "threads"),
    ("interrupted", "threads"),
    ("double-fork", "processes"),
    ("exec-from-thread", "threads"),
    ("mixed", "mixed"),
];

pub(crate) fn all() -> Vec<Cell> {
    let native = TaskKind::value_variants().iter().flat_map(|&task| {
        Model::value_variants().iter().filter(move |model| model.can_do(task)).map(move |&model| Cell {
            id: model.cell_id(task),
            model: name_of(&model),
            task: name_of(&task),
            kind: task.kind(),
            serial_twin: Some(Model::Serial.cell_id(task)),
            unit: Some(task.unit()),
            default_work: Some(task.default_work()),
            args: ["native", "--task", &name_of(&task), "--model", &name_of(&model)].map(str::to_owned).to_vec(),
        })
    });
    let truths = TRUTHS.into_iter().map(|(name, model)| Cell {
        id: name.to_owned(),
        model: model.to_owned(),
        task: name.to_owned(),
        kind: "truth",
        serial_twin: None,
        unit: None,
        default_work: None,
        args: vec![name.to_owned()],
    });
    native.chain(truths).collect()
}

pub(crate) fn print(json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&all()).context("cannot write the list as JSON")?);
        return Ok(());
    }
    for cell in all() {
        println!("{:<28} {}", cell.id, cell.args.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_serial_twins_exist() {
        let cells = all();
        let ids: BTreeSet<_> = cells.iter().map(|cell| &cell.id).collect();
        assert_eq!(ids.len(), cells.len());
        assert!(cells.iter().filter_map(|cell| cell.serial_twin.as_ref()).all(|twin| ids.contains(twin)));
    }
}
