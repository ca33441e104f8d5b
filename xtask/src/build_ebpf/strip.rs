//! Removes debug information from the object. The kernel reads `.BTF` and `.BTF.ext`, which are made from it and stay.

use anyhow::Result;
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// Debug sections, and the relocations of them and of BTF, which no loader applies.
const DROPPED: [&[u8]; 3] = [b".debug_", b".rel.debug_", b".rel.BTF"];

/// The object without its debug sections.
pub(super) fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        section.delete = DROPPED.iter().any(|prefix| section.name.starts_with(prefix));
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and symbols in one table; the writer wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;

    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}
