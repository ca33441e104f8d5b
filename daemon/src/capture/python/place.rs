//! Where a file's variable is in the memory of a process. Pure.

use schedscope_ebpf::gil::AddressRange;

use super::elf::{Segment, Variable};
use super::maps::{MappedFile, Mapping, from};

/// Addresses at which a file may be loaded that are looked at. A file that is loaded has one, or a few if it is loaded again.
const BIASES_MAX: usize = 1024;
/// Mappings that the variable may extend over.
const MAPPINGS_MAX: usize = 64;

/// Where a variable of a file is, once for each time the file is loaded; empty if the mappings do not fit the file.
///
/// `maps` are in the order of their addresses. A file can be mapped without being loaded, by a debugger for instance. So a place counts
/// only if all of it is writable and comes from the right part of the file or from none, and if there is code at the same bias.
pub(super) fn places(segments: &[Segment], maps: &[Mapping], file: MappedFile, variable: Variable) -> Vec<AddressRange> {
    let Some(segment) = segments.iter().find(|segment| holds(segment, variable)) else { return Vec::new() };
    let code = || segments.iter().filter(|segment| segment.is_executable);
    let mapped = maps.iter().filter(|map| map.file == Some(file) && map.is_executable);
    let mut biases: Vec<u64> = mapped.flat_map(|map| code().filter_map(|segment| bias(segment, map))).take(BIASES_MAX).collect();
    biases.sort_unstable();
    biases.dedup();
    let place = |bias: u64| {
        let range = AddressRange::new(variable.vaddr.wrapping_add(bias), variable.bytes);
        let data = segment.vaddr.wrapping_add(bias).wrapping_sub(segment.offset);
        is_data(maps, file, range, data).then_some(range)
    };
    biases.into_iter().filter_map(place).collect()
}

/// Whether a variable lies in a segment.
pub(super) fn holds(segment: &Segment, Variable { vaddr, bytes }: Variable) -> bool {
    let into = vaddr.checked_sub(segment.vaddr).and_then(|into| into.checked_add(bytes));
    bytes > 0 && into.is_some_and(|end| end <= segment.memory_bytes)
}

/// What the loader added to the addresses of the file, if this mapping is this segment. The first page of a segment can begin
/// before it, so the mapping can.
fn bias(segment: &Segment, map: &Mapping) -> Option<u64> {
    let map_end = map.offset.checked_add(map.end.checked_sub(map.start)?)?;
    let segment_end = segment.offset.checked_add(segment.file_bytes)?;
    // A segment without bytes in the file overlaps nothing.
    let overlaps = map.offset.max(segment.offset) < map_end.min(segment_end);
    let vaddr = segment.vaddr.wrapping_add(map.offset).wrapping_sub(segment.offset);
    overlaps.then(|| map.start.wrapping_sub(vaddr))
}

/// All of `range` is private and writable, and the parts that come from a file come from this one, whose byte 0 would be at `base`.
fn is_data(maps: &[Mapping], file: MappedFile, range: AddressRange, base: u64) -> bool {
    let mut reached = range.start;
    for map in from(maps, range.start).iter().take(MAPPINGS_MAX) {
        let belongs = map.file.is_none_or(|other| other == file && map.start.wrapping_sub(map.offset) == base);
        if map.start > reached || !map.is_data || !belongs {
            return false;
        }
        reached = map.end;
        if reached >= range.end {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::resolve::cpu_time;
    use super::*;

    const LIBRARY: MappedFile = MappedFile { device: (8, 1), inode: 1234 };
    const OTHER: MappedFile = MappedFile { device: (8, 1), inode: 99 };

    /// The segments of a Debian `python3.11`: code, then data that is mostly not in the file.
    const SEGMENTS: [Segment; 3] = [
        Segment { offset: 0, vaddr: 0, file_bytes: 0x1f_000, memory_bytes: 0x1f_000, is_executable: false },
        Segment { offset: 0x1f_000, vaddr: 0x1f_000, file_bytes: 0x2b_1234, memory_bytes: 0x2b_1234, is_executable: true },
        Segment { offset: 0x50_0d10, vaddr: 0x60_0d10, file_bytes: 0x8_0000, memory_bytes: 0xb_0000, is_executable: false },
    ];
    /// In the data: some from the file, some not.
    const RUNTIME: Variable = Variable { vaddr: 0x67_f000, bytes: 0x2_8b20 };

    fn mapping(start: u64, end: u64, offset: u64, perms: &str, file: Option<MappedFile>) -> Mapping {
        Mapping { start, end, offset, file, is_executable: perms.contains('x'), is_data: perms.contains('w') }
    }

    /// As the dynamic loader maps it: pages that are read-only after relocation apart, memory without a file at the end.
    fn loaded(base: u64, file: MappedFile) -> Vec<Mapping> {
        vec![
            mapping(base, base + 0x1f_000, 0, "r--p", Some(file)),
            mapping(base + 0x1f_000, base + 0x2d_1000, 0x1f_000, "r-xp", Some(file)),
            mapping(base + 0x60_0000, base + 0x60_2000, 0x50_0000, "r--p", Some(file)),
            mapping(base + 0x60_2000, base + 0x68_1000, 0x50_2000, "rw-p", Some(file)),
            mapping(base + 0x68_1000, base + 0x6b_1000, 0, "rw-p", None),
        ]
    }

    fn found(mappings: &[Mapping]) -> Vec<u64> {
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
        read_only[3].is_data = false;
        assert_eq!(found(&read_only), [0_u64; 0]);
        let mut foreign = whole;
        foreign[4].file = Some(OTHER);
        assert_eq!(found(&foreign), [0_u64; 0]);
    }

    /// A file with many segments that are mapped many times has as many biases as their product.
    #[test]
    fn mappings_without_end_are_left() {
        let code =
            |index: u64| Segment { offset: 0, vaddr: index << 20, file_bytes: 0x4000, memory_bytes: 0x4000, is_executable: true };
        let mut segments: Vec<Segment> = (0..64).map(code).collect();
        segments.push(SEGMENTS[2]);
        let mapped = |index: u64| {
            mapping(index << 12, (index + 1) << 12, 0, if index.is_multiple_of(2) { "r-xp" } else { "rw-p" }, Some(LIBRARY))
        };
        let mappings: Vec<Mapping> = (1..65_000).map(mapped).collect();
        let begin = cpu_time();
        assert_eq!(places(&segments, &mappings, LIBRARY, RUNTIME), []);
        let taken = cpu_time().saturating_sub(begin);
        assert!(taken < std::time::Duration::from_millis(100), "{taken:?}");
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
            let mut second = mappings[3];
            let into = split.min(0x7e) * 0x1000;
            second.start += into;
            second.offset += into;
            mappings[3].end = second.start;
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
