//! `cargo xtask verdicts`: programs that are sick in a known way, each with its cure. What schedscope says of the sick one is compared
//! with what is wrong with it, and the wall time that it predicts with that of the cure. The result goes to `docs/verdicts.md`.
//!
//! [`manifest`] knows the pairs, [`programs`] how they are started and [`surroundings`] what has to be around them. [`judge`] compares,
//! and [`page`] shows the result; these two are pure.

mod judge;
mod manifest;
mod page;
mod programs;
mod surroundings;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::{self, Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use judge::{Case, Measured, Report, Totals, judge};
use manifest::{CommandLine, Manifest, Pair};
use programs::Programs;
use surroundings::{Need, Others, Quota, Speed, Spinners};

use crate::outcome::{Counts, Outcome};
use crate::workspace::{build_debug, date, require_root, root, write};

/// Where the programs are.
const HOME: &str = "workloads/verdicts";
/// What a full run writes.
const PAGE: &str = "docs/verdicts.md";
/// Times that a sick program and its cure run, in turns, if the wall time of the cure is to be predicted: CPUs are now faster and now slower.
/// Other pairs run once, the cure to be shown.
const TURNS: usize = 3;
/// Times that a sick program is run in the tests before its verdict is wrong.
const TRIES: usize = 2;
/// Share of the CPUs that other programs may have where none is meant to run, how many times longer than of late the same work may take
/// there, and times that a program is run to find it so.
const QUIET: f64 = 0.1;
const SLOWED: f64 = 1.15;
const QUIET_TRIES: usize = 5;
/// Other programs beside a pair, as a percentage of the CPUs.
const LOAD: usize = 100;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these pairs, and leave docs/verdicts.md alone.
    pairs: Vec<String>,
    /// Only those that the tests run, and leave docs/verdicts.md alone.
    #[arg(long, conflicts_with = "pairs")]
    quick: bool,
    /// Run the chosen pairs once more beside one spinning program per CPU, as a run of all pairs does.
    #[arg(long)]
    beside_load: bool,
    /// Keep the reports in this directory.
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    require_root("verdicts")?;
    let manifest = Manifest::read(&root().join(HOME).join("verdicts.toml"))?;
    let pairs = manifest.choose(&arguments.pairs, arguments.quick)?;
    let is_full = arguments.pairs.is_empty() && !arguments.quick;
    let corpus = Corpus::build(arguments.reports.as_deref())?;
    let (mut cases, mut skipped) = (Vec::new(), BTreeMap::new());
    for pair in pairs {
        let Some(reason) = corpus.lacking(pair) else {
            cases.extend(corpus.measure(pair, is_full || arguments.beside_load)?);
            continue;
        };
        println!("{}: skipped, {reason}", pair.name);
        skipped.insert(pair.name.clone(), reason);
    }
    ensure!(!cases.is_empty(), "every pair was skipped");
    let text = page::markdown(&cases, &skipped, &date(SystemTime::now())?, [corpus.disturbed.get(), corpus.runs.get()]);
    if is_full {
        write(PAGE, text)?;
    } else {
        print!("{text}");
    }
    let totals = Totals::of(&cases);
    ensure!(totals.wrong == 0, "{} of {} verdicts are wrong", totals.wrong, totals.cases);
    Ok(())
}

/// The tests' part: a few pairs, and only what is said of the sick programs. On a host that others use, one run may be theirs; who is
/// wrong twice is wrong.
pub(crate) fn run_briefly() -> Result<Outcome> {
    let manifest = Manifest::read(&root().join(HOME).join("verdicts.toml"))?;
    let corpus = Corpus::build(None)?;
    let (mut failures, mut counts) = (Vec::new(), Counts::default());
    for pair in manifest.choose(&[], true)? {
        if let Some(reason) = corpus.lacking(pair) {
            counts.skipped.push(reason);
            continue;
        }
        let mut wrong = Vec::new();
        while wrong.len() < TRIES {
            let report = corpus.trace(pair, pair.others.map_or(0, |others| others.percent_of_cpus), "quiet")?;
            let judgment = judge(pair, &report, None);
            println!("{}: {}, {judgment}", pair.name, report.model.limit);
            if !judgment.is_wrong() {
                break;
            }
            wrong.push(format!("{} is {judgment} for {}", report.model.limit, pair.name));
        }
        match wrong.pop() {
            Some(failure) if wrong.len() + 1 == TRIES => {
                counts.failed += 1;
                failures.push(failure);
            }
            _ => counts.passed += 1,
        }
    }
    if failures.is_empty() {
        return Ok(Outcome::Passed(counts));
    }
    Ok(Outcome::Failed { counts, reason: failures.join("; ") })
}

/// The programs, built, and the tracer.
struct Corpus {
    programs: Programs,
    tracer: PathBuf,
    reports: Option<PathBuf>,
    cpus: usize,
    speed: Speed,
    /// Runs that were to be alone, and those of them for which there was no quiet moment.
    runs: Cell<usize>,
    disturbed: Cell<usize>,
}

