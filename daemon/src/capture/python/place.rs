//! Where a file's variable is in the memory of a process. Pure.

use procfs::process::{MMPermissions, MemoryMap};
use schedscope_ebpf::gil::AddressRange;

use super::elf::{Segment, Variable};

/// Device and inode, as `/proc/PID/maps` shows them: only good for telling which mappings belong to the same file.
pub(super) type MappedFile = ((i32, i32), u64);

/// The file of a mapping; `None` for memory without one.
pub(super) fn file_of(map: &MemoryMap) -> Option<MappedFile> {
    (map.inode != 0).then_some((map.dev, map.inode))
}

/// Where a variable of a file is, once for each time the file is loaded; empty if the mappings do not fit the file.
///
/// `maps` are in the order of their addresses. A file can be mapped without being loaded, by a debugger for instance. So a place counts
/// only if all of it is writable and comes from the right part of the file or from none, and if there is code at the same bias.
pub(super) fn places(segments: &[Segment], maps: &[MemoryMap], file: MappedFile, variable: Variable) -> Vec<AddressRange> {
    let Some(segment) = segments.iter().find(|segment| holds(segment, variable)) else { return Vec::new() };
    let of_file = || maps.iter().filter(|map| file_of(map) == Some(file));
    let mut biases: Vec<u64> = of_file().flat_map(|map| segments.iter().filter_map(|segment| bias(segment, map))).collect();
    biases.sort_unstable();
    biases.dedup();
    let is_code = |wanted: u64| {
        let code = |segment: &&Segment| segment.is_executable;
        let at_bias = |map: &MemoryMap| segments.iter().filter(code).any(|segment| bias(segment, map) == Some(wanted));
        of_file().any(|map| map.perms.contains(MMPermissions::EXECUTE) && at_bias(map))
    };
    let place = |bias: u64| {
        let range = AddressRange::new(variable.vaddr.wrapping_add(bias), variable.bytes);
        let data = segment.vaddr.wrapping_add(bias).wrapping_sub(segment.offset);
        (is_code(bias) && is_data(maps, file, range, data)).then_some(range)
    };
    biases.into_iter().filter_map(place).collect()
}

fn holds(segment: &Segment, Variable { vaddr, bytes }: Variable) -> bool {
    let into = vaddr.checked_sub(segment.vaddr).and_then(|into| into.checked_add(bytes));
    bytes > 0 && into.is_some_and(|end| end <= segment.memory_bytes)
}

/// What the loader added to the addresses of the file, if this mapping is this segment. The first page of a segment can begin
/// before it, so the mapping can.
fn bias(segment: &Segment, map: &MemoryMap) -> Option<u64> {
    let map_end = map.offset.checked_add(map.address.1.checked_sub(map.address.0)?)?;
    let segment_end = segment.offset.checked_add(segment.file_bytes)?;
    let overlaps = map.offset < segment_end && segment.offset < map_end;
    let vaddr = segment.vaddr.wrapping_add(map.offset).wrapping_sub(segment.offset);
    overlaps.then(|| map.address.0.wrapping_sub(vaddr))
}

