//! Our side: starts helpers, asks them, kills and reaps them. Nothing here waits for one.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::policy::{LEFT_BEHIND_MAX, Policy, Restart};
use super::serve::NAME;
use super::{Answer, Health, Reader, wire};
use crate::capture::python::Unresolved;
use crate::capture::snapshot::Tgid;

/// What a helper may be asked about between two snapshots, which are 250 ms apart: at most this part of a CPU.
const TURN: Duration = Duration::from_millis(100);
/// CPU time for one question, rounded down to a whole second: from half a second to one and a half. It ends a helper that computes without
/// end even if we are stopped.
const CPU_TIME_NS: u64 = 1_500_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Asks a helper process, and replaces it when it fails.
#[derive(Debug)]
pub struct Client {
    program: PathBuf,
    policy: Policy,
    helper: Option<Helper>,
    /// Killed, but they sleep uninterruptibly.
    left_behind: Vec<Child>,
    restarts: [u64; Restart::ALL.len()],
    /// CPU time of the helpers that have ended.
    cpu_before_ns: u64,
    /// Readable when a helper has said something or has gone, whichever it is.
    events: OwnedFd,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Helper {
    process: Child,
    socket: OwnedFd,
    /// CPU time when it was last looked at.
    cpu_ns: Cell<u64>,
    /// Once it was killed: why, if that does not follow from how it ends, and what it was looking at.
    killed: Option<(Option<Restart>, Option<Tgid>)>,
}

impl Client {
    /// `program` is this very program: it has to understand the subcommand [`NAME`]. The first helper is started when it is needed.
    pub fn new(program: PathBuf) -> io::Result<Client> {
        Ok(Client {
            program,
            policy: Policy::default(),
            helper: None,
            left_behind: Vec::new(),
            restarts: [0; Restart::ALL.len()],
            cpu_before_ns: 0,
            events: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            buffer: vec![0; wire::ANSWER_BYTES_MAX].into_boxed_slice(),
        })
    }

