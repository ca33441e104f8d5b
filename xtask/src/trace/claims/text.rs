//! The verdicts as they are printed.

use std::fmt::Write;

use super::{Claim, Judged, Told};

/// Width of the verdict's column.
const VERDICT_WIDTH: usize = 15;
/// Where long lines are broken.
const LINE_WIDTH: usize = 130;

/// A paragraph for each; the runtime is named where there are several.
pub(crate) fn text(judged: &[Judged]) -> String {
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
        let line = format!("{runtime}{}", after_verdict(one));
        let verdict = one.verdict.words().to_uppercase();
        for (index, line) in wrapped(&line, LINE_WIDTH - VERDICT_WIDTH - 2).iter().enumerate() {
            let head = if index == 0 { verdict.as_str() } else { "" };
            let _ = writeln!(text, "  {head:<VERDICT_WIDTH$}{line}");
        }
    }
    let rounds = judged.iter().map(|one| one.rounds).max().unwrap_or(0);
    let note = match rounds {
        0 | 1 => "One run of each cell, so nothing is known of how much the figures vary; --repeats 5 tells.".to_owned(),
        more => format!(
            "Medians of {more} runs of each cell; in brackets the smallest and the largest where they differ by more than a tenth."
        ),
    };
    let _ = writeln!(text, "\n{note}");
    text
}

/// Sentence and verdict, a line each.
pub(crate) fn lines(judged: &[Judged]) -> Vec<(String, String)> {
    let line = |one: &Judged| {
        let why = one.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        Some((Claim::find(&one.claim)?.sentence.to_owned(), format!("{}{why} ({})", one.verdict.words(), one.runtime)))
    };
    judged.iter().filter_map(line).collect()
}

/// Reason, figures and what there is more to it.
pub(super) fn after_verdict(one: &Judged) -> String {
    let mut parts: Vec<String> = one.why.iter().map(|why| format!("{why}.")).collect();
    let figures: Vec<String> = one.figures.iter().map(|told| format!("{}: {}", told.name, value(told))).collect();
    if !figures.is_empty() {
        parts.push(format!("{}.", capital(&figures.join("; "))));
    }
    if one.rounds_used < one.rounds && one.rounds_used > 0 {
        parts.push(format!("Told by {} of {} rounds: the others were disturbed.", one.rounds_used, one.rounds));
    }
    if !one.finer.is_empty() {
        parts.push(one.finer.clone());
    }
    let text = parts.join(" ");
    capital(&text)
}

/// The median, and the extremes where they tell something.
pub(super) fn value(told: &Told) -> String {
    let middle = told.unit.write(told.median);
    if (told.max - told.min).abs() <= 0.1 * told.median.abs() {
        return middle;
    }
    format!("{middle} [{} to {}]", told.unit.write(told.min), told.unit.write(told.max))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let is_full = lines.last().is_some_and(|line| !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::wrapped;

    proptest! {
        #[test]
        fn breaking_lines_loses_nothing(words in prop::collection::vec("[a-z]{1,12}", 1..60), width in 12..90_usize) {
            let text = words.join(" ");
            let lines = wrapped(&text, width);
            prop_assert!(lines.iter().all(|line| line.len() <= width));
            prop_assert_eq!(lines.join(" "), text);
        }
    }
}
