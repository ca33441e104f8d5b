//! `cargo xtask generate`: everything that follows from the metric catalog, and the page that follows from the claims and what was
//! measured for them, so that nobody keeps them in step by hand.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{claims, workspace::root};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if a file is not up to date.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check { check() } else { write() }
}

/// Texts by path from the root.
fn generated() -> Result<BTreeMap<PathBuf, String>> {
    let files = schedscope_grafana::generate().context("cannot make the rules")?;
    let mut files: BTreeMap<PathBuf, String> = files.into_iter().map(|(path, text)| (path.into(), text)).collect();
    files.insert(claims::PAGE.into(), claims::committed()?);
    Ok(files)
}

/// Those of which the tree has another text, or none.
fn stale() -> Result<BTreeMap<PathBuf, String>> {
    let mut files = generated()?;
    files.retain(|path, text| fs::read_to_string(root().join(path)).map_or(true, |current| current != *text));
    Ok(files)
}

fn write() -> Result<()> {
    for (path, text) in stale()? {
        let file = root().join(&path);
        let parent = file.parent().context("a generated file has no directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Fails if the tree differs from what would be written.
pub(crate) fn check() -> Result<()> {
    let stale: Vec<String> = stale()?.keys().map(|path| path.display().to_string()).collect();
    if !stale.is_empty() {
        bail!("not up to date: {}; run `cargo xtask generate`", stale.join(", "));
    }
    println!("the generated files are up to date");
    Ok(())
}

#[cfg(test)]
mod tests {
    /// So that a plain `cargo test` notices.
    #[test]
    fn what_is_committed_is_what_is_generated() {
        if let Err(error) = super::check() {
            panic!("{error:#}");
        }
    }
}
