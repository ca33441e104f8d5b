//! `cargo xtask fuzz`: inputs of a fuzzer's making for what reads strangers' data, by the programs of `daemon/fuzz/`.

use std::fs;
use std::process::{Child, Command};

use anyhow::{Context, Result, bail, ensure};

use crate::outcome::{Counts, Outcome};
use crate::workspace::{files_below, output, root, run as run_command, target_dir};

const PACKAGE: &str = "daemon/fuzz";
/// As many at a time.
const BESIDE: usize = 2;
/// Seconds for one input, MiB of memory in all, MiB of one allocation, bytes of an input. The limits of what is read are megabytes, and
/// an input can ask to be repeated.
const LIMITS: [&str; 4] = ["-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=64", "-max_len=65536"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to try: the name of a program in `daemon/fuzz/fuzz_targets`. All of them, if none is given.
    subjects: Vec<String>,
    /// How long to try each.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments { subjects: Vec::new(), seconds: 60 }
    }
}

/// Fails if there is no cargo-fuzz, or no nightly compiler for it.
pub(crate) fn find() -> Result<()> {
    let advice = "run `rustup toolchain install nightly` and `cargo install cargo-fuzz`";
    output(cargo_fuzz().arg("--version")).map(|_| ()).with_context(|| format!("no cargo-fuzz with a nightly compiler: {advice}"))
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    find()?;
    run_all(arguments).map(|_| ())
}

/// Tries each subject from its seeds on, and from what was found before.
pub(crate) fn run_all(arguments: &Arguments) -> Result<Outcome> {
    let package = root().join(PACKAGE);
    let mut subjects = arguments.subjects.clone();
    if subjects.is_empty() {
        let programs = files_below(&package.join("fuzz_targets"))?;
        subjects.extend(programs.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())));
    }
    // It is a workspace of its own; this way it has the versions of ours.
    fs::copy(root().join("Cargo.lock"), package.join("Cargo.lock")).context("cannot copy Cargo.lock")?;
    run_command(cargo_fuzz().arg("build").args(places()))?;
    for subjects in subjects.chunks(BESIDE) {
        let children = subjects.iter().map(|subject| start(subject, arguments.seconds)).collect::<Result<Vec<_>>>()?;
        let ends = children.into_iter().map(|mut child| child.wait()).collect::<Vec<_>>();
        for (subject, end) in subjects.iter().zip(ends) {
            let is_good = end.with_context(|| format!("cannot wait for {subject}"))?.success();
            ensure!(
                is_good,
                "{subject} failed: the input is in {PACKAGE}/artifacts/{subject}; once it is mended, move it to {PACKAGE}/seeds/{subject}"
            );
        }
    }
    Ok(Outcome::Passed(Counts { passed: subjects.len(), ..Counts::default() }))
}

fn start(subject: &str, seconds: u32) -> Result<Child> {
    let seeds = root().join(PACKAGE).join("seeds").join(subject);
    if !seeds.is_dir() {
        bail!("there is no subject {subject}");
    }
    // What is found is added to the first directory.
    let found = target_dir().join("fuzz/corpus").join(subject);
    fs::create_dir_all(&found).with_context(|| format!("cannot create {}", found.display()))?;
    let mut command = cargo_fuzz();
    command.arg("run").args(places()).arg(subject).args([found, seeds]).arg("--").args(LIMITS);
    command.args(["-verbosity=0".to_owned(), "-print_final_stats=1".to_owned(), format!("-max_total_time={seconds}")]);
    command.spawn().with_context(|| format!("cannot start the fuzzer of {subject}"))
}

fn places() -> [String; 4] {
    let target = target_dir().join("fuzz");
    ["--fuzz-dir".to_owned(), PACKAGE.to_owned(), "--target-dir".to_owned(), target.display().to_string()]
}

/// By rustup's name for the compiler: the cargo that runs this program is another.
fn cargo_fuzz() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root()).args(["+nightly", "fuzz"]).env_remove("CARGO").env_remove("RUSTC");
    command
}
