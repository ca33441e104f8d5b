//! The daemon's web server. It knows nothing of tracing: it asks the daemon's loop through a [`Gate`] and waits.
//!
//! Bounded in every direction: connections at once, time per connection, one request per connection, and the loop answers
//! requests one after another from a reading that they may share. It runs on a thread of its own, so that encryption does not
//! delay the loop.

mod gate;
pub mod history;
mod host;
mod page;
pub mod web;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, Request as HttpRequest, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::metrics::CONTENT_TYPE;
use gate::Refusal;
use history::Position;
use web::{Verdict, Web};

pub use gate::Gate;

/// Connections served at once; the next one is refused.
pub const MAX_CONNECTIONS: usize = 32;
/// A client that has not sent its request in this time is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that has not taken its answer in this time is cut off.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// What a client has to add to its request.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"schedscope\", charset=\"UTF-8\"");
/// Answer to a client that does not encrypt. Sent without waiting for its request.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 49\r\n\r\n\
this server speaks HTTPS only: ask with https://\n";
/// Of such a client's request, at most so many bytes are read.
const MAX_PLAIN: u64 = 64 << 10;
/// First byte of a client that encrypts: a record of the handshake.
const HANDSHAKE: u8 = 22;
/// Answer to one connection too many. Sent without waiting for its request.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What the server asks of the daemon's loop.
#[derive(Debug)]
pub enum Request {
    /// The text of `/metrics`, or why there is none.
    Metrics(oneshot::Sender<Result<Arc<str>, String>>),
    /// What a page that has got so far has not seen.
    History(Position, oneshot::Sender<history::Answer>),
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

/// How far a page has got, in the query of `/api/history`; without it the page gets everything.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Seen {
    epoch: u64,
    next: u64,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Everyone on the network could read what the host runs.
    #[error(
        "refusing to listen on {0}: everyone who can reach it could read what this host runs. Use a loopback address, or --web-config with a file that has tls_server_config and either basic_auth_users or client_auth_type: RequireAndVerifyClientCert; or add --allow-remote if the network is trusted"
    )]
    Remote(SocketAddr),
    /// There is a web configuration, but it guards nothing.
    #[error(
        "refusing to listen on {address}: {path} {lack}. Add that, use a loopback address, or add --allow-remote if the network is trusted",
        path = .path.display()
    )]
    Unguarded {
        /// The address.
        address: SocketAddr,
        /// The web configuration.
        path: PathBuf,
        /// What it lacks.
        lack: &'static str,
    },
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

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    /// Only this host can connect, and nothing but that keeps others from reading.
    is_local: bool,
}

impl Listener {
    /// The address, with the port that the kernel chose if none was.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Binds the address, before anything is loaded into the kernel.
pub fn listen(address: SocketAddr, allow_remote: bool, web: &Web) -> Result<Listener, ListenError> {
    if !address.ip().is_loopback() && !allow_remote {
        let settings = web.settings();
        if !settings.is_guarded() {
            let Some(path) = web.path() else { return Err(ListenError::Remote(address)) };
            let lack = match settings.tls {
                None => "has no tls_server_config, so that everything, passwords too, could be read on the way",
                Some(_) => "lets everyone in: it has neither basic_auth_users nor client_auth_type: RequireAndVerifyClientCert",
            };
            return Err(ListenError::Unguarded { address, path: path.to_owned(), lack });
        }
        web.must_guard();
    }
    let socket = std::net::TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => ListenError::Taken(address),
        _ => ListenError::Bind(address, error),
    })?;
    socket.set_nonblocking(true).map_err(|error| ListenError::Bind(address, error))?;
    Ok(Listener { socket, is_local: address.ip().is_loopback() && !allow_remote })
}

/// A server on a thread of its own; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Begins to serve.
    pub fn start(listener: Listener, gate: Gate, web: Web) -> std::io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            match TcpListener::from_std(listener.socket) {
                Ok(socket) => serve(socket, listener.is_local, gate, web).await,
                Err(error) => tracing::error!(%error, "cannot serve"),
            }
        };
        std::thread::Builder::new().name("server".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
            // A check of a password may be under way, which nobody waits for any more.
            runtime.shutdown_background();
        })?;
        Ok(Server { _stop: stop })
    }
}

