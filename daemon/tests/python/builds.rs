use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use schedscope::capture::{
    python::{Found, Resolver, Unresolved},
    snapshot::Tgid,
};

use super::{
    gil::{SPIN, assert_waits_for_the_gil},
    interpreters::{Python, Running, all},
};

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
        python.run(SPIN).try_resolve().is_ok_and(|found| found.is_some_and(|found| found.object == python.executable))
    };
    let mut pythons = all().into_iter().filter(Python::is_supported);
    let found = pythons.find(|python| {
        fs::canonicalize(&python.executable).is_ok_and(|path| is_static(&Python { executable: path, ..python.clone() }))
    });
    if found.is_none() {
        println!("skipped: no CPython with the interpreter in its executable");
    }
    found
}

fn run_copy(copy: &Path, python: &Python) -> Command {
    let mut command = Command::new(copy);
    command.env("PYTHONHOME", &python.prefix).args(["-c", SPIN]);
    command
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
    let process = Running::start(&mut run_copy(&copy, &python));
    let found = process.resolve();
    assert_eq!((found.object.as_path(), found.found), (copy.as_path(), Found::Symbol));
    assert_waits_for_the_gil(&process, &found);

    fs::remove_file(&copy).unwrap();
    if is_root() {
        let removed = process.resolve();
        assert_eq!((removed.runtime, removed.gils), (found.runtime, found.gils));
    } else {
        let error = process.try_resolve().unwrap_err();
        assert!(matches!(error, Unresolved::NotReadable { .. }), "{error}");
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
    for python in all().iter().filter(|python| python.is_supported()) {
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
    let supported = all().into_iter().filter(Python::is_supported);
    let Some(library) = supported.into_iter().find_map(|other| library(&other.library_dir, ".so")) else {
        println!("skipped: no shared libpython");
        return;
    };
    let load = format!("import ctypes; ctypes.PyDLL({library:?})\n{SPIN}");
    let process = python.run(&load);
    let found = process.resolve();
    assert_eq!(found.object, fs::canonicalize(&python.executable).unwrap());
    assert_eq!(found.further_runtimes.len(), 1, "{found:?}");
    assert_waits_for_the_gil(&process, &found);
}

/// A file that belongs to a `libpython` of a version, with this ending.
fn library(directory: &Path, ending: &str) -> Option<PathBuf> {
    let mut files = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_library = |name: &str| name.starts_with("libpython3.") && name.ends_with(ending) && name != "libpython3.so";
    files.find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_library))
}

/// Builds the program with a library, and runs it.
fn embed(directory: &Path, name: &str, python: &Python, library: &Path, linking: &[&str]) -> Option<Running> {
    let source = directory.join("embed.c");
    fs::write(&source, EMBED).unwrap();
    let program = directory.join(name);
    let mut compiler = Command::new("cc");
    compiler.arg(&source).arg("-o").arg(&program).arg(library).args(&python.linker_arguments).args(linking);
    compiler.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
    let output = compiler.output();
    if !output.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: {compiler:?}: {output:?}");
        return None;
    }
    Some(Running::start(Command::new(&program).env("PYTHONHOME", &python.prefix).arg(SPIN)))
}

#[test]
fn embedded_with_a_shared_library() {
    let directory = tempfile::tempdir().unwrap();
    let pythons = all();
    let with_library = |python: &&Python| python.is_supported() && library(&python.library_dir, ".so").is_some();
    let Some(python) = pythons.iter().rfind(with_library) else {
        println!("skipped: no shared libpython");
        return;
    };
    let library = library(&python.library_dir, ".so").unwrap();
    let Some(process) = embed(directory.path(), "server", python, &library, &[]) else { return };
    let found = process.resolve();
    assert!(found.object.starts_with(&python.library_dir), "{found:?}");
    assert_waits_for_the_gil(&process, &found);
}

/// Linked into a program that exports it, in the hash table that came before the present one.
#[test]
fn embedded_with_the_old_hash_table() {
    let directory = tempfile::tempdir().unwrap();
    let pythons = all();
    // Before 3.10 there is no section that would be found instead.
    let is_wanted = |python: &&Python| matches!(python.minor(), (3, 8 | 9));
    let library = |python: &Python| library(&python.static_library_dir, ".a");
    let Some(python) = pythons.iter().filter(is_wanted).find(|python| library(python).is_some()) else {
        println!("skipped: no static libpython of 3.8 or 3.9");
        return;
    };
    let linking = ["-rdynamic", "-Wl,--hash-style=sysv"];
    let Some(process) = embed(directory.path(), "server", python, &library(python).unwrap(), &linking) else { return };
    let found = process.resolve();
    assert_eq!(found.found, Found::Symbol);
    assert_waits_for_the_gil(&process, &found);
}

/// Linked into a program that exports nothing, `_PyRuntime` is only found from 3.10 on, by its section.
#[test]
fn embedded_without_exported_symbols() {
    let directory = tempfile::tempdir().unwrap();
    let pythons = all();
    let library = |python: &Python| library(&python.static_library_dir, ".a");
    let with_library = |python: &&Python| python.is_supported() && !python.is_free_threaded && library(python).is_some();
    let has_section = |python: &&Python| python.minor() >= (3, 10);
    let mut with_libraries = pythons.iter().filter(with_library);
    match with_libraries.clone().rfind(has_section) {
        None => println!("skipped: no static libpython of 3.10 or later"),
        Some(python) => {
            let Some(process) = embed(directory.path(), "server", python, &library(python).unwrap(), &[]) else { return };
            let found = process.resolve();
            assert_eq!(found.found, Found::Section);
            assert_waits_for_the_gil(&process, &found);
        }
    }
    match with_libraries.rfind(|python| !has_section(python)) {
        None => println!("skipped: no static libpython before 3.10"),
        Some(python) => {
            let Some(process) = embed(directory.path(), "python3", python, &library(python).unwrap(), &[]) else { return };
            let error = process.try_resolve().unwrap_err();
            assert_eq!(error, Unresolved::NoSymbols { object: "python3".into() });
        }
    }
}
