//! Rules about one file.

use super::{Finding, SourceFile};

/// Longest source file, in lines.
const FILE_LINES: usize = 400;
/// Longest function, in lines.
const FUNCTION_LINES: usize = 80;
/// Longest README, in lines: it is for users; details belong in `docs/`.
const README_LINES: usize = 120;
/// The only directory that may name the BPF loader, so that everything after it is plain data.
const LOADER_HOME: &str = "daemon/src/capture/kernel/";
/// Directories of a developer's machine. Spelt in two parts, so that this file does not break the rule.
const MACHINE_PATHS: [[&str; 2]; 4] = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/tmp/ta", "rget"]];

type Rule = fn(&SourceFile) -> Vec<Finding>;

/// Where files of others lie, which are kept as they are.
const VENDORED: &str = "/vendor/";

/// Applies the rules to one file.
pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    if file.path.contains(VENDORED) {
        return Vec::new();
    }
    let rules: [Rule; 6] = [white_space, file_length, function_length, loader_home, silenced, machine_paths];
    rules.iter().flat_map(|rule| rule(file)).collect()
}

fn numbered(file: &SourceFile) -> impl Iterator<Item = (usize, &str)> {
    file.text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn white_space(file: &SourceFile) -> Vec<Finding> {
    if !file.has_extension(&["rs", "py", "js", "css", "html", "svg", "md", "toml", "yml", "yaml", "json", "sh"]) {
        return Vec::new();
    }
    let trailing = numbered(file).filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
    let mut findings: Vec<Finding> =
        trailing.map(|(line, _)| Finding::new(&file.path, line, "white space at the end of the line")).collect();
    if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
        findings.push(Finding::new(&file.path, file.text.lines().count(), "the file must end with one newline"));
    }
    findings
}

fn file_length(file: &SourceFile) -> Vec<Finding> {
    let limit = match file.path.as_str() {
        "README.md" => README_LINES,
        _ if file.has_extension(&["rs", "py", "js", "css"]) => FILE_LINES,
        _ => return Vec::new(),
    };
    let lines = file.text.lines().count();
    if lines <= limit {
        return Vec::new();
    }
    vec![Finding::new(&file.path, 0, format!("{lines} lines, more than {limit}: split it by purpose"))]
}

fn function_length(file: &SourceFile) -> Vec<Finding> {
    if !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let length = item_length(&lines[index..]);
        if length > FUNCTION_LINES {
            findings.push(Finding::new(&file.path, index + 1, format!("`{name}` has {length} lines, more than {FUNCTION_LINES}")));
        }
    }
    findings
}

/// Lines of the item that begins on the first one. Relies on rustfmt: it ends at the first line in its own column that closes
/// a brace or, for a declaration without a body, a statement.
fn item_length(lines: &[&str]) -> usize {
    let Some(first) = lines.first() else { return 0 };
    let indent = first.len() - first.trim_start().len();
    let in_column = |line: &str| line.len() > indent && line[..indent].trim().is_empty() && !line[indent..].starts_with(' ');
    let closes = |line: &&str| in_column(line) && line.ends_with(['}', ';']);
    lines.iter().position(closes).map_or(lines.len(), |offset| offset + 1)
}

/// Name of the function whose signature begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for qualifier in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe ", "extern \"C\" "] {
        rest = rest.strip_prefix(qualifier).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.find(['(', '<']).map(|end| &name[..end])
}

fn loader_home(file: &SourceFile) -> Vec<Finding> {
    let is_user_side = ["daemon/", "grafana/", "workloads/"].iter().any(|top| file.path.starts_with(top));
    if !is_user_side || file.path.starts_with(LOADER_HOME) || !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    let names_loader = |line: &str| ["aya::", "aya_obj::", "use aya;"].iter().any(|name| line.contains(name));
    numbered(file)
        .filter(|(_, line)| !line.trim_start().starts_with("//") && names_loader(line))
        .map(|(line, _)| Finding::new(&file.path, line, format!("only {LOADER_HOME} may name aya")))
        .collect()
}

