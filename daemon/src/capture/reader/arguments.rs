//! What an interpreter was started with. Its arguments are memory of the process: reading them waits for its address space, and may fault
//! its pages in, so only the helper does it.

use std::fs::File;
use std::io::Read;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};

use crate::capture::script;
use crate::capture::snapshot::Tgid;

/// Bytes of arguments that are read. The class path of a Java program alone can have ten thousand.
const ARGUMENTS_BYTES: u64 = 32 << 10;

/// The program that a process runs, if its executable is an interpreter that runs one.
pub(super) fn script_of(tgid: Tgid) -> Option<String> {
    let directory = format!("/proc/{}", tgid.0);
    let directory = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let path = readlinkat(&directory, "exe", Vec::new()).ok()?.into_bytes();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(&path);
    let executable = str::from_utf8(path.rsplit(|byte| *byte == b'/').next()?).ok()?;
    if !script::is_interpreter(executable) {
        return None;
    }
    let file = openat(&directory, "cmdline", OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()).ok()?;
    let mut arguments = Vec::new();
    File::from(file).take(ARGUMENTS_BYTES).read_to_end(&mut arguments).ok()?;
    script::script(executable, &arguments)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// What is found of a process that prints a line and waits for one.
    fn of(command: &mut Command) -> Option<String> {
        let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0];
        child.stdout.take().unwrap().read_exact(&mut said).unwrap();
        let found = script_of(Tgid(child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
        found
    }

    #[test]
    fn a_shell_runs_its_script_and_others_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.sh");
        std::fs::write(&path, "echo; read line").unwrap();
        assert_eq!(of(Command::new("sh").arg("-e").arg(&path)).as_deref(), Some("job.sh"));
        assert_eq!(of(Command::new("sh").args(["-c", "echo; read line"])), None);
        // However much follows it; but not if it is not in what is read.
        let many = vec!["-e"; usize::try_from(ARGUMENTS_BYTES / 3).unwrap()];
        assert_eq!(of(Command::new("sh").arg(&path).args(&many)).as_deref(), Some("job.sh"));
        assert_eq!(of(Command::new("sh").args(&many).arg(&path)), None);
        assert_eq!(script_of(Tgid(std::process::id())), None);
        assert_eq!(script_of(Tgid(u32::MAX)), None);
    }
}
