//! A machine under QEMU, by emulation, since nested virtualisation is rarely available. Its kernel's messages go to a file, the results of
//! the plan to us.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use super::plan::Message;
use crate::architecture::Architecture;

/// How many of the kernel's last lines to show when a machine fails: a stuck processor's backtrace, or an oops, is among them.
const LAST_WORDS: usize = 100;

/// A machine that runs; dropping it switches it off.
pub(crate) struct Machine {
    qemu: Child,
    lines: Receiver<String>,
    console: PathBuf,
}

impl Machine {
    /// Boots a kernel; its messages go to `console`.
    pub(crate) fn boot(architecture: Architecture, image: &Path, initramfs: &Path, console: &Path) -> Result<Self> {
        // The machine ends with this program even if that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(architecture.find_qemu()?);
        command.args(architecture.hardware()).arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
        command.args(["-append", &architecture.kernel_arguments()]);
        command.arg("-serial").arg(format!("file:{}", console.display())).args(architecture.second_port());
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
