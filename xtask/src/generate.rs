//! `cargo xtask generate`: everything that follows from the metric catalog, the schema that follows from the report's types, and the page
//! that follows from the claims and what was measured for them, so that nobody keeps them in step by hand.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use schedscope::report::schema;

use crate::claims;
use crate::workspace::{self, root};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if a file is not up to date.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check { check() } else { write() }
}

/// Files of which the tree has another text than it should, or none: the right texts by path from the root.
fn stale() -> Result<BTreeMap<String, String>> {
    let mut files = schedscope_grafana::generate().context("cannot read the rules")?;
    files.insert(claims::PAGE.to_owned(), claims::committed()?);
    files.insert(schema::SCHEMA_FILE.to_owned(), serde_json::to_string_pretty(&schema::json_schema())? + "\n");
    files.retain(|path, text| fs::read_to_string(root().join(path)).map_or(true, |current| current != *text));
    Ok(files)
}

fn write() -> Result<()> {
    for (path, text) in stale()? {
        workspace::write(&path, text)?;
        println!("wrote {path}");
    }
    Ok(())
}

/// Fails if the tree differs from what would be written.
pub(crate) fn check() -> Result<()> {
    let stale = stale()?;
    if !stale.is_empty() {
        bail!("not up to date: {}; run `cargo xtask generate`", stale.into_keys().collect::<Vec<_>>().join(", "));
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
