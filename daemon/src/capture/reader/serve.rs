//! The helper itself: answers one question after the other until its socket is closed.

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::stdio::stdin;
use rustix::thread::set_name;

use super::arguments::script_of;
use super::confine::confine;
use super::{Answer, wire};
use crate::capture::python::Resolver;

/// Name of the subcommand, and of its process.
pub const NAME: &str = "schedscope-read";

/// Serves the process at the other end of standard input, which has started this one.
///
/// # Errors
/// If rights cannot be given up, or standard input is no such socket.
pub fn serve() -> anyhow::Result<i32> {
    set_name(&std::ffi::CString::new(NAME)?)?;
    confine()?;
    let mut resolver = Resolver::default();
    let mut question = [0; wire::QUESTION_BYTES];
    loop {
        let socket = stdin();
        let length = match recv(socket, &mut question, RecvFlags::empty()) {
            Ok((_, 0)) => return Ok(0),
            Ok((_, length)) => length,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error).context("this subcommand is for `schedscope daemon`, which starts it by itself"),
        };
        let Some(tgid) = question.get(..length).and_then(wire::read_question) else { bail!("a question of {length} bytes") };
        let answer = wire::answer(tgid, Answer { python: resolver.resolve(tgid), script: script_of(tgid) });
        send(socket, &answer, SendFlags::NOSIGNAL).context("cannot answer")?;
    }
}
