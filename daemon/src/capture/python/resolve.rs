//! From a process to its interpreter: what `/proc` and files say.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{array, mem};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::time::{ClockId, clock_gettime};
use schedscope_ebpf::gil::{AddressRange, RANGES};

use super::file::Pieces;
use super::gil::{Gil, Memory, read_gils};
use super::image::{self, Found, GilKind, Image, Verdict, Version};
use super::maps::{CodeFile, Device, Maps};
use super::mounts::Mounts;
use super::names::file_name;
use super::place;
use crate::capture::snapshot::Tgid;
use crate::values::values;

/// Files remembered at least, of those seen last; at most twice as many. A host has a few thousand different libraries and executables.
const FILES_KNOWN: usize = 4096;
/// CPU time for one process. An ordinary one takes a tenth of a millisecond, and 10 ms if it maps hundreds of files never seen before.
const CPU_TIME_MAX: Duration = Duration::from_millis(50);
/// Files of one process that hold an interpreter.
const RUNTIMES_MAX: usize = 8;

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
        /// It, or a file of it, is larger than what is looked at, or took too long; whether it is a Python at all may be unknown.
        OverBudget = "over_budget",
        /// It is a Python by its files' names, and a file is on a file system behind which a user's process stands (FUSE), which is not
        /// waited for.
        ForeignFileSystem = "foreign_file_system",
        /// With the musl C library a thread waits on a word of its own stack, whose address does not show what it waits for.
        WaitsOnStack = "waits_on_stack",
        /// The process that reads it failed at it: it took too long, or exceeded another limit. Whether it is a Python at all may be
        /// unknown.
        ReaderFailed = "reader_failed",
    }
}

/// Device, inode, size, and the times of its change and of its contents' in seconds and nanoseconds: the same as long as the file is
/// not changed, since an inode number is only used again with another change time.
type FileKey = (u64, u64, u64, [i64; 4]);

/// Asks for what is known of an open file, without waiting for the server of a network file system to confirm it.
fn examine(file: impl AsFd) -> io::Result<(FileType, FileKey)> {
    let status = fs::statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)?;
    let (changed, modified) = (status.stx_ctime, status.stx_mtime);
    let times = [changed.tv_sec, changed.tv_nsec.into(), modified.tv_sec, modified.tv_nsec.into()];
    let device = fs::makedev(status.stx_dev_major, status.stx_dev_minor);
    Ok((FileType::from_raw_mode(status.stx_mode.into()), (device, status.stx_ino, status.stx_size, times)))
}

/// What is known of the files seen last.
#[derive(Debug, Default)]
struct Known {
    recent: HashMap<FileKey, Verdict>,
    /// What was recent before.
    earlier: HashMap<FileKey, Verdict>,
}

impl Known {
    fn get(&mut self, key: &FileKey) -> Option<Verdict> {
        let known = self.recent.get(key).or_else(|| self.earlier.get(key))?.clone();
        if !self.recent.contains_key(key) {
            self.add(*key, known.clone());
        }
        Some(known)
    }

    fn add(&mut self, key: FileKey, verdict: Verdict) {
        if self.recent.len() >= FILES_KNOWN {
            self.earlier = mem::take(&mut self.recent);
        }
        self.recent.insert(key, verdict);
    }
}

/// Finds the interpreters of processes. Remembers files, never processes, so it need not be told that one ended.
///
/// A file may be on a file system that does not respond: call it from a thread that may block.
#[derive(Debug, Default)]
pub struct Resolver {
    files: Known,
}

/// A file of a process that defines `_PyRuntime`.
struct Runtime {
    image: Arc<Image>,
    object: Vec<u8>,
    /// Where it is; empty if the mappings do not fit the file.
    places: Vec<AddressRange>,
}

/// What all files of a process said.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each file can add any of them")]
struct Survey {
    runtimes: Vec<Runtime>,
    needs_libpython: bool,
    /// A file could not be read, so it may contain an interpreter.
    has_unread: bool,
    /// The same for the executable.
    is_executable_unread: bool,
    /// A file was not read for the file system that it is on.
    has_foreign: bool,
    /// There was more than is looked at.
    is_cut: bool,
}

