//! Compilers that can build for the BPF target: any Rust from 1.87 on whose library sources are installed, and bpf-linker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::workspace::{find_program, output};

/// Version of bpf-linker to install. The last that needs no LLVM of the system: it loads the compiler's, if that is [`LLVM`].
pub(crate) const BPF_LINKER: &str = "0.10.4";
/// Major version of LLVM that bpf-linker of this version understands.
const LLVM: &str = "22";
/// Toolchain of rustup with that LLVM, for systems whose packages have none.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-20";
/// Debian packages with a new enough compiler and its library sources.
pub(crate) const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
/// Oldest compiler that aya-ebpf accepts, as major and minor.
const OLDEST_RUST: (u32, u32) = (1, 87);

/// What a build needs.
pub(crate) struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// Sources of the standard library, as the compiler names them and with symbolic links resolved.
    pub library_sources: [PathBuf; 2],
    /// Links BPF objects.
    pub bpf_linker: PathBuf,
    /// The compiler's LLVM, which bpf-linker loads; none if it is linked statically.
    pub llvm: Option<PathBuf>,
    versions: Vec<String>,
}

impl Toolchain {
    /// Looks for a compiler, the distribution's first, then rustup's; the error says what to install.
    pub(crate) fn find() -> Result<Self> {
        let rustc = compiler();
        let linker = find_program("bpf-linker");
        let (Some(rustc), Some(bpf_linker)) = (&rustc, &linker) else {
            bail!("{}", advice(rustc.is_none(), linker.is_none()));
        };
        let verbose = output(Command::new(rustc).arg("-vV"))?;
        let llvm_major = llvm_major(&verbose).context("the compiler does not tell its version of LLVM")?;
        let linker_version = output(Command::new(bpf_linker).arg("--version"))?;
        Ok(Self {
            library_sources: library_sources(rustc).context("the compiler's library sources are gone")?,
            llvm: llvm_library(&sysroot(rustc)?, field(&verbose, "host: ").unwrap_or_default(), llvm_major)?,
            versions: vec![
                verbose.lines().next().unwrap_or_default().to_owned(),
                format!("LLVM {}", field(&verbose, "LLVM version: ").unwrap_or_default()),
                linker_version.trim().to_owned(),
            ],
            rustc: rustc.clone(),
            bpf_linker: bpf_linker.clone(),
        })
    }

    /// True if only bpf-linker can be missing.
    pub(crate) fn has_compiler() -> bool {
        compiler().is_some()
    }

    /// All that the object's bytes depend on besides its sources; cargo's version is no part of it.
    pub(crate) fn versions(&self) -> &[String] {
        &self.versions
    }
}

/// The distribution's compiler comes first, because the committed object was built by one; a fitting LLVM counts for more.
fn compiler() -> Option<PathBuf> {
    let mut usable = candidates();
    usable.retain(|rustc| library_sources(rustc).is_some() && is_new_enough(rustc));
    let fits = |rustc: &&PathBuf| output(Command::new(rustc).arg("-vV")).is_ok_and(|verbose| llvm_major(&verbose) == Some(LLVM));
    usable.iter().find(fits).or(usable.first()).cloned()
}

fn candidates() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/usr/bin/rustc")];
    let toolchains = output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    for toolchain in toolchains.lines().filter_map(|line| line.split(' ').next()) {
        if let Ok(path) = output(Command::new("rustup").args(["which", "--toolchain", toolchain, "rustc"])) {
            found.push(PathBuf::from(path.trim()));
        }
    }
    found
}

fn llvm_major(verbose: &str) -> Option<&str> {
    field(verbose, "LLVM version: ")?.split('.').next()
}

fn sysroot(rustc: &Path) -> Result<PathBuf> {
    Ok(PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?.trim()))
}

fn library_sources(rustc: &Path) -> Option<[PathBuf; 2]> {
    let named = sysroot(rustc).ok()?.join("lib/rustlib/src/rust");
    let resolved = fs::canonicalize(&named).ok()?;
    resolved.join("library/core/src/lib.rs").is_file().then_some([named, resolved])
}

fn is_new_enough(rustc: &Path) -> bool {
    output(Command::new(rustc).arg("-vV")).is_ok_and(|verbose| {
        let mut numbers = field(&verbose, "release: ").unwrap_or_default().split('.').map_while(|number| number.parse().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST_RUST
    })
}

/// bpf-linker loads the first libLLVM that it finds in its search path, whichever that is. The result decides the object's
/// bytes, so it must be the one that the compiler was built with.
fn llvm_library(sysroot: &Path, host: &str, major: &str) -> Result<Option<PathBuf>> {
    let multiarch = host.replace("-unknown", "");
    for dir in [sysroot.join("lib"), sysroot.join("lib").join(multiarch)] {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("libLLVM") && has_version(&name, major) && is_elf(&path) {
                return Ok(Some(fs::canonicalize(path)?));
            }
        }
    }
    Ok(None)
}

/// `libLLVM.so.22.1`, `libLLVM-22.so.1` and `libLLVM.so.22.1-rust-1.95.0-stable` have version 22.
fn has_version(name: &str, major: &str) -> bool {
    let rest = name.trim_start_matches("libLLVM").trim_start_matches(".so").trim_start_matches(['-', '.']);
    rest.strip_prefix(major).is_some_and(|rest| rest.starts_with(['.', '-']) || rest.is_empty())
}

/// rustup ships a linker script under a library's name.
fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

fn advice(without_rustc: bool, without_linker: bool) -> anyhow::Error {
    let mut lines = vec!["the BPF programs cannot be built here".to_owned()];
    if without_rustc {
        lines.push("  no Rust compiler from 1.87 on with its library sources; install one of:".to_owned());
        lines.push(format!("    apt-get install {}   (Debian)", DEBIAN_PACKAGES.join(" ")));
        lines.push(format!("    rustup toolchain install {NIGHTLY} --profile minimal --component rust-src"));
    }
    if without_linker {
        lines.push("  no bpf-linker; install it:".to_owned());
        lines.push(format!("    cargo install bpf-linker@{BPF_LINKER} --locked"));
    }
    lines.push("nothing else needs it: `cargo build` uses the committed object".to_owned());
    anyhow!(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_a_library_name_is_its_llvm() {
        for name in ["libLLVM.so.22.1", "libLLVM-22.so.1", "libLLVM-22.so", "libLLVM.so.22.1-rust-1.95.0-stable"] {
            assert!(has_version(name, "22"), "{name}");
            assert!(!has_version(name, "2") && !has_version(name, "1"), "{name}");
        }
        assert!(!has_version("libLLVM-14.0.6.so.1", "22"));
    }

    #[test]
    fn advice_names_only_what_is_missing() {
        let linker = advice(false, true).to_string();
        assert!(linker.contains("cargo install bpf-linker@") && !linker.contains("apt-get"));
        let rustc = advice(true, false).to_string();
        assert!(rustc.contains("apt-get install rustc-web rust-web-src") && rustc.contains("rustup toolchain install nightly-"));
        assert!(!rustc.contains("cargo install"));
    }
}