impl Corpus {
    fn build(reports: Option<&Path>) -> Result<Self> {
        if let Some(dir) = reports {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        // The programs run in a directory of their own.
        let reports = reports.map(path::absolute).transpose()?;
        Ok(Self {
            tracer: build_debug()?.join("schedscope"),
            programs: Programs::build(&root().join(HOME))?,
            reports,
            cpus: thread::available_parallelism().map_or(1, NonZero::get),
            speed: Speed::new()?,
            runs: Cell::new(0),
            disturbed: Cell::new(0),
        })
    }

    /// Why a pair cannot run here.
    fn lacking(&self, pair: &Pair) -> Option<String> {
        pair.needs.iter().find_map(|need| match need {
            Need::TwoCpus if self.cpus < 2 => Some("this host has one CPU".to_owned()),
            need => self.programs.lacks(*need).or_else(|| need.lacking()),
        })
    }

    /// What comes of a pair on a quiet host and, if asked for, beside load; a pair that has others beside it runs once.
    fn measure(&self, pair: &Pair, beside_load: bool) -> Result<Vec<Case>> {
        let others = pair.others.map_or(0, |others| others.percent_of_cpus);
        let beside_cure = pair.others.is_some_and(|others| others.beside_cure);
        let quiet = self.case(pair, [others, if beside_cure { others } else { 0 }], None)?;
        println!("{quiet}");
        let mut cases = vec![quiet];
        if beside_load && pair.others.is_none() {
            let loaded = self.case(pair, [LOAD, LOAD], Some(cases[0].measured.sick))?;
            println!("{loaded}");
            cases.push(loaded);
        }
        Ok(cases)
    }

    /// Both programs of a pair beside others, of which there are these percentages of the CPUs. `quiet` is what the sick one took before,
    /// without the load.
    fn case(&self, pair: &Pair, [beside_sick, beside_cure]: [usize; 2], quiet: Option<Duration>) -> Result<Case> {
        let mode = if quiet.is_some() { "load" } else { "quiet" };
        let trace = |turn| {
            let trace = || self.trace(pair, beside_sick, &format!("{mode}{turn}"));
            if quiet.is_none() && pair.others.is_none() { self.alone(trace) } else { trace() }
        };
        let time = |cure| self.time(cure, beside_cure).with_context(|| format!("cannot run the cure of {}", pair.name));
        let turns = if pair.compare { TURNS } else { 1 };
        let (mut reports, mut cures) = (Vec::new(), Vec::new());
        for turn in 1..=turns {
            reports.push(trace(turn)?);
            if let Some(cure) = pair.cure.as_ref().filter(|_| pair.compare || quiet.is_none()) {
                cures.push(time(cure)?);
            }
        }
        cures.sort();
        let cure = cures.get(turns / 2).copied();
        let case = |report: &Report| Case::new(pair, report, Measured { sick: report.wall, cure, quiet });
        let mut cases: Vec<Case> = reports.iter().map(case).collect();
        cases.sort_by_key(|case| (!case.judgment.is_wrong(), case.measured.sick));
        // A verdict that is wrong once is wrong.
        let shown = if cases[0].judgment.is_wrong() { 0 } else { turns / 2 };
        Ok(cases.swap_remove(shown))
    }

    /// The wall time of a command beside others.
    fn time(&self, command: &CommandLine, percent_of_cpus: usize) -> Result<Duration> {
        let _spinners = Spinners::start(percent_of_cpus)?;
        let time = || self.programs.time(&command.words);
        if percent_of_cpus == 0 { self.alone(time) } else { time() }
    }

    /// What comes of the first run to which others leave the CPUs, at their full speed; of the last one if there is none. That is decided by
    /// what the others do, and not by what is said.
    fn alone<T>(&self, run: impl Fn() -> Result<T>) -> Result<T> {
        let mut tries = 1..=QUIET_TRIES;
        let mut before = self.speed.slowed();
        loop {
            let others = Others::watch()?;
            let result = run()?;
            let share = others.share(self.cpus)?;
            let after = self.speed.slowed();
            let is_alone = share < QUIET && before.max(after) < SLOWED;
            if is_alone || tries.next() == Some(QUIET_TRIES) {
                self.runs.set(self.runs.get() + 1);
                self.disturbed.set(self.disturbed.get() + usize::from(!is_alone));
                return Ok(result);
            }
            before = after;
        }
    }

    /// What schedscope says of the sick program.
    fn trace(&self, pair: &Pair, percent_of_cpus: usize, mode: &str) -> Result<Report> {
        let _spinners = Spinners::start(percent_of_cpus)?;
        let quota = pair.quota.map(Quota::new).transpose()?;
        let own = tempfile::tempdir()?;
        let json = self.reports.as_deref().unwrap_or(own.path()).join(format!("{}.{mode}.json", pair.name));
        let joins = quota.iter().flat_map(Quota::words);
        let words: Vec<String> = joins.chain(pair.sick.words.iter().cloned()).collect();
        let traced = self.programs.trace(&self.tracer, &words, &json, pair.sick.expected_exit());
        traced.with_context(|| format!("cannot trace {}", pair.name))?;
        let bytes = fs::read(&json).with_context(|| format!("{} left no report", pair.name))?;
        serde_json::from_slice(&bytes).with_context(|| format!("cannot read the report of {}", pair.name))
    }
}
