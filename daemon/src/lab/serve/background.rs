//! A small web server on a thread of its own.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use anyhow::{Context, Result};
use axum::Router;
use tokio::sync::oneshot;

/// Serves until it is dropped.
pub struct Background {
    /// Where it serves.
    pub address: SocketAddr,
    _end: oneshot::Sender<()>,
}

impl Background {
    /// Serves what `router` answers on an address.
    pub fn serve(address: SocketAddr, router: Router) -> Result<Background> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("cannot tell where it listens")?;
        listener.set_nonblocking(true).with_context(|| format!("cannot serve on {address}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.with_context(|| format!("cannot serve on {address}"))?;
        let (end, ended) = oneshot::channel();
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => served,
                    _ = ended => Ok(()),
                }
            })
        });
        Ok(Background { address, _end: end })
    }
}
