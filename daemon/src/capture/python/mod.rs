//! Which CPython a process runs, and at which addresses its threads wait for the GIL.
//!
//! A thread that waits for the GIL waits on a futex inside the structure of that GIL. Up to CPython 3.11 that structure lies inside
//! the variable `_PyRuntime`; from 3.12 on every interpreter of the process can have one: that of the main interpreter still lies
//! inside `_PyRuntime`, which holds the main interpreter, those of the others on the heap. So two things are looked up: the address
//! of `_PyRuntime`, from the ELF files that the process maps, and from there, in the memory of the process, the list of interpreters.
//! Nothing is stopped or written.
//!
//! The files are read as the process sees them, so it may live in a container, and a replaced file is no obstacle. Whatever is read
//! comes from a process that may be hostile: no size, offset or pointer in it is believed.
//!
//! - [`resolve`]: a process to its interpreter; all I/O, and what is known of files already seen.
//! - [`image`], [`elf`]: what one file says; the file is read in small pieces.
//! - [`place`]: where a file's variable is in memory.
//! - [`gil`]: the list of interpreters and their GILs, and which futex words belong to them.
//! - [`names`]: what file names tell about a process whose interpreter cannot be found.

mod elf;
pub mod gil;
pub mod image;
pub mod names;
pub mod place;
pub mod resolve;

pub use gil::Gil;
pub use resolve::Resolver;
pub use schedscope_ebpf::gil::{AddressRange, RANGES as WAIT_RANGES};

use std::{fmt, path::PathBuf};

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
    /// From `PY_VERSION_HEX`: one byte each for major, minor and micro, one for what is left.
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

/// Who shares a GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GilKind {
    /// All threads of the process: CPython up to 3.11.
    PerProcess,
    /// All threads of one interpreter, and interpreters may share one: CPython 3.12 and later.
    PerInterpreter,
    /// Nobody, unless it was switched on: a free-threaded build. Whether it is on is in [`Gil::enabled`].
    FreeThreaded,
    /// The version is not known.
    Unknown,
}

/// How `_PyRuntime` was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// By its name among the dynamic symbols.
    Symbol,
    /// By the section that CPython 3.10 and later puts it in; the file does not export its name.
    Section,
}

/// A CPython in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// `None` where nothing in the file tells it.
    pub version: Option<Version>,
    /// Who shares a GIL.
    pub kind: GilKind,
    /// Where `_PyRuntime` is.
    pub runtime: AddressRange,
    /// The GILs, that of the main interpreter first if it is known. Empty before Python has started, or if they could not be made
    /// out; the one in [`Self::runtime`] exists all the same.
    pub gils: Vec<Gil>,
    /// The file that holds it, as the process names it.
    pub object: PathBuf,
    /// How it was found.
    pub found: Found,
    /// Where further `_PyRuntime` variables are, if several files of the process define one.
    pub further_runtimes: Vec<AddressRange>,
}

/// Where to look for waits, as many as the kernel side takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitRanges {
    /// At most [`WAIT_RANGES`], distinct.
    pub ranges: Vec<AddressRange>,
    /// How many did not fit.
    pub left_out: usize,
}

impl Interpreter {
    /// The address ranges in which a futex wait is a wait for a GIL.
    ///
    /// `_PyRuntime` is taken whole: no other futex words are in it, and so nothing depends on where inside it the GIL is.
    pub fn wait_ranges(&self) -> WaitRanges {
        let mut ranges = vec![self.runtime];
        ranges.extend(&self.further_runtimes);
        for gil in &self.gils {
            if !ranges.iter().any(|range| range.contains(gil.range.start)) {
                ranges.push(gil.range);
            }
        }
        let left_out = ranges.len().saturating_sub(WAIT_RANGES);
        ranges.truncate(WAIT_RANGES);
        WaitRanges { ranges, left_out }
    }

    /// How long a thread waits before it asks the holder to let go, in microseconds: `sys.getswitchinterval()` of the main
    /// interpreter. `None` if it could not be read.
    pub fn switch_interval_us(&self) -> Option<u64> {
        self.gils.first().map(|gil| gil.switch_interval_us)
    }
}

