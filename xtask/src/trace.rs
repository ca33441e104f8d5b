//! `cargo xtask trace`: the lab. Runs every concurrency model side by side on the running kernel and says what the kernel saw.
//!
//! In reading order: [`host`] builds and makes sure that tracing is possible, [`runtime`] finds out what can be run, [`plan`] and
//! [`calibrate`] say how much of it, [`child`] and [`measure`] run it, [`figures`] and [`claims`] draw the conclusions (both
//! pure), [`table`], [`core_maps`] and [`page`] show them, [`results`] writes them down. With `--serve`, [`serve`] lets
//! Prometheus watch.

mod calibrate;
pub(crate) mod cell;
pub(crate) mod child;
pub(crate) mod claims;
mod core_maps;
mod estimates;
mod figures;
pub(crate) mod host;
pub(crate) mod measure;
pub(crate) mod metrics;
mod page;
mod plan;
mod progress;
mod results;
pub(crate) mod runtime;
pub(crate) mod serve;
mod steal;
mod sweep;
mod table;

use std::{io::Write, path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};
use schedscope::{capture::preflight::kernel_release_name, report::Options};

use crate::grafana::find_prometheus;
use cell::{Cell, Outcome, Row};
use child::Stop;
use claims::Judged;
use estimates::Compared;
use plan::{Scale, Selection};
use progress::Progress;
use runtime::Runtime;
use serve::{Serving, compare::Shown};

/// Arguments of `trace`.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
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
    /// Runs of each cell; the median counts. By default three of the cells that a claim rests on and one of the others, with
    /// --quick one of each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    repeats: Option<u16>,
    /// Run the sweep alone: the same computing on 1, 2, 4, 8, … workers of each kind. It is part of the full lab.
    #[arg(long, conflicts_with_all = ["quick", "cells", "docs"])]
    sweep: bool,
    /// Let Prometheus, and Grafana if it is installed, watch: each cell is kept visible for some seconds, and at the end the
    /// dashboards stay up until Ctrl-C. The sweep is left out.
    #[arg(long, conflicts_with_all = ["sweep", "docs"])]
    serve: bool,
    /// Write docs/claims/ from what this run measures.
    #[arg(long, conflicts_with = "cells")]
    docs: bool,
    /// Everything is built already, for this directory of build products; how the command calls itself through sudo.
    #[arg(long, value_name = "DIR", hide = true)]
    built_in: Option<PathBuf>,
}

/// What a run of the lab came to.
pub(crate) struct Lab {
    /// Figures for all cells, in the order of the table.
    pub(crate) rows: Vec<Row>,
    /// What they say.
    pub(crate) judged: Vec<Judged>,
    /// What processes would take, and what they took.
    pub(crate) estimates: Vec<Compared>,
    /// The cells of the sweep, apart from the others.
    pub(crate) sweep: Vec<Row>,
    /// What Prometheus saw, if it watched.
    pub(crate) shown: Vec<Shown>,
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
    if arguments.serve {
        // Before minutes go into building.
        find_prometheus().context("--serve needs Prometheus")?;
    }
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
    let cells = if arguments.sweep {
        Vec::new()
    } else {
        eprintln!("Finding out how fast this machine is ...");
        plan::cells(&runtimes, &bench, &selection, &stop)?
    };
    if !arguments.sweep && !cells.iter().any(|cell| selection.matches(&cell.id)) {
        bail!("no cell matches {}; names are such as arithmetic-threads and native-hash-processes", selection.pattern());
    }
    let is_swept = arguments.sweep || !arguments.quick && !arguments.serve && arguments.cells.is_none();
    let sweep_cells = if is_swept { sweep::cells(&runtimes, cpus) } else { Vec::new() };

    let mut serving = arguments.serve.then(|| Serving::start(&programs, &cells, &work_dir, &stop)).transpose()?;
    let cells = serving.as_ref().map_or(cells, |serving| serving.cells().to_vec());
    let (rows, is_complete) = measure_all(&cells, &programs, |cell| repeats(arguments, scale, cell), serving.as_mut(), &stop)?;
    let (sweep, is_swept_whole) = measure_all(&sweep_cells, &programs, |_| arguments.repeats.unwrap_or(1), None, &stop)?;
    let is_complete = is_complete && is_swept_whole;
    let metrics = match &serving {
        _ if !is_complete => Err(anyhow::anyhow!("interrupted")),
        _ if arguments.sweep => Ok(None),
        Some(serving) => serving.metrics().map(Some),
        None => metrics::scrape(&programs, &cells, &stop).map(Some),
    };
    drop(server);
    let shown = serving.as_ref().map_or_else(Vec::new, |serving| serving.shown().to_vec());
    let lab = Lab { judged: claims::of(&rows, cpus), estimates: estimates::of(&rows), rows, sweep, shown, cpus, is_complete };
    show(&lab);
    results::write(&lab, &work_dir, metrics, began.elapsed())?;
    if let Some(serving) = serving.filter(|_| is_complete) {
        serving.hold(&stop)?;
    }
    if !lab.is_complete {
        bail!("interrupted: not all cells were run");
    }
    if arguments.docs {
        results::write_claims(&lab)?;
    }
    if lab.rows.iter().chain(&lab.sweep).any(|row| matches!(row.outcome, Outcome::Failed { .. })) {
        bail!("some cells failed: see the table");
    }
    Ok(())
}

/// How often a cell is run.
fn repeats(arguments: &Arguments, scale: Scale, cell: &Cell) -> u16 {
    let is_once = cell.skipped.is_some() || !claims::is_looked_at(&cell.id);
    arguments.repeats.unwrap_or(if is_once { 1 } else { scale.repeats })
}

/// Runs the cells, all of them once before any a second time, so that a disturbance does not hit one cell alone.
fn measure_all(
    cells: &[Cell],
    programs: &host::Programs,
    repeats: impl Fn(&Cell) -> u16,
    mut serving: Option<&mut Serving>,
    stop: &Stop,
) -> Result<(Vec<Row>, bool)> {
    let mut measured: Vec<measure::Runs> = cells.iter().map(|_| measure::Runs::default()).collect();
    let mut progress = Progress::new(cells.iter().map(|cell| usize::from(repeats(cell))).sum());
    let rounds = cells.iter().map(&repeats).max().unwrap_or(0);
    'all: for round in 0..rounds {
        for (cell, runs) in cells.iter().zip(&mut measured).filter(|(cell, _)| round < repeats(cell)) {
            progress.begin(&cell.label());
            if let Some(serving) = &mut serving {
                serving.begin(cell, stop)?;
            }
            measure::run(cell, programs, runs, stop)?;
            if let Some(serving) = &mut serving {
                serving.show(cell, runs, stop)?;
            }
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
    if !lab.sweep.is_empty() {
        let (points, missing) = sweep::points(&lab.sweep);
        say(&sweep::text(&points, &missing, lab.cpus));
    }
    if lab.rows.is_empty() {
        return;
    }
    say(&core_maps::compact(&lab.rows, &options));
    say(&format!("{}\n\n{}", lab.place(), table::text(&lab.rows)));
    say(&claims::text(&lab.judged));
    say(&estimates::text(&lab.estimates));
    if !lab.shown.is_empty() {
        say(&serve::compare::text(&lab.shown));
    }
}

/// Prints to standard output. A reader that went away, such as `head`, is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
