//! From a process to its interpreter: what `/proc` and files say.

use std::{
    array,
    collections::HashMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use object::read::ReadCache;
use procfs::{
    ProcError,
    process::{MMPermissions, MMapPath, MemoryMap, Process},
};
use schedscope_ebpf::gil::{AddressRange, RANGES};

use super::{
    gil::{Gil, Memory, read_gils},
    image::{self, Found, GilKind, Image, Verdict, Version},
    names::Hints,
    place::{self, MappedFile},
};
use crate::{capture::snapshot::Tgid, values::values};

/// Files remembered. A host has a few thousand different libraries and executables.
const FILES_MAX: usize = 8192;

/// A CPython in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// `None` if nothing in the file says it.
    pub version: Option<Version>,
    /// Who shares a GIL.
    pub kind: GilKind,
    /// Where `_PyRuntime` is.
    pub runtime: AddressRange,
    /// The GILs, that of the main interpreter first if it is known. Empty before Python has started, or if they could not be found; the
    /// one in [`Self::runtime`] exists even then.
    pub gils: Vec<Gil>,
    /// The file that holds it, as the process names it.
    pub object: PathBuf,
    /// How it was found.
    pub found: Found,
    /// Where further `_PyRuntime` variables are, if several files of the process define one.
    pub further_runtimes: Vec<AddressRange>,
}

impl Interpreter {
    /// The address ranges in which a futex wait is a wait for a GIL, as many as the kernel side takes; the rest is empty.
    ///
    /// All of `_PyRuntime` counts: it has no other futex words, and so nothing depends on where inside it the GIL is.
    pub fn wait_ranges(&self) -> [AddressRange; RANGES] {
        let mut ranges = vec![self.runtime];
        ranges.extend(&self.further_runtimes);
        for gil in &self.gils {
            if !ranges.iter().any(|range| range.contains(gil.range.start)) {
                ranges.push(gil.range);
            }
        }
        array::from_fn(|place| ranges.get(place).copied().unwrap_or(AddressRange::EMPTY))
    }

    /// How long a thread waits before it asks the holder to let go, in microseconds: `sys.getswitchinterval()` of the main
    /// interpreter. `None` if it could not be read.
    pub fn switch_interval_us(&self) -> Option<u64> {
        self.gils.first().map(|gil| gil.switch_interval_us)
    }
}

values! {
    /// Why the GIL of a process that is or may be a Python cannot be told apart from other locks.
    pub enum Unresolved {
        /// It ended before it could be read.
        Gone = "gone",
        /// The library of the interpreter is not loaded yet: ask again.
        Starting = "starting",
        /// It cannot be read without `CAP_SYS_PTRACE` or `CAP_CHECKPOINT_RESTORE`; whether it is a Python at all may be unknown.
        NotReadable = "not_readable",
        /// It is a Python by its files' names, but none of the files says where `_PyRuntime` is. A build with `-Wl,--export-dynamic`
        /// would, and one of CPython 3.10 or later.
        NoSymbols = "no_symbols",
        /// The file says where `_PyRuntime` is, but no mapping of the process fits.
        NotMapped = "not_mapped",
        /// A version before 3.7, whose GIL is not part of `_PyRuntime`.
        UnsupportedVersion = "unsupported_version",
        /// Another implementation of Python, which keeps its locks elsewhere.
        OtherImplementation = "other_implementation",
        /// With the musl C library a thread waits on a word of its own stack, whose address does not show what it waits for.
        WaitsOnStack = "waits_on_stack",
    }
}

/// Device, inode, size, and the times of its change and of its contents' in seconds and nanoseconds: the same as long as the file is
/// not changed, since an inode number is only used again with another change time.
type FileKey = (u64, u64, u64, [i64; 4]);

fn file_key(metadata: &Metadata) -> FileKey {
    let times = [metadata.ctime(), metadata.ctime_nsec(), metadata.mtime(), metadata.mtime_nsec()];
    (metadata.dev(), metadata.ino(), metadata.len(), times)
}

/// Finds the interpreters of processes. Remembers files, never processes, so it need not be told that one ended.
///
/// A file may be on a file system that does not respond: call it from a thread that may block.
#[derive(Debug, Default)]
pub struct Resolver {
    files: HashMap<FileKey, Verdict>,
}

/// A file of a process that defines `_PyRuntime`.
struct Runtime {
    image: Arc<Image>,
    object: String,
    /// Where it is; empty if the mappings do not fit the file.
    places: Vec<AddressRange>,
}

/// What all files of a process said.
#[derive(Default)]
struct Survey {
    runtimes: Vec<Runtime>,
    needs_libpython: bool,
    /// Files that could not be read and may contain an interpreter.
    unread: Vec<String>,
}

