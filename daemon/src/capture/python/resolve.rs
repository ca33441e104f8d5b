//! A process to its interpreter: what `/proc` and files say.

use std::{
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

use super::{
    AddressRange, Interpreter, Unresolved,
    gil::{Memory, read_gils},
    image::{self, Image, Verdict},
    names::Hints,
    place::{self, MappedFile, Mapping},
};
use crate::capture::snapshot::Tgid;

/// Files remembered. A host has a few thousand different libraries and executables.
const FILES_MAX: usize = 8192;

/// A file's contents as long as it is not changed: an inode number is only used again with another change time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileKey {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileKey {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What a file was found to be; shared, because all processes that map it have the same.
#[derive(Clone, Debug)]
enum Known {
    Python(Arc<Image>),
    NeedsLibpython,
    Other,
}

/// Finds the interpreters of processes. Remembers files, never processes, so it need not be told that one ended.
///
/// A file may be on a file system that does not answer; call it from a thread that may wait.
#[derive(Debug, Default)]
pub struct Resolver {
    files: HashMap<FileKey, Known>,
}

/// A file of a process that is not what was looked for, and may hide it.
struct Unread {
    path: String,
    why: String,
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
    unread: Vec<Unread>,
}

impl Resolver {
    /// Which CPython a process runs; `None` if it is none. A library that it loads later can still bring one.
    pub fn resolve(&mut self, tgid: Tgid) -> Result<Option<Interpreter>, Unresolved> {
        let process = open(tgid)?;
        let maps = process.maps().map_err(|error| unreadable(&error, format!("/proc/{}/maps", tgid.0)))?.0;
        let executable = process.exe().ok();
        let survey = self.survey(&process, &maps, executable.as_deref());
        if survey.runtimes.is_empty() {
            // Of a process that ended meanwhile the files could not be opened.
            let stat = process.stat().map_err(|error| unreadable(&error, format!("/proc/{}/stat", tgid.0)))?;
            if stat.state == 'Z' {
                return Err(Unresolved::Gone);
            }
        }
        let executable = executable.as_deref().and_then(Path::to_str);
        let hints = Hints::collect(executable, maps.iter().filter_map(path));
        let Some((first, runtime)) = first_runtime(&survey)? else { return none(survey, hints, executable) };
        if hints.is_musl {
            return Err(Unresolved::WaitsOnStack);
        }
        let all = survey.runtimes.iter().flat_map(|found| found.places.iter().copied());
        let memory = ProcessMemory::open(&process);
        Ok(Some(Interpreter {
            version: first.image.version,
            kind: first.image.kind(),
            runtime,
            gils: memory.map(|memory| read_gils(&first.image, runtime, &memory)).unwrap_or_default(),
            object: PathBuf::from(&first.object),
            found: first.image.found,
            further_runtimes: all.filter(|place| *place != runtime).collect(),
        }))
    }

    /// Looks at every file that the process maps to execute, the executable first.
    fn survey(&mut self, process: &Process, maps: &[MemoryMap], executable: Option<&Path>) -> Survey {
        let mappings: Vec<Mapping> = maps.iter().map(mapping).collect();
        let is_executable = |map: &&MemoryMap| matches!(&map.pathname, MMapPath::Path(path) if Some(path.as_path()) == executable);
        let code = || maps.iter().filter(|map| map.perms.contains(MMPermissions::EXECUTE) && map.inode != 0);
        let mut survey = Survey::default();
        let mut seen: Vec<MappedFile> = Vec::new();
        for map in code().filter(is_executable).chain(code()) {
            let file = (map.dev, map.inode);
            if seen.contains(&file) {
                continue;
            }
            seen.push(file);
            let path = path(map).unwrap_or_default();
            match self.identify(process, map) {
                Ok(Known::Python(image)) => {
                    let (vaddr, bytes) = (image.runtime_vaddr, image.runtime_bytes);
                    let places = place::places(&image.segments, &mappings, file, vaddr, bytes);
                    survey.runtimes.push(Runtime { image, object: path.to_owned(), places });
                }
                Ok(Known::NeedsLibpython) => survey.needs_libpython = true,
                Ok(Known::Other) => {}
                Err(error) => survey.unread.push(Unread { path: path.to_owned(), why: error.to_string() }),
            }
        }
        survey
    }

    fn identify(&mut self, process: &Process, map: &MemoryMap) -> io::Result<Known> {
        let (path, metadata) = reach(process, map)?;
        // A device or a pipe must not even be opened.
        if !metadata.is_file() {
            return Ok(Known::Other);
        }
        let key = FileKey::of(&metadata);
        if let Some(known) = self.files.get(&key) {
            return Ok(known.clone());
        }
        let file = File::open(path)?;
        // What is remembered must be of the file that was read.
        let key = FileKey::of(&file.metadata()?);
        let known = match image::read(&ReadCache::new(file)) {
            Verdict::Python(image) => Known::Python(Arc::new(image)),
            Verdict::NeedsLibpython => Known::NeedsLibpython,
            Verdict::Other => Known::Other,
        };
        if self.files.len() >= FILES_MAX {
            self.files.clear();
        }
        self.files.insert(key, known.clone());
        Ok(known)
    }
}

/// The file that is mapped, as a path to open. The link in `map_files` leads to it wherever it was mounted, and even if it was
/// removed; without the right to follow it, the path is tried as the process sees it, then as we do: of a process that changed its
/// root directory `/proc/PID/maps` shows our view.
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

/// The runtime that the process uses: that of the executable, else of the file mapped first. If both define it the dynamic loader
/// binds all to the executable's.
fn first_runtime(survey: &Survey) -> Result<Option<(&Runtime, AddressRange)>, Unresolved> {
    let mapped = survey.runtimes.iter().find_map(|runtime| Some((runtime, *runtime.places.first()?)));
    match (mapped, survey.runtimes.first()) {
        (Some(first), _) => Ok(Some(first)),
        (None, Some(unmapped)) => Err(Unresolved::NotMapped { object: unmapped.object.clone() }),
        (None, None) => Ok(None),
    }
}

/// No file has an interpreter: is it no Python, or could it only not be found?
fn none(survey: Survey, hints: Hints, executable: Option<&str>) -> Result<Option<Interpreter>, Unresolved> {
    if let Some(name) = hints.other {
        return Err(Unresolved::OtherImplementation(name));
    }
    let Some(file) = hints.cpython else {
        // Whatever its name, the executable could hold an interpreter.
        let unread = survey.unread.into_iter().find(|unread| Some(unread.path.as_str()) == executable);
        return match unread {
            Some(unread) => Err(Unresolved::NotReadable { what: unread.path, why: unread.why }),
            None if survey.needs_libpython => Err(Unresolved::Starting),
            None => Ok(None),
        };
    };
    if let Some(version) = file.version.filter(|version| (version.major, version.minor) < (3, 7)) {
        return Err(Unresolved::UnsupportedVersion(version));
    }
    if survey.needs_libpython && !file.name.starts_with("libpython") {
        return Err(Unresolved::Starting);
    }
    match survey.unread.into_iter().next() {
        Some(unread) => Err(Unresolved::NotReadable { what: unread.path, why: unread.why }),
        None => Err(Unresolved::NoSymbols { object: file.name }),
    }
}

fn path(map: &MemoryMap) -> Option<&str> {
    let MMapPath::Path(path) = &map.pathname else { return None };
    path.to_str()
}

fn mapping(map: &MemoryMap) -> Mapping {
    Mapping {
        range: AddressRange { start: map.address.0, end: map.address.1 },
        offset: map.offset,
        file: (map.inode != 0).then_some((map.dev, map.inode)),
        is_private_writable: map.perms.contains(MMPermissions::WRITE | MMPermissions::PRIVATE),
        is_executable: map.perms.contains(MMPermissions::EXECUTE),
    }
}

fn open(tgid: Tgid) -> Result<Process, Unresolved> {
    let pid = i32::try_from(tgid.0).map_err(|_| Unresolved::Gone)?;
    Process::new(pid).map_err(|error| unreadable(&error, format!("/proc/{pid}")))
}

fn unreadable(error: &ProcError, what: String) -> Unresolved {
    match error {
        ProcError::NotFound(_) => Unresolved::Gone,
        ProcError::Io(error, _) if error.raw_os_error() == Some(libc::ESRCH) => Unresolved::Gone,
        error => Unresolved::NotReadable { what, why: error.to_string() },
    }
}

/// The memory of a process.
struct ProcessMemory(File);

impl ProcessMemory {
    fn open(process: &Process) -> Option<Self> {
        process.mem().ok().map(Self)
    }
}

impl Memory for ProcessMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        self.0.read_exact_at(buffer, address).ok()
    }
}

#[cfg(test)]
mod tests;
