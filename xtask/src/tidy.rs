//! `cargo xtask tidy`: rules of the source tree that no compiler, lint or test knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::workspace::{files_below, root};

/// The only directory that may name the BPF loader, so that everything after it is plain data.
const LOADER_HOME: &str = "daemon/src/capture/kernel/";
/// Files of other projects, which stay as they are.
const VENDORED: &str = "/vendor/";

struct SourceFile {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl SourceFile {
    /// Every match of the pattern's first group, with its line number.
    fn matches(&self, pattern: &Regex) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            found.extend(pattern.captures_iter(line).filter_map(|groups| Some((index + 1, groups.get(1)?.as_str()))));
        }
        found
    }

    /// Whether the file's name ends in this, written without the dot.
    fn has_extension(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }
}

pub(crate) fn run() -> Result<()> {
    let files = read_tree(root())?;
    let findings = check(root(), &files)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy found {} violations", findings.len());
    }
    println!("tidy: {} files in order", files.len());
    Ok(())
}

fn read_tree(root: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for path in files_below(root)? {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        // What is not UTF-8 is a picture or an object.
        if let Some(text) = String::from_utf8(bytes).ok().filter(|_| !path.contains(VENDORED)) {
            files.push(SourceFile { path, text });
        }
    }
    Ok(files)
}

/// Applies every rule; one line per violation.
fn check(root: &Path, files: &[SourceFile]) -> Result<Vec<String>> {
    let mut findings = [lines(files)?, undeclared_modules(files)?, links(root, files)?].concat();
    findings.sort();
    Ok(findings)
}

/// What no line may have, and where.
fn lines(files: &[SourceFile]) -> Result<Vec<String>> {
    let loader = Regex::new(r"^(?:[^/]|/[^/])*?\b(aya::|aya_obj::|use aya;)")?;
    let is_user_side = Regex::new(r"^(?:daemon|grafana|workloads)/.*\.rs$")?;
    // Directories of a developer's machine. Part of a longer path, as in `/sys/fs/.../work/`, is something else.
    let machine = Regex::new(r"(?:^|[^\w.}\])>*])(/(?:work|root|home)/|/tmp/[t]arget)")?;
    let mut findings = Vec::new();
    for file in files {
        if is_user_side.is_match(&file.path) && !file.path.starts_with(LOADER_HOME) {
            let named = file.matches(&loader).into_iter();
            findings.extend(named.map(|(line, _)| format!("{}:{line}: only {LOADER_HOME} may name aya", file.path)));
        }
        let paths = file.matches(&machine).into_iter();
        findings.extend(paths.map(|(line, path)| format!("{}:{line}: `{path}` is a path of one machine", file.path)));
    }
    Ok(findings)
}

