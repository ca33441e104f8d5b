//! The address to listen on, and whether it is safe to.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};

use super::web::WebConfig;

#[derive(Debug)]
pub(crate) struct Listener {
    pub(super) socket: TcpListener,
    /// Only this host can connect, and that is all that keeps others from reading.
    pub(super) is_local: bool,
}

impl Listener {
    /// The address, with the port that the kernel chose if none was.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Binds the address, before anything is loaded into the kernel.
pub(crate) fn listen(address: SocketAddr, allow_remote: bool, web: &WebConfig) -> Result<Listener> {
    if !address.ip().is_loopback() && !allow_remote {
        must_guard(address, web)?;
    }
    let socket = match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
            "cannot listen on {address}: the port is taken. Choose another with --listen, or stop the program that \
             'ss -ltnp sport = :{}' shows",
            address.port()
        ),
        socket => socket.with_context(|| format!("cannot listen on {address}"))?,
    };
    socket.set_nonblocking(true)?;
    Ok(Listener { socket, is_local: address.ip().is_loopback() && !allow_remote })
}

/// Refuses an address that other hosts can reach, unless the web configuration keeps strangers out. From then on it has to.
fn must_guard(address: SocketAddr, web: &WebConfig) -> Result<()> {
    let settings = web.settings();
    if settings.is_guarded() {
        web.must_guard();
        return Ok(());
    }
    let Some(path) = web.path() else {
        bail!(
            "refusing to listen on {address}: everyone who can reach it could read what this host runs. Use a loopback address, or \
             --web-config with a file that has tls_server_config and either basic_auth_users or client_auth_type: \
             RequireAndVerifyClientCert; or add --allow-remote if the network is trusted"
        )
    };
    let lack = match settings.tls {
        None => "has no tls_server_config, so everything, passwords included, could be read on the way",
        Some(_) => "lets everyone in: it has neither basic_auth_users nor client_auth_type: RequireAndVerifyClientCert",
    };
    bail!(
        "refusing to listen on {address}: {} {lack}. Add that, use a loopback address, or add --allow-remote if the network is trusted",
        path.display()
    )
}
