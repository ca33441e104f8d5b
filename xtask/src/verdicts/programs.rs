//! How the programs are built and started.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::surroundings::Need;
use crate::workspace::{files_below, find_program, python_itself, run, target_dir};

/// Longest time that a program may take; the slowest is meant to take three seconds.
const LIMIT_SECONDS: &str = "60";

/// Programs that are ready to run, from their own directory.
pub(super) struct Programs {
    home: PathBuf,
    built: PathBuf,
    path: OsString,
    lacking: BTreeSet<&'static str>,
}

impl Programs {
    /// Compiles what there is a compiler for.
    pub(super) fn build(home: &Path) -> Result<Self> {
        let built = target_dir().join("verdicts");
        fs::create_dir_all(&built).with_context(|| format!("cannot create {}", built.display()))?;
        let lacking: BTreeSet<&str> =
            ["python3", "cc", "javac", "node"].into_iter().filter(|name| find_program(name).is_none()).collect();
        let sources = files_below(home)?;
        let with_extension =
            |extension: &'static str| sources.iter().filter(move |path| path.extension() == Some(OsStr::new(extension)));
        if !lacking.contains("cc") {
            for source in with_extension("c") {
                let program = built.join(source.file_stem().unwrap_or_default());
                run(Command::new("cc").args(["-O2", "-pthread", "-Wall", "-Wextra", "-Werror", "-o"]).arg(program).arg(source))?;
            }
        }
        if !lacking.contains("javac") {
            run(Command::new("javac").arg("-d").arg(&built).args(with_extension("java")))?;
        }
        // The interpreter itself, rather than a version manager's script that starts it.
        let python = find_program("python3").and_then(|python| python_itself(&python));
        let before = [Some(built.clone()), python.and_then(|python| Some(python.parent()?.to_owned()))];
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(before.into_iter().flatten().chain(env::split_paths(&path)))?;
        Ok(Self { home: home.to_owned(), built, path, lacking })
    }

    /// Why a program is not there.
    pub(super) fn lacks(&self, need: Need) -> Option<String> {
        let program = match need {
            Need::Python3 => "python3",
            Need::Cc => "cc",
            Need::Javac => "javac",
            Need::Node => "node",
            Need::TwoCpus | Need::Cgroup | Need::Disk => return None,
        };
        self.lacking.contains(program).then(|| format!("there is no {program}"))
    }

    /// Runs a command to its end, and returns how long it took.
    pub(super) fn time(&self, words: &[String]) -> Result<Duration> {
        let mut command = self.bounded();
        command.args(words).stdout(Stdio::null());
        let begin = Instant::now();
        run(&mut command)?;
        Ok(begin.elapsed())
    }

    /// Runs a command under the tracer, which writes its report to a file.
    pub(super) fn trace(&self, tracer: &Path, words: &[String], json: &Path, expected_exit: i32) -> Result<()> {
        let mut command = self.bounded();
        command.arg(tracer).args(["run", "--quiet", "--json"]).arg(json).arg("--").args(words);
        let output = command.stdout(Stdio::null()).output().context("cannot start timeout")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(expected_exit), "`{}`: {}\n{complaint}", words.join(" "), output.status);
        Ok(())
    }

    fn bounded(&self) -> Command {
        let mut command = Command::new("timeout");
        command.arg(LIMIT_SECONDS).current_dir(&self.home).env("PATH", &self.path).env("CLASSPATH", &self.built);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}
