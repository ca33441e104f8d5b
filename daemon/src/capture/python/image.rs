//! What an ELF file says about the CPython in it.

use std::fmt;
use std::sync::Arc;

use super::elf::{Elf, Segment, Variable};
use super::file::Source;
use super::place;
use crate::values::values;

/// The first bytes of `_PyRuntime` from CPython 3.13 on; `_Py_DebugOffsets` in `Include/internal/pycore_debug_offsets.h`.
const DEBUG_COOKIE: &[u8; 8] = b"xdebugpy";
/// Length of the table that holds the offsets below.
const DEBUG_OFFSETS_BYTES: u64 = 136;

/// Functions that appeared in a version and have been exported ever since, newest first. Only needed where [`PY_VERSION`] is not.
const FIRST_IN_MINOR: [(&str, u8); 4] =
    [("Py_NewRef", 10), ("PyFrame_GetCode", 9), ("PyConfig_InitPythonConfig", 8), ("PyContext_New", 7)];
/// A constant with `PY_VERSION_HEX`, from 3.11 on.
const PY_VERSION: &str = "Py_Version";

/// A version of CPython.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 in 3.11.7.
    pub major: u8,
    /// 11 in 3.11.7.
    pub minor: u8,
    /// 7 in 3.11.7; `None` where it cannot be known, before 3.11.
    pub micro: Option<u8>,
}

impl Version {
    /// From `PY_VERSION_HEX`: one byte each for major, minor, micro and the release level.
    pub(crate) fn from_hex(hex: u64) -> Option<Self> {
        let [0, 0, 0, 0, major, minor, micro, _] = hex.to_be_bytes() else { return None };
        (major == 3 && minor >= 7).then_some(Self { major, minor, micro: Some(micro) })
    }

    pub(crate) fn of_minor(minor: u8) -> Self {
        Self { major: 3, minor, micro: None }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.micro.map_or(Ok(()), |micro| write!(f, ".{micro}"))
    }
}

values! {
    /// Who shares a GIL.
    pub enum GilKind {
        /// All threads of the process: CPython up to 3.11.
        PerProcess = "per_process",
        /// All threads of one interpreter, and interpreters may share one: CPython 3.12 and later.
        PerInterpreter = "per_interpreter",
        /// Nobody: a free-threaded build.
        FreeThreaded = "free_threaded",
        /// All threads of one interpreter: a free-threaded build whose GIL was switched on.
        FreeThreadedButEnabled = "free_threaded_but_enabled",
        /// The version is not known.
        Unknown = "unknown",
    }
}

/// How `_PyRuntime` was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// By its name among the dynamic symbols.
    Symbol,
    /// By the section that CPython 3.10 and later puts it in; the file does not export its name.
    Section,
}

/// Where the GILs are, as offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One, in `_PyRuntime`.
    Single {
        /// From the beginning of `_PyRuntime`.
        gil: u64,
    },
    /// Reached through the list of interpreters.
    Listed(Offsets),
}

/// Offsets of members that hold a pointer, or the interpreter's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    /// In `_PyRuntime`: the first interpreter, the newest.
    pub(crate) head: u64,
    /// In an interpreter: the next one.
    pub(crate) next: u64,
    /// In an interpreter: its number.
    pub(crate) id: u64,
    /// In an interpreter: its GIL.
    pub(crate) gil: u64,
}

impl Layout {
    /// For versions that do not say it themselves; from the headers of 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.7 and 3.12.1.
    pub(super) fn of_version(version: Version) -> Option<Self> {
        match version.minor {
            7 => Some(Self::Single { gil: 1264 }),
            8 => Some(Self::Single { gil: 1152 }),
            9 | 10 => Some(Self::Single { gil: 352 }),
            11 => Some(Self::Single { gil: 360 }),
            12 => Some(Self::Listed(Offsets { head: 40, next: 0, id: 8, gil: 384 })),
            _ => None,
        }
    }
}

/// A file that holds a CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// `_PyRuntime`.
    pub(crate) runtime: Variable,
    /// How it was found.
    pub(crate) found: Found,
    /// `None` if nothing in the file says it.
    pub(crate) version: Option<Version>,
    pub(crate) is_free_threaded: bool,
    /// Where the GILs are; `None` if unknown for this version.
    pub(crate) layout: Option<Layout>,
    /// What of the file is loaded: the part with `_PyRuntime`, and the code.
    pub(crate) segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A CPython. Shared by all processes that map the file.
    Python(Arc<Image>),
    /// No CPython, but it needs a library that may be one.
    NeedsLibpython,
    /// Neither.
    Other,
    /// None was found in what is looked at of it, and there is more.
    Cut,
}

