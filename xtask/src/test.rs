//! `cargo xtask test`: every test there is, in one table.
//!
//! In reading order: [`check`] says what a check and its outcome are, [`checks`] lists them, [`needs`] finds out what the host
//! lacks for them and installs it where it may, [`summary`] prints the table.

mod cargo_test;
mod check;
mod checks;
mod needs;
mod promtool;
mod python_tests;
mod summary;

use std::{env, time::Instant};

use anyhow::{Result, bail};

use check::{Check, Outcome};
use needs::Host;
use summary::Line;

/// Arguments of `test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out what takes minutes: rebuilding the BPF object and the tests on the running kernel.
    #[arg(long)]
    skip_slow: bool,
}

/// Entry point of the command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let in_ci = env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let mut host = Host::detect();
    let mut lines = Vec::new();
    for check in checks::all() {
        println!("\n== {}", check.name);
        let start = Instant::now();
        let outcome = perform(&check, arguments, &mut host);
        let outcome = if in_ci { outcome.without_avoidable_skips() } else { outcome };
        println!("-- {}: {}", check.name, outcome.word());
        lines.push(Line { name: check.name, outcome, seconds: start.elapsed().as_secs_f64() });
    }
    println!("\n{}", summary::table(&lines));
    println!("{}", summary::closing(&lines));
    if lines.iter().any(|line| matches!(line.outcome, Outcome::Failed { .. })) {
        bail!("not all tests passed");
    }
    Ok(())
}

fn perform(check: &Check, arguments: &Arguments, host: &mut Host) -> Outcome {
    if check.is_slow && arguments.skip_slow {
        return Outcome::Skipped { reason: "left out by --skip-slow".into(), is_avoidable: true };
    }
    for need in check.needs {
        if let Err(lack) = host.satisfy(*need) {
            return lack;
        }
    }
    (check.run)().unwrap_or_else(|error| Outcome::failed(&error))
}