impl Resolver {
    /// Which CPython a process runs; `None` if it runs none. A library that it loads later can still contain one.
    pub fn resolve(&mut self, tgid: Tgid) -> Result<Option<Interpreter>, Unresolved> {
        let pid = i32::try_from(tgid.0).map_err(|_| Unresolved::Gone)?;
        let process = Process::new(pid).map_err(unreadable)?;
        let maps = process.maps().map_err(unreadable)?.0;
        let executable = process.exe().ok();
        let survey = self.survey(&process, &maps, executable.as_deref());
        // The files of a process that has ended meanwhile could not be opened.
        if survey.runtimes.is_empty() && process.stat().map_err(unreadable)?.state == 'Z' {
            return Err(Unresolved::Gone);
        }
        let executable = executable.as_deref().and_then(Path::to_str);
        let hints = Hints::collect(executable, maps.iter().filter_map(path));
        // The executable comes first: if a library defines `_PyRuntime` too, the dynamic loader binds all to the executable's.
        let mapped = survey.runtimes.iter().find_map(|found| Some((found, *found.places.first()?)));
        let Some((first, runtime)) = mapped else {
            return if survey.runtimes.is_empty() { none(&survey, &hints, executable) } else { Err(Unresolved::NotMapped) };
        };
        if hints.is_musl {
            return Err(Unresolved::WaitsOnStack);
        }
        let all = survey.runtimes.iter().flat_map(|found| found.places.iter().copied());
        let gils = process.mem().map(|memory| read_gils(&first.image, runtime, &memory)).unwrap_or_default();
        Ok(Some(Interpreter {
            version: first.image.version,
            kind: first.image.kind(gils.iter().any(|gil| gil.enabled)),
            runtime,
            gils,
            object: PathBuf::from(&first.object),
            found: first.image.found,
            further_runtimes: all.filter(|place| *place != runtime).collect(),
        }))
    }

    /// Looks at every file that the process maps to execute, the executable first.
    fn survey(&mut self, process: &Process, maps: &[MemoryMap], executable: Option<&Path>) -> Survey {
        let is_executable = |map: &&MemoryMap| matches!(&map.pathname, MMapPath::Path(path) if Some(path.as_path()) == executable);
        let code = || maps.iter().filter(|map| map.perms.contains(MMPermissions::EXECUTE));
        let mut survey = Survey::default();
        let mut seen: Vec<MappedFile> = Vec::new();
        for map in code().filter(is_executable).chain(code()) {
            let Some(file) = place::file_of(map).filter(|file| !seen.contains(file)) else { continue };
            seen.push(file);
            let path = path(map).unwrap_or_default();
            match self.identify(process, map) {
                Ok(Verdict::Python(image)) => {
                    let places = place::places(&image.segments, maps, file, image.runtime);
                    survey.runtimes.push(Runtime { image, object: path.to_owned(), places });
                }
                Ok(Verdict::NeedsLibpython) => survey.needs_libpython = true,
                Ok(Verdict::Other) => {}
                Err(_) => survey.unread.push(path.to_owned()),
            }
        }
        survey
    }

    fn identify(&mut self, process: &Process, map: &MemoryMap) -> io::Result<Verdict> {
        let (path, metadata) = reach(process, map)?;
        // A device or a pipe must not even be opened.
        if !metadata.is_file() {
            return Ok(Verdict::Other);
        }
        let key = file_key(&metadata);
        if let Some(known) = self.files.get(&key) {
            return Ok(known.clone());
        }
        let file = File::open(path)?;
        // What is remembered must be of the file that was read.
        let key = file_key(&file.metadata()?);
        let verdict = image::read(&ReadCache::new(file));
        if self.files.len() >= FILES_MAX {
            self.files.clear();
        }
        self.files.insert(key, verdict.clone());
        Ok(verdict)
    }
}

/// The file that is mapped, as a path to open. The link in `map_files` leads to it wherever it is mounted, even if it was removed. Without
/// the right to follow the link, the path is tried as the process sees it, then as we do: for a process that changed its root directory
/// `/proc/PID/maps` shows our view.
fn reach(process: &Process, map: &MemoryMap) -> io::Result<(PathBuf, Metadata)> {
    let proc = PathBuf::from(format!("/proc/{}", process.pid));
    let link = proc.join(format!("map_files/{:x}-{:x}", map.address.0, map.address.1));
    let refused = match fs::metadata(&link) {
        Ok(metadata) => return Ok((link, metadata)),
        Err(error) => error,
    };
    let MMapPath::Path(path) = &map.pathname else { return Err(refused) };
    let seen_by_process = proc.join("root").join(path.strip_prefix("/").unwrap_or(path));
    for candidate in [seen_by_process.as_path(), path] {
        match fs::metadata(candidate) {
            Ok(metadata) if metadata.ino() == map.inode => return Ok((candidate.to_owned(), metadata)),
            _ => {}
        }
    }
    Err(refused)
}

