//! Runtimes: the Python interpreters and the native program, and the cells that each offers.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cell::{Cell, NATIVE};
use super::child::{self, Stop, last_line};

/// How long an interpreter may take to say what it is.
const LIMIT: Duration = Duration::from_secs(20);
/// Asks for the interpreter's own path, as version managers put shell scripts before it, which would be traced as dozens of
/// processes. The version of a free-threaded build ends in `t`, as its executable does. The cells need Python 3.8.
const WHO_ARE_YOU: &str = "import sys, sysconfig, platform; print(sys.executable); \
    print(platform.python_version() + ('t' if sysconfig.get_config_var('Py_GIL_DISABLED') else '')); \
    print(sys.version_info >= (3, 8))";
/// The interpreter that runs the cells if no other is named.
const DEFAULT_PYTHON: &str = "python3";
const NO_PYTHON: &str = "install it (Debian and Ubuntu: apt-get install python3) or name one with --python PATH";

/// Something that cells run on.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Name in the table: the version, or `native`.
    pub name: String,
    /// The interpreter, or the native program.
    pub program: PathBuf,
    /// Arguments before the cell's own: the script or the subcommand.
    pub prefix: Vec<OsString>,
    /// Why nothing runs on it.
    pub unusable: Option<String>,
}

/// The interpreters asked for, or `python3`. An interpreter that was asked for must work; without the default one the lab does
/// without Python.
pub fn pythons(asked: &[PathBuf], script: &Path, stop: &Stop) -> Result<Vec<Runtime>> {
    if asked.is_empty() {
        return Ok(vec![python(Path::new(DEFAULT_PYTHON), script, stop).unwrap_or_else(|error| Runtime {
            name: DEFAULT_PYTHON.to_owned(),
            program: DEFAULT_PYTHON.into(),
            prefix: Vec::new(),
            unusable: Some(format!("{error:#}")),
        })]);
    }
    let mut runtimes: Vec<Runtime> = Vec::new();
    for path in asked {
        let mut runtime = python(path, script, stop)?;
        let twins = runtimes.iter().filter(|known| known.name.split('/').next() == Some(&runtime.name)).count();
        if twins > 0 {
            runtime.name = format!("{}/{}", runtime.name, twins + 1);
        }
        runtimes.push(runtime);
    }
    Ok(runtimes)
}

/// Asks an interpreter where and what it is.
fn python(path: &Path, script: &Path, stop: &Stop) -> Result<Runtime> {
    let shown = path.display();
    let output = child::output(Command::new(path).args(["-c", WHO_ARE_YOU]), LIMIT, stop)
        .with_context(|| format!("{shown} does not run: {NO_PYTHON}"))?;
    if !output.status.success() {
        bail!("{shown} does not work as a Python: {}; {NO_PYTHON}", last_line(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let [executable, version, is_new_enough] = text.lines().collect::<Vec<_>>()[..] else {
        bail!("{shown} does not answer as a Python does; {NO_PYTHON}")
    };
    Ok(Runtime {
        name: version.to_owned(),
        program: if executable.is_empty() { path.to_owned() } else { executable.into() },
        prefix: vec![script.into()],
        unusable: (is_new_enough != "True").then(|| format!("Python {version} is too old: the cells need 3.8")),
    })
}

impl Runtime {
    /// The native cells, which this program offers as a subcommand.
    pub fn native(program: PathBuf) -> Runtime {
        Runtime { name: NATIVE.to_owned(), program, prefix: vec!["workload".into()], unusable: None }
    }

    /// Compiles the Python workloads, which the first cell to run would pay for otherwise. The lab works without it.
    pub(crate) fn compile(&self, scripts: &Path, stop: &Stop) {
        if self.unusable.is_none() {
            let _ = child::output(Command::new(&self.program).args(["-m", "compileall", "-q"]).arg(scripts), LIMIT, stop);
        }
    }

    pub(crate) fn is_native(&self) -> bool {
        self.name == NATIVE
    }

    pub(crate) fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.prefix).args(arguments);
        command
    }

    /// A cell that it runs with these arguments.
    pub fn cell<I: Into<OsString>>(&self, id: String, arguments: impl IntoIterator<Item = I>) -> Cell {
        let arguments = self.prefix.iter().cloned().chain(arguments.into_iter().map(Into::into)).collect();
        Cell { id, runtime: self.name.clone(), program: self.program.clone(), arguments, ..Cell::default() }
    }

    /// The cells it offers, without those that are for tests.
    pub(crate) fn list(&self, stop: &Stop) -> Result<Vec<Cell>> {
        let arguments: &[&str] = if self.is_native() { &["list", "--json"] } else { &["--list"] };
        let output = child::output(&mut self.command(arguments), LIMIT, stop)?;
        if !output.status.success() {
            bail!("{} cannot list its cells: {}", self.name, last_line(&output.stderr));
        }
        let cells: Vec<Value> =
            serde_json::from_slice(&output.stdout).with_context(|| format!("cannot read the list of cells of {}", self.name))?;
        let cells = cells.into_iter().filter(|cell| cell["kind"] != "truth").map(|mut listed| {
            // A native cell says what calls it; a Python cell is called by its name.
            let arguments: Option<Vec<String>> = serde_json::from_value(listed["args"].take())?;
            let listed: Cell = serde_json::from_value(listed)?;
            let Cell { runtime, program, arguments, .. } =
                self.cell(String::new(), arguments.unwrap_or_else(|| vec![listed.id.clone()]));
            Ok(Cell { runtime, program, arguments, ..listed })
        });
        cells.collect()
    }
}
