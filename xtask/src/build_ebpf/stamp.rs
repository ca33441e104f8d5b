//! Ties the committed object to its sources, so that a plain `cargo test` notices when one changed without the other.

use std::path::Path;
use std::str::FromStr;
use std::{fmt, fs};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::recipe;
use crate::workspace::{files_below, read_text};

/// The committed object, relative to the root. One serves x86-64 and aarch64: both are little-endian, and the programs read
/// saved registers by offsets that the loader gives them.
pub(super) const OBJECT: &str = "ebpf/prebuilt/schedscope.bpf.o";
pub(super) const STAMP: &str = "ebpf/prebuilt/STAMP";
/// Modules that the compiler leaves out of the BPF target, as files and directories: an edit of them needs no new object.
const HOST_ONLY: [&str; 2] = ["tests.rs", "tests"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Digest of everything that goes into the object.
    pub sources: String,
    pub object: String,
    /// Versions of the tools that built it.
    pub versions: Vec<String>,
}

impl Stamp {
    pub(super) fn of(root: &Path, object: &[u8], versions: &[String]) -> Result<Self> {
        Ok(Self { sources: digest_of_sources(root)?, object: format!("{:x}", Sha256::digest(object)), versions: versions.to_vec() })
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

/// Fails unless the committed object and the sources are those of the stamp. Needs no BPF toolchain.
pub(super) fn verify(root: &Path) -> Result<()> {
    let stamp: Stamp = read_text(&root.join(STAMP))?.parse()?;
    let object = fs::read(root.join(OBJECT)).with_context(|| format!("cannot read {OBJECT}"))?;
    ensure!(
        stamp.object == format!("{:x}", Sha256::digest(object)),
        "{OBJECT} is not the one of {STAMP}: run `cargo xtask build-ebpf`"
    );
    ensure!(
        stamp.sources == digest_of_sources(root)?,
        "the sources of the BPF programs changed since {OBJECT} was built: run `cargo xtask build-ebpf`"
    );
    Ok(())
}

/// Digest of everything but the tools that decides the object's bytes: sources, manifest, locked crates, flags.
fn digest_of_sources(root: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    let mut add = |name: &str, content: &str| {
        for part in [name, content] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    };
    for path in files_below(&root.join("ebpf/src"))? {
        let name = path.strip_prefix(root)?.to_string_lossy();
        if name.ends_with(".rs") && !name.split('/').any(|part| HOST_ONLY.contains(&part)) {
            add(&name, &read_text(&path)?);
        }
    }
    let manifest: Table = read_text(&root.join("ebpf/Cargo.toml"))?.parse().context("ebpf/Cargo.toml")?;
    for part in ["lib", "bin", "features", "dependencies"] {
        add(part, &manifest.get(part).map(Value::to_string).unwrap_or_default());
    }
    let lock: Table = read_text(&root.join("Cargo.lock"))?.parse().context("Cargo.lock")?;
    for package in lock.get("package").and_then(Value::as_array).context("Cargo.lock lists no packages")? {
        if package.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("aya-ebpf")) {
            add("lock", &package.to_string());
        }
    }
    add("flags", &recipe::RUSTFLAGS.join(" "));
    add("profile", &recipe::PROFILE.join(" "));
    Ok(format!("{:x}", digest.finalize()))
}

#[cfg(test)]
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
        let inputs = [("Cargo.lock", lock), ("ebpf/Cargo.toml", manifest), ("ebpf/src/abi.rs", "mod tests;")];
        for (name, text) in inputs {
            write(name, text);
        }
        let digest = || digest_of_sources(dir.path()).unwrap();
        let before = digest();

        write("ebpf/src/abi/tests.rs", "mod x;");
        write("ebpf/src/abi/tests/x.rs", "");
        write("ebpf/Cargo.toml", &format!("{manifest}[dev-dependencies]\nproptest = \"1\"\n"));
        write("Cargo.lock", &lock.replace("other", "another"));
        assert_eq!(digest(), before);

        let edits = [lock.replace("\"c\"", "\"d\""), manifest.replace('1', "2"), "mod tests; // x".to_owned()];
        for ((name, text), edited) in inputs.iter().zip(edits) {
            write(name, &edited);
            assert_ne!(digest(), before, "{name}");
            write(name, text);
            assert_eq!(digest(), before);
        }
        write("ebpf/src/hooks/new.rs", "");
        assert_ne!(digest(), before);
    }
}
