//! Looks up a few things in a 64-bit ELF file without reading more of it than they need.
//!
//! The file may be a gigabyte of machine-learning library, or hostile. So nothing is read whole: a symbol is
//! found through the hash table that the dynamic loader uses, a few bytes at a time, and every number is checked before use.
//! (The lookup in `object` wants the tables as one slice each, and its arithmetic trusts their headers.)

use std::cell::Cell;

use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, Pod, U32, U64, elf};

use super::file::Source;

type Header = elf::FileHeader64<Endianness>;
type Symbol = elf::Sym64<Endianness>;

/// A chain of the hash table holds a few entries; a longer one is hostile.
const CHAIN_ENTRIES_MAX: u32 = 4096;
/// The same for the table that the dynamic loader reads.
const DYNAMIC_ENTRIES_MAX: u64 = 4096;
const SECTIONS_MAX: u16 = 4096;
/// As many program headers as the kernel takes of a file that it executes, 64 KiB of them.
pub(super) const PROGRAM_HEADERS_MAX: u16 = 1170;
/// Parts that are loaded; linkers make four or five.
pub(super) const SEGMENTS_MAX: usize = 64;
/// Of those with code as many are remembered; linkers make one.
pub(super) const CODE_SEGMENTS_KEPT: usize = 8;
/// Longest name that is compared with the file's.
const NAME_BYTES_MAX: usize = 64;

/// A part of a file that is loaded into memory: a program header `PT_LOAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Its address by the file. The loader adds the same number, the bias, to all addresses.
    pub(crate) vaddr: u64,
    /// How much of it comes from the file.
    pub(crate) file_bytes: u64,
    /// How much memory it takes; what the file does not provide is zero.
    pub(crate) memory_bytes: u64,
    pub(crate) is_executable: bool,
}

/// A variable, at its address by the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(crate) vaddr: u64,
    pub(crate) bytes: u64,
}

/// Where the tables of the dynamic loader are, as file offsets.
#[derive(Clone, Copy, Debug, Default)]
struct Tables {
    gnu_hash: Option<u64>,
    sysv_hash: Option<u64>,
    symbols: Option<u64>,
    strings: Option<u64>,
}

pub(super) struct Elf<'data, S: Source + ?Sized> {
    data: &'data S,
    endian: Endianness,
    header: Header,
    segments: Vec<Segment>,
    tables: Tables,
    /// String offsets of the libraries that it asks for.
    needed: Vec<u64>,
    /// A number in the file was beyond its limit.
    is_cut: Cell<bool>,
}

impl<'data, S: Source + ?Sized> Elf<'data, S> {
    /// `None` unless it is a 64-bit ELF file.
    pub(super) fn parse(data: &'data S) -> Option<Self> {
        let header: Header = get(data, 0)?;
        if !header.is_supported() {
            return None;
        }
        let (endian, tables) = (header.endian().ok()?, Tables::default());
        let is_cut = Cell::new(false);
        let mut elf = Self { data, endian, header, segments: Vec::new(), tables, needed: Vec::new(), is_cut };
        elf.read_program_headers();
        Some(elf)
    }

    fn read_program_headers(&mut self) {
        let entry_bytes = size_of::<elf::ProgramHeader64<Endianness>>() as u64;
        // PN_XNUM says that the number is stored elsewhere. It is beyond the limit like all that are as large.
        let count = self.header.e_phnum(self.endian);
        if count > PROGRAM_HEADERS_MAX {
            self.is_cut.set(true);
            return;
        }
        let mut dynamic = None;
        for index in 0..count {
            let table = self.header.e_phoff(self.endian);
            let Some(header) = self.read::<elf::ProgramHeader64<Endianness>>(table, u64::from(index), entry_bytes) else { break };
            match header.p_type(self.endian) {
                elf::PT_LOAD if self.segments.len() == SEGMENTS_MAX => self.is_cut.set(true),
                elf::PT_LOAD => self.segments.push(Segment {
                    offset: header.p_offset(self.endian),
                    vaddr: header.p_vaddr(self.endian),
                    file_bytes: header.p_filesz(self.endian),
                    memory_bytes: header.p_memsz(self.endian),
                    is_executable: header.p_flags(self.endian) & elf::PF_X != 0,
                }),
                elf::PT_DYNAMIC if dynamic.is_none() => dynamic = Some(header),
                _ => {}
            }
        }
        if let Some(dynamic) = dynamic {
            self.read_dynamic(dynamic.p_offset(self.endian), dynamic.p_filesz(self.endian));
        }
    }

