//! What people say about threads and processes, and whether it holds here.
//!
//! A [`Claim`] is a row: the sentence, the cells that it is tried on, a [`gate::Gate`] that says when the machine is fit to tell, and
//! a rule, a pure function of one round of runs. [`of`] applies the rules to every round and sums up. [`text`] prints it,
//! [`pages`] makes `docs/claims/` of it.

mod computing;
mod gate;
mod lock;
pub(crate) mod pages;
mod reading;
mod table;
mod text;
mod view;
mod waiting;
mod workers;

use serde::{Deserialize, Serialize};

use super::{
    cell::{Outcome, Row},
    figures,
};
pub(crate) use gate::CALIBRATION;
use gate::Gate;
use reading::{Call, Reading, Unit};
pub(crate) use table::ALL;
pub(crate) use text::{lines, text};
use view::View;

/// One claim.
pub(crate) struct Claim {
    /// Key that stays the same; name of its page.
    pub(crate) id: &'static str,
    /// As people say it.
    pub(crate) sentence: &'static str,
    /// When it holds and when it does not, with the tolerances.
    pub(crate) rule: fn() -> String,
    /// What was run.
    pub(crate) method: &'static str,
    /// What the truth has more to it, where it holds; may be empty.
    pub(crate) finer_if_it_holds: &'static str,
    /// The same where it does not.
    pub(crate) finer_if_not: &'static str,
    /// When the machine is fit to tell.
    gate: Gate,
    /// Cells without which it cannot be told.
    pub(crate) cells: &'static [&'static str],
    /// Cells that it also looks at, if they ran.
    pub(crate) also: &'static [&'static str],
    /// The rule, for one round.
    judge: fn(&View) -> Option<Reading>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It is so.
    Holds,
    /// It is not.
    DoesNotHold,
    /// This machine was not fit to tell, or the figures lie between.
    Inconclusive,
    /// This interpreter cannot run what it takes.
    Skipped,
}

impl Verdict {
    /// As it is printed.
    pub(crate) fn words(self) -> &'static str {
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
pub(crate) struct Told {
    /// What it is.
    pub(crate) name: String,
    /// How to write it.
    pub(crate) unit: Unit,
    /// Middle of the rounds.
    pub(crate) median: f64,
    /// Smallest of the rounds.
    pub(crate) min: f64,
    /// Largest of the rounds.
    pub(crate) max: f64,
}

/// A claim with its verdict on one runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judged {
    /// The claim's key.
    pub(crate) claim: String,
    /// The runtime that it was tried on.
    pub(crate) runtime: String,
    /// The answer.
    pub(crate) verdict: Verdict,
    /// Why it is no answer, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// What the truth has more to it; may be empty.
    pub(crate) finer: String,
    /// What it rests on.
    pub(crate) figures: Vec<Told>,
    /// Rounds in which the machine was fit to tell.
    pub(crate) rounds_used: usize,
    /// Rounds that were run.
    pub(crate) rounds: usize,
    /// Cells that it rests on.
    pub(crate) cells: Vec<String>,
}

impl Claim {
    /// The row of that key.
    pub(crate) fn find(id: &str) -> Option<&'static Claim> {
        ALL.iter().find(|claim| claim.id == id)
    }

    /// Every cell that it looks at.
    pub(crate) fn all_cells(&self) -> impl Iterator<Item = &'static str> {
        self.cells.iter().chain(self.also).copied()
    }
}

/// True for a cell without which a claim cannot be told.
pub(crate) fn is_needed(id: &str) -> bool {
    id == CALIBRATION || ALL.iter().any(|claim| claim.cells.contains(&id))
}

/// True for a cell that a claim looks at.
pub(crate) fn is_looked_at(id: &str) -> bool {
    id == CALIBRATION || ALL.iter().any(|claim| claim.all_cells().any(|cell| cell == id))
}

/// All verdicts, claim by claim and within each runtime by runtime. Claims whose cells were not selected are left out.
pub(crate) fn of(rows: &[Row], cpus: usize) -> Vec<Judged> {
    let mut runtimes: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| !row.cell.is_native()) {
        if !runtimes.contains(&row.cell.runtime.as_str()) {
            runtimes.push(&row.cell.runtime);
        }
    }
    ALL.iter().flat_map(|claim| runtimes.iter().filter_map(|runtime| judge(claim, rows, runtime, cpus))).collect()
}

