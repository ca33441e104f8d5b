//! How the machines of each architecture are emulated.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::plan::CPUS;
use crate::architecture::Architecture;
use crate::workspace::find_program;

/// Two nodes of memory, one for each socket, and no devices but the serial ports.
const NODES: &str = "-m 2048 -object memory-backend-ram,id=m0,size=1G -object memory-backend-ram,id=m1,size=1G \
    -numa node,nodeid=0,cpus=0-3,memdev=m0 -numa node,nodeid=1,cpus=4-7,memdev=m1 \
    -nodefaults -no-user-config -display none -monitor none -no-reboot";

impl Architecture {
    fn qemu_and_its_package(self) -> (&'static str, &'static str) {
        match self {
            Self::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
            Self::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
        }
    }

    /// The emulator; the error says what to install.
    pub(crate) fn find_qemu(self) -> Result<PathBuf> {
        let (qemu, package) = self.qemu_and_its_package();
        find_program(qemu).with_context(|| {
            format!("no {qemu}: install it (`apt-get install --no-install-recommends {package}` on Debian and Ubuntu)")
        })
    }

    /// The emulator's arguments, without kernel and ports.
    ///
    /// An AMD processor would need a feature that emulation lacks to show its threads. With an interval timer (PIT), a kernel on a
    /// starved host measures its clock by that and may take it for eight times slower than it is. Signing pointers as a real ARM
    /// processor does takes most of an emulated one's time; and cores there have one thread each, as most have.
    pub(super) fn hardware(self) -> Vec<String> {
        let (machine, cores) = match self {
            Self::X86_64 => {
                ("-machine pc,pit=off -accel tcg,thread=multi -cpu max,vendor=GenuineIntel,monitor=off", "cores=2,threads=2")
            }
            Self::Aarch64 => ("-machine virt -accel tcg,thread=multi -cpu max,pauth-impdef=on", "cores=4,threads=1"),
        };
        let topology = format!("-smp {CPUS},sockets=2,{cores}");
        [machine, NODES, &topology].iter().flat_map(|part| part.split_whitespace()).map(ToOwned::to_owned).collect()
    }

    /// Whether the kernel is told of threads of one core, and of a cache for each socket. An ARM kernel is told of one cache for all, or
    /// of none.
    pub(super) fn tells_of_caches(self) -> bool {
        self == Self::X86_64
    }

    /// Warnings are shown. The mitigations are against an attacker who is not here, and take time. The emulated processor has one clock
    /// for all CPUs, though a starved host makes the kernel doubt it.
    pub(super) fn kernel_arguments(self) -> String {
        let own = match self {
            Self::X86_64 => "console=ttyS0 tsc=reliable",
            Self::Aarch64 => "console=ttyAMA0",
        };
        format!("{own} loglevel=5 panic=-1 mitigations=off rdinit=/init -- vm --guest")
    }

    /// The emulator's arguments for the port with the results, which is its standard output. The first port has the kernel's messages.
    pub(super) fn second_port(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["-serial", "stdio"],
            // This machine has one by itself.
            Self::Aarch64 => &["-chardev", "stdio,id=results", "-device", "pci-serial,chardev=results"],
        }
    }
}

/// The port with the results, from the inside.
pub(super) const RESULTS: &str = if cfg!(target_arch = "x86_64") { "/dev/ttyS1" } else { "/dev/ttyS0" };
