//! `/proc/PID/maps`, read as a stream: of the mappings only those are kept in which an interpreter can be. Pure, given a reader.
//!
//! Names are bytes: a file may have any.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

use super::names::{Hints, file_name};

/// Bytes read of one process's maps. 65,530 mappings, as many as a process has unless the host allows more, take 6 MB.
pub(super) const BYTES_MAX: u64 = 8 << 20;
/// Mappings kept of one process.
pub(super) const KEPT_MAX: usize = 65_536;
/// Files with code kept of one process.
pub(super) const FILES_MAX: usize = 4096;

/// Device numbers and inode, as the maps show them: only good for telling which mappings belong to the same file, and for finding the
/// file system among the mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MappedFile {
    pub(super) device: Device,
    pub(super) inode: u64,
}

/// Major and minor number.
pub(super) type Device = (u32, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// `None` for memory without one.
    pub(super) file: Option<MappedFile>,
    pub(super) is_executable: bool,
    /// Writable, and what is written stays in the process.
    pub(super) is_data: bool,
}

/// A file that is mapped to be executed.
#[derive(Debug)]
pub(super) struct CodeFile {
    pub(super) file: MappedFile,
    /// As the process names it.
    pub(super) path: Vec<u8>,
    /// Its first mapping to be executed.
    pub(super) first: (u64, u64),
}

/// What the maps of a process say.
#[derive(Debug, Default)]
pub(super) struct Maps {
    /// Those with data, and those with code of a file, in the order of their addresses.
    pub(super) kept: Vec<Mapping>,
    /// Each file once, in the order of their addresses.
    pub(super) code: Vec<CodeFile>,
    /// From the names of all files.
    pub(super) hints: Hints,
    /// There is more than is looked at.
    pub(super) is_cut: bool,
}

impl Maps {
    /// Reads until the end, or until a limit is reached, or until it `is_enough`.
    pub(super) fn read(maps: impl Read, is_enough: impl Fn() -> bool) -> io::Result<Self> {
        const ASKED_EVERY: u32 = 64;
        let mut lines = BufReader::with_capacity(64 << 10, maps.take(BYTES_MAX));
        let (mut read, mut seen) = (Maps::default(), HashSet::new());
        let (mut line, mut count) = (Vec::new(), 0_u32);
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            count += 1;
            if count.is_multiple_of(ASKED_EVERY) && is_enough() {
                read.is_cut = true;
                break;
            }
            if let Some((mapping, path)) = parse(line.trim_ascii_end()) {
                read.add(mapping, path, &mut seen);
            }
        }
        read.is_cut |= lines.get_ref().limit() == 0;
        Ok(read)
    }

    fn add(&mut self, mapping: Mapping, path: &[u8], seen: &mut HashSet<MappedFile>) {
        if mapping.file.is_some() {
            self.hints.mapped(file_name(path));
        }
        let code_of = mapping.file.filter(|_| mapping.is_executable);
        if !mapping.is_data && code_of.is_none() {
            return;
        }
        if self.kept.len() == KEPT_MAX {
            self.is_cut = true;
            return;
        }
        self.kept.push(mapping);
        let Some(file) = code_of.filter(|file| !seen.contains(file)) else { return };
        if seen.len() == FILES_MAX {
            self.is_cut = true;
            return;
        }
        seen.insert(file);
        self.code.push(CodeFile { file, path: path.to_owned(), first: (mapping.start, mapping.end) });
    }

    /// Whether all of this memory is data of the process for which `is_wanted` holds.
    pub(super) fn is_data(&self, start: u64, bytes: usize, is_wanted: impl Fn(&Mapping) -> bool) -> bool {
        let Some(end) = start.checked_add(bytes as u64) else { return false };
        let mut reached = start;
        for mapping in from(&self.kept, start) {
            if mapping.start > reached || !mapping.is_data || !is_wanted(mapping) {
                return false;
            }
            reached = mapping.end;
            if reached >= end {
                return true;
            }
        }
        false
    }
}

/// The mappings that end after an address, of some in the order of their addresses.
pub(super) fn from(mappings: &[Mapping], address: u64) -> &[Mapping] {
    &mappings[mappings.partition_point(|mapping| mapping.end <= address)..]
}

/// One line without its end: the mapping and its path, as `55d0e000-55d10000 r-xp 00001000 08:01 1234      /usr/bin/cat`.
fn parse(line: &[u8]) -> Option<(Mapping, &[u8])> {
    let mut rest = line;
    let (start, end) = word(&mut rest)?.split_once('-')?;
    let permissions = word(&mut rest)?.as_bytes();
    let offset = hex(word(&mut rest)?)?;
    let (major, minor) = word(&mut rest)?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = word(&mut rest)?.parse().ok()?;
    let mapping = Mapping {
        start: hex(start)?,
        end: hex(end)?,
        offset,
        file: (inode != 0).then_some(MappedFile { device, inode }),
        is_executable: permissions.contains(&b'x'),
        is_data: permissions.contains(&b'w') && permissions.contains(&b'p'),
    };
    Some((mapping, rest.trim_ascii_start()))
}

