//! A child process that waits before its exec, so that it is registered before the command's first instruction.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::thread::JoinHandle;

use super::inherited::Inherited;
use super::quiescent::wait_until_in_syscall;
use super::snapshot::Tgid;

/// Why the command could not be started, with the exit code that shells use for it.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No such program.
    #[error("{0}: command not found; give a path, or check PATH")]
    NotFound(String),
    /// The file is there but cannot be executed.
    #[error("{0}: cannot be executed ({1}); is it a program, with the execute bit set?")]
    NotExecutable(String, io::Error),
    /// Pipes or processes ran out.
    #[error("cannot start a process: {0}")]
    System(#[from] io::Error),
}

impl SpawnError {
    /// 127 for a command that is not there, 126 for one that cannot be executed, 125 for our own failure.
    pub fn exit_code(&self) -> i32 {
        match self {
            SpawnError::NotFound(_) => 127,
            SpawnError::NotExecutable(..) => 126,
            SpawnError::System(_) => 125,
        }
    }
}

/// A forked child that waits before its exec.
pub struct Gated {
    program: String,
    tgid: Tgid,
    go: io::PipeWriter,
    spawning: JoinHandle<io::Result<Child>>,
}

impl Gated {
    /// Forks. The child waits for [`Gated::release`], or ends if we go away first.
    pub fn fork(words: &[impl AsRef<OsStr>]) -> Result<Gated, SpawnError> {
        Gated::prepared(command(words)?)
    }

    /// The same for a command whose input and output are already arranged. Its signals are what ours were when we began.
    pub(crate) fn prepared(mut command: Command) -> Result<Gated, SpawnError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let inherited = Inherited::get()?;
        let (mut pid_reader, pid_writer) = io::pipe()?;
        let (go_reader, go) = io::pipe()?;
        let (pid_fd, go_fd, our_end) = (pid_writer.as_raw_fd(), go_reader.as_raw_fd(), go.as_raw_fd());
        // SAFETY: between fork and exec the closure makes system calls only; the descriptors are open in the child. It runs after the
        // standard library has set SIGPIPE to its default.
        unsafe {
            command.pre_exec(move || {
                // The child has its own copy of our end. If that stayed open it would not notice that we have closed ours.
                libc::close(our_end);
                let pid = libc::getpid().to_ne_bytes();
                if libc::write(pid_fd, pid.as_ptr().cast(), pid.len()) != 4 {
                    return Err(io::Error::last_os_error());
                }
                let mut byte = 0_u8;
                loop {
                    match libc::read(go_fd, (&raw mut byte).cast(), 1) {
                        1 => return inherited.restore(),
                        0 => libc::_exit(125),
                        _ if *libc::__errno_location() == libc::EINTR => {}
                        _ => return Err(io::Error::last_os_error()),
                    }
                }
            });
        }
        // `spawn` returns only after the exec, hence in a thread of its own.
        let spawning = std::thread::Builder::new().name("spawn".into()).spawn(move || {
            let child = command.spawn();
            drop((pid_writer, go_reader));
            child
        })?;
        let mut pid = [0; 4];
        if let Err(error) = pid_reader.read_exact(&mut pid) {
            // There was no fork, and why not is known there.
            return Err(SpawnError::System(started(spawning).err().unwrap_or(error)));
        }
        let pid = u32::from_ne_bytes(pid);
        // Asleep and off its CPU, it changes none of the kernel's counts until the release. Where we may not ask we go on: then what it
        // does before it sleeps may or may not be counted.
        let _ = wait_until_in_syscall(pid, pid, libc::SYS_read);
        Ok(Gated { program, tgid: Tgid(pid), go, spawning })
    }

    /// The child's process id.
    pub fn tgid(&self) -> Tgid {
        self.tgid
    }

    /// Lets the child exec the command.
    pub fn release(self) -> Result<Child, SpawnError> {
        let Gated { program, mut go, spawning, .. } = self;
        go.write_all(&[1])?;
        drop(go);
        started(spawning).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SpawnError::NotFound(program),
            _ => SpawnError::NotExecutable(program, error),
        })
    }
}

/// A command from its words, as bytes.
pub(crate) fn command(words: &[impl AsRef<OsStr>]) -> io::Result<Command> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

fn started(spawning: JoinHandle<io::Result<Child>>) -> io::Result<Child> {
    spawning.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts the command failed")))
}

/// The code that a shell would exit with: the command's own, or 128 plus the signal.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_keeps_its_pid_through_the_exec_and_a_signal_becomes_a_code_above_128() {
        for (script, code) in [("exit 7", 7), ("kill -TERM $$", 128 + libc::SIGTERM)] {
            let gated = Gated::fork(&["sh", "-c", script]).unwrap();
            let tgid = gated.tgid();
            let mut child = gated.release().unwrap();
            assert_eq!(Tgid(child.id()), tgid);
            assert_eq!(exit_code(child.wait().unwrap()), code);
        }
    }

    #[test]
    fn errors_name_the_command_and_have_the_shells_codes() {
        let missing = Gated::fork(&["/no/such/program"]).unwrap().release().unwrap_err();
        assert_eq!(missing.exit_code(), 127);
        assert!(missing.to_string().starts_with("/no/such/program: command not found"));
        let directory = Gated::fork(&["/"]).unwrap().release().unwrap_err();
        assert_eq!(directory.exit_code(), 126);
    }
}
