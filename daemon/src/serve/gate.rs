//! The way from the server to the daemon's loop, and what was turned away before it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::metrics::catalog::REFUSALS;
use tokio::sync::{mpsc, oneshot};

use super::{MAX_CONNECTIONS, Request};

/// Why a request is refused: places in [`REFUSALS`].
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    /// Too many are being served.
    TooMany = 0,
    /// It asks by a name that is not one of the loopback interface.
    ForeignHost = 1,
}

/// The way from the server to the daemon's loop.
#[derive(Clone, Debug)]
pub struct Gate {
    requests: mpsc::Sender<Request>,
    refused: Arc<[AtomicU64; REFUSALS.len()]>,
}

impl Gate {
    /// A gate, and the requests that come through it.
    pub fn new() -> (Gate, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(MAX_CONNECTIONS);
        (Gate { requests, refused: Arc::default() }, receiver)
    }

    /// Requests refused so far, in the order of [`REFUSALS`].
    pub fn refused(&self) -> [u64; REFUSALS.len()] {
        self.refused.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.requests.send(request(sender)).await.ok()?;
        receiver.await.ok()
    }
}
