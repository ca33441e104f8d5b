//! How the object is built. Nothing here may depend on where the checkout, the registry or the target directory are: the same
//! sources and toolchain give the same bytes on every machine.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

use super::toolchain::Toolchain;
use crate::workspace::{cargo, registry_sources, root, run, target_dir};

/// Flags of the compiler. CPU version 3 (Linux 5.1) has 32-bit comparisons, without which the verifier loses the bounds of
/// indices. BTF is made from debug information, which the library's own crates need too; hence a flag, not the profile. The
/// architecture only selects definitions of `pt_regs` that we do not use, and would otherwise be the build machine's.
pub(super) const RUSTFLAGS: [&str; 4] =
    ["-Ctarget-cpu=v3", "-Cdebuginfo=2", "-Clink-arg=--btf", r#"--cfg=bpf_target_arch="x86_64""#];

/// A profile of its own, so that no edit of the host's profiles changes the object.
pub(super) const PROFILE: [&str; 8] = [
    "inherits='release'",
    "opt-level=3",
    "debug=2",
    "codegen-units=1",
    "lto=false",
    "overflow-checks=false",
    "debug-assertions=false",
    "incremental=false",
];

/// Debug sections, and the relocations of them and of BTF, which no loader applies. The kernel reads `.BTF` and `.BTF.ext`, which are
/// made from them and stay.
const DROPPED: [&[u8]; 3] = [b".debug_", b".rel.debug_", b".rel.BTF"];

const TARGET: &str = "bpfel-unknown-none";
const BINARY: &str = "schedscope-bpf";

pub(super) fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let target = target_dir().join("bpf");
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let linker = linker_script(toolchain, &target)?;

    let mut command = cargo();
    command.args(["build", "--quiet", "--locked", "--package", "schedscope-ebpf", "--bin", BINARY, "--features", "kernel"]);
    command.args(["--profile", "bpf", "--target", TARGET, "-Zbuild-std=core"]).arg("--target-dir").arg(&target);
    for setting in PROFILE {
        command.args(["--config", &format!("profile.bpf.{setting}")]);
    }
    command.env("RUSTC", &toolchain.compiler.rustc);
    // The BPF target and inline assembly for it are unstable; distributions ship no nightly compiler.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain, &target)?.join("\u{1f}"));
    for wrapper in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(wrapper);
    }
    run(&mut command).context("building the BPF programs")?;

    let built = target.join(TARGET).join("bpf").join(BINARY);
    let object = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    strip(&object).with_context(|| format!("cannot strip {}", built.display()))
}

/// The flags, and a fixed name for every directory that the object would otherwise mention.
fn flags(toolchain: &Toolchain, target: &Path) -> Result<Vec<String>> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags: Vec<String> = RUSTFLAGS.iter().map(|&flag| flag.to_owned()).collect();
    flags.push(remap(root(), "/schedscope"));
    flags.push(remap(target, "/target"));
    flags.push(remap(&registry_sources()?, "/registry"));
    for sources in &toolchain.compiler.library_sources {
        flags.push(remap(sources, "/rust"));
    }
    Ok(flags)
}

/// bpf-linker loads the first libLLVM in its library path, which cargo and rustup fill with their own. This script hides theirs.
fn linker_script(toolchain: &Toolchain, target: &Path) -> Result<PathBuf> {
    let mut text = String::from("#!/bin/sh\n");
    if let Some(llvm) = &toolchain.llvm {
        let dir = target.join("llvm");
        let link = dir.join("libLLVM.so");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        symlink(llvm, &link).with_context(|| format!("cannot create {}", link.display()))?;
        writeln!(text, "export LD_LIBRARY_PATH={}", quoted(&dir))?;
    }
    writeln!(text, "exec {} \"$@\"", quoted(&toolchain.bpf_linker))?;

    let script = target.join("bpf-linker");
    fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        section.delete = DROPPED.iter().any(|prefix| section.name.starts_with(prefix));
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and symbols in one table; the writer wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;

    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}
