//! What machines with another processor than the host's need of programs: those of Debian, with the libraries that they load.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::kernels::cache_dir;
use crate::architecture::Architecture;
use crate::debian::{Archive, Release};
use crate::workspace::output;

/// Its programs are older than every kernel's needs, and all that is wanted of them has been in them for years.
const RELEASE: Release = Release { suite: "bookworm", has_security: false };
/// `sh`, then `chrt` and `taskset`, then the rest.
const PACKAGES: [&str; 3] = ["dash", "util-linux", "coreutils"];
const PROGRAMS: [&str; 3] = ["bin", "usr/bin", "usr/sbin"];
/// Where the loader looks for libraries, and for itself.
const LIBRARIES: [&str; 4] = ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib", "usr/lib"];

/// Files by where they are in the machine: the programs of these names, the libraries and the loader that they name.
pub(super) fn programs(architecture: Architecture, names: &[&str]) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let root = cache_dir().join(architecture.suffixed("programs"));
    if !root.join(LIBRARIES[0]).is_dir() {
        println!("fetching {} from Debian {}", PACKAGES.join(", "), RELEASE.suite);
        let archive = Archive::open(RELEASE, architecture.debian(), None)?;
        archive.unpack_all(&PACKAGES, &["debconf", "tar"], &root).context("cannot fetch programs from Debian")?;
    }
    let mut files = BTreeMap::new();
    for name in names {
        // Debian makes `sh` when it is installed.
        let file = if *name == "sh" { "dash" } else { name };
        let program = find(&root, &PROGRAMS, file)?;
        add_libraries(&root, &program, &mut files)?;
        files.insert(Path::new("/bin").join(name), program);
    }
    Ok(files)
}

fn add_libraries(root: &Path, program: &Path, files: &mut BTreeMap<PathBuf, PathBuf>) -> Result<()> {
    // Its notes tell the loader and the libraries by name; it reads programs of any processor.
    let text = output(Command::new("readelf").args(["--wide", "--program-headers", "--dynamic"]).arg(program).env("LC_ALL", "C"))?;
    for name in named(&text) {
        if let Entry::Vacant(entry) = files.entry(Path::new("/lib").join(&name)) {
            let library = find(root, &LIBRARIES, &name)?;
            entry.insert(library.clone());
            add_libraries(root, &library, files)?;
        }
    }
    Ok(())
}

/// Names of the loader and of the libraries in what `readelf` prints.
fn named(text: &str) -> Vec<String> {
    let between = |line: &str, before: &str| Some(line.split_once(before)?.1.split_once(']')?.0.to_owned());
    let name = |line| {
        let loader = between(line, "[Requesting program interpreter: ")?;
        Some(loader.rsplit('/').next().unwrap_or(&loader).to_owned())
    };
    text.lines().filter_map(|line| between(line, "Shared library: [").or_else(|| name(line))).collect()
}

/// A file of this name in one of the directories, whatever link leads to it.
fn find(root: &Path, dirs: &[&str], name: &str) -> Result<PathBuf> {
    let found = dirs.iter().find_map(|dir| fs::canonicalize(root.join(dir).join(name)).ok().filter(|path| path.starts_with(root)));
    found.with_context(|| format!("no {name} in {}: remove that to have it fetched again", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_and_libraries_are_told_by_name() {
        let text = "  INTERP 0x000238 0x0000000000000238\n      [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]\n\
                    \x200x0000000000000001 (NEEDED)  Shared library: [libc.so.6]\n 0x000000000000000e (SONAME)  Library soname: [libd.so]\n";
        assert_eq!(named(text), ["ld-linux-aarch64.so.1", "libc.so.6"]);
    }
}
