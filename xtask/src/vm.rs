//! `cargo xtask vm`: the programs and the tests on every kernel that schedscope promises to run on.
//!
//! [`plan`] is what is done inside and what comes back. [`kernels`] gets the kernels, [`initramfs`] builds and packs the programs, and
//! [`matrix`] takes one kernel after another through the plan: [`machine`] is the outside and [`guest`] the inside, [`verdict`] and
//! [`budget`] judge what comes back, [`results`] writes and shows it.

mod budget;
mod emulation;
mod foreign;
mod guest;
mod initramfs;
mod kernels;
mod machine;
mod matrix;
mod plan;
mod results;
mod verdict;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kernels::{Image, KERNELS};
use matrix::Matrix;
pub(crate) use results::Finding;
use results::KernelResult;

use crate::architecture::Architecture;
use crate::outcome::{Counts, Outcome};

/// What `cargo xtask test` may spend on machines before it boots no further kernel.
const ALLOWANCE: Duration = Duration::from_secs(8 * 60);
/// What it emulates: its programs are built anyway.
pub(crate) const HOST: Architecture = Architecture::X86_64;
/// Kernels that it boots in any case: the oldest and the newest.
const IN_ANY_CASE: usize = 2;

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Arguments {
    /// Kernels to boot, such as 5.10, oldest or newest; all of them if none is given.
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// List the kernels and what the cache has of them; boot none.
    #[arg(long)]
    list: bool,
    /// The processor to emulate. Programs for another than this host's are built for it first.
    #[arg(long, value_name = "NAME", default_value = "x86_64")]
    arch: Architecture,
    /// Look for newer kernel packages than those in the cache.
    #[arg(long)]
    refresh: bool,
    /// Debian mirror to get kernels from; by default the one that this host's apt sources name.
    #[arg(long, value_name = "URI")]
    mirror: Option<String>,
    /// Only what `cargo xtask test` does: leave out all but a few of the tests in daemon/tests, which take minutes.
    #[arg(long)]
    brief: bool,
    /// Run only the steps whose names contain this.
    #[arg(long, value_name = "TEXT")]
    step: Vec<String>,
    /// Run only the tests in daemon/tests whose names contain this.
    #[arg(long, value_name = "TEXT")]
    test: Vec<String>,
    /// Keep the initramfs in target/vm, beside the kernels' messages.
    #[arg(long)]
    keep: bool,
    /// Take this run's verified instruction counts as the budget, if every kernel passes.
    #[arg(long)]
    set_budget: bool,
    /// Run as the first process of a machine.
    #[arg(long, hide = true)]
    guest: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.guest {
        return guest::run();
    }
    let chosen = kernels::select(&arguments.kernels)?;
    if arguments.list {
        println!("{}", results::kernels(&chosen, arguments.arch));
        return Ok(());
    }
    let images: Vec<Image> = chosen
        .iter()
        .map(|kernel| kernels::obtain(kernel, arguments.arch, arguments.mirror.as_deref(), arguments.refresh))
        .collect::<Result<_>>()?;
    let mut matrix = Matrix::prepare(arguments.arch, arguments.set_budget, |tests| {
        let mut steps =
            if arguments.brief { plan::brief(tests, arguments.arch) } else { plan::whole(tests, &arguments.test, arguments.arch) };
        steps.retain(|step| arguments.step.is_empty() || arguments.step.iter().any(|text| step.name.contains(text)));
        steps
    })?;
    for (kernel, image) in chosen.into_iter().zip(&images) {
        matrix.try_kernel(kernel, image);
    }
    let results = matrix.conclude("results.json", arguments.keep)?;
    failure(&results).map_or(Ok(()), |reason| bail!(reason))
}

/// What did not pass on which kernels, if anything.
fn failure(results: &[KernelResult]) -> Option<String> {
    let failed = results.iter().filter(|result| result.failures() > 0);
    let told: Vec<String> = failed.map(|result| format!("Linux {}: {}", result.kernel, result.complaints().join("; "))).collect();
    (!told.is_empty()).then(|| told.join(". "))
}

/// The oldest and the newest kernel, then the others as long as there is time, judging by the kernels before them.
pub(crate) fn run_briefly() -> Result<Outcome> {
    let start = Instant::now();
    let mut matrix = Matrix::prepare(HOST, false, |tests| plan::brief(tests, HOST))?;
    let mut late = Vec::new();
    let mut longest = Duration::ZERO;
    let [oldest, between @ .., newest] = &KERNELS;
    for (number, kernel) in [oldest, newest].into_iter().chain(between).enumerate() {
        if number >= IN_ANY_CASE && start.elapsed() + longest > ALLOWANCE {
            late.push(format!(
                "Linux {version}: no time, since {} of the {} s for machines are gone and a kernel takes {}; `cargo xtask vm {version}` boots it",
                start.elapsed().as_secs(),
                ALLOWANCE.as_secs(),
                longest.as_secs(),
                version = kernel.version
            ));
            continue;
        }
        let image = kernels::obtain(kernel, HOST, None, false)?;
        longest = longest.max(matrix.try_kernel(kernel, &image) + matrix.repeat_failed(&image));
    }
    let results = matrix.conclude("results-brief.json", false)?;
    let skips = results.iter().flat_map(|result| &result.verdicts).flat_map(|verdict| verdict.tests_skipped.clone());
    let counts = Counts {
        passed: results.iter().map(KernelResult::successes).sum(),
        failed: results.iter().map(KernelResult::failures).sum(),
        skipped: skips.chain(late).collect(),
        repeated: results.iter().flat_map(|result| result.repeated.clone()).collect(),
    };
    Ok(match failure(&results) {
        Some(reason) => Outcome::Failed { counts, reason },
        None => Outcome::Passed(counts),
    })
}
