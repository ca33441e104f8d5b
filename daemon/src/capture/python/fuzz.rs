//! What must hold when a stranger's files, mappings and mounts are read, whatever they contain. See [`crate::fuzz`].

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::Endianness;
use object::elf::{FileHeader64, PF_X, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use procfs::FromBufRead;
use procfs::process::{MMPermissions, MemoryMap, MemoryMaps, MountInfo};
use schedscope_ebpf::gil::AddressRange;

use super::elf::{CODE_SEGMENTS_KEPT, Elf, PROGRAM_HEADERS_MAX, SEGMENTS_MAX, Segment, Variable};
use super::file::{BLOCKS_MAX, PIECES_MAX, Pieces, Source};
use super::gil::{INTERPRETERS_MAX, Memory, SWITCH_INTERVAL_US_MAX, read_gils};
use super::image::{self, Image, Verdict};
use super::maps::{self, FILES_MAX, KEPT_MAX, MappedFile, Mapping, Maps};
use super::mounts::{self, Mounts};
use super::place;
use super::resolve::is_of_zombie;
use crate::fuzz::{Numbers, repeated, repetition};

/// Lines compared with another parser's reading of them.
const LINES_COMPARED: usize = 200;

/// A file of some bytes, repeated as often as a first line like `*1000` says: tables that go on for ever need few bytes. It counts the
/// readings of it, and takes as long as any.
struct Bytes<'a> {
    pattern: &'a [u8],
    length: u64,
    readings: Cell<u32>,
}

impl<'a> Bytes<'a> {
    fn of(data: &'a [u8]) -> Bytes<'a> {
        let (times, pattern) = repetition(data);
        Bytes { pattern, length: pattern.len() as u64 * u64::from(times), readings: Cell::new(0) }
    }
}

impl FileExt for Bytes<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.readings.set(self.readings.get() + 1);
        let ahead = (offset..self.length).map(|at| self.pattern[usize::try_from(at % self.pattern.len() as u64).unwrap_or(0)]);
        Ok(buffer.iter_mut().zip(ahead).map(|(place, byte)| *place = byte).count())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Without a limit.
impl Source for Bytes<'_> {
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        self.read_exact_at(buffer, offset).ok()
    }
}

/// As memory, it goes on for ever.
impl Memory for Bytes<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        (self.length > 0).then(|| self.fill(address % self.length, buffer))?
    }
}

/// Counts the pieces that were granted.
struct Counted<S>(S, Cell<u32>);

impl<S: Source> Source for Counted<S> {
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        self.0.fill(offset, buffer).inspect(|()| self.1.set(self.1.get() + 1))
    }

    fn is_exhausted(&self) -> bool {
        self.0.is_exhausted()
    }
}

/// Reads a file, and the GILs from memory that is filled with it. What is read stays within the limits, and is what another reader of
/// the format, or one without limits, sees.
pub(crate) fn elf(data: &[u8]) {
    let file = Bytes::of(data);
    let pieces = Counted(Pieces::of(&file), Cell::new(0));
    let verdict = image::read(&pieces);
    assert!(pieces.1.get() <= PIECES_MAX && file.readings.get() <= BLOCKS_MAX);
    if pieces.is_exhausted() {
        assert_ne!(verdict, Verdict::Other, "there is more in it than was read");
    } else {
        assert_eq!(verdict, image::read(&file));
    }
    if let Verdict::Python(image) = verdict {
        check_image(&image, &file);
    }
    check_segments(data);
}

fn check_image(image: &Image, memory: &Bytes<'_>) {
    assert!(image.runtime.bytes > 0 && image.segments.len() <= 1 + CODE_SEGMENTS_KEPT);
    assert!(image.version.is_none_or(|version| version.major == 3 && version.minor >= 7));
    let gils = read_gils(image, AddressRange::new(image.runtime.vaddr, image.runtime.bytes), memory);
    assert!(gils.len() <= INTERPRETERS_MAX && gils.is_sorted_by_key(|gil| gil.interpreter));
    assert!(gils.iter().all(|gil| gil.switch_interval_us <= SWITCH_INTERVAL_US_MAX));
    assert_eq!(gils.iter().map(|gil| gil.range.start).collect::<HashSet<_>>().len(), gils.len(), "each once");
}

/// The segments with code are those that the library `object` sees.
fn check_segments(data: &[u8]) {
    let Ok(header) = FileHeader64::<Endianness>::parse(data) else { return };
    let Some((endian, headers)) =
        header.endian().ok().and_then(|endian| Some((endian, header.program_headers(endian, data).ok()?)))
    else {
        return;
    };
    if headers.len() > PROGRAM_HEADERS_MAX.into() {
        return;
    }
    let loaded = headers.iter().filter(|header| header.p_type(endian) == PT_LOAD).take(SEGMENTS_MAX);
    let code = loaded.filter(|header| header.p_flags(endian) & PF_X != 0).take(CODE_SEGMENTS_KEPT);
    let code: Vec<Segment> = code
        .map(|header| Segment {
            offset: header.p_offset(endian),
            vaddr: header.p_vaddr(endian),
            file_bytes: header.p_filesz(endian),
            memory_bytes: header.p_memsz(endian),
            is_executable: true,
        })
        .collect();
    let file = Bytes::of(data);
    let ours = Elf::parse(&file).map(|elf| elf.segments_for(|_| false));
    assert!(ours.is_none_or(|ours| ours == code));
}

