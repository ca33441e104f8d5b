//! `schedscope lab`: runs every concurrency model side by side on the running kernel and says what the kernel saw.
//!
//! In reading order: [`host`] makes sure that tracing is possible, [`embedded`] holds the workloads, [`runtime`] finds out what can
//! be run, [`plan`] and [`calibrate`] say how much of it, [`child`] and [`measure`] run it, [`figures`] and [`claims`] draw the
//! conclusions (both pure), [`table`], [`core_maps`] and [`page`] show them, [`results`] writes them down. With `--serve`,
//! [`serve`] lets Prometheus watch.
//!
//! The lab reads the report's types and starts the tracer as a process; no other part of the program depends on it.

mod calibrate;
pub mod cell;
pub mod child;
pub mod claims;
mod core_maps;
pub mod daemon;
pub mod embedded;
pub mod estimates;
mod figures;
mod host;
pub mod measure;
mod page;
mod plan;
mod progress;
pub mod results;
pub mod runtime;
mod sample;
pub mod serve;
pub mod server;
mod sweep;
mod table;
pub mod units;

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cell::{Cell, Problem, Row, add_speed_ups};
use child::Stop;
use embedded::{LAB_SCRIPT, SCRIPTS};
use glob::Pattern;
use measure::Tracer;
use plan::{Bench, Scale};
use progress::Progress;
use results::Findings;
use runtime::Runtime;
use schedscope_workloads::late_answers;
use serve::background::Background;
use serve::{Serving, find_prometheus};

use crate::report::Options;

const DIRECTORY: &str = "schedscope-lab";
/// How long the lab's own HTTP server takes to answer the cells that fetch, upload and scrape.
const ANSWER_DELAY: Duration = Duration::from_millis(10);

/// Arguments of `schedscope lab`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Take less than a minute: fewer tasks, less work in each
    #[arg(long)]
    pub quick: bool,
    /// Python to run the cells with; may be given several times [default: python3]
    #[arg(long, value_name = "PATH")]
    pub python: Vec<PathBuf>,
    /// Run only the cells whose names match, such as 'arithmetic-*' or 'native-*', and their serial twins. With --quick they do less work
    #[arg(long, value_name = "GLOB", value_parser = Pattern::new)]
    pub cells: Option<Pattern>,
    /// Run each cell N times and take the median [default: 3 for cells that a claim rests on, else 1; with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub repeats: Option<u16>,
    /// Run only the sweep: the same computing on 1, 2, 4, 8, … workers. The full lab ends with it
    #[arg(long, conflicts_with_all = ["quick", "cells"])]
    pub sweep: bool,
    /// Show the lab on the dashboards: needs Prometheus, uses Grafana if it is there, runs until Ctrl-C
    #[arg(long, conflicts_with = "sweep")]
    pub serve: bool,
    /// Directory for the results, which replace those of an earlier run [default: schedscope-lab; in a checkout target/trace]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Runs the lab.