impl Resolver {
    /// Which CPython a process runs; `None` if it runs none. A library that it loads later can still contain one.
    pub fn resolve(&mut self, tgid: Tgid) -> Result<Option<Interpreter>, Unresolved> {
        let process = Process::open(tgid).map_err(unreadable)?;
        let mut maps = Maps::read(process.file("maps").map_err(unreadable)?, || process.is_over_budget()).map_err(unreadable)?;
        let executable = process.executable();
        let survey = self.survey(&process, &maps, executable.as_deref());
        // The files of a process that has ended meanwhile could not be opened.
        if survey.runtimes.is_empty() && process.has_ended().map_err(unreadable)? {
            return Err(Unresolved::Gone);
        }
        maps.hints.executable(executable.as_deref().map(file_name).unwrap_or_default());
        // The executable comes first: if a library defines `_PyRuntime` too, the dynamic loader binds all to the executable's.
        let mapped = survey.runtimes.iter().find_map(|found| Some((found, *found.places.first()?)));
        let Some((first, runtime)) = mapped else { return without_runtime(&survey, &maps) };
        if maps.hints.is_musl {
            return Err(Unresolved::WaitsOnStack);
        }
        let all = survey.runtimes.iter().flat_map(|found| found.places.iter().copied());
        let memory = process.file("mem").map(|file| DataOf { file, maps: &maps, process: &process });
        let gils = memory.map(|memory| read_gils(&first.image, runtime, &memory)).unwrap_or_default();
        Ok(Some(Interpreter {
            version: first.image.version,
            kind: first.image.kind(gils.iter().any(|gil| gil.enabled)),
            runtime,
            gils,
            object: PathBuf::from(OsStr::from_bytes(&first.object)),
            found: first.image.found,
            further_runtimes: all.filter(|place| *place != runtime).take(RANGES).collect(),
        }))
    }

    /// Looks at every file that the process maps to execute, the executable first.
    fn survey(&mut self, process: &Process, maps: &Maps, executable: Option<&[u8]>) -> Survey {
        let mut survey = Survey { is_cut: maps.is_cut, ..Survey::default() };
        let is_executable = |code: &&CodeFile| Some(code.path.as_slice()) == executable;
        let files = maps.code.iter().filter(is_executable).chain(maps.code.iter().filter(|code| !is_executable(code)));
        for code in files {
            if process.is_over_budget() || survey.runtimes.len() == RUNTIMES_MAX {
                survey.is_cut = true;
                break;
            }
            match self.identify(process, code) {
                Ok(Verdict::Python(image)) => {
                    let places = place::places(&image.segments, &maps.kept, code.file, image.runtime);
                    survey.runtimes.push(Runtime { image, object: code.path.clone(), places });
                }
                Ok(Verdict::NeedsLibpython) => survey.needs_libpython = true,
                Ok(Verdict::Cut) => survey.is_cut = true,
                Ok(Verdict::Other) => {}
                Err(unread) => {
                    survey.has_unread = true;
                    survey.has_foreign |= matches!(unread, Unread::Foreign);
                    survey.is_executable_unread |= is_executable(&code);
                }
            }
        }
        survey
    }

    fn identify(&mut self, process: &Process, code: &CodeFile) -> Result<Verdict, Unread> {
        if process.is_foreign(code.file.device) {
            return Err(Unread::Foreign);
        }
        let place = process.reach(code)?;
        let (kind, key) = examine(&place)?;
        // A device or a pipe must not even be opened.
        if kind != FileType::RegularFile {
            return Ok(Verdict::Other);
        }
        if let Some(known) = self.files.get(&key) {
            return Ok(known);
        }
        let file = File::from(fs::openat(CWD, format!("/proc/self/fd/{}", place.as_raw_fd()), READ, Mode::empty())?);
        // What is remembered must be of the file that was read.
        let (_, key) = examine(&file)?;
        let verdict = image::read(&Pieces::of(&file));
        self.files.add(key, verdict.clone());
        Ok(verdict)
    }
}