fn silenced(file: &SourceFile) -> Vec<Finding> {
    if !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in numbered(file) {
        let line = line.trim_start();
        if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
            findings.push(Finding::new(
                &file.path,
                number,
                "write #[expect(lint, reason = \"...\")], which complains when it is no longer needed",
            ));
        }
        if line.starts_with("#[ignore") {
            findings.push(Finding::new(
                &file.path,
                number,
                "an ignored test is never run: let it find out what it lacks and print `skipped: why`",
            ));
        }
    }
    findings
}

fn machine_paths(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in numbered(file) {
        for path in MACHINE_PATHS.map(|parts| parts.concat()) {
            // Part of a longer path, as in `/sys/fs/.../work/`, is somebody else's.
            let starts_here =
                |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric() || "_.}])>*".contains(before));
            if line.match_indices(&path).any(|(at, _)| starts_here(at)) {
                findings.push(Finding::new(&file.path, number, format!("`{path}` is a path of one machine")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
        rule(&SourceFile { path: path.into(), text: text.into() }).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn white_space_at_the_end_is_found_where_it_is() {
        assert_eq!(lines(white_space, "a.rs", "a\nb \n\tc\t\n"), [2, 3]);
        assert_eq!(lines(white_space, "a.md", "a\n\n"), [2]);
        assert_eq!(lines(white_space, "a.md", "a"), [1]);
        assert_eq!(lines(white_space, "a.golden", "a \n"), [0; 0]);
    }

    #[test]
    fn a_file_may_have_as_many_lines_as_the_limit() {
        assert_eq!(lines(file_length, "a.rs", &"x\n".repeat(FILE_LINES)), [0; 0]);
        assert_eq!(lines(file_length, "a.rs", &"x\n".repeat(FILE_LINES + 1)), [0]);
        assert_eq!(lines(file_length, "README.md", &"x\n".repeat(README_LINES + 1)), [0]);
        assert_eq!(lines(file_length, "docs/metrics.md", &"x\n".repeat(FILE_LINES + 1)), [0; 0]);
    }

    #[test]
    fn a_function_is_measured_from_its_signature_to_its_brace() {
        let function =
            |body: usize| format!("mod m {{\n    pub(crate) const fn f(\n    ) {{\n{}    }}\n}}\n", "        x();\n".repeat(body));
        assert_eq!(lines(function_length, "a.rs", &function(FUNCTION_LINES - 3)), [0; 0]);
        assert_eq!(lines(function_length, "a.rs", &function(FUNCTION_LINES - 2)), [2]);
        let declaration = format!("trait T {{\n    fn f();\n{}    }}\n", "        x();\n".repeat(FUNCTION_LINES));
        assert_eq!(lines(function_length, "a.rs", &declaration), [0; 0]);
    }

    #[test]
    fn the_loader_is_named_in_its_home_only() {
        let text = "// aya::x\nuse aya::Ebpf;\nuse maya_x;\n";
        assert_eq!(lines(loader_home, "daemon/src/label/mod.rs", text), [2]);
        assert_eq!(lines(loader_home, "daemon/src/capture/kernel/load.rs", text), [0; 0]);
    }

    #[test]
    fn silenced_lints_and_tests_are_found() {
        let text = ["#[all", "ow(dead_code)]\n#[expect(dead_code, reason = \"r\")]\n    #[ign", "ore]\n"].concat();
        assert_eq!(lines(silenced, "a.rs", &text), [1, 3]);
    }

    #[test]
    fn paths_of_one_machine_are_found_and_parts_of_others_are_not() {
        let path = MACHINE_PATHS[0].concat();
        assert_eq!(lines(machine_paths, "a.md", &format!("`{path}main`\nhttps://example.org{path}\n{{dir}}{path}\n")), [1]);
    }
}
