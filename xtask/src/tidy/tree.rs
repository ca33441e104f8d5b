//! Rules about how files refer to each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, SourceFile};

/// Applies the rules to the whole tree.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    [dead_modules, dead_documents, dangling_links, one_program_per_hook].iter().flat_map(|rule| rule(files)).collect()
}

/// Every Rust file is declared by another or is the root of a crate.
fn dead_modules(files: &[SourceFile]) -> Vec<Finding> {
    let mut declared = BTreeSet::new();
    for file in files.iter().filter(|file| file.has_extension(&["rs"])) {
        let (dir, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let is_root = matches!(name, "lib.rs" | "main.rs" | "mod.rs") || is_crate_root(&file.path);
        let home = if is_root { dir } else { file.path.trim_end_matches(".rs") };
        for module in file.text.lines().filter_map(declared_module) {
            declared.insert(format!("{home}/{module}.rs"));
            declared.insert(format!("{home}/{module}/mod.rs"));
        }
    }
    files
        .iter()
        .filter(|file| file.has_extension(&["rs"]) && !is_crate_root(&file.path) && !declared.contains(&file.path))
        .map(|file| Finding::new(&file.path, 0, "no `mod` declares this file, so it is never compiled"))
        .collect()
}

/// Compiled without being declared: a library, a program, and what stands beside `src`.
fn is_crate_root(path: &str) -> bool {
    if let Some((_, inside)) = path.split_once("/src/") {
        return matches!(inside, "lib.rs" | "main.rs");
    }
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    name == "build.rs" || ["/tests", "/examples", "/benches"].iter().any(|top| dir.ends_with(top))
}

fn declared_module(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for visibility in ["pub ", "pub(crate) ", "pub(super) "] {
        rest = rest.strip_prefix(visibility).unwrap_or(rest);
    }
    rest.strip_prefix("mod ")?.strip_suffix(';')
}

/// Every document can be reached by links from the README, a decision through its directory too.
fn dead_documents(files: &[SourceFile]) -> Vec<Finding> {
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let texts: BTreeMap<&str, &SourceFile> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut pending = vec!["README.md".to_owned()];
    while let Some(path) = pending.pop() {
        let Some(file) = texts.get(path.as_str()) else { continue };
        for (_, target) in links(file) {
            let inside = files
                .iter()
                .filter(|file| file.path == target || file.path.starts_with(&format!("{}/", target.trim_end_matches('/'))));
            for found in inside {
                if reached.insert(found.path.clone()) {
                    pending.push(found.path.clone());
                }
            }
        }
    }
    files
        .iter()
        .filter(|file| file.path.starts_with("docs/") && file.has_extension(&["md"]) && !reached.contains(&file.path))
        .map(|file| Finding::new(&file.path, 0, "no link leads here from the README"))
        .collect()
}

/// Every relative link in a document names a file or directory.
fn dangling_links(files: &[SourceFile]) -> Vec<Finding> {
    let exists = |target: &str| {
        let dir = format!("{}/", target.trim_end_matches('/'));
        files.iter().any(|file| file.path == target || file.path.starts_with(&dir))
    };
    let documents = files.iter().filter(|file| file.has_extension(&["md"]));
    documents
        .flat_map(|file| links(file).into_iter().map(move |(line, target)| (file, line, target)))
        .filter(|(_, _, target)| !exists(target))
        .map(|(file, line, target)| Finding::new(&file.path, line, format!("the link leads to {target}, which does not exist")))
        .collect()
}

/// Relative links of a document, as paths from the root, with the line of each.
fn links(file: &SourceFile) -> Vec<(usize, String)> {
    let dir = file.path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for part in line.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') {
                found.push((index + 1, joined(dir, target)));
            }
        }
    }
    found
}

