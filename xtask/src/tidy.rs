//! `cargo xtask tidy`: rules of the source tree that no compiler knows.
//!
//! Every rule is a pure function over paths and texts: [`text`] looks at one file, [`tree`] at how files refer to each other.

mod text;
mod tree;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::workspace::root;

/// A file of the repository.
pub(crate) struct SourceFile {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Content; empty if it is not UTF-8.
    pub text: String,
}

impl SourceFile {
    /// True if the file's name ends in one of these, written without the dot.
    fn has_extension(&self, extensions: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// Entry point of the command.
pub(crate) fn run() -> Result<()> {
    let files = read_tree(root())?;
    let findings = check(&files);
    for Finding { path, line, message } in &findings {
        println!("{path}:{line}: {message}");
    }
    if !findings.is_empty() {
        bail!("tidy found {} to put right", findings.len());
    }
    println!("tidy: {} files in order", files.len());
    Ok(())
}

/// Applies every rule.
fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files.iter().flat_map(text::check).collect();
    findings.extend(tree::check(files));
    findings.sort();
    findings
}

/// Reads the repository's text files; what is ignored by git lies in the directories left out here.
fn read_tree(root: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_symlink()
                || name == ".git"
                || ["__pycache__", "node_modules"].iter().any(|ignored| name == *ignored)
                || path == root.join("target")
            {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.push(SourceFile { path, text: String::from_utf8(bytes).unwrap_or_default() });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
