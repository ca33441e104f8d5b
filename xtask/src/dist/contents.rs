//! What is installed where, the same for every kind of package.

use std::fs;

use anyhow::{Context, Result};

use super::archive::{EXECUTABLE, READABLE, Tree, gz};
use super::build::Build;
use super::{Packaging, licences, manuals};
use crate::chart;
use crate::workspace::{files_below, root};

/// Directory of what is to be read, below a prefix such as /usr/local.
const DOCUMENTS: &str = "share/doc/schedscope";
const OWN_LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
const OTHERS_LICENCES: &str = "THIRD-PARTY-LICENCES";

/// Licences, ours and those of what is linked, which go wherever the program goes.
pub(super) fn notices(build: &Build) -> Result<Tree> {
    let mut tree = Tree::default();
    for name in OWN_LICENCES {
        tree.file(name, READABLE, copied(name)?);
    }
    tree.file(OTHERS_LICENCES, READABLE, licences::text(build.architecture.triple())?);
    Ok(tree)
}

/// What is made from the command line: man pages and completions, below a prefix.
fn manual(tree: &mut Tree) -> Result<()> {
    for (name, page) in manuals::pages()? {
        tree.file(format!("share/man/man1/{name}.gz"), READABLE, gz(&page)?);
    }
    for completion in &manuals::COMPLETIONS {
        tree.file(completion.path, READABLE, completion.text());
    }
    Ok(())
}

/// Everything but the program and the unit, below a prefix.
pub(super) fn documents(build: &Build) -> Result<Tree> {
    let mut tree = notices(build)?;
    for name in ["README.md", "CHANGELOG.md"] {
        tree.file(name, READABLE, copied(name)?);
    }
    let mut tree = tree.below(DOCUMENTS);
    manual(&mut tree)?;
    Ok(tree)
}

/// What is unpacked into a prefix such as /usr/local.
pub(super) fn installed(packaging: &Packaging) -> Result<Tree> {
    let mut tree = documents(&packaging.build)?;
    tree.file("bin/schedscope", EXECUTABLE, packaging.program.as_slice());
    tree.file("lib/systemd/system/schedscope.service", READABLE, copied("daemon/config/schedscope.service")?);
    // Not where the unit expects it, so that unpacking a new version leaves the user's own alone.
    tree.file(format!("{DOCUMENTS}/schedscope.toml"), READABLE, copied("daemon/config/schedscope.toml")?);
    Ok(tree)
}

/// The root of a container.
pub(super) fn image(packaging: &Packaging) -> Result<Tree> {
    let mut tree = notices(&packaging.build)?.below(DOCUMENTS).below("usr");
    tree.file("usr/bin/schedscope", EXECUTABLE, packaging.program.as_slice());
    // Where an engine mounts the kernel's own file systems.
    for mounted in ["dev", "proc", "sys"] {
        tree.directory(mounted, 0o755);
    }
    tree.directory("tmp", 0o1777);
    Ok(tree)
}

/// The chart for Kubernetes.
pub(super) fn chart() -> Result<Tree> {
    let directory = chart::path();
    let mut tree = Tree::default();
    for file in files_below(&directory)? {
        let name = file.strip_prefix(&directory)?.to_string_lossy().into_owned();
        tree.file(name, READABLE, fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(tree.below("schedscope"))
}

/// A file of the source tree.
fn copied(path: &str) -> Result<Vec<u8>> {
    fs::read(root().join(path)).with_context(|| format!("cannot read {path}"))
}
