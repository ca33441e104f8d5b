//! Which cells to run, with how much work and how many workers.

mod scale;
mod variants;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context, Result};
use globset::{Glob, GlobMatcher};

use super::{
    calibrate::{self, Rates},
    cell::{Cell, Kind},
    child::Stop,
    claims::CALIBRATION,
    runtime::{Listed, NATIVE, Runtime},
};
pub(crate) use scale::Scale;

/// Workers of a computing cell: more than the CPUs of a small machine, so that demand shows, and no more than a table can compare.
const CPU_WORKERS: std::ops::RangeInclusive<usize> = 4..=8;
/// Workers of a download: the textbook's number.
const DOWNLOADS: usize = 4;
/// Fewest units of work in a cell, so that every worker has some.
const UNITS_MIN: f64 = 32.0;

/// What cells need to know of the place they run in.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// How much is run.
    pub(crate) scale: Scale,
    /// CPUs that may be used.
    pub(crate) cpus: usize,
    /// Address of the HTTP server.
    pub(crate) url: String,
    /// Where files may be written.
    pub(crate) directory: PathBuf,
}

/// Cells the user asked for.
#[derive(Clone, Debug)]
pub(crate) struct Selection(Option<GlobMatcher>);

impl Selection {
    /// All cells, or those that a pattern matches.
    pub(crate) fn new(pattern: Option<&str>) -> Result<Selection> {
        let glob = |pattern| Glob::new(pattern).with_context(|| format!("--cells {pattern}: not a pattern"));
        Ok(Selection(pattern.map(glob).transpose()?.map(|glob| glob.compile_matcher())))
    }

    /// True if the user wants it.
    pub(crate) fn matches(&self, id: &str) -> bool {
        self.0.as_ref().is_none_or(|glob| glob.is_match(id))
    }

    /// As the user gave it.
    pub(crate) fn pattern(&self) -> &str {
        self.0.as_ref().map_or("*", |glob| glob.glob().glob())
    }
}

/// All cells to run: the calibration, then task by task, so that what is compared is measured close together.
pub(crate) fn cells(runtimes: &[Runtime], bench: &Bench, selection: &Selection, stop: &Stop) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for runtime in runtimes {
        if let Some(why) = &runtime.unusable {
            cells.push(unusable(runtime, why));
            continue;
        }
        let mut listed = runtime.list(stop)?;
        listed.extend(variants::of(&listed));
        listed.retain(|cell| bench.scale.has(cell));
        let wanted = with_twins(&listed, selection);
        let sized = wanted.iter().copied().filter(|cell| cell.model == "serial" && is_sized_by_rate(&cell.task));
        let extra =
            if runtime.is_native() { Vec::new() } else { vec!["--directory".to_owned(), bench.directory.display().to_string()] };
        let rates = calibrate::rates(runtime, sized, &extra, stop)?;
        cells.extend(wanted.iter().map(|listed| cell(runtime, listed, bench, &rates)));
        if runtime.is_native() {
            cells.push(calibration(runtime, bench));
        }
    }
    // In the order of the first list; what only later ones have comes behind.
    let mut order = BTreeMap::new();
    for cell in &cells {
        let next = order.len();
        order.entry(cell.task.clone()).or_insert(next);
    }
    cells.sort_by_key(|cell| (cell.kind, order.get(&cell.task).copied()));
    Ok(cells)
}

/// The cells that match and the serial twins that their speed-ups need.
fn with_twins<'a>(listed: &'a [Listed], selection: &Selection) -> Vec<&'a Listed> {
    let matching = || listed.iter().filter(|cell| selection.matches(&cell.id));
    let twins: BTreeSet<&String> = matching().filter_map(|cell| cell.serial_twin.as_ref()).collect();
    listed.iter().filter(|cell| selection.matches(&cell.id) || twins.contains(&cell.id)).collect()
}

/// Tasks whose work follows from how fast the machine is.
fn is_sized_by_rate(task: &str) -> bool {
    matches!(
        task,
        "factorial" | "arithmetic" | "hash" | "json" | "regex" | "big-int" | "zlib" | "lzma" | "file-read" | "spin" | "mutex"
    )
}

fn unusable(runtime: &Runtime, why: &str) -> Cell {
    Cell {
        id: "all".to_owned(),
        runtime: runtime.name.clone(),
        kind: Kind::Cpu,
        task: "any".to_owned(),
        model: "all cells".to_owned(),
        workers: 0,
        serial_twin: None,
        unit: None,
        program: runtime.program.clone(),
        arguments: Vec::new(),
        skipped: Some(why.to_owned()),
    }
}

fn cell(runtime: &Runtime, listed: &Listed, bench: &Bench, rates: &Rates) -> Cell {
    let (kind, task) = section(listed);
    let workers = workers(listed, kind, bench.cpus);
    let mut arguments: Vec<String> =
        if runtime.is_native() { listed.args.clone() } else { vec![listed.variant_of.as_ref().unwrap_or(&listed.id).clone()] };
    arguments.extend(parameters(listed, workers, bench, rates));
    arguments.extend(listed.extra.iter().cloned());
    Cell {
        id: listed.id.clone(),
        runtime: runtime.name.clone(),
        kind,
        task: task.to_owned(),
        model: listed.model.clone(),
        workers,
        // Cells about one claim have no serial twin: what they name is only the cell to compare them with.
        serial_twin: listed.serial_twin.clone().filter(|_| kind != Kind::Workers),
        unit: listed.unit.clone(),
        program: runtime.program.clone(),
        arguments: runtime
            .prefix
            .iter()
            .map(|path| path.clone().into_os_string())
            .chain(arguments.into_iter().map(Into::into))
            .collect(),
        skipped: listed.skipped.clone(),
    }
}

