//! What checks need from the host. As root on Debian or Ubuntu it is installed; elsewhere the reason says what to install.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::check::Outcome;
use crate::{
    build_ebpf::{BPF_LINKER, DEBIAN_PACKAGES, NIGHTLY, Toolchain},
    grafana::panels,
    vm,
    workspace::{cargo, find_program, output, run, tools_dir},
};

/// Something that a check can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// `cargo fmt`.
    Rustfmt,
    /// `cargo clippy`.
    Clippy,
    /// A Python 3.
    Python,
    /// A compiler for the BPF target, and its linker.
    BpfToolchain,
    /// Prometheus's checker of metrics and rules.
    Promtool,
    /// Chromium, for the daemon's page.
    Browser,
    /// Node.js and npm, for the dashboards drawn by Grafana's libraries.
    Node,
    /// An emulator for machines of other kernels, and Debian's tools to get those kernels.
    Machines,
    /// Root, BTF, and a kernel that lets root use BPF.
    Bpf,
}

/// What is known of this host.
pub(super) struct Host {
    /// apt-get may be used.
    can_install: bool,
    has_updated: bool,
    /// Each need is looked at once.
    known: BTreeMap<Need, Result<(), Outcome>>,
}

impl Host {
    pub(super) fn detect() -> Self {
        let can_install = is_root() && find_program("apt-get").is_some() && Path::new("/etc/debian_version").exists();
        Self { can_install, has_updated: false, known: BTreeMap::new() }
    }

    /// Makes sure of a need; if that is impossible, says how the check ends.
    pub(super) fn satisfy(&mut self, need: Need) -> Result<(), Outcome> {
        if let Some(known) = self.known.get(&need) {
            return known.clone();
        }
        let result = self.provide(need);
        self.known.insert(need, result.clone());
        result
    }

    fn provide(&mut self, need: Need) -> Result<(), Outcome> {
        let Err(lack) = present(need) else { return Ok(()) };
        println!("{need:?}: {lack:#}");
        let installed = match need {
            Need::Rustfmt => run(Command::new("rustup").args(["component", "add", "rustfmt"])),
            Need::Clippy => run(Command::new("rustup").args(["component", "add", "clippy"])),
            Need::Python => self.apt_install(&["python3"]),
            Need::BpfToolchain => self.install_bpf_toolchain(),
            Need::Promtool => self.unpack_promtool(),
            Need::Browser => self.apt_install(&["chromium"]),
            Need::Node => self.apt_install(&["nodejs", "npm"]),
            Need::Machines => self.apt_install(&["qemu-system-x86", "debian-archive-keyring"]),
            Need::Bpf => Err(anyhow::anyhow!("no package gives it")),
        };
        match (installed, present(need)) {
            (_, Ok(())) => Ok(()),
            (Ok(()), Err(lack)) => Err(skipped(&lack, true)),
            (Err(error), Err(lack)) => {
                println!("{error:#}");
                Err(skipped(&lack, false))
            }
        }
    }

    fn install_bpf_toolchain(&mut self) -> Result<()> {
        if !Toolchain::has_compiler() && self.apt_install(&DEBIAN_PACKAGES).is_err() {
            // Ubuntu has no compiler that is new enough.
            let arguments = ["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"];
            run(Command::new("rustup").args(arguments))?;
        }
        if find_program("bpf-linker").is_none() {
            run(cargo().args(["install", &format!("bpf-linker@{BPF_LINKER}"), "--locked"]))?;
        }
        Ok(())
    }

    /// Installing the package would start a server, so only its files are taken.
    fn unpack_promtool(&mut self) -> Result<()> {
        self.require_apt("prometheus")?;
        let dir = tools_dir();
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        run(Command::new("apt-get").args(["download", "prometheus"]).current_dir(&dir))?;
        let entries = fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        let packages: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let package = packages.iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        run(Command::new("dpkg-deb").arg("--extract").arg(package.context("apt-get left no package")?).arg(&dir))
    }

    fn apt_install(&mut self, packages: &[&str]) -> Result<()> {
        for package in packages {
            self.require_apt(package)?;
        }
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
        run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    }

    fn update(&mut self) -> Result<()> {
        if self.has_updated {
            return Ok(());
        }
        self.has_updated = true;
        run(Command::new("apt-get").arg("update"))
    }

    /// Fails if this host can't install the package.
    fn require_apt(&mut self, package: &str) -> Result<()> {
        if !self.can_install {
            bail!("installing packages needs root on Debian or Ubuntu");
        }
        // A list as old as the machine's image may name a compiler that is too old, or a file that is gone.
        self.update()?;
        if !has_candidate(package) {
            bail!("the package sources of this host have no {package}");
        }
        Ok(())
    }
}

fn has_candidate(package: &str) -> bool {
    let policy = output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C")).unwrap_or_default();
    policy.lines().any(|line| line.trim_start().strip_prefix("Candidate: ").is_some_and(|version| version != "(none)"))
}

fn skipped(lack: &anyhow::Error, is_avoidable: bool) -> Outcome {
    Outcome::Skipped { reason: lack.to_string(), is_avoidable }
}

/// Whether the host has it now; the error says what to do.
fn present(need: Need) -> Result<()> {
    match need {
        Need::Rustfmt => component("fmt", "rustfmt"),
        Need::Clippy => component("clippy", "clippy"),
        Need::Python => find_program("python3").map(|_| ()).context("no python3: install Python 3.8 or later"),
        Need::BpfToolchain => Toolchain::find().map(|_| ()),
        Need::Promtool => find_program("promtool").map(|_| ()).context("no promtool: install Prometheus"),
        Need::Browser => find_program("chromium").map(|_| ()).context("no chromium: install the package of this name"),
        Need::Node => panels::check_node(),
        Need::Machines => vm::find_qemu().map(|_| ()),
        Need::Bpf => bpf(),
    }
}

fn component(subcommand: &str, name: &str) -> Result<()> {
    let context = || format!("no cargo {subcommand}: run `rustup component add {name}`");
    output(cargo().args([subcommand, "--version"])).map(|_| ()).with_context(context)
}

fn bpf() -> Result<()> {
    if !is_root() {
        bail!("needs root: run `sudo -E env PATH=$PATH cargo xtask test`");
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        bail!("this kernel has no BTF (/sys/kernel/btf/vmlinux): boot one built with CONFIG_DEBUG_INFO_BTF");
    }
    create_map().context("the kernel refuses BPF to root: a container needs CAP_BPF and CAP_PERFMON, or --privileged")
}

fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Asks the kernel for the smallest map there is.
fn create_map() -> io::Result<()> {
    const BPF_MAP_CREATE: libc::c_long = 0;
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    // The beginning of `union bpf_attr` for this command: type, sizes of key and value, entries, flags.
    let attributes: [u32; 5] = [BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0];
    // SAFETY: the kernel reads as many bytes as we say, and takes the rest of the union for zero.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, attributes.as_ptr(), size_of_val(&attributes)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's; it fits an int by the kernel's contract.
    unsafe { libc::close(i32::try_from(fd).unwrap_or(-1)) };
    Ok(())
}
