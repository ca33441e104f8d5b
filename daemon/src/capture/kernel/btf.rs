//! The part of the kernel's type information that the loader needs: where a member lies in its struct, and how many arguments a
//! tracepoint has. Pure. aya keeps its own parser private, and the published readers are unmaintained or LGPL
//! (`docs/decisions/0002`). Format: <https://docs.kernel.org/bpf/btf.html>.

use std::collections::{HashMap, HashSet};

/// Why type information could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed BTF at byte {offset}: {what}")]
pub struct BtfError {
    offset: usize,
    what: &'static str,
}

/// Where a member lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Bits from the start of the outermost struct.
    pub(crate) bit_offset: u32,
    /// Width of a bit field, 0 for an ordinary member.
    pub(crate) bits: u32,
}

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

const MAGIC: u16 = 0xeb9f;
const TYPE_HEADER: usize = 12;
/// Deeper than any kernel struct is nested; ends a loop in a malformed file.
const MAX_DEPTH: u32 = 32;

/// The kernel refuses longer names (`KSYM_NAME_LEN` in its `include/linux/kallsyms.h`).
const NAME_BYTES_MAX: usize = 512;

/// The kernel's type information.
#[derive(Debug)]
pub(crate) struct Btf {
    data: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Byte offset of each type; index 0 is void.
    types: Vec<usize>,
    structs: HashMap<String, u32>,
    typedefs: HashMap<String, u32>,
    enumerators: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    vlen: u32,
    /// Bit-field encoding of member offsets.
    kflag: bool,
    /// Size, or the type referred to.
    target: u32,
    /// Byte offset of what follows the header.
    body: usize,
}

impl Btf {
    /// Indexes the contents of `/sys/kernel/btf/vmlinux`.
    pub(crate) fn parse(data: Vec<u8>) -> Result<Btf, BtfError> {
        let word = |offset: usize| read_u32(&data, offset);
        if data.get(..2).is_none_or(|magic| u16::from_le_bytes([magic[0], magic[1]]) != MAGIC) {
            return Err(BtfError { offset: 0, what: "no BTF header" });
        }
        let header = word(4)? as usize;
        let types_start = header + word(8)? as usize;
        let types_end = types_start + word(12)? as usize;
        let strings_start = header + word(16)? as usize;
        let strings = strings_start..strings_start + word(20)? as usize;
        if data.len() < strings.end || data.len() < types_end {
            return Err(BtfError { offset: data.len(), what: "file is truncated" });
        }
        let mut btf =
            Btf { data, strings, types: vec![0], structs: HashMap::new(), typedefs: HashMap::new(), enumerators: Vec::new() };
        btf.index(types_start, types_end)?;
        Ok(btf)
    }

    fn index(&mut self, mut offset: usize, end: usize) -> Result<(), BtfError> {
        while offset < end {
            let id = u32::try_from(self.types.len()).map_err(|_| BtfError { offset, what: "too many types" })?;
            self.types.push(offset);
            let this = self.read_type(offset)?;
            match this.kind {
                kind::STRUCT => {
                    self.structs.entry(self.name(this.name).to_owned()).or_insert(id);
                }
                kind::TYPEDEF => {
                    self.typedefs.entry(self.name(this.name).to_owned()).or_insert(id);
                }
                kind::ENUM => {
                    for index in 0..this.vlen as usize {
                        self.enumerators.push(read_u32(&self.data, this.body + index * 8)?);
                    }
                }
                _ => {}
            }
            offset = this.body + body_size(&this).ok_or(BtfError { offset, what: "unknown kind of type" })?;
        }
        Ok(())
    }

    fn read_type(&self, offset: usize) -> Result<Type, BtfError> {
        let info = read_u32(&self.data, offset + 4)?;
        Ok(Type {
            name: read_u32(&self.data, offset)?,
            kind: info >> 24 & 0x1f,
            vlen: info & 0xffff,
            kflag: info >> 31 != 0,
            target: read_u32(&self.data, offset + 8)?,
            body: offset + TYPE_HEADER,
        })
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        self.types.get(id as usize).filter(|_| id != 0).and_then(|&offset| self.read_type(offset).ok())
    }