    /// Becomes readable when there is something to hear, for whichever helper there is then.
    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    fn start(&mut self, now_ns: u64) {
        let started = Helper::start(&self.program).and_then(|helper| {
            epoll::add(&self.events, &helper.socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
            Ok(helper)
        });
        match started {
            Ok(helper) => {
                self.helper = Some(helper);
                self.policy.started();
            }
            Err(error) => {
                self.policy.not_started(now_ns);
                self.count(Restart::NotStarted);
                tracing::warn!(
                    "cannot start the process that reads others: {error}; waits for Python locks count as futex waits until it runs"
                );
            }
        }
    }

    fn count(&mut self, reason: Restart) {
        self.restarts[reason as usize] += 1;
    }

    /// What the helper says, or that it failed at what it was asked.
    fn hear(&mut self, now_ns: u64) -> Option<(Tgid, Answer)> {
        let helper = self.helper.as_ref().filter(|helper| helper.killed.is_none())?;
        // With TRUNC the length is that of what was sent, not of what fits.
        let received = recv(&helper.socket, &mut *self.buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        let reason = match received.map(|(_, length)| length) {
            Err(Errno::AGAIN | Errno::INTR) if !self.policy.is_overdue(now_ns) => return None,
            Err(Errno::AGAIN | Errno::INTR) => Some(Restart::Deadline),
            // It has closed its end: how it ends will say why.
            Ok(0) | Err(_) => None,
            Ok(length) => match self.buffer.get(..length).and_then(wire::read_answer) {
                Some(answer) if self.policy.answered(answer.0) => return Some(answer),
                _ => Some(Restart::BadAnswer),
            },
        };
        self.kill(reason, now_ns).map(|process| (process, Err(Unresolved::ReaderFailed).into()))
    }

    /// Kills the helper, and returns what it was looking at.
    fn kill(&mut self, reason: Option<Restart>, now_ns: u64) -> Option<Tgid> {
        let process = self.policy.killed(now_ns);
        if let Some(helper) = &mut self.helper {
            // It is not reaped, so the id is its own.
            let _ = helper.process.kill();
            helper.killed = Some((reason, process));
        }
        process
    }

    /// Reaps what has ended, and leaves behind what does not end.
    fn reap(&mut self, now_ns: u64) {
        let before = self.left_behind.len();
        self.left_behind.retain_mut(|process| matches!(process.try_wait(), Ok(None)));
        for _ in self.left_behind.len()..before {
            self.policy.left_ended();
        }
        let Some(mut helper) = self.helper.take_if(|helper| helper.killed.is_some()) else { return };
        let Some((reason, process)) = helper.killed else { return };
        let cpu_ns = helper.cpu_ns();
        let reason = match helper.process.try_wait() {
            Ok(None) if !self.policy.is_stuck(now_ns) => {
                self.helper = Some(helper);
                return;
            }
            Ok(None) => {
                self.policy.leave_behind(now_ns);
                self.left_behind.push(helper.process);
                reason.unwrap_or(Restart::Ended)
            }
            ended => {
                self.policy.ended(now_ns);
                reason.unwrap_or_else(|| ended.ok().flatten().map_or(Restart::Ended, why))
            }
        };
        self.cpu_before_ns += cpu_ns;
        self.count(reason);
        let left_behind = self.left_behind.len();
        tracing::warn!(
            reason = reason.name(),
            process = process.map(|tgid| tgid.0),
            left_behind,
            "the process that reads others failed"
        );
        if left_behind == LEFT_BEHIND_MAX {
            tracing::error!(
                "{LEFT_BEHIND_MAX} processes that read others cannot be killed; no process is read until one of them ends"
            );
        }
    }
}

impl Reader for Client {
    fn ask(&mut self, tgid: Tgid, now_ns: u64) -> bool {
        if self.policy.may_start(now_ns) {
            self.start(now_ns);
        }
        let Some(helper) = self.helper.as_ref().filter(|_| self.policy.is_idle()) else { return false };
        // Without the limit, the deadline still holds.
        let _ = helper.limit_cpu_time();
        let sent = send(&helper.socket, &wire::question(tgid), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        if sent.is_ok() {
            self.policy.asked(tgid, now_ns);
        } else {
            self.kill(None, now_ns);
        }
        sent.is_ok()
    }

    fn answer(&mut self, now_ns: u64) -> Option<(Tgid, Answer)> {
        let heard = self.hear(now_ns);
        self.reap(now_ns);
        heard
    }

    fn turn(&self) -> Duration {
        TURN
    }

    fn health(&self) -> Health {
        Health {
            restarts: self.restarts,
            left_behind: self.left_behind.len() as u64,
            has_given_up: self.policy.left_behind() == LEFT_BEHIND_MAX,
            cpu_ns: self.cpu_before_ns + self.helper.as_ref().map_or(0, Helper::cpu_ns),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(helper) = &mut self.helper {
            // Whatever is not reaped here becomes init's; nobody waits.
            let _ = helper.process.kill();
            let _ = helper.process.try_wait();
        }
    }
}

impl Helper {
    /// It gets its end of a socket as standard input, our standard error, and nothing else of ours: no environment, no terminal's signals.
    fn start(program: &PathBuf) -> io::Result<Helper> {
        let (socket, its) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let mut command = Command::new(program);
        command.arg0(NAME).arg(NAME).env_clear().current_dir("/").process_group(0);
        command.stdin(its).stdout(Stdio::null());
        Ok(Helper { process: command.spawn()?, socket, cpu_ns: Cell::new(0), killed: None })
    }

    fn pid(&self) -> libc::pid_t {
        self.process.id().cast_signed()
    }

    /// CPU time so far, as far as it is known.
    fn cpu_ns(&self) -> u64 {
        let (mut clock, mut time) = (0, MaybeUninit::<libc::timespec>::zeroed());
        // SAFETY: both are valid for writes, and zeros are a valid time if a call fails.
        let time = unsafe {
            if libc::clock_getcpuclockid(self.pid(), &raw mut clock) == 0 {
                libc::clock_gettime(clock, time.as_mut_ptr());
            }
            time.assume_init()
        };
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        self.cpu_ns.set(self.cpu_ns.get().max(part(time.tv_sec) * SECOND_NS + part(time.tv_nsec)));
        self.cpu_ns.get()
    }

    fn limit_cpu_time(&self) -> io::Result<()> {
        let seconds = (self.cpu_ns() + CPU_TIME_NS) / SECOND_NS;
        let limit = Rlimit { current: Some(seconds), maximum: getrlimit(Resource::Cpu).maximum };
        prlimit(Pid::from_raw(self.pid()), Resource::Cpu, limit)?;
        Ok(())
    }
}

/// Why a helper ended that we did not kill first.
fn why(status: ExitStatus) -> Restart {
    match status.signal() {
        Some(libc::SIGXCPU) => Restart::CpuTime,
        Some(libc::SIGSYS) => Restart::ForbiddenCall,
        _ => Restart::Ended,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use tempfile::TempDir;

    use super::*;
    use crate::capture::reader::policy::{DEADLINE_NS, GRACE_NS};

    /// A client whose helper is a shell script. Another process writes it: one that a thread of ours forks meanwhile would keep it open for
    /// writing, and it could not be executed.
    fn client_of(script: &str, directory: &Path) -> Client {
        let program = directory.join("helper");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\"; chmod +x \"$2\"";
        let written = Command::new("sh").args(["-c", write, "sh", script]).arg(&program).status().unwrap();
        assert!(written.success());
        Client::new(program).unwrap()
    }

    /// Listens until a helper was replaced, and returns what was heard.
    fn listen(client: &mut Client, now_ns: u64) -> Option<(Tgid, Answer)> {
        let (mut heard, end) = (None, Instant::now() + Duration::from_secs(20));
        while client.restarts.iter().sum::<u64>() == 0 && Instant::now() < end {
            let answer = client.answer(now_ns);
            assert!(heard.is_none() || answer.is_none(), "{heard:?}, then {answer:?}");
            heard = heard.or(answer);
            sleep(Duration::from_millis(1));
        }
        heard
    }

    #[test]
    fn however_a_helper_fails_it_is_noticed_and_the_process_is_told() {
        for (script, passed_ns, reason) in [
            ("sleep 60", DEADLINE_NS + 1, Restart::Deadline),
            ("printf nonsense >&0; sleep 60", 0, Restart::BadAnswer),
            (r#"printf '{"tgid":8,"result":{"Ok":null}}' >&0; sleep 60"#, 0, Restart::BadAnswer),
            ("head -c 4 > /dev/null; exit 3", 0, Restart::Ended),
            ("head -c 4 > /dev/null; kill -SYS $$", 0, Restart::ForbiddenCall),
            ("head -c 4 > /dev/null; kill -XCPU $$", 0, Restart::CpuTime),
        ] {
            let directory = TempDir::new().unwrap();
            let mut client = client_of(script, directory.path());
            assert!(client.ask(Tgid(7), 0), "{script}");
            assert!(!client.ask(Tgid(9), 0), "{script}: one at a time");
            assert_eq!(listen(&mut client, passed_ns), Some((Tgid(7), Err(Unresolved::ReaderFailed).into())), "{script}");
            assert_eq!(client.restarts[reason as usize], 1, "{script}: {:?}", client.restarts);
            assert_eq!(client.health().left_behind, 0);
            assert!(!client.ask(Tgid(7), passed_ns), "{script}: not before a pause");
            assert!(client.ask(Tgid(7), passed_ns + GRACE_NS), "{script}");
        }
    }

    #[test]
    fn a_helper_that_answers_stays() {
        let directory = TempDir::new().unwrap();
        let script = r#"while :; do sleep 0.01; printf '{"tgid":7,"result":{"Ok":null}}' >&0 || exit; read line; done"#;
        let mut client = client_of(script, directory.path());
        assert!(client.ask(Tgid(7), 0));
        let mut heard = None;
        while heard.is_none() {
            heard = client.answer(0);
        }
        assert_eq!((heard, client.restarts), (Some((Tgid(7), Ok(None).into())), [0; Restart::ALL.len()]));
        assert!(client.ask(Tgid(7), 0));
    }

    #[test]
    fn a_program_that_is_not_there_is_no_helper() {
        let mut client = Client::new("/no/such/program".into()).unwrap();
        assert!(!client.ask(Tgid(7), 0) && client.answer(0).is_none());
        assert_eq!(client.restarts[Restart::NotStarted as usize], 1);
    }
}
