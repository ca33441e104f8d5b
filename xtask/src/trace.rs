//! `cargo xtask trace`: the lab. Runs every concurrency model side by side on the running kernel and says what the kernel saw.
//!
//! In reading order: [`host`] builds and makes sure that tracing is possible, [`runtime`] finds out what can be run, [`plan`] and
//! [`calibrate`] say how much of it, [`child`] and [`measure`] run it, [`figures`] and [`findings`] draw the conclusions (both
//! pure), [`table`], [`core_maps`] and [`page`] show them, [`results`] writes them down.

mod calibrate;
mod cell;
pub(crate) mod child;
mod core_maps;
mod figures;
mod findings;
mod host;
mod measure;
pub(crate) mod metrics;
mod page;
mod plan;
mod progress;
mod results;
mod runtime;
mod table;

use std::{io::Write, path::PathBuf, time::Instant};

use anyhow::{Result, bail};
use schedscope::{preflight::kernel_release_name, report::Options};

use cell::{Cell, Outcome, Row};
use child::Stop;
use findings::Finding;
use plan::{Scale, Selection};
use progress::Progress;
use runtime::Runtime;

/// Arguments of `trace`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Take less than a minute: fewer tasks, less work in each.
    #[arg(long)]
    quick: bool,
    /// Python to run the cells with; may be given several times [default: python3].
    #[arg(long, value_name = "PATH")]
    python: Vec<PathBuf>,
    /// Run only the cells whose name matches, such as 'arithmetic-*' or 'native-*'; their serial twins are added.
    #[arg(long, value_name = "GLOB")]
    cells: Option<String>,
    /// Runs of each cell; the median counts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=99))]
    repeats: u16,
    /// Everything is built already, for this directory of build products; how the command calls itself through sudo.
    #[arg(long, value_name = "DIR", hide = true)]
    built_in: Option<PathBuf>,
}

/// What a run of the lab came to.
pub(crate) struct Lab {
    /// Figures for all cells, in the order of the table.
    pub(crate) rows: Vec<Row>,
    /// What they say.
    pub(crate) findings: Vec<Finding>,
    /// CPUs that this process may use.
    pub(crate) cpus: usize,
    /// False after Ctrl-C.
    pub(crate) is_complete: bool,
}

impl Lab {
    /// Where it was measured.
    pub(crate) fn place(&self) -> String {
        format!("Linux {}, {} CPUs", kernel_release_name(), self.cpus)
    }
}

/// Entry point of the command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let programs = host::prepare(arguments)?;
    let began = Instant::now();
    let stop = Stop::install()?;
    let scale = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    let selection = Selection::new(arguments.cells.as_deref())?;

    let mut runtimes = runtime::pythons(&arguments.python, &stop)?;
    runtimes.push(Runtime::native(&programs.workloads));
    let server = child::Service::http(&programs.workloads)?;
    let work_dir = results::prepare_directory(&programs.target)?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let bench = plan::Bench { scale, cpus, url: server.first_line().to_owned(), directory: work_dir.clone() };
    eprintln!("Finding out how fast this machine is ...");
    let cells = plan::cells(&runtimes, &bench, &selection, &stop)?;
    if !cells.iter().any(|cell| selection.matches(&cell.id)) {
        bail!("no cell matches {}; names are such as arithmetic-threads and native-hash-processes", selection.pattern());
    }

    let (rows, is_complete) = measure_all(&cells, &programs, arguments.repeats, &stop)?;
    let metrics = if is_complete { metrics::scrape(&programs, &cells, &stop) } else { Err(anyhow::anyhow!("interrupted")) };
    drop(server);
    let lab = Lab { findings: findings::of(&rows, cpus), rows, cpus, is_complete };
    show(&lab);
    results::write(&lab, &work_dir, metrics, began.elapsed())?;
    if !is_complete {
        bail!("interrupted: not all cells were run");
    }
    if lab.rows.iter().any(|row| matches!(row.outcome, Outcome::Failed { .. })) {
        bail!("some cells failed: see the table");
    }
    Ok(())
}

/// Runs the cells, all of them once before any a second time, so that a disturbance does not hit one cell alone.
fn measure_all(cells: &[Cell], programs: &host::Programs, repeats: u16, stop: &Stop) -> Result<(Vec<Row>, bool)> {
    let mut measured: Vec<measure::Runs> = cells.iter().map(|_| measure::Runs::default()).collect();
    let mut progress = Progress::new(cells.len() * usize::from(repeats));
    'all: for _ in 0..repeats {
        for (cell, runs) in cells.iter().zip(&mut measured) {
            progress.begin(&cell.label());
            measure::run(cell, programs, runs, stop)?;
            if stop.is_requested() {
                break 'all;
            }
            progress.finished(&cell.label(), &runs.last_line());
        }
    }
    progress.clear();
    let rows: Vec<Row> =
        cells.iter().zip(measured).filter_map(|(cell, runs)| Some(Row::new(cell.clone(), runs.outcome()?))).collect();
    Ok((figures::with_speed_ups(rows), !stop.is_requested()))
}

/// Prints the core maps, the table and the sentences; the last ones stay on the screen.
fn show(lab: &Lab) {
    let options = Options::detect(&std::io::stdout());
    say(&core_maps::compact(&lab.rows, &options));
    say(&format!("{}\n\n{}", lab.place(), table::text(&lab.rows)));
    say(&findings::text(&lab.findings));
}

/// Prints to standard output. A reader that went away, such as `head`, is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
