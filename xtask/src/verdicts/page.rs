//! `docs/verdicts.md`. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use comfy_table::{Table, presets};

use super::judge::{Case, Cause, Confusions, Totals};

/// Where the programs are.
const HOME: &str = "Programs that are sick in a known way, each with a cure that does the same work, are in \
                    [workloads/verdicts](../workloads/verdicts/verdicts.toml).";

/// The whole page; `skipped` has the reasons by name. `disturbed` is how many found no quiet moment of the runs that were to have one.
pub(super) fn markdown(cases: &[Case], skipped: &BTreeMap<String, String>, date: &str, disturbed: [usize; 2]) -> String {
    let kernel = cases.first().map_or("", |case| &case.kernel);
    let mut text = format!(
        "# How often the verdict is right\n\n`cargo xtask verdicts`, {date}, Linux {kernel}.{}\n\n{HOME} {}\n{}\n",
        noise(cases, disturbed),
        include_str!("page.md"),
        totals(cases)
    );
    let (beside_load, quiet): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.is_beside_load());
    for (heading, cases) in [("Pair by pair", quiet), ("Beside a spinning program per CPU", beside_load)] {
        if !cases.is_empty() {
            let _ = write!(text, "\n## {heading}\n\n{}\n", rows(&cases));
        }
    }
    let _ = write!(text, "\n## What is taken for what\n\n{}\n", confusions(cases));
    if !skipped.is_empty() {
        text += "\n## Skipped\n\n";
        for (name, reason) in skipped {
            let _ = writeln!(text, "- `{name}`: {reason}");
        }
    }
    text
}

/// What others did to the CPUs where nobody was meant to.
fn noise(cases: &[Case], [disturbed, runs]: [usize; 2]) -> String {
    let mut shares: Vec<f64> =
        cases.iter().filter(|case| !case.is_beside_load() && case.pair.others.is_none()).map(|case| case.others).collect();
    shares.sort_by(f64::total_cmp);
    let Some(median) = shares.get(shares.len() / 2) else { return String::new() };
    format!(
        " Where nothing was to run beside it, other programs had {:.0} % of the CPUs at the median; {disturbed} of {runs} runs found no \
         quiet moment.",
        100.0 * median
    )
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table
}

fn totals(cases: &[Case]) -> Table {
    let mut table = table();
    table.set_header(["", "verdicts", "right", "cannot tell", "wrong", "cures", "predicted", "inside", "at most 30 % wide"]);
    let mut add = |name: &str, totals: Totals| {
        let Totals { cases, right, cannot_tell, wrong, comparable, predicted, inside, narrow } = totals;
        if cases == 0 {
            return;
        }
        table.add_row([
            name.to_owned(),
            cases.to_string(),
            share(right, cases),
            share(cannot_tell, cases),
            share(wrong, cases),
            comparable.to_string(),
            share(predicted, comparable),
            share(inside, predicted),
            share(narrow, predicted),
        ]);
    };
    add("quiet", Totals::of(cases.iter().filter(|case| !case.is_beside_load())));
    add("beside load", Totals::of(cases.iter().filter(|case| case.is_beside_load())));
    add("all", Totals::of(cases));
    table
}

/// "9 (75 %)".
fn share(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{part} ({:.0} %)", 100.0 * part as f64 / whole as f64)
}

fn rows(cases: &[&Case]) -> Table {
    let mut table = table();
    table.set_header(["pair", "what it models", "right", "said", "", "sick, s", "cure, s", "predicted, s", "width", ""]);
    for case in cases {
        let Case { pair, named, judgment, prediction, measured, .. } = case;
        let accepted: Vec<String> = pair.causes.iter().map(|cause| format!("`{cause}`")).collect();
        let [range, width, inside] = prediction.map_or(["-".to_owned(), "-".to_owned(), String::new()], |prediction| {
            let range = format!("{} to {}", seconds(prediction.least), seconds(prediction.most));
            let inside = if prediction.is_inside() { "inside" } else { "OUTSIDE" };
            [range, format!("{:.0} %", 100.0 * prediction.width()), inside.to_owned()]
        });
        table.add_row([
            format!("`{}`", pair.name),
            pair.models.clone(),
            accepted.join(", "),
            format!("`{named}`"),
            if judgment.is_wrong() { judgment.to_string().to_uppercase() } else { judgment.to_string() },
            seconds(measured.sick),
            measured.cure.map_or("-".to_owned(), seconds),
            range,
            width,
            inside,
        ]);
    }
    table
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

fn confusions(cases: &[Case]) -> Table {
    let confusions = Confusions::of(cases);
    let mut table = table();
    table.set_header([String::new()].into_iter().chain(confusions.named.iter().map(|named| format!("`{named}`"))));
    for right in &confusions.right {
        let count = |named: &Cause| match confusions.count(*right, *named) {
            0 => String::new(),
            count => count.to_string(),
        };
        table.add_row([format!("`{right}`")].into_iter().chain(confusions.named.iter().map(count)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::judge::Measured;
    use super::super::judge::tests::{QUIET, case};
    use super::*;

    #[test]
    fn the_page_shows_what_was_judged() {
        let gil = "\"limit\": \"gil\", \"advice\": \"\", \"what_if\": [{\"cause\": \"gil\", \"wall_seconds\": [0.6, 0.8]}]";
        let cores = "\"limit\": \"cores\", \"advice\": \"Buy more.\"";
        let beside_load = Measured { quiet: Some(Duration::from_millis(500)), ..QUIET };
        let cases = [
            case(&["gil"], gil, QUIET),
            case(&["cores"], cores, Measured { cure: None, ..QUIET }),
            case(&["gil"], "\"limit\": \"others\", \"advice\": \"\"", beside_load),
        ];
        let page = markdown(&cases, &BTreeMap::from([("b".to_owned(), "there is no java".to_owned())]), "2026-01-01", [1, 9]);
        let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for row in [
            "`cargo xtask verdicts`, 2026-01-01, Linux 6.1. Where nothing was to run beside it, other programs had 5 % of the CPUs",
            "| quiet | 2 | 1 (50 %) | 0 (0 %) | 1 (50 %) | 1 | 1 (100 %) | 0 (0 %) | 1 (100 %) |",
            "| beside load | 1 | 1 (100 %) | 0 (0 %) | 0 (0 %) | 1 | 0 (0 %) | - | - |",
            "| `a` | A. | `gil` | `gil` | right | 1.00 | 0.50 | 0.60 to 0.80 | 29 % | OUTSIDE |",
            "| `a` | A. | `cores` | `cores` | WRONG ADVICE | 1.00 | - | - | - | |",
            "| `a` | A. | `gil` | `others` | right | 1.00 | 0.50 | - | - | |",
            "| | `cores` | `others` | `gil` |",
            "- `b`: there is no java",
        ] {
            assert!(words.contains(row), "no {row} in\n{page}");
        }
        // Beside load, the load is the right cause here, and not a confusion.
        assert!(words.contains("| `others` | | 1 | |"), "{page}");
    }
}
