//! `cargo xtask test`: every test there is, in one table.
//!
//! [`needs`] finds out what the host lacks for a check and installs it where it may, [`suites`] runs what consists of many tests and
//! counts them.

mod needs;
mod suites;

use std::env;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
pub(crate) use needs::find_bpf;
use needs::{Host, Need};

use crate::grafana::panels;
use crate::outcome::{self, Line, Outcome};
use crate::workspace::{cargo, run as run_command};
use crate::{build_ebpf, chart, fuzz, generate, oracles, tidy, verdicts, vm};

/// The daemon's page, which is tested in a browser.
const PAGE_TESTS: &str = "kernel::page::";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out what takes minutes: rebuilding the BPF object and the tests on running kernels.
    #[arg(long)]
    skip_slow: bool,

    /// Parts of the names of the checks to run; all if none is given.
    checks: Vec<String>,
}

struct Check {
    name: &'static str,
    /// Takes minutes, so `--skip-slow` leaves it out.
    is_slow: bool,
    needs: &'static [Need],
    run: fn() -> Result<Outcome>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let in_ci = env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let mut host = Host::detect();
    let mut lines = Vec::new();
    for part in &arguments.checks {
        ensure!(checks().iter().any(|check| check.name.contains(part)), "no check has {part:?} in its name");
    }
    let is_wanted = |check: &Check| arguments.checks.is_empty() || arguments.checks.iter().any(|part| check.name.contains(part));
    for check in checks().into_iter().filter(is_wanted) {
        println!("\n== {}", check.name);
        let start = Instant::now();
        let outcome = perform(&check, arguments, &mut host);
        let outcome = if in_ci { outcome.without_avoidable_skips() } else { outcome };
        println!("-- {}: {}", check.name, outcome.word());
        lines.push(Line { name: check.name, outcome, seconds: start.elapsed().as_secs_f64() });
    }
    println!("\n{}", outcome::table(&lines));
    println!("{}", outcome::closing(&lines));
    let failures = outcome::failures(&lines);
    // Once more, where a log ends that somebody has cut.
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn perform(check: &Check, arguments: &Arguments, host: &mut Host) -> Outcome {
    if check.is_slow && arguments.skip_slow {
        return Outcome::Skipped { reason: "left out by --skip-slow".into(), is_avoidable: true };
    }
    match check.needs.iter().try_for_each(|need| host.satisfy(need)) {
        Ok(()) => (check.run)().unwrap_or_else(|error| Outcome::failed(&error)),
        Err(skipped) => skipped,
    }
}

/// All checks, quick ones first. They build with one profile, so that a cold run compiles each crate once for clippy and once for
/// the tests; the programs in the kernel are the same whatever the profile.
fn checks() -> [Check; 17] {
    let quick = |name, needs, run| Check { name, is_slow: false, needs, run };
    let slow = |name, needs, run| Check { name, is_slow: true, needs, run };
    [
        quick("tidy", &[], || tidy::run().map(|()| Outcome::passed())),
        quick("formatting", &[needs::RUSTFMT], || passes(cargo().args(["fmt", "--all", "--check"]))),
        quick("clippy", &[needs::CLIPPY], || {
            passes(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))
        }),
        quick("Rust tests", &[], || suites::cargo_test(false, &["--workspace"], &[])),
        quick("Python tests", &[needs::PYTHON], suites::python_tests),
        quick("generated files", &[], || generate::check().map(|()| Outcome::passed())),
        quick("metrics and rules", &[needs::PROMTOOL], suites::promtool),
        quick("dashboards' page", &[needs::NODE], || panels::Page::build()?.check_types().map(|()| Outcome::passed())),
        quick("Helm chart", &[needs::HELM], || chart::check(&chart::path())),
        slow("BPF object", &[needs::BPF_TOOLCHAIN], bpf_object),
        // Without those of the page, which need more.
        slow("tests on the kernel", &[needs::BPF], || {
            suites::cargo_test(true, &["--package", "schedscope", "--test", "*"], &["--skip", PAGE_TESTS])
        }),
        slow("page in a browser", &[needs::BPF, needs::BROWSER], || {
            suites::cargo_test(true, &["--package", "schedscope", "--test", "privileged"], &[PAGE_TESTS])
        }),
        // Prometheus scrapes the daemon while known workloads run; the package that has promtool has it too.
        slow("dashboards on live data", &[needs::BPF, needs::PROMTOOL], || {
            suites::cargo_test(true, &["--package", "xtask"], &["grafana::live"])
        }),
        slow("other tracers", &[needs::BPF, needs::TRACEFS, needs::PROGRAMS], oracles::run_briefly),
        slow("verdicts", &[needs::BPF, needs::PYTHON], verdicts::run_briefly),
        slow("fuzzing", &[needs::FUZZER], || fuzz::run_all(&fuzz::Arguments::default())),
        // On machines of their own, so neither root nor BTF is needed here.
        slow("other kernels", &[needs::MACHINES], vm::run_briefly),
    ]
}

fn passes(command: &mut Command) -> Result<Outcome> {
    run_command(command).map(|()| Outcome::passed())
}

fn bpf_object() -> Result<Outcome> {
    let toolchain = build_ebpf::Toolchain::find()?;
    if let Some(reason) = build_ebpf::incomparable(&toolchain)? {
        return Ok(Outcome::Skipped { reason, is_avoidable: false });
    }
    build_ebpf::check(&toolchain).map(|()| Outcome::passed())
}
