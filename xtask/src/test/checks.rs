//! The checks, quick ones first.

use std::process::Command;

use anyhow::Result;

use super::{
    cargo_test::{self, PRIVILEGED},
    check::{Check, Counts, Outcome},
    needs::Need,
    promtool, python_tests,
};
use crate::{
    build_ebpf, generate,
    grafana::panels,
    tidy, vm,
    workspace::{cargo, run},
};

/// Where the daemon's page is tested in a browser.
const PAGE_TESTS: &str = "kernel::page::";

/// All of them. One profile serves every check that builds, so that a cold run compiles each crate once for clippy and once for
/// the tests; the programs in the kernel are the same whatever the profile.
pub(super) fn all() -> [Check; 13] {
    let quick = |name, needs, run| Check { name, is_slow: false, needs, run };
    let slow = |name, needs, run| Check { name, is_slow: true, needs, run };
    [
        quick("tidy", &[], || tidy::run().map(|()| Outcome::passed())),
        quick("formatting", &[Need::Rustfmt], || passes(cargo().args(["fmt", "--all", "--check"]))),
        quick("clippy", &[Need::Clippy], || {
            passes(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))
        }),
        quick("Rust tests", &[], rust_tests),
        quick("Python tests", &[Need::Python], python_tests::run_all),
        quick("generated files", &[], || generate::check().map(|()| Outcome::passed())),
        quick("metrics and rules", &[Need::Promtool], promtool::run_all),
        quick("dashboards' page", &[Need::Node], || panels::Page::build()?.check_types().map(|()| Outcome::passed())),
        slow("BPF object", &[Need::BpfToolchain], bpf_object),
        slow("tests on the kernel", &[Need::Bpf], kernel_tests),
        slow("page in a browser", &[Need::Bpf, Need::Browser], page_in_browser),
        slow("dashboards on live data", &[Need::Bpf, Need::Promtool], live_dashboards),
        slow("other kernels", &[Need::Machines], other_kernels),
    ]
}

fn passes(command: &mut Command) -> Result<Outcome> {
    run(command).map(|()| Outcome::passed())
}

fn rust_tests() -> Result<Outcome> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast", "--", "--show-output"]).env_remove(PRIVILEGED);
    cargo_test::run(&mut command)
}

/// Those of the page have a check of their own, since they need more.
fn kernel_tests() -> Result<Outcome> {
    on_the_kernel("*", &["--skip", PAGE_TESTS])
}

fn page_in_browser() -> Result<Outcome> {
    on_the_kernel("privileged", &[PAGE_TESTS])
}

/// One at a time: they watch the scheduler, and each would see the others' load.
fn on_the_kernel(test: &str, filter: &[&str]) -> Result<Outcome> {
    run(cargo().args(["build", "--workspace", "--bins", "--locked"]))?;
    let mut command = cargo();
    command.args(["test", "--package", "schedscope", "--test", test, "--locked", "--no-fail-fast"]);
    command.args(["--", "--show-output", "--test-threads=1"]).args(filter);
    cargo_test::run(command.env(PRIVILEGED, "1"))
}

/// Machines of their own, so that neither root nor BTF is needed here.
fn other_kernels() -> Result<Outcome> {
    let brief = vm::run_briefly()?;
    let counts = Counts { passed: brief.passed, failed: brief.failed, skipped: brief.skipped };
    if brief.failed == 0 {
        return Ok(Outcome::Passed(counts));
    }
    Ok(Outcome::Failed { counts, reason: format!("Linux {} did not pass", brief.kernels_failed.join(", ")) })
}

/// Prometheus scrapes the daemon while known workloads run; the package that has promtool has it too.
fn live_dashboards() -> Result<Outcome> {
    run(cargo().args(["build", "--workspace", "--bins", "--locked"]))?;
    let mut command = cargo();
    command.args(["test", "--package", "xtask", "--locked", "--", "--show-output", "--test-threads=1", "grafana::live"]);
    cargo_test::run(command.env(PRIVILEGED, "1"))
}

fn bpf_object() -> Result<Outcome> {
    let toolchain = build_ebpf::Toolchain::find()?;
    if let Some(reason) = build_ebpf::incomparable(&toolchain)? {
        return Ok(Outcome::Skipped { reason, is_avoidable: false });
    }
    build_ebpf::check(&toolchain).map(|()| Outcome::passed())
}