/// A Rust file that no other declares and that is no crate's root is never compiled, and nothing says so.
fn undeclared_modules(files: &[SourceFile]) -> Result<Vec<String>> {
    let declaration = Regex::new(r"^\s*(?:pub(?:\(\w+\))? )?mod (\w+);")?;
    let crate_root = Regex::new(r"^\w+/(src/(lib|main)|build|(tests|benches|examples|fuzz/fuzz_targets)/\w+)\.rs$")?;
    let mut declared = BTreeSet::new();
    for file in files.iter().filter(|file| file.has_extension("rs")) {
        let (dir, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let is_top = name == "mod.rs" || crate_root.is_match(&file.path);
        let home = if is_top { dir } else { file.path.trim_end_matches(".rs") };
        for (_, module) in file.matches(&declaration) {
            declared.extend([format!("{home}/{module}.rs"), format!("{home}/{module}/mod.rs")]);
        }
    }
    let is_dead =
        |file: &&SourceFile| file.has_extension("rs") && !crate_root.is_match(&file.path) && !declared.contains(&file.path);
    let finding = |file: &SourceFile| format!("{}:0: no `mod` declares this file, so it is never compiled", file.path);
    Ok(files.iter().filter(is_dead).map(finding).collect())
}

/// Every relative link of a document leads somewhere, and to every document below `docs/` leads one, or one to its directory.
fn links(root: &Path, files: &[SourceFile]) -> Result<Vec<String>> {
    let link = Regex::new(r"\]\(([^)#:\s]+)[)#\s]")?;
    let mut findings = Vec::new();
    let mut reached = BTreeSet::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        let from = root.join(&file.path);
        for (line, target) in file.matches(&link) {
            match fs::canonicalize(from.with_file_name(target)) {
                Ok(path) if path != fs::canonicalize(&from)? => reached.extend([path]),
                Ok(_) => {}
                Err(_) => findings.push(format!("{}:{line}: the link leads to {target}, which does not exist", file.path)),
            }
        }
    }
    for file in files.iter().filter(|file| file.has_extension("md") && file.path.starts_with("docs/")) {
        let path = fs::canonicalize(root.join(&file.path))?;
        if !reached.contains(&path) && path.parent().is_none_or(|dir| !reached.contains(dir)) {
            findings.push(format!("{}:0: no link leads here", file.path));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path and line of every violation in a tree of these files.
    fn violations(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let findings = check(dir.path(), &read_tree(dir.path()).unwrap()).unwrap();
        findings.iter().map(|finding| finding.rsplitn(2, ": ").last().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_loader_is_named_in_its_home_only() {
        let text = "// aya::x\nuse aya::Ebpf;\nuse maya::x;\n";
        let root = "pub mod capture;\nmod label;\n";
        let files = [
            ("daemon/src/lib.rs", root),
            ("daemon/src/capture.rs", "mod kernel;\n"),
            ("daemon/src/capture/kernel/mod.rs", text),
            ("daemon/src/label.rs", text),
        ];
        assert_eq!(violations(&files), ["daemon/src/label.rs:2"]);
    }

    #[test]
    fn paths_of_one_machine_are_found_and_parts_of_others_are_not() {
        let path = ["/wo", "rk/"].concat();
        let text = format!("`{path}main`\nhttps://example.org{path}\n{{dir}}{path}\n");
        assert_eq!(violations(&[("a.txt", &text), ("page/vendor/a.js", &text)]), ["a.txt:1"]);
    }

    #[test]
    fn a_module_that_nobody_declares_is_dead() {
        let files = [
            ("daemon/src/lib.rs", "pub mod a;\nmod b;\n"),
            ("daemon/src/a.rs", "#[cfg(test)]\nmod tests;\n"),
            ("daemon/src/a/tests.rs", ""),
            ("daemon/src/b/mod.rs", "pub(crate) mod c;\n"),
            ("daemon/src/b/c.rs", ""),
            ("daemon/src/b/d.rs", ""),
            ("daemon/src/tests.rs", ""),
            ("daemon/build.rs", ""),
            // Only beside `src` are these names special.
            ("daemon/src/b/build.rs", ""),
            ("daemon/src/a/tests/cases.rs", ""),
            ("daemon/tests/truth.rs", "mod common;\n"),
            ("daemon/fuzz/fuzz_targets/elf.rs", ""),
            ("daemon/tests/common/mod.rs", ""),
        ];
        let dead = ["daemon/src/a/tests/cases.rs", "daemon/src/b/build.rs", "daemon/src/b/d.rs", "daemon/src/tests.rs"];
        assert_eq!(violations(&files), dead.map(|path| format!("{path}:0")));
    }

    #[test]
    fn links_lead_somewhere_and_to_every_document() {
        let files = [
            ("README.md", "[a](docs/a.md#part) [decisions](docs/decisions/)\n[up](#top) [z](https://example.org/b.md)"),
            ("docs/a.md", "[x](../ebpf/src/abi.txt)\n[y](b.md) [w](../ebpf/src)\n"),
            ("docs/c.md", "[c](c.md)"),
            ("docs/decisions/0001-x.md", ""),
            ("ebpf/src/abi.txt", ""),
        ];
        assert_eq!(violations(&files), ["docs/a.md:2", "docs/c.md:0"]);
    }
}
