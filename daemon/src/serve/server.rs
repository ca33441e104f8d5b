//! Connections, each bounded in time and in number.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    handle::{LoopHandle, MAX_CONNECTIONS},
    listen::Listener,
    routes::router,
    web::WebConfig,
};
use crate::metrics::labels::Refusal;

/// A client that has not sent its request in this time is cut off.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that has not taken its answer in this time is cut off.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Answer to a client that does not encrypt. Sent without waiting for its request.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 49\r\n\r\n\
this server speaks HTTPS only: ask with https://\n";
/// Of such a client's request, at most so many bytes are read.
const MAX_PLAIN: u64 = 64 << 10;
/// First byte of a client that encrypts: a record of the handshake.
const HANDSHAKE: u8 = 22;
/// Answer to one connection too many. Sent without waiting for its request.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// A server on a thread of its own; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Begins to serve.
    pub fn start(listener: Listener, handle: LoopHandle, web: WebConfig) -> io::Result<Server> {
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
            // A check of a password may be under way, which nobody waits for any more.
            runtime.shutdown_background();
        })?;
        Ok(Server { _stop: stop })
    }
}

/// Serves for good.
pub(super) async fn serve(listener: Listener, handle: LoopHandle, web: WebConfig) -> io::Result<()> {
    let socket = TcpListener::from_std(listener.socket)?;
    let web = Arc::new(web);
    let router = router(handle.clone(), listener.is_local, Arc::clone(&web));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors or memory, as a rule; both pass.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            handle.refuse(Refusal::TooMany);
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
async fn connection(stream: TcpStream, router: Router, web: Arc<WebConfig>) {
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
async fn say_plainly<T>(mut stream: TcpStream) -> io::Result<T> {
    stream.write_all(PLAIN).await?;
    stream.shutdown().await?;
    let mut request = stream.take(MAX_PLAIN);
    tokio::io::copy(&mut request, &mut tokio::io::sink()).await?;
    Err(io::Error::other("the client does not encrypt"))
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