/// Takes the bytes up to the next space.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after.get(1..).unwrap_or_default();
    str::from_utf8(word).ok()
}

fn hex(number: &str) -> Option<u64> {
    u64::from_str_radix(number, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::repeat;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Maps {
        Maps::read(text, || false).unwrap()
    }

    #[test]
    fn code_of_files_and_private_data_are_kept_with_names_of_any_bytes() {
        let maps = read(
            b"00400000-00401000 r--p 00000000 fe:01 77                  /opt/caf\xe9 (deleted)\n\
              00401000-00405000 r-xp 00001000 fe:01 77                  /opt/caf\xe9 (deleted)\n\
              00405000-00406000 rw-p 00005000 fe:01 77                  /opt/caf\xe9 (deleted)\n\
              00406000-00407000 rw-p 00000000 00:00 0 \n\
              7f0000000000-7f0000001000 rw-s 00000000 00:05 9           /dev/shm/python3.11\n\
              7fff00000000-7fff00001000 r-xp 00000000 00:00 0           [vdso]\n\
              ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0   [vsyscall]\n",
        );
        let file = Some(MappedFile { device: (0xfe, 1), inode: 77 });
        let code = Mapping { start: 0x40_1000, end: 0x40_5000, offset: 0x1000, file, is_executable: true, is_data: false };
        let data = Mapping { start: 0x40_5000, end: 0x40_6000, offset: 0x5000, file, is_executable: false, is_data: true };
        let heap = Mapping { start: 0x40_6000, end: 0x40_7000, offset: 0, file: None, ..data };
        assert_eq!(maps.kept, [code, data, heap]);
        assert_eq!(maps.code.len(), 1);
        assert_eq!((maps.code[0].path.as_slice(), maps.code[0].first), (&b"/opt/caf\xe9 (deleted)"[..], (0x40_1000, 0x40_5000)));
        assert!(!maps.is_cut);
        assert!(maps.is_data(0x40_5ff8, 16, |_| true) && !maps.is_data(0x40_4ff8, 16, |_| true));
        assert!(!maps.is_data(0x40_5ff8, 16, |mapping| mapping.file.is_none()) && !maps.is_data(u64::MAX, 16, |_| true));
    }

    #[test]
    fn what_the_kernel_says_of_this_process_is_understood() {
        let own = std::fs::read("/proc/self/maps").unwrap();
        assert!(
            own.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).all(|line| parse(line.trim_ascii_end()).is_some())
        );
        let here = std::ptr::from_ref(&own).addr() as u64;
        assert!(read(&own).is_data(here, 8, |mapping| mapping.file.is_none()), "this stack is data without a file");
    }

    #[test]
    fn no_number_of_mappings_and_no_length_of_names_takes_more_than_the_limits() {
        let mut many = Vec::new();
        for index in 0..70_000_u64 {
            let (start, end) = (index << 12, (index + 1) << 12);
            many.extend(format!("{start:x}-{end:x} rwxp 0 8:1 {} /f\n", index + 1).into_bytes());
        }
        let maps = read(&many);
        assert_eq!((maps.kept.len(), maps.code.len(), maps.is_cut), (KEPT_MAX, FILES_MAX, true));
        let mut long = Vec::new();
        for index in 0..20_000_u64 {
            long.extend(format!("{index:x}000-{index:x}fff r-xp 0 8:1 {} /", index + 1).into_bytes());
            long.extend([b'a'; 4000]);
            long.push(b'\n');
        }
        let maps = read(&long);
        assert!(maps.is_cut && maps.code.iter().map(|code| code.path.len() as u64).sum::<u64>() <= BYTES_MAX);
        assert!(read(b"").kept.is_empty());
        // Without an end, and without a line.
        assert!(Maps::read(repeat(b'a'), || false).unwrap().is_cut);
    }

    #[test]
    fn reading_ends_when_it_has_taken_too_long() {
        let lines = b"1000-2000 rw-p 0 0:0 0\n".repeat(10_000);
        let asked = Cell::new(0);
        let maps = Maps::read(lines.as_slice(), || asked.replace(asked.get() + 1) == 3).unwrap();
        assert!(maps.is_cut && maps.kept.len() < 500);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail(text in prop::collection::vec(any::<u8>(), 0..200), line in "[0-9a-f:\\- rwxp/]{0,80}") {
            read(&text);
            let maps = read(line.as_bytes());
            maps.is_data(u64::MAX - 3, 8, |_| true);
        }
    }
}
