//! Everything a developer runs on this repository, as `cargo xtask COMMAND`.

mod accuracy;
mod architecture;
mod bench;
mod build_ebpf;
mod chart;
mod claims;
mod cross;
mod debian;
mod dist;
mod fuzz;
mod generate;
mod grafana;
mod oracles;
mod outcome;
mod rust_tests;
mod test;
mod tidy;
mod trace;
mod verdicts;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Build, check and try out schedscope")]
enum Command {
    /// Run every concurrency model side by side, traced, and compare them.
    Trace(trace::Arguments),
    /// Rebuild the committed BPF object from its sources.
    BuildEbpf(build_ebpf::Arguments),
    /// Run every test, and install what the tests need where possible.
    Test(test::Arguments),
    /// Make the packages by which schedscope is installed without a compiler, in target/packages.
    Dist(dist::Arguments),
    /// Test schedscope on every supported kernel, in virtual machines.
    Vm(vm::Arguments),
    /// Measure what tracing costs and write docs/overhead.md.
    Bench(bench::Arguments),
    /// Compare schedscope's figures with the kernel's own, here and on other kernels, and write docs/accuracy.md.
    Accuracy(accuracy::Arguments),
    /// Compare single switches, waits and time slices of many programs with ftrace and `perf sched timehist`, in docs/accuracy.md.
    Oracles(oracles::Arguments),
    /// Compare what schedscope says of sick programs with what is wrong with them, and write docs/verdicts.md.
    Verdicts(verdicts::Arguments),
    /// Try what reads strangers' data with inputs of a fuzzer's making; needs cargo-fuzz and a nightly compiler.
    Fuzz(fuzz::Arguments),
    /// Write the files that are generated from the metric catalog: dashboards, rules and the documents about them.
    Generate(generate::Arguments),
    /// Show the dashboards of a running daemon: starts Prometheus, and Grafana if it is installed.
    Grafana(grafana::Arguments),
    /// Check rules of the source tree that no compiler, lint or test knows.
    Tidy,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Trace(arguments) => trace::run(&arguments),
        Command::BuildEbpf(arguments) => build_ebpf::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Dist(arguments) => dist::run(&arguments),
        Command::Vm(arguments) => vm::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Accuracy(arguments) => accuracy::run(&arguments),
        Command::Oracles(arguments) => oracles::run(&arguments),
        Command::Verdicts(arguments) => verdicts::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Grafana(arguments) => grafana::run(&arguments),
        Command::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// clap checks a subcommand only when it is called.
    #[test]
    fn every_command_can_be_called() {
        Command::command().debug_assert();
    }
}
