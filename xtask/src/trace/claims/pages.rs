//! `docs/claims/`: a page for each claim and an index.
//!
//! They are a function of the claims and of `measured.json`, what a run of `cargo xtask trace --docs` found. So `cargo xtask generate
//! --check` can tell without measuring that there is a page for every claim and that what it says of rule and figures is so.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use serde::{Deserialize, Serialize};

use super::{
    super::{estimates::Compared, table::seconds},
    ALL, Claim, Judged,
    text::after_verdict,
};
use crate::workspace::root;

/// Where the pages are.
const DIRECTORY: &str = "docs/claims";
/// What was measured for them, beside them.
const MEASURED: &str = "measured.json";

/// What was measured for the pages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Day, as year-month-day.
    pub(crate) date: String,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Machine architecture.
    pub(crate) architecture: String,
    /// CPUs that the lab could use.
    pub(crate) cpus: usize,
    /// Model of the CPUs, as the kernel names it.
    pub(crate) cpu_model: String,
    /// The verdicts.
    pub(crate) claims: Vec<Judged>,
    /// The estimates.
    pub(crate) estimates: Vec<Compared>,
}

/// Where the measurements for the pages are kept.
pub(crate) fn measured_path() -> PathBuf {
    root().join(DIRECTORY).join(MEASURED)
}

/// The day in universal time, as year-month-day.
pub(crate) fn today() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    if text.trim().is_empty() { "an unknown day".to_owned() } else { text.trim().to_owned() }
}

/// The pages by path from the root, of what was last measured for them.
pub(crate) fn committed() -> Result<BTreeMap<PathBuf, String>> {
    let path = measured_path();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}: `cargo xtask trace --docs` measures and writes it", path.display()))?;
    let measured = serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(all(&measured))
}

/// All pages.
pub(crate) fn all(measured: &Measured) -> BTreeMap<PathBuf, String> {
    let directory = PathBuf::from(DIRECTORY);
    let mut pages: BTreeMap<PathBuf, String> =
        ALL.iter().map(|claim| (directory.join(format!("{}.md", claim.id)), page(claim, measured))).collect();
    pages.insert(directory.join("README.md"), index(measured));
    pages
}

fn index(measured: &Measured) -> String {
    let mut text = String::from(
        "# What people say, and whether it holds\n\n\
         Each of these was measured by `cargo xtask trace`, which says the same of your machine in a few minutes. The pages have the figures, \
         how they were measured, and the rule that the verdict follows from.\n\n",
    );
    let runtimes = runtimes(measured);
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["claim".to_owned()].into_iter().chain(runtimes.iter().map(|runtime| format!("CPython {runtime}"))));
    for claim in &ALL {
        let verdict = |runtime: &&str| find(measured, claim, runtime).map_or("not measured", |judged| judged.verdict.words());
        let link = format!("[{}]({}.md)", claim.sentence, claim.id);
        table.add_row([link].into_iter().chain(runtimes.iter().map(|runtime| verdict(runtime).to_owned())));
    }
    let _ = writeln!(text, "{}\n\n{}", table.trim_fmt(), place(measured));
    text + &estimates(measured)
}

fn estimates(measured: &Measured) -> String {
    let mut text = String::from(
        "\n## What processes would take\n\n\
         For threads that the GIL binds, schedscope estimates what the same work would take on processes, from the run of the threads alone: each \
         thread's time on a CPU and blocked for anything but the GIL, the cores it may use, and what the start of a process costs here. The lab \
         runs the processes too, so the error is known.\n\n",
    );
    if measured.estimates.is_empty() {
        return text + "Not measured: other programs kept the threads waiting for CPUs, and then their run does not tell.\n";
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["threads", "CPython", "took", "processes, estimated", "measured", "error", "others' share of the CPUs"]);
    for one in &measured.estimates {
        table.add_row([
            format!("{} × {}", one.workers, one.cell),
            one.runtime.clone(),
            seconds(one.threads_wall_seconds),
            seconds(one.estimated_wall_seconds),
            seconds(one.measured_wall_seconds),
            format!("{:+.0} %", 100.0 * one.error),
            format!("{:.0} %", 100.0 * one.foreign_share),
        ]);
    }
    let _ = writeln!(text, "{}", table.trim_fmt());
    text
}