/// Reads a file, in small pieces.
pub(super) fn read<S: Source + ?Sized>(data: &S) -> Verdict {
    let Some(elf) = Elf::parse(data).filter(Elf::is_loadable) else { return Verdict::Other };
    let by_symbol = || elf.symbol("_PyRuntime").map(|variable| (variable, Found::Symbol));
    let by_section = || elf.section(".PyRuntime").map(|variable| (variable, Found::Section));
    match by_symbol().or_else(by_section).filter(|(variable, _)| variable.bytes > 0) {
        // Where it is in memory cannot be told.
        Some((runtime, _)) if elf.is_cut() && !elf.has_segment(|segment| place::holds(segment, runtime)) => Verdict::Cut,
        Some((runtime, found)) => Verdict::Python(Arc::new(describe(&elf, runtime, found))),
        None if elf.needs("libpython") => Verdict::NeedsLibpython,
        None if elf.is_cut() => Verdict::Cut,
        None => Verdict::Other,
    }
}

fn describe<S: Source + ?Sized>(elf: &Elf<'_, S>, runtime: Variable, found: Found) -> Image {
    let debug = DebugTable::read(elf, runtime);
    let version = debug.as_ref().and_then(|debug| debug.version).or_else(|| version(elf));
    Image {
        runtime,
        found,
        version,
        is_free_threaded: debug.as_ref().is_some_and(|debug| debug.is_free_threaded),
        layout: debug.map(|debug| Layout::Listed(debug.offsets)).or_else(|| Layout::of_version(version?)),
        segments: elf.segments_for(|segment| place::holds(segment, runtime)),
    }
}

fn version<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Option<Version> {
    if let Some(constant) = elf.symbol(PY_VERSION) {
        return Version::from_hex(elf.u64_at(constant.vaddr)?);
    }
    let first = FIRST_IN_MINOR.iter().find(|(function, _)| elf.symbol(function).is_some())?;
    Some(Version::of_minor(first.1))
}

/// What CPython 3.13 and later says about itself in the file: constants that the loader does not change.
struct DebugTable {
    version: Option<Version>,
    is_free_threaded: bool,
    offsets: Offsets,
}

impl DebugTable {
    fn read<S: Source + ?Sized>(elf: &Elf<'_, S>, runtime: Variable) -> Option<Self> {
        if runtime.bytes < DEBUG_OFFSETS_BYTES || elf.bytes_at(runtime.vaddr)? != *DEBUG_COOKIE {
            return None;
        }
        let at = |offset: u64| elf.u64_at(runtime.vaddr.checked_add(offset)?);
        let version = Version::from_hex(at(8)?);
        // 3.14 put one member, `threads_main`, before that of the GIL.
        let gil = if version.is_some_and(|version| version.minor == 13) { at(112)? } else { at(120)? };
        let offsets = Offsets { head: at(40)?, id: at(56)?, next: at(64)?, gil };
        Some(Self { version, is_free_threaded: at(16)? != 0, offsets })
    }
}

