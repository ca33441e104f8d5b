//! Two tasks on one CPU that pass a byte to and fro.
//!
//! On one CPU the CPU must change hands once for each pass: N passes are N switches, half of them each task's. Under
//! the normal policy a write may let the woken reader preempt the writer, which makes a good part of them involuntary
//! (four in ten where this was written). Under `SCHED_BATCH` a wake-up never preempts, so the writer goes on to its
//! read and blocks: nearly all of them are voluntary, unless a stranger preempts it in between. A few more come from
//! starting and ending.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use anyhow::{Context, Result};
use serde_json::json;

use super::first_cpu;
use crate::report::{KernelCounts, Report};
use crate::sys::{self, Fork};
use crate::threads::{joined, spawn};

/// One end: read a byte, write a byte.
struct Player {
    from: PipeReader,
    to: PipeWriter,
}

impl Player {
    /// Serves first if `serves`; returns the kernel's counters at the end.
    fn play(mut self, name: &str, rounds: u64, serves: bool) -> Result<KernelCounts> {
        sys::name_thread(name);
        let mut ball = [0_u8];
        for _ in 0..rounds {
            if serves {
                self.to.write_all(&ball).context("the other side is gone")?;
            }
            self.from.read_exact(&mut ball).context("the other side is gone")?;
            if !serves {
                self.to.write_all(&ball).context("the other side is gone")?;
            }
        }
        Ok(KernelCounts::of_this_thread())
    }
}

/// Runs it and reports; `switches` is rounded up to an even number.
pub(crate) fn run(switches: u64, processes: bool, normal_policy: bool) -> Result<Report> {
    if !normal_policy {
        sys::batch_policy().context("cannot set the scheduling policy SCHED_BATCH")?;
    }
    sys::pin_to(first_cpu()?)?;
    let rounds = switches.div_ceil(2);
    let started_ns = sys::monotonic_ns();
    let kernel = if processes { as_processes(rounds) } else { as_threads(rounds) }?;
    let model = if processes { "processes" } else { "threads" };
    Ok(Report {
        expected: Some(json!({ "switches_at_least": 2 * rounds - 2 })),
        kernel,
        ..Report::of_truth("ping-pong", model, "one pass of a byte", 2, 2 * rounds, started_ns)
    })
}

/// The one who serves and the one who receives, with two pipes between them.
fn players() -> Result<(Player, Player)> {
    let (reply_from, reply_to) = pipe().context("cannot make a pipe")?;
    let (serve_from, serve_to) = pipe().context("cannot make a pipe")?;
    let server = Player { from: reply_from, to: serve_to };
    let receiver = Player { from: serve_from, to: reply_to };
    Ok((server, receiver))
}

/// Plays a game of two threads.
pub(super) fn as_threads(rounds: u64) -> Result<Vec<KernelCounts>> {
    let (server, receiver) = players()?;
    let other = spawn(move || receiver.play("pong", rounds, false))?;
    let this = spawn(move || server.play("ping", rounds, true))?;
    Ok(vec![joined(this.join())??, joined(other.join())??])
}

fn as_processes(rounds: u64) -> Result<Vec<KernelCounts>> {
    let (server, receiver) = players()?;
    let (mut counts_from, mut counts_to) = pipe().context("cannot make a pipe")?;
    match sys::fork().context("cannot fork")? {
        Fork::Child => {
            // Without our copies of ping's ends, either side sees it when the other dies.
            drop((server, counts_from));
            let sent = receiver.play("pong", rounds, false).and_then(|counts| Ok(serde_json::to_writer(&mut counts_to, &counts)?));
            sys::exit_now(i32::from(sent.is_err()))
        }
        Fork::Parent => {
            drop((receiver, counts_to));
            let own = server.play("ping", rounds, true)?;
            let mut text = String::new();
            counts_from.read_to_string(&mut text).context("cannot read the other player's counters")?;
            sys::reap()?;
            Ok(vec![own, serde_json::from_str(&text).context("the other player sent no counters")?])
        }
    }
}
