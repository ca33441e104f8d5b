//! The daemon's web server. It knows nothing of tracing: it asks the daemon's loop through a [`Gate`] and waits.
//!
//! Bounded in every direction: connections at once, time per connection, one request per connection, and the loop answers
//! requests one after another from a reading that they may share.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use crate::expose::CONTENT_TYPE;

/// Connections served at once; the next one is refused.
pub const MAX_CONNECTIONS: usize = 32;
/// A client that has not sent its request in this time is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that has not taken its answer in this time is cut off.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Answer to one connection too many. Sent without waiting for its request.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

const LANDING_PAGE: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>schedscope</title></head><body>\
<h1>schedscope</h1><p>How programs map onto the hardware cores, by the kernel's own evidence.</p><ul>\
<li><a href=\"/metrics\">/metrics</a>: everything counted, for Prometheus</li>\
<li><a href=\"/status\">/status</a>: BPF programs, workloads and losses, as JSON</li>\
<li><a href=\"/healthz\">/healthz</a>: 200 while the kernel's maps can be read</li></ul></body></html>\n";

/// What the server asks of the daemon's loop.
#[derive(Debug)]
pub enum Request {
    /// The text of `/metrics`, or why there is none.
    Metrics(oneshot::Sender<Result<Arc<str>, String>>),
    /// The content of `/status`.
    Status(oneshot::Sender<Status>),
}

/// The content of `/status`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// Why the last reading failed; `null` if it did not.
    pub failure: Option<String>,
    /// BPF programs.
    pub programs: Vec<ProgramStatus>,
    /// Workloads with series of their own.
    pub workloads: Vec<WorkloadStatus>,
    /// Names that had earned series of their own when none were free.
    pub workloads_folded: u64,
    /// Lost observations by reason; reasons without any are left out.
    pub losses: std::collections::BTreeMap<&'static str, u64>,
}

/// One BPF program in `/status`.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramStatus {
    /// Its name, which is that of its hook.
    pub name: &'static str,
    /// It is loaded and attached.
    pub attached: bool,
    /// Why not; `null` if it is.
    pub failure: Option<String>,
}

/// One workload in `/status`.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadStatus {
    /// Its name.
    pub name: String,
    /// What the name was taken from.
    pub source: &'static str,
    /// How its tasks are organised.
    pub model: &'static str,
    /// Processes alive.
    pub processes: u64,
    /// Threads alive.
    pub threads: u64,
}

/// The way from the server to the daemon's loop.
#[derive(Clone, Debug)]
pub struct Gate {
    requests: mpsc::Sender<Request>,
    refused: Arc<AtomicU64>,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Everyone on the network could read what the host runs.
    #[error(
        "refusing to listen on {0}: everyone who can reach it could read what this host runs. Use a loopback address, or add --allow-remote if the network is trusted"
    )]
    Remote(SocketAddr),
    /// Another program has the port.
    #[error(
        "cannot listen on {0}: the port is taken. Choose another with --listen, or stop the program that 'ss -ltnp sport = :{port}' shows",
        port = .0.port()
    )]
    Taken(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, #[source] std::io::Error),
}

/// Binds the address, before anything is loaded into the kernel.
pub fn listen(address: SocketAddr, allow_remote: bool) -> Result<std::net::TcpListener, ListenError> {
    if !address.ip().is_loopback() && !allow_remote {
        return Err(ListenError::Remote(address));
    }
    let listener = std::net::TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => ListenError::Taken(address),
        _ => ListenError::Bind(address, error),
    })?;
    listener.set_nonblocking(true).map_err(|error| ListenError::Bind(address, error))?;
    Ok(listener)
}

impl Gate {
    /// A gate, and the requests that come through it.
    pub fn new() -> (Gate, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(MAX_CONNECTIONS);
        (Gate { requests, refused: Arc::default() }, receiver)
    }

    /// Connections refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.requests.send(request(sender)).await.ok()?;
        receiver.await.ok()
    }
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, gate: Gate) {
    let router = Router::new()
        .route("/", get(async || Html(LANDING_PAGE)))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/healthz", get(healthz))
        .with_state(gate.clone());
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors or memory, as a rule; both pass.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            gate.refused.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = stream.try_write(BUSY) {
                tracing::debug!(%error, "a refused client is gone");
            }
            continue;
        };
        let connection = connection(stream, router.clone());
        tokio::spawn(async move {
            connection.await;
            drop(slot);
        });
    }
}

fn connection(stream: TcpStream, router: Router) -> impl Future<Output = ()> + Send {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    async move {
        match timeout(CONNECTION_TIMEOUT, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "connection failed"),
            Err(_) => tracing::debug!("connection timed out"),
        }
    }
}

async fn metrics(State(gate): State<Gate>) -> Response {
    match gate.ask(Request::Metrics).await {
        // One copy per client: the body must not borrow, and at most `MAX_CONNECTIONS` exist.
        Some(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text.to_string()).into_response(),
        Some(Err(failure)) => (StatusCode::SERVICE_UNAVAILABLE, failure + "\n").into_response(),
        None => stopping(),
    }
}

async fn status(State(gate): State<Gate>) -> Response {
    gate.ask(Request::Status).await.map_or_else(stopping, |status| Json(status).into_response())
}

async fn healthz(State(gate): State<Gate>) -> Response {
    match gate.ask(Request::Status).await.map(|status| status.failure) {
        Some(None) => "ok\n".into_response(),
        Some(Some(failure)) => (StatusCode::SERVICE_UNAVAILABLE, failure + "\n").into_response(),
        None => stopping(),
    }
}

fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n").into_response()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