    fn name(&self, offset: u32) -> &str {
        let start = self.strings.start.saturating_add(offset as usize);
        let bytes = self.data.get(start..self.strings.end).unwrap_or_default();
        let end = bytes.iter().take(NAME_BYTES_MAX).position(|&b| b == 0);
        end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok()).unwrap_or_default()
    }

    /// The member of struct `of` that `path` leads to, through anonymous structs and unions as C does.
    pub(crate) fn member(&self, of: &str, path: &[&str]) -> Option<Member> {
        let mut current = *self.structs.get(of)?;
        let mut found = Member { bit_offset: 0, bits: 0 };
        for name in path {
            let (member, next) = self.find_member(current, name, &mut HashSet::new(), 0)?;
            found = Member { bit_offset: found.bit_offset.checked_add(member.bit_offset)?, bits: member.bits };
            current = next;
        }
        Some(found)
    }

    /// Looks into each struct once: one that has itself for two members would take for ever.
    fn find_member(&self, composite: u32, wanted: &str, seen: &mut HashSet<u32>, depth: u32) -> Option<(Member, u32)> {
        let composite = self.strip_modifiers(composite)?;
        let this = self.by_id(composite)?;
        if depth > MAX_DEPTH || !matches!(this.kind, kind::STRUCT | kind::UNION) || !seen.insert(composite) {
            return None;
        }
        for index in 0..this.vlen as usize {
            let at = this.body + index * 12;
            let name = read_u32(&self.data, at).ok()?;
            let target = read_u32(&self.data, at + 4).ok()?;
            let raw = read_u32(&self.data, at + 8).ok()?;
            let member = if this.kflag {
                Member { bit_offset: raw & 0x00ff_ffff, bits: raw >> 24 }
            } else {
                Member { bit_offset: raw, bits: 0 }
            };
            if self.name(name) == wanted {
                return Some((member, target));
            }
            if (name == 0 || self.name(name).is_empty())
                && let Some((inner, target)) = self.find_member(target, wanted, seen, depth + 1)
            {
                return Some((Member { bit_offset: member.bit_offset.checked_add(inner.bit_offset)?, ..inner }, target));
            }
        }
        None
    }

    fn strip_modifiers(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
            let this = self.by_id(id)?;
            match this.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => id = this.target,
                _ => return Some(id),
            }
        }
        None
    }

    /// Number of arguments of a tracepoint, not counting the one for the probe's private data; `None` if the kernel lacks the tracepoint.
    pub(crate) fn tracepoint_arguments(&self, tracepoint: &str) -> Option<u32> {
        let typedef = self.by_id(*self.typedefs.get(&format!("btf_trace_{tracepoint}"))?)?;
        let pointer = self.by_id(typedef.target).filter(|this| this.kind == kind::PTR)?;
        let prototype = self.by_id(pointer.target).filter(|this| this.kind == kind::FUNC_PROTO)?;
        prototype.vlen.checked_sub(1)
    }

    /// Whether any enum has a constant of this name; helpers are numbered by `enum bpf_func_id`.
    pub(crate) fn has_enumerator(&self, wanted: &str) -> bool {
        self.enumerators.iter().any(|&name| self.name(name) == wanted)
    }
}

fn read_u32(data: &[u8], offset: usize) -> Result<u32, BtfError> {
    data.get(offset..offset.saturating_add(4))
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or(BtfError { offset, what: "ends early" })
}

/// Bytes after the header of a type; `None` for a kind this code does not know, after which nothing can be found.
fn body_size(this: &Type) -> Option<usize> {
    let each = match this.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => return Some(4),
        kind::ARRAY => return Some(12),
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12,
        kind::ENUM | kind::FUNC_PROTO => 8,
        1..=18 => 0,
        _ => return None,
    };
    Some(this.vlen as usize * each)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_members_of_the_running_kernel() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!("skipped: this kernel exposes no BTF");
            return;
        };
        let btf = Btf::parse(data).unwrap();
        let pid = btf.member("task_struct", &["pid"]).unwrap();
        let tgid = btf.member("task_struct", &["tgid"]).unwrap();
        assert_eq!(tgid.bit_offset, pid.bit_offset + 32, "tgid follows pid in every kernel so far");
        assert_eq!(btf.member("task_struct", &["in_iowait"]).unwrap().bits, 1);
        assert!(btf.member("task_struct", &["se", "sum_exec_runtime"]).unwrap().bit_offset > 0);
        assert_eq!(btf.member("task_struct", &["no_such_member"]), None);
        assert!(matches!(btf.tracepoint_arguments("sched_switch"), Some(3 | 4)));
        assert_eq!(btf.tracepoint_arguments("no_such_tracepoint"), None);
        assert!(btf.has_enumerator("BPF_FUNC_ktime_get_ns"));
    }

    #[test]
    fn refuses_what_is_not_btf() {
        assert!(Btf::parse(Vec::new()).is_err());
        assert!(Btf::parse(b"\x7fELF and so on, long enough for a header".to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics_on_noise(mut noise in prop::collection::vec(any::<u8>(), 24..512), header: bool) {
            if header {
                noise[..4].copy_from_slice(&[0x9f, 0xeb, 1, 0]);
                noise[4..8].copy_from_slice(&24_u32.to_le_bytes());
                let half = u32::try_from((noise.len() - 24) / 2).unwrap();
                for (at, value) in [(8, 0), (12, half), (16, half), (20, half)] {
                    noise[at..at + 4].copy_from_slice(&value.to_le_bytes());
                }
            }
            if let Ok(btf) = Btf::parse(noise) {
                let _ = btf.member("", &["", ""]);
                let _ = btf.tracepoint_arguments("");
            }
        }
    }
}
