//! Compilers that can build for the BPF target: any Rust from 1.88 on whose library sources are installed, and bpf-linker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::{find_program, output};

/// Version of bpf-linker to install: the last that needs no LLVM of the system, since it loads the compiler's, if that is [`LLVM`].
pub(crate) const BPF_LINKER: &str = "0.10.4";
/// Major version of LLVM that this bpf-linker understands.
const LLVM: &str = "22";
/// Toolchain of rustup with that LLVM, for systems whose packages have none.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-20";
/// Debian packages with a new enough compiler and its library sources.
pub(crate) const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
/// Oldest compiler that aya-ebpf accepts, as major and minor.
const OLDEST_RUST: (u32, u32) = (1, 88);

pub(crate) struct Toolchain {
    pub compiler: Compiler,
    pub bpf_linker: PathBuf,
    /// The compiler's LLVM, which bpf-linker loads; none if it is linked statically.
    pub llvm: Option<PathBuf>,
    /// What the object's bytes depend on besides its sources. cargo's version is no part of it.
    pub versions: Vec<String>,
}

impl Toolchain {
    /// Looks for a compiler, the distribution's first, then rustup's; the error says what to install.
    pub(crate) fn find() -> Result<Self> {
        let (compiler, linker) = (Compiler::find(), find_program("bpf-linker"));
        let advice = advice(compiler.is_none(), linker.is_none());
        let (compiler, bpf_linker) = compiler.zip(linker).context(advice)?;
        let linker_version = output(Command::new(&bpf_linker).arg("--version"))?;
        Ok(Self {
            llvm: compiler.llvm_library()?,
            versions: vec![
                compiler.verbose.lines().next().unwrap_or_default().to_owned(),
                format!("LLVM {}", compiler.field("LLVM version: ")),
                linker_version.trim().to_owned(),
            ],
            compiler,
            bpf_linker,
        })
    }

    /// True if only bpf-linker can be missing.
    pub(crate) fn has_compiler() -> bool {
        Compiler::find().is_some()
    }
}

/// A compiler that is new enough and has its library sources.
pub(crate) struct Compiler {
    pub rustc: PathBuf,
    sysroot: PathBuf,
    /// Sources of the standard library, as the compiler names them and with symbolic links resolved.
    pub library_sources: [PathBuf; 2],
    /// What it prints for `-vV`.
    verbose: String,
}

impl Compiler {
    /// The distribution's compiler comes first, because the committed object was built by one; a fitting LLVM counts for more.
    fn find() -> Option<Self> {
        let toolchains = output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
        let of_rustup = toolchains.lines().filter_map(|line| {
            let toolchain = line.split(' ').next()?;
            let path = output(Command::new("rustup").args(["which", "--toolchain", toolchain, "rustc"])).ok()?;
            Some(PathBuf::from(path.trim()))
        });
        let mut usable: Vec<Self> =
            [PathBuf::from("/usr/bin/rustc")].into_iter().chain(of_rustup).filter_map(Self::inspect).collect();
        usable.sort_by_key(|compiler| compiler.llvm_major() != LLVM);
        usable.into_iter().next()
    }

    fn inspect(rustc: PathBuf) -> Option<Self> {
        let print = |arguments: &[&str]| output(Command::new(&rustc).args(arguments)).ok();
        let (verbose, sysroot) = (print(&["-vV"])?, PathBuf::from(print(&["--print", "sysroot"])?.trim()));
        let named = sysroot.join("lib/rustlib/src/rust");
        let library_sources = [named.clone(), fs::canonicalize(&named).ok()?];
        let compiler = Self { rustc, sysroot, library_sources, verbose };
        let mut numbers = compiler.field("release: ").split('.').map_while(|number| number.parse().ok());
        let is_new_enough = (numbers.next()?, numbers.next()?) >= OLDEST_RUST;
        (is_new_enough && named.join("library/core/src/lib.rs").is_file()).then_some(compiler)
    }

    fn field(&self, name: &str) -> &str {
        self.verbose.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default()
    }

    fn llvm_major(&self) -> &str {
        self.field("LLVM version: ").split('.').next().unwrap_or_default()
    }

    /// bpf-linker loads the first libLLVM that it finds in its search path, whichever that is. It decides the object's bytes, so it
    /// must be the one that the compiler was built with.
    fn llvm_library(&self) -> Result<Option<PathBuf>> {
        let multiarch = self.field("host: ").replace("-unknown", "");
        for dir in [self.sysroot.join("lib"), self.sysroot.join("lib").join(multiarch)] {
            for entry in fs::read_dir(&dir).into_iter().flatten() {
                let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
                let is_llvm = is_llvm_library(&entry.file_name().to_string_lossy(), self.llvm_major());
                if is_llvm && is_elf(&entry.path()) {
                    return Ok(Some(fs::canonicalize(entry.path())?));
                }
            }
        }
        Ok(None)
    }
}

/// `libLLVM.so.22.1`, `libLLVM-22.so.1` and `libLLVM.so.22.1-rust-1.95.0-stable` have version 22.
fn is_llvm_library(name: &str, major: &str) -> bool {
    let Some(rest) = name.strip_prefix("libLLVM") else { return false };
    let version = rest.trim_start_matches(".so").trim_start_matches(['-', '.']);
    version.strip_prefix(major).is_some_and(|rest| rest.starts_with(['.', '-']) || rest.is_empty())
}

/// rustup ships a linker script under a library's name.
fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

fn advice(without_rustc: bool, without_linker: bool) -> String {
    let mut lines = vec!["the BPF programs cannot be built here".to_owned()];
    if without_rustc {
        lines.push("  no Rust compiler from 1.88 on with its library sources; install one of:".to_owned());
        lines.push(format!("    apt-get install {}   (Debian)", DEBIAN_PACKAGES.join(" ")));
        lines.push(format!("    rustup toolchain install {NIGHTLY} --profile minimal --component rust-src"));
    }
    if without_linker {
        lines.push("  no bpf-linker; install it:".to_owned());
        lines.push(format!("    cargo install bpf-linker@{BPF_LINKER} --locked"));
    }
    lines.push("nothing else needs it: `cargo build` uses the committed object".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_a_library_name_is_its_llvm() {
        for name in ["libLLVM.so.22.1", "libLLVM-22.so.1", "libLLVM-22.so", "libLLVM.so.22.1-rust-1.95.0-stable"] {
            assert!(is_llvm_library(name, "22"), "{name}");
            assert!(!is_llvm_library(name, "2") && !is_llvm_library(name, "1"), "{name}");
        }
        assert!(!is_llvm_library("libLLVM-14.0.6.so.1", "22"));
    }
}