pub fn run(arguments: &Arguments) -> Result<()> {
    let prometheus = arguments.serve.then(|| find_prometheus().context("--serve needs Prometheus")).transpose()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    host::examine(&program)?;
    let began = Instant::now();
    let stop = Stop::install()?;
    let scale = if arguments.quick { Scale::Quick } else { Scale::Full };
    let pattern = arguments.cells.as_ref();
    let output = arguments.output.clone().unwrap_or_else(|| DIRECTORY.into());
    let directory = std::path::absolute(&output).with_context(|| format!("cannot find {}", output.display()))?;
    let scripts = directory.join("workloads");
    let mut runtimes = runtime::pythons(&arguments.python, &scripts.join(LAB_SCRIPT), &stop)?;
    for Runtime { name, unusable, .. } in &runtimes {
        if let Some(why) = unusable {
            eprintln!("No cell of {name} runs: {why}.");
        }
    }
    if runtimes.iter().all(|runtime| runtime.unusable.is_some()) {
        eprintln!("Without a Python only the native cells run.");
    }
    results::prepare_directory(&directory)?;
    embedded::write(SCRIPTS, &scripts)?;
    for python in &runtimes {
        python.compile(&scripts, &stop);
    }
    let tracer = Tracer { program: program.clone(), directory: directory.clone() };
    let native = Runtime::native(program);
    let server = Background::serve((Ipv4Addr::LOCALHOST, 0).into(), late_answers(ANSWER_DELAY))?;
    let url = format!("http://{}/", server.address);
    runtimes.push(native);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let bench = Bench { scale, cpus, url, directory: directory.clone() };
    let cells = if arguments.sweep {
        Vec::new()
    } else {
        eprintln!("Finding out how fast this machine is ...");
        plan::cells(&runtimes, &bench, pattern, &stop)?
    };
    if let Some(pattern) = pattern.filter(|pattern| !cells.iter().any(|cell| pattern.matches(&cell.id))) {
        bail!("no cell matches {}; examples of names: arithmetic-threads, native-hash-processes", pattern.as_str());
    }
    let is_swept = arguments.sweep || !arguments.quick && !arguments.serve && arguments.cells.is_none();
    let sweep_cells = if is_swept { sweep::cells(&runtimes, cpus) } else { Vec::new() };

    let serving = prometheus.map(|prometheus| Serving::start(&prometheus, &tracer, &cells, &stop)).transpose();
    let mut serving = serving?;
    let cells = serving.as_ref().map_or(cells, |serving| serving.cells().to_vec());
    let (rows, is_complete) = measure_all(&cells, &tracer, |cell| repeats(arguments, scale, cell), serving.as_mut(), &stop)?;
    let (sweep, is_swept_whole) = measure_all(&sweep_cells, &tracer, |_| arguments.repeats.unwrap_or(1), None, &stop)?;
    let is_complete = is_complete && is_swept_whole;
    let metrics = match &serving {
        _ if !is_complete => Err(anyhow::anyhow!("interrupted")),
        _ if arguments.sweep => Ok(None),
        Some(serving) => serving.metrics().map(Some),
        None => daemon::scrape(&tracer, &cells, &stop).map(Some),
    };
    drop(server);
    let shown = serving.as_ref().map_or_else(Vec::new, |serving| serving.shown().to_vec());
    let lab = Findings { judged: claims::of(&rows, cpus), estimates: estimates::of(&rows), rows, sweep, shown, cpus, is_complete };
    show(&lab);
    let files = results::write(&lab, &directory, &metrics, began.elapsed())?;
    say(&format!("Written to {}: {}, cells/. It took {:.0} s.", output.display(), files.join(", "), began.elapsed().as_secs_f64()));
    if let Err(why) = metrics {
        eprintln!("No metrics were written: {why:#}.");
    }
    if let Some(serving) = serving.filter(|_| is_complete) {
        serving.hold(&stop)?;
    }
    if !lab.is_complete {
        bail!("interrupted: not all cells were run");
    }
    if lab.rows.iter().chain(&lab.sweep).any(|row| matches!(row.problem, Some(Problem::Failed(_)))) {
        bail!("some cells failed: see the table");
    }
    Ok(())
}

fn repeats(arguments: &Arguments, scale: Scale, cell: &Cell) -> u16 {
    let is_once = cell.skipped.is_some() || !claims::is_looked_at(&cell.id);
    arguments.repeats.unwrap_or(if is_once { 1 } else { scale.repeats() })
}

/// Runs the cells, all of them once before any a second time, so that a disturbance does not hit one cell alone.
fn measure_all(
    cells: &[Cell],
    tracer: &Tracer,
    repeats: impl Fn(&Cell) -> u16,
    mut serving: Option<&mut Serving>,
    stop: &Stop,
) -> Result<(Vec<Row>, bool)> {
    let mut rows: Vec<Row> = cells.iter().cloned().map(Row::new).collect();
    let progress = Progress::new(cells.iter().map(|cell| usize::from(repeats(cell))).sum());
    let rounds = cells.iter().map(&repeats).max().unwrap_or(0);
    'all: for round in 0..rounds {
        for row in rows.iter_mut().filter(|row| round < repeats(&row.cell)) {
            progress.begin(&row.cell.label());
            if let Some(serving) = &mut serving {
                serving.begin(&row.cell, stop)?;
            }
            tracer.run(row, stop);
            if let Some(serving) = &mut serving {
                serving.show(row, stop)?;
            }
            if stop.is_requested() {
                break 'all;
            }
            progress.finished(&row.cell.label(), &row.last_line());
        }
    }
    progress.clear();
    rows.retain(|row| row.problem.is_some() || !row.runs.is_empty());
    add_speed_ups(&mut rows);
    Ok((rows, !stop.is_requested()))
}

/// Prints the core maps, the table and the sentences; the last ones stay on the screen.
fn show(lab: &Findings) {
    let options = Options::detect(&std::io::stdout());
    if !lab.sweep.is_empty() {
        let (points, missing) = sweep::points(&lab.sweep);
        say(&sweep::text(&points, &missing, lab.cpus));
    }
    if lab.rows.is_empty() {
        return;
    }
    let table = format!("{}\n\n{}", lab.place(), table::text(&lab.rows));
    let shown = if lab.shown.is_empty() { String::new() } else { serve::compare::text(&lab.shown) };
    let texts = [core_maps::compact(&lab.rows, &options), table, claims::text(&lab.judged), estimates::text(&lab.estimates), shown];
    texts.iter().filter(|text| !text.is_empty()).for_each(|text| say(text));
}

/// Prints to standard output. A reader that went away, such as `head`, is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
