//! Ties the committed object to its sources, so that a plain `cargo test` notices when one changed without the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::{OBJECT, STAMP, recipe};
use crate::workspace::read_text;

/// Content of the stamp file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Digest of everything that goes into the object.
    pub sources: String,
    /// Digest of the object.
    pub object: String,
    /// Versions of the tools that built it.
    pub versions: Vec<String>,
}

impl Stamp {
    /// Stamp of an object built from the tree as it is.
    pub(super) fn of(root: &Path, object: &[u8], versions: &[String]) -> Result<Self> {
        Ok(Self { sources: digest_of_sources(root)?, object: hex(&Sha256::digest(object)), versions: versions.to_vec() })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "# Written by `cargo xtask build-ebpf`. SHA-256 of the sources and of the object they gave.")?;
        writeln!(formatter, "sources {}", self.sources)?;
        writeln!(formatter, "object {}", self.object)?;
        self.versions.iter().try_for_each(|version| writeln!(formatter, "with {version}"))
    }
}

impl FromStr for Stamp {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let values = |name: &str| text.lines().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect::<Vec<_>>();
        let one = |name: &str| values(name).pop().with_context(|| format!("{STAMP} has no line `{}`", name.trim()));
        Ok(Self { sources: one("sources ")?, object: one("object ")?, versions: values("with ") })
    }
}

/// Fails if the committed object or the sources are not those of the stamp. Needs no BPF toolchain.
pub(super) fn verify(root: &Path) -> Result<()> {
    let stamp: Stamp = read_text(&root.join(STAMP))?.parse()?;
    let object = fs::read(root.join(OBJECT)).with_context(|| format!("cannot read {OBJECT}"))?;
    ensure!(stamp.object == hex(&Sha256::digest(object)), "{OBJECT} is not the one of {STAMP}: run `cargo xtask build-ebpf`");
    ensure!(
        stamp.sources == digest_of_sources(root)?,
        "the sources of the BPF programs changed since {OBJECT} was built: run `cargo xtask build-ebpf`"
    );
    Ok(())
}

/// Digest of all that decides the object's bytes besides the tools: sources, manifest, locked crates, flags.
fn digest_of_sources(root: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    let mut add = |name: &str, content: &str| {
        for part in [name, content] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    };
    let sources = sources(root)?;
    for path in &sources {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
        add(&name, &read_text(path)?);
    }
    let manifest: Table = read_text(&root.join("ebpf/Cargo.toml"))?.parse().context("ebpf/Cargo.toml")?;
    for part in ["lib", "bin", "features", "dependencies"] {
        add(part, &manifest.get(part).map(Value::to_string).unwrap_or_default());
    }
    let lock: Table = read_text(&root.join("Cargo.lock"))?.parse().context("Cargo.lock")?;
    add("lock", &locked_closure(&lock, "aya-ebpf")?);
    add("flags", &recipe::RUSTFLAGS.join(" "));
    add("profile", &recipe::PROFILE.join(" "));
    Ok(hex(&digest.finalize()))
}

/// Source files that are compiled for the kernel, sorted.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let top = root.join("ebpf/src");
    let mut found = Vec::new();
    let mut excluded = BTreeSet::new();
    let mut pending = vec![top];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let home = module_dir(&path);
                excluded.extend(host_modules(&read_text(&path)?).into_iter().map(|module| home.join(module)));
                found.push(path);
            }
        }
    }
    found.retain(|path| !path.ancestors().any(|ancestor| excluded.contains(&ancestor.with_extension(""))));
    found.sort();
    Ok(found)
}

/// Directory in which the modules declared in a file live.
fn module_dir(file: &Path) -> PathBuf {
    let is_root = ["lib.rs", "main.rs", "mod.rs"].iter().any(|name| file.ends_with(name));
    if is_root { file.with_file_name("") } else { file.with_extension("") }
}

