//! A machine under QEMU, by emulation: nested virtualisation is seldom there. Its kernel's messages go to a file, the plan's
//! results to us.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{
    monitor,
    plan::{CPUS, Message},
};
use crate::workspace::find_program;

const QEMU: &str = "qemu-system-x86_64";
/// Names of the sockets.
const MONITOR: &str = "monitor";
const CONSOLE: &str = "console";
/// Lines of the kernel's to show of a machine that fell silent, once it has been made to say where every processor is.
const LAST_WORDS: usize = 200;

/// A machine that runs; dropping it switches it off.
pub(crate) struct Machine {
    qemu: Child,
    lines: Receiver<String>,
    console: PathBuf,
    /// Sockets of the monitor and of the console.
    sockets: TempDir,
}

impl Machine {
    /// Boots a kernel; its messages go to `console`.
    pub(crate) fn boot(image: &Path, initramfs: &Path, console: &Path) -> Result<Self> {
        let sockets = tempfile::tempdir().context("cannot create a temporary directory")?;
        let (monitor, line) = (sockets.path().join(MONITOR), sockets.path().join(CONSOLE));
        let mut command = Command::new(find_qemu()?);
        command.args(HARDWARE).args(["-smp", &format!("{CPUS},sockets=2,cores=2,threads=2")]);
        command.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
        command.args(["-append", KERNEL_ARGUMENTS]);
        command.arg("-monitor").arg(format!("unix:{},server=on,wait=off", monitor.display()));
        command.arg("-chardev").arg(format!(
            "socket,id=console,path={},server=on,wait=off,logfile={}",
            line.display(),
            console.display()
        ));
        command.args(["-serial", "chardev:console", "-serial", "stdio"]);
        // SAFETY: prctl may be called between fork and exec, and touches no memory of ours.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        let mut qemu = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {QEMU}"))?;
        let output = qemu.stdout.take().context("QEMU has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            // Whoever does not want the rest has dropped the receiver.
            let _ = lines.map(|line| sender.send(line)).take_while(Result::is_ok).count();
        });
        Ok(Self { qemu, lines, console: console.to_owned(), sockets })
    }

    /// The next message, waiting at most so long.
    pub(crate) fn next(&mut self, patience: Duration) -> Result<Message> {
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => return serde_json::from_str(line.trim()).with_context(|| format!("the machine said: {line}")),
                Err(RecvTimeoutError::Timeout) => {
                    let processors = monitor::examine(&self.sockets.path().join(MONITOR), &self.sockets.path().join(CONSOLE));
                    bail!("the machine said nothing for {} s\n{processors}\n{}", patience.as_secs(), self.last_words(LAST_WORDS))
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the machine ended too early; {}", self.complaint()),
            }
        }
    }

    /// What QEMU says, which has ended, or else what the kernel said.
    fn complaint(&mut self) -> String {
        let mut errors = String::new();
        if let Some(mut stderr) = self.qemu.stderr.take() {
            let _ = stderr.read_to_string(&mut errors);
        }
        format!("{}{}", self.last_words(20), if errors.is_empty() { errors } else { format!("; QEMU says: {}", errors.trim()) })
    }

    fn last_words(&self, count: usize) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        format!("its kernel's last messages:\n{}", lines[lines.len().saturating_sub(count)..].join("\n"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Warnings are shown. The mitigations are against an attacker who is not here, and take time. The emulated processor's clock is one
/// for all CPUs, though a starved host makes the kernel doubt it.
const KERNEL_ARGUMENTS: &str =
    "console=ttyS0 loglevel=5 panic=-1 mitigations=off tsc=reliable sysrq_always_enabled rdinit=/init -- vm --guest";

/// Two nodes of memory, one for each socket, and no more devices than the serial ports. An AMD processor would need a feature that
/// emulation lacks to show its threads.
const HARDWARE: [&str; 19] = [
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    "max,vendor=GenuineIntel,monitor=off",
    "-m",
    "2048",
    "-object",
    "memory-backend-ram,id=m0,size=1G",
    "-object",
    "memory-backend-ram,id=m1,size=1G",
    "-numa",
    "node,nodeid=0,cpus=0-3,memdev=m0",
    "-numa",
    "node,nodeid=1,cpus=4-7,memdev=m1",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
];

/// The emulator; the error says what to install.
pub(crate) fn find_qemu() -> Result<PathBuf> {
    find_program(QEMU).with_context(|| {
        format!("no {QEMU}: install it (`apt-get install --no-install-recommends qemu-system-x86` on Debian and Ubuntu)")
    })
}
