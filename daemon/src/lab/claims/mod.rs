//! What people say about threads and processes, and whether it holds here.
//!
//! A [`Claim`] is a row of [`ALL`]: the sentence, the cells that it is tried on, a gate that says when the machine is fit to judge,
//! and a rule, a pure function of one round of runs. [`of`] applies the rules to every round and sums up; [`text()`] prints it.

mod rules;
mod text;
mod tolerances;
mod view;

pub use rules::ALL;
use schedscope_workloads::median;
use serde::{Deserialize, Serialize};
pub use text::remarks;
pub(crate) use text::{lines, text};
pub(crate) use tolerances::FOREIGN_MAX_SPEED;
pub use tolerances::TOLERANCES;
pub(crate) use view::CALIBRATION;
pub use view::Gate;
use view::{Reading, Ruling, View};

use super::cell::{Problem, Row, find};
use super::units::Unit;

/// One claim.
pub struct Claim {
    /// Key that stays the same.
    pub id: &'static str,
    /// As people say it.
    pub sentence: &'static str,
    /// What else is true where it holds; may be empty.
    if_it_holds: &'static str,
    /// The same where it does not.
    if_not: &'static str,
    /// When the machine is fit to judge.
    pub gate: Gate,
    /// Cells without which it cannot be judged.
    pub cells: &'static [&'static str],
    /// Cells that it also looks at, if they ran.
    pub also: &'static [&'static str],
    /// The rule, for one round.
    judge: fn(&View) -> Option<Reading>,
}

/// The answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is so.
    Holds,
    /// It is not.
    DoesNotHold,
    /// This machine was not fit to judge, or the figures lie between.
    #[default]
    Inconclusive,
    /// This interpreter cannot run what it takes.
    Skipped,
}

impl Verdict {
    /// As it is printed.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::DoesNotHold => "does not hold",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Skipped => "skipped",
        }
    }
}

/// A figure over all rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// What it is.
    pub name: String,
    /// How to write it.
    pub unit: Unit,
    /// Middle of the rounds.
    pub median: f64,
    /// Smallest of the rounds.
    pub min: f64,
    /// Largest of the rounds.
    pub max: f64,
}

/// A claim with its verdict on one runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The claim's key.
    pub claim: String,
    /// The runtime that it was tried on.
    pub runtime: String,
    /// The answer.
    pub verdict: Verdict,
    /// Why it is no answer, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What else is true; may be empty.
    #[serde(rename = "finer")]
    pub nuance: String,
    /// What it rests on.
    pub figures: Vec<Spread>,
    /// Rounds in which the machine was fit to judge.
    pub rounds_used: usize,
    /// Rounds that were run.
    pub rounds: usize,
    /// Cells that it rests on.
    pub cells: Vec<String>,
}

impl Claim {
    pub(crate) fn find(id: &str) -> Option<&'static Claim> {
        ALL.iter().find(|claim| claim.id == id)
    }

    /// What else is true, given the verdict.
    pub fn nuance(&self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Holds => self.if_it_holds,
            Verdict::DoesNotHold => self.if_not,
            Verdict::Inconclusive | Verdict::Skipped => "",
        }
    }

    /// Every cell that it looks at.
    pub fn all_cells(&self) -> impl Iterator<Item = &'static str> {
        self.cells.iter().chain(self.also).copied()
    }
}

/// True for a cell without which a claim cannot be judged.
pub(crate) fn is_needed(id: &str) -> bool {
    id == CALIBRATION || ALL.iter().any(|claim| claim.cells.contains(&id))
}

pub(crate) fn is_looked_at(id: &str) -> bool {
    id == CALIBRATION || ALL.iter().any(|claim| claim.all_cells().any(|cell| cell == id))
}

/// All verdicts, claim by claim and within each runtime by runtime. Claims whose cells were not selected are left out.
pub(crate) fn of(rows: &[Row], cpus: usize) -> Vec<Judgement> {
    let mut runtimes: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| !row.cell.is_native()) {
        if !runtimes.contains(&row.cell.runtime.as_str()) {
            runtimes.push(&row.cell.runtime);
        }
    }
    ALL.iter().flat_map(|claim| runtimes.iter().filter_map(|runtime| judge(claim, rows, runtime, cpus))).collect()
}

