//! Connections: how many there are and how long each lasts is bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::clients::{Clients, Phase, Seat};
use super::handle::LoopHandle;
use super::listen::Listener;
use super::routes::router;
use super::web::WebConfig;
use crate::metrics::labels::Refusal;

/// Time that a client has to send its request.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that a client has to take its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Status and text for a client that does not encrypt.
const PLAIN: Refused = ("400 Bad Request", "this server speaks HTTPS only: ask with https://\n");
/// For one connection too many, and for one that has to leave because others are faster.
const BUSY: Refused = ("503 Service Unavailable", "too many clients at once: ask again, and send the request at once\n");
/// For a client that has not sent its request in time.
const LATE: Refused = ("408 Request Timeout", "the request did not come within 5 seconds\n");
/// Bytes of a turned away client's request that are read at most.
const MAX_UNREAD: u64 = 64 << 10;
/// First byte that a client sends over TLS: the type of a handshake record.
const HANDSHAKE: u8 = 22;

type Refused = (&'static str, &'static str);

/// A server on a thread of its own; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    _stop: oneshot::Sender<()>,
}

impl Server {
    pub(crate) fn start(listener: Listener, handle: LoopHandle, web: WebConfig) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name("server".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve(listener, handle, web) => {
                        if let Err(error) = served {
                            tracing::error!(%error, "cannot serve");
                        }
                    }
                    _ = stopped => {}
                }
            });
            // Nobody waits for a password check that may still be running.
            runtime.shutdown_background();
        })?;
        Ok(Server { _stop: stop })
    }
}

/// What every connection needs.
pub(super) struct Shared {
    router: Router,
    web: Arc<WebConfig>,
    handle: LoopHandle,
    pub(super) clients: Arc<Clients>,
}

impl Shared {
    pub(super) fn new(handle: LoopHandle, is_local: bool, web: WebConfig) -> Shared {
        let web = Arc::new(web);
        let router = router(handle.clone(), is_local, Arc::clone(&web));
        Shared { router, web, handle, clients: Arc::default() }
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: Listener, handle: LoopHandle, web: WebConfig) -> io::Result<()> {
    let socket = TcpListener::from_std(listener.socket)?;
    let shared = Arc::new(Shared::new(handle, listener.is_local, web));
    loop {
        let (stream, address) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Usually out of file descriptors or memory; both pass.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Some(seat) = shared.clients.seat(address.into()).await {
            tokio::spawn(connection(stream, seat, Arc::clone(&shared)));
        } else {
            shared.handle.refuse(Refusal::TooMany);
            shared.clients.part(refuse(stream, shared.web.settings().tls.clone()));
        }
    }
}

/// Answers one request, encrypted if that is configured.
async fn connection(stream: TcpStream, seat: Seat, shared: Arc<Shared>) {
    let Some(tls) = shared.web.settings().tls.clone() else { return http(stream, &seat, &shared).await };
    let handshake = tokio::select! {
        handshake = timeout(HEADER_TIMEOUT, encrypt(stream, tls)) => handshake,
        () = seat.client.cut_off() => return shared.handle.refuse(Refusal::TooMany),
    };
    match handshake {
        Ok(Ok(Encrypted::Yes(stream))) => http(*stream, &seat, &shared).await,
        Ok(Ok(Encrypted::No(stream))) => shared.clients.part(close(stream, Some(PLAIN))),
        Ok(Err(error)) => tracing::debug!(%error, "no encrypted connection"),
        Err(_) => tracing::debug!("handshake timed out"),
    }
}

enum Encrypted {
    Yes(Box<TlsStream<TcpStream>>),
    No(TcpStream),
}

async fn encrypt(stream: TcpStream, tls: Arc<ServerConfig>) -> io::Result<Encrypted> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE] {
        return Ok(Encrypted::No(stream));
    }
    Ok(Encrypted::Yes(Box::new(TlsAcceptor::from(tls).accept(stream).await?)))
}

pub(super) async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seat: &Seat, shared: &Shared) {
    let client = &seat.client;
    let routes = TowerToHyperService::new(shared.router.clone());
    let service = service_fn(|mut request| {
        request.extensions_mut().insert(Arc::clone(client));
        routes.call(request)
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let refusal = tokio::select! {
        served = timeout(CONNECTION_TIMEOUT, &mut connection) => match served {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::debug!(%error, "connection failed");
                error.is_timeout().then_some(LATE)
            }
            Err(_) => Some(BUSY),
        },
        () = client.cut_off() => {
            shared.handle.refuse(Refusal::TooMany);
            Some(BUSY)
        }
    };
    // Later than that, there is a part of the right answer on the way.
    let refusal = refusal.filter(|_| client.phase() == Phase::Asking);
    shared.clients.part(close(connection.into_parts().io.into_inner(), refusal));
}

/// Turns away a client for which there is no place.
async fn refuse(stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
    let Some(tls) = tls else { return close(stream, Some(BUSY)).await };
    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
        close(stream, Some(BUSY)).await;
    }
}

/// Ends a connection, with an answer if it has none. What the client sends is read until it closes the connection too: if it were closed
/// with unread data, the kernel would reset it, and the client would lose the answer.
async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin, refused: Option<Refused>) {
    let parting = async {
        if let Some((status, text)) = refused {
            let headers = "Retry-After: 1\r\nConnection: close\r\nContent-Type: text/plain";
            let answer = format!("HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await?;
        }
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_UNREAD), &mut tokio::io::sink()).await
    };
    if let Err(error) = parting.await {
        tracing::debug!(%error, "the client is gone");
    }
}