impl Image {
    /// Who shares a GIL, given whether any GIL of the process is in use.
    pub(super) fn kind(&self, is_enabled: bool) -> GilKind {
        match self.version {
            _ if self.is_free_threaded && is_enabled => GilKind::FreeThreadedButEnabled,
            _ if self.is_free_threaded => GilKind::FreeThreaded,
            Some(version) if version.minor < 12 => GilKind::PerProcess,
            Some(_) => GilKind::PerInterpreter,
            None => GilKind::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use object::pod::bytes_of;
    use object::{Endianness, elf};
    use proptest::prelude::*;

    use super::super::elf::tests::PROGRAM;
    use super::super::file::Pieces;
    use super::super::resolve::cpu_time;
    use super::*;

    /// A file of a few bytes and many holes: a header changed by `change`, then what is at which offset, then nothing up to a GiB.
    fn sparse(change: impl Fn(&mut elf::FileHeader64<Endianness>), parts: &[(u64, &[u8])]) -> File {
        use std::os::unix::fs::FileExt;
        let mut header = *object::pod::from_bytes::<elf::FileHeader64<Endianness>>(&PROGRAM).unwrap().0;
        change(&mut header);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes_of(&header)).unwrap();
        file.set_len(1 << 30).unwrap();
        for (offset, bytes) in parts {
            file.write_all_at(bytes, *offset).unwrap();
        }
        file
    }

    #[test]
    fn no_number_that_a_file_states_makes_it_dear() {
        const E: Endianness = Endianness::Little;
        let (u32, u64) = (object::U32::new, object::U64::new);
        let load = |vaddr| elf::ProgramHeader64 {
            p_type: u32(E, elf::PT_LOAD),
            p_flags: u32(E, elf::PF_X),
            p_offset: u64(E, 0),
            p_vaddr: u64(E, vaddr),
            p_paddr: u64(E, vaddr),
            p_filesz: u64(E, 1 << 30),
            p_memsz: u64(E, 1 << 30),
            p_align: u64(E, 4096),
        };
        let dynamic = |tag, value| elf::Dyn64 { d_tag: object::I64::new(E, tag), d_val: u64(E, value) };
        let headers = |count: u16, shnum: u16| {
            move |header: &mut elf::FileHeader64<Endianness>| {
                (header.e_phoff, header.e_phnum) = (object::U64::new(E, 4096), object::U16::new(E, count));
                (header.e_shoff, header.e_shnum) = (object::U64::new(E, 64), object::U16::new(E, shnum));
            }
        };
        // Section 0 of a file that stores its numbers there: 30 million of each.
        let first = elf::SectionHeader64 {
            sh_name: u32(E, 0),
            sh_type: u32(E, 0),
            sh_flags: u64(E, 0),
            sh_addr: u64(E, 0),
            sh_offset: u64(E, 0),
            sh_size: u64(E, 30_000_000),
            sh_link: u32(E, 0),
            sh_info: u32(E, 30_000_000),
            sh_addralign: u64(E, 0),
            sh_entsize: u64(E, 0),
        };
        let first = bytes_of(&first);
        let loads: Vec<u8> = (0..60_000_u64).flat_map(|index| bytes_of(&load(index << 31)).to_vec()).collect();
        // A dynamic table that goes on; a hash table whose only chain leads from symbol 1 to itself, and names that almost fit.
        let table: Vec<u8> = (0..200_000_u64).flat_map(|_| bytes_of(&dynamic(elf::DT_NEEDED, 1 << 20)).to_vec()).collect();
        let pointed = load(0);
        let mut to_table = pointed;
        (to_table.p_type, to_table.p_offset, to_table.p_filesz) =
            (u32(E, elf::PT_DYNAMIC), u64(E, 1 << 21), u64(E, table.len() as u64));
        let segments = [bytes_of(&pointed), bytes_of(&to_table)].concat();
        let circle: Vec<u8> = [(elf::DT_HASH, 1 << 22), (elf::DT_SYMTAB, 1 << 23), (elf::DT_STRTAB, 1 << 24), (elf::DT_NULL, 0)]
            .into_iter()
            .flat_map(|(tag, value)| bytes_of(&dynamic(tag, value)).to_vec())
            .collect();
        let chain: Vec<u8> = [1_u32, 2, 1, 0, 1].into_iter().flat_map(u32::to_le_bytes).collect();
        for (what, file) in [
            ("sections stored elsewhere", sparse(headers(0, 0), &[(64, first)])),
            ("segments stored elsewhere", sparse(headers(elf::PN_XNUM, 1), &[(64, first)])),
            ("segments", sparse(headers(60_000, 1), &[(4096, &loads)])),
            ("sections", sparse(headers(0, 60_000), &[])),
            ("libraries", sparse(headers(2, 1), &[(4096, &segments), (1 << 21, &table)])),
            ("a chain", sparse(headers(2, 1), &[(4096, &segments), (1 << 21, &circle), (1 << 22, &chain)])),
        ] {
            let begin = cpu_time();
            assert_eq!(read(&Pieces::of(&file)), Verdict::Cut, "{what}");
            let taken = cpu_time().saturating_sub(begin);
            assert!(taken < std::time::Duration::from_millis(200), "{what}: {taken:?}");
        }
    }

    #[test]
    fn a_version_is_read_from_the_number_in_the_file() {
        assert_eq!(Version::from_hex(0x030b_07f0).unwrap().to_string(), "3.11.7");
        assert_eq!(Version::of_minor(8).to_string(), "3.8");
        for wrong in [0, 0x0206_00f0, 0x0306_0ff0, 0x0103_0b07_f000] {
            assert_eq!(Version::from_hex(wrong), None, "{wrong:#x}");
        }
    }

    #[test]
    fn what_is_no_program_is_nothing() {
        for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &PROGRAM[..200]] {
            assert_eq!(read(bytes), Verdict::Other);
        }
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
            read(bytes.as_slice());
            if let Some(elf) = Elf::parse(bytes.as_slice()) {
                elf.symbol("_PyRuntime");
                elf.symbol("stdout");
                elf.section(".bss");
                elf.needs("libpython");
            }
            read(&bytes[..cut.index(bytes.len())]);
        }
    }
}
