//! `cargo xtask build-ebpf`: the committed BPF object, from its sources.
//!
//! In reading order: [`toolchain`] finds compilers that can build it, [`recipe`] is the build itself, [`strip`] removes what the
//! kernel does not read, [`stamp`] ties the object to its sources.

mod recipe;
mod stamp;
mod strip;
mod toolchain;

#[cfg(test)]
mod contract_test;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::workspace::{read_text, root};
use stamp::Stamp;
pub(crate) use toolchain::{BPF_LINKER, DEBIAN_PACKAGES, NIGHTLY, Toolchain};

/// The committed object, relative to the root. One serves x86-64 and aarch64: both are little-endian, and the programs read
/// saved registers by offsets that the loader gives them.
pub(crate) const OBJECT: &str = "ebpf/prebuilt/schedscope.bpf.o";
/// The committed stamp.
pub(crate) const STAMP: &str = "ebpf/prebuilt/STAMP";

/// Arguments of `build-ebpf`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the committed object is not what the sources give.
    #[arg(long)]
    check: bool,
}

/// Entry point of the command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let toolchain = Toolchain::find()?;
    if arguments.check { check(&toolchain) } else { write(&toolchain) }
}

fn write(toolchain: &Toolchain) -> Result<()> {
    let object = recipe::build(toolchain)?;
    let stamp = Stamp::of(root(), &object, toolchain.versions())?;
    replace(&root().join(OBJECT), &object)?;
    replace(&root().join(STAMP), stamp.to_string().as_bytes())?;
    println!("{OBJECT}: {} bytes, built by {}", object.len(), toolchain.versions().join(", "));
    Ok(())
}

/// Fails if the committed object is not what its sources give.
pub(crate) fn check(toolchain: &Toolchain) -> Result<()> {
    stamp::verify(root())?;
    let object = recipe::build(toolchain)?;
    if let Some(reason) = incomparable(toolchain)? {
        bail!("{reason}");
    }
    let expected = root().join(OBJECT);
    if fs::read(&expected).with_context(|| format!("cannot read {}", expected.display()))? != object {
        bail!("{OBJECT} is not what its sources give: run `cargo xtask build-ebpf`");
    }
    println!("{OBJECT} is what its sources give");
    Ok(())
}

/// Why this toolchain cannot tell whether the committed object is what its sources give, if it can't.
pub(crate) fn incomparable(toolchain: &Toolchain) -> Result<Option<String>> {
    let committed: Stamp = read_text(&root().join(STAMP))?.parse()?;
    let (theirs, ours) = (committed.versions.join(", "), toolchain.versions().join(", "));
    Ok((theirs != ours).then(|| format!("{OBJECT} was built by {theirs}; other versions give other bytes, and here is {ours}")))
}

/// Writes through a temporary file, so that an interrupted run leaves the old content.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().context("the path has no directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let mut file = tempfile::NamedTempFile::new_in(parent).with_context(|| format!("cannot write in {}", parent.display()))?;
    std::io::Write::write_all(&mut file, content)?;
    let permissions = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(permissions)?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
