//! The program as it is shipped: static, and the same bytes from the same sources and tools wherever they are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::architecture::Architecture;
use crate::cross::Compiler;
use crate::workspace::{cargo, output, registry_sources, root, run, target_dir};

/// The profile in Cargo.toml.
pub(super) const PROFILE: &str = "dist";

/// What reproducible builds agreed on for the time of files: seconds since 1970.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// How one version is built.
pub(super) struct Build {
    pub architecture: Architecture,
    /// The compiler for another architecture than this host's.
    compiler: Option<Compiler>,
    pub version: &'static str,
    /// The time of every file that is packed, in seconds since 1970.
    pub epoch: u64,
    flags: String,
}

impl Build {
    pub(super) fn of_this_commit(architecture: Architecture) -> Result<Build> {
        let compiler = match architecture {
            _ if architecture.is_this_hosts() => None,
            Architecture::Aarch64 => Some(Compiler::find()?),
            Architecture::X86_64 => bail!("programs for x86-64 are built on such a host only"),
        };
        let version = env!("CARGO_PKG_VERSION");
        Ok(Build { architecture, compiler, version, epoch: epoch()?, flags: flags(architecture)?.join("\u{1f}") })
    }

    /// The name of a file for this version and processor.
    pub(super) fn named(&self, rest: &str) -> String {
        format!("schedscope-{}-{}{rest}", self.version, self.architecture.name())
    }

    /// Makes cargo, or what calls it, build the same program.
    pub(super) fn set(&self, command: &mut Command) {
        for variable in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            command.env_remove(variable);
        }
        command.current_dir(root()).env("CARGO_ENCODED_RUSTFLAGS", &self.flags).env(EPOCH, self.epoch.to_string());
        command.env("CARGO_TARGET_DIR", target_dir());
        if let Some(compiler) = &self.compiler {
            compiler.set(command);
        }
    }

    /// Builds the program.
    pub(super) fn program(&self) -> Result<Vec<u8>> {
        let mut command = cargo();
        self.set(&mut command);
        command.args(["build", "--locked", "--package", "schedscope", "--bins", "--profile", PROFILE]);
        run(command.args(["--target", self.architecture.triple()]))?;
        let path = self.directory().join("schedscope");
        let program = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if !is_static(&program).with_context(|| format!("cannot read {}", path.display()))? {
            bail!("{} needs the libraries of the machine it runs on: it was not linked statically", path.display());
        }
        Ok(program)
    }

    /// What the program may have; not bounded where its linker keeps every function that equals another.
    pub(super) fn most_bytes(&self) -> Option<usize> {
        (self.architecture == Architecture::X86_64).then_some(8 << 20)
    }

    /// Where cargo puts the program.
    pub(super) fn directory(&self) -> PathBuf {
        target_dir().join(self.architecture.triple()).join(PROFILE)
    }
}

/// What makes the program static, and what it says of its sources in a panic the same everywhere.
fn flags(architecture: Architecture) -> Result<Vec<String>> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    // Of those that fit the last counts, and the target directory may be in the checkout.
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        remap(root(), "/schedscope"),
        remap(&registry_sources()?, "/registry"),
        remap(&target_dir(), "/target"),
    ];
    if architecture == Architecture::X86_64 {
        // The linker that rustc brings along keeps one of several functions that are the same, a text that ends another one as its end, and
        // relocations in a tenth of the space.
        let words = ["--icf=all", "-O2", "--pack-dyn-relocs=relr"];
        flags.extend(words.map(|word| format!("-Clink-arg=-Wl,{word}")));
    }
    Ok(flags)
}

/// The time of the last commit, unless the environment has one.
fn epoch() -> Result<u64> {
    let given = env::var(EPOCH).ok();
    let text = match &given {
        Some(text) => text.clone(),
        None => output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()))
            .with_context(|| format!("the time of the last commit is not known; set {EPOCH}"))?,
    };
    text.trim().parse().with_context(|| format!("{} is no number of seconds", text.trim()))
}

/// Whether a program starts without a loader of libraries.
fn is_static(program: &[u8]) -> Result<bool> {
    let header = FileHeader64::<Endianness>::parse(program)?;
    let segments = header.program_headers(header.endian()?, program)?;
    Ok(segments.iter().all(|segment| segment.p_type(Endianness::Little) != PT_INTERP))
}