    fn read_dynamic(&mut self, offset: u64, bytes: u64) {
        let entry_bytes = size_of::<elf::Dyn64<Endianness>>() as u64;
        for index in 0..bytes / entry_bytes {
            if index == DYNAMIC_ENTRIES_MAX {
                self.is_cut.set(true);
                return;
            }
            let Some(entry) = self.read::<elf::Dyn64<Endianness>>(offset, index, entry_bytes) else { return };
            let value = entry.d_val(self.endian);
            match entry.d_tag(self.endian) {
                elf::DT_NULL => return,
                elf::DT_GNU_HASH => self.tables.gnu_hash = self.offset_of(value),
                elf::DT_HASH => self.tables.sysv_hash = self.offset_of(value),
                elf::DT_SYMTAB => self.tables.symbols = self.offset_of(value),
                elf::DT_STRTAB => self.tables.strings = self.offset_of(value),
                elf::DT_NEEDED => self.needed.push(value),
                _ => {}
            }
        }
    }

    /// What is needed to find a variable in memory again: the segment that holds it, and those with code.
    pub(super) fn segments_for(&self, holds: impl Fn(&Segment) -> bool) -> Vec<Segment> {
        let holder = self.segments.iter().find(|segment| holds(segment));
        let code = self.segments.iter().filter(|segment| segment.is_executable && Some(*segment) != holder);
        holder.into_iter().chain(code.take(CODE_SEGMENTS_KEPT)).copied().collect()
    }

    /// Whether a segment that was read is wanted.
    pub(super) fn has_segment(&self, is_wanted: impl Fn(&Segment) -> bool) -> bool {
        self.segments.iter().any(is_wanted)
    }

