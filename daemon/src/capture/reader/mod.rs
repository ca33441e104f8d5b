//! Who looks at strangers' processes for us: a process of its own, with few rights and limits on everything.
//!
//! Whatever a process that is looked at can do to its reader, it does to the helper: make it large, slow, wait for ever, or serve somebody
//! else. The helper is the same program under another subcommand. It is asked about one process at a time, and it is killed and replaced
//! when it does not answer in time, breaks a rule, or answers nonsense; nobody waits for it. `docs/security.md` says what it may do.
//!
//! Each module names only those above it:
//!
//! - [`arguments`]: the program that an interpreter was started with.
//! - [`wire`]: questions and answers as bytes.
//! - [`policy`]: when a helper is asked, killed, given up and replaced; pure.
//! - [`client`]: our side: processes, sockets, clocks.
//! - [`confine`]: what the helper gives up before it reads anything.
//! - [`serve`]: the helper itself.

mod arguments;
mod client;
mod confine;
mod policy;
mod serve;
mod wire;

use std::fmt;
use std::time::Duration;

pub use client::Client;
pub use policy::Restart;
pub use serve::{NAME, serve};

use super::python::{Interpreter, Resolver, Unresolved};
use super::snapshot::Tgid;

/// What was found of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The Python that it runs.
    pub(crate) python: Result<Option<Interpreter>, Unresolved>,
    /// The program that it runs as an interpreter, see [`super::script`].
    pub(crate) script: Option<String>,
}

impl From<Result<Option<Interpreter>, Unresolved>> for Answer {
    fn from(python: Result<Option<Interpreter>, Unresolved>) -> Answer {
        Answer { python, script: None }
    }
}

/// Looks at processes, one at a time.
pub trait Reader: fmt::Debug {
    /// Begins to look at a process. False if it cannot now: it looks at another one, or is gone.
    fn ask(&mut self, tgid: Tgid, now_ns: u64) -> bool;

    /// What was found of the process that it was asked about, once. Never waits.
    fn answer(&mut self, now_ns: u64) -> Option<(Tgid, Answer)>;

    /// How long it may be asked about one process after the other until the next snapshot.
    fn turn(&self) -> Duration;

    /// How it has fared.
    fn health(&self) -> Health;
}

/// How a reader has fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Helpers that were replaced, by [`Restart`].
    pub(crate) restarts: [u64; Restart::ALL.len()],
    /// Helpers that were killed and do not end.
    pub(crate) left_behind: u64,
    /// There are as many of those as there may be, so nothing is read until one ends.
    pub(crate) has_given_up: bool,
    /// CPU time of the helpers.
    pub(crate) cpu_ns: u64,
}

/// Looks at a process while it is asked: for a program that ends with what it traces, and names nothing after its arguments.
#[derive(Debug, Default)]
pub(crate) struct InProcess {
    resolver: Resolver,
    found: Option<(Tgid, Answer)>,
}

impl Reader for InProcess {
    fn ask(&mut self, tgid: Tgid, _now_ns: u64) -> bool {
        if self.found.is_none() {
            self.found = Some((tgid, self.resolver.resolve(tgid).into()));
            return true;
        }
        false
    }

    fn answer(&mut self, _now_ns: u64) -> Option<(Tgid, Answer)> {
        self.found.take()
    }

    /// Whoever asks waits as long, and for the last process that was begun.
    fn turn(&self) -> Duration {
        Duration::from_millis(20)
    }

    fn health(&self) -> Health {
        Health::default()
    }
}
