use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use schedscope::capture::python::{Found, Resolver, Unresolved};
use schedscope::capture::snapshot::Tgid;

use super::gil::{SPIN, assert_waits_for_the_gil};
use super::interpreters::{Python, Running, those};

/// A program that runs a Python script; it needs no headers.
const EMBED: &str = "
void Py_InitializeEx(int);
int PyRun_SimpleString(const char *);
int main(int argc, char **argv) { Py_InitializeEx(0); return PyRun_SimpleString(argv[1]); }
";

fn is_root() -> bool {
    // SAFETY: it only returns a number.
    unsafe { libc::geteuid() == 0 }
}

/// A CPython whose interpreter is in its executable, which can be copied.
fn with_static_executable() -> Option<Python> {
    let is_static = |python: &Python| {
        let executable = fs::canonicalize(&python.executable).ok()?;
        let found = python.run(SPIN).try_resolve().ok()??;
        (found.object == executable).then(|| Python { executable, ..python.clone() })
    };
    let found = those(Python::is_supported, "CPython 3.7 or later").iter().find_map(is_static);
    if found.is_none() {
        println!("skipped: no CPython with the interpreter in its executable");
    }
    found
}

#[test]
fn stripped_and_removed() {
    let Some(python) = with_static_executable() else { return };
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("renamed");
    fs::copy(&python.executable, &copy).unwrap();
    if !Command::new("strip").arg("--strip-all").arg(&copy).status().is_ok_and(|status| status.success()) {
        println!("without being stripped: no strip");
    }
    let process = Running::start(Command::new(&copy).env("PYTHONHOME", &python.prefix).args(["-c", SPIN]));
    let found = process.resolve();
    assert_eq!((found.object.as_path(), found.found), (copy.as_path(), Found::Symbol));
    assert_waits_for_the_gil(&process, &found);

    fs::remove_file(&copy).unwrap();
    if is_root() {
        let removed = process.resolve();
        assert_eq!((removed.runtime, removed.gils), (found.runtime, found.gils));
    } else {
        assert_eq!(process.try_resolve().unwrap_err(), Unresolved::NotReadable);
    }
}

#[test]
fn hidden_in_a_mount_namespace() {
    if !is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    let Some(python) = with_static_executable() else { return };
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs none "$1" && cp "$2" "$1/hidden" && exec "$1/hidden" -c "$3""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(directory.path()).arg(&python.executable).arg(SPIN);
    let process = Running::start(command.env("PYTHONHOME", &python.prefix));
    let found = process.resolve();
    assert_eq!(found.object, directory.path().join("hidden"));
    assert!(!found.object.exists(), "it is not hidden");
    assert_waits_for_the_gil(&process, &found);
}

/// Before the dynamic loader has run, a process that will have a shared libpython maps none.
#[test]
fn at_its_first_instruction() {
    for python in &those(Python::is_supported, "CPython 3.7 or later") {
        let mut command = Command::new(&python.executable);
        // SAFETY: the call is one system call, and so allowed between fork and exec. It stops the child at its exec.
        unsafe {
            command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        // An interpreter with another root directory cannot be started directly.
        let Ok(mut child) = command.stdin(Stdio::null()).spawn() else { continue };
        let mut status = 0;
        // SAFETY: the child is ours and `status` is valid for writing.
        unsafe { libc::waitpid(i32::try_from(child.id()).unwrap(), &raw mut status, libc::WUNTRACED) };
        let early = Resolver::default().resolve(Tgid(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        match early {
            Err(Unresolved::Starting) => {}
            Ok(Some(found)) => assert!(found.gils.is_empty(), "{python:?}: {found:?}"),
            other => panic!("{python:?}: {other:?}"),
        }
    }
}

#[test]
fn a_second_runtime_is_told() {
    let Some(python) = with_static_executable() else { return };
    let with_library = those(|python| python.is_supported() && python.library(".so").is_some(), "shared libpython");
    let Some(library) = with_library.first().and_then(|other| other.library(".so")) else { return };
    let load = format!("import ctypes; ctypes.PyDLL({library:?})\n{SPIN}");
    let process = python.run(&load);
    let found = process.resolve();
    assert_eq!(found.object, fs::canonicalize(&python.executable).unwrap());
    assert_eq!(found.further_runtimes.len(), 1, "{found:?}");
    assert_waits_for_the_gil(&process, &found);
}

/// Builds the program with a library, and runs it.
fn embed(program: &Path, python: &Python, library: &Path, linking: &[&str]) -> Option<Running> {
    let source = program.with_extension("c");
    fs::write(&source, EMBED).unwrap();
    let mut compiler = Command::new("cc");
    compiler.arg(&source).arg("-o").arg(program).arg(library).args(&python.linker_arguments).args(linking);
    compiler.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
    let output = compiler.output();
    if !output.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: {compiler:?}: {output:?}");
        return None;
    }
    Some(Running::start(Command::new(program).env("PYTHONHOME", &python.prefix).arg(SPIN)))
}

/// Which interpreters are meant, the ending of the library that is linked, how, and how the runtime is found then, if it is.
type Embedding = (&'static str, fn(&Python) -> bool, &'static str, &'static [&'static str], Option<Found>);

#[test]
fn embedded() {
    let embeddings: [Embedding; 4] = [
        ("shared libpython", Python::is_supported, ".so", &[], Some(Found::Symbol)),
        // Exported in the hash table that came before the present one; there is no section yet that would be found instead.
        (
            "static libpython of 3.8 or 3.9",
            |python| matches!(python.minor(), (3, 8 | 9)),
            ".a",
            &["-rdynamic", "-Wl,--hash-style=sysv"],
            Some(Found::Symbol),
        ),
        // Not exported.
        (
            "static libpython of 3.10 or later",
            |python| python.minor() >= (3, 10) && !python.is_free_threaded,
            ".a",
            &[],
            Some(Found::Section),
        ),
        ("static libpython before 3.10", |python| matches!(python.minor(), (3, 7..=9)), ".a", &[], None),
    ];
    for (what, is_meant, ending, linking, how) in embeddings {
        let pythons = those(|python| is_meant(python) && python.library(ending).is_some(), what);
        let Some(python) = pythons.last() else { continue };
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(if how.is_some() { "server" } else { "python3" });
        let Some(process) = embed(&program, python, &python.library(ending).unwrap(), linking) else { continue };
        if let Some(how) = how {
            let found = process.resolve();
            let object = if ending == ".so" { &python.library_dir } else { directory.path() };
            assert!(found.found == how && found.object.starts_with(object), "{what}: {found:?}");
            assert_waits_for_the_gil(&process, &found);
        } else {
            // Only its name says Python.
            assert_eq!(process.try_resolve().unwrap_err(), Unresolved::NoSymbols);
        }
    }
}