    /// Whether more was in the file than is looked at.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.get() || self.data.is_exhausted()
    }

    /// Whether it is an executable or a library, not an object file or a core dump.
    pub(super) fn is_loadable(&self) -> bool {
        matches!(self.header.e_type(self.endian), elf::ET_EXEC | elf::ET_DYN)
    }

    /// Whether it needs a library whose name has this prefix.
    pub(super) fn needs(&self, prefix: &str) -> bool {
        let Some(strings) = self.tables.strings else { return false };
        let begins_so = |offset: &u64| strings.checked_add(*offset).is_some_and(|offset| self.has(offset, prefix.as_bytes()));
        self.needed.iter().any(begins_so)
    }

    /// A symbol that the file exports.
    pub(super) fn symbol(&self, name: &str) -> Option<Variable> {
        let index = match (self.tables.gnu_hash, self.tables.sysv_hash) {
            (Some(table), _) => self.find_gnu(table, name)?,
            (None, Some(table)) => self.find_sysv(table, name)?,
            (None, None) => return None,
        };
        let symbol = self.read_symbol(index)?;
        Some(Variable { vaddr: symbol.st_value(self.endian), bytes: symbol.st_size(self.endian) })
    }

    /// A section, if the file still has its section headers.
    pub(super) fn section(&self, name: &str) -> Option<Variable> {
        let entry_bytes = size_of::<elf::SectionHeader64<Endianness>>() as u64;
        let (table, count) = (self.header.e_shoff(self.endian), self.header.e_shnum(self.endian));
        let names = self.header.e_shstrndx(self.endian);
        if table == 0 {
            return None;
        }
        // 0 says that the number is stored elsewhere, as does this index that the index of the names is.
        if count == 0 || count > SECTIONS_MAX || names == elf::SHN_XINDEX {
            self.is_cut.set(true);
            return None;
        }
        let header = |index: u16| self.read::<elf::SectionHeader64<Endianness>>(table, u64::from(index), entry_bytes);
        let names = header(names)?.sh_offset(self.endian);
        let is_named = |section: &elf::SectionHeader64<Endianness>| {
            names.checked_add(section.sh_name(self.endian).into()).is_some_and(|offset| self.is_string(offset, name))
        };
        let section = (0..count).map_while(header).find(is_named)?;
        Some(Variable { vaddr: section.sh_addr(self.endian), bytes: section.sh_size(self.endian) })
    }

    /// The first bytes of a variable, as the file has them.
    pub(super) fn bytes_at(&self, vaddr: u64) -> Option<[u8; 8]> {
        let mut bytes = [0; 8];
        self.data.fill(self.offset_of(vaddr)?, &mut bytes)?;
        Some(bytes)
    }

    /// A number of eight bytes, as the file has it.
    pub(super) fn u64_at(&self, vaddr: u64) -> Option<u64> {
        Some(get::<U64<Endianness>, _>(self.data, self.offset_of(vaddr)?)?.get(self.endian))
    }

    fn find_gnu(&self, table: u64, name: &str) -> Option<u32> {
        const WORD_BITS: u32 = u64::BITS;
        let header = self.read::<elf::GnuHashHeader<Endianness>>(table, 0, 0)?;
        let (bloom_count, bucket_count) = (header.bloom_count.get(self.endian), header.bucket_count.get(self.endian));
        let symbol_base = header.symbol_base.get(self.endian);
        let hash = elf::gnu_hash(name.as_bytes());

        // The bloom filter rules most files out in one read.
        let bloom = table.checked_add(size_of::<elf::GnuHashHeader<Endianness>>() as u64)?;
        let word = (hash / WORD_BITS) & bloom_count.checked_sub(1)?;
        let word = self.read::<U64<Endianness>>(bloom, u64::from(word), 8)?.get(self.endian);
        let second = hash.checked_shr(header.bloom_shift.get(self.endian))?;
        if word & (1 << (hash % WORD_BITS)) == 0 || word & (1 << (second % WORD_BITS)) == 0 {
            return None;
        }

        let buckets = bloom.checked_add(u64::from(bloom_count) * 8)?;
        let first = self.read_u32(buckets, hash.checked_rem(bucket_count)?)?;
        let chain = buckets.checked_add(u64::from(bucket_count) * 4)?;
        for index in first..first.saturating_add(CHAIN_ENTRIES_MAX) {
            // An empty bucket has 0, which is below the base.
            let entry = self.read_u32(chain, index.checked_sub(symbol_base)?)?;
            if entry | 1 == hash | 1 && self.defines(index, name) {
                return Some(index);
            }
            if entry & 1 != 0 {
                return None;
            }
        }
        self.is_cut.set(true);
        None
    }

    fn find_sysv(&self, table: u64, name: &str) -> Option<u32> {
        let bucket_count = self.read_u32(table, 0)?;
        let buckets = table.checked_add(8)?;
        let chain = buckets.checked_add(u64::from(bucket_count) * 4)?;
        let mut index = self.read_u32(buckets, elf::hash(name.as_bytes()).checked_rem(bucket_count)?)?;
        for _ in 0..CHAIN_ENTRIES_MAX {
            if index == 0 {
                return None;
            }
            if self.defines(index, name) {
                return Some(index);
            }
            index = self.read_u32(chain, index)?;
        }
        self.is_cut.set(true);
        None
    }

    fn defines(&self, index: u32, name: &str) -> bool {
        let named = |symbol: &Symbol| self.tables.strings?.checked_add(u64::from(symbol.st_name(self.endian)));
        self.read_symbol(index).is_some_and(|symbol| {
            symbol.st_shndx(self.endian) != elf::SHN_UNDEF && named(&symbol).is_some_and(|offset| self.is_string(offset, name))
        })
    }

    fn read_symbol(&self, index: u32) -> Option<Symbol> {
        self.read(self.tables.symbols?, u64::from(index), size_of::<Symbol>() as u64)
    }

    /// Whether the string at a file offset is exactly this one.
    fn is_string(&self, offset: u64, string: &str) -> bool {
        let end = offset.checked_add(string.len() as u64);
        self.has(offset, string.as_bytes()) && end.is_some_and(|end| self.has(end, &[0]))
    }

    /// Whether these bytes are at a file offset.
    fn has(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut found = [0; NAME_BYTES_MAX];
        let Some(found) = found.get_mut(..bytes.len()) else { return false };
        self.data.fill(offset, found).is_some() && found == bytes
    }

    fn read_u32(&self, table: u64, index: u32) -> Option<u32> {
        Some(self.read::<U32<Endianness>>(table, u64::from(index), 4)?.get(self.endian))
    }

    fn read<T: Pod>(&self, table: u64, index: u64, stride: u64) -> Option<T> {
        get(self.data, table.checked_add(index.checked_mul(stride)?)?)
    }

    fn offset_of(&self, vaddr: u64) -> Option<u64> {
        let within = |segment: &Segment| vaddr.checked_sub(segment.vaddr).filter(|into| *into < segment.file_bytes);
        self.segments.iter().find_map(|segment| segment.offset.checked_add(within(segment)?))
    }
}

fn get<T: Pod, S: Source + ?Sized>(data: &S, offset: u64) -> Option<T> {
    /// No structure that is read is larger than these two.
    const BYTES_MAX: usize = size_of::<Header>();
    const { assert!(size_of::<elf::SectionHeader64<Endianness>>() <= BYTES_MAX) };
    let mut bytes = [0; BYTES_MAX];
    let bytes = bytes.get_mut(..size_of::<T>())?;
    data.fill(offset, bytes)?;
    object::pod::from_bytes(bytes).ok().map(|(value, _)| *value)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::sync::LazyLock;

    use super::*;

    /// A small program with everything that is read: hash table, symbols, libraries, sections.
    pub(in super::super) static PROGRAM: LazyLock<Vec<u8>> = LazyLock::new(|| fs::read("/bin/true").unwrap());

    fn libc_path() -> String {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("/libc.so.6")).expect("these tests run with glibc");
        line[line.find('/').unwrap()..].to_owned()
    }

    #[test]
    fn finds_every_function_that_the_dynamic_loader_finds() {
        let libc = fs::read(libc_path()).unwrap();
        let elf = Elf::parse(libc.as_slice()).unwrap();
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
}
