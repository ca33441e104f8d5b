//! Writes the constants of `schedscope_ebpf::params` into the object's instructions. Pure.

use std::collections::HashMap;

use object::{Object, ObjectSection, SectionKind};
use schedscope_ebpf::params::{self, Placeholder};

/// Size of an instruction.
const INSTRUCTION: usize = 8;

/// Why the object could not be filled in.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// It is no object file.
    #[error("the BPF object is damaged")]
    Damaged(#[from] object::Error),
    /// The object wants what the loader does not know: they are of different versions.
    #[error("the BPF object asks for constant {0}, which is not known: rebuild it with 'cargo xtask build-ebpf'")]
    Unknown(u16),
    /// A member of a kernel struct is further in than a load reaches.
    #[error("this kernel has {0} at {1}, further than a BPF program can load from; please report its version")]
    TooFar(&'static str, u32),
}

/// A copy of the object with every placeholder replaced by the value of its constant.
pub fn filled(object: &[u8], values: &[(&'static str, u32)]) -> Result<Vec<u8>, FillError> {
    let values: HashMap<&str, u32> = values.iter().copied().collect();
    let values: Vec<_> = params::constants().map(|name| (name, values.get(name).copied().unwrap_or(params::ABSENT))).collect();
    let mut filled = object.to_vec();
    let file = object::File::parse(object)?;
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text).filter_map(|section| section.file_range());
    for (start, length) in code {
        let bytes = usize::try_from(start).ok().zip(usize::try_from(length).ok()).and_then(|(start, length)| {
            filled.get_mut(start..start.checked_add(length)?) // A section that ends beyond the file has no code.
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
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
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
        let error = filled(OBJECT, &[(params::FIELDS[0].constant, 0x8000)]).unwrap_err();
        assert!(error.to_string().starts_with("this kernel has TASK_PID at 32768"), "{error}");
        assert!(filled(&[1, 2, 3], &[]).is_err());
    }
}
