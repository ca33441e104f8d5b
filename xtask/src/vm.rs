//! `cargo xtask vm`: the programs and the tests on every kernel that schedscope promises to run on.
//!
//! In reading order: [`kernels`] gets the kernels, through [`apt`]; [`programs`] builds what runs inside; [`plan`] is what is done
//! there; [`matrix`] takes one kernel after another through it: [`initramfs`] packs, [`boot`] starts the machine, [`guest`] is the
//! inside, which [`still`] makes safe for the emulator, [`monitor`] looks at a machine that has fallen silent; [`verdict`] and
//! [`budget`] judge what comes back; [`table`] shows it and [`results`] writes it.

mod apt;
mod boot;
mod budget;
mod guest;
mod initramfs;
mod kernels;
mod matrix;
mod monitor;
mod plan;
mod programs;
mod results;
mod still;
mod table;
mod verdict;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) use boot::find_qemu;
use kernels::{Image, KERNELS};
use matrix::{KernelResult, Matrix};

/// What `cargo xtask test` may spend on machines before it boots no further kernel.
const ALLOWANCE: Duration = Duration::from_secs(8 * 60);
/// Kernels that it boots in any case: the oldest and the newest.
const IN_ANY_CASE: usize = 2;

/// Arguments of `vm`.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Arguments {
    /// Kernels to boot, such as 5.10; `oldest` and `newest` are names too. All of them if none is given.
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// List the kernels and what is in the cache, and boot none.
    #[arg(long)]
    list: bool,
    /// Look for newer packages of the kernels than those in the cache.
    #[arg(long)]
    refresh: bool,
    /// Mirror of Debian to get kernels from; otherwise the one that this host's apt sources name.
    #[arg(long, value_name = "URI")]
    mirror: Option<String>,
    /// Only what `cargo xtask test` does: the tests in daemon/tests, which take minutes, are left out but for a few.
    #[arg(long)]
    brief: bool,
    /// Only the steps whose names contain this.
    #[arg(long, value_name = "TEXT")]
    step: Vec<String>,
    /// Only the tests in daemon/tests whose names contain this.
    #[arg(long, value_name = "TEXT")]
    test: Vec<String>,
    /// Keep the initramfs, and all that the machines said, in target/vm.
    #[arg(long)]
    keep: bool,
    /// Take the verified instruction counts of this run as the budget, if every kernel passes.
    #[arg(long)]
    set_budget: bool,
    /// Be the first process of a machine.
    #[arg(long, hide = true)]
    guest: bool,
}

/// Entry point of the command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.guest {
        return guest::run();
    }
    let chosen = kernels::select(&arguments.kernels)?;
    if arguments.list {
        println!("{}", table::kernels(&chosen));
        return Ok(());
    }
    let images: Vec<Image> = chosen
        .iter()
        .map(|kernel| kernels::obtain(kernel, arguments.mirror.as_deref(), arguments.refresh))
        .collect::<Result<_>>()?;
    let mut matrix = Matrix::prepare(arguments.set_budget, |tests| {
        let mut steps = if arguments.brief { plan::brief(tests) } else { plan::whole(tests, &arguments.test) };
        steps.retain(|step| arguments.step.is_empty() || arguments.step.iter().any(|text| step.name.contains(text)));
        steps
    })?;
    for (kernel, image) in chosen.into_iter().zip(&images) {
        matrix.try_kernel(kernel, image);
    }
    let results = matrix.conclude("results.json", arguments.keep)?;
    let failed: Vec<&str> = results.iter().filter(|result| !result.has_passed()).map(|result| result.kernel.version).collect();
    if !failed.is_empty() {
        bail!("Linux {} did not pass", failed.join(", "));
    }
    Ok(())
}

/// What a brief run came to.
pub(crate) struct Brief {
    /// Steps and tests that passed.
    pub passed: usize,
    /// Those that failed.
    pub failed: usize,
    /// Why tests left themselves out, and kernels that there was no time for.
    pub skipped: Vec<String>,
    /// Kernels that did not pass.
    pub kernels_failed: Vec<String>,
}

/// The oldest and the newest kernel, then the others as long as there is time, which the kernels before them tell.
pub(crate) fn run_briefly() -> Result<Brief> {
    let start = Instant::now();
    let mut matrix = Matrix::prepare(false, plan::brief)?;
    let mut late = Vec::new();
    let mut longest = Duration::ZERO;
    let [oldest, between @ .., newest] = &KERNELS;
    for (number, kernel) in [oldest, newest].into_iter().chain(between).enumerate() {
        if number >= IN_ANY_CASE && start.elapsed() + longest > ALLOWANCE {
            late.push(format!(
                "Linux {}: no time, since {} of the {} s for machines are gone and a kernel takes {}; `cargo xtask vm {}` boots it",
                kernel.version,
                start.elapsed().as_secs(),
                ALLOWANCE.as_secs(),
                longest.as_secs(),
                kernel.version
            ));
            continue;
        }
        let image = kernels::obtain(kernel, None, false)?;
        longest = longest.max(matrix.try_kernel(kernel, &image));
    }
    let results = matrix.conclude("results-brief.json", false)?;
    let skips = results.iter().flat_map(|result| &result.verdicts).flat_map(|verdict| verdict.tests_skipped.clone());
    let has_failed = |result: &&KernelResult| !result.has_passed();
    Ok(Brief {
        passed: results.iter().map(KernelResult::successes).sum(),
        failed: results.iter().map(KernelResult::failures).sum(),
        skipped: skips.chain(late).collect(),
        kernels_failed: results.iter().filter(has_failed).map(|result| result.kernel.version.to_owned()).collect(),
    })
}