/// All of `range` is private and writable, and the parts that come from a file come from this one, whose byte 0 would be at `base`.
fn is_data(maps: &[MemoryMap], file: MappedFile, range: AddressRange, base: u64) -> bool {
    let mut reached = range.start;
    for map in maps.iter().filter(|map| map.address.1 > range.start) {
        let (start, end) = map.address;
        let belongs = file_of(map).is_none_or(|other| other == file && start.wrapping_sub(map.offset) == base);
        if start > reached || !map.perms.contains(MMPermissions::WRITE | MMPermissions::PRIVATE) || !belongs {
            return false;
        }
        reached = end;
        if reached >= range.end {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use procfs::process::{MMapExtension, MMapPath};
    use proptest::prelude::*;

    use super::*;

    const LIBRARY: MappedFile = ((8, 1), 1234);
    const OTHER: MappedFile = ((8, 1), 99);

    /// The segments of a Debian `python3.11`: code, then data that is mostly not in the file.
    const SEGMENTS: [Segment; 3] = [
        Segment { offset: 0, vaddr: 0, file_bytes: 0x1f_000, memory_bytes: 0x1f_000, is_executable: false },
        Segment { offset: 0x1f_000, vaddr: 0x1f_000, file_bytes: 0x2b_1234, memory_bytes: 0x2b_1234, is_executable: true },
        Segment { offset: 0x50_0d10, vaddr: 0x60_0d10, file_bytes: 0x8_0000, memory_bytes: 0xb_0000, is_executable: false },
    ];
    /// In the data: some from the file, some not.
    const RUNTIME: Variable = Variable { vaddr: 0x67_f000, bytes: 0x2_8b20 };

    fn mapping(start: u64, end: u64, offset: u64, perms: &str, file: Option<MappedFile>) -> MemoryMap {
        let (dev, inode) = file.unwrap_or_default();
        let (perms, pathname, extension) = (perms.parse().unwrap(), MMapPath::Anonymous, MMapExtension::default());
        MemoryMap { address: (start, end), perms, offset, dev, inode, pathname, extension }
    }

    /// As the dynamic loader maps it: pages that are read-only after relocation apart, memory without a file at the end.
    fn loaded(base: u64, file: MappedFile) -> Vec<MemoryMap> {
        vec![
            mapping(base, base + 0x1f_000, 0, "r--p", Some(file)),
            mapping(base + 0x1f_000, base + 0x2d_1000, 0x1f_000, "r-xp", Some(file)),
            mapping(base + 0x60_0000, base + 0x60_2000, 0x50_0000, "r--p", Some(file)),
            mapping(base + 0x60_2000, base + 0x68_1000, 0x50_2000, "rw-p", Some(file)),
            mapping(base + 0x68_1000, base + 0x6b_1000, 0, "rw-p", None),
        ]
    }

    fn found(mappings: &[MemoryMap]) -> Vec<u64> {
        let places = places(&SEGMENTS, mappings, LIBRARY, RUNTIME);
        assert!(places.iter().all(|place| place.end - place.start == RUNTIME.bytes));
        places.into_iter().map(|place| place.start).collect()
    }

    #[test]
    fn a_file_mapped_for_reading_is_not_loaded() {
        let mut mappings = loaded(0x7f00_0000_0000, LIBRARY);
        mappings.insert(0, mapping(0x1000_0000, 0x1060_0000, 0, "r--p", Some(LIBRARY)));
        assert_eq!(found(&mappings), [0x7f00_0000_0000 + RUNTIME.vaddr]);
        // Not even when it was mapped to be changed.
        mappings[0] = mapping(0x1000_0000, 0x1070_0000, 0, "rw-p", Some(LIBRARY));
        assert_eq!(found(&mappings), [0x7f00_0000_0000 + RUNTIME.vaddr]);
    }

    #[test]
    fn a_file_loaded_twice_has_two_places() {
        let mut mappings = loaded(0x1000_0000, LIBRARY);
        mappings.extend(loaded(0x7f00_0000_0000, LIBRARY));
        assert_eq!(found(&mappings), [0x1000_0000 + RUNTIME.vaddr, 0x7f00_0000_0000 + RUNTIME.vaddr]);
    }

    #[test]
    fn without_its_data_nothing_is_found() {
        let whole = loaded(0x7f00_0000_0000, LIBRARY);
        for missing in [1, 3, 4] {
            let mut mappings = whole.clone();
            mappings.remove(missing);
            assert_eq!(found(&mappings), [0_u64; 0], "without {:?}", whole[missing]);
        }
        let mut read_only = whole.clone();
        read_only[3].perms = MMPermissions::READ | MMPermissions::PRIVATE;
        assert_eq!(found(&read_only), [0_u64; 0]);
        let mut foreign = whole;
        (foreign[4].dev, foreign[4].inode) = OTHER;
        assert_eq!(found(&foreign), [0_u64; 0]);
    }

    #[test]
    fn a_variable_outside_the_segments_has_no_place() {
        let mappings = loaded(0x7f00_0000_0000, LIBRARY);
        for (vaddr, bytes) in [(RUNTIME.vaddr, 0), (0x6b_0d00, 0x100), (u64::MAX - 1, 8), (RUNTIME.vaddr, u64::MAX)] {
            assert_eq!(places(&SEGMENTS, &mappings, LIBRARY, Variable { vaddr, bytes }), []);
        }
    }

    proptest! {
        #[test]
        fn found_wherever_it_is_loaded_and_however_it_is_split(page in 1_u64..0x7_0000_0000, split in 1_u64..0x7f, other in any::<bool>()) {
            let base = page * 0x1000;
            let mut mappings = loaded(base, LIBRARY);
            // A change of protection elsewhere in the data splits its mapping.
            let mut second = mappings[3].clone();
            let into = split.min(0x7e) * 0x1000;
            second.address.0 += into;
            second.offset += into;
            mappings[3].address.1 = second.address.0;
            mappings.insert(4, second);
            if other {
                mappings.extend(loaded(base + 0x1000_0000, OTHER));
            }
            prop_assert_eq!(found(&mappings), vec![base + RUNTIME.vaddr]);
        }

        #[test]
        fn no_mapping_and_no_segment_makes_it_fail(
            numbers in prop::collection::vec(any::<u64>(), 12),
            vaddr in any::<u64>(),
            bytes in any::<u64>(),
        ) {
            let segment = |i: usize| Segment { offset: numbers[i], vaddr: numbers[i + 1], file_bytes: numbers[i + 2], memory_bytes: numbers[i + 3], is_executable: i == 0 };
            let mappings = [mapping(numbers[8], numbers[9], numbers[10], "r-xp", Some(LIBRARY)), mapping(numbers[9], numbers[11], numbers[8], "rw-p", Some(LIBRARY))];
            places(&[segment(0), segment(4)], &mappings, LIBRARY, Variable { vaddr, bytes });
        }
    }
}
