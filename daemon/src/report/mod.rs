//! The report of one traced run: the JSON contract and what a person reads on a terminal.
//!
//! | module | purpose |
//! |---|---|
//! | [`schema`] | the contract of `--json`; everything below reads it and nothing else |
//! | [`build`] | the report made from what was measured |
//! | [`terminal`] | how wide and in which colours; the only part that asks the environment |
//! | `answer` | the diagnosis in words: the first line, which answers the question, the evidence and the advice |
//! | `sections` | the figures: parallelism, time, switches, migrations, latency, threads, check |
//! | [`core_map`] | cores over time |
//! | `words` | vocabulary: quantities, names |
//!
//! Rendering is a pure function of the report and the options. Names come from traced processes, which nobody vouches for: every
//! string of the report passes through `words::clean` before it is printed.

pub(crate) mod answer;
pub mod build;
pub(crate) mod core_map;
pub mod schema;
mod sections;
pub(crate) mod terminal;
pub(crate) mod words;

use schedscope_ebpf::loss::{Harm, Loss};
pub use schema::RunReport;
pub(crate) use terminal::{ColourDepth, Options};
use words::{clean, grouped, harmless};

/// The whole report as text, each line ended by a line feed.
pub(crate) fn render(report: &RunReport, options: &Options) -> String {
    let mut blocks = vec![headline(report, options)];
    let picture = core_map::Picture::of(report, options);
    blocks.extend(sections::all(report, picture.as_ref(), options));
    blocks.extend(picture.map(|picture| picture.lines(options)));
    blocks.push(sections::check::lines(report, options));
    let mut text = String::new();
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        for line in block {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// The sentence, what follows from it, a warning if observations are missing, and what was traced.
fn headline(report: &RunReport, options: &Options) -> Vec<String> {
    let mut lines = vec![options.colour.strong(&harmless(&report.model.sentence))];
    lines.extend(sections::advice(report));
    if report.loss.total > 0 {
        let mut reasons: Vec<_> = report.loss.by_reason.iter().filter(|(name, count)| **count > 0 && is_gap(name)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let reasons: Vec<String> = reasons.iter().map(|(name, count)| format!("{} {}", clean(name), grouped(**count))).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        let missing = grouped(report.loss.total);
        lines.push(
            options.colour.alarm(&format!("WARNING: {missing} observations are missing{reasons}: the figures may be too low.")),
        );
    }
    let of_details = Loss::ALL.iter().filter(|loss| loss.harm() == Harm::Details);
    let details: u64 = of_details.filter_map(|loss| report.loss.by_reason.get(loss.name())).sum();
    if details > 0 {
        let note =
            format!("{} threads ended before their details were read: they are in every total, but in no list.", grouped(details));
        lines.push(options.colour.faint(&note));
    }
    lines.push(options.colour.faint(&sections::subject(report)));
    lines
}

/// Whether a loss of this name leaves a gap in the figures, as far as is known.
fn is_gap(name: &str) -> bool {
    !Loss::ALL.iter().any(|loss| loss.name() == name && loss.harm() != Harm::Missing)
}

#[cfg(test)]
mod tests;
