//! What checks need from the host. As root on Debian or Ubuntu it is installed; elsewhere the reason says what to install.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use schedscope::capture::kernel::enable_stats;
use schedscope::capture::preflight;

use crate::build_ebpf::{BPF_LINKER, DEBIAN_PACKAGES, NIGHTLY, Toolchain};
use crate::grafana::panels;
use crate::outcome::Outcome;
use crate::workspace::{cargo, find_program, output, require_root, run, tools_dir, unpack_package};
use crate::{chart, fuzz, oracles, vm};

/// Something that a check can't do without.
pub(super) struct Need {
    name: &'static str,
    /// Fails if the host lacks it; the error says what to do.
    find: fn() -> Result<()>,
    install: fn(&mut Host) -> Result<()>,
}

pub(super) const RUSTFMT: Need = Need {
    name: "rustfmt",
    find: || component("fmt", "rustfmt"),
    install: |_| run(Command::new("rustup").args(["component", "add", "rustfmt"])),
};
pub(super) const CLIPPY: Need = Need {
    name: "clippy",
    find: || component("clippy", "clippy"),
    install: |_| run(Command::new("rustup").args(["component", "add", "clippy"])),
};
pub(super) const PYTHON: Need = Need {
    name: "Python",
    find: || program("python3", "install Python 3.8 or later"),
    install: |host| host.apt_install(&["python3"]),
};
/// A compiler for the BPF target, and its linker.
pub(super) const BPF_TOOLCHAIN: Need =
    Need { name: "BPF toolchain", find: || Toolchain::find().map(|_| ()), install: Host::install_bpf_toolchain };
/// Prometheus's checker of metrics and rules.
pub(super) const PROMTOOL: Need = Need {
    name: "promtool",
    find: || program("promtool", "install Prometheus"),
    // Installing the package would start a server, so only its files are taken.
    install: |host| {
        host.update()?;
        unpack_package(&mut Command::new("apt-get"), "prometheus", &tools_dir())
    },
};
/// For the daemon's page.
pub(super) const BROWSER: Need = Need {
    name: "browser",
    find: || program("chromium", "install the package of this name"),
    install: |host| host.apt_install(&["chromium"]),
};
/// Node.js and npm, for the dashboards drawn by Grafana's libraries.
pub(super) const NODE: Need =
    Need { name: "Node.js", find: panels::check_node, install: |host| host.apt_install(&["nodejs", "npm"]) };
/// Helm's library, to render the chart.
pub(super) const HELM: Need = Need {
    name: "Helm",
    find: chart::find,
    install: |host| {
        // Where it is there already, nothing else is needed.
        let _ = host.apt_install(&["python3-venv"]);
        chart::install()
    },
};
/// An emulator for machines with other kernels, and Debian's tools to get those kernels.
pub(super) const MACHINES: Need = Need {
    name: "machines",
    find: || vm::HOST.find_qemu().map(|_| ()),
    install: |host| host.apt_install(&["qemu-system-x86", "debian-archive-keyring"]),
};
/// Servers and benchmarks to watch, and perf.
pub(super) const PROGRAMS: Need = Need {
    name: "programs",
    find: oracles::find_needed,
    install: |host| without_services(|| host.apt_install(&oracles::PACKAGES)),
};
/// Where ftrace is controlled.
pub(super) const TRACEFS: Need = Need {
    name: "tracefs",
    find: oracles::find_tracefs,
    install: |_| run(Command::new("mount").args(["-t", "tracefs", "nodev", oracles::TRACEFS])),
};
/// cargo-fuzz, and a nightly compiler. Building it takes longer than many a test, so it is used where it is.
pub(super) const FUZZER: Need = Need { name: "fuzzer", find: fuzz::find, install: |_| bail!("it is not installed for this alone") };
/// Root, BTF, and a kernel that lets root use BPF.
pub(super) const BPF: Need = Need { name: "BPF", find: find_bpf, install: |_| bail!("no package provides it") };

pub(super) struct Host {
    can_install: bool,
    has_updated: bool,
}

impl Host {
    pub(super) fn detect() -> Self {
        let is_debian = find_program("apt-get").is_some() && Path::new("/etc/debian_version").exists();
        Self { can_install: is_debian && require_root("test").is_ok(), has_updated: false }
    }

    /// Makes sure of a need; if that is impossible, returns how the check ends.
    pub(super) fn satisfy(&mut self, need: &Need) -> Result<(), Outcome> {
        let Err(lack) = (need.find)() else { return Ok(()) };
        println!("{}: {lack:#}", need.name);
        let installed = (need.install)(self);
        let Err(lack) = (need.find)() else { return Ok(()) };
        if let Err(error) = &installed {
            println!("{error:#}");
        }
        Err(Outcome::Skipped { reason: lack.to_string(), is_avoidable: installed.is_ok() })
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

    fn apt_install(&mut self, packages: &[&str]) -> Result<()> {
        self.update()?;
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
        run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    }

    /// A list as old as the machine's image may name a compiler that is too old, or a file that is gone.
    fn update(&mut self) -> Result<()> {
        ensure!(self.can_install, "installing packages needs root on Debian or Ubuntu");
        if !self.has_updated {
            self.has_updated = true;
            run(Command::new("apt-get").arg("update"))?;
        }
        Ok(())
    }
}

/// Installs servers without starting them: Debian's packages ask this file whether they may.
fn without_services(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let policy = Path::new("/usr/sbin/policy-rc.d");
    if policy.exists() {
        return install();
    }
    fs::write(policy, "#!/bin/sh\nexit 101\n")?;
    fs::set_permissions(policy, Permissions::from_mode(0o755))?;
    let installed = install();
    fs::remove_file(policy)?;
    installed
}

fn program(name: &str, advice: &str) -> Result<()> {
    find_program(name).map(|_| ()).with_context(|| format!("no {name}: {advice}"))
}

fn component(subcommand: &str, name: &str) -> Result<()> {
    let context = || format!("no cargo {subcommand}: run `rustup component add {name}`");
    output(cargo().args([subcommand, "--version"])).map(|_| ()).with_context(context)
}

/// Fails if programs cannot be loaded into the kernel here.
pub(crate) fn find_bpf() -> Result<()> {
    require_root("test")?;
    if let Some(lack) = preflight::first_fatal() {
        bail!("{}: {}", lack.what, lack.detail);
    }
    // Any call to bpf(2) would do.
    enable_stats().context("the kernel refuses BPF to root: a container needs --privileged")?;
    Ok(())
}
