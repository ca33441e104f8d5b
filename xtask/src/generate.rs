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

fn write() -> Result<()> {
    for (path, text) in generated()? {
        let file = root().join(&path);
        if fs::read_to_string(&file).is_ok_and(|current| current == text) {
            continue;
        }
        let parent = file.parent().context("a generated file has no directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Fails if the tree differs from what would be written.
pub(crate) fn check() -> Result<()> {
    let is_stale = |path: &PathBuf, text: &String| fs::read_to_string(root().join(path)).map_or(true, |current| current != *text);
    let files = generated()?;
    let stale: Vec<String> =
        files.iter().filter(|(path, text)| is_stale(path, text)).map(|(path, _)| path.display().to_string()).collect();
    if !stale.is_empty() {
        bail!("not up to date: {}; run `cargo xtask generate`", stale.join(", "));
    }
    println!("{} generated files are up to date", files.len());
    Ok(())
}
