//! The verdicts as they are printed.

use std::fmt::Write;

use textwrap::wrap;

use super::{Claim, Judgement, Spread};

const VERDICT_WIDTH: usize = 15;
const LINE_WIDTH: usize = 130;

/// A paragraph for each; the runtime is named where there are several.
pub(crate) fn text(judged: &[Judgement]) -> String {
    let Some(first) = judged.first() else { return String::new() };
    let are_several = judged.iter().any(|one| one.runtime != first.runtime);
    let mut text = String::from("What people say, and whether it holds here:\n");
    let mut before = "";
    for one in judged {
        let Some(claim) = Claim::find(&one.claim) else { continue };
        if before != one.claim {
            let _ = writeln!(text, "\n{}", claim.sentence);
        }
        before = &one.claim;
        let runtime = if are_several { format!("{}: ", one.runtime) } else { String::new() };
        let figures: Vec<String> = one.figures.iter().map(|figure| format!("{}: {}", figure.name, value(figure))).collect();
        let remarks = remarks(one, &figures.join("; "));
        let verdict = one.verdict.words().to_uppercase();
        for (index, line) in wrap(&(runtime + &remarks), LINE_WIDTH - VERDICT_WIDTH - 2).iter().enumerate() {
            let head = if index == 0 { verdict.as_str() } else { "" };
            let _ = writeln!(text, "  {head:<VERDICT_WIDTH$}{line}");
        }
    }
    let rounds = judged.iter().map(|one| one.rounds).max().unwrap_or(0);
    let note = match rounds {
        0 | 1 => "One run of each cell: how much the figures vary is not known; --repeats 5 tells.".to_owned(),
        more => format!(
            "Medians of {more} runs of each cell; in brackets the smallest and the largest where they differ by more than a tenth."
        ),
    };
    let _ = writeln!(text, "\n{note}");
    text
}

pub(crate) fn lines(judged: &[Judgement]) -> Vec<(String, String)> {
    let line = |one: &Judgement| {
        let why = one.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        Some((Claim::find(&one.claim)?.sentence.to_owned(), format!("{}{why} ({})", one.verdict.words(), one.runtime)))
    };
    judged.iter().filter_map(line).collect()
}

/// The reason, the figures as they are given, how many rounds count, and what else is true, as sentences.
pub fn remarks(one: &Judgement, figures: &str) -> String {
    let mut sentences: Vec<String> = one.why.iter().map(String::as_str).chain([figures]).map(sentence).collect();
    if one.rounds_used < one.rounds && one.rounds_used > 0 {
        sentences.push(format!("{} of {} rounds count: the others were disturbed.", one.rounds_used, one.rounds));
    }
    sentences.push(one.nuance.clone());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

/// With a capital letter and a full stop; nothing remains nothing.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).chain(['.']).collect())
}

/// The median, and the extremes where they tell something.
fn value(figure: &Spread) -> String {
    let middle = figure.unit.write(figure.median);
    if (figure.max - figure.min).abs() <= 0.1 * figure.median.abs() {
        return middle;
    }
    format!("{middle} [{} to {}]", figure.unit.write(figure.min), figure.unit.write(figure.max))
}
