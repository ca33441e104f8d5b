//! Where the variable of a file is in the memory of a process: pure.

use super::AddressRange;

/// A part of a file that is loaded into memory: a program header `PT_LOAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// The address that the file gives it; the loader adds the same number, the bias, to all of them.
    pub vaddr: u64,
    /// How much of it comes from the file.
    pub file_bytes: u64,
    /// How much memory it takes; what the file does not have is zero.
    pub memory_bytes: u64,
    /// It holds code.
    pub is_executable: bool,
}

/// Device and inode, as `/proc/PID/maps` shows them; only good to tell which mappings are of the same file.
pub type MappedFile = ((i32, i32), u64);

/// A line of `/proc/PID/maps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The memory.
    pub range: AddressRange,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file; `None` for memory without one.
    pub file: Option<MappedFile>,
    /// It can be written, and what is written stays in the process.
    pub is_private_writable: bool,
    /// It can be executed.
    pub is_executable: bool,
}

/// Where `bytes` at `vaddr` of a file are, as often as the file is loaded; empty if the mappings do not fit the file.
///
/// `mappings` are in the order of their addresses. A file can be mapped for other reasons than being loaded, by a debugger for
/// instance; a place counts if all of it can be written and comes from the right part of the file or from none, and if there is
/// code at the same distance.
pub fn places(segments: &[Segment], mappings: &[Mapping], file: MappedFile, vaddr: u64, bytes: u64) -> Vec<AddressRange> {
    let Some(segment) = segments.iter().find(|segment| holds(segment, vaddr, bytes)) else { return Vec::new() };
    let of_file = || mappings.iter().filter(|mapping| mapping.file == Some(file));
    let mut biases: Vec<u64> = of_file().flat_map(|mapping| segments.iter().filter_map(|segment| bias(segment, mapping))).collect();
    biases.sort_unstable();
    biases.dedup();
    let is_code = |wanted: u64| {
        let code = |segment: &&Segment| segment.is_executable;
        let at_bias = |mapping: &Mapping| segments.iter().filter(code).any(|segment| bias(segment, mapping) == Some(wanted));
        of_file().any(|mapping| mapping.is_executable && at_bias(mapping))
    };
    let place = |bias: u64| {
        let range = AddressRange::new(vaddr.wrapping_add(bias), bytes);
        let data = segment.vaddr.wrapping_add(bias).wrapping_sub(segment.offset);
        (is_code(bias) && is_data(mappings, file, range, data)).then_some(range)
    };
    biases.into_iter().filter_map(place).collect()
}

fn holds(segment: &Segment, vaddr: u64, bytes: u64) -> bool {
    let into = vaddr.checked_sub(segment.vaddr).and_then(|into| into.checked_add(bytes));
    bytes > 0 && into.is_some_and(|end| end <= segment.memory_bytes)
}

/// What the loader added to the addresses of the file, if this mapping is this segment. The first page of a segment can begin
/// before it, so the mapping can.
fn bias(segment: &Segment, mapping: &Mapping) -> Option<u64> {
    let mapping_end = mapping.offset.checked_add(mapping.range.end.checked_sub(mapping.range.start)?)?;
    let segment_end = segment.offset.checked_add(segment.file_bytes)?;
    let overlaps = mapping.offset < segment_end && segment.offset < mapping_end;
    let vaddr = segment.vaddr.wrapping_add(mapping.offset).wrapping_sub(segment.offset);
    overlaps.then(|| mapping.range.start.wrapping_sub(vaddr))
}

/// All of `range` is private and writable; what of it comes from a file comes from this one, byte 0 of which would be at `base`.
fn is_data(mappings: &[Mapping], file: MappedFile, range: AddressRange, base: u64) -> bool {
    let mut reached = range.start;
    for mapping in mappings.iter().filter(|mapping| mapping.range.end > range.start) {
        let belongs =
            mapping.file.is_none() || mapping.file == Some(file) && mapping.range.start.wrapping_sub(mapping.offset) == base;
        if mapping.range.start > reached || !mapping.is_private_writable || !belongs {
            return false;
        }
        reached = mapping.range.end;
        if reached >= range.end {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