/// Why a file was not read.
enum Unread {
    Foreign,
    Failed,
}

impl<E: Into<io::Error>> From<E> for Unread {
    fn from(_: E) -> Unread {
        Unread::Failed
    }
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
// Everything is opened by `openat`, the only call to open files that the reader's filter allows.
/// Opens a name, not what it stands for: neither its file system nor its device hears of it.
const NAME: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A process, by its directory in `/proc`. Another process that gets its number is not found there.
struct Process {
    directory: OwnedFd,
    mounts: OnceCell<Mounts>,
    /// What this thread had used when it began to look.
    cpu_time_before: Duration,
}

impl Process {
    fn open(tgid: Tgid) -> io::Result<Process> {
        let directory = fs::openat(CWD, format!("/proc/{}", tgid.0), NAME | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Process { directory, mounts: OnceCell::new(), cpu_time_before: cpu_time() })
    }

    fn file(&self, name: &str) -> io::Result<File> {
        Ok(fs::openat(&self.directory, name, READ | OFlags::NOFOLLOW, Mode::empty())?.into())
    }

    fn executable(&self) -> Option<Vec<u8>> {
        fs::readlinkat(&self.directory, "exe", Vec::new()).ok().map(std::ffi::CString::into_bytes)
    }

    fn has_ended(&self) -> io::Result<bool> {
        let mut stat = Vec::new();
        self.file("stat")?.take(512).read_to_end(&mut stat)?;
        Ok(is_of_zombie(&stat))
    }

    fn is_over_budget(&self) -> bool {
        cpu_time().saturating_sub(self.cpu_time_before) > CPU_TIME_MAX
    }

    /// Whether a user's process may stand behind a file system, by what this process sees mounted, and by what we do: a file in a layer of
    /// a container's can belong to a file system that only the host has mounted.
    fn is_foreign(&self, device: Device) -> bool {
        let mounts = || {
            let mut mounts = Mounts::default();
            let ours = fs::openat(CWD, "/proc/self/mountinfo", READ, Mode::empty()).map(File::from).map_err(Into::into);
            for table in [self.file("mountinfo"), ours].into_iter().flatten() {
                mounts.add(table);
            }
            mounts
        };
        Mounts::has_no_device(device) && self.mounts.get_or_init(mounts).is_foreign(device)
    }

    /// The file that is mapped, by name. The link in `map_files` leads to it wherever it is mounted, even if it was removed. Without the
    /// right to follow the link, the path is tried as the process sees it, then as we do: for a process that changed its root directory
    /// `/proc/PID/maps` shows our view.
    fn reach(&self, code: &CodeFile) -> io::Result<OwnedFd> {
        let link = format!("map_files/{:x}-{:x}", code.first.0, code.first.1);
        let refused = match fs::openat(&self.directory, link, NAME, Mode::empty()) {
            Ok(file) => return Ok(file),
            Err(error) => error,
        };
        let seen_by_process = [b"root".as_slice(), &code.path].concat();
        let candidates = [
            fs::openat(&self.directory, seen_by_process.as_slice(), NAME | OFlags::NOFOLLOW, Mode::empty()),
            fs::openat(CWD, code.path.as_slice(), NAME | OFlags::NOFOLLOW, Mode::empty()),
        ];
        let is_it = |file: &OwnedFd| examine(file).is_ok_and(|(_, (_, inode, ..))| inode == code.file.inode);
        candidates.into_iter().flatten().find(is_it).ok_or(refused.into())
    }
}

/// Whether a `stat` file is a zombie's. The name before the state is of any bytes.
pub(super) fn is_of_zombie(stat: &[u8]) -> bool {
    let after_name = stat.iter().rposition(|byte| *byte == b')').unwrap_or(0);
    matches!(stat.get(after_name + 2), Some(b'Z' | b'X'))
}

/// What this thread has had of a CPU.
pub(super) fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// No file has an interpreter that is mapped: either the process is not a Python, or its interpreter could not be found.
fn without_runtime(survey: &Survey, maps: &Maps) -> Result<Option<Interpreter>, Unresolved> {
    Err(match &maps.hints.cpython {
        _ if survey.is_cut => Unresolved::OverBudget,
        _ if !survey.runtimes.is_empty() => Unresolved::NotMapped,
        _ if maps.hints.is_other => Unresolved::OtherImplementation,
        // Whatever its name, the executable could hold an interpreter.
        None if survey.is_executable_unread => Unresolved::NotReadable,
        None if survey.needs_libpython => Unresolved::Starting,
        None => return Ok(None),
        Some(file) if file.version.is_some_and(|version| (version.major, version.minor) < (3, 7)) => Unresolved::UnsupportedVersion,
        Some(_) if survey.has_foreign => Unresolved::ForeignFileSystem,
        Some(file) if survey.needs_libpython && !file.is_libpython => Unresolved::Starting,
        Some(_) if survey.has_unread => Unresolved::NotReadable,
        Some(_) => Unresolved::NoSymbols,
    })
}

fn unreadable(error: impl Into<io::Error>) -> Unresolved {
    match error.into().raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Unresolved::Gone,
        _ => Unresolved::NotReadable,
    }
}

