//! Connections: how many there are and how long each lasts is bounded.

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

/// Time that a client has to send its request.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that a client has to take its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Answer to a client that does not encrypt. Sent without waiting for its request.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 49\r\n\r\n\
this server speaks HTTPS only: ask with https://\n";
/// Bytes of such a client's request that are read at most.
const MAX_PLAIN: u64 = 64 << 10;
/// First byte that a client sends over TLS: the type of a handshake record.
const HANDSHAKE: u8 = 22;
/// Answer to one connection too many. Sent without waiting for its request.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

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

/// Serves until it is dropped.
pub(super) async fn serve(listener: Listener, handle: LoopHandle, web: WebConfig) -> io::Result<()> {
    let socket = TcpListener::from_std(listener.socket)?;
    let web = Arc::new(web);
    let router = router(handle.clone(), listener.is_local, Arc::clone(&web));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Usually out of file descriptors or memory; both pass.
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

/// Answers one request, encrypted if that is configured.
async fn connection(stream: TcpStream, router: Router, web: Arc<WebConfig>) {
    let Some(tls) = web.settings().tls.clone() else { return http(stream, router).await };
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE] {
            return refuse_plain_http(stream).await;
        }
        TlsAcceptor::from(tls).accept(stream).await
    };
    match timeout(HEADER_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => http(stream, router).await,
        Ok(Err(error)) => tracing::debug!(%error, "no encrypted connection"),
        Err(_) => tracing::debug!("handshake timed out"),
    }
}

/// Answers a client that does not encrypt. Its request is read first: closing the connection with unread data would reset it and lose
/// the answer.
async fn refuse_plain_http<T>(mut stream: TcpStream) -> io::Result<T> {
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