/// Why the GIL of a process, which is or may be a Python, cannot be told apart from other locks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// It ended before it could be read.
    #[error("the process has ended")]
    Gone,
    /// The library of the interpreter is not loaded yet: ask again.
    #[error("the process is starting: its libpython is not loaded yet")]
    Starting,
    /// It may not be read: whether it is a Python at all may be unknown.
    #[error("cannot read {what}: {why}; run as root, or with CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE")]
    NotReadable {
        /// A file or directory.
        what: String,
        /// The system's words.
        why: String,
    },
    /// It is a Python by its files' names, but none of them tells where `_PyRuntime` is.
    #[error("{object} does not export _PyRuntime: build it with -Wl,--export-dynamic, or with CPython 3.10 or later")]
    NoSymbols {
        /// The file whose name says Python.
        object: String,
    },
    /// The file says where `_PyRuntime` is, but no mapping of the process fits.
    #[error("{object} is not mapped as its program headers say")]
    NotMapped {
        /// The file that has the symbol.
        object: String,
    },
    /// A version before 3.7, whose GIL is not part of `_PyRuntime`.
    #[error("CPython {0} is not supported: 3.7 or later is")]
    UnsupportedVersion(Version),
    /// Another implementation of Python.
    #[error("{0} keeps its locks elsewhere: only CPython is supported")]
    OtherImplementation(&'static str),
    /// With the musl C library a waiting thread waits on a word of its own stack, so its address does not tell for what.
    #[error("the process uses the musl C library, whose threads wait on words of their own stacks")]
    WaitsOnStack,
}

impl Unresolved {
    /// All values of [`Self::reason`].
    pub const REASONS: [&str; 8] = [
        "gone",
        "starting",
        "not_readable",
        "no_symbols",
        "not_mapped",
        "unsupported_version",
        "other_implementation",
        "waits_on_stack",
    ];

    /// Which counter it belongs to.
    pub fn reason(&self) -> &'static str {
        let index = match self {
            Self::Gone => 0,
            Self::Starting => 1,
            Self::NotReadable { .. } => 2,
            Self::NoSymbols { .. } => 3,
            Self::NotMapped { .. } => 4,
            Self::UnsupportedVersion(_) => 5,
            Self::OtherImplementation(_) => 6,
            Self::WaitsOnStack => 7,
        };
        Self::REASONS[index]
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gil(start: u64) -> Gil {
        Gil { range: AddressRange::new(start, 208), interpreter: 0, switch_interval_us: 5000, enabled: true }
    }

    fn interpreter(gils: Vec<Gil>) -> Interpreter {
        Interpreter {
            version: Version::from_hex(0x030c_01f0),
            kind: GilKind::PerInterpreter,
            runtime: AddressRange::new(0x5000, 0x1000),
            gils,
            object: PathBuf::from("/usr/bin/python3.12"),
            found: Found::Symbol,
            further_runtimes: Vec::new(),
        }
    }

    #[test]
    fn a_gil_inside_the_runtime_needs_no_range_of_its_own() {
        let ranges = interpreter(vec![gil(0x5100), gil(0x9000)]).wait_ranges();
        assert_eq!(ranges.ranges, [AddressRange::new(0x5000, 0x1000), AddressRange::new(0x9000, 208)]);
        assert_eq!(ranges.left_out, 0);
    }

    #[test]
    fn a_version_is_read_from_the_number_in_the_file() {
        assert_eq!(Version::from_hex(0x030b_07f0).unwrap().to_string(), "3.11.7");
        assert_eq!(Version::of_minor(8).to_string(), "3.8");
        for wrong in [0, 0x0206_00f0, 0x0306_0ff0, 0x0103_0b07_f000] {
            assert_eq!(Version::from_hex(wrong), None, "{wrong:#x}");
        }
    }

    proptest! {
        #[test]
        fn ranges_are_bounded_distinct_and_none_is_lost_unseen(starts in prop::collection::vec(0_u64..0x40_0000, 0..12)) {
            let gils: Vec<Gil> = starts.iter().map(|start| gil(start * 0x1000)).collect();
            let told = interpreter(gils.clone()).wait_ranges();
            prop_assert!(told.ranges.len() <= WAIT_RANGES);
            let covered = |gil: &Gil| told.ranges.iter().any(|range| range.contains(gil.range.start));
            let mut missing: Vec<_> = gils.iter().filter(|gil| !covered(gil)).map(|gil| gil.range.start).collect();
            missing.sort_unstable();
            missing.dedup();
            prop_assert_eq!(missing.len(), told.left_out);
        }
    }
}
