//! How the server talks to the daemon's loop: what it can ask, and what it is told. It counts what it refuses by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::history::{Answer, LastWindow, Position};
use crate::diagnose::ModelName;
use crate::label::NameSource;
use crate::metrics::labels::Refusal;

/// Connections served at once; for the next one the slowest makes room. As many requests can wait for the loop.
pub(crate) const MAX_CONNECTIONS: usize = 32;

/// What the server asks of the daemon's loop.
#[derive(Debug)]
pub(crate) enum Request {
    /// The text of `/metrics`, or why there is none.
    Metrics(oneshot::Sender<Result<Bytes, String>>),
    /// What a page at this position has not seen yet.
    History(Position, oneshot::Sender<Answer>),
    Status(oneshot::Sender<Status>),
    /// How the last reading went.
    Health(oneshot::Sender<Option<LastReading>>),
}

/// When the loop last read the kernel's maps, and how that went.
#[derive(Clone, Debug)]
pub(crate) struct LastReading {
    pub(crate) at: Instant,
    pub(crate) failure: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    pub(crate) kernel: String,
    /// Why the last reading failed; `null` if it did not.
    pub(crate) failure: Option<String>,
    /// How long ago that was; `null` before the first.
    pub(crate) reading_age_seconds: Option<f64>,
    /// Why no other process is read, so that new Pythons are not found; `null` if they are.
    pub(crate) reader_failure: Option<&'static str>,
    /// Why what the programs cost is not measured; `null` if it is, or is not wanted.
    pub(crate) cost_failure: Option<String>,
    pub(crate) programs: Vec<ProgramStatus>,
    /// Workloads with series of their own.
    pub(crate) workloads: Vec<WorkloadStatus>,
    /// Names that had earned series of their own when none were free.
    pub(crate) workloads_folded: u64,
    /// Lost observations by reason; reasons without any are left out.
    pub(crate) losses: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProgramStatus {
    pub(crate) name: &'static str,
    pub(crate) attached: bool,
    /// Why not; `null` if it is.
    pub(crate) failure: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorkloadStatus {
    pub(crate) name: String,
    pub(crate) source: NameSource,
    pub(crate) model: ModelName,
    pub(crate) processes: u64,
    pub(crate) threads: u64,
    /// `null` if it had no threads then.
    pub(crate) last_window: Option<LastWindow>,
}

/// The server's end of the channel to the loop.
#[derive(Clone, Debug)]
pub(crate) struct LoopHandle {
    requests: mpsc::Sender<Request>,
    refused: Arc<Mutex<[u64; Refusal::ALL.len()]>>,
}

impl LoopHandle {
    pub(crate) fn new() -> (LoopHandle, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(MAX_CONNECTIONS);
        (LoopHandle { requests, refused: Arc::default() }, receiver)
    }

    /// Requests refused so far, by [`Refusal`].
    pub(crate) fn refused(&self) -> [u64; Refusal::ALL.len()] {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a page at this position has not seen yet, for threads without an event loop; `None` when the daemon is stopping.
    pub(crate) fn history(&self, position: Position) -> Option<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.requests.blocking_send(Request::History(position, sender)).ok()?;
        receiver.blocking_recv().ok()
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)[refusal as usize] += 1;
    }

    /// The loop's answer; `None` when the daemon is stopping.
    pub(super) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.requests.send(request(sender)).await.ok()?;
        receiver.await.ok()
    }
}