/// One claim on one runtime; `None` if its cells were not asked for.
fn judge(claim: &Claim, rows: &[Row], runtime: &str, cpus: usize) -> Option<Judged> {
    let find = |id: &str| rows.iter().find(|row| row.cell.runtime == runtime && row.cell.id == id);
    let needed: Vec<&Row> = claim.cells.iter().map(|id| find(id)).collect::<Option<_>>()?;
    let mut judged = Judged {
        claim: claim.id.to_owned(),
        runtime: runtime.to_owned(),
        verdict: Verdict::Inconclusive,
        why: None,
        finer: String::new(),
        figures: Vec::new(),
        rounds_used: 0,
        rounds: 0,
        cells: claim.all_cells().filter(|id| find(id).is_some_and(|row| row.figures().is_some())).map(str::to_owned).collect(),
    };
    let mut rounds = usize::MAX;
    for row in needed {
        match &row.outcome {
            Outcome::Measured { runs, .. } => rounds = rounds.min(runs.len()),
            Outcome::Skipped { why } => {
                (judged.verdict, judged.why) = (Verdict::Skipped, Some(why.clone()));
                return Some(judged);
            }
            Outcome::Failed { why } => {
                judged.why = Some(format!("{} failed: {why}", row.cell.id));
                return Some(judged);
            }
        }
    }
    let mut readings = Vec::new();
    for round in 0..rounds {
        let view = View { rows, runtime, cpus, round };
        let obstacle = view.obstacle(claim.gate, &view.cells(claim.all_cells()));
        let Some(mut reading) = (claim.judge)(&view) else { continue };
        if let Call::NotAbout(why) = reading.call {
            (judged.verdict, judged.why, judged.cells) = (Verdict::Skipped, Some(why), Vec::new());
            return Some(judged);
        }
        if let Some(why) = obstacle {
            reading.call = Call::Unfit(why);
        }
        readings.push(reading);
    }
    judged.rounds = rounds;
    sum_up(&mut judged, &readings, claim);
    Some(judged)
}

/// Of the rounds in which the machine was fit to tell, all must agree but one in five.
fn sum_up(judged: &mut Judged, readings: &[Reading], claim: &Claim) {
    let count = |is: fn(&Call) -> bool| readings.iter().filter(|reading| is(&reading.call)).count();
    let used = readings.len() - count(|call| matches!(call, Call::Unfit(_)));
    let (holds, fails) = (count(|call| *call == Call::Holds), count(|call| *call == Call::Fails));
    let enough = used - used / 5;
    judged.rounds_used = used;
    judged.figures = medians(readings);
    let reason = |of: fn(&Call) -> Option<&String>| readings.iter().find_map(|reading| of(&reading.call)).cloned();
    if used == 0 || 2 * used < readings.len() {
        let why = reason(|call| if let Call::Unfit(why) = call { Some(why) } else { None });
        judged.why = Some(why.unwrap_or_else(|| "its cells did not report what it takes".to_owned()));
    } else if holds >= enough {
        judged.verdict = Verdict::Holds;
        claim.finer_if_it_holds.clone_into(&mut judged.finer);
    } else if fails >= enough {
        judged.verdict = Verdict::DoesNotHold;
        claim.finer_if_not.clone_into(&mut judged.finer);
    } else {
        let why = reason(|call| if let Call::Between(why) = call { Some(why) } else { None });
        judged.why = Some(why.unwrap_or_else(|| format!("it held in {holds} of {used} rounds and not in {fails}")));
    }
}

/// Figures of the same name over the rounds that were fit, or over all where none was.
fn medians(readings: &[Reading]) -> Vec<Told> {
    let fit: Vec<&Reading> = readings.iter().filter(|reading| !matches!(reading.call, Call::Unfit(_))).collect();
    let readings: Vec<&Reading> = if fit.is_empty() { readings.iter().collect() } else { fit };
    let Some(first) = readings.first() else { return Vec::new() };
    let told = |figure: &reading::Figure| {
        let values = || readings.iter().flat_map(|reading| &reading.figures).filter(|one| one.name == figure.name);
        Some(Told {
            name: figure.name.to_owned(),
            unit: figure.unit,
            median: figures::median(values().map(|figure| figure.value))?,
            min: values().map(|figure| figure.value).fold(f64::INFINITY, f64::min),
            max: values().map(|figure| figure.value).fold(f64::NEG_INFINITY, f64::max),
        })
    };
    first.figures.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests;
