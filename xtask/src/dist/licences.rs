//! The licences of what is linked into the program, whose texts must go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::workspace::{cargo, output, read_text, root};

/// JavaScript of others that is part of the program: the directories in which it is, each with its licence.
const VENDORED: &str = "daemon/page/vendor";

const HEAD: &str = "schedscope is under the MIT and Apache-2.0 licences. It contains the Rust standard library (MIT or Apache-2.0),\n\
                    the GNU C library (LGPL-2.1-or-later), and the packages below, with their licences.\n";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: String,
    /// None for our own.
    source: Option<String>,
}

/// Names and licences of all packages in the program for a target, and each text once.
pub(crate) fn text(triple: &str) -> Result<String> {
    let linked = linked(triple)?;
    let metadata = output(cargo().args(["metadata", "--locked", "--format-version", "1", "--filter-platform", triple]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cannot read what cargo says of the packages")?;
    let mut packages: Vec<Package> = metadata.packages.into_iter().filter(|package| package.source.is_some()).collect();
    packages.retain(|package| linked.contains(&format!("{} v{}", package.name, package.version)));

    let (mut list, mut texts) = (String::new(), BTreeMap::<String, Vec<String>>::new());
    for package in &packages {
        let name = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().with_context(|| format!("{name} does not say its licence"))?;
        writeln!(list, "{name}: {license}")?;
        let directory = Path::new(&package.manifest_path).parent().context("a manifest has no directory")?;
        collect(&mut texts, &name, directory)?;
    }
    for directory in fs::read_dir(root().join(VENDORED)).with_context(|| format!("cannot list {VENDORED}"))? {
        let directory = directory?;
        let name = directory.file_name().to_string_lossy().into_owned();
        let found = collect(&mut texts, &name, &directory.path())?;
        ensure!(found > 0, "{VENDORED}/{name} has no file with its licence");
        writeln!(list, "{name}: see below")?;
    }
    Ok(compose(&list, texts))
}

fn compose(list: &str, texts: BTreeMap<String, Vec<String>>) -> String {
    let mut text = format!("{HEAD}\n{list}");
    let mut sections: Vec<String> = texts
        .into_iter()
        .map(|(licence, names)| format!("\n---- {}\n\n{}\n", names.join(", "), licence.trim_matches('\n')))
        .collect();
    sections.sort();
    text.extend(sections);
    text
}

/// Adds the licences in a directory to those who have them; returns how many it has.
fn collect(texts: &mut BTreeMap<String, Vec<String>>, name: &str, directory: &Path) -> Result<usize> {
    let mut found = 0;
    for path in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = path?.path();
        let file = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        if path.is_file() && ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"].iter().any(|start| file.starts_with(start)) {
            texts.entry(read_text(&path)?).or_default().push(name.to_owned());
            found += 1;
        }
    }
    Ok(found)
}

/// `NAME vVERSION` of everything that is linked, as opposed to run while it is built.
fn linked(triple: &str) -> Result<BTreeSet<String>> {
    let mut command = cargo();
    command.args(["tree", "--locked", "--package", "schedscope", "--target", triple, "--edges", "normal,no-proc-macro"]);
    let tree = output(command.args(["--prefix", "none", "--format", "{p}"]))?;
    let words = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(tree.lines().map(words).collect())
}
