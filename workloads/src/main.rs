//! The workloads as a program of their own, for tests that trace a program and nothing else.

use std::process::ExitCode;

use clap::Parser;
use schedscope_workloads::{Again, Args, run};

fn main() -> ExitCode {
    match run(Args::parse().command, Again { prefix: &[] }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("schedscope-workloads: {error:#}");
            ExitCode::FAILURE
        }
    }
}
