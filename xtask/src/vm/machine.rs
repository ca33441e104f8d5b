//! A machine under QEMU, by emulation, since nested virtualisation is rarely available. Its kernel's messages go to a file, the results of
//! the plan to us.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use super::plan::{CPUS, Message};
use crate::workspace::find_program;

const QEMU: &str = "qemu-system-x86_64";
/// How many of the kernel's last lines to show when a machine fails: a stuck processor's backtrace, or an oops, is among them.
const LAST_WORDS: usize = 100;

/// Warnings are shown. The mitigations are against an attacker who is not here, and take time. The emulated processor has one clock
/// for all CPUs, though a starved host makes the kernel doubt it.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 loglevel=5 panic=-1 mitigations=off tsc=reliable rdinit=/init -- vm --guest";

/// Two nodes of memory, one for each socket, and no devices but the serial ports. An AMD processor would need a feature that
/// emulation lacks to show its threads. With an interval timer (PIT), a kernel on a starved host measures its clock by that and may take
/// it for eight times slower than it is.
const HARDWARE: &str = "-machine pc,pit=off -accel tcg,thread=multi -cpu max,vendor=GenuineIntel,monitor=off -m 2048 \
    -object memory-backend-ram,id=m0,size=1G -object memory-backend-ram,id=m1,size=1G \
    -numa node,nodeid=0,cpus=0-3,memdev=m0 -numa node,nodeid=1,cpus=4-7,memdev=m1 \
    -nodefaults -no-user-config -display none -monitor none -no-reboot";

/// A machine that runs; dropping it switches it off.
pub(crate) struct Machine {
    qemu: Child,
    lines: Receiver<String>,
    console: PathBuf,
}

impl Machine {
    /// Boots a kernel; its messages go to `console`.
    pub(crate) fn boot(image: &Path, initramfs: &Path, console: &Path) -> Result<Self> {
        // The machine ends with this program even if that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(find_qemu()?);
        command.args(HARDWARE.split_whitespace()).args(["-smp", &format!("{CPUS},sockets=2,cores=2,threads=2")]);
        command.arg("-kernel").arg(image).arg("-initrd").arg(initramfs).args(["-append", KERNEL_ARGUMENTS]);
        command.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut qemu = command.spawn().context("cannot start setpriv, which is in util-linux")?;
        let output = qemu.stdout.take().context("QEMU has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            // Whoever does not want the rest has dropped the receiver.
            let _ = lines.map(|line| sender.send(line)).take_while(Result::is_ok).count();
        });
        Ok(Self { qemu, lines, console: console.to_owned() })
    }

    pub(crate) fn next(&mut self, patience: Duration) -> Result<Message> {
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => return serde_json::from_str(line.trim()).with_context(|| format!("the machine said: {line}")),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the machine said nothing for {} s; {}", patience.as_secs(), self.last_words())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the machine ended too early; {}{}", self.last_words(), self.complaint())
                }
            }
        }
    }

    fn complaint(&mut self) -> String {
        let mut errors = String::new();
        if let Some(mut stderr) = self.qemu.stderr.take() {
            let _ = stderr.read_to_string(&mut errors);
        }
        if errors.is_empty() { errors } else { format!("; QEMU says: {}", errors.trim()) }
    }

    fn last_words(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        format!("its kernel's last messages:\n{}", lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// The emulator; the error says what to install.
pub(crate) fn find_qemu() -> Result<PathBuf> {
    find_program(QEMU).with_context(|| {
        format!("no {QEMU}: install it (`apt-get install --no-install-recommends qemu-system-x86` on Debian and Ubuntu)")
    })
}
