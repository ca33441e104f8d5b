#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::LazyLock};

use proptest::prelude::*;

use super::{super::image, *};

/// A small program with everything that is read: hash table, symbols, libraries, sections.
static PROGRAM: LazyLock<Vec<u8>> = LazyLock::new(|| fs::read("/bin/true").unwrap());

fn libc_path() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("/libc.so.6")).expect("these tests run with glibc");
    line[line.find('/').unwrap()..].to_owned()
}

#[test]
fn finds_every_function_that_the_dynamic_loader_finds() {
    let libc = fs::read(libc_path()).unwrap();
    let elf = Elf::parse(&*libc).unwrap();
    for (name, real) in [
        (c"malloc", libc::malloc as *const () as u64),
        (c"read", libc::read as *const () as u64),
        (c"pthread_create", libc::pthread_create as *const () as u64),
    ] {
        let found = elf.symbol(name.to_str().unwrap()).unwrap();
        assert!(found.bytes > 0);
        // Both are off by the bias, which is a whole number of pages.
        assert_eq!((real - found.vaddr) % 4096, 0, "{name:?}");
    }
    for name in ["", "mallo", "malloc\0", "_PyRuntime", "schedscope"] {
        assert_eq!(elf.symbol(name), None, "{name}");
    }
}

#[test]
fn a_symbol_that_is_only_used_is_not_defined() {
    let elf = Elf::parse(PROGRAM.as_slice()).unwrap();
    assert_eq!(elf.symbol("__libc_start_main"), None);
    assert!(elf.needs("libc.so"));
    assert!(!elf.needs("libpython"));
}

#[test]
fn sections_have_the_addresses_of_the_file() {
    let elf = Elf::parse(PROGRAM.as_slice()).unwrap();
    let section = elf.section(".bss").unwrap();
    let holds = |segment: &&Segment| {
        (segment.vaddr..segment.vaddr + segment.memory_bytes).contains(&section.vaddr) && !segment.is_executable
    };
    assert_eq!(elf.segments.iter().filter(holds).count(), 1);
    assert_eq!(elf.section(".PyRuntime"), None);
}

#[test]
fn what_is_no_program_is_nothing() {
    for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &PROGRAM[..200]] {
        assert_eq!(image::read(bytes), image::Verdict::Other);
    }
    assert!(Path::new(&libc_path()).exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_damage_makes_it_fail(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..20), cut in any::<prop::sample::Index>()) {
        let mut bytes = PROGRAM.clone();
        // The tables that are read are at the beginning; elsewhere damage does nothing.
        let tables = bytes.len().min(4096) - 8;
        for (at, value) in changes {
            let at = at.index(tables);
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes[..6].copy_from_slice(&PROGRAM[..6]);
        image::read(bytes.as_slice());
        if let Some(elf) = Elf::parse(bytes.as_slice()) {
            elf.symbol("_PyRuntime");
            elf.symbol("stdout");
            elf.section(".bss");
            elf.needs("libpython");
        }
        image::read(&bytes[..cut.index(bytes.len())]);
    }
}
