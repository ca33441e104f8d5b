use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use schedscope::capture::python::{Interpreter, Resolver, Unresolved};
use schedscope::capture::snapshot::Tgid;
use serde::Deserialize;

use crate::kernel::host::{Guarded, comes_true};

/// Prints what the tests want to know of an interpreter; understood by every Python since 2.7.
const DESCRIBE: &str = "
import json, sys, sysconfig
v = sysconfig.get_config_var
print(json.dumps({
    'implementation': sys.implementation.name if hasattr(sys, 'implementation') else 'cpython',
    'version': tuple(sys.version_info[:3]),
    'is_free_threaded': bool(v('Py_GIL_DISABLED')),
    'executable': sys.executable,
    'prefix': sys.prefix,
    'static_library_dir': str(v('LIBPL')),
    'library_dir': str(v('LIBDIR')),
    'linker_arguments': ' '.join(v(name) or '' for name in ('LIBS', 'SYSLIBS', 'MODLIBS')).split(),
}))
";

/// An interpreter, by its own account.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Python {
    pub(crate) implementation: String,
    pub(crate) version: (u8, u8, u8),
    pub(crate) is_free_threaded: bool,
    pub(crate) executable: PathBuf,
    pub(crate) prefix: PathBuf,
    /// Where its static library is, if it has one.
    pub(crate) static_library_dir: PathBuf,
    pub(crate) library_dir: PathBuf,
    /// What a program needs that the static library is linked into.
    pub(crate) linker_arguments: Vec<String>,
    #[serde(skip)]
    pub(crate) program: PathBuf,
}

impl Python {
    fn describe(program: &Path) -> Option<Self> {
        let output = Command::new(program).args(["-c", DESCRIBE]).stderr(Stdio::null()).output().ok()?;
        let python: Python = serde_json::from_slice(&output.stdout).ok()?;
        (python.implementation == "cpython").then(|| Self { program: program.to_owned(), ..python })
    }

    pub(crate) fn minor(&self) -> (u8, u8) {
        (self.version.0, self.version.1)
    }

    /// A file that belongs to its `libpython`, with this ending.
    pub(crate) fn library(&self, ending: &str) -> Option<PathBuf> {
        let directory = if ending == ".a" { &self.static_library_dir } else { &self.library_dir };
        let mut files = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let is_library = |name: &str| name.starts_with("libpython3.") && name.ends_with(ending) && name != "libpython3.so";
        files.find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_library))
    }

    pub(crate) fn is_supported(&self) -> bool {
        self.minor() >= (3, 7)
    }

    /// A process that runs a script which prints a line once it is under way.
    pub(crate) fn run(&self, script: &str) -> Running {
        Running::start(Command::new(&self.program).args(["-c", script]))
    }
}

/// Every CPython that is found, each once.
pub(crate) fn all() -> Vec<Python> {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from).join("versions");
    let versions = fs::read_dir(pyenv).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("bin/python")));
    let named = env::var("SCHEDSCOPE_PYTHONS").unwrap_or_default();
    let programs = ["python3".into(), "/usr/bin/python3".into()].into_iter().chain(versions);
    let named = named.split(':').filter(|name| !name.is_empty()).map(PathBuf::from);
    // One that was asked for must be there.
    let named = named.map(|program| Python::describe(&program).unwrap_or_else(|| panic!("{} is no CPython", program.display())));
    let mut pythons: Vec<Python> = Vec::new();
    for python in programs.filter_map(|program| Python::describe(&program)).chain(named) {
        if !pythons.iter().any(|known| known.executable == python.executable && known.version == python.version) {
            pythons.push(python);
        }
    }
    pythons.sort_by_key(|python| python.version);
    pythons
}

/// Those that are wanted; if there is none, says that they are left out.
pub(crate) fn those(is_wanted: impl Fn(&Python) -> bool, what: &str) -> Vec<Python> {
    let found: Vec<Python> = all().into_iter().filter(is_wanted).collect();
    if found.is_empty() {
        println!("skipped: no {what}; name one in SCHEDSCOPE_PYTHONS");
    }
    found
}

pub(crate) struct Running(Guarded);

impl Running {
    /// Starts it and waits for its first line.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = Guarded(command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{command:?}");
        Self(process)
    }

    pub(crate) fn tgid(&self) -> Tgid {
        Tgid(self.0.id())
    }

    /// What is found of it, which must be a CPython.
    pub(crate) fn resolve(&self) -> Interpreter {
        self.try_resolve().unwrap_or_else(|error| panic!("{error:?}")).expect("a CPython")
    }

    pub(crate) fn try_resolve(&self) -> Result<Option<Interpreter>, Unresolved> {
        Resolver::default().resolve(self.tgid())
    }

    /// What is found once `is_wanted` holds.
    pub(crate) fn resolve_until(&self, is_wanted: impl Fn(&Interpreter) -> bool) -> Interpreter {
        assert!(comes_true(20, || is_wanted(&self.resolve())), "still {:?}", self.resolve());
        self.resolve()
    }
}