/// True for the native program's cells, which are called by their arguments.
fn is_native(listed: &Listed) -> bool {
    !listed.args.is_empty()
}

/// Where a cell stands in the table: native ones below the Python task that they are the control for.
fn section(listed: &Listed) -> (Kind, &str) {
    let kind = match listed.kind.as_str() {
        "cpu" => Kind::Cpu,
        "textbook" => Kind::Textbook,
        "latency" => Kind::Latency,
        "claim" => Kind::Workers,
        _ => Kind::Io,
    };
    let is_native = is_native(listed);
    let task = match listed.task.as_str() {
        "spin" if is_native => "arithmetic",
        "sleep" if is_native => "download",
        task => task,
    };
    (kind, task)
}

fn workers(listed: &Listed, kind: Kind, cpus: usize) -> usize {
    let is_native_sleep = is_native(listed) && listed.task == "sleep";
    match kind {
        _ if listed.model == "serial" => 1,
        Kind::Cpu | Kind::Calibration => cpus.clamp(*CPU_WORKERS.start(), *CPU_WORKERS.end()),
        _ if is_native_sleep => DOWNLOADS,
        _ => listed.workers.unwrap_or(1),
    }
}

/// What to give the cell besides its name.
fn parameters(listed: &Listed, workers: usize, bench: &Bench, rates: &Rates) -> Vec<String> {
    let Scale { serial_seconds, download_seconds, print_seconds, fetches, .. } = bench.scale;
    let mut parameters: Vec<String> = Vec::new();
    let mut add = |name: &str, value: String| parameters.extend([name.to_owned(), value]);
    if !matches!(listed.model.as_str(), "serial") && !matches!(listed.kind.as_str(), "latency" | "claim") {
        add("--workers", workers.to_string());
    }
    match listed.task.as_str() {
        task if is_sized_by_rate(task) => {
            if let Some(rate) = rates.get(task) {
                add("--work", units(rate * serial_seconds));
            }
        }
        // What these do is fixed by the claim that they are for.
        _ if listed.kind == "claim" => {}
        "download" => add("--pause", download_seconds.to_owned()),
        "sleep" if is_native(listed) => {
            add("--pause", download_seconds.to_owned());
            add("--work", DOWNLOADS.to_string());
        }
        "print-numbers" => add("--pause", print_seconds.to_owned()),
        "sleep" | "request" => add("--work", bench.scale.pauses.to_string()),
        "fetch" => {
            add("--url", bench.url.clone());
            add("--work", fetches.to_string());
        }
        _ => {}
    }
    if listed.task == "file-read" {
        add("--directory", bench.directory.display().to_string());
    }
    parameters
}

/// Runs whatever was selected, as the verdicts depend on it. For a time, as CPUs differ in speed and shares of work would end one
/// after the other.
fn calibration(runtime: &Runtime, bench: &Bench) -> Cell {
    let (workers, seconds) = (bench.cpus.to_string(), bench.scale.serial_seconds.to_string());
    let arguments =
        ["native", "--task", "spin", "--model", "threads", "--workers", &workers, "--seconds", &seconds].map(Into::into);
    Cell {
        id: CALIBRATION.to_owned(),
        runtime: NATIVE.to_owned(),
        kind: Kind::Calibration,
        task: "spin".to_owned(),
        model: "one thread per CPU".to_owned(),
        workers: bench.cpus,
        serial_twin: None,
        unit: None,
        program: runtime.program.clone(),
        arguments: arguments.to_vec(),
        skipped: None,
    }
}

fn units(work: f64) -> String {
    format!("{:.0}", work.max(UNITS_MIN))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn listed(id: &str, twin: &str) -> Listed {
        serde_json::from_value(serde_json::json!({
            "id": id, "model": "threads", "task": "arithmetic", "kind": "cpu", "serial_twin": twin, "workers": 2
        }))
        .unwrap()
    }

    #[test]
    fn a_selected_cell_brings_its_twin() {
        let list = [listed("a-serial", "a-serial"), listed("a-threads", "a-serial"), listed("b-threads", "b-serial")];
        let ids = |pattern| {
            let selection = Selection::new(Some(pattern)).unwrap();
            with_twins(&list, &selection).iter().map(|cell| cell.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids("a-th*"), ["a-serial", "a-threads"]);
        assert_eq!(ids("b-*"), ["b-threads"]);
        assert!(ids("c").is_empty());
        assert!(Selection::new(Some("[")).is_err());
    }

    #[test]
    fn a_model_does_the_work_of_its_serial_twin() {
        let bench = Bench { scale: Scale::FULL, cpus: 3, url: "http://127.0.0.1:1/".into(), directory: ".".into() };
        let rates = Rates::from([("arithmetic".to_owned(), 1234.5), ("file-read".to_owned(), 77.7)]);
        let work = |task: &str, model: &str| {
            let cell = Listed { task: task.into(), model: model.into(), ..listed("a", "a") };
            let parameters = parameters(&cell, 4, &bench, &rates);
            let place = parameters.iter().position(|parameter| parameter == "--work");
            place.map(|place| parameters[place + 1].clone())
        };
        for task in ["arithmetic", "file-read", "fetch", "sleep", "request"] {
            assert!(work(task, "serial").is_some(), "{task}");
            assert_eq!(work(task, "serial"), work(task, "threads"), "{task}");
        }
    }

    #[test]
    fn demand_shows_on_a_small_machine_and_the_table_fits_a_large_one() {
        let cell = listed("a-threads", "a-serial");
        assert_eq!([1, 2, 6, 64].map(|cpus| workers(&cell, Kind::Cpu, cpus)), [4, 4, 6, 8]);
    }
}
