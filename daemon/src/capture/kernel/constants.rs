//! The constants of `schedscope_ebpf::params`: their values, from the running kernel's type information, and how they get into the
//! object's instructions. Pure.

use std::collections::HashMap;

use object::{Object, ObjectSection, SectionKind};
use schedscope_ebpf::params::{self, ABSENT, FIELDS, Placeholder};

use super::btf::Btf;

/// A field that tracing needs is not where any known kernel has it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this kernel's struct {of} has no member {member}: schedscope does not know this kernel yet; please report its version")]
pub struct MissingField {
    of: &'static str,
    member: String,
}

/// Constants by name.
pub(super) type Constants = Vec<(&'static str, u32)>;

/// Looks up every field in `params` and what the kernel can do.
pub(super) fn of_kernel(btf: &Btf) -> Result<Constants, MissingField> {
    let mut constants = Constants::new();
    for field in FIELDS {
        let found = field.paths.iter().find_map(|path| byte_offset(btf, field.of, path));
        let offset = match found {
            Some(offset) => offset,
            None if field.optional => ABSENT,
            None => return Err(MissingField { of: field.of, member: field.paths[0].join(".") }),
        };
        constants.push((field.constant, offset));
    }
    if let Some(flag) = btf.member("task_struct", &["in_iowait"]).filter(|member| member.bits == 1) {
        // The word is read whole: the verifier accepts a load that covers a bit field from its word's start.
        constants.push((params::TASK_IOWAIT_WORD, flag.bit_offset / 32 * 4));
        constants.push((params::TASK_IOWAIT_MASK, 1 << (flag.bit_offset % 32)));
    }
    constants.push((params::HAS_PREV_STATE, u32::from(btf.tracepoint_arguments("sched_switch") >= Some(4))));
    constants.push((params::HAS_TASK_PT_REGS, u32::from(btf.has_enumerator("BPF_FUNC_task_pt_regs"))));
    Ok(constants)
}

/// Byte offset of a field; a number at the end of the path is an index into an array of words.
fn byte_offset(btf: &Btf, of: &str, path: &[&str]) -> Option<u32> {
    let (path, element) = match path.split_last() {
        Some((last, before)) if !before.is_empty() => last.parse::<u32>().map_or((path, 0), |element| (before, element)),
        _ => (path, 0),
    };
    let member = btf.member(of, path).filter(|member| member.bits == 0)?;
    Some(member.bit_offset / 8 + element * 8)
}

/// Size of an instruction.
const INSTRUCTION: usize = 8;

/// Why the object could not be filled in.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// It is not an object file.
    #[error("the BPF object is damaged")]
    Damaged(#[from] object::Error),
    /// The object asks for a constant that the loader does not know: they are of different versions.
    #[error("the BPF object asks for constant {0}, which is not known: rebuild it with 'cargo xtask build-ebpf'")]
    Unknown(u16),
    /// A member of a kernel struct is beyond the reach of a load.
    #[error("this kernel has {0} at {1}, further than a BPF program can load from; please report its version")]
    TooFar(&'static str, u32),
}

/// A copy of the object with every placeholder replaced by the value of its constant.
pub(super) fn filled(object: &[u8], values: &[(&'static str, u32)]) -> Result<Vec<u8>, FillError> {
    let values: HashMap<&str, u32> = values.iter().copied().collect();
    let values: Vec<_> = params::constants().map(|name| (name, values.get(name).copied().unwrap_or(ABSENT))).collect();
    let mut filled = object.to_vec();
    let file = object::File::parse(object)?;
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text).filter_map(|section| section.file_range());
    for (start, length) in code {
        let bytes = usize::try_from(start).ok().zip(usize::try_from(length).ok()).and_then(|(start, length)| {
            // A section that ends beyond the file has no code.
            filled.get_mut(start..start.checked_add(length)?)
        });
        for slice in bytes.unwrap_or_default().chunks_exact_mut(INSTRUCTION) {
            let Ok(instruction) = <&mut [u8; INSTRUCTION]>::try_from(slice) else { continue };
            let Some(placeholder) = Placeholder::of(*instruction) else { continue };
            let number = placeholder.number();
            let (name, value) = *values.get(usize::from(number)).ok_or(FillError::Unknown(number))?;
            *instruction = placeholder.filled(*instruction, value).ok_or(FillError::TooFar(name, value))?;
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::capture::kernel::load::OBJECT;

    /// The constants that an object's code asks for.
    fn placeholders(object: &[u8]) -> Vec<Placeholder> {
        let file = object::File::parse(object).unwrap();
        let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
        let code: Vec<&[u8]> = code.map(|section| section.data().unwrap()).collect();
        code.iter()
            .flat_map(|code| code.chunks_exact(INSTRUCTION))
            .filter_map(|at| Placeholder::of(at.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn every_placeholder_of_the_committed_object_is_filled() {
        let asked: BTreeSet<_> = placeholders(OBJECT).iter().map(|placeholder| usize::from(placeholder.number())).collect();
        let known: BTreeSet<_> = (0..params::constants().count()).collect();
        assert_eq!(asked, known, "the object asks for other constants than the loader has");
        let values: Vec<_> = params::constants().map(|name| (name, 8)).collect();
        let filled = filled(OBJECT, &values).unwrap();
        assert_eq!(placeholders(&filled), []);
        assert_eq!(filled.len(), OBJECT.len());
        let changed =
            OBJECT.chunks_exact(INSTRUCTION).zip(filled.chunks_exact(INSTRUCTION)).filter(|(before, after)| before != after);
        assert_eq!(changed.count(), placeholders(OBJECT).len());
    }

    #[test]
    fn a_member_that_no_load_reaches_is_named() {
        let error = filled(OBJECT, &[(FIELDS[0].constant, 0x8000)]).unwrap_err();
        assert!(error.to_string().starts_with("this kernel has TASK_PID at 32768"), "{error}");
        assert!(filled(&[1, 2, 3], &[]).is_err());
    }

    #[test]
    fn the_running_kernel_has_every_required_field() {
        let Ok(data) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!("skipped: this kernel exposes no BTF");
            return;
        };
        let constants = of_kernel(&Btf::parse(data).unwrap()).unwrap();
        for (name, value) in &constants {
            assert!(*value == ABSENT || *value < 64 * 1024 || *name == params::TASK_IOWAIT_MASK, "{name} = {value}");
        }
        let mask = constants.iter().find(|(name, _)| *name == params::TASK_IOWAIT_MASK).unwrap().1;
        assert_eq!(mask.count_ones(), 1);
    }
}
