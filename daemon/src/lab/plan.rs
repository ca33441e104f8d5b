//! Which cells to run, with how much work and how many workers.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use glob::Pattern;

use super::calibrate::{self, Rates};
use super::cell::{Cell, Kind};
use super::child::Stop;
use super::claims::{self, CALIBRATION};
use super::runtime::Runtime;

/// Native tasks and the Python tasks that they are the control for, below which they stand in the table.
const CONTROLS: [(&str, &str); 2] = [("spin", "arithmetic"), ("sleep", "download")];
/// Workers of the native sleep: the textbook's number of downloads.
const DOWNLOADS: usize = 4;

/// Workers of a computing cell: more than the CPUs of a small machine, so that demand shows, and no more than a table can compare.
const CPU_WORKERS: std::ops::RangeInclusive<usize> = 4..=8;
/// Fewest units of work in a cell, so that every worker has some.
const UNITS_MIN: f64 = 32.0;

/// The cell that also runs with other switch intervals.
const THREADS: &str = "arithmetic-threads";
/// The intervals: name and seconds. The usual one is 5 ms.
const INTERVALS: [(&str, &str); 2] = [("0.5ms", "0.0005"), ("50ms", "0.05")];

/// Cells of the short lab besides those that the claims cannot do without.
const BRIEF_EXTRA: [&str; 7] = [
    "arithmetic-threads-interval-0.5ms",
    "arithmetic-threads-interval-50ms",
    "arithmetic-asyncio",
    "lost-updates-threads-locked",
    "exception-threads",
    "startup-processes-spawn",
    "native-spin-threads",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// What the claims need, in less than a minute on two CPUs.
    Quick,
    /// Everything, in some five minutes.
    Full,
}

impl Scale {
    /// Runs of each cell that a claim rests on, if nothing else is asked for.
    pub(crate) fn repeats(self) -> u16 {
        if self == Scale::Quick { 1 } else { 3 }
    }

    fn serial_seconds(self) -> f64 {
        if self == Scale::Quick { 0.6 } else { 1.0 }
    }

    /// Whether a cell is in it, if the user names none.
    fn has(self, id: &str) -> bool {
        self == Scale::Full || BRIEF_EXTRA.contains(&id) || claims::is_needed(id)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) scale: Scale,
    pub(crate) cpus: usize,
    pub(crate) url: String,
    pub(crate) directory: PathBuf,
}

/// All cells to run: the calibration, then task by task, so that what is compared is measured close together. A pattern selects
/// among all cells, whatever the scale.
pub(crate) fn cells(runtimes: &[Runtime], bench: &Bench, pattern: Option<&Pattern>, stop: &Stop) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for runtime in runtimes {
        if let Some(why) = &runtime.unusable {
            let [id, task, model] = ["all", "any", "all cells"].map(str::to_owned);
            cells.push(Cell { task, model, skipped: Some(why.clone()), ..runtime.cell(id, [""; 0]) });
            continue;
        }
        let mut listed = runtime.list(stop)?;
        listed.extend(variants(&listed));
        let wanted: Vec<&Cell> = match pattern {
            Some(pattern) => with_twins(&listed, |id| pattern.matches(id)),
            None => listed.iter().filter(|cell| bench.scale.has(&cell.id)).collect(),
        };
        let needs_rate = |cell: &&Cell| cell.model == "serial" && options(cell, bench.scale).contains("{units}");
        let calibrated = listed.iter().filter(needs_rate).filter(|cell| wanted.iter().any(|wanted| wanted.task == cell.task));
        let extra: &[OsString] = if runtime.is_native() { &[] } else { &["--directory".into(), bench.directory.clone().into()] };
        let rates = calibrate::rates(calibrated, extra, stop)?;
        cells.extend(wanted.into_iter().map(|cell| sized(cell.clone(), bench, &rates)));
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

/// Cells that the lab makes of others by an option.
fn variants(listed: &[Cell]) -> Vec<Cell> {
    let Some(threads) = listed.iter().find(|cell| cell.id == THREADS) else { return Vec::new() };
    let variant = |(name, seconds): (&str, &str)| Cell {
        id: format!("{THREADS}-interval-{name}"),
        model: format!("{}, {name}", threads.model),
        arguments: [&threads.arguments[..], &["--switch-interval".into(), seconds.into()]].concat(),
        ..threads.clone()
    };
    INTERVALS.into_iter().map(variant).collect()
}

/// The selected cells and the serial twins that their speed-ups need.
fn with_twins(listed: &[Cell], is_selected: impl Fn(&str) -> bool) -> Vec<&Cell> {
    let selected = listed.iter().filter(|cell| is_selected(&cell.id));
    let twins: BTreeSet<&String> = selected.filter_map(|cell| cell.serial_twin.as_ref()).collect();
    listed.iter().filter(|cell| is_selected(&cell.id) || twins.contains(&cell.id)).collect()
}

/// The options that say how much of its task a cell does; none where the task decides for itself. `{units}` are as many as keep one
/// worker busy for [`Scale::serial_seconds`] on this machine; they, `{directory}` and `{url}` are known only when the lab runs.
fn options(cell: &Cell, scale: Scale) -> &'static str {
    let is_quick = scale == Scale::Quick;
    match cell.task.as_str() {
        // The control for the downloads.
        "sleep" if cell.is_native() => {
            if is_quick {
                "--work 4 --pause 0.25"
            } else {
                "--work 4 --pause 1"
            }
        }
        "factorial" | "arithmetic" | "hash" | "json" | "regex" | "big-int" | "zlib" | "lzma" | "blur" | "pbkdf2" | "cipher"
        | "monte-carlo" | "spin" | "mutex" => "--work {units}",
        "database" | "file-read" | "file-write" => "--work {units} --directory {directory}",
        "download" if is_quick => "--pause 0.25",
        "download" => "--pause 1",
        "print-numbers" if is_quick => "--pause 0.1",
        "print-numbers" => "--pause 0.5",
        "sleep" | "request" if is_quick => "--work 128",
        "sleep" | "request" => "--work 192",
        "fetch" | "upload" | "scrape" if is_quick => "--work 64 --url {url}",
        "fetch" | "upload" | "scrape" => "--work 128 --url {url}",
        _ => "",
    }
}