/// Places a variable among segments and mappings: in a small world as a search of every address does, and anywhere without failing.
pub(crate) fn places(data: &[u8]) {
    let mut numbers = Numbers(data);
    let (segments, maps, variable) = small_world(&mut numbers);
    let found = place::places(&segments, &maps, LIBRARY, variable);
    let mut starts: Vec<u64> = found.iter().map(|place| place.start).collect();
    starts.sort_unstable();
    assert_eq!(starts, searched(&segments, &maps, variable), "{segments:?} {maps:?} {variable:?}");
    assert!(found.iter().all(|place| place.end - place.start == variable.bytes));

    let mut numbers = Numbers(data);
    let wild = |numbers: &mut Numbers<'_>, count: u8| -> Vec<[u64; 4]> {
        (0..count).map(|_| std::array::from_fn(|_| numbers.word())).collect()
    };
    let (count, variable) = (numbers.byte(), Variable { vaddr: numbers.word(), bytes: numbers.word() });
    let segments: Vec<Segment> = wild(&mut numbers, count % 70)
        .into_iter()
        .map(|[offset, vaddr, file_bytes, memory_bytes]| Segment {
            offset,
            vaddr,
            file_bytes,
            memory_bytes,
            is_executable: offset.is_multiple_of(2),
        })
        .collect();
    let count = numbers.byte();
    let maps: Vec<Mapping> = wild(&mut numbers, count)
        .into_iter()
        .map(|[start, end, offset, kind]| Mapping {
            start,
            end,
            offset,
            file: (kind & 4 != 0).then_some(LIBRARY),
            is_executable: kind & 1 != 0,
            is_data: kind & 2 != 0,
        })
        .collect();
    place::places(&segments, &maps, LIBRARY, variable);
}

const LIBRARY: MappedFile = MappedFile { device: (8, 1), inode: 1 };
const OTHER: MappedFile = MappedFile { device: (8, 1), inode: 2 };

/// With numbers so small that every address can be tried, and mappings in order and apart, as the kernel's are.
fn small_world(numbers: &mut Numbers<'_>) -> (Vec<Segment>, Vec<Mapping>, Variable) {
    let mut below = |most: u8| u64::from(numbers.byte() % most);
    let segment = |below: &mut dyn FnMut(u8) -> u64| Segment {
        offset: below(32),
        vaddr: below(48),
        file_bytes: below(24),
        memory_bytes: below(32),
        is_executable: below(2) == 1,
    };
    let segments = (0..below(5)).map(|_| segment(&mut below)).collect();
    let variable = Variable { vaddr: below(64), bytes: below(24) };
    let mut reached = 0;
    let mapping = |below: &mut dyn FnMut(u8) -> u64, reached: &mut u64| {
        let start = *reached + below(6);
        *reached = start + 1 + below(24);
        Mapping {
            start,
            end: *reached,
            offset: below(48),
            file: [None, Some(OTHER), Some(LIBRARY), Some(LIBRARY)][usize::try_from(below(4)).unwrap_or(0)],
            is_executable: below(2) == 1,
            is_data: below(2) == 1,
        }
    };
    let maps = (0..below(40)).map(|_| mapping(&mut below, &mut reached)).collect();
    (segments, maps, variable)
}

/// Where the variable is, by trying every bias and every address.
fn searched(segments: &[Segment], maps: &[Mapping], variable: Variable) -> Vec<u64> {
    let within = |range: Range<u64>, at: u64| range.contains(&at);
    let holds = |s: &&Segment| {
        variable.bytes > 0 && variable.vaddr >= s.vaddr && variable.vaddr + variable.bytes <= s.vaddr + s.memory_bytes
    };
    let Some(home) = segments.iter().find(holds) else { return Vec::new() };
    let is_loaded = |bias: i64| {
        maps.iter().filter(|map| map.file == Some(LIBRARY) && map.is_executable).any(|map| {
            segments.iter().filter(|segment| segment.is_executable).any(|segment| {
                let mut shared = map.offset..map.offset + map.end - map.start;
                let of_file = map.start.cast_signed() - map.offset.cast_signed();
                of_file == segment.vaddr.cast_signed() + bias - segment.offset.cast_signed()
                    && shared.any(|at| within(segment.offset..segment.offset + segment.file_bytes, at))
            })
        })
    };
    let is_data = |bias: i64| {
        (variable.vaddr..variable.vaddr + variable.bytes).all(|vaddr| {
            let Ok(address) = u64::try_from(vaddr.cast_signed() + bias) else { return false };
            let in_file = vaddr.cast_signed() - home.vaddr.cast_signed() + home.offset.cast_signed();
            maps.iter().filter(|map| within(map.start..map.end, address)).any(|map| {
                let mapped = (map.offset + address - map.start).cast_signed();
                map.is_data && map.file.is_none_or(|file| file == LIBRARY && mapped == in_file)
            })
        })
    };
    let last = maps.last().map_or(0, |map| map.end).cast_signed();
    let biases = (-128..=last + 64).filter(|bias| is_loaded(*bias) && is_data(*bias));
    biases.map(|bias| (variable.vaddr.cast_signed() + bias).cast_unsigned()).collect()
}

