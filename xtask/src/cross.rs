//! Building for aarch64 on another host, linked statically.
//!
//! The linker and the C compiler are those that Debian has for it. Rust's standard library for it is the toolchain's own where that has
//! one (`rustup target add aarch64-unknown-linux-gnu`); where none can be had, Debian's compiler is fetched with its own, and runs by
//! its own loader, so that nothing is installed.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::architecture::Architecture;
use crate::debian::{Archive, Release};
use crate::workspace::{cargo, find_program, output, run, target_dir};

const TRIPLE: &str = Architecture::Aarch64.triple();
const GCC: &str = "aarch64-linux-gnu-gcc";
pub(crate) const STRIP: &str = "aarch64-linux-gnu-strip";
/// Has a compiler that is not much older than the latest.
const RELEASE: Release = Release { suite: "testing", has_security: false };
/// What rustc depends on for programs of the host alone.
const FOR_THE_HOST: [&str; 3] = ["gcc", "binutils", "libc-dev"];

/// A compiler that has a standard library for aarch64.
pub(crate) struct Compiler {
    /// Another than that of the toolchain.
    rustc: Option<PathBuf>,
}

impl Compiler {
    pub(crate) fn find() -> Result<Self> {
        for program in [GCC, STRIP] {
            ensure!(
                find_program(program).is_some(),
                "no {program}: install it (`apt-get install --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross`)"
            );
        }
        // As Cargo chooses it.
        let own = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        if has_standard_library(&mut Command::new(own))? {
            return Ok(Self { rustc: None });
        }
        let dir = target_dir().join("cross");
        let rustc = dir.join("rustc");
        if !rustc.is_file() {
            println!("fetching Debian's rustc, since the toolchain has no standard library for aarch64");
            fetch(&dir).context("cannot fetch Debian's rustc; `rustup target add aarch64-unknown-linux-gnu` serves as well")?;
        }
        ensure!(has_standard_library(&mut Command::new(&rustc))?, "{} is incomplete: remove {}", rustc.display(), dir.display());
        Ok(Self { rustc: Some(rustc) })
    }

    /// Lets cargo, or what calls it, build for aarch64 if it is told to.
    pub(crate) fn set(&self, command: &mut Command) {
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", GCC).env("CC_aarch64_unknown_linux_gnu", GCC);
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
    }

    /// A cargo that builds for aarch64, statically.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        self.set(&mut command);
        // Of names and users, which glibc warns of, the tests resolve none.
        let flags = "-Ctarget-feature=+crt-static -Alinker_messages";
        command.env("CARGO_BUILD_TARGET", TRIPLE).env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags);
        command
    }

    /// Builds all programs, and returns where they are.
    pub(crate) fn build_debug(&self) -> Result<PathBuf> {
        run(self.cargo().args(["build", "--workspace", "--locked", "--bins"]))?;
        Ok(target_dir().join(TRIPLE).join("debug"))
    }
}

fn has_standard_library(rustc: &mut Command) -> Result<bool> {
    let dir = output(rustc.args(["--print", "target-libdir", "--target", TRIPLE]).stdin(Stdio::null()))?;
    Ok(Path::new(dir.trim()).is_dir())
}

/// Unpacks Debian's compiler for this host and its standard libraries for both, and writes the script `rustc` that runs it.
fn fetch(dir: &Path) -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "it is fetched for x86-64 hosts only");
    let root = dir.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    Archive::open(RELEASE, "amd64", None)?.unpack_all(&["rustc", "libstd-rust-dev"], &FOR_THE_HOST, &root)?;
    Archive::open(RELEASE, "arm64", None)?.unpack("libstd-rust-dev", &root)?;
    let usr = root.join("usr");
    let (usr, libraries) = (usr.display(), "lib/x86_64-linux-gnu");
    let loader = format!("{usr}/{libraries}/ld-linux-x86-64.so.2 --library-path {usr}/{libraries}");
    let rustc = dir.join("rustc");
    fs::write(&rustc, format!("#!/bin/sh\nexec {loader} {usr}/bin/rustc --sysroot {usr} \"$@\"\n"))
        .and_then(|()| fs::set_permissions(&rustc, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", rustc.display()))
}