/// One claim on one runtime; `None` if its cells were not asked for.
fn judge(claim: &Claim, rows: &[Row], runtime: &str, cpus: usize) -> Option<Judgement> {
    let find = |id: &str| find(rows, runtime, id);
    let needed: Vec<&Row> = claim.cells.iter().map(|id| find(id)).collect::<Option<_>>()?;
    let ran = |id: &&str| find(id).is_some_and(Row::has_succeeded);
    let mut judgement = Judgement {
        claim: claim.id.to_owned(),
        runtime: runtime.to_owned(),
        cells: claim.all_cells().filter(ran).map(str::to_owned).collect(),
        ..Judgement::default()
    };
    let mut rounds = usize::MAX;
    for row in needed {
        match &row.problem {
            None => rounds = rounds.min(row.runs.len()),
            Some(Problem::Skipped(why)) => {
                (judgement.verdict, judgement.why) = (Verdict::Skipped, Some(why.clone()));
                return Some(judgement);
            }
            Some(Problem::Failed(why)) => {
                judgement.why = Some(format!("{} failed: {why}", row.cell.id));
                return Some(judgement);
            }
        }
    }
    let mut readings = Vec::new();
    for round in 0..rounds {
        let view = View { rows, runtime, cpus, round };
        let Some(mut reading) = (claim.judge)(&view) else { continue };
        if let Ruling::NotAbout(why) = reading.ruling {
            (judgement.verdict, judgement.why, judgement.cells) = (Verdict::Skipped, Some(why), Vec::new());
            return Some(judgement);
        }
        let cells: Vec<_> = claim.all_cells().filter_map(|id| view.cell(id)).collect();
        if let Some(why) = view.obstacle(claim.gate, &cells) {
            reading.ruling = Ruling::Unfit(why);
        }
        readings.push(reading);
    }
    judgement.rounds = rounds;
    sum_up(&mut judgement, &readings);
    claim.nuance(judgement.verdict).clone_into(&mut judgement.nuance);
    Some(judgement)
}

/// Of the rounds in which the machine was fit to judge, all must agree but one in five.
fn sum_up(judgement: &mut Judgement, readings: &[Reading]) {
    let count = |is: fn(&Ruling) -> bool| readings.iter().filter(|reading| is(&reading.ruling)).count();
    let used = readings.len() - count(|ruling| matches!(ruling, Ruling::Unfit(_)));
    let (holds, fails) = (count(|ruling| *ruling == Ruling::Holds), count(|ruling| *ruling == Ruling::Fails));
    let enough = used - used / 5;
    judgement.rounds_used = used;
    judgement.figures = spreads(readings);
    let reason = |of: fn(&Ruling) -> Option<&String>| readings.iter().find_map(|reading| of(&reading.ruling)).cloned();
    if used == 0 || 2 * used < readings.len() {
        let why = reason(|ruling| if let Ruling::Unfit(why) = ruling { Some(why) } else { None });
        judgement.why = Some(why.unwrap_or_else(|| "its cells did not report what it takes".to_owned()));
    } else if holds >= enough {
        judgement.verdict = Verdict::Holds;
    } else if fails >= enough {
        judgement.verdict = Verdict::DoesNotHold;
    } else {
        let why = reason(|ruling| if let Ruling::Between(why) = ruling { Some(why) } else { None });
        judgement.why = Some(why.unwrap_or_else(|| format!("it held in {holds} of {used} rounds and not in {fails}")));
    }
}

/// Figures of the same name over the rounds that were fit, or over all where none was.
fn spreads(readings: &[Reading]) -> Vec<Spread> {
    let fit: Vec<&Reading> = readings.iter().filter(|reading| !matches!(reading.ruling, Ruling::Unfit(_))).collect();
    let readings: Vec<&Reading> = if fit.is_empty() { readings.iter().collect() } else { fit };
    let Some(first) = readings.first() else { return Vec::new() };
    let spread = |figure: &view::Figure| {
        let same = readings.iter().flat_map(|reading| &reading.figures).filter(|one| one.name == figure.name);
        let values = same.map(|one| one.value);
        Some(Spread {
            name: figure.name.to_owned(),
            unit: figure.unit,
            median: median(values.clone())?,
            min: values.clone().fold(f64::INFINITY, f64::min),
            max: values.fold(f64::NEG_INFINITY, f64::max),
        })
    };
    first.figures.iter().filter_map(spread).collect()
}

#[cfg(test)]
mod tests;