/// Reads the mappings of a process. What is kept stays within the limits, and says what another parser reads.
pub(crate) fn mappings(data: &[u8]) {
    let text = repeated(data, maps::BYTES_MAX + 1);
    let Ok(read) = Maps::read(text.as_slice(), || false) else { panic!("memory can be read") };
    assert!(read.kept.len() <= KEPT_MAX && read.code.len() <= FILES_MAX);
    assert!(read.is_cut || text.len() as u64 <= maps::BYTES_MAX);
    assert!(read.code.iter().map(|code| code.path.len() as u64).sum::<u64>() <= maps::BYTES_MAX);
    assert_eq!(read.code.iter().map(|code| code.file).collect::<HashSet<_>>().len(), read.code.len(), "each file once");
    assert!(read.kept.iter().all(|map| map.is_data || map.is_executable && map.file.is_some()));
    for line in text.split_inclusive(|byte| *byte == b'\n').take(LINES_COMPARED) {
        let (Ok(theirs), Ok(ours)) = (MemoryMaps::from_buf_read(line), Maps::read(line, || false)) else { continue };
        let [theirs] = theirs.0.as_slice() else { continue };
        // Of what the kernel never writes, every parser may make what it likes.
        if !line.starts_with(as_the_kernel_writes(theirs).as_bytes()) {
            continue;
        }
        let file = MappedFile { device: (theirs.dev.0.cast_unsigned(), theirs.dev.1.cast_unsigned()), inode: theirs.inode };
        let theirs = Mapping {
            start: theirs.address.0,
            end: theirs.address.1,
            offset: theirs.offset,
            file: (theirs.inode != 0).then_some(file),
            is_executable: theirs.perms.contains(MMPermissions::EXECUTE),
            is_data: theirs.perms.contains(MMPermissions::WRITE | MMPermissions::PRIVATE),
        };
        let is_kept = theirs.is_data || theirs.is_executable && theirs.file.is_some();
        assert_eq!(ours.kept, if is_kept { vec![theirs] } else { Vec::new() });
    }
}

/// A line of `/proc/PID/maps` up to the inode (`show_vma_header_prefix` in the kernel's `fs/proc/task_mmu.c`).
fn as_the_kernel_writes(map: &MemoryMap) -> String {
    let permission = |bit, letter, none| if map.perms.contains(bit) { letter } else { none };
    let permissions: String = [
        permission(MMPermissions::READ, 'r', '-'),
        permission(MMPermissions::WRITE, 'w', '-'),
        permission(MMPermissions::EXECUTE, 'x', '-'),
        permission(MMPermissions::SHARED, 's', 'p'),
    ]
    .into_iter()
    .collect();
    let ((start, end), (major, minor)) = (map.address, map.dev);
    format!("{start:08x}-{end:08x} {permissions} {:08x} {major:02x}:{minor:02x} {} ", map.offset, map.inode)
}

/// Reads a table of mounts. No more is read than the limit, nothing takes a file system of a user's off the list, and they are those
/// that another parser sees.
pub(crate) fn mounts(data: &[u8]) {
    let text = repeated(data, mounts::BYTES_MAX + 1);
    let mut left = text.as_slice();
    let mut mounts = Mounts::default();
    mounts.add(left.by_ref());
    assert!((text.len() - left.len()) as u64 <= mounts::BYTES_MAX);

    let mut foreign = BTreeMap::new();
    let lines: Vec<&str> =
        text[..text.len() - left.len()].split(|byte| *byte == b'\n').map_while(|line| str::from_utf8(line).ok()).collect();
    let mut is_understood = left.is_empty();
    for line in lines.iter().take(LINES_COMPARED).filter(|line| !line.is_empty()) {
        let parsed = MountInfo::from_line(line).ok().filter(|_| line.split(' ').eq(line.split_whitespace()));
        let device = parsed
            .as_ref()
            .and_then(|mount| mount.majmin.split_once(':'))
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let Some((mount, device)) = parsed.zip(device) else {
            is_understood = false;
            continue;
        };
        *foreign.entry(device).or_insert(false) |= mount.fs_type == "fuse" || mount.fs_type.starts_with("fuse.");
    }
    is_understood &= lines.len() <= LINES_COMPARED && lines.concat().len() + lines.len() > text.len();
    for (device, is_foreign) in foreign {
        let expected = is_foreign && Mounts::has_no_device(device);
        assert!(mounts.is_foreign(device) == expected || !is_understood && mounts.is_foreign(device), "{device:?}");
    }
    assert!(mounts.is_foreign((0, u32::MAX)) || text.contains(&b'-'), "one that is not in the table");
}

/// As [`is_of_zombie`], for texts of [`crate::fuzz`].
pub(crate) fn has_ended(stat: &[u8]) -> bool {
    is_of_zombie(stat)
}
