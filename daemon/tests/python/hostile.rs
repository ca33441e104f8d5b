//! Processes that cost whoever reads them as much as they can.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use schedscope::capture::python::{Resolver, Unresolved};

use super::gil::SPIN;
use super::interpreters::{Python, Running, those};

/// Maps argument 1 as often as argument 2 says, to execute, to write and to read in turn. Names are as long as paths may be.
const MAP: &str = "
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int file = open(argv[1], O_RDONLY), turns[] = { PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE, PROT_READ };
    for (int i = 0; i < atoi(argv[2]); i++) mmap(0, 4096, turns[i % 3], MAP_PRIVATE, file, 0);
    puts(\"ready\"); fflush(stdout); pause();
}
";

/// The program that maps.
pub(crate) fn build_map(directory: &Path) -> Option<PathBuf> {
    let (source, program) = (directory.join("map.c"), directory.join("map"));
    fs::write(&source, MAP).unwrap();
    let built = Command::new("cc").arg(&source).arg("-o").arg(&program).status().is_ok_and(|status| status.success());
    if !built {
        println!("skipped: no C compiler");
    }
    built.then_some(program)
}

/// The header of a library with this many program headers, at 4096, and sections, at 64.
fn header(segments: u16, sections: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    header.extend([0_u64, 4096, 64].into_iter().flat_map(u64::to_le_bytes));
    header.extend([0, 0, 64, 56, segments, 64, sections, 0].into_iter().flat_map(u16::to_le_bytes));
    header
}

/// A file that takes little on disk, and how often it is mapped.
pub(crate) struct Hostile {
    what: &'static str,
    /// Numbers of segments and sections in the header.
    counts: (u16, u16),
    pub(crate) mappings: &'static str,
}

/// Whoever believes these takes a gigabyte, or minutes. 0xffff segments and 0 sections mean what section 0 says.
pub(crate) const HOSTILE: [Hostile; 3] = [
    Hostile { what: "30 million sections", counts: (0, 0), mappings: "1" },
    Hostile { what: "30 million segments", counts: (0xffff, 1), mappings: "1" },
    Hostile { what: "60,000 segments, mapped often", counts: (60_000, 1), mappings: "60000" },
];

pub(crate) fn write_hostile(file: &Path, hostile: &Hostile) {
    // Section 0 says that there are 30 million of each.
    let stored_there: Vec<u8> = [0_u64, 0, 0, 0, 30_000_000, 30_000_000 << 32].into_iter().flat_map(u64::to_le_bytes).collect();
    let contents = fs::File::create(file).unwrap();
    contents.write_all_at(&header(hostile.counts.0, hostile.counts.1), 0).unwrap();
    contents.write_all_at(&stored_there, 64).unwrap();
    contents.set_len(2 << 30).unwrap();
}

fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn no_file_and_no_number_of_mappings_takes_much_memory() {
    let directory = tempfile::tempdir().unwrap();
    let Some(program) = build_map(directory.path()) else { return };
    for hostile in &HOSTILE {
        let Hostile { what, mappings, .. } = hostile;
        let file = directory.path().join("hostile.so");
        write_hostile(&file, hostile);
        let process = Running::start(Command::new(&program).arg(&file).arg(mappings));
        let before = peak_kb();
        assert_eq!(process.try_resolve(), Err(Unresolved::OverBudget), "{what}");
        assert!(peak_kb() < before + (16 << 10), "{what}: {before} kB became {} kB", peak_kb());
        fs::remove_file(&file).unwrap();
    }
}

/// A limit must not keep an ordinary process from being understood.
#[test]
fn many_mappings_with_long_names_do_not_hide_that_it_is_no_python() {
    let directory = tempfile::tempdir().unwrap();
    let Some(program) = build_map(directory.path()) else { return };
    let file = directory.path().join("x".repeat(255));
    fs::write(&file, "no program").unwrap();
    let process = Running::start(Command::new(&program).arg(&file).arg("3000"));
    assert_eq!(Resolver::default().resolve(process.tgid()), Ok(None));
    let more = Running::start(Command::new(&program).arg(&file).arg("60000"));
    let before = peak_kb();
    assert_eq!(more.try_resolve(), Err(Unresolved::OverBudget));
    assert!(peak_kb() < before + (16 << 10), "{before} kB became {} kB", peak_kb());
}

#[test]
fn a_mapped_file_with_a_name_that_is_no_text_hides_nothing() {
    for python in &those(Python::is_supported, "CPython 3.7 or later") {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("caf").display().to_string();
        let script = format!(
            "import mmap, os\nname = os.fsencode({name:?}) + b'\\xe9'\nopen(name, 'wb').write(b'x' * 8192)\n\
             file = open(name, 'rb')\nmapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n{SPIN}"
        );
        let process = python.run(&script);
        assert!(!process.resolve_until(|found| !found.gils.is_empty()).gils.is_empty(), "{python:?}");
    }
}
