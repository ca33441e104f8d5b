//! What is printed at the end.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::{
    kernels::{self, Kernel},
    matrix::KernelResult,
};

fn table(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// The kernels that can be booted and what the cache has of them.
pub(crate) fn kernels(chosen: &[&Kernel]) -> Table {
    let mut table = table(["kernel", "Debian release", "in the cache"].map(String::from).to_vec());
    for kernel in chosen {
        let cached = kernels::cached(&kernels::cache_dir().join(kernel.version));
        let cached = cached.map_or_else(|| "no".to_owned(), |image| format!("{} {}", image.package, image.version));
        table.add_row([kernel.version, kernel.suite, &cached]);
    }
    table
}

/// Instructions that each kernel verified, by program.
pub(crate) fn programs(results: &[KernelResult]) -> Table {
    let versions = results.iter().map(|result| format!("Linux {}", result.kernel.version));
    let mut table = table(std::iter::once("instructions verified".to_owned()).chain(versions).collect());
    let all = |result: &'_ KernelResult| result.verdicts.iter().flat_map(|verdict| verdict.programs.clone()).collect::<Vec<_>>();
    let names: BTreeSet<String> = results.iter().flat_map(all).map(|(name, _)| name).collect();
    for name in names {
        let count = |result: &KernelResult| match all(result).into_iter().find(|(program, _)| *program == name) {
            Some((_, Some(count))) => count.to_string(),
            Some((_, None)) => "loaded".to_owned(),
            None => "NOT LOADED".to_owned(),
        };
        table.add_row(std::iter::once(name.clone()).chain(results.iter().map(count)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// One row per kernel.
pub(crate) fn summary(results: &[KernelResult]) -> Table {
    let mut table = table(
        ["kernel", "release", "programs", "budget", "steps passed", "tests passed", "skipped", "time", "result"]
            .map(String::from)
            .to_vec(),
    );
    for result in results {
        let passed = result.verdicts.iter().filter(|verdict| verdict.failure.is_none()).count();
        let programs: usize = result.verdicts.iter().map(|verdict| verdict.programs.len()).sum();
        let tells = result.verdicts.iter().flat_map(|verdict| verdict.programs.values()).any(Option::is_some);
        let tests: usize = result.verdicts.iter().map(|verdict| verdict.tests_passed).sum();
        let skipped: usize = result.verdicts.iter().map(|verdict| verdict.tests_skipped.len()).sum();
        table.add_row([
            result.kernel.version.to_owned(),
            result.release.clone().unwrap_or_else(|| "did not boot".to_owned()),
            programs.to_string(),
            if !result.excesses.is_empty() {
                "exceeded"
            } else if tells {
                "kept"
            } else {
                "not told"
            }
            .to_owned(),
            format!("{passed} of {}", result.verdicts.len()),
            tests.to_string(),
            skipped.to_string(),
            format!("{:.0} s", result.wall_seconds),
            if result.has_passed() { "passed" } else { "FAILED" }.to_owned(),
        ]);
    }
    table
}
