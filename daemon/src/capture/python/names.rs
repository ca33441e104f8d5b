//! What the names of a process's files say when none of the files says where its GIL is. Pure.

use super::Version;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints {
    /// A file that belongs to a CPython; one with a version in its name if there is one.
    pub(crate) cpython: Option<PythonFile>,
    pub(crate) is_other: bool,
    pub(crate) is_musl: bool,
}

/// A file that belongs to a CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PythonFile {
    /// It is the library, not an executable or an extension.
    pub(crate) is_libpython: bool,
    /// As far as the name says it.
    pub(crate) version: Option<Version>,
}

impl Hints {
    /// From the path of the executable and the paths of all files mapped.
    pub(super) fn collect<'a>(executable: Option<&str>, mapped: impl Iterator<Item = &'a str>) -> Self {
        let executable = executable.map(file_name);
        let mapped: Vec<&str> = mapped.map(file_name).collect();
        let is_mapped = |one: &str, other: &str| mapped.iter().any(|name| name.starts_with(one) || name.starts_with(other));
        let files = mapped.iter().filter_map(|name| library(name).or_else(|| extension(name)));
        // A name with a version says more than one without.
        let more =
            |known: PythonFile, next: PythonFile| if known.version.is_none() && next.version.is_some() { next } else { known };
        Hints {
            cpython: executable.and_then(interpreter).into_iter().chain(files).reduce(more),
            is_other: executable.is_some_and(|name| name.starts_with("pypy") || name.starts_with("graalpy"))
                || is_mapped("libpypy", "libpythonvm"),
            is_musl: is_mapped("ld-musl-", "libc.musl-"),
        }
    }
}

fn file_name(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

/// `python`, `python3`, `python3.11`, `python3.13t`, `python3.11-dbg`; but not `python3-config`.
fn interpreter(name: &str) -> Option<PythonFile> {
    let rest = name.strip_prefix("python")?;
    let (number, build) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()));
    let is_known = matches!(build, "" | "t" | "d" | "m" | "td" | "dm" | "-dbg");
    is_known.then(|| PythonFile { is_libpython: false, version: dotted(number) })
}

/// `libpython3.8.so.1.0`, `libpython3.6m.so`.
fn library(name: &str) -> Option<PythonFile> {
    let (number, _) = name.strip_prefix("libpython")?.split_once(".so")?;
    let version = dotted(number.trim_end_matches(|c: char| c.is_ascii_alphabetic()));
    Some(PythonFile { is_libpython: true, version })
}

/// `_queue.cpython-311-x86_64-linux-gnu.so`.
fn extension(name: &str) -> Option<PythonFile> {
    let (_, tag) = name.rsplit_once(".cpython-")?;
    let (major, minor) = tag.split(|c: char| !c.is_ascii_digit()).next()?.split_at_checked(1)?;
    Some(PythonFile { is_libpython: false, version: numbered(major, minor) })
}

fn dotted(number: &str) -> Option<Version> {
    let (major, minor) = number.split_once('.')?;
    numbered(major, minor)
}

fn numbered(major: &str, minor: &str) -> Option<Version> {
    Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()?, micro: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_by(executable: &str, mapped: &[&str]) -> Option<String> {
        let file = Hints::collect(Some(executable), mapped.iter().copied()).cpython?;
        Some(file.version.map_or_else(|| "?".to_owned(), |version| version.to_string()))
    }

    #[test]
    fn names_of_cpython() {
        for (executable, mapped, version) in [
            ("/usr/bin/python3.11", &[][..], "3.11"),
            ("/usr/bin/python3.13t", &[], "3.13"),
            ("/usr/bin/python3.11-dbg", &[], "3.11"),
            ("/opt/python3.9 (deleted)", &[], "3.9"),
            ("/usr/bin/python", &[], "?"),
            ("/usr/bin/python3", &["/usr/lib/libpython3.6m.so.1.0"], "3.6"),
            ("/usr/sbin/uwsgi", &["/lib/libc.so.6", "/usr/lib/libpython2.7.so"], "2.7"),
            ("/opt/app", &["/opt/lib/_queue.cpython-38-x86_64-linux-gnu.so"], "3.8"),
            ("/opt/app", &["/opt/lib/_queue.cpython-313t-x86_64-linux-gnu.so (deleted)"], "3.13"),
        ] {
            assert_eq!(version_by(executable, mapped).as_deref(), Some(version), "{executable} {mapped:?}");
        }
    }

    #[test]
    fn names_of_others() {
        for name in ["/usr/bin/bash", "/usr/bin/python3-config", "/usr/bin/pythonista", "/usr/bin/ipython3", ""] {
            assert_eq!(version_by(name, &["/lib/libc.so.6", "[heap]", "/usr/lib/libpythonic.a"]), None, "{name}");
        }
    }

    #[test]
    fn other_implementations_and_c_libraries() {
        let hints = |executable, mapped: &[&str]| Hints::collect(Some(executable), mapped.iter().copied());
        assert!(hints("/opt/pypy3.10", &[]).is_other && hints("/opt/bin/app", &["/opt/lib/libpypy3.10-c.so"]).is_other);
        assert!(hints("/opt/graalpy", &[]).is_other && hints("/opt/bin/app", &["/opt/libpythonvm.so"]).is_other);
        assert!(hints("/usr/bin/python3.12", &["/lib/ld-musl-x86_64.so.1"]).is_musl);
        assert_eq!(hints("/usr/bin/bash", &["/lib/libc.so.6"]), Hints::default());
    }
}
