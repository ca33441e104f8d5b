//! Runtimes: the Python interpreters and the native program, and the cells that each offers.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    child::{self, Stop},
    host,
};
use crate::workspace::root;

/// Name of the runtime that is not an interpreter.
pub(crate) const NATIVE: &str = "native";
/// What an interpreter may take to say what it is.
const LIMIT: Duration = Duration::from_secs(20);
/// The interpreter's own path, as version managers put shell scripts before it, which would be traced as dozens of processes.
/// A free-threaded build bears a `t`, as its executable does.
const WHO_ARE_YOU: &str = "import sys, sysconfig, platform; print(sys.executable); \
    print(platform.python_version() + ('t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''))";

/// Something that cells run on.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    /// Name in the table: the version, or `native`.
    pub(crate) name: String,
    /// The interpreter, or the native program.
    pub(crate) program: PathBuf,
    /// Arguments before the cell's own: the script, for an interpreter.
    pub(crate) prefix: Vec<PathBuf>,
    /// Why nothing runs on it.
    pub(crate) unusable: Option<String>,
}

/// A line of a runtime's list of cells.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) id: String,
    /// On what it works.
    pub(crate) model: String,
    /// What it does.
    pub(crate) task: String,
    /// `cpu`, `io`, `textbook`, `latency`, `claim`, or `truth`, which is for tests.
    pub(crate) kind: String,
    /// The cell to compare with.
    #[serde(default)]
    pub(crate) serial_twin: Option<String>,
    /// What one unit of work is.
    #[serde(default)]
    pub(crate) unit: Option<String>,
    /// Workers if nothing else is asked for.
    #[serde(default)]
    pub(crate) workers: Option<usize>,
    /// Why it can't be run.
    #[serde(default)]
    pub(crate) skipped: Option<String>,
    /// Arguments that run it; Python cells are called by their name.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// The cell to call it by, if it is one of another name with options of ours.
    #[serde(skip)]
    pub(crate) variant_of: Option<String>,
    /// These options.
    #[serde(skip)]
    pub(crate) extra: Vec<String>,
}

/// The interpreters asked for, or `python3`.
pub(crate) fn pythons(asked: &[PathBuf], stop: &Stop) -> Result<Vec<Runtime>> {
    let default = [PathBuf::from("python3")];
    let mut runtimes: Vec<Runtime> = Vec::new();
    for path in if asked.is_empty() { &default } else { asked } {
        let mut runtime = python(path, stop)?;
        let twins = runtimes.iter().filter(|known| known.name.split('/').next() == Some(&runtime.name)).count();
        if twins > 0 {
            runtime.name = format!("{}/{}", runtime.name, twins + 1);
        }
        runtimes.push(runtime);
    }
    Ok(runtimes)
}

/// Asks an interpreter where and what it is.
fn python(path: &Path, stop: &Stop) -> Result<Runtime> {
    let shown = path.display();
    let hint = "install it (Debian and Ubuntu: apt-get install python3) or name one with --python PATH";
    let output = child::output(Command::new(path).args(["-c", WHO_ARE_YOU]), LIMIT, stop)
        .with_context(|| format!("cannot ask {shown}: {hint}"))?;
    if !output.status.success() {
        bail!("{shown} is no Python that works: {}; {hint}", last_line(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let (Some(executable), Some(version)) = (lines.next(), lines.next()) else {
        bail!("{shown} does not answer as a Python does; {hint}")
    };
    let mut runtime = Runtime {
        name: version.to_owned(),
        program: if executable.is_empty() { path.to_owned() } else { executable.into() },
        prefix: vec![root().join("workloads/python/lab.py")],
        unusable: None,
    };
    if !is_new_enough(version) {
        runtime.unusable = Some(format!("Python {version} is too old: the cells need 3.8"));
    }
    // Else whichever cell comes first would pay for compiling. Without it everything works all the same.
    let scripts = root().join("workloads/python");
    let _ = child::output(Command::new(&runtime.program).args(["-m", "compileall", "-q"]).arg(&scripts), LIMIT, stop);
    host::give_to_user(&scripts.join("__pycache__"));
    Ok(runtime)
}

/// True from Python 3.8 on.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (3, 8)
}

impl Runtime {
    /// The native controls.
    pub(crate) fn native(workloads: &Path) -> Runtime {
        Runtime { name: NATIVE.to_owned(), program: workloads.to_owned(), prefix: Vec::new(), unusable: None }
    }

    /// True for the native controls.
    pub(crate) fn is_native(&self) -> bool {
        self.name == NATIVE
    }

    /// A command that runs it with these arguments.
    pub(crate) fn command<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.prefix).args(arguments);
        command
    }

    /// The cells it offers, those for tests left out.
    pub(crate) fn list(&self, stop: &Stop) -> Result<Vec<Listed>> {
        let arguments: &[&str] = if self.is_native() { &["list", "--json"] } else { &["--list"] };
        let output = child::output(&mut self.command(arguments), LIMIT, stop)?;
        if !output.status.success() {
            bail!("{} cannot list its cells: {}", self.name, last_line(&output.stderr));
        }
        let mut cells: Vec<Listed> =
            serde_json::from_slice(&output.stdout).with_context(|| format!("cannot read the list of cells of {}", self.name))?;
        cells.retain(|cell| cell.kind != "truth");
        Ok(cells)
    }
}

/// The line that usually says what went wrong.
pub(crate) fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it gives no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in [
            ("2.7.18", false),
            ("3.7.16", false),
            ("3.8.0", true),
            ("3.13.0rc1", true),
            ("3.14.0t", true),
            ("4.0", true),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }

    #[test]
    fn the_reason_is_the_last_line_with_text() {
        assert_eq!(last_line(b"Traceback:\n  deep\nOSError: no\n\n"), "OSError: no");
        assert_eq!(last_line(b""), "it gives no reason");
    }
}