/// What a process has written: private memory that comes from no file, or from one that can be read without waiting for a user.
struct DataOf<'a> {
    /// `/proc/PID/mem`.
    file: File,
    maps: &'a Maps,
    process: &'a Process,
}

impl Memory for DataOf<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        let is_safe = |file: Option<Device>| file.is_none_or(|device| !self.process.is_foreign(device));
        let is_data = self.maps.is_data(address, buffer.len(), |mapping| is_safe(mapping.file.map(|file| file.device)));
        is_data.then(|| self.file.read_exact_at(buffer, address).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::process::{Child, Command, Stdio};

    use proptest::prelude::*;

    use super::*;
    use crate::capture::python::elf::Elf;

    /// As `/proc/PID/stat` has it.
    fn wait_for_state(child: &Child, state: char) {
        let process = procfs::process::Process::new(i32::try_from(child.id()).unwrap()).unwrap();
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
        let maps = Maps::read(File::open("/proc/self/maps").unwrap(), || false).unwrap();
        let libc = maps.code.iter().find(|code| code.path.ends_with(b"/libc.so.6")).expect("these tests run with glibc");
        let bytes = std::fs::read(OsStr::from_bytes(&libc.path)).unwrap();
        let elf = Elf::parse(bytes.as_slice()).unwrap();
        let variable = elf.symbol(NAME.to_str().unwrap()).unwrap();
        let segments = elf.segments_for(|segment| place::holds(segment, variable));
        let places = place::places(&segments, &maps.kept, libc.file, variable);
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
        let known = resolver.files.recent.len();
        assert_eq!(resolver.resolve(Tgid(child.id())), Ok(None));
        assert_eq!(resolver.files.recent.len(), known);
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
        std::fs::write(&file, "one").unwrap();
        let key = || examine(File::open(&file).unwrap()).unwrap().1;
        let before = key();
        // The change time has the granularity of a timer tick.
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&file, "two").unwrap();
        assert_ne!(key(), before);
    }

    #[test]
    fn files_without_end_are_forgotten_but_for_those_in_use() {
        let mut known = Known::default();
        let key = |inode: u64| (1, inode, 0, [0; 4]);
        known.add(key(0), Verdict::NeedsLibpython);
        for inode in 1..5 * FILES_KNOWN as u64 {
            known.add(key(inode), Verdict::Other);
            assert_eq!(known.get(&key(0)), Some(Verdict::NeedsLibpython));
        }
        assert!(known.recent.len() + known.earlier.len() <= 2 * FILES_KNOWN);
        assert_eq!(known.get(&key(1)), None);
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