fn page(claim: &Claim, measured: &Measured) -> String {
    let mut text = format!("# {}\n\n", claim.sentence);
    for runtime in runtimes(measured) {
        let Some(judged) = find(measured, claim, runtime) else { continue };
        let _ = writeln!(text, "## CPython {runtime}: {}\n", judged.verdict.words());
        let told = Judged { figures: Vec::new(), ..judged.clone() };
        let words = after_verdict(&told);
        if !words.is_empty() {
            let _ = writeln!(text, "{words}\n");
        }
        if !judged.figures.is_empty() {
            let mut table = Table::new();
            table.load_preset(presets::ASCII_MARKDOWN);
            table.set_header(["figure", "median", "smallest", "largest"]);
            for told in &judged.figures {
                table.add_row([&told.name, &told.unit.write(told.median), &told.unit.write(told.min), &told.unit.write(told.max)]);
            }
            let _ = writeln!(text, "{}\n\n{}\n", table.trim_fmt(), rounds(judged));
        }
    }
    if measured.claims.iter().all(|judged| judged.claim != claim.id) {
        text.push_str("Not measured yet.\n\n");
    }
    let cells: Vec<String> = claim.cells.iter().chain(claim.also).map(|cell| format!("`{cell}`")).collect();
    let _ = write!(
        text,
        "## How it is measured\n\n{}\n\nCells: {}.\n\n## The rule\n\n{}\n\nWhen the machine is fit to tell: {} That a claim about events or waiting does \
         not hold is said only where the machine is also fit to measure speed. Of the rounds in which it was, all \
         must agree but one in five.\n\n## To repeat it\n\n```sh\ncargo xtask trace --cells '{}' --repeats 5\n```\n\n{}\n",
        claim.method,
        cells.join(", "),
        (claim.rule)(),
        claim.gate.words(),
        pattern(claim),
        place(measured),
    );
    text
}

/// A pattern that matches the cells that a claim looks at.
fn pattern(claim: &Claim) -> String {
    let cells: Vec<&str> = claim.all_cells().collect();
    if let [one] = cells.as_slice() { (*one).to_owned() } else { format!("{{{}}}", cells.join(",")) }
}

fn rounds(judged: &Judged) -> String {
    match (judged.rounds_used, judged.rounds) {
        (_, 1) => "One run of each cell.".to_owned(),
        (used, all) if used == all => format!("{all} runs of each cell."),
        (used, all) => format!("{all} runs of each cell, {used} of them undisturbed."),
    }
}

fn place(measured: &Measured) -> String {
    let Measured { date, kernel, architecture, cpus, cpu_model, .. } = measured;
    format!("Measured on {date}: Linux {kernel}, {architecture}, {cpus} CPUs ({cpu_model}).")
}

fn runtimes(measured: &Measured) -> Vec<&str> {
    let mut runtimes: Vec<&str> = Vec::new();
    for judged in &measured.claims {
        if !runtimes.contains(&judged.runtime.as_str()) {
            runtimes.push(&judged.runtime);
        }
    }
    runtimes
}

fn find<'a>(measured: &'a Measured, claim: &Claim, runtime: &str) -> Option<&'a Judged> {
    measured.claims.iter().find(|judged| judged.claim == claim.id && judged.runtime == runtime)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Told, Unit, Verdict},
        *,
    };

    fn judged() -> Judged {
        Judged {
            claim: "waiting-overlaps".to_owned(),
            runtime: "3.11.7".to_owned(),
            verdict: Verdict::Inconclusive,
            why: Some("other programs took 40 % of the CPUs during download-serial".to_owned()),
            finer: String::new(),
            figures: vec![Told { name: "on threads".to_owned(), unit: Unit::Factor, median: 3.9, min: 3.8, max: 3.95 }],
            rounds_used: 0,
            rounds: 3,
            cells: Vec::new(),
        }
    }

    #[test]
    fn every_claim_has_a_page_with_its_rule() {
        let pages = all(&Measured::default());
        assert_eq!(pages.len(), ALL.len() + 1);
        let index = &pages[&PathBuf::from("docs/claims/README.md")];
        for claim in &ALL {
            let page = &pages[&PathBuf::from(format!("docs/claims/{}.md", claim.id))];
            assert!(page.contains(&(claim.rule)()) && page.contains(&claim.gate.words()), "{}", claim.id);
            assert!(page.contains("Not measured yet.") && index.contains(&format!("({}.md)", claim.id)), "{}", claim.id);
        }
    }

    #[test]
    fn a_page_shows_verdict_reason_and_figures() {
        let measured = Measured { claims: vec![judged()], ..Measured::default() };
        let page = &all(&measured)[&PathBuf::from("docs/claims/waiting-overlaps.md")];
        assert!(
            page.contains("## CPython 3.11.7: inconclusive\n\nOther programs took 40 % of the CPUs during download-serial.\n"),
            "{page}"
        );
        assert!(page.contains("| on threads | 3.90x  | 3.80x    | 3.95x   |"), "{page}");
        assert!(page.contains("3 runs of each cell, 0 of them undisturbed."), "{page}");
    }

    #[test]
    fn measurements_survive_being_written_down() {
        let measured = Measured { claims: vec![judged()], ..Measured::default() };
        let text = serde_json::to_string(&measured).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Measured>(&text).ok(), Some(measured));
    }
}