fn router(gate: Gate, is_local: bool, web: Arc<Web>) -> Router {
    let router = Router::new()
        .route("/", get(page::index))
        .route("/page/{name}", get(page::file))
        .route("/api/history", get(history))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/healthz", get(healthz))
        .with_state(gate.clone())
        .layer(from_fn_with_state(Arc::clone(&web), admit));
    let router = if is_local { router.layer(from_fn_with_state((gate, Arc::clone(&web)), asked_by_our_name)) } else { router };
    router.layer(from_fn_with_state(web, with_headers))
}

async fn serve(listener: TcpListener, is_local: bool, gate: Gate, web: Web) {
    let web = Arc::new(web);
    let router = router(gate.clone(), is_local, Arc::clone(&web));
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
            gate.refuse(Refusal::TooMany);
            if let Err(error) = stream.try_write(BUSY) {
                tracing::debug!(%error, "a refused client is gone");
            }
            continue;
        };
        let connection = connection(stream, router.clone(), Arc::clone(&web));
        tokio::spawn(async move {
            if timeout(CONNECTION_TIMEOUT, connection).await.is_err() {
                tracing::debug!("connection timed out");
            }
            drop(slot);
        });
    }
}

/// Encrypts if that is configured, and answers one request.
async fn connection(stream: TcpStream, router: Router, web: Arc<Web>) {
    let Some(tls) = web.settings().tls.clone() else { return http(stream, router).await };
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE] {
            return say_plainly(stream).await;
        }
        TlsAcceptor::from(tls).accept(stream).await
    };
    match timeout(HEADER_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => http(stream, router).await,
        Ok(Err(error)) => tracing::debug!(%error, "no encrypted connection"),
        Err(_) => tracing::debug!("handshake timed out"),
    }
}

/// Answers a client that does not encrypt. What it sent is read, since a connection closed before would be reset, and the answer with it.
async fn say_plainly<T>(mut stream: TcpStream) -> std::io::Result<T> {
    stream.write_all(PLAIN).await?;
    stream.shutdown().await?;
    let mut request = stream.take(MAX_PLAIN);
    tokio::io::copy(&mut request, &mut tokio::io::sink()).await?;
    Err(std::io::Error::other("the client does not encrypt"))
}

async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection failed");
    }
}

/// Turns away who asks by a name that is not ours, unless whoever reads has to be known.
async fn asked_by_our_name(State((gate, web)): State<(Gate, Arc<Web>)>, request: HttpRequest, next: Next) -> Response {
    if host::are_loopback(request.headers()) || web.settings().is_guarded() {
        return next.run(request).await;
    }
    gate.refuse(Refusal::ForeignHost);
    (StatusCode::MISDIRECTED_REQUEST, host::MISDIRECTED).into_response()
}

/// Lets in whom the web configuration lets in; everything is behind it.
async fn admit(State(web): State<Arc<Web>>, request: HttpRequest, next: Next) -> Response {
    match web.admits(request.headers().get(header::AUTHORIZATION)).await {
        Verdict::Welcome => next.run(request).await,
        Verdict::Refused => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, CHALLENGE)], "a name and a password are needed\n")
                .into_response()
        }
        Verdict::Busy => {
            let later = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
            (StatusCode::SERVICE_UNAVAILABLE, later, "too many wait for a check of their password\n").into_response()
        }
    }
}

async fn with_headers(State(web): State<Arc<Web>>, request: HttpRequest, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(page::HEADERS);
    for (name, value) in &web.settings().headers {
        // As in Prometheus, a blank value leaves the header out.
        if value.is_empty() {
            response.headers_mut().remove(name);
        } else {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

async fn metrics(State(gate): State<Gate>) -> Response {
    match gate.ask(Request::Metrics).await {
        // One copy per client: the body must not borrow, and at most `MAX_CONNECTIONS` exist.
        Some(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text.to_string()).into_response(),
        Some(Err(failure)) => (StatusCode::SERVICE_UNAVAILABLE, failure + "\n").into_response(),
        None => stopping(),
    }
}

async fn history(State(gate): State<Gate>, Query(seen): Query<Seen>) -> Response {
    let position = Position { epoch: seen.epoch, next: seen.next };
    let answer = gate.ask(|reply| Request::History(position, reply)).await;
    answer.map_or_else(stopping, |answer| ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
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