/// Modules that the compiler leaves out of the BPF target: an edit of them needs no new object.
fn host_modules(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_host = |line: &str| line == "#[cfg(test)]" || line == r#"#[cfg(not(target_arch = "bpf"))]"#;
    let module = |line: &str| Some(line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')?.to_owned());
    lines.windows(2).filter(|pair| is_host(pair[0])).filter_map(|pair| module(pair[1])).collect()
}

/// Versions and checksums of a package and all that it depends on, a line each.
fn locked_closure(lock: &Table, package: &str) -> Result<String> {
    let packages = lock.get("package").and_then(Value::as_array).ok_or_else(|| anyhow!("Cargo.lock lists no packages"))?;
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut closure = BTreeMap::new();
    let mut pending = vec![package.to_owned()];
    while let Some(wanted) = pending.pop() {
        // A dependency is `name`, and `name version` or `name version (source)` where the lock file has several.
        let mut words = wanted.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let entry =
            packages.iter().find(|entry| text(entry, "name") == name && (version.is_empty() || text(entry, "version") == version));
        let Some(entry) = entry else { bail!("Cargo.lock has no package {wanted}") };
        let key = format!("{name} {}", text(entry, "version"));
        if closure.insert(key, text(entry, "checksum")).is_none() {
            let dependencies = entry.get("dependencies").and_then(Value::as_array).into_iter().flatten();
            pending.extend(dependencies.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    let mut lines = String::new();
    for (key, checksum) in closure {
        writeln!(lines, "{key} {checksum}")?;
    }
    Ok(lines)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::workspace::root;

    #[test]
    fn the_committed_object_is_of_these_sources() {
        if let Err(error) = verify(root()) {
            panic!("{error:#}");
        }
    }

    #[test]
    fn a_stamp_reads_back() {
        let stamp =
            Stamp { sources: "aa".into(), object: "bb".into(), versions: vec!["rustc 1.96.0 (x)".into(), "cargo 1".into()] };
        assert_eq!(stamp.to_string().parse::<Stamp>().unwrap(), stamp);
        assert!("sources aa\n".parse::<Stamp>().is_err());
    }

    #[test]
    fn host_modules_are_those_that_the_compiler_leaves_out() {
        let text = "pub mod abi;\n#[cfg(test)]\nmod tests;\n\n#[cfg(not(target_arch = \"bpf\"))]\npub mod catalog;\n#[cfg(test)]\nmod inline {\n";
        assert_eq!(host_modules(text), ["tests", "catalog"]);
    }

    #[test]
    fn the_closure_follows_dependencies_with_and_without_versions() {
        let package = |name: &str, version: &str, dependencies: &str| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nchecksum = \"c{version}\"\ndependencies = [{dependencies}]\n"
            )
        };
        let lock = package("a", "1", "\"b 2 (registry+x)\", \"c\"")
            + &package("b", "1", "")
            + &package("b", "2", "\"a\"")
            + &package("c", "3", "")
            + &package("d", "1", "");
        assert_eq!(locked_closure(&lock.parse().unwrap(), "a").unwrap(), "a 1 c1\nb 2 c2\nc 3 c3\n");
        assert!(locked_closure(&lock.parse().unwrap(), "e").is_err());
    }

    #[test]
    fn any_edit_of_what_goes_in_changes_the_digest_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let lock =
            "[[package]]\nname = \"aya-ebpf\"\nversion = \"1\"\nchecksum = \"c\"\n[[package]]\nname = \"other\"\nversion = \"1\"\n";
        let manifest = "[dependencies]\naya-ebpf = \"1\"\n";
        write("Cargo.lock", lock);
        write("ebpf/Cargo.toml", manifest);
        write("ebpf/src/lib.rs", "#[cfg(test)]\nmod tests;\n#[cfg(not(target_arch = \"bpf\"))]\nmod catalog;\nmod abi;\n");
        write("ebpf/src/abi.rs", "#[cfg(test)]\nmod tests;");
        let digest = || digest_of_sources(dir.path()).unwrap();
        let before = digest();

        write("ebpf/src/abi/tests.rs", "mod x;");
        write("ebpf/src/catalog.rs", "mod row;");
        write("ebpf/src/catalog/row.rs", "");
        write("ebpf/src/tests.rs", "");
        write("ebpf/Cargo.toml", &format!("{manifest}[dev-dependencies]\nproptest = \"1\"\n"));
        write("Cargo.lock", &lock.replace("other", "another"));
        assert_eq!(digest(), before);

        write("Cargo.lock", &lock.replace("\"c\"", "\"d\""));
        assert_ne!(digest(), before);
        write("Cargo.lock", lock);
        write("ebpf/Cargo.toml", &manifest.replace('1', "2"));
        assert_ne!(digest(), before);
        write("ebpf/Cargo.toml", manifest);
        write("ebpf/src/abi.rs", "#[cfg(test)]\nmod tests; // x");
        assert_ne!(digest(), before);
        write("ebpf/src/abi.rs", "#[cfg(test)]\nmod tests;");
        assert_eq!(digest(), before);
        write("ebpf/src/hooks/new.rs", "");
        assert_ne!(digest(), before);
    }
}
