//! `cargo xtask trace`: builds schedscope and calls `schedscope lab`, as root; writes docs/claims/ from what it measured.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use schedscope::lab::child::Stop;
use schedscope::lab::results::RESULTS;
use schedscope::lab::serve::NO_PROMETHEUS;
use schedscope::lab::{self};

use crate::claims::{self, Measured};
use crate::workspace::{self, cargo, find_program, is_root, python_itself, read_text, run as run_command, target_dir, tools_dir};

// Without a group, which would have the same name as the lab's.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lab: lab::Arguments,
    /// Write docs/claims/ from what this run measures
    #[arg(long, conflicts_with_all = ["cells", "sweep", "serve"])]
    docs: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.lab.serve {
        // Before minutes go into building.
        find_program("prometheus").context(NO_PROMETHEUS)?;
    }
    eprintln!("Building schedscope (the first time takes minutes) ...");
    // Cargo draws a progress bar of its own on a terminal.
    run_command(cargo().args(["build", "--release", "--package", "schedscope"]))?;
    let mut command = as_root(arguments)?;
    if !arguments.docs {
        return Err(command.exec()).context("cannot start the lab");
    }
    // Ctrl-C ends the lab, which takes a moment to write what it has.
    let stop = Stop::install()?;
    let status = command.status().context("cannot start the lab")?;
    if !stop.is_requested() {
        write_claims(&directory(arguments))?;
    }
    if !status.success() {
        bail!("the lab failed: {status}");
    }
    Ok(())
}

/// The lab, through sudo if need be.
fn as_root(arguments: &Arguments) -> Result<Command> {
    let program = target_dir().join("release/schedscope");
    let mut pythons = arguments.lab.python.clone();
    let mut command = if is_root() {
        Command::new("env")
    } else {
        let sudo = find_program("sudo").filter(|sudo| std::io::stdin().is_terminal() || asks_for_no_password(sudo));
        let Some(sudo) = sudo else {
            bail!("loading BPF programs needs root: run `sudo env \"PATH=$PATH\" cargo xtask trace`, or run it as root");
        };
        eprintln!("Loading BPF programs needs root: going on through sudo.");
        // The interpreter of the user's own search path, which a version manager's script does not find as root.
        if pythons.is_empty() {
            pythons.extend(find_program("python3"));
        }
        pythons = pythons.into_iter().map(|python| python_itself(&python).unwrap_or(python)).collect();
        let mut command = Command::new(sudo);
        command.arg("env");
        command
    };
    command.arg(path_with_tools()).arg(program).args(["lab", "--output"]).arg(directory(arguments));
    command.args(options(&arguments.lab, &pythons));
    Ok(command)
}

fn directory(arguments: &Arguments) -> PathBuf {
    arguments.lab.output.clone().unwrap_or_else(|| target_dir().join("trace"))
}

/// The other options as `schedscope lab` takes them.
fn options(arguments: &lab::Arguments, pythons: &[PathBuf]) -> Vec<OsString> {
    let lab::Arguments { quick, python: _, cells, repeats, sweep, serve, output: _ } = arguments;
    let mut words: Vec<OsString> = Vec::new();
    for (is_given, option) in [(*quick, "--quick"), (*sweep, "--sweep"), (*serve, "--serve")] {
        words.extend(is_given.then(|| option.into()));
    }
    words.extend(cells.iter().flat_map(|cells| ["--cells".into(), cells.as_str().into()]));
    words.extend(repeats.iter().flat_map(|repeats| ["--repeats".into(), repeats.to_string().into()]));
    words.extend(pythons.iter().flat_map(|python| ["--python".into(), python.into()]));
    words
}

/// The search path as an argument of env(1), with the programs that the tests fetched: `--serve` may need one of them.
fn path_with_tools() -> OsString {
    let mut path: OsString = "PATH=".into();
    path.push(env::var_os("PATH").unwrap_or_default());
    path.push(":");
    path.push(tools_dir().join("usr/bin"));
    path
}

fn asks_for_no_password(sudo: &Path) -> bool {
    let quiet = Command::new(sudo).args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// Writes what was measured for docs/claims/, and the page that follows from it.
fn write_claims(results: &Path) -> Result<()> {
    let results = read_text(&results.join(RESULTS))?;
    let measured: Measured = serde_json::from_str(&results).context("cannot read the results")?;
    let text = serde_json::to_string_pretty(&measured)? + "\n";
    for (path, text) in [(claims::MEASURED, text), (claims::PAGE, claims::page(&measured))] {
        workspace::write(path, text)?;
        println!("Written: {path}");
    }
    Ok(())
}
