//! The address, and who may be let near it.

use std::{io, net::SocketAddr, path::PathBuf};

use super::web::WebConfig;

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
    Bind(SocketAddr, #[source] io::Error),
}

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: std::net::TcpListener,
    /// Only this host can connect, and nothing else keeps others from reading.
    pub(super) is_local: bool,
}

impl Listener {
    /// The address, with the port that the kernel chose if none was.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Binds the address, before anything is loaded into the kernel.
pub fn listen(address: SocketAddr, allow_remote: bool, web: &WebConfig) -> Result<Listener, ListenError> {
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
        io::ErrorKind::AddrInUse => ListenError::Taken(address),
        _ => ListenError::Bind(address, error),
    })?;
    socket.set_nonblocking(true).map_err(|error| ListenError::Bind(address, error))?;
    Ok(Listener { socket, is_local: address.ip().is_loopback() && !allow_remote })
}
