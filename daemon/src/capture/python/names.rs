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
    /// Adds the name of the executable; it counts before those of mapped files.
    pub(super) fn executable(&mut self, name: &str) {
        self.is_other |= name.starts_with("pypy") || name.starts_with("graalpy");
        if let Some(mapped) = interpreter(name).and_then(|file| self.cpython.replace(file)) {
            self.note(mapped);
        }
    }

    /// Adds the name of a file that is mapped.
    pub(super) fn mapped(&mut self, name: &str) {
        self.is_other |= name.starts_with("libpypy") || name.starts_with("libpythonvm");
        self.is_musl |= name.starts_with("ld-musl-") || name.starts_with("libc.musl-");
        if let Some(file) = library(name).or_else(|| extension(name)) {
            self.note(file);
        }
    }

    /// A name with a version says more than one without; of two that say as much the first counts.
    fn note(&mut self, file: PythonFile) {
        if self.cpython.as_ref().is_none_or(|known| known.version.is_none() && file.version.is_some()) {
            self.cpython = Some(file);
        }
    }
}

/// The last part of a path; empty if it is no text, which no name that says anything is.
pub(super) fn file_name(path: &[u8]) -> &str {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    str::from_utf8(name).unwrap_or_default()
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

    fn hints(executable: &str, mapped: &[&str]) -> Hints {
        let mut hints = Hints::default();
        for path in mapped {
            hints.mapped(file_name(path.as_bytes()));
        }
        hints.executable(file_name(executable.as_bytes()));
        hints
    }

    fn version_by(executable: &str, mapped: &[&str]) -> Option<String> {
        let file = hints(executable, mapped).cpython?;
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
        assert!(hints("/opt/pypy3.10", &[]).is_other && hints("/opt/bin/app", &["/opt/lib/libpypy3.10-c.so"]).is_other);
        assert!(hints("/opt/graalpy", &[]).is_other && hints("/opt/bin/app", &["/opt/libpythonvm.so"]).is_other);
        assert!(hints("/usr/bin/python3.12", &["/lib/ld-musl-x86_64.so.1"]).is_musl);
        assert_eq!(hints("/usr/bin/bash", &["/lib/libc.so.6"]), Hints::default());
    }
}