/// The cell with its number of workers and its amount of work.
fn sized(mut cell: Cell, bench: &Bench, rates: &Rates) -> Cell {
    cell.workers = match cell.kind {
        _ if cell.model == "serial" => 1,
        Kind::Cpu => bench.cpus.clamp(*CPU_WORKERS.start(), *CPU_WORKERS.end()),
        _ if cell.is_native() => DOWNLOADS,
        _ => cell.workers,
    };
    if cell.model != "serial" && !matches!(cell.kind, Kind::Latency | Kind::Workers) {
        cell.arguments.extend(["--workers".into(), cell.workers.to_string().into()]);
    }
    let rate = rates.get(&cell.task).copied().unwrap_or(0.0);
    cell.arguments.extend(options(&cell, bench.scale).split_whitespace().map(|word| match word {
        "{units}" => format!("{:.0}", (rate * bench.scale.serial_seconds()).max(UNITS_MIN)).into(),
        "{directory}" => bench.directory.clone().into(),
        "{url}" => bench.url.clone().into(),
        word => word.into(),
    }));
    if cell.kind == Kind::Workers {
        // Cells about one claim have no serial twin: what they name is only the cell to compare them with.
        cell.serial_twin = None;
    }
    if let Some((_, python)) = CONTROLS.iter().find(|(native, _)| cell.is_native() && *native == cell.task) {
        (*python).clone_into(&mut cell.task);
    }
    cell
}

/// Runs whatever was selected, as the verdicts depend on it. For a time, as CPUs differ in speed and shares of work would end one
/// after the other.
fn calibration(runtime: &Runtime, bench: &Bench) -> Cell {
    let (cpus, seconds) = (bench.cpus, bench.scale.serial_seconds());
    let call = format!("native --task spin --model threads --workers {cpus} --seconds {seconds}");
    Cell {
        kind: Kind::Calibration,
        task: "spin".to_owned(),
        model: "one thread per CPU".to_owned(),
        workers: cpus,
        ..runtime.cell(CALIBRATION.to_owned(), call.split(' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cell::NATIVE;
    use crate::lab::cell::tests::cell;

    fn bench(cpus: usize) -> Bench {
        Bench { scale: Scale::Full, cpus, url: "http://127.0.0.1:1/".into(), directory: "a b".into() }
    }

    #[test]
    fn a_selected_cell_brings_its_twin() {
        let list = [("a", "serial"), ("a", "threads"), ("b", "threads")].map(|(task, model)| cell(NATIVE, task, model));
        let ids = |part: &str| with_twins(&list, |id| id.contains(part)).iter().map(|cell| cell.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids("a-th"), ["a-serial", "a-threads"]);
        assert_eq!(ids("b-"), ["b-threads"]);
        assert!(ids("c").is_empty());
    }

    #[test]
    fn a_model_does_the_work_of_its_serial_twin() {
        let rates = Rates::from(["blur", "file-read"].map(|task| (task.to_owned(), 1234.5)));
        let given = |runtime: &str, task: &str, model: &str| sized(cell(runtime, task, model), &bench(3), &rates).arguments;
        for (runtime, task) in [("3.11.7", "blur"), ("3.11.7", "file-read"), ("3.11.7", "sleep"), (NATIVE, "sleep")] {
            let (serial, threads) = (given(runtime, task, "serial"), given(runtime, task, "threads"));
            assert!(threads[0] == "--workers" && threads[1] == "4" && threads[2..] == serial, "{task}: {serial:?} {threads:?}");
        }
        let given = |task| given("3.11.7", task, "serial");
        assert_eq!(given("file-read"), ["--work", "1234", "--directory", "a b"]);
        assert_eq!(given("fetch"), ["--work", "128", "--url", "http://127.0.0.1:1/"]);
        assert!(given("crash").is_empty());
    }

    #[test]
    fn demand_shows_on_a_small_machine_and_the_table_fits_a_large_one() {
        let workers = |cpus| sized(cell("3.11.7", "arithmetic", "threads"), &bench(cpus), &Rates::new()).workers;
        assert_eq!([1, 2, 6, 64].map(workers), [4, 4, 6, 8]);
    }
}