/// A relative path from a directory, without `.` and `..`.
fn joined(dir: &str, target: &str) -> String {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Each kernel hook has one program, in the file of its name: two would pay for the entry twice and race for the state.
fn one_program_per_hook(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files.iter().filter(|file| file.path.starts_with("ebpf/src/") && file.has_extension(&["rs"])) {
        for (index, line) in file.text.lines().enumerate() {
            let Some((_, rest)) = line.trim_start().strip_prefix("#[").and_then(|line| line.split_once("tracepoint(")) else {
                continue;
            };
            let hook = rest.split('"').nth(1).unwrap_or_default();
            if !seen.insert(hook.to_owned()) {
                findings.push(Finding::new(&file.path, index + 1, format!("{hook} already has a program")));
            }
            if file.path != format!("ebpf/src/hooks/{hook}.rs") {
                findings.push(Finding::new(
                    &file.path,
                    index + 1,
                    format!("the program of {hook} belongs in ebpf/src/hooks/{hook}.rs"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Vec<SourceFile> {
        files.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() }).collect()
    }

    fn paths(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.path.as_str()).collect()
    }

    #[test]
    fn a_module_that_nobody_declares_is_dead() {
        let tree = files(&[
            ("daemon/src/lib.rs", "pub mod a;\nmod b;\n"),
            ("daemon/src/a.rs", "#[cfg(test)]\nmod tests;\n"),
            ("daemon/src/a/tests.rs", ""),
            ("daemon/src/b/mod.rs", "pub(crate) mod c;\n"),
            ("daemon/src/b/c.rs", ""),
            ("daemon/src/b/d.rs", ""),
            ("daemon/src/tests.rs", ""),
            // Only beside `src` are these names special.
            ("daemon/build.rs", ""),
            ("daemon/src/b/build.rs", ""),
            ("daemon/src/a/tests/cases.rs", "mod more;\n"),
            ("daemon/src/a/tests/cases/more.rs", ""),
            ("daemon/tests/truth.rs", "mod common;\n"),
            ("daemon/tests/common/mod.rs", ""),
        ]);
        let dead = ["daemon/src/b/d.rs", "daemon/src/tests.rs", "daemon/src/b/build.rs", "daemon/src/a/tests/cases.rs"];
        assert_eq!(paths(&dead_modules(&tree)), dead);
    }

    #[test]
    fn a_document_is_alive_if_links_lead_to_it() {
        let tree = files(&[
            ("README.md", "[a](docs/a.md) and [decisions](docs/decisions/)"),
            ("docs/a.md", "[b](b.md#part)"),
            ("docs/b.md", ""),
            ("docs/c.md", "[a](a.md)"),
            ("docs/decisions/0001-x.md", ""),
        ]);
        assert_eq!(paths(&dead_documents(&tree)), ["docs/c.md"]);
    }

    #[test]
    fn links_are_relative_to_their_document() {
        let tree = files(&[
            (
                "docs/a.md",
                "[x](../ebpf/src/abi.rs) [y](b.md)\n[z](https://example.org/b.md) [up](#top)\n[w](../ebpf/src) [v](ebpf)",
            ),
            ("ebpf/src/abi.rs", ""),
        ]);
        let found: Vec<_> = dangling_links(&tree).into_iter().map(|finding| (finding.line, finding.message)).collect();
        assert_eq!(found.len(), 2);
        assert!(found[0].0 == 1 && found[0].1.contains("docs/b.md"));
        assert!(found[1].0 == 3 && found[1].1.contains("docs/ebpf"));
    }

    #[test]
    fn a_hook_has_one_program_in_the_file_of_its_name() {
        let program = |hook: &str| format!("#[btf_tracepoint(function = \"{hook}\")]\nfn x() {{}}\n");
        let good = [("ebpf/src/hooks/a.rs", program("a")), ("ebpf/src/hooks/b.rs", program("b"))];
        let bad = [("ebpf/src/hooks/a.rs", program("a")), ("ebpf/src/hooks/b.rs", program("a"))];
        let check = |tree: &[(&str, String)]| {
            let tree: Vec<_> = tree.iter().map(|(path, text)| (*path, text.as_str())).collect();
            one_program_per_hook(&files(&tree)).len()
        };
        assert_eq!(check(&good), 0);
        assert_eq!(check(&bad), 2);
    }
}
