//! The signals that would end us, and whether the traced command has had them too.
//!
//! `run` stands between whoever sends a signal and the command, and a command must get each signal once: from a terminal, which sends
//! Ctrl-C to the whole process group; from `kill` to the group; from `kill` to us alone; from a service manager, which sends it to each
//! process. The kernel does not say which it was: what we receive is the same. So `run` has a [`Witness`] in its process group, and what
//! the witness has not had, the command has not had either.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{ptr, thread};

use rustix::process::Signal;
use tokio::sync::mpsc;

use crate::capture::inherited::Inherited;

/// What ends a program that does nothing about it, by people's and service managers' hands.
pub(super) const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
/// Those, and what people send to programs that wait for it.
pub(super) const PASSED_ON: [Signal; 6] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];
/// Name of the subcommand that is the witness, and of its process: whoever ends processes by the name of ours means us alone.
pub(crate) const WITNESS: &str = "signal-witness";
/// Time in which a signal that is sent to several processes has reached all of them.
const GRACE: Duration = Duration::from_millis(20);
/// Time that the witness has to answer. It takes longer only if somebody has stopped it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Signals that wait until somebody listens. Those that we were started to ignore, as `nohup` does, are not among them.
pub(super) struct Blocked {
    signals: Vec<Signal>,
}

impl Blocked {
    /// Blocks signals in this thread and in those that it starts from now on.
    pub(super) fn new(signals: &[Signal]) -> io::Result<Blocked> {
        let blocked = Blocked { signals: signals.iter().copied().filter(|signal| !is_ignored(*signal)).collect() };
        blocked.block()?;
        Ok(blocked)
    }

    fn block(&self) -> io::Result<()> {
        let set = set_of(&self.signals);
        // SAFETY: the set is a valid one; the old one is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Ends this process if one of the signals has come meanwhile.
    pub(super) fn end_if_any_waits(&self) -> io::Result<()> {
        Inherited::get()?.restore_mask()?;
        self.block()
    }

    /// Begins to receive them. Several of a kind within the grace are one, as they are to the kernel while they wait.
    pub(super) fn listen(self) -> io::Result<Signals> {
        let (sender, received) = mpsc::unbounded_channel();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            loop {
                let Some(signal) = self.wait() else { continue };
                thread::sleep(GRACE);
                take_waiting(signal);
                if sender.send(signal).is_err() {
                    return;
                }
            }
        })?;
        Ok(Signals { received })
    }

    fn wait(&self) -> Option<Signal> {
        let (set, mut number) = (set_of(&self.signals), 0);
        // SAFETY: the set is a valid one, and `number` is valid for writes.
        let error = unsafe { libc::sigwait(&raw const set, &raw mut number) };
        self.signals.iter().copied().find(|signal| error == 0 && signal.as_raw() == number)
    }
}

/// Signals as they come, each when it has reached everyone that it was sent to.
pub(super) struct Signals {
    received: mpsc::UnboundedReceiver<Signal>,
}

impl Signals {
    pub(super) async fn next(&mut self) -> Signal {
        match self.received.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    /// Waits for one that means the end.
    pub(super) async fn end(&mut self) {
        while !ENDING.contains(&self.next().await) {}
    }

    /// Leaves out those that have come.
    pub(super) fn forget(&mut self) {
        while self.received.try_recv().is_ok() {}
    }
}

/// A process of our group that does nothing but receive signals, and says which.
pub(super) struct Witness {
    process: Child,
    /// `None` once it has not answered.
    socket: Option<UnixStream>,
}

impl Witness {
    /// Starts it where the signals are blocked, and stay so through its exec.
    pub(super) fn start(_blocked: &Blocked) -> io::Result<Witness> {
        let (ours, its) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(WITNESS).arg(WITNESS).stdin(OwnedFd::from(its)).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Witness { process: command.spawn()?, socket: Some(ours) })
    }

    /// Whether it has had this signal since it was last asked. One that does not answer has had none.
    pub(super) fn has_had(&mut self, signal: Signal) -> bool {
        let answer = self.socket.as_mut().and_then(|socket| ask(socket, signal).ok());
        if answer.is_none() {
            // What comes late must not be taken for the next answer.
            self.socket = None;
        }
        answer.unwrap_or(false)
    }
}

fn ask(socket: &mut UnixStream, signal: Signal) -> io::Result<bool> {
    let mut answer = [u8::try_from(signal.as_raw()).map_err(io::Error::other)?];
    socket.write_all(&answer)?;
    socket.read_exact(&mut answer)?;
    Ok(answer == [1])
}

impl Drop for Witness {
    fn drop(&mut self) {
        // It may be stopped, and would not notice that its socket is closed; or it is gone, killed with the group.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The witness itself: answers until nobody asks any more, which is when its tracer has gone.
pub fn witness() -> anyhow::Result<i32> {
    let name = std::ffi::CString::new(WITNESS)?;
    rustix::thread::set_name(&name)?;
    let mut socket = UnixStream::from(rustix::io::dup(rustix::stdio::stdin())?);
    let mut question = [0];
    while socket.read(&mut question)? == 1 {
        let signal = PASSED_ON.into_iter().find(|signal| signal.as_raw() == i32::from(question[0]));
        socket.write_all(&[u8::from(signal.is_some_and(take_waiting))])?;
    }
    Ok(0)
}

/// Takes a blocked signal of this process that has come, if it has.
fn take_waiting(signal: Signal) -> bool {
    let (set, at_once) = (set_of(&[signal]), libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: set and time are valid; what the signal brings is not asked for.
    unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const at_once) == signal.as_raw() }
}

fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `action` is valid for writes, and valid as it is, all zeros, if the call fails.
    unsafe {
        libc::sigaction(signal.as_raw(), ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn set_of(signals: &[Signal]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `set` is valid for writes, and the first call makes it a set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
        }
        set.assume_init()
    }
}
