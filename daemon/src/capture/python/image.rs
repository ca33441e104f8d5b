//! What an ELF file tells about the CPython in it.

use object::ReadRef;

use super::{
    Found, GilKind, Version,
    elf::{Elf, Variable},
    gil::{Layout, Offsets},
    place::Segment,
};

/// The first bytes of `_PyRuntime` from CPython 3.13 on; `_Py_DebugOffsets` in `Include/internal/pycore_debug_offsets.h`.
const DEBUG_COOKIE: &[u8; 8] = b"xdebugpy";
/// Where the table ends that the offsets below are in.
const DEBUG_OFFSETS_BYTES: u64 = 136;

/// Functions that appeared in a version and have been exported ever since, newest first. Only needed where [`PY_VERSION`] is not.
const FIRST_IN_MINOR: [(&str, u8); 4] =
    [("Py_NewRef", 10), ("PyFrame_GetCode", 9), ("PyConfig_InitPythonConfig", 8), ("PyContext_New", 7)];
/// A constant with `PY_VERSION_HEX`, from 3.11 on.
const PY_VERSION: &str = "Py_Version";

/// A file that holds a CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The address of `_PyRuntime`, as the file gives it.
    pub runtime_vaddr: u64,
    /// Its size.
    pub runtime_bytes: u64,
    /// How it was found.
    pub found: Found,
    /// `None` where nothing tells it.
    pub version: Option<Version>,
    /// Built to run without a GIL.
    pub is_free_threaded: bool,
    /// Where the GILs are; `None` if that is not known for this version.
    pub layout: Option<Layout>,
    /// What of the file is loaded.
    pub segments: Vec<Segment>,
}

/// What a file is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds a CPython.
    Python(Image),
    /// It does not, but asks for a library that will.
    NeedsLibpython,
    /// Neither.
    Other,
}

/// Reads a file, in small pieces.
pub fn read<'data, R: ReadRef<'data>>(data: R) -> Verdict {
    let Some(elf) = Elf::parse(data).filter(Elf::is_loadable) else { return Verdict::Other };
    let by_symbol = || elf.symbol("_PyRuntime").map(|variable| (variable, Found::Symbol));
    let by_section = || elf.section(".PyRuntime").map(|variable| (variable, Found::Section));
    match by_symbol().or_else(by_section).filter(|(variable, _)| variable.bytes > 0) {
        Some((runtime, found)) => Verdict::Python(describe(elf, runtime, found)),
        None if elf.needs("libpython") => Verdict::NeedsLibpython,
        None => Verdict::Other,
    }
}

fn describe<'data, R: ReadRef<'data>>(elf: Elf<'data, R>, runtime: Variable, found: Found) -> Image {
    let debug = DebugTable::read(&elf, runtime);
    let version = debug.as_ref().and_then(|debug| debug.version).or_else(|| version(&elf));
    Image {
        runtime_vaddr: runtime.vaddr,
        runtime_bytes: runtime.bytes,
        found,
        version,
        is_free_threaded: debug.as_ref().is_some_and(|debug| debug.is_free_threaded),
        layout: debug.map(|debug| Layout::Listed(debug.offsets)).or_else(|| Layout::of_version(version?)),
        segments: elf.into_segments(),
    }
}

fn version<'data, R: ReadRef<'data>>(elf: &Elf<'data, R>) -> Option<Version> {
    if let Some(constant) = elf.symbol(PY_VERSION) {
        return Version::from_hex(elf.u64_at(constant.vaddr)?);
    }
    let first = FIRST_IN_MINOR.iter().find(|(function, _)| elf.symbol(function).is_some())?;
    Some(Version::of_minor(first.1))
}

/// What CPython 3.13 and later says of itself, from the file: these are constants that the loader does not touch.
struct DebugTable {
    version: Option<Version>,
    is_free_threaded: bool,
    offsets: Offsets,
}

impl DebugTable {
    fn read<'data, R: ReadRef<'data>>(elf: &Elf<'data, R>, runtime: Variable) -> Option<Self> {
        if runtime.bytes < DEBUG_OFFSETS_BYTES || elf.bytes_at(runtime.vaddr, 8)? != DEBUG_COOKIE {
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
    /// Who shares a GIL.
    pub fn kind(&self) -> GilKind {
        match self.version {
            _ if self.is_free_threaded => GilKind::FreeThreaded,
            Some(version) if version.minor < 12 => GilKind::PerProcess,
            Some(_) => GilKind::PerInterpreter,
            None => GilKind::Unknown,
        }
    }
}
