//! `schedscope check`: traces a process tree of its own and compares with what the kernel kept.
//!
//! In reading order: [`load`] is the tree, [`course`] runs and traces it and asks the kernel, [`outcome`] is what came of it, as a table
//! and as JSON. How far figures may differ is decided in [`crate::verify`].

mod course;
mod load;
mod outcome;

use std::path::PathBuf;

use load::Part;
pub use outcome::{Comparison, Outcome};

use super::{JsonOutput, require_host, seconds_up_to};

/// Arguments of `schedscope check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// How long the tree computes, sleeps, yields and migrates
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = seconds_up_to::<3600>)]
    pub(crate) seconds: f64,
    /// Write the comparison as JSON to FILE, or to standard output for `-` instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Arguments of the hidden subcommand that is the traced tree.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// Which part of the tree to be
    #[arg(value_enum)]
    pub(crate) part: Part,
    /// How long to work
    #[arg(long, default_value_t = 0.5)]
    pub(crate) seconds: f64,
}

/// Prints ours, the kernel's and the difference; 1 if any is out of bounds.
pub fn check(args: &CheckArgs) -> anyhow::Result<i32> {
    let topology = require_host()?;
    let json = JsonOutput::open(args.json.as_deref())?;
    let outcome = course::run(topology, args.seconds)?;
    if args.json.as_deref() != Some(std::path::Path::new("-")) {
        print!("{}", outcome.text());
    }
    if let Some(json) = json {
        json.write(&outcome)?;
    }
    Ok(i32::from(!outcome.passed))
}

/// The traced tree itself.
pub fn check_load(args: &LoadArgs) -> anyhow::Result<i32> {
    load::run(args.part, args.seconds)?;
    Ok(0)
}