/// No file has an interpreter: either the process is not a Python, or its interpreter could not be found.
fn none(survey: &Survey, hints: &Hints, executable: Option<&str>) -> Result<Option<Interpreter>, Unresolved> {
    Err(match &hints.cpython {
        _ if hints.is_other => Unresolved::OtherImplementation,
        // Whatever its name, the executable could hold an interpreter.
        None if survey.unread.iter().any(|path| Some(path.as_str()) == executable) => Unresolved::NotReadable,
        None if survey.needs_libpython => Unresolved::Starting,
        None => return Ok(None),
        Some(file) if file.version.is_some_and(|version| (version.major, version.minor) < (3, 7)) => Unresolved::UnsupportedVersion,
        Some(file) if survey.needs_libpython && !file.is_libpython => Unresolved::Starting,
        Some(_) if !survey.unread.is_empty() => Unresolved::NotReadable,
        Some(_) => Unresolved::NoSymbols,
    })
}

fn path(map: &MemoryMap) -> Option<&str> {
    let MMapPath::Path(path) = &map.pathname else { return None };
    path.to_str()
}

fn unreadable(error: ProcError) -> Unresolved {
    match error {
        ProcError::NotFound(_) => Unresolved::Gone,
        ProcError::Io(error, _) if error.raw_os_error() == Some(libc::ESRCH) => Unresolved::Gone,
        _ => Unresolved::NotReadable,
    }
}

/// `/proc/PID/mem`.
impl Memory for File {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        self.read_exact_at(buffer, address).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::CStr,
        process::{Child, Command, Stdio},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::capture::python::elf::Elf;

    /// As `/proc/PID/stat` has it.
    fn wait_for_state(child: &Child, state: char) {
        let process = Process::new(i32::try_from(child.id()).unwrap()).unwrap();
        while process.stat().unwrap().state != state {
            std::thread::yield_now();
        }
    }

    /// The place of a variable of the C library in this very process, against what the dynamic loader says.
    #[test]
    fn a_variable_of_a_shared_library_is_where_the_loader_put_it() {
        const NAME: &CStr = c"_IO_2_1_stdout_";
        // SAFETY: the name is a string that ends, and looking up a variable changes nothing.
        let real = unsafe { libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr()) } as u64;
        let maps = Process::myself().unwrap().maps().unwrap().0;
        let is_libc = |map: &&MemoryMap| path(map).is_some_and(|path| path.ends_with("/libc.so.6"));
        let libc = maps.iter().find(is_libc).expect("these tests run with glibc");
        let bytes = fs::read(path(libc).unwrap()).unwrap();
        let elf = Elf::parse(&*bytes).unwrap();
        let variable = elf.symbol(NAME.to_str().unwrap()).unwrap();
        let places = place::places(&elf.into_segments(), &maps, (libc.dev, libc.inode), variable);
        assert_eq!(places, [AddressRange::new(real, variable.bytes)]);
    }

    #[test]
    fn what_is_no_python_is_none() {
        let mut resolver = Resolver::default();
        assert_eq!(resolver.resolve(Tgid(std::process::id())), Ok(None));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        // Asleep: until then the dynamic loader may map another file.
        wait_for_state(&child, 'S');
        assert_eq!(resolver.resolve(Tgid(child.id())), Ok(None));
        // Without another file to read: the answer is known.
        let known = resolver.files.len();
        assert_eq!(resolver.resolve(Tgid(child.id())), Ok(None));
        assert_eq!(resolver.files.len(), known);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let mut child = Command::new("true").stdout(Stdio::null()).spawn().unwrap();
        let mut resolver = Resolver::default();
        wait_for_state(&child, 'Z');
        assert_eq!(resolver.resolve(Tgid(child.id())), Err(Unresolved::Gone));
        child.wait().unwrap();
        assert_eq!(resolver.resolve(Tgid(child.id())), Err(Unresolved::Gone));
        assert_eq!(resolver.resolve(Tgid(u32::MAX)), Err(Unresolved::Gone));
    }

    #[test]
    fn a_file_that_was_changed_is_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "one").unwrap();
        let before = file_key(&fs::metadata(&file).unwrap());
        // The change time has the granularity of a timer tick.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&file, "two").unwrap();
        assert_ne!(file_key(&fs::metadata(&file).unwrap()), before);
    }

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
        let mut expected = [AddressRange::EMPTY; RANGES];
        expected[..2].copy_from_slice(&[AddressRange::new(0x5000, 0x1000), AddressRange::new(0x9000, 208)]);
        assert_eq!(interpreter(vec![gil(0x5100), gil(0x9000)]).wait_ranges(), expected);
    }

    proptest! {
        #[test]
        fn a_gil_has_no_range_only_where_all_are_taken(starts in prop::collection::vec(0_u64..0x40_0000, 0..12)) {
            let gils: Vec<Gil> = starts.iter().map(|start| gil(start * 0x1000)).collect();
            let ranges = interpreter(gils.clone()).wait_ranges();
            let is_covered = |gil: &Gil| ranges.iter().any(|range| range.contains(gil.range.start));
            prop_assert!(gils.iter().all(is_covered) || !ranges.contains(&AddressRange::EMPTY), "{:?}", ranges);
            let distinct: std::collections::HashSet<u64> = ranges.iter().map(|range| range.start).collect();
            let taken = ranges.iter().filter(|range| **range != AddressRange::EMPTY).count();
            prop_assert_eq!(distinct.len(), taken + usize::from(taken < RANGES));
        }
    }
}
